//! Targets that run in containers: they ship, are held to their limits, end and come back, and leave nothing.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{Run, containers, flatline, images, json, leavings, left_by, said, scenario, wait_for};

/// What a run's targets have on the engine: containers and images.
fn of_targets(run_id: &str) -> Vec<String> {
    let label = format!("label=flatline.target={run_id}");
    let list = |arguments: &[&str]| {
        let output = Command::new("docker").args(arguments).args(["--filter", &label]).output().unwrap();
        assert!(output.status.success(), "a Docker Engine is needed: {}", said(&output));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    [list(&["ps", "-aq", "--no-trunc"]), list(&["images", "-q"])].concat()
}

fn nothing_is_left(run_id: &str) {
    assert_eq!(of_targets(run_id), Vec::<String>::new());
    assert_eq!((containers(run_id), images(run_id)), (Vec::new(), Vec::new()));
    assert_eq!(left_by(run_id), Vec::<String>::new());
}

fn text(out: &Path, name: &str) -> String {
    std::fs::read_to_string(out.join(name)).unwrap()
}

#[test]
fn a_target_in_a_container_ships_and_is_held_to_what_it_may_use() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let output = flatline().args(["ab", &scenario("contained.yaml"), "--out"]).arg(&out).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "a target that crashes misses: {}", said(&output));
    let verdict = json(&out, "verdict.json");
    let target = |name: &str| &verdict["targets"][name];

    let hybrid = target("hybrid");
    assert_eq!(hybrid["met"], true, "{hybrid}");
    let audit = &hybrid["audit"];
    assert!(audit["delivered"].as_u64().unwrap() > 2_000 && audit["lost"] == 0, "{audit}");
    assert_eq!(hybrid["stability"]["ended"], "exit status 0 after SIGTERM", "{hybrid}");

    // It is looked at as any other process, and its container's group counts its memory.
    let samples = text(&out, "samples.csv");
    let mut rows = csv::Reader::from_reader(samples.as_bytes());
    let columns = rows.headers().unwrap().clone();
    let column = |name: &str| columns.iter().position(|column| column == name).unwrap();
    let rows: Vec<csv::StringRecord> = rows.records().map(Result::unwrap).collect();
    let of_hybrid: Vec<_> = rows.iter().filter(|row| &row[column("target")] == "hybrid").collect();
    for name in ["threads", "tasks", "fds", "rss_bytes", "cpu_seconds", "anon_bytes"] {
        let seen =
            of_hybrid.iter().filter(|row| row[column(name)].parse::<f64>().is_ok_and(|seen| seen > 0.0));
        assert!(seen.count() > of_hybrid.len() * 9 / 10, "{name} in {samples}");
    }

    let exhausted = &target("fds")["exhausted"][0];
    assert_eq!((&exhausted["what"], &exhausted["limit"]), (&"fds".into(), &60.into()), "{exhausted}");
    let memory = &target("memory")["stability"]["unasked"][0];
    assert_eq!(memory["out_of_memory"], true, "{memory}");
    let words = "signal 9 (SIGKILL), out of memory: the kernel killed it at its limit of 64.0 MiB";
    assert_eq!(memory["how"], words);
    assert_eq!(target("memory")["exhausted"][0]["what"], "memory", "{}", target("memory"));

    let exits = &target("exits")["stability"];
    assert_eq!((&exits["crashes"], &exits["restarts"]), (&3.into(), &2.into()), "on-failure:2: {exits}");
    let ends = exits["unasked"].as_array().unwrap();
    assert!(ends.iter().all(|end| end["how"] == "exit status 3"), "{exits}");
    assert_eq!(ends[0]["last_log_lines"].as_array().unwrap().last().unwrap(), "can't go on", "{exits}");
    assert_eq!(text(&out, "logs/exits.log").matches("can't go on").count(), 3, "each life's log is kept");

    let manifest = json(&out, "run.json");
    for name in ["hybrid", "fds", "memory", "exits"] {
        assert_eq!(manifest["terms"][name]["run_in"], "container", "{manifest}");
        assert!(manifest["images"][name].as_str().unwrap().starts_with("sha256:"), "{manifest}");
    }
    assert_eq!(manifest["images"]["fds"], manifest["images"]["memory"], "one program is one image");
    assert!(text(&out, "report.html").contains("in a container"), "the page says so");
    assert!(text(&out, "summary.md").contains("in a container"), "and the summary");
    nothing_is_left(manifest["run_id"].as_str().unwrap());
}

#[test]
fn a_target_in_a_container_lives_through_faults_of_the_world_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let output =
        flatline().args(["ab", &scenario("contained_world.yaml"), "--out"]).arg(&out).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let verdict = json(&out, "verdict.json");
    for name in ["hybrid", "pool"] {
        let target = &verdict["targets"][name];
        assert!(target["audit"]["delivered"].as_u64().unwrap() > 1_000, "{target}");
        assert_eq!((&target["audit"]["lost"], &target["stability"]["crashes"]), (&0.into(), &0.into()));
    }
    let events = text(&out, "events.csv");
    assert_eq!(events.matches("started again after it was killed, as planned").count(), 2, "{events}");
    let run_id = json(&out, "run.json")["run_id"].as_str().unwrap().to_owned();
    assert_eq!(left_by(&run_id), Vec::<String>::new());
}

fn inspected(id: &str, format: &str) -> String {
    let output = Command::new("docker").args(["inspect", "--format", format, id]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The first container of a run's targets.
fn container_of(run_id: &str) -> String {
    of_targets(run_id).into_iter().next().expect("the target's container")
}

fn alone(out: &Path, name: &str) -> Command {
    let mut command = flatline();
    command.args(["ab", &scenario("contained.yaml"), "--targets", name, "--out"]).arg(out);
    command
}

#[test]
fn what_kill_9_leaves_of_a_target_in_a_container_goes_when_the_run_goes_on_and_with_clean() {
    let _held = leavings();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut run = Run::of(alone(&out, "hybrid"), out);
    run.wait_for_phase("load");
    let killed = run.run_id();
    let left = container_of(&killed);
    let shown = inspected(&left, "{{.HostConfig.LogConfig.Type}} {{.Config.Labels}} {{.State.Running}}");
    assert_eq!(shown, format!("local map[flatline.target:{killed}] true"), "nobody ships what it says");
    run.kill();
    assert_eq!(inspected(&left, "{{.State.Running}}"), "true", "it lives on");
    run.go_on();
    run.wait_for_events(",phase,load", 2);
    assert_eq!(of_targets(&killed), Vec::<String>::new(), "what the dead run left goes first");
    let second = run.run_id();
    assert_eq!(inspected(&container_of(&second), "{{.State.Running}}"), "true");
    assert!(flatline().arg("clean").status().unwrap().success());
    assert!(!of_targets(&second).is_empty(), "a live run is left alone");
    run.kill();
    wait_for("clean to find the run dead", || {
        assert!(flatline().arg("clean").status().unwrap().success());
        of_targets(&second).is_empty()
    });
    nothing_is_left(&second);
}

#[test]
fn a_container_that_somebody_removes_is_a_crash_and_the_policy_brings_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = alone(&out, "hybrid");
    command.args(["--set", "targets.hybrid.restart=always", "--set", "phases.load=30s"]);
    let mut run = Run::of(command, out);
    run.wait_for_phase("load");
    let first = container_of(&run.run_id());
    assert!(Command::new("docker").args(["rm", "-f", &first]).output().unwrap().status.success());
    run.wait_for_event(",hybrid,crash,");
    run.wait_for_event(",hybrid,restart,");
    run.wait();
    let hybrid = json(&run.out, "verdict.json")["targets"]["hybrid"].clone();
    assert_eq!((&hybrid["stability"]["crashes"], &hybrid["stability"]["restarts"]), (&1.into(), &1.into()));
    let how = &hybrid["stability"]["unasked"][0]["how"];
    assert_eq!(how, "its container was removed by somebody else", "{hybrid}");
    assert_eq!(hybrid["audit"]["lost"], 0, "it goes on where it was: {hybrid}");
    nothing_is_left(&run.run_id());
}

#[test]
fn what_can_not_be_run_in_a_container_is_refused_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    std::fs::write(&script, "#!/bin/sh\nexit 0\n").unwrap();
    let program = |path: &str| format!("targets.exits.settings={{program: {path}}}");
    let target = folder.path().join("target.yaml");
    let shell = std::fs::read_to_string(scenario("targets/contained_shell.yaml")).unwrap();
    let shell = shell.replace("command: [sh,", "command: [\"{{ settings.program }}\",");
    std::fs::write(
        &target,
        shell
            .replace("settings: {", "settings: { program: sh, mount: /bin/sleep,")
            .replace("[/bin/sleep]", "[\"{{ settings.mount }}\"]"),
    )
    .unwrap();
    let own = format!("targets.exits.file={}", target.display());
    let set = |number: usize, setting: &str| -> Output {
        let out = folder.path().join(number.to_string());
        alone(&out, "exits").args(["--set", &own, "--set", setting]).output().unwrap()
    };
    for (number, (setting, code, words)) in [
        (program("/nowhere/shipper"), 4, "can't find the program of the target exits: /nowhere/shipper"),
        (program(&script.display().to_string()), 4, "is a script (#!/bin/sh)"),
        (program("/etc/hostname"), 4, "/etc/hostname is no program of Linux (ELF)"),
        ("targets.exits.settings={mount: no/such}".to_owned(), 4, "mounts: no/such is no absolute path"),
        ("targets.exits.settings={mount: /no/such}".to_owned(), 4, "mounts: /no/such is not there"),
        (
            "targets.exits.resources={memory: 2MiB}".to_owned(),
            4,
            "the container of the target exits: the Docker Engine could not create",
        ),
        ("targets.exits.resources={cpus: \"1023\"}".to_owned(), 4, "no processor 1023"),
        (
            "targets.exits.resources={fds: 99999999999}".to_owned(),
            4,
            "can't limit file descriptors to 99999999999",
        ),
        ("targets.exits.run_in=vm".to_owned(), 2, "unknown variant `vm`, expected `process` or `container`"),
    ]
    .into_iter()
    .enumerate()
    {
        let output = set(number, &setting);
        let told = said(&output);
        assert_eq!(output.status.code(), Some(code), "{setting}: {told}");
        assert!(told.contains(words), "{setting}: {told}");
        assert!(!told.contains("history"), "before anything runs: {told}");
        let run = folder.path().join(number.to_string());
        if code == 4 {
            nothing_is_left(json(&run, "run.json")["run_id"].as_str().unwrap());
        }
    }
}

#[test]
fn the_embedded_engine_refuses_it_and_names_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = |name: &str, extra: &[&str]| {
        let mut command = alone(&folder.path().join("run"), name);
        command.args(["--engine", "embedded"]).args(extra).output().unwrap()
    };
    let place = |file: &str, field: &str| {
        let yaml = std::fs::read_to_string(scenario(file)).unwrap();
        let line = yaml.lines().position(|line| line.contains("run_in: container")).unwrap() + 1;
        let column = yaml.lines().nth(line - 1).unwrap().find("container").unwrap() + 1;
        (format!("{file}:{line}:{column}: "), field.to_owned())
    };
    for (name, (place, field)) in [
        ("hybrid", place("contained.yaml", "targets.hybrid.run_in")),
        ("exits", place("targets/contained_shell.yaml", "run_in")),
    ] {
        let output = embedded(name, &[]);
        let told = said(&output);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(&format!("{place}{field}: `container` needs a real Docker Engine")), "{told}");
    }
    let output = embedded("hybrid", &["--set", "targets.hybrid.run_in=process", "--set", "phases.load=30s"]);
    assert!(output.status.success(), "as a process it runs there: {}", said(&output));
    let manifest: Value = json(&folder.path().join("run"), "run.json");
    assert_eq!((&manifest["images"], &manifest["terms"]["hybrid"]["run_in"]), (&Value::Null, &Value::Null));

    let mut command = alone(&folder.path().join("none"), "hybrid");
    let output = command.env("DOCKER_HOST", "unix:///nowhere/docker.sock").output().unwrap();
    let told = said(&output);
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(
        told.contains("/nowhere/docker.sock")
            && told.contains("targets.hybrid.run_in: `container` needs one"),
        "{told}"
    );
}
