//! `flatline compare` and `flatline baseline`, from outside, on run directories made of the published one.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{flatline, json as read, output, said};

/// The published run, copied and changed.
struct Copied(tempfile::TempDir);

pub(crate) fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../reports/example")
}

/// What is read of a run directory; pictures and logs are left.
const READ: [&str; 9] = [
    "run.json",
    "verdict.json",
    "samples.csv",
    "events.csv",
    "fds.csv",
    "tasks.csv",
    "threads.csv",
    "watches.csv",
    "memory.csv",
];

/// Copies what is read of the published run.
pub(crate) fn copy(to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for name in READ {
        std::fs::copy(example().join(name), to.join(name)).unwrap();
    }
}

/// Changes one JSON file of a run directory.
pub(crate) fn change(run: &Path, file: &str, with: impl FnOnce(&mut Value)) {
    let mut value = read(run, file);
    with(&mut value);
    std::fs::write(run.join(file), serde_json::to_vec(&value).unwrap()).unwrap();
}

/// Gives each target's growth so much certainty that two hours of it would have, and hybrid's descriptors this growth.
pub(crate) fn sure(run: &Path, per_min: f64) {
    change(run, "verdict.json", |verdict| {
        for (name, target) in verdict["targets"].as_object_mut().unwrap() {
            for (resource, found) in target["resources"].as_object_mut().unwrap() {
                let grows = if name == "hybrid" && resource == "fds" { per_min } else { 0.0 };
                found["growth_per_min"] = json!(grows);
                found["ci_low"] = json!(grows - 0.009);
                found["ci_high"] = json!(grows + 0.009);
                found["estimate"] = json!({ "per_min": grows, "error_per_min": 0.005, "degrees": 15.0 });
            }
        }
    });
}

impl Copied {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn run(&self, name: &str) -> PathBuf {
        let run = self.0.path().join(name);
        copy(&run);
        change(&run, "run.json", |manifest| manifest["run_id"] = json!(name));
        run
    }

    fn steady(&self, name: &str, per_min: f64) -> PathBuf {
        let run = self.run(name);
        sure(&run, per_min);
        run
    }
}

fn compare(baseline: &Path, candidate: &Path, more: &[&str]) -> (Option<i32>, Value, String) {
    let paths = [baseline, candidate].map(|path| path.to_str().unwrap().to_owned());
    let arguments = ["compare", &paths[0], &paths[1], "--json"].into_iter().chain(more.iter().copied());
    let told = output(&arguments.collect::<Vec<_>>());
    let printed = serde_json::from_slice(&told.stdout).unwrap_or(Value::Null);
    (told.status.code(), printed, said(&told))
}

#[test]
fn a_leak_below_the_limit_is_worse_and_its_end_is_better() {
    let runs = Copied::new();
    let (before, after) = (runs.steady("before", 0.0), runs.steady("after", 0.4));
    let (code, found, _) = compare(&before, &after, &["--matters", "cpu=90%"]);
    assert_eq!((code, &found["direction"]), (Some(1), &json!("worse")), "{}", found["sentence"]);
    let row = &found["targets"]["hybrid"]["rows"]["fds_growth"];
    assert_eq!((&row["significant"], &row["relevant"]), (&json!(true), &json!(true)), "{row}");
    let ends = ["ci_low", "difference", "ci_high"].map(|key| row[key].as_f64().unwrap());
    assert!(ends[0] > 0.3 && (ends[1] - 0.4).abs() < 1e-9 && ends[2] < 0.5, "{row}");
    assert_eq!(found["targets"]["archived"]["weighed"], false);
    let (code, found, _) = compare(&after, &before, &["--matters", "cpu=90%"]);
    assert_eq!((code, &found["direction"]), (Some(0), &json!("better")));
    let (code, found, _) = compare(&before, &before, &["--matters", "cpu=90%"]);
    assert_eq!((code, &found["direction"]), (Some(0), &json!("same")), "{}", found["sentence"]);
    let (code, found, _) = compare(&before, &after, &["--matters", "growth=1", "--matters", "cpu=90%"]);
    assert_eq!((code, &found["direction"]), (Some(0), &json!("same")), "sure, and of no matter");
}

#[test]
fn a_run_of_three_minutes_can_not_tell() {
    let told = output(&["compare", example().to_str().unwrap(), example().to_str().unwrap()]);
    assert_eq!(told.status.code(), Some(3));
    let printed = String::from_utf8(told.stdout).unwrap();
    assert!(printed.starts_with("? Can't tell: growth of tasks (hybrid, pool)"), "{printed}");
}

#[test]
fn runs_of_other_environments_are_refused_with_what_differs() {
    let runs = Copied::new();
    let (before, after) = (runs.steady("before", 0.0), runs.steady("after", 0.4));
    change(&after, "run.json", |manifest| {
        manifest["kernel"] = json!("7.0.1");
        manifest["machine"]["cores"] = json!(64);
        let yaml = manifest["scenario_yaml"].as_str().unwrap().replace("load: 2m 50s", "load: 10m");
        manifest["scenario_yaml"] = json!(yaml);
    });
    let (code, _, said) = compare(&before, &after, &[]);
    assert_eq!(code, Some(2));
    for part in [
        "machine: AMD EPYC, 2 cores, 24 GiB in the baseline, AMD EPYC, 64 cores",
        "kernel: ",
        "7.0.1 in the candidate",
        "scenario: phases.load: 2m 50s in the baseline, 10m in the candidate",
        "--across-environments",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (code, found, _) = compare(&before, &after, &["--across-environments"]);
    assert_eq!(code, Some(1));
    assert_eq!(found["across"].as_array().unwrap().len(), 3, "{}", found["across"]);
}

#[test]
fn what_is_no_run_is_named() {
    let runs = Copied::new();
    let good = runs.run("good");
    let (code, _, said) = compare(&good, &runs.0.path().join("none"), &[]);
    assert_eq!(code, Some(4));
    assert!(
        said.contains("none/verdict.json: it is not there") && said.contains("name a run directory"),
        "{said}"
    );
    let broken = runs.run("broken");
    std::fs::write(broken.join("verdict.json"), "{\"schema\":1,").unwrap();
    let (code, _, said) = compare(&good, &broken, &[]);
    assert_eq!(code, Some(4));
    assert!(said.contains("broken/verdict.json is damaged"), "{said}");
    let other = runs.run("other");
    change(&other, "verdict.json", |verdict| {
        verdict["targets"] = json!({ "mine": verdict["targets"]["pool"] })
    });
    let (code, _, said) = compare(&good, &other, &[]);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("no target in common: archived, hybrid, pool in the baseline, mine in the candidate"),
        "{said}"
    );
}

#[test]
fn a_run_that_was_killed_is_judged_from_what_stands_there() {
    let runs = Copied::new();
    let (before, killed) = (runs.steady("before", 0.0), runs.run("killed"));
    std::fs::remove_file(killed.join("verdict.json")).unwrap();
    change(&killed, "run.json", |manifest| manifest["ended"] = json!("running"));
    let (code, found, said) = compare(&before, &killed, &[]);
    assert_eq!(code, Some(3), "{said}");
    let lost = &found["targets"]["pool"]["rows"]["lost"];
    assert_eq!(lost["why"], "not measured in the candidate, or not to be trusted there", "{lost}");
    assert_ne!(found["candidate"]["runs"][0]["ended"], "finished");
}

#[test]
fn it_is_written_in_each_form() {
    let runs = Copied::new();
    let (before, after) = (runs.steady("before", 0.0), runs.steady("after", 0.4));
    let out = runs.0.path().join("out");
    let (_, found, said) = compare(&before, &after, &["--out", out.to_str().unwrap()]);
    assert_eq!(read(&out, "compare.json"), found);
    let page = std::fs::read_to_string(out.join("compare.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("Worse than the baseline"), "{page}");
    assert!(!page.contains("http://") && !page.contains("https://"), "it asks nobody");
    let summary = std::fs::read_to_string(out.join("compare.md")).unwrap();
    assert!(
        summary.starts_with("## ✗ Worse than the baseline\n\ngrowth of file descriptors (hybrid)"),
        "{summary}"
    );
    let picture = std::fs::read(out.join("compare.png")).unwrap();
    assert!(picture.starts_with(b"\x89PNG") && said.contains("compare.png"), "{said}");
}

#[test]
fn what_is_known_is_set_and_shown() {
    let runs = Copied::new();
    let (before, after) = (runs.steady("before", 0.0), runs.steady("after", 0.4));
    let file = runs.0.path().join("new/baselines.json");
    let file = file.to_str().unwrap();
    let set = output(&["baseline", "set", before.to_str().unwrap(), after.to_str().unwrap(), "--file", file]);
    assert_eq!(set.status.code(), Some(0), "{}", said(&set));
    assert_eq!(
        String::from_utf8(set.stdout).unwrap(),
        "quick on AMD EPYC, 2 cores, 24 GiB (docker): before, after\n"
    );
    output(&["baseline", "set", before.to_str().unwrap(), "--file", file]);
    let shown = output(&["baseline", "show", "--file", file]);
    assert!(String::from_utf8(shown.stdout).unwrap().ends_with("(docker): before\n"));
    let none = output(&["baseline", "show", "--file", "/nowhere/b.json"]);
    assert_eq!(none.status.code(), Some(4));
}

#[test]
fn a_run_counts_once_on_each_side_and_is_known_only_when_it_is_over() {
    let runs = Copied::new();
    let (one, other) = (runs.run("one"), runs.run("other"));
    let text = |run: &PathBuf| run.to_str().unwrap().to_owned();
    let twice = format!("{},{},{}", text(&one), text(&other), text(&one));
    let told = output(&["compare", &twice, &text(&other)]);
    assert_eq!(told.status.code(), Some(2));
    assert!(said(&told).contains("hold the same run, one"), "{}", said(&told));
    let told = output(&["compare", &text(&one), &text(&other), "--matters", "cpu=5%", "--matters", "cpu=9%"]);
    assert_eq!(told.status.code(), Some(2));
    assert!(said(&told).contains("--matters names cpu twice"), "{}", said(&told));
    let file = text(&runs.0.path().join("baselines.json"));
    let told = output(&["baseline", "set", &text(&one), &text(&one), "--file", &file]);
    assert!(told.status.code() == Some(2) && !Path::new(&file).exists(), "{}", said(&told));
    // A run goes on while its process is there: this one's is a harness that waits for somebody to send it lines.
    let mut process =
        flatline().args(["mock-loki", "--listen", "127.0.0.1:0"]).stdout(Stdio::null()).spawn().unwrap();
    std::fs::remove_file(other.join("verdict.json")).unwrap();
    change(&other, "run.json", |manifest| {
        manifest["run_id"] = json!(format!("20261129t123508z-{}", process.id()));
        manifest["ended"] = json!("running");
    });
    let set = output(&["baseline", "set", &text(&other), "--file", &file]);
    let history = text(&runs.0.path().join("history.jsonl"));
    let add = output(&["history", "add", &text(&one), &text(&other), "--file", &history]);
    process.kill().unwrap();
    process.wait().unwrap();
    for told in [set, add] {
        assert_eq!(told.status.code(), Some(2));
        assert!(said(&told).contains("other still goes on: wait for its end"), "{}", said(&told));
    }
    assert!(!Path::new(&file).exists() && !Path::new(&history).exists(), "nothing is written");
}
