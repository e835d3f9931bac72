//! Runs without Docker: the same experiment on the embedded engine.

use crate::support::{Run, flatline, json, leavings, left_by, said, scenario, wait_for};

/// Where nobody listens.
const NOWHERE: &str = "unix:///nowhere/docker.sock";

#[test]
fn where_no_docker_answers_a_run_goes_on_without_it_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let run = flatline()
        .env("DOCKER_HOST", NOWHERE)
        .args(["ab", &scenario("short.yaml"), "--out"])
        .arg(&out)
        .output();
    let run = run.unwrap();
    let said = said(&run);
    assert!(said.contains(NOWHERE) && said.contains("The embedded engine runs the containers"), "{said}");
    let manifest = json(&out, "run.json");
    assert!(manifest["engine"].as_str().unwrap().starts_with("embedded "), "{manifest}");
    let verdicts = json(&out, "verdict.json");
    for target in ["pool", "hybrid"] {
        let audit = &verdicts["targets"][target]["audit"];
        assert_eq!(audit["lost"], 0, "{verdicts}");
        assert!(audit["delivered"].as_u64().unwrap() > 1000, "{verdicts}");
    }
    // Its process is looked at as Docker's are.
    let engine = &verdicts["processes"]["flatline-engine"];
    assert!(engine["fds"]["first"].as_f64().unwrap() > 5.0, "{}", verdicts["processes"]);
    let events = std::fs::read_to_string(out.join("events.csv")).unwrap();
    assert!(events.contains(",churn,restart ") && events.contains(",churn,replace "), "{events}");
    assert_eq!(left_by(manifest["run_id"].as_str().unwrap()), Vec::<String>::new());
}

#[test]
fn a_target_that_is_not_installed_is_told_and_the_others_run() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = flatline();
    // Wherever it may be installed, it is not found there.
    command.env("PATH", folder.path()).args(["ab", &scenario("short.yaml"), "--engine=embedded", "--out"]);
    let run =
        command.arg(&out).args(["--targets=hybrid,fluent-bit", "--set=phases.history=1s"]).output().unwrap();
    assert_eq!(run.status.code(), Some(3), "{}", said(&run));
    assert!(said(&run).contains("fluent-bit was not run: no program fluent-bit"), "{}", said(&run));
    let verdicts = json(&out, "verdict.json");
    assert!(verdicts["reason"].as_str().unwrap().contains("fluent-bit was not run"), "{verdicts}");
    assert_eq!(verdicts["targets"].as_object().unwrap().keys().collect::<Vec<_>>(), ["hybrid"]);
    assert_eq!(verdicts["targets"]["hybrid"]["audit"]["lost"], 0, "{verdicts}");
    assert_eq!(json(&out, "run.json")["missing_targets"][0]["name"], "fluent-bit");

    // Nor is it forgotten where runs are joined.
    let merged = folder.path().join("merged");
    let joined = flatline().arg("merge").arg(&out).arg("--out").arg(&merged).output().unwrap();
    assert_eq!(joined.status.code(), Some(3), "{}", said(&joined));
    let reason = json(&merged, "verdict.json")["reason"].clone();
    assert!(reason.as_str().unwrap().contains("fluent-bit was not run"), "{reason}");
    assert_eq!(json(&merged, "run.json")["missing_targets"], json(&out, "run.json")["missing_targets"]);
}

#[test]
fn a_fault_that_it_has_no_means_for_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = flatline();
    command.args(["ab", &scenario("world.yaml"), "--engine", "embedded", "--out"]).arg(&out);
    let run = command.output().unwrap();
    assert_eq!(run.status.code(), Some(2), "{}", said(&run));
    assert!(said(&run).contains("docker_restart needs a real Docker Engine"), "{}", said(&run));
    assert!(!out.exists());
}

#[test]
fn what_kill_9_leaves_of_an_embedded_engine_is_removed_by_clean() {
    let _held = leavings();
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::start_on("embedded", "short.yaml", folder.path().join("run"));
    run.wait_for_phase("warmup");
    let run_id = run.run_id();
    run.signal("-KILL");
    run.wait();
    assert!(left_by(&run_id).len() > 2, "kill -9 leaves them, or this test proves nothing");
    assert!(flatline().arg("clean").status().unwrap().success());
    assert_eq!(left_by(&run_id), Vec::<String>::new());
}

#[test]
fn what_kill_9_leaves_is_removed_by_the_next_run_unless_somebody_wants_to_look_at_it() {
    let _held = leavings();
    let folder = tempfile::tempdir().unwrap();
    let mut dead = Run::start_on("embedded", "short.yaml", folder.path().join("dead"));
    dead.wait_for_phase("warmup");
    let run_id = dead.run_id();
    dead.kill();
    let next = |sweep: &str| {
        let out = folder.path().join(sweep);
        let mut command = flatline();
        command.env("FLATLINE_SWEEP", sweep);
        command.args(["ab", &scenario("short.yaml"), "--engine=embedded", "--out"]).arg(&out);
        let mut run = Run::of(command, out);
        run.wait_for_phase("start");
        run.signal("-INT");
        run.wait();
    };
    next("off");
    assert!(left_by(&run_id).len() > 2, "they were to stay");
    next("on");
    assert_eq!(left_by(&run_id), Vec::<String>::new());
}

#[test]
fn an_engine_alone_ends_its_containers_and_gives_its_socket_back() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let start = || {
        let mut command = flatline();
        command.args(["engine", "--listen"]).arg(&socket).arg("--root").arg(folder.path().join("root"));
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    let first = start();
    wait_for("its socket", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    let second = start().wait_with_output().unwrap();
    assert_eq!(second.status.code(), Some(4));
    assert!(said(&second).contains("listens on") && said(&second).contains("--listen"), "{}", said(&second));
    let stopped =
        std::process::Command::new("kill").args(["-TERM", &first.id().to_string()]).status().unwrap();
    assert!(stopped.success());
    assert_eq!(first.wait_with_output().unwrap().status.code(), Some(0));
    assert!(!socket.exists());
    // What a killed one leaves is no obstacle.
    let mut third = start();
    wait_for("its socket", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    third.kill().unwrap();
    third.wait().unwrap();
    assert!(socket.exists());
    let mut fourth = start();
    wait_for("its socket", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    fourth.kill().unwrap();
    fourth.wait().unwrap();
}
