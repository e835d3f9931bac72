//! Each class of leak, named exactly.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::Value;

use super::{LEAK, Leaky, text};
use crate::support::{flatline, said};

/// What is leaked, what of the verdicts fails with it, and what is said of it: a pace, and the kind.
type Class = (&'static str, &'static [&'static str], [&'static str; 2]);

const CLASSES: [Class; 8] = [
    ("fds", &["fds"], ["FDs/min", "devices /dev/null"]),
    ("sockets", &["fds"], ["FDs/min", "sockets udp to 127.0.0.1:9"]),
    ("pipes", &["fds"], ["FDs/min", "pipes"]),
    ("inotify", &["fds"], ["FDs/min", "inotify instances"]),
    ("watches", &["watches"], ["inotify watches/min", ""]),
    ("threads", &["threads"], ["threads/min", "named leaked"]),
    ("tasks", &["tasks"], ["tasks/min", "of kind leaked"]),
    ("maps", &[], ["MiB/min", "anonymous"]),
];
/// Of each: the system gives a user 128 inotify instances and no more, and others need some.
const PER_MIN: u32 = 60;

/// A watch under way, and what it must say.
struct Watch {
    class: &'static str,
    fails: &'static [&'static str],
    says: [&'static str; 2],
    leaky: Leaky,
    child: Child,
    out: PathBuf,
}

fn start((class, fails, says): Class, folder: &Path) -> Watch {
    let leaky = Leaky::start(&[&format!("--{class}={PER_MIN}")]);
    let out = folder.join(class);
    let child = flatline()
        .args(["watch", &leaky.pid(), "--for=40s", "--every=500ms", "--json", "--out"])
        .arg(&out)
        .args([&format!("--metrics={}/metrics", leaky.1), "--tasks-by-kind=leak_tasks"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Watch { class, fails, says, leaky, child, out }
}

/// Whether a sentence names this kind and no other. A scrape that was kept waiting leaves a connection behind, which may
/// be a hundredth part of what grows; none is more than a twentieth.
fn names(sentence: &str, [pace, kind]: [&str; 2]) -> bool {
    let Some((_, rest)) = sentence.split_once(pace) else { return false };
    let said = rest.rsplit_once(", ").map_or(rest, |(_, said)| said);
    let (part, named) = said.split_once(kind).unwrap_or((said, "?"));
    let percent = part.trim_end().strip_suffix('%').and_then(|part| part.trim_end().parse::<u32>().ok());
    let is_all = part == "all " || percent.is_some_and(|percent| percent >= 95);
    named.is_empty() && (is_all || kind.is_empty() && rest.is_empty()) && !rest.contains(';')
}

/// Whether it is decided; what is decided must be right.
fn is_right(watch: Watch) -> bool {
    let Watch { class, fails, says, leaky, child, out } = watch;
    let found = child.wait_with_output().unwrap();
    drop(leaky);
    let told = || {
        let files = ["events.csv", "samples.csv", "fds.csv", "memory.csv"].map(|name| text(&out, name));
        format!("{class}: {}\n{}\n{}", String::from_utf8_lossy(&found.stdout), said(&found), files.join("\n"))
    };
    let document: Value = serde_json::from_slice(&found.stdout).unwrap();
    let judgements = document["targets"]["flatline"].as_object().unwrap();
    let failing = judgements.iter().filter(|(_, judgement)| judgement["verdict"] == "fail");
    let failing: Vec<&str> = failing.map(|(column, _)| column.as_str()).collect();
    let leaks = document["leaks"].as_array().unwrap();
    // What is not decided says nothing; nothing else may be said.
    assert!(failing.iter().all(|column| fails.contains(column)), "{}", told());
    assert!(leaks.iter().all(|leak| names(leak.as_str().unwrap(), says)), "{}", told());
    if failing.as_slice() != fails || leaks.len() != 1 {
        return false;
    }
    if class == "maps" {
        let leak = leaks[0].as_str().unwrap();
        assert!(leak.starts_with("flatline's mapped memory grows"), "{}", told());
        assert!(found.status.code() != LEAK, "nobody has set a limit: {}", told());
    } else {
        assert_eq!(found.status.code(), LEAK, "{}", told());
    }
    true
}

#[test]
fn each_class_of_leak_is_named_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    // A machine that kept the samplers waiting has settled nothing. It may do so twice; it may never be wrong.
    let mut open = CLASSES.to_vec();
    for turn in ["first", "second", "third"] {
        let out = folder.path().join(turn);
        let watches: Vec<Watch> = open.iter().map(|class| start(*class, &out)).collect();
        let decided: Vec<bool> = watches.into_iter().map(is_right).collect();
        let mut decided = decided.into_iter();
        open.retain(|_| !decided.next().unwrap());
    }
    assert!(open.is_empty(), "never decided: {open:?}");
}

#[test]
fn a_sentence_that_names_another_kind_is_told_from_one_that_does_not() {
    let pipes = ["FDs/min", "pipes"];
    assert!(
        names("t leaks 120 FDs/min, all pipes", pipes) && names("t leaks 121 FDs/min, 99 % pipes", pipes)
    );
    for wrong in [
        "t leaks 121 FDs/min, 80 % pipes, 20 % inotify instances",
        "t leaks 121 FDs/min, 80 % pipes",
        "t leaks 121 FDs/min, all inotify instances",
        "t leaks 121 FDs/min, all pipes; 2.2 threads/min",
        "t leaks 121 tasks/min, all pipes",
    ] {
        assert!(!names(wrong, pipes), "{wrong}");
    }
    assert!(names("t leaks 9.0 inotify watches/min", ["inotify watches/min", ""]));
    assert!(names(
        "t's mapped memory grows 1.0 MiB/min (0.9 to 1.1), all anonymous",
        ["MiB/min", "anonymous"]
    ));
}
