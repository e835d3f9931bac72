//! Time compressed: as much happens in less time, and what leaks per event leaks as much per event.

use std::path::Path;

use serde_json::Value;

use crate::support::{flatline, json, said, scenario};

/// A run in which a container is started again about eighty times: `seconds` long on a wall clock, on whichever scale of
/// the scenario's own time. On the embedded engine, which starts one in some milliseconds.
fn run(times: f64, seconds: f64, out: &Path) -> Value {
    let own = |name: &str, seconds: f64| format!("--set={name}={}ms", (seconds * times * 1000.0).round());
    let mut command = flatline();
    command.args(["ab", &scenario("compressed.yaml"), "--engine=embedded", "--json"]);
    command.arg(format!("--compress={times}")).arg("--out").arg(out);
    command.args([own("phases.load", seconds), own("containers.churn.every", seconds / 80.0)]);
    command.args([own("phases.history", 1.0), own("phases.warmup", 2.0), own("phases.drain", 1.0)]);
    command.arg(own("sample_every", (seconds / 200.0).max(0.1)));
    let output = command.output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)))
}

/// What a thousand starts have cost, with its interval.
fn per_1000_starts(verdicts: &Value) -> [f64; 3] {
    let fds = &verdicts["targets"]["archived"]["resources"]["fds"];
    let events = fds["events"].as_array().unwrap();
    let starts = events.iter().find(|event| event["event"] == "starts").unwrap_or(&Value::Null);
    ["per_1000", "ci_low", "ci_high"]
        .map(|key| starts[key].as_f64().unwrap_or_else(|| panic!("{key}: {fds}")))
}

/// How often somebody was started again under load, and how long that took.
fn restarts(out: &Path) -> (usize, f64) {
    let manifest = json(out, "run.json");
    let phases = manifest["phases"].as_array().unwrap();
    let load = phases.iter().find(|phase| phase["name"] == "load").unwrap();
    let [from_s, to_s] = ["from_s", "to_s"].map(|key| load[key].as_f64().unwrap());
    let events = std::fs::read_to_string(out.join("events.csv")).unwrap();
    let churn = events.lines().filter(|line| line.contains(",churn,restart "));
    let at_s = churn.map(|line| line.split(',').next().unwrap().parse::<f64>().unwrap());
    (at_s.filter(|at_s| (from_s..to_s).contains(at_s)).count(), to_s - from_s)
}

#[test]
fn a_leak_per_event_is_the_same_compressed_1_12_and_60_times() {
    let folder = tempfile::tempdir().unwrap();
    let mut found = Vec::new();
    for (times, seconds) in [(1.0, 40.0), (12.0, 20.0), (60.0, 10.0)] {
        let out = folder.path().join(format!("{times}"));
        let verdicts = run(times, seconds, &out);
        let (count, took_s) = restarts(&out);
        assert!((50..110).contains(&count) && (took_s - seconds).abs() < 3.0, "{count} in {took_s} s");
        let manifest = json(&out, "run.json");
        assert_eq!(manifest["limits"]["fds"].as_f64(), Some(2.0 * times), "a rate as well");
        let compression = &manifest["compression"]["times"];
        assert_eq!(compression.as_f64(), (times > 1.0).then_some(times), "{manifest}");
        let [per_1000, low, high] = per_1000_starts(&verdicts);
        println!(
            "compressed {times} times: {per_1000:.1} [{low:.1}, {high:.1}] per 1,000 starts, {count} in {took_s:.0} s"
        );
        found.push([per_1000, low, high]);
    }
    for [per_1000, low, high] in &found {
        assert!((950.0..1050.0).contains(per_1000), "each start is a log that stays open: {found:?}");
        let apart = found.iter().any(|[_, other_low, other_high]| low > other_high || other_low > high);
        assert!(!apart, "the intervals have something in common: {found:?}");
    }
}
