//! Targets that end unasked, that run out of what they may use, and that are started again: each is told as what it is.

use std::path::Path;

use serde_json::Value;

use crate::support::{Run, flatline, json, leavings, left_by, said, scenario, wait_for};

fn run(file: &str, out: &Path) -> Value {
    let output = flatline().args(["ab", &scenario(file), "--out"]).arg(out).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "a target that crashes misses: {}", said(&output));
    json(out, "verdict.json")["targets"].clone()
}

fn text(out: &Path, name: &str) -> String {
    std::fs::read_to_string(out.join(name)).unwrap()
}

/// Folders of control groups of a run.
fn groups(run_id: &str) -> Vec<String> {
    let name = format!("flatline-target-{run_id}.*");
    let mut find = std::process::Command::new("find");
    let output = find.args(["/sys/fs/cgroup", "-type", "d", "-name", &name]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn each_end_is_told_as_what_it_is_and_the_policy_says_who_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let targets = run("crashes.yaml", &out);
    let of = |name: &str| targets[name]["stability"].clone();

    let exits = of("exits");
    assert_eq!((&exits["crashes"], &exits["restarts"]), (&3.into(), &2.into()), "on-failure:2: {exits}");
    let ends = exits["unasked"].as_array().unwrap();
    assert!(ends.iter().all(|end| end["how"] == "exit status 3" && end["at_s"].as_f64().unwrap() > 0.0));
    assert_eq!(exits["last_log_lines"].as_array().unwrap().last().unwrap(), "can't go on", "{exits}");

    let signalled = of("signalled");
    assert_eq!((&signalled["crashes"], &signalled["restarts"]), (&1.into(), &Value::Null), "{signalled}");
    assert!(signalled["ended"].as_str().unwrap().starts_with("signal 11 (SIGSEGV)"), "{signalled}");

    let in_order = of("in_order");
    assert_eq!((&in_order["crashes"], &in_order["restarts"]), (&1.into(), &Value::Null), "{in_order}");
    let always = of("always");
    assert!(always["restarts"].as_u64().unwrap() >= 1, "{always}");
    assert_eq!(always["crashes"], always["restarts"], "what lives at the end has not crashed: {always}");

    let greedy = of("greedy");
    assert_eq!(greedy["unasked"][0]["out_of_memory"], true, "{greedy}");
    let words = "signal 9 (SIGKILL), out of memory: the kernel killed it at its limit of 32.0 MiB";
    assert_eq!(greedy["unasked"][0]["how"], words);

    let events = text(&out, "events.csv");
    assert!(events.contains(",exits,crash,exit status 3; it said last: can't go on"), "{events}");
    assert!(
        events.contains(",exits,restart,\"started again (restart: on-failure:2), the 1st time\""),
        "{events}"
    );
    assert!(text(&out, "report.html").contains("3 crashes, started again 2 times"), "the page says so");
    let manifest = json(&out, "run.json");
    assert_eq!(manifest["terms"]["greedy"]["resources"]["memory"], 32 << 20);
    let run_id = manifest["run_id"].as_str().unwrap();
    assert_eq!(groups(run_id), Vec::<String>::new());
    assert_eq!(left_by(run_id), Vec::<String>::new());
}

/// `flatline leak` under limits of its own: when its growth was called, it was said when it would be at its limit, and then
/// it was.
#[test]
fn who_runs_out_is_set_against_what_was_foretold() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let output = flatline().args(["ab", &scenario("exhausted.yaml"), "--out"]).arg(&out).output().unwrap();
    let targets = json(&out, "verdict.json")["targets"].clone();
    for (name, what, ended) in [("fds", "fds", true), ("stays", "fds", false), ("memory", "memory", true)] {
        let exhausted = &targets[name]["exhausted"][0];
        assert_eq!(exhausted["what"], what, "{name}: {}", targets[name]);
        assert_eq!(exhausted["ended_at_s"].is_f64(), ended, "{name}: {exhausted}");
        let seconds = |value: &Value| value.as_f64().unwrap();
        let (made, told, at) = (
            seconds(&exhausted["projected"]["made_at_s"]),
            seconds(&exhausted["projected"]["at_s"]),
            seconds(&exhausted["at_s"]),
        );
        assert!(made < at, "{name}: {exhausted}");
        // It leaks evenly: what was foretold is right to a quarter of the time that was left.
        assert!((told - at).abs() < (at - made).max(20.0) / 4.0 + 5.0, "{name}: {exhausted}");
        let sentence = exhausted["sentence"].as_str().unwrap();
        assert!(sentence.starts_with("projected at ") && sentence.contains("; it did at "), "{sentence}");
        assert!(text(&out, "report.html").contains(sentence), "the page says so: {sentence}");
        assert!(String::from_utf8_lossy(&output.stdout).contains(sentence), "and the terminal");
        assert!(text(&out, "summary.md").contains(&sentence[..40]), "and the summary");
    }
    let fds = &targets["fds"]["resources"]["fds"]["projection"];
    assert_eq!(fds["process_limit"], 1000, "the limit that it runs under: {fds}");
    assert!(text(&out, "report.html").contains("1,000 FDs, processors 0"));
}

#[test]
fn what_kill_9_leaves_of_a_limited_target_is_removed_by_clean() {
    let _held = leavings();
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::start("crashes.yaml", folder.path().join("run"));
    run.wait_for_phase("warmup");
    let run_id = run.run_id();
    assert_eq!(groups(&run_id).len(), 1);
    assert!(flatline().arg("clean").status().unwrap().success());
    assert_eq!(groups(&run_id).len(), 1, "a live run is left alone");
    run.signal("-KILL");
    run.wait();
    wait_for("clean to find the run dead", || {
        assert!(flatline().arg("clean").status().unwrap().success());
        groups(&run_id).is_empty()
    });
}

#[test]
fn a_limit_that_can_not_be_kept_refuses_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let set = |out: &str, setting: &str| {
        let output = flatline()
            .args(["ab", &scenario("crashes.yaml"), "--targets", "signalled", "--set", setting, "--out"])
            .arg(folder.path().join(out))
            .output()
            .unwrap();
        (output.status.code(), said(&output))
    };
    let (code, words) = set("a", "targets.signalled.resources={cpus: \"1023\"}");
    assert_eq!(code, Some(4), "{words}");
    assert!(
        words.contains("the limits of the target signalled: can't keep it on the processors 1023"),
        "{words}"
    );
    assert!(!words.contains("history"), "before anything runs: {words}");
    let (code, words) = set("b", "targets.signalled.resources={memory: 12}");
    assert_eq!(code, Some(2), "{words}");
    assert!(words.contains("memory: bytes with a unit such as 256MiB"), "{words}");
    let (code, words) = set("c", "targets.signalled.restart=sometimes");
    assert_eq!(code, Some(2), "{words}");
    assert!(words.contains("no restart policy; write no, on-failure"), "{words}");
}
