//! `flatline history`, from outside, on run directories made of the published one, night after night.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::compare::{change, copy, sure};
use crate::support::{flatline, json as read, output, said};

/// After all nights, whatever the clock here says.
const UNTIL: &str = "2026-11-29T00:00:00Z";

/// Nights of a scenario, and their history.
struct Nights(tempfile::TempDir);

impl Nights {
    /// So many nights, a day apart, with hybrid's growth of descriptors on each.
    fn of(growths: &[f64]) -> Self {
        let nights = Self(tempfile::tempdir().unwrap());
        let first = nights.0.path().join("run");
        copy(&first);
        for (night, per_min) in growths.iter().enumerate() {
            sure(&first, *per_min);
            change(&first, "run.json", |manifest| {
                manifest["run_id"] = json!(format!("night-{night:02}"));
                manifest["started_at"] = json!(format!("2026-11-{:02}T02:00:00Z", night + 1));
                manifest["revision"] = json!(format!("c0ffee{night:02}"));
            });
            let told = nights.history(&["add", first.to_str().unwrap()]);
            assert_eq!(told.0, Some(0), "{}", told.2);
        }
        nights
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("trend/history.jsonl")
    }

    fn history(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = flatline();
        command.arg("history").args(arguments).arg("--file").arg(self.file());
        if !["add", "ack"].iter().any(|action| arguments.contains(action)) && !arguments.contains(&"--until")
        {
            command.args(["--until", UNTIL]);
        }
        let told = command.output().unwrap();
        (told.status.code(), String::from_utf8(told.stdout.clone()).unwrap(), said(&told))
    }

    fn json(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let all: Vec<&str> = ["--json"].into_iter().chain(arguments.iter().copied()).collect();
        let (code, printed, said) = self.history(&all);
        (code, serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed} {said}")))
    }
}

/// Twelve flat nights, each a little other than the one before.
fn flat() -> Vec<f64> {
    (0..12).map(|night| f64::from(night % 3) * 0.004 - 0.004).collect()
}

#[test]
fn a_leak_that_comes_is_suspected_then_confirmed_with_its_commits_then_acknowledged() {
    let mut growths = flat();
    growths.push(0.4);
    let nights = Nights::of(&growths);
    let (code, found) = nights.json(&[]);
    assert_eq!((code, &found["direction"]), (Some(3), &json!("open")), "{}", found["sentences"]);
    growths.push(0.41);
    let nights = Nights::of(&growths);
    let (code, printed, _) = nights.history(&[]);
    assert_eq!(code, Some(1));
    assert!(
        printed.contains("quick, hybrid: Growth of file descriptors is worse since 2026-11-13T02:00:00Z, commits c0ffee11..c0ffee12"),
        "{printed}"
    );
    let (code, _, said) = nights.history(&["ack", "night-03", "--because", "x"]);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("no such change begins with run night-03")
            && said.contains("night-12 hybrid fds_growth"),
        "{said}"
    );
    let (code, printed, said) = nights.history(&["ack", "night-12", "--because", "a cache that is meant"]);
    assert_eq!((code, printed.as_str()), (Some(0), "acknowledged: hybrid, fds_growth\n"), "{said}");
    let (code, printed, _) = nights.history(&[]);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("acknowledged: a cache that is meant"), "{printed}");
}

#[test]
fn a_leak_that_goes_is_gone() {
    let growths: Vec<f64> =
        flat().into_iter().chain([0.4, 0.41, 0.4]).chain(flat().into_iter().take(3)).collect();
    let (code, found) = Nights::of(&growths).json(&["--until", "2026-11-18T12:00:00Z"]);
    assert_eq!(code, Some(0), "{}", found["sentences"]);
    let series = found["scenarios"][0]["series"].as_array().unwrap();
    let of = |one: &&Value| one["target"] == "hybrid" && one["measure"] == "fds_growth";
    let changes = &series.iter().find(of).unwrap()["changes"];
    assert_eq!(
        (&changes[0]["state"], &changes[1]["direction"]),
        (&json!("gone"), &json!("better")),
        "{changes}"
    );
}

#[test]
fn nights_that_did_not_run_are_gaps_and_a_torn_line_is_named() {
    let nights = Nights::of(&flat());
    let text = std::fs::read_to_string(nights.file()).unwrap();
    let kept: Vec<&str> =
        text.lines().enumerate().filter(|(line, _)| !(4..6).contains(line)).map(|(_, line)| line).collect();
    let torn = format!("{}\n{{\"schema\":1,\"run_id\":\"nig", kept.join("\n"));
    std::fs::write(nights.file(), torn).unwrap();
    let arguments = ["--every", "1d", "--until", "2026-11-12T20:00:00Z"];
    let (code, printed, said) = nights.history(&arguments);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("10 nights, 2026-11-01 to 2026-11-12; 2 did not run"), "{printed}");
    assert!(said.contains("line 11 of") && said.contains("it is torn or no JSON"), "{said}");
    let (code, printed, _) = nights.history(&["--every", "1d", "--until", "2026-11-14T20:00:00Z"]);
    assert_eq!(code, Some(3));
    assert!(printed.contains("quick: 2 nights have not run since 2026-11-12T02:00:00Z"), "{printed}");
}

#[test]
fn it_is_written_in_each_form() {
    let growths: Vec<f64> = flat().into_iter().chain([0.4, 0.41]).collect();
    let nights = Nights::of(&growths);
    let out = nights.0.path().join("out");
    let (_, found) = nights.json(&["--out", out.to_str().unwrap(), "--until", "2026-11-14T20:00:00Z"]);
    assert_eq!(read(&out, "history.json"), found);
    let page = std::fs::read_to_string(out.join("history.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("c0ffee11..c0ffee12"), "{page}");
    assert!(!page.contains("http://") && !page.contains("https://"), "it asks nobody");
    assert!(
        std::fs::read_to_string(out.join("history.md"))
            .unwrap()
            .starts_with("## ✗ A change for the worse stands")
    );
    assert!(std::fs::read(out.join("history-quick.png")).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn a_history_of_which_nothing_can_be_read_is_not_green() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("history.jsonl");
    let show = |more: &[&str]| output(&[&["history", "--file", file.to_str().unwrap()], more].concat());
    std::fs::write(&file, "").unwrap();
    let told = show(&[]);
    assert_eq!(told.status.code(), Some(3));
    let printed = String::from_utf8(told.stdout).unwrap();
    assert!(
        printed.starts_with("? No night is known\n  the history has no night that can be read"),
        "{printed}"
    );
    std::fs::write(&file, "{\"schema\":9}\n".repeat(3_000)).unwrap();
    let told = show(&["--format", "markdown"]);
    assert_eq!(told.status.code(), Some(3));
    let words = said(&told);
    assert!(words.contains("line 20 of ") && words.contains("2980 more lines"), "{words}");
    assert_eq!(words.trim_ascii().lines().count(), 21, "{words}");
    assert!(String::from_utf8(told.stdout).unwrap().contains("its schema is 9"), "the summary tells it too");
}

#[test]
fn what_can_not_be_carried_out_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("none.jsonl");
    let told = output(&["history", "--file", file.to_str().unwrap()]);
    assert_eq!(told.status.code(), Some(2));
    assert!(said(&told).contains("`flatline history add RUN_DIR… --file"), "{}", said(&told));
    let told = output(&["history", "add", "/nowhere", "--file", file.to_str().unwrap()]);
    assert_eq!(told.status.code(), Some(4));
    assert!(!file.exists() && said(&told).contains("/nowhere/verdict.json"), "{}", said(&told));
    let nights = Nights::of(&[0.0]);
    let (code, _, words) = nights.history(&["--scenario", "nightly"]);
    assert_eq!(code, Some(2));
    assert!(words.contains("no scenario \"nightly\"; it has quick"), "{words}");
    let run = nights.0.path().join("run");
    let run = run.to_str().unwrap();
    let (code, printed, _) = nights.history(&["add", run, run]);
    assert_eq!((code, printed.matches("already").count()), (Some(0), 2), "{printed}");
    for (arguments, words) in [
        (["ack", "night-00", "--because", ""].as_slice(), "a value is required for '--because <WORDS>'"),
        (["--every", "0s"].as_slice(), "it must be above zero, such as 1d"),
    ] {
        let (code, _, said) = nights.history(arguments);
        assert!(code == Some(2) && said.contains(words), "{said}");
    }
    let told = output(&["history", "add", run, "--file", folder.path().to_str().unwrap()]);
    assert!(said(&told).contains("It is a folder; name a file with --file FILE"), "{}", said(&told));
}

#[test]
fn a_run_is_held_against_what_is_known_and_added_to_its_history() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let run = |out: &Path, more: &[&str]| {
        let mut command = flatline();
        command.args([
            "ab",
            &crate::support::scenario("short.yaml"),
            "--engine",
            "embedded",
            "--revision",
            "c0ffee",
        ]);
        command.arg("--out").arg(out).args(more);
        if !more.contains(&"--history") {
            command.arg("--history").arg(path("history.jsonl"));
        }
        command.output().unwrap()
    };
    let first = run(&path("first"), &[]);
    assert!(matches!(first.status.code(), Some(0 | 3)), "{}", said(&first));
    assert_eq!(read(&path("first"), "run.json")["revision"], "c0ffee");
    let file = path("baselines.json");
    let file = file.to_str().unwrap();
    let set = output(&["baseline", "set", path("first").to_str().unwrap(), "--file", file]);
    assert_eq!(set.status.code(), Some(0), "{}", said(&set));
    // What is known is that it held nothing at all, and cost nothing: so the second run is worse for sure.
    change(folder.path(), "baselines.json", |known| {
        for (_, target) in known["known"][0]["runs"][0]["targets"].as_object_mut().unwrap() {
            target["figures"]["cpu_per_million_lines"] =
                json!({ "value": 1e-6, "error": { "standard": 1e-9, "degrees": 9.0 } });
        }
    });
    let second = run(&path("second"), &["--baseline", file]);
    assert_eq!(second.status.code(), Some(1), "{}", said(&second));
    assert!(said(&second).contains("worse: ") && said(&second).contains("added to"), "{}", said(&second));
    assert_eq!(read(&path("second"), "against.json")["direction"], "worse");
    let page = std::fs::read_to_string(path("second").join("report.html")).unwrap();
    assert!(page.contains("Against what is known"), "the report says so");
    let drawn = output(&["report", "--page", path("second").to_str().unwrap()]).stdout;
    assert!(drawn.trim_ascii_end() == page.as_bytes().trim_ascii_end(), "and says so when it is drawn again");
    let lines = std::fs::read_to_string(path("history.jsonl")).unwrap();
    let ids: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["run_id"].to_string())
        .collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
    let nowhere = run(&path("third"), &["--history", "/proc/nowhere/h.jsonl"]);
    assert_eq!(nowhere.status.code(), Some(4), "{}", said(&nowhere));
    assert!(said(&nowhere).contains("/proc/nowhere/h.jsonl"), "{}", said(&nowhere));
    assert!(!path("third").exists(), "a history that can't be written is told before a night is spent");
    let missing = run(&path("third"), &["--baseline", "/nowhere/b.json"]);
    assert_eq!(missing.status.code(), Some(4));
    assert!(!path("third").exists(), "what is wrong is told before a night is spent");
}
