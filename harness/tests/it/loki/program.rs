//! `flatline mock-loki` as its users have it: a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

use flatline::clock;
use reqwest::Client;
use serde_json::{Value, json};

use crate::support::{flatline, output, said, wait_for};

/// The program, listening. Killed when dropped.
pub(crate) struct Program {
    child: Child,
    out: BufReader<ChildStdout>,
    pub(crate) url: String,
}

impl Program {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = flatline();
        command.args(["mock-loki", "--listen", "127.0.0.1:0", "--json"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        out.read_line(&mut first).unwrap();
        let url = first.trim_end().strip_prefix("listening on ").unwrap().to_owned();
        Self { child, out, url }
    }

    fn status(&self) -> procfs::process::Status {
        procfs::process::Process::new(self.child.id().cast_signed()).unwrap().status().unwrap()
    }

    pub(crate) fn rss_bytes(&self) -> u64 {
        self.status().vmrss.unwrap() << 10
    }

    pub(crate) fn peak_rss_bytes(&self) -> u64 {
        self.status().vmhwm.unwrap() << 10
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Ends it as a person does, and gives what it said then.
    pub(crate) fn stop(self) -> Value {
        self.stop_with("-TERM")
    }

    fn stop_with(mut self, signal: &str) -> Value {
        self.signal(signal);
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        serde_json::from_str(&rest).unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended, or the test has failed.
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
    }
}

async fn get(client: &Client, url: &str) -> (u16, String) {
    let answer = client.get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn push(client: &Client, url: &str, tenant: &str, line: &str) -> u16 {
    let body = json!({"streams": [{"stream": {"a": "b"}, "values": [[clock::now_ns().to_string(), line]]}]});
    let request = client.post(format!("{url}/loki/api/v1/push")).header("X-Scope-OrgID", tenant);
    let request = request.header("Content-Type", "application/json").body(body.to_string());
    request.send().await.unwrap().status().as_u16()
}

fn config(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[tokio::test]
async fn it_keeps_tenants_apart_shows_what_it_kept_and_sums_up_at_its_end() {
    let file = config("auth_enabled: true\noverrides:\n  short:\n    max_line_size: 3B\n");
    let loki = Program::start(&["--keep", "2", "--config", file.path().to_str().unwrap()]);
    let (client, url) = (Client::new(), loki.url.clone());
    for (tenant, line, status) in
        [("short", "long", 400), ("short", "abc", 204), ("", "abc", 401), ("wide", "long", 204)]
    {
        assert_eq!(push(&client, &url, tenant, line).await, status, "{tenant} {line}");
    }
    let query = format!("{url}/loki/api/v1/query_range?query=%7Ba%3D%22b%22%7D");
    let answer = client.get(&query).header("X-Scope-OrgID", "short").send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    let shown: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let [stream] = shown["data"]["result"].as_array().unwrap().as_slice() else { panic!("{shown}") };
    assert_eq!(stream["values"][0][1], "abc");
    assert_eq!(get(&client, &query).await, (401, "no org id\n".to_owned()));
    let summary = loki.stop_with("-INT");
    assert_eq!(summary["pushes_by_status"], json!({"204": 2, "400": 1, "401": 1}));
    assert_eq!((&summary["entries_accepted"], &summary["entries_refused"]), (&json!(2), &json!(1)));
}

#[tokio::test]
async fn a_query_that_it_does_not_understand_and_one_without_keep_are_refused_with_400() {
    let (client, keeping, other) = (Client::new(), Program::start(&["--keep", "1"]), Program::start(&[]));
    let query = |url: &str| format!("{url}/loki/api/v1/query_range?query=rate(x)");
    let (status, text) = get(&client, &query(&keeping.url)).await;
    assert!(status == 400 && text.contains("selectors with = alone"), "{status} {text}");
    let (status, text) = get(&client, &query(&other.url)).await;
    assert!(status == 400 && text.contains("--keep N"), "{status} {text}");
}

#[tokio::test]
async fn it_is_ready_after_a_while_as_loki_is_or_at_once_where_that_is_asked_for() {
    let file = config("ingester: {lifecycler: {min_ready_duration: 1h}}");
    let loki = Program::start(&["--config", file.path().to_str().unwrap()]);
    let client = Client::new();
    let starting = "Some services are not Running:\nStarting: 13\nRunning: 2\nNew: 1\n\n";
    let mut said = get(&client, &format!("{}/ready", loki.url)).await;
    while said.1 == starting {
        assert_eq!(said.0, 503);
        said = get(&client, &format!("{}/ready", loki.url)).await;
    }
    assert_eq!(said, (503, "Ingester not ready: waiting for 1h0m0s after being ready\n".to_owned()));
    assert_eq!(push(&client, &loki.url, "", "long before it is ready").await, 204);
    let ready = Program::start(&["--ready-at-once"]);
    assert_eq!(get(&client, &format!("{}/ready", ready.url)).await, (200, "ready\n".to_owned()));
}

#[tokio::test]
async fn after_its_end_nobody_listens() {
    let loki = Program::start(&[]);
    let address = loki.url.strip_prefix("http://").unwrap().to_owned();
    assert_eq!(loki.stop()["pushes"], 0);
    wait_for("a closed port", || TcpStream::connect(&address).is_err());
}

#[test]
fn a_config_that_it_does_not_know_is_refused_with_file_line_and_field() {
    let file = config("limits_config:\n  reject_old: 1h\n");
    let path = file.path().to_str().unwrap();
    let output = output(&["mock-loki", "--config", path]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(&format!("{path}:2:")) && said.contains("reject_old_samples_max_age"), "{said}");
}

#[test]
fn a_config_that_is_not_there_is_named() {
    let output = output(&["mock-loki", "--config", "/nowhere/loki.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("/nowhere/loki.yaml"), "{}", said(&output));
}

#[test]
fn it_listens_to_other_machines_only_where_that_is_said() {
    let output = output(&["mock-loki", "--listen", "0.0.0.0:0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("--expose"), "{}", said(&output));
}

#[tokio::test]
async fn its_last_words_say_what_its_faults_did() {
    let file = config(
        "faults:\n  - {at: 0s, for: 1h, fault: {tamper: {share: 1, how: withhold}}}\n  - {at: 0s, for: 1h, fault: {status: {code: 503, share: 0}}}\n",
    );
    let loki = Program::start(&["--faults", file.path().to_str().unwrap()]);
    assert_eq!(push(&Client::new(), &loki.url, "", "nobody gets it").await, 204);
    let summary = loki.stop();
    assert_eq!(summary["tampered"], json!({"withheld": 1, "doubled": 0, "altered": 0, "reordered": 0}));
    assert_eq!((&summary["pushes"], &summary["pushes_unanswered"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn the_faults_of_its_help_are_what_it_takes() {
    let help = output(&["mock-loki", "--help"]);
    let help = String::from_utf8(help.stdout).unwrap();
    let example: String =
        help.lines().skip_while(|line| !line.contains("seed: 7")).fold(String::new(), |text, line| {
            if text.ends_with("\n\n") { text } else { format!("{text}{}\n", line.trim_end()) }
        });
    assert!(example.contains("clock_step") && example.contains("tamper"), "{help}");
    let file = config(&example);
    Program::start(&["--faults", file.path().to_str().unwrap()]).stop();
}
