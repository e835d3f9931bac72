//! What a run leaves for people and programs: shown while it goes on, told to a workflow, drawn again from its files.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use reqwest::header::{ETAG, HOST, IF_NONE_MATCH};
use reqwest::{Client, Method, Response};
use serde_json::Value;

use crate::support::{flatline, json, output, said, scenario, wait_for};

/// What is drawn from the files of a run: all of it, whenever it is drawn.
const DRAWN: [&str; 13] = [
    "report.html",
    "summary.md",
    "junit.xml",
    "benchmark.json",
    "metrics.prom",
    "overview.png",
    "overview.svg",
    "growth-tasks.png",
    "growth-tasks.svg",
    "growth-threads.png",
    "growth-threads.svg",
    "growth-fds.png",
    "growth-fds.svg",
];

fn drawn(run: &Path) -> BTreeMap<&'static str, Vec<u8>> {
    DRAWN.into_iter().map(|name| (name, std::fs::read(run.join(name)).unwrap())).collect()
}

fn draw(run: &Path) -> BTreeMap<&'static str, Vec<u8>> {
    let told = output(&["report", run.to_str().unwrap()]);
    assert!(told.status.success(), "{}", said(&told));
    let told = String::from_utf8(told.stdout).unwrap();
    let names: Vec<&str> = told.lines().map(|path| path.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, DRAWN, "each file is named once");
    drawn(run)
}

/// The files as they stand, as a kill would leave them.
fn copied(run: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(run).unwrap() {
        let from = entry.unwrap().path();
        if from.is_file() {
            std::fs::copy(&from, to.join(from.file_name().unwrap())).unwrap();
        }
    }
}

/// A run that shows itself, inside a workflow. Asked to stop when dropped, and waited for.
struct Shown {
    child: Child,
    url: String,
    said: Option<JoinHandle<String>>,
    out: PathBuf,
}

impl Drop for Shown {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            // The test has failed; it cleans up after itself.
            Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
            self.child.wait().unwrap();
        }
    }
}

impl Shown {
    fn start(folder: &Path) -> Self {
        let out = folder.join("run");
        let mut child = flatline()
            .args(["ab", &scenario("short.yaml"), "--json", "--serve", "--out"])
            .arg(&out)
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_STEP_SUMMARY", folder.join("step.md"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        errors.read_line(&mut first).unwrap();
        let url =
            first.strip_prefix("live report: ").expect("the first line says where").trim_end().to_owned();
        let said = std::thread::spawn(move || {
            let mut rest = String::new();
            errors.read_to_string(&mut rest).unwrap();
            rest
        });
        Self { child, url, said: Some(said), out }
    }

    async fn ask(&self, method: Method, path: &str, header: Option<(&str, &str)>) -> Response {
        let request = Client::new().request(method, format!("{}{path}", self.url));
        let request = header.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        request.send().await.unwrap()
    }

    /// The report and its tag, once they are what is wanted.
    async fn report(&self, wanted: impl Fn(&str, &str) -> bool) -> (String, String) {
        loop {
            let answer = self.ask(Method::GET, "report", None).await;
            let tag = answer.headers().get(ETAG).map_or("", |tag| tag.to_str().unwrap()).to_owned();
            let page = answer.text().await.unwrap();
            if wanted(&tag, &page) {
                return (tag, page);
            }
            tokio::task::yield_now().await;
        }
    }

    fn end(mut self) -> (Value, String) {
        let mut printed = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        let said = self.said.take().unwrap().join().unwrap();
        let status = self.child.wait().unwrap();
        assert!(matches!(status.code(), Some(0 | 3)), "{status}: {said}");
        (serde_json::from_str(&printed).expect("one JSON document, and nothing else"), said)
    }
}

fn a_workflow_is_told(said: &str, step: &str, verdicts: &Value) {
    let outcome = verdicts["outcome"].as_str().unwrap();
    let level = if outcome == "met" {
        "\n::notice title=Every expectation is met::"
    } else {
        "\n::warning title=Not decided::"
    };
    assert!(said.contains(level), "{said}");
    assert!(step.contains("earlier words\n\n## ") && step.contains("</details>"), "{step}");
    assert!(!step.contains("![") && !step.contains(".png"), "no file lies beside it");
}

fn a_killed_run_is_drawn_the_same_each_time(cut: &Path) {
    let before = draw(cut);
    assert!(before == draw(cut), "drawn twice, it differs");
    let page = String::from_utf8(before["report.html"].clone()).unwrap();
    assert!(page.contains("Cut short.") && page.contains("(killed)"), "the page says so");
    assert!(page.contains("not accounted for") && !page.contains("none lost"), "nobody knows of its lines");
    assert!(!cut.join("verdict.json").exists(), "a verdict is the run's own");
    let samples = cut.join("samples.csv");
    let mut torn = std::fs::read(&samples).unwrap();
    // It looks whole, and ends without its line.
    torn.extend_from_slice(b"500.5,hybrid,5,40,900,1000,1.5,1,1,1");
    std::fs::write(&samples, torn).unwrap();
    assert!(before == draw(cut), "a torn row counts as none");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_run_is_seen_while_it_goes_on_and_its_files_are_drawn_again_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("step.md"), "earlier words\n").unwrap();
    let run = Shown::start(folder.path());
    let (first, page) = run.report(|_, page| page.contains("Under way.")).await;
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("scenario short"), "{page}");
    let events = run.out.join("events.csv");
    wait_for("load", || {
        std::fs::read_to_string(&events).is_ok_and(|events| events.contains(",phase,load\n"))
    });
    let (_, page) = run.report(|tag, page| tag != first && page.contains("pool")).await;
    assert!(page.contains("Under way."), "it shows what happened since");
    loop {
        let (tag, _) = run.report(|tag, _| !tag.is_empty()).await;
        if run.ask(Method::GET, "report", Some((IF_NONE_MATCH.as_str(), &tag))).await.status() == 304 {
            break;
        }
    }
    let head = run.ask(Method::HEAD, "report", None).await;
    assert_eq!((head.status().as_u16(), head.text().await.unwrap().len()), (200, 0));
    assert_eq!(run.ask(Method::POST, "report", None).await.status(), 405);
    assert_eq!(run.ask(Method::GET, "samples.csv", None).await.status(), 404);
    assert_eq!(run.ask(Method::GET, "", Some((HOST.as_str(), "evil.example"))).await.status(), 421);
    let shell = run.ask(Method::GET, "", None).await.text().await.unwrap();
    assert!(shell.contains(run.out.to_str().unwrap()), "where the report will lie: {shell}");
    let cut = folder.path().join("cut");
    copied(&run.out, &cut);
    let (out, address) =
        (run.out.clone(), run.url.trim_start_matches("http://").trim_end_matches('/').to_owned());

    let (verdicts, said) = run.end();
    wait_for("a closed port", || TcpStream::connect(&address).is_err());
    assert!(verdicts == json(&out, "verdict.json"), "what is printed is what is written");
    a_workflow_is_told(&said, &std::fs::read_to_string(folder.path().join("step.md")).unwrap(), &verdicts);
    let before = drawn(&out);
    assert!(before == draw(&out), "drawn again, it differs");
    let page = output(&["report", "--page", out.to_str().unwrap()]).stdout;
    assert!(page.trim_ascii_end() == before["report.html"].trim_ascii_end(), "the page alone is the same");
    a_killed_run_is_drawn_the_same_each_time(&cut);

    let suites = junit_parser::from_reader(before["junit.xml"].as_slice()).unwrap();
    let names: Vec<&str> = suites.suites.iter().map(|suite| suite.name.as_str()).collect();
    assert_eq!(names, ["run", "target pool", "target hybrid"]);
    assert_eq!((suites.tests, suites.failures, suites.errors), (17, 0, 0), "{suites:?}");
    let entries: Value = serde_json::from_slice(&before["benchmark.json"]).unwrap();
    assert!(
        entries.as_array().unwrap().iter().any(|entry| entry["name"] == "hybrid: lines lost"),
        "{entries}"
    );
}

#[test]
fn who_shows_a_run_to_other_machines_must_say_so() {
    let told = output(&["ab", &scenario("short.yaml"), "--serve=0.0.0.0:0"]);
    assert_eq!(told.status.code(), Some(2));
    assert!(said(&told).contains("add --expose"), "{}", said(&told));
    let told = output(&["ab", &scenario("short.yaml"), "--serve=192.0.2.1:80", "--expose"]);
    assert_eq!(told.status.code(), Some(4), "no address of this machine");
    assert!(said(&told).contains("can't show the report at 192.0.2.1:80"), "{}", said(&told));
}

#[test]
fn a_workflow_is_told_why_there_is_no_result() {
    let told = flatline().args(["ab", "/none.yaml"]).env("GITHUB_ACTIONS", "true").output().unwrap();
    assert_eq!(told.status.code(), Some(2));
    assert!(said(&told).contains("\n::error title=Flatline::can't read /none.yaml: "), "{}", said(&told));
    assert!(said(&told).contains("%0A  `flatline ab` without a name"), "it stays one line: {}", said(&told));
}

#[test]
fn where_there_is_no_run_there_is_nothing_to_draw() {
    let folder = tempfile::tempdir().unwrap();
    let told = output(&["report", folder.path().to_str().unwrap()]);
    assert_eq!(told.status.code(), Some(4));
    assert!(said(&told).contains("verdict.json: it is not there"), "{}", said(&told));
}
