//! Runs that were killed and go on.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use flatline::record::files::read_csv;
use flatline::result::{Event, KindCount, Sample};
use serde_json::Value;

use crate::support::{Run, containers, flatline, images, json, left_by, output, said};

const REFUSED: Option<i32> = Some(2);

fn resume(folder: &Path) -> std::process::Output {
    flatline().args(["run", "--resume"]).arg(folder).output().unwrap()
}

/// Each verdict of each target, by name.
fn verdicts(out: &Path) -> Vec<(String, Value)> {
    let verdict = json(out, "verdict.json");
    let targets = verdict["targets"].as_object().unwrap().iter();
    let of = |(name, target): (&String, &Value)| {
        let resources = target["resources"].as_object().unwrap().clone();
        let name = name.clone();
        resources
            .into_iter()
            .map(move |(resource, found)| (format!("{name} {resource}"), found["verdict"].clone()))
    };
    let all = targets.flat_map(of).collect();
    [all, vec![("outcome".to_owned(), verdict["outcome"].clone())]].concat()
}

fn phases(out: &Path) -> Vec<(String, f64, f64)> {
    let phases = json(out, "run.json")["phases"].as_array().unwrap().clone();
    let of = |phase: &Value| {
        let at = |key: &str| phase[key].as_f64().unwrap();
        (phase["name"].as_str().unwrap().to_owned(), at("from_s"), at("to_s"))
    };
    phases.iter().map(of).collect()
}

/// The files are whole, and in order of one axis of time.
fn one_axis(out: &Path) {
    let samples: Vec<Sample> = read_csv(&out.join("samples.csv")).unwrap();
    assert!(samples.is_sorted_by(|a, b| a.elapsed_s <= b.elapsed_s));
    let events: Vec<Event> = read_csv(&out.join("events.csv")).unwrap();
    assert!(events.is_sorted_by(|a, b| a.elapsed_s <= b.elapsed_s));
    let fds: Vec<KindCount> = read_csv(&out.join("fds.csv")).unwrap();
    assert!(fds.is_sorted_by(|a, b| a.elapsed_s <= b.elapsed_s));
    let gaps: Vec<(f64, f64)> =
        phases(out).into_iter().filter(|(name, ..)| name == "gap").map(|(_, from, to)| (from, to)).collect();
    for (from, to) in gaps {
        assert!(to > from, "{from} {to}");
        let inside = samples.iter().find(|sample| sample.elapsed_s > from && sample.elapsed_s < to);
        assert_eq!(inside, None, "nobody looked");
    }
}

/// Killed in the warm-up, early in the load and in the drain.
fn killed_three_times(engine: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut whole = Run::start_on(engine, "resume.yaml", folder.path().join("whole"));
    let mut run = Run::start_on(engine, "resume.yaml", folder.path().join("killed"));
    let mut ids = Vec::new();
    let mut kill_at = |run: &mut Run, event: &str, count: usize| {
        run.wait_for_events(event, count);
        ids.push(run.run_id());
        run.kill();
    };
    kill_at(&mut run, ",phase,warmup", 1);
    let torn = "9.5,hybrid,1";
    let samples = OpenOptions::new().append(true).open(run.out.join("samples.csv"));
    samples.unwrap().write_all(torn.as_bytes()).unwrap();
    run.go_on();
    // The fault holds; its end is in the next segment.
    kill_at(&mut run, ",fault,", 1);
    run.go_on();
    kill_at(&mut run, ",phase,drain", 1);
    run.go_on();
    assert_eq!(
        run.wait().code(),
        Some(0),
        "{:?} {}",
        verdicts(&run.out),
        json(&run.out, "verdict.json")["reason"]
    );
    assert_eq!(whole.wait().code(), Some(0), "{:?}", verdicts(&whole.out));
    assert_eq!(verdicts(&run.out), verdicts(&whole.out));

    one_axis(&run.out);
    let names: Vec<String> = phases(&run.out).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(
        names.join(" "),
        "start history warmup gap start history warmup load gap start history warmup load drain gap start history warmup \
         drain"
    );
    let load_s: f64 =
        phases(&run.out).iter().filter(|(name, ..)| name == "load").map(|(_, from, to)| to - from).sum();
    assert!((98.0..106.0).contains(&load_s), "the load that was owed: {load_s}");
    let events = std::fs::read_to_string(run.out.join("events.csv")).unwrap();
    assert!(events.contains(&format!("; {} bytes of torn rows were cut", torn.len())), "{events}");
    assert_eq!(events.matches(",gap,").count(), 3, "{events}");
    assert_eq!(events.matches(",fault,").count(), 2, "it goes on after the gap: {events}");
    assert_eq!(events.matches(",fault_end,").count(), 1, "{events}");
    let manifest = json(&run.out, "run.json");
    let segments = manifest["segments"].as_array().unwrap();
    let ended: Vec<&str> = segments.iter().map(|segment| segment["ended"].as_str().unwrap()).collect();
    assert_eq!(ended, ["killed", "killed", "killed", "finished"]);
    let verdict = json(&run.out, "verdict.json");
    assert_eq!(verdict["unaccounted"].as_array().unwrap().len(), 3, "{verdict}");
    let reason = verdict["reason"].as_str().unwrap();
    assert!(reason.contains("are not accounted for") && reason.contains("the run was killed"), "{reason}");
    assert!(std::fs::read_to_string(run.out.join("report.html")).unwrap().contains("are not accounted for"));
    ids.push(run.run_id());
    for id in ids {
        assert_eq!(left_by(&id), Vec::<String>::new());
        if engine == "docker" {
            assert_eq!((containers(&id), images(&id)), (Vec::new(), Vec::new()));
        }
    }
    assert!(!run.out.join("scratch").exists());
    let over = resume(&run.out);
    assert_eq!(over.status.code(), REFUSED);
    assert!(said(&over).contains("is over (finished)"), "{}", said(&over));
}

#[test]
fn killed_three_times_it_comes_to_the_verdicts_of_one_that_was_not() {
    killed_three_times("docker");
}

#[test]
fn killed_three_times_on_the_embedded_engine_too() {
    killed_three_times("embedded");
}

#[test]
fn a_run_that_is_alive_is_refused_by_its_process_and_one_that_is_cut_short_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::start_on("embedded", "short.yaml", folder.path().join("run"));
    run.wait_for_phase("history");
    let alive = resume(&run.out);
    assert_eq!(alive.status.code(), REFUSED);
    assert!(said(&alive).contains(&format!("still alive: process {}", run.pid())), "{}", said(&alive));
    let out = run.out.display().to_string();
    let over = output(&["ab", "--targets", "pool", "--engine", "embedded", "--out", &out]);
    assert_eq!(over.status.code(), Some(4));
    assert!(said(&over).contains("a run never writes over another"), "{}", said(&over));
    assert!(run.out.join("scratch").is_dir(), "what another run works with is left alone");
    run.signal("-INT");
    assert_eq!(run.wait().code(), Some(3));
    run.go_on();
    run.wait();
    let manifest = json(&run.out, "run.json");
    assert_eq!(
        (&manifest["ended"], &manifest["segments"][0]["ended"]),
        (&"finished".into(), &"interrupted".into())
    );
    one_axis(&run.out);
}

#[test]
fn where_there_is_no_run_nothing_goes_on_and_what_was_asked_is_not_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    for nowhere in [folder.path().to_owned(), folder.path().join("none")] {
        let none = resume(&nowhere);
        assert_eq!(none.status.code(), REFUSED);
        assert!(said(&none).contains("holds no run"), "{}", said(&none));
    }
    let run = folder.path().display().to_string();
    for other in [
        &["--seed", "2"][..],
        &["--set", "phases.load=9m"],
        &["--engine", "docker"],
        &["quick.yaml"],
        &["--fail-fast"],
    ] {
        let both = output(&[&["run", "--resume", &run], other].concat());
        assert_eq!(both.status.code(), REFUSED, "{other:?}");
        assert!(said(&both).contains("cannot be used with"), "{}", said(&both));
    }
}

#[test]
fn a_run_that_a_full_disk_has_ended_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let mount = |options: &str| {
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.path()).status();
        assert!(mount.unwrap().success(), "this test mounts a tmpfs, for which it must be root");
    };
    mount("size=64m");
    let mut run = Run::start_on("embedded", "short.yaml", folder.path().join("run"));
    run.wait_for_phase("load");
    let ballast = folder.path().join("ballast");
    let mut filling = std::fs::File::create(&ballast).unwrap();
    while filling.write_all(&[0; 512]).is_ok() {}
    assert_eq!(run.wait().code(), Some(4));
    drop(filling);
    std::fs::remove_file(&ballast).unwrap();
    run.go_on();
    run.wait();
    let ended = json(&run.out, "run.json")["ended"].clone();
    one_axis(&run.out);
    assert!(Command::new("umount").arg("-l").arg(folder.path()).status().unwrap().success());
    assert_eq!(ended, "finished");
}
