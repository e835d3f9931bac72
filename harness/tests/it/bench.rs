//! `flatline bench`, on real processes and on as little work as there can be.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::{flatline, json, left_by, output, said, scenario, wait_for};

const DONE: Option<i32> = Some(0);
const LOST: Option<i32> = Some(1);
const BAD_USAGE: Option<i32> = Some(2);
const CUT_SHORT: Option<i32> = Some(3);
const ENVIRONMENT: Option<i32> = Some(4);

fn bench(out: &Path, arguments: &[&str]) -> Output {
    let mut command = flatline();
    command.args(["bench", &scenario("bench.yaml"), "--out"]).arg(out).args(arguments).output().unwrap()
}

/// The document on standard output, which is the one in the folder.
fn document(output: &Output, out: &Path) -> Value {
    let printed: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(output)));
    assert_eq!(printed, json(out, "bench.json"));
    printed
}

fn trials(out: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(out.join("trials.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn figure(case: &Value, target: &str, measure: &str) -> f64 {
    let found = &case["targets"][target]["figures"][measure];
    let (low, median, high) = (found["low"].as_f64(), found["median"].as_f64(), found["high"].as_f64());
    let median = median.unwrap_or_else(|| panic!("{target} has no {measure}: {case}"));
    assert!(low.unwrap() <= median && median <= high.unwrap(), "{found}");
    median
}

#[test]
fn a_backlog_is_read_by_all_in_turn_and_every_line_is_accounted_for() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("bench");
    let output = bench(&out, &["--only", "catch-up,start-up", "--json"]);
    assert_eq!(output.status.code(), DONE, "{}", said(&output));
    let found = document(&output, &out);
    let names: Vec<&str> =
        found["cases"].as_array().unwrap().iter().map(|case| case["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["files", "escapes", "start"]);
    for (case, lines, trials) in [(0, 2000, 2), (1, 501, 2), (2, 10, 1)] {
        let case = &found["cases"][case];
        for target in ["hybrid", "pool"] {
            let result = &case["targets"][target];
            let audit = &result["audit"];
            assert_eq!(
                (&audit["sent"], &audit["delivered"]),
                (&(lines * trials).into(), &(lines * trials).into())
            );
            assert_eq!((&audit["lost"], &result["trials"]), (&0.into(), &trials.into()), "{case}");
            assert!(figure(case, target, "cpu_seconds_per_million_lines") > 0.0);
            assert!(figure(case, target, "rss_peak_bytes") > 1e6);
            assert!(figure(case, target, "ready_seconds") > 0.0);
            assert!(figure(case, target, "first_line_seconds") <= figure(case, target, "wall_seconds"));
        }
        assert_eq!(case["versus"][0]["target"], "hybrid");
        assert!(case["versus"][0]["times_better"]["median"].as_f64().unwrap() > 0.0, "{case}");
    }
    assert!(found["sink_alone"]["lines_per_second"].as_f64().unwrap() > 1000.0);
    let order: Vec<String> = self::trials(&out)
        .iter()
        .filter(|trial| trial["case"] == "files")
        .map(|trial| trial["target"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(order, ["hybrid", "pool", "pool", "hybrid"]);
    assert!(std::fs::read(out.join("bench.png")).unwrap().starts_with(b"\x89PNG"));
    assert!(!out.join("scratch").exists());
}

#[test]
fn rate_idle_cost_and_the_highest_rate_are_measured() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("bench");
    let output = bench(&out, &["--only", "steady,idle,highest-rate", "--targets", "hybrid", "--json"]);
    assert_eq!(output.status.code(), DONE, "{}", said(&output));
    let found = document(&output, &out);
    let [steady, idle, highest] = [0, 1, 2].map(|place| &found["cases"][place]);
    for measure in
        ["cpu_seconds_per_million_lines", "latency_p50_seconds", "latency_p99_seconds", "cpu_share"]
    {
        assert!(figure(steady, "hybrid", measure) > 0.0, "{measure}");
    }
    assert!(steady["targets"]["hybrid"]["audit"]["delivered"].as_u64().unwrap() > 100);
    for measure in ["rss_bytes", "threads", "fds", "tasks"] {
        assert!(figure(idle, "hybrid", measure) > 0.0, "{measure}");
    }
    assert!(figure(idle, "hybrid", "cpu_share") < 1.0);
    assert_eq!(idle["targets"]["hybrid"]["audit"]["delivered"], 10);
    assert!(figure(highest, "hybrid", "rate_held_per_second") > 50.0, "{highest}");
    let lost = |case: &Value| case["targets"]["hybrid"]["audit"]["lost"].clone();
    assert_eq!([lost(steady), lost(idle), lost(highest)], [0, 0, 0].map(Value::from));
}

#[test]
fn who_loses_lines_is_named_and_that_is_a_miss() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("bench");
    let output = bench(&out, &["--only", "trouble", "--targets", "hybrid"]);
    assert_eq!(output.status.code(), LOST, "{}", said(&output));
    let audit = &json(&out, "bench.json")["cases"][0]["targets"]["hybrid"]["audit"];
    let (sent, lost) = (audit["sent"].as_u64().unwrap(), audit["lost"].as_u64().unwrap());
    assert!(lost > 20 && lost < sent && audit["delivered"].as_u64().unwrap() + lost == sent, "{audit}");
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("hybrid") && table.contains(&lost.to_string()), "{table}");
}

#[test]
fn who_is_not_installed_is_told_with_how_to_get_it_and_the_others_are_measured() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("bench");
    let mut command = flatline();
    // Wherever these may be installed, they are not found there.
    command.env("PATH", folder.path()).args(["bench", &scenario("bench.yaml"), "--out"]).arg(&out);
    let output = command.args(["--only=start-up", "--targets=vector,hybrid", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), ENVIRONMENT, "{}", said(&output));
    assert!(said(&output).contains("vector was not run: no program vector"), "{}", said(&output));
    let found = document(&output, &out);
    assert_eq!(found["missing"][0]["name"], "vector");
    assert!(found["missing"][0]["install"].as_str().unwrap().contains("vector.dev"));
    assert_eq!(found["cases"][0]["targets"]["hybrid"]["audit"]["delivered"], 10);
    assert!(found["cases"][0]["targets"].get("vector").is_none());
}

#[test]
fn a_target_that_will_not_run_is_told_with_its_last_words_and_the_others_are_measured() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("bench");
    let arguments = ["--only", "start-up", "--json", "--set", "targets.pool.settings.encoding=morse"];
    let output = bench(&out, &arguments);
    assert_eq!(output.status.code(), ENVIRONMENT, "{}", said(&output));
    let case = &document(&output, &out)["cases"][0];
    assert_eq!(case["targets"]["hybrid"]["trials"], 1);
    let trouble = case["targets"]["pool"]["troubles"][0].as_str().unwrap();
    assert!(trouble.contains("ended before it was ready") && trouble.contains("morse"), "{trouble}");
}

#[test]
fn what_is_stopped_says_what_was_done_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("bench");
    let mut child = flatline()
        .args(["bench", &scenario("bench.yaml"), "--repeats=500", "--only=catch-up", "--json", "--out"])
        .arg(&out)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("two trials", || {
        assert_eq!(child.try_wait().unwrap(), None, "it ended by itself");
        std::fs::read_to_string(out.join("trials.jsonl")).is_ok_and(|text| text.lines().count() >= 2)
    });
    let environment = std::fs::read(format!("/proc/{}/environ", target_of(child.id()))).unwrap_or_default();
    let environment = String::from_utf8_lossy(&environment).into_owned();
    let run_id = environment.split('\0').find_map(|variable| variable.strip_prefix("FLATLINE_RUN="));
    let run_id = run_id.map(str::to_owned);
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), CUT_SHORT, "{}", said(&output));
    let found = document(&output, &out);
    assert_eq!((&found["cut_short"], found["cases"].as_array().unwrap().len()), (&true.into(), 1));
    assert!(found["cases"][0]["targets"]["hybrid"]["trials"].as_u64().unwrap() >= 1);
    assert_eq!(left_by(&run_id.expect("the engine bears the id")), Vec::<String>::new());
}

/// A process that it has started, and that lives as long as it does: its engine.
fn target_of(parent: u32) -> u32 {
    let children =
        std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let threads = std::fs::read_dir(format!("/proc/{parent}/task")).unwrap().flatten();
    let all = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let first = all.chain([children]).find_map(|list| list.split_whitespace().next()?.parse().ok());
    first.expect("it has a child")
}

#[test]
fn a_bench_that_makes_no_sense_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrong.yaml");
    let text = std::fs::read_to_string(scenario("bench.yaml")).unwrap();
    let file = path.display().to_string();
    for (wrong, why) in [
        (text.replace("files: 3", "fils: 3"), "fils"),
        (text.replace("files: 3", "files: 0"), "cases[0] files: files: 1 to"),
        (text.replace("name: start\n", "name: files\n"), "another case has it"),
        (text.replace("name: tiny", "name: tiny bench"), "name: 1 to 64"),
    ] {
        std::fs::write(&path, wrong).unwrap();
        let output = output(&["bench", &file]);
        assert_eq!(output.status.code(), BAD_USAGE, "{}", said(&output));
        assert!(
            said(&output).contains("wrong.yaml") && said(&output).contains(why),
            "{why}: {}",
            said(&output)
        );
    }
    for (arguments, why) in [
        (["bench", "--only", "sleep"].as_slice(), "catch-up"),
        (&["bench", "--repeats", "0"], "1..=1000"),
        (&["bench", "--targets", "vektor"], "vektor"),
        (&["bench", "--set", "repeat=3"], "repeat"),
    ] {
        let output = output(arguments);
        assert_eq!(output.status.code(), BAD_USAGE, "{}", said(&output));
        assert!(said(&output).contains(why), "{why}: {}", said(&output));
    }
    let out = folder.path().join("there");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("trials.jsonl"), "").unwrap();
    let output = bench(&out, &[]);
    assert_eq!(output.status.code(), ENVIRONMENT);
    assert!(said(&output).contains("--out DIR"), "{}", said(&output));
}

/// What comes from Debian is there wherever these tests run.
#[test]
fn syslog_ng_delivers_the_same_logs_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("bench");
    let arguments = ["--only", "catch-up,steady", "--targets", "syslog-ng", "--repeats", "1", "--json"];
    let output = bench(&out, &arguments);
    assert_eq!(output.status.code(), DONE, "{}", said(&output));
    for case in document(&output, &out)["cases"].as_array().unwrap() {
        let audit = &case["targets"]["syslog-ng"]["audit"];
        assert_eq!((&audit["lost"], &audit["altered"]), (&0.into(), &0.into()), "{case}");
        assert_eq!(audit["delivered"], audit["sent"], "{case}");
        assert!(audit["sent"].as_u64().unwrap() > 100, "{case}");
        assert!(figure(case, "syslog-ng", "rss_peak_bytes") > 1e6);
    }
}
