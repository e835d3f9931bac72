//! `flatline watch`, on real processes.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::support::{flatline, output, said, wait_for};

mod classes;
mod containers;
mod families;
mod hidden;

const PASS: Option<i32> = Some(0);
const LEAK: Option<i32> = Some(1);
const BAD_USAGE: Option<i32> = Some(2);
const UNDECIDED: Option<i32> = Some(3);
const ENVIRONMENT: Option<i32> = Some(4);

/// A process that leaks on purpose, and where it listens. Killed when dropped.
struct Leaky(Child, String);

impl Leaky {
    fn start(arguments: &[&str]) -> Self {
        let mut child = flatline().arg("leak").args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let line = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
        let url = line.strip_prefix("listening on ").unwrap().to_owned();
        Self(child, url)
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Leaky {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn watch(out: &Path, arguments: &[&str]) -> Output {
    flatline().args(["watch", "--json", "--out"]).arg(out).args(arguments).output().unwrap()
}

/// A watch under way, of which samples are on disk.
fn under_way(out: &Path, arguments: &[&str]) -> Child {
    let mut child = flatline()
        .args(["watch", "--json", "--every=200ms", "--out"])
        .arg(out)
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("40 samples", || {
        assert_eq!(child.try_wait().unwrap(), None, "it ended before there were samples");
        text(out, "samples.csv").lines().count() > 40
    });
    child
}

fn signal(pid: u32, signal: &str) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

fn text(out: &Path, name: &str) -> String {
    std::fs::read_to_string(out.join(name)).unwrap_or_default()
}

/// The verdicts on the only process.
fn verdicts(output: &Output) -> Value {
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let targets = document["targets"].as_object().unwrap();
    assert_eq!(targets.len(), 1, "{document}");
    targets.values().next().unwrap().clone()
}

/// Everything that a failed test needs to say.
fn told(output: &Output, out: &Path) -> String {
    let printed = String::from_utf8_lossy(&output.stdout);
    format!("{printed}\n{}\n{}\n{}", said(output), text(out, "events.csv"), text(out, "samples.csv"))
}

fn are_complete(out: &Path) {
    for name in ["samples.csv", "fds.csv", "threads.csv", "events.csv", "watch.json", "watch.png"] {
        assert!(out.join(name).metadata().is_ok_and(|file| file.len() > 30), "{name}");
    }
    assert!(text(out, "events.csv").lines().last().unwrap().contains(",end,"), "{}", text(out, "events.csv"));
}

#[test]
fn a_leak_is_called_with_its_kind_and_what_is_recorded_says_the_same() {
    let leaky = Leaky::start(&["--fds=120", "--tasks=120"]);
    let folder = tempfile::tempdir().unwrap();
    let page = format!("--metrics={}/metrics", leaky.1);
    let order = [&leaky.pid(), "--for=40s", "--every=400ms", &page];
    let mut out = folder.path().join("first");
    let mut found = watch(&out, &order);
    // A machine that kept the sampler waiting has settled nothing. It may do so once; it may never be wrong.
    if found.status.code() == UNDECIDED {
        out = folder.path().join("second");
        found = watch(&out, &order);
    }
    assert_eq!(found.status.code(), LEAK, "{}", told(&found, &out));
    let said_of = verdicts(&found);
    for leaking in ["fds", "tasks"] {
        assert_eq!(said_of[leaking]["verdict"], "fail", "{}", told(&found, &out));
        let growth = said_of[leaking]["growth_per_min"].as_f64().unwrap();
        assert!((growth - 120.0).abs() < 12.0, "{leaking}: {}", told(&found, &out));
    }
    assert_ne!(said_of["threads"]["verdict"], "fail", "{}", told(&found, &out));
    assert!(said(&found).contains("FDs/min, all devices /dev/null"), "{}", told(&found, &out));
    are_complete(&out);
    let samples = out.join("samples.csv").display().to_string();
    let again = output(&["analyze", "--json", &samples]);
    assert_eq!(verdicts(&again), said_of, "the same by the samples alone");
    // What is there is not written over.
    let again = watch(&out, &[&leaky.pid()]);
    assert_eq!(again.status.code(), ENVIRONMENT);
    assert!(said(&again).contains("samples.csv") && said(&again).contains("--out"), "{}", said(&again));
}

#[test]
fn a_flat_process_is_no_leak_and_ctrl_c_is_an_ordinary_end() {
    let leaky = Leaky::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let child = under_way(&out, &[&leaky.pid(), "--limit=fds=50", "--limit=threads=50"]);
    signal(child.id(), "-INT");
    let found = child.wait_with_output().unwrap();
    assert!([PASS, UNDECIDED].contains(&found.status.code()), "{}", told(&found, &out));
    for counted in ["fds", "threads"] {
        let of = &verdicts(&found)[counted];
        assert!(of["growth_per_min"].as_f64().is_none_or(|growth| growth < 25.0), "{}", told(&found, &out));
    }
    assert!(said(&found).contains("stopped"), "{}", said(&found));
    are_complete(&out);
}

#[test]
fn the_end_of_the_process_ends_the_watch() {
    let leaky = Leaky::start(&["--fds=600"]);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let child = under_way(&out, &[&leaky.pid()]);
    signal(leaky.0.id(), "-KILL");
    let found = child.wait_with_output().unwrap();
    assert!([LEAK, UNDECIDED].contains(&found.status.code()), "{}", told(&found, &out));
    assert!(said(&found).contains("the process is gone (it has ended)"), "{}", said(&found));
    are_complete(&out);
}

#[test]
fn a_command_is_started_and_its_end_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("failed");
    let script = "echo hello; echo trouble >&2; exit 7";
    let found = watch(&out, &["--every=50ms", "--", "sh", "-c", script]);
    assert_eq!(found.status.code(), LEAK, "{}", told(&found, &out));
    assert!(said(&found).contains("exit status 7"), "{}", said(&found));
    assert_eq!(text(&out, "logs/command.log"), "hello\ntrouble\n");
    let out = folder.path().join("short");
    let found = watch(&out, &["--every=50ms", "--", "true"]);
    assert_eq!(found.status.code(), UNDECIDED, "nothing seen is no pass: {}", told(&found, &out));
    let reason = verdicts(&found)["fds"]["reason"].to_string();
    assert!(reason.contains("too early") && reason.contains("--every"), "{reason}");
    let missing = watch(&folder.path().join("missing"), &["--", "/no/such/program"]);
    assert_eq!(missing.status.code(), ENVIRONMENT);
    assert!(said(&missing).contains("/no/such/program"), "{}", said(&missing));
}

#[test]
fn a_command_is_ended_with_the_watch() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let program = env!("CARGO_BIN_EXE_flatline");
    let child = under_way(&out, &["--", program, "leak"]);
    signal(child.id(), "-INT");
    let found = child.wait_with_output().unwrap();
    assert!([PASS, UNDECIDED].contains(&found.status.code()), "{}", told(&found, &out));
    assert!(said(&found).contains("exit status 0 after SIGTERM"), "{}", said(&found));
    let phase = text(&out, "events.csv");
    let pid = phase
        .lines()
        .find_map(|line| line.split_once("watch, process "))
        .unwrap()
        .1
        .trim_matches('"')
        .to_owned();
    assert!(!Path::new("/proc").join(&pid).exists(), "{pid} is still there");
}

#[test]
fn it_ends_with_the_first_leak_that_is_called_if_it_is_asked_to() {
    let leaky = Leaky::start(&["--fds=600"]);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let found = watch(&out, &[&leaky.pid(), "--bound=fds=50", "--fail-fast", "--for=1h", "--every=500ms"]);
    assert_eq!(found.status.code(), LEAK, "{}", told(&found, &out));
    assert!(said(&found).contains("stopped early: fds grow faster than 2 per minute"), "{}", said(&found));
    let events = text(&out, "events.csv");
    assert!(events.contains("threads can't end it early"), "{events}");
    are_complete(&out);
}

#[test]
fn too_short_a_watch_says_how_long_it_takes() {
    let leaky = Leaky::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let found = watch(&out, &[&leaky.pid(), "--for=1s", "--warmup=1m"]);
    assert_eq!(found.status.code(), UNDECIDED, "{}", told(&found, &out));
    let reason = verdicts(&found)["fds"]["reason"].to_string();
    assert!(reason.contains("s more at least"), "{reason}");
}

#[test]
fn what_can_not_be_watched_is_named_with_what_to_do() {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let found = watch(&out, &[&child.id().to_string()]);
    assert_eq!(found.status.code(), ENVIRONMENT, "{}", said(&found));
    assert!(said(&found).contains(&format!("no process {}", child.id())), "{}", said(&found));
    assert!(said(&found).contains("pgrep") && !out.exists(), "{}", said(&found));
    let leaky = Leaky::start(&[]);
    let page = format!("--metrics={}/metrics", leaky.1);
    let found = watch(&out, &[&leaky.pid(), &page, "--tasks-metric=no_such_gauge"]);
    assert_eq!(found.status.code(), ENVIRONMENT);
    assert!(said(&found).contains("has no no_such_gauge"), "{}", said(&found));
}

#[test]
fn what_can_not_be_done_is_refused_before_anything_starts() {
    for (wrong, why) in [
        (["watch"].as_slice(), "PID"),
        (&["watch", "1", "--container=web"], "cannot be used with"),
        (&["watch", "1", "--", "true"], "cannot be used with"),
        (&["watch", "0"], "1.."),
        (&["watch", "nginx"], "invalid"),
        (&["watch", "1", "--every=1ms"], "50ms"),
        (&["watch", "1", "--for=0s"], "no time"),
        (&["watch", "1", "--limit=disk=2"], "rss_bytes"),
        (&["watch", "1", "--limit=tasks=2"], "--metrics URL"),
        (&["watch", "1", "--limit=fds=2", "--bound=threads=2"], "--limit threads=2"),
        (&["watch", "1", "--fail-fast"], "--bound"),
        (&["watch", "1", "--tasks-metric=x"], "--metrics"),
        (&["watch", "1", "--metrics=localhost:80"], "http://"),
    ] {
        let output = output(wrong);
        assert_eq!(output.status.code(), BAD_USAGE, "{wrong:?}: {}", said(&output));
        assert!(said(&output).contains(why), "{wrong:?}: {}", said(&output));
    }
    let help = String::from_utf8(output(&["watch", "--help"]).stdout).unwrap();
    for word in ["--container web", "-- ./server", "go_goroutines", "samples.csv", "Exit codes"] {
        assert!(help.contains(word), "{word}: {help}");
    }
}
