//! The experiment on real containers: which flaw leaks what, and what a run that is cut short leaves.

use std::path::Path;

use serde_json::Value;

use crate::support::{Run, containers, flatline, images, json, leavings, left_by, processes, scenario};

fn verdict<'a>(verdicts: &'a Value, target: &str, resource: &str) -> &'a str {
    verdicts["targets"][target]["resources"][resource]["verdict"].as_str().unwrap()
}

fn growth(verdicts: &Value, target: &str, resource: &str) -> f64 {
    verdicts["targets"][target]["resources"][resource]["growth_per_min"].as_f64().unwrap()
}

fn nothing_is_left(run_id: &str, out: &Path) {
    assert_eq!(containers(run_id), Vec::<String>::new(), "containers");
    assert_eq!(images(run_id), Vec::<String>::new(), "images");
    assert_eq!(processes(run_id), Vec::<String>::new(), "processes");
    assert!(!out.join("scratch").exists(), "temporary files");
}

/// What a failed test needs to say: each target's reason, verdicts and audit.
fn told(verdicts: &Value) -> String {
    let targets = verdicts["targets"].as_object().unwrap().iter();
    let lines = targets.map(|(name, target)| {
        let resources = target["resources"].as_object().unwrap().iter();
        let reasons: Vec<String> =
            resources.map(|(key, result)| format!("{key}: {}", result["reason"])).collect();
        format!("{name}: {} {} {}", target["reason"], reasons.join("; "), target["audit"])
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What the mended defect caused is gone: what is left passes, and is little beside the control's growth.
fn is_gone(verdicts: &Value, target: &str, resource: &str) {
    assert_eq!(verdict(verdicts, target, resource), "pass", "{}", told(verdicts));
    let left = growth(verdicts, target, resource) / growth(verdicts, "archived", resource);
    assert!(left < 0.1, "{left}: {}", told(verdicts));
}

/// Which kind leaks, in words and figures: the retries are tasks, the handles are descriptors, and what is mended is
/// not named.
fn each_leak_is_told_by_its_kind(verdicts: &Value, out: &Path) {
    let page = std::fs::read_to_string(out.join("report.html")).unwrap().replace("&#x2f;", "/");
    let said = |target: &str| verdicts["targets"][target]["leaks"].as_str().unwrap_or_default().to_owned();
    let leaks = [
        ("archived", [true, true]),
        ("no_unbounded_retry", [false, true]),
        ("no_leak_handles", [true, false]),
    ];
    for (target, wanted) in leaks {
        let said = said(target);
        let named = ["of kind retry", "-json.log"].map(|kind| said.contains(kind));
        assert_eq!(named, wanted, "{said}: {}", told(verdicts));
        assert!(page.contains(&said), "the page says so: {said}");
    }
    for target in ["pool", "hybrid"] {
        assert_eq!(verdicts["targets"][target]["leaks"], Value::Null, "what is flat leaks nothing");
    }
    let archived = &verdicts["targets"]["archived"];
    let is_log = |kind: &&Value| kind["kind"].as_str().unwrap().contains("-json.log");
    let kinds = archived["resources"]["fds"]["kinds"].as_array().unwrap();
    let grown = kinds.iter().filter(is_log).find(|kind| kind["significant"] == true).unwrap();
    let count = |key: &str| grown[key].as_u64().unwrap();
    assert!(count("first") < count("last") && count("last") <= count("worst"), "{grown}");
    assert!(grown["ci_low"].as_f64().unwrap() > 0.0, "{grown}");
    assert!(
        archived["watches"]["ci_low"].as_f64().unwrap() > 0.0,
        "a watch for each: {}",
        archived["watches"]
    );
    let engine = kinds.iter().find(|kind| kind["kind"].as_str().unwrap().contains("docker.sock")).unwrap();
    assert!(engine["ci_low"].as_f64().unwrap() > 0.0, "a connection to the engine for each: {engine}");
    let kept = archived["resources"]["fds"]["drain"]["kept"].as_array().unwrap();
    assert!(kept.iter().any(|kept| is_log(&kept)), "what stays is named: {kept:?}");
}

/// With which event the control leaks, and how the processes of the engine and of the harness fared.
fn each_leak_is_set_against_events_and_every_process_is_looked_at(verdicts: &Value, out: &Path) {
    let events = |resource: &str| {
        verdicts["targets"]["archived"]["resources"][resource]["events"].as_array().unwrap().clone()
    };
    let of = |resource: &str, event: &str| {
        events(resource).into_iter().find(|found| found["event"] == event).unwrap_or_default()
    };
    // Each refused batch is a task. The second time that a log is read its batches are none that are new.
    let per_rejected = of("tasks", "rejected_pushes")["per_1000"].as_f64().unwrap();
    assert!((700.0..2_000.0).contains(&per_rejected), "{:?}", events("tasks"));
    // Each start opens a log at least.
    let per_start = of("fds", "starts")["per_1000"].as_f64().unwrap();
    assert!((700.0..4_000.0).contains(&per_start), "{:?}", events("fds"));
    for (resource, wrong) in [("tasks", "rotations"), ("tasks", "connections"), ("fds", "rejected_pushes")] {
        assert_ne!(of(resource, wrong)["follows"], true, "{:?}", events(resource));
    }
    let processes = &verdicts["processes"];
    for count in ["tasks", "threads", "fds"] {
        assert_ne!(processes["flatline"][count]["verdict"], "fail", "{}", processes["flatline"]);
    }
    for name in ["dockerd", "containerd"] {
        assert!(processes[name]["fds"]["last"].as_u64().unwrap() > 5, "{processes}");
        assert_eq!(processes[name]["fds"]["verdict"], Value::Null, "the engine is not judged");
    }
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("By event") && page.contains("By process") && page.contains("containerd"));
}

/// The control with all of its defects, with the retry mended, with the handles mended, and the two
/// healthy designs, all on the same containers.
#[test]
fn each_defect_leaks_what_is_its_own_and_the_healthy_designs_stay_flat() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let status =
        flatline().args(["ab", &scenario("defects.yaml"), "--json", "--out"]).arg(&out).output().unwrap();
    let verdicts: Value =
        serde_json::from_slice(&status.stdout).expect("one JSON document, and nothing else");
    assert!(verdicts == json(&out, "verdict.json"), "what is printed is what is written");

    for resource in ["tasks", "fds"] {
        assert_eq!(verdict(&verdicts, "archived", resource), "fail", "{}", told(&verdicts));
    }
    assert!(growth(&verdicts, "archived", "tasks") > 10.0, "{}", told(&verdicts));
    is_gone(&verdicts, "no_unbounded_retry", "tasks");
    assert_eq!(verdict(&verdicts, "no_unbounded_retry", "fds"), "fail", "{}", told(&verdicts));
    is_gone(&verdicts, "no_leak_handles", "fds");
    assert_eq!(verdict(&verdicts, "no_leak_handles", "tasks"), "fail", "{}", told(&verdicts));

    each_leak_is_told_by_its_kind(&verdicts, &out);
    each_leak_is_set_against_events_and_every_process_is_looked_at(&verdicts, &out);

    for target in ["pool", "hybrid"] {
        for resource in ["tasks", "threads", "fds"] {
            assert_eq!(
                verdict(&verdicts, target, resource),
                "pass",
                "{target} {resource}: {}",
                told(&verdicts)
            );
        }
        let audit = &verdicts["targets"][target]["audit"];
        assert_eq!(audit["lost"], 0, "{target}: {audit}");
        assert!(audit["delivered"].as_u64().unwrap() > 1000, "{target}: {audit}");
        assert!(audit["skipped"].as_u64().unwrap() > 0, "history older than the window: {audit}");
    }
    assert_eq!(status.status.code(), Some(0), "{}", told(&verdicts));
    nothing_is_left(json(&out, "run.json")["run_id"].as_str().unwrap(), &out);
    for file in [
        "report.html",
        "summary.md",
        "growth-tasks.png",
        "growth-fds.png",
        "audit.json",
        "fds.csv",
        "threads.csv",
        "tasks.csv",
    ] {
        assert!(out.join(file).metadata().is_ok_and(|file| file.len() > 500), "{file}");
    }
}

#[test]
fn a_control_that_was_mended_is_not_seen_to_leak_and_the_run_proves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mended = "targets.archived.settings.leak_handles=false";
    let arguments = ["--set", mended, "--set", "phases.load=35s", "--targets", "archived", "--out"];
    let status =
        flatline().args(["ab", &scenario("defects.yaml")]).args(arguments).arg(&out).output().unwrap();
    assert_eq!(status.status.code(), Some(3));
    assert_eq!(json(&out, "verdict.json")["outcome"], "undecided");
}

/// The archived design, which leaks, as one that must not.
#[test]
fn a_leak_ends_a_run_that_fails_fast_in_order_and_its_record_gives_the_same_moment() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let arguments = [
        "--fail-fast",
        "--json",
        "--targets",
        "pool,archived",
        "--set",
        "targets.archived.expect=flat",
        "--set",
        "phases.load=20m",
        "--out",
    ];
    let status =
        flatline().args(["ab", &scenario("defects.yaml")]).args(arguments).arg(&out).output().unwrap();
    let verdicts = json(&out, "verdict.json");
    assert_eq!(status.status.code(), Some(1), "{}", told(&verdicts));
    let early = &verdicts["stopped_early"];
    let because = early["because"].as_str().unwrap();
    assert!(because.starts_with("archived: ") && because.contains("declared bounds explain 8"), "{because}");
    let resources = verdicts["targets"]["archived"]["resources"].as_object().unwrap();
    let called = resources
        .values()
        .any(|result| result["verdict"] == "fail" && result["decided_at_s"] == early["at_s"]);
    assert!(called, "{early} {}", told(&verdicts));
    let manifest = json(&out, "run.json");
    let phases = manifest["phases"].as_array().unwrap();
    let names: Vec<&str> = phases.iter().map(|phase| phase["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["start", "history", "warmup", "load", "drain"]);
    let load = &phases[3];
    assert!(load["to_s"].as_f64().unwrap() - load["from_s"].as_f64().unwrap() < 600.0, "{load}");
    assert_eq!(manifest["ended"], "stopped early");
    assert_eq!(verdicts["targets"]["pool"]["audit"]["lost"], 0, "{}", told(&verdicts));
    let events = std::fs::read_to_string(out.join("events.csv")).unwrap();
    assert!(events.contains(",archived,fail_fast,"), "{events}");
    assert!(events.contains("threads can't end the run early: no bound is declared"), "{events}");
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("Stopped early at "), "the page says so");
    nothing_is_left(manifest["run_id"].as_str().unwrap(), &out);
}

/// Whenever it comes: nothing is left, and what was seen is reported and marked.
fn cut_short_in(phase: &str, signal: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::start("short.yaml", folder.path().join("run"));
    run.wait_for_phase(phase);
    run.signal(signal);
    let status = run.wait();
    assert_eq!(status.code(), Some(3), "cut short in {phase}: nothing is decided");
    nothing_is_left(&run.run_id(), &run.out);
    assert_eq!(json(&run.out, "run.json")["ended"], "interrupted");
    assert_eq!(json(&run.out, "verdict.json")["cut_short"], true);
    let page = std::fs::read_to_string(run.out.join("report.html")).unwrap();
    assert!(page.to_lowercase().contains("cut short"), "the page says so");
}

#[test]
fn ctrl_c_while_containers_start_leaves_nothing() {
    cut_short_in("start", "-INT");
}

#[test]
fn ctrl_c_in_the_history_leaves_nothing() {
    cut_short_in("history", "-INT");
}

#[test]
fn ctrl_c_under_load_leaves_nothing_and_loses_no_line() {
    cut_short_in("load", "-INT");
}

#[test]
fn sigterm_in_the_drain_leaves_nothing() {
    cut_short_in("drain", "-TERM");
}

#[test]
fn what_kill_9_leaves_is_removed_by_clean_and_a_live_run_is_left_alone() {
    let _held = leavings();
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::start("short.yaml", folder.path().join("run"));
    run.wait_for_phase("warmup");
    let run_id = run.run_id();
    assert!(flatline().arg("clean").status().unwrap().success());
    assert!(!containers(&run_id).is_empty() && !processes(&run_id).is_empty(), "a live run is left alone");
    run.signal("-KILL");
    run.wait();
    assert!(!containers(&run_id).is_empty(), "kill -9 leaves containers, or this test proves nothing");
    assert!(flatline().arg("clean").status().unwrap().success());
    assert_eq!(containers(&run_id), Vec::<String>::new());
    assert_eq!(images(&run_id), Vec::<String>::new());
    assert_eq!(processes(&run_id), Vec::<String>::new());
    for file in ["samples.csv", "fds.csv", "threads.csv"] {
        let measured = std::fs::read_to_string(run.out.join(file)).unwrap();
        assert!(measured.lines().count() > 1, "what was measured is readable: {file}");
    }
}

#[test]
fn an_engine_and_disks_of_a_runs_own_go_with_it_and_after_kill_9_with_clean() {
    let _held = leavings();
    let folder = tempfile::tempdir().unwrap();
    for signal in ["-INT", "-KILL"] {
        let mut run = Run::start("world.yaml", folder.path().join(signal));
        run.wait_for_event(",fault,");
        let run_id = run.run_id();
        assert!(
            left_by(&run_id).len() > 5,
            "engine, shims, containers, target, disk: {:?}",
            left_by(&run_id)
        );
        run.signal(signal);
        run.wait();
        if signal == "-KILL" {
            assert!(left_by(&run_id).len() > 5, "kill -9 leaves them, or this test proves nothing");
            assert!(flatline().arg("clean").status().unwrap().success());
        }
        assert_eq!(left_by(&run_id), Vec::<String>::new());
    }
}

#[test]
fn a_target_that_does_not_come_back_has_failed_and_the_others_are_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::start("kill.yaml", folder.path().join("run"));
    assert_eq!(run.wait().code(), Some(1));
    let verdicts = json(&run.out, "verdict.json");
    let of = |target: &str| verdicts["targets"][target].clone();
    assert_eq!((&of("hybrid")["met"], &of("hybrid")["audit"]["lost"]), (&true.into(), &0.into()));
    let ended = of("mortal")["stability"]["ended"].as_str().unwrap().to_owned();
    assert!(ended.contains("it did not come back") && ended.contains("once is enough"), "{ended}");
    let events = std::fs::read_to_string(run.out.join("events.csv")).unwrap();
    assert!(events.contains(",hybrid,restart,") && !events.contains(",mortal,restart,"), "{events}");
    nothing_is_left(&run.run_id(), &run.out);
}

#[test]
fn ctrl_c_while_targets_are_down_on_purpose_blames_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::start("kill.yaml", folder.path().join("run"));
    run.wait_for_event(",fault,");
    run.signal("-INT");
    assert_eq!(run.wait().code(), Some(3));
    let verdicts = json(&run.out, "verdict.json");
    assert_eq!(verdicts["outcome"], "undecided", "{}", verdicts["reason"]);
    nothing_is_left(&run.run_id(), &run.out);
}

#[test]
fn a_target_that_can_not_start_fails_the_environment_with_its_last_words() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let arguments = ["--targets", "pool", "--set", "targets.pool.settings.max_connections=none", "--out"];
    let output = flatline().args(["ab", &scenario("short.yaml")]).args(arguments).arg(&out).output().unwrap();
    let said = crate::support::said(&output);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(
        said.contains("the target pool ended before it was ready") && said.contains("max_connections"),
        "{said}"
    );
    nothing_is_left(json(&out, "run.json")["run_id"].as_str().unwrap(), &out);
}

#[test]
fn a_terminal_that_is_closed_leaves_nothing() {
    cut_short_in("warmup", "-HUP");
}

#[test]
fn a_target_that_is_killed_misses_its_expectation_and_its_end_is_told_with_its_time() {
    let folder = tempfile::tempdir().unwrap();
    // A colon parts the two halves of Docker's bind syntax: the folder of a run may have one all the same.
    let mut run = Run::start("short.yaml", folder.path().join("a: run"));
    run.wait_for_phase("load");
    let run_id = run.run_id();
    let hybrid = processes(&run_id).into_iter().find(|process| {
        std::fs::read_to_string(format!("{process}/cmdline")).is_ok_and(|line| line.contains("hybrid.config"))
    });
    let pid = hybrid.unwrap().trim_start_matches("/proc/").to_owned();
    assert!(std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    assert_eq!(run.wait().code(), Some(1));
    let ended = json(&run.out, "verdict.json")["targets"]["hybrid"]["stability"]["ended"].clone();
    assert!(ended.as_str().unwrap().starts_with("signal 9 (SIGKILL) at "), "{ended}");
    let events = std::fs::read_to_string(run.out.join("events.csv")).unwrap();
    assert!(events.contains(",hybrid,crash,"), "{events}");
    nothing_is_left(&run_id, &run.out);
}

#[test]
fn containers_that_somebody_else_removes_fail_the_run_and_what_was_seen_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::start("short.yaml", folder.path().join("run"));
    run.wait_for_phase("load");
    let run_id = run.run_id();
    // All of them: whichever is next in turn is missed at the next step of the churn.
    let removal = std::process::Command::new("docker").args(["rm", "-f"]).args(containers(&run_id)).output();
    assert!(removal.is_ok());
    assert_eq!(run.wait().code(), Some(4));
    nothing_is_left(&run_id, &run.out);
    assert!(json(&run.out, "run.json")["ended"].as_str().unwrap().starts_with("failed: "));
    assert_eq!(json(&run.out, "verdict.json")["cut_short"], true);
    assert!(run.out.join("report.html").is_file());
}

/// Whatever the sinks and the world do, each line is delivered, in the dead letters, or counted with its reason:
/// the books balance to the line. And each fault stands in the events, from its beginning to its end.
#[test]
fn every_fault_is_an_event_and_costs_no_line() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/faults.yaml");
    let status = flatline().args(["ab", file, "--out"]).arg(&out).output().unwrap();
    assert_eq!(status.status.code(), Some(0), "{}", crate::support::said(&status));
    let verdicts = json(&out, "verdict.json");
    for target in ["pool", "hybrid"] {
        let audit = &verdicts["targets"][target]["audit"];
        let count = |key: &str| audit[key].as_u64().unwrap();
        assert_eq!((count("lost"), count("altered"), count("in_flight")), (0, 0, 0), "{target}: {audit}");
        let told = ["delivered", "skipped", "dropped", "dead_lettered"].map(count);
        assert_eq!(told.iter().sum::<u64>(), count("sent"), "{target}: {audit}");
        assert!(count("delivered") > count("sent") / 2, "{target}: {audit}");
        assert!(
            count("rejected") > 0 && count("dead_lettered") > 0,
            "the faults were met: {target}: {audit}"
        );
    }
    let events = std::fs::read_to_string(out.join("events.csv")).unwrap();
    let planned = std::fs::read_to_string(file).unwrap().matches("{ at:").count();
    let again = 4; // the one that comes each 30 s
    assert_eq!(events.matches(",fault,").count(), planned + again, "{events}");
    assert_eq!(events.matches(",fault_end,").count(), planned + again, "{events}");
    assert!(std::fs::read_to_string(out.join("report.html")).unwrap().contains("fault on purpose"));
    nothing_is_left(json(&out, "run.json")["run_id"].as_str().unwrap(), &out);
}
