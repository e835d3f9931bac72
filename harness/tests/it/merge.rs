//! A run that was spread over shards, and joined again.

use std::path::{Path, PathBuf};

use flatline::record::files::read_csv;
use flatline::result::{Event, KindCount, Sample};
use serde_json::Value;

use crate::support::{Run, flatline, json, said, scenario};

const REFUSED: Option<i32> = Some(2);

fn run(out: PathBuf, options: &[&str]) -> Run {
    let mut command = flatline();
    command
        .args(["run", &scenario("shards.yaml"), "--engine", "embedded"])
        .args(options)
        .arg("--out")
        .arg(&out);
    Run::of(command, out)
}

fn merge(runs: &[&Path], out: &Path) -> std::process::Output {
    flatline().arg("merge").args(runs).arg("--out").arg(out).output().unwrap()
}

/// Each verdict, whether each target did what it must, and what it came to in all.
fn verdicts(out: &Path) -> Vec<(String, Value)> {
    let verdict = json(out, "verdict.json");
    let mut all = vec![("outcome".to_owned(), verdict["outcome"].clone())];
    for (name, target) in verdict["targets"].as_object().unwrap() {
        all.push((name.clone(), target["met"].clone()));
        let resources = target["resources"].as_object().unwrap().iter();
        all.extend(
            resources.map(|(resource, found)| (format!("{name} {resource}"), found["verdict"].clone())),
        );
    }
    all
}

#[test]
fn four_shards_come_to_what_one_run_comes_to() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut runs = vec![run(at("whole"), &[])];
    runs.extend((1..=4).map(|place| run(at(&format!("shard-{place}")), &["--shard", &format!("{place}/4")])));
    for run in &mut runs {
        assert!(run.wait().success(), "{}", run.out.display());
    }
    let shards: Vec<&Path> = runs.iter().skip(1).map(|run| run.out.as_path()).collect();
    let output = merge(&shards, &at("merged"));
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(verdicts(&at("merged")), verdicts(&at("whole")));
    let words = String::from_utf8(output.stdout).unwrap();
    assert!(words.contains("Told apart (runs of the same load):"), "{words}");

    // Nothing of any target is made up or left out.
    let (whole, merged) = (json(&at("whole"), "run.json"), json(&at("merged"), "run.json"));
    assert_eq!(merged["targets"], whole["targets"]);
    let moved_s: Vec<f64> =
        merged["parts"].as_array().unwrap().iter().map(|part| part["moved_s"].as_f64().unwrap()).collect();
    assert_eq!(moved_s.len(), 4);
    assert!(moved_s.iter().all(|moved_s| *moved_s >= 0.0) && moved_s.contains(&0.0), "{moved_s:?}");
    let samples: Vec<Sample> = read_csv(&at("merged").join("samples.csv")).unwrap();
    assert!(samples.is_sorted_by(|a, b| a.elapsed_s <= b.elapsed_s));
    let events: Vec<Event> = read_csv(&at("merged").join("events.csv")).unwrap();
    assert!(events.is_sorted_by(|a, b| a.elapsed_s <= b.elapsed_s));
    assert_eq!(events.iter().filter(|event| event.event == "phase" && event.detail == "load").count(), 1);
    for (shard, moved_s) in shards.iter().zip(moved_s) {
        let own: Vec<Sample> = read_csv(&shard.join("samples.csv")).unwrap();
        let fds: Vec<KindCount> = read_csv(&shard.join("fds.csv")).unwrap();
        let name = json(shard, "run.json")["targets"][0].as_str().unwrap().to_owned();
        let merged_fds: Vec<KindCount> = read_csv(&at("merged").join("fds.csv")).unwrap();
        let rows = |rows: &[Sample]| {
            rows.iter().filter(|row| row.target == name).map(|row| row.fds).collect::<Vec<_>>()
        };
        assert_eq!(rows(&samples), rows(&own), "{name}");
        let first_s = |rows: &[Sample]| rows.iter().find(|row| row.target == name).unwrap().elapsed_s;
        assert!((first_s(&samples) - first_s(&own) - moved_s).abs() < 1e-6, "{name}");
        let kinds = |rows: &[KindCount]| {
            rows.iter().filter(|row| row.target == name).map(|row| row.count).sum::<u64>()
        };
        assert_eq!(kinds(&merged_fds), kinds(&fds), "{name}");
        let (one, all) = (json(shard, "verdict.json"), json(&at("merged"), "verdict.json"));
        assert_eq!(one["targets"][&name]["audit"], all["targets"][&name]["audit"]);
        assert_eq!(
            json(shard, "audit.json")["targets"][&name],
            json(&at("merged"), "audit.json")["targets"][&name]
        );
    }
    let page = std::fs::read_to_string(at("merged").join("report.html")).unwrap();
    let first = json(shards[0], "run.json")["run_id"].as_str().unwrap().to_owned();
    assert!(page.contains("Merged from") && page.contains(&first));

    // It is a run directory as any other, and is never written over.
    assert!(flatline().arg("report").arg(at("merged")).output().unwrap().status.success());
    let again = merge(&shards, &at("merged"));
    assert_eq!(again.status.code(), Some(4), "{}", said(&again));

    // The same target of two runs is told apart.
    let twice = merge(&[&at("whole"), shards[1]], &at("twice"));
    assert!(twice.status.success(), "{}", said(&twice));
    let names = json(&at("twice"), "run.json")["targets"].clone();
    let names: Vec<&str> = names.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let leaks = json(&at("twice"), "verdict.json")["targets"]["archived"]["leaks"].clone();
    assert!(leaks.as_str().unwrap().starts_with("archived leaks "), "{leaks}");
    assert_eq!(names, ["pool", "hybrid (run 1)", "archived", "patient", "hybrid (run 2)"]);

    // What is no run, and what is not of one load, is refused, and nothing is written.
    let same = merge(&[shards[0], shards[0]], &at("refused"));
    assert!(same.status.code() == REFUSED && said(&same).contains("hold the same run"), "{}", said(&same));
    let none = merge(&[shards[0], &at("nowhere")], &at("refused"));
    assert!(none.status.code() == Some(4) && said(&none).contains("nowhere"), "{}", said(&none));
    let mut other = json(shards[1], "run.json");
    other["scenario_yaml"] = other["scenario_yaml"].as_str().unwrap().replace("count: 3", "count: 4").into();
    std::fs::write(shards[1].join("run.json"), other.to_string()).unwrap();
    let differ = merge(&[shards[0], shards[1]], &at("refused"));
    let words = said(&differ);
    assert!(differ.status.code() == REFUSED && words.contains("containers.count: 3 and 4"), "{words}");
    assert!(!at("refused").exists());
}

#[test]
fn a_shard_without_targets_and_one_that_is_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (shard, words) in [
        ("5/5", "shard 5/5 has no target"),
        ("5/4", "places go from 1 to 4"),
        ("job/4", "JOB_COMPLETION_INDEX is not set"),
    ] {
        let mut command = flatline();
        command
            .args(["run", &scenario("shards.yaml"), "--shard", shard, "--out"])
            .arg(folder.path().join("run"));
        let output = command.env_remove("JOB_COMPLETION_INDEX").output().unwrap();
        assert_eq!(output.status.code(), REFUSED, "{shard}: {}", said(&output));
        assert!(said(&output).contains(words), "{shard}: {}", said(&output));
    }
    assert!(!folder.path().join("run").exists());
}
