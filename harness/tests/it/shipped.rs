//! The scenarios that ship, on real containers: the short ones, made shorter still.

use serde_json::Value;

use crate::support::{flatline, json, said};

/// A scenario of those that ship, with what a test has no time for left out; what it says, and its verdicts.
fn run(name: &str, set: &[&str]) -> (Option<i32>, Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let scenario = format!("{}/../scenarios/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    let set = set.iter().flat_map(|setting| ["--set", setting]);
    let output = flatline().args(["ab", &scenario]).args(set).arg("--out").arg(&out).output().unwrap();
    assert!(out.join("verdict.json").exists(), "{name}: {}", said(&output));
    let verdicts = json(&out, "verdict.json");
    let page = std::fs::read_to_string(out.join("summary.md")).unwrap();
    (output.status.code(), verdicts, page)
}

/// Long enough for the control's leak to be called one.
const SHORT: [&str; 3] = ["phases.history=3s", "phases.warmup=12s", "phases.load=60s"];

/// Nobody who must be flat leaks or loses a line, and the control's leak is there. What rises and falls with every fault
/// needs the scenario's whole length to be decided.
fn holds(name: &str, control_leaks: &str) {
    let (code, verdicts, summary) = run(name, &SHORT);
    assert!([Some(0), Some(3)].contains(&code), "{name}: {code:?}: {}\n{summary}", verdicts["reason"]);
    let targets = &verdicts["targets"];
    for target in ["pool", "hybrid"] {
        let audit = &targets[target]["audit"];
        assert!(audit["delivered"].as_u64().unwrap() > 1000, "{name}, {target}: {audit}");
        assert_eq!((&audit["lost"], &audit["altered"]), (&0.into(), &0.into()), "{name}, {target}: {audit}");
        assert_eq!(targets[target]["stability"]["crashes"], 0, "{name}, {target}");
        for found in targets[target]["resources"].as_object().unwrap().values() {
            assert_ne!(found["verdict"], "fail", "{name}, {target}: {}", found["reason"]);
        }
    }
    let growth = targets["archived"]["resources"][control_leaks]["growth_per_min"].as_f64().unwrap();
    assert!(growth > 5.0, "{name}: {growth} {control_leaks} a minute\n{summary}");
}

#[test]
fn a_storm_of_churn_leaves_nothing_behind() {
    holds("churn", "fds");
}

#[test]
fn both_designs_come_back_from_outages() {
    holds("outage", "fds");
}

#[test]
fn what_is_refused_leaves_nothing_behind() {
    holds("rejections", "tasks");
}

#[test]
fn logs_that_rotate_every_few_seconds_are_read_whole() {
    holds("rotation", "fds");
}

/// Each defect's signature: where it is seen, and that the others do not have it.
#[test]
fn each_defect_shows_its_signature_and_with_its_fix_it_is_gone() {
    let (code, verdicts, summary) =
        run("ablation", &["phases.history=60s", "phases.warmup=10s", "phases.load=90s"]);
    // So short a run can't decide how fast tasks grow; nothing is seen where it must not be.
    assert_ne!(code, Some(1), "{}\n{summary}", verdicts["reason"]);
    let figure = |target: &str, figure: &str| {
        verdicts["targets"][target]["figures"][figure]["value"].as_f64().unwrap_or_default()
    };
    let growth = |target: &str, resource: &str| {
        verdicts["targets"][target]["resources"][resource]["growth_per_min"].as_f64().unwrap()
    };
    // Alone beside none of them, and mended beside all of them.
    for (alone, mended, of) in [
        ("replay_history", "mended_replay", "lines_read"),
        ("unbounded_retry", "mended_retry", "queue"),
        ("no_timestamp_check", "mended_check", "rejected_pushes"),
        ("no_metadata_cache", "mended_cache", "docker_requests"),
    ] {
        let [alone_has, none_has] = [alone, "none"].map(|target| figure(target, of));
        assert!(alone_has > 1.5 * none_has, "{alone} {of}: {alone_has}, without it {none_has}\n{summary}");
        let [all_have, mended_has] = ["all", mended].map(|target| figure(target, of));
        assert!(all_have > 1.5 * mended_has, "{mended} {of}: {mended_has}, else {all_have}\n{summary}");
    }
    for (alone, mended, resource) in
        [("unbounded_retry", "mended_retry", "tasks"), ("leak_handles", "mended_handles", "fds")]
    {
        let of = |target| growth(target, resource);
        assert!(of(alone) > 2.0 && of("none") < 1.0, "{summary}");
        assert!(of("all") > 5.0 && of(mended) < 1.0, "{summary}");
    }
    let table: Vec<&str> = summary.lines().skip_while(|line| !line.starts_with("| Target | Tasks")).collect();
    assert!(table.len() > 13 && table[13].starts_with("| **mended\\_cache** |"), "{summary}");
}

#[test]
fn real_logs_are_replayed_and_every_line_arrives_as_it_was_written() {
    let (code, verdicts, _) =
        run("real_files", &["phases.history=3s", "phases.warmup=5s", "phases.load=30s"]);
    assert_eq!(code, Some(0), "{verdicts:#}");
    for target in ["pool", "hybrid"] {
        let audit = &verdicts["targets"][target]["audit"];
        let [sent, delivered] = ["sent", "delivered"].map(|key| audit[key].as_u64().unwrap());
        assert!(sent > 1000 && delivered == sent, "{target}: {audit}");
        assert_eq!(
            (&audit["altered"], &audit["altered_copies"]),
            (&0.into(), &0.into()),
            "{target}: {audit}"
        );
    }
}
