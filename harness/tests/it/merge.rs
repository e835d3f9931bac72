//! A run that was spread over shards, and joined again.

use std::path::{Path, PathBuf};

use flatline::record::files::read_csv;
use flatline::result::{Event, KindCount, Sample};
use serde_json::{Value, json};

use crate::compare::{change, copy};
use crate::support::{Run, flatline, json as read, said, scenario};

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
    let verdict = read(out, "verdict.json");
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
    let (whole, merged) = (read(&at("whole"), "run.json"), read(&at("merged"), "run.json"));
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
        let name = read(shard, "run.json")["targets"][0].as_str().unwrap().to_owned();
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
        let (one, all) = (read(shard, "verdict.json"), read(&at("merged"), "verdict.json"));
        assert_eq!(one["targets"][&name]["audit"], all["targets"][&name]["audit"]);
        assert_eq!(
            read(shard, "audit.json")["targets"][&name],
            read(&at("merged"), "audit.json")["targets"][&name]
        );
    }
    let page = std::fs::read_to_string(at("merged").join("report.html")).unwrap();
    let first = read(shards[0], "run.json")["run_id"].as_str().unwrap().to_owned();
    assert!(page.contains("Merged from") && page.contains(&first));

    // It is a run directory as any other, and is never written over.
    assert!(flatline().arg("report").arg(at("merged")).output().unwrap().status.success());
    let again = merge(&shards, &at("merged"));
    assert_eq!(again.status.code(), Some(4), "{}", said(&again));

    // The same target of two runs is told apart.
    let twice = merge(&[&at("whole"), shards[1]], &at("twice"));
    assert!(twice.status.success(), "{}", said(&twice));
    let names = read(&at("twice"), "run.json")["targets"].clone();
    let names: Vec<&str> = names.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let leaks = read(&at("twice"), "verdict.json")["targets"]["archived"]["leaks"].clone();
    assert!(leaks.as_str().unwrap().starts_with("archived leaks "), "{leaks}");
    assert_eq!(names, ["pool", "hybrid (run 1)", "archived", "patient", "hybrid (run 2)"]);

    // What is no run, and what is not of one load, is refused, and nothing is written.
    let same = merge(&[shards[0], shards[0]], &at("refused"));
    assert!(same.status.code() == REFUSED && said(&same).contains("hold the same run"), "{}", said(&same));
    let none = merge(&[shards[0], &at("nowhere")], &at("refused"));
    assert!(none.status.code() == Some(4) && said(&none).contains("nowhere"), "{}", said(&none));
    let mut other = read(shards[1], "run.json");
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

/// The share that one of several machines has of the published run: its one target, as if it had run there.
fn share(folder: &Path, place: usize, count: usize) -> PathBuf {
    let run = folder.join(format!("{place}-{count}"));
    copy(&run);
    change(&run, "run.json", |manifest| {
        let name = manifest["targets"][place - 1].clone();
        manifest["run_id"] = json!(format!("share-{place}-{count}"));
        manifest["shard"] = json!(format!("{place}/{count}"));
        manifest["targets"] = json!([name]);
    });
    let name = read(&run, "run.json")["targets"][0].as_str().unwrap().to_owned();
    change(&run, "verdict.json", |verdict| {
        verdict["targets"].as_object_mut().unwrap().retain(|target, _| *target == name);
        verdict["comparisons"] = json!({});
    });
    run
}

#[test]
fn a_shard_that_is_not_there_is_named_and_the_whole_is_not_green() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let shares: Vec<PathBuf> = (1..=3).map(|place| share(folder.path(), place, 3)).collect();
    let [one, two, three] = [0, 1, 2].map(|place| shares[place].as_path());
    let whole = merge(&[one, two, three], &at("whole"));
    assert_eq!(whole.status.code(), Some(0), "{}", said(&whole));
    assert_eq!(read(&at("whole"), "run.json").get("shard"), None);
    // Without the second one nobody knows of its target.
    let part = merge(&[three, one], &at("part"));
    assert_eq!(part.status.code(), Some(3), "{}", said(&part));
    let verdict = read(&at("part"), "verdict.json");
    let words = verdict["reason"].as_str().unwrap();
    assert!(words.ends_with("; not there: shard 2/3, of whose targets nobody knows"), "{words}");
    assert_eq!(verdict["outcome"], "undecided");
    let page = std::fs::read_to_string(at("part").join("report.html")).unwrap();
    assert!(page.contains("not there: shard 2&#x2f;3"), "the page says so");
    // A run of all targets beside a share of them misses nothing.
    let all = at("all");
    copy(&all);
    let beside = merge(&[&all, two], &at("beside"));
    assert_eq!(beside.status.code(), Some(0), "{}", said(&beside));
}

#[test]
fn what_does_not_belong_together_is_not_merged() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (one, two, of_four) =
        (share(folder.path(), 1, 3), share(folder.path(), 2, 3), share(folder.path(), 3, 4));
    let refused = |runs: &[&Path], words: &str| {
        let told = merge(runs, &at("refused"));
        assert!(told.status.code() == REFUSED && said(&told).contains(words), "{words}: {}", said(&told));
        assert!(!at("refused").exists());
    };
    refused(&[&one, &of_four], "shard: 1/3 and 3/4");
    change(&two, "run.json", |manifest| manifest["revision"] = json!("c0ffee"));
    refused(&[&one, &two], "revision: not set and c0ffee");
    change(&one, "run.json", |manifest| manifest["revision"] = json!("c0ffee"));
    assert_eq!(merge(&[&one, &two], &at("merged")).status.code(), Some(3));
    refused(&[&at("merged"), &of_four], "was merged itself: name the runs that it was merged from");
    change(&one, "run.json", |manifest| manifest["shard"] = json!("4/3"));
    let damaged = merge(&[&one, &two], &at("refused"));
    assert!(
        damaged.status.code() == Some(4) && said(&damaged).contains("places go from 1 to 3"),
        "{}",
        said(&damaged)
    );
}
