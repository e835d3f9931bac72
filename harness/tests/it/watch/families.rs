//! A process with its children, and one that becomes another.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use super::{LEAK, PASS, UNDECIDED, signal, text, told, under_way, verdicts};
use crate::support::{flatline, said, wait_for};

/// A shell that runs a script until its input is closed. With all that it started it is gone when it is dropped.
struct Shell(Child);

impl Shell {
    fn run(script: &str) -> Self {
        let mut command = Command::new("sh");
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        Self(command.args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap())
    }

    fn say(&mut self, line: &str) {
        writeln!(self.0.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        Command::new("kill").args(["-KILL", "--", &group]).status().unwrap();
        self.0.wait().unwrap();
    }
}

fn rows(out: &std::path::Path) -> usize {
    text(out, "samples.csv").lines().count()
}

#[test]
fn a_leak_in_a_child_is_that_of_the_tree_and_children_that_come_and_go_are_none() {
    let program = env!("CARGO_BIN_EXE_flatline");
    let churn = "while :; do sleep 0.3; done";
    let shell = Shell::run(&format!("{program} leak --fds=240 & {churn} & read wait"));
    let folder = tempfile::tempdir().unwrap();
    let watch = |out: &std::path::Path, more: &[&str]| {
        let order = ["watch", &shell.pid(), "--json", "--for=40s", "--every=400ms", "--out"];
        let mut command = flatline();
        command.args(order).arg(out).args(more).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let (alone, tree) = (folder.path().join("alone"), folder.path().join("tree"));
    let both = [watch(&alone, &[]), watch(&tree, &["--children"])];
    let [of_one, of_all] = both.map(|child| child.wait_with_output().unwrap());
    assert!([PASS, UNDECIDED].contains(&of_one.status.code()), "{}", told(&of_one, &alone));
    assert_eq!(of_all.status.code(), LEAK, "{}", told(&of_all, &tree));
    let found = verdicts(&of_all);
    let growth = found["fds"]["growth_per_min"].as_f64().unwrap();
    assert!((growth - 240.0).abs() < 24.0, "{}", told(&of_all, &tree));
    assert_ne!(found["threads"]["verdict"], "fail", "{}", told(&of_all, &tree));
    // The shell's other child takes part in a hundredth of it, by chance.
    let named =
        said(&of_all).lines().any(|line| line.contains("sh leaks 2") && line.ends_with(" devices /dev/null"));
    assert!(named, "{}", told(&of_all, &tree));
    let events = text(&tree, "events.csv");
    assert!(
        events.contains("at the start: ") && events.contains("appeared: ") && events.contains("ended: "),
        "{events}"
    );
    assert!(said(&of_all).contains(" came and "), "{}", said(&of_all));
    assert!(!text(&alone, "events.csv").contains(",children,"), "{}", text(&alone, "events.csv"));
}

#[test]
fn children_that_nobody_waits_for_are_told() {
    // A shell waits for what it has started; what runs in its place does not.
    let shell = Shell::run("(exit 0) & (exit 0) & exec sleep 600");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let child = under_way(&out, &[&shell.pid(), "--children"]);
    signal(child.id(), "-INT");
    let found = child.wait_with_output().unwrap();
    assert!(said(&found).contains("2 more have ended and were not waited for"), "{}", told(&found, &out));
}

#[test]
fn another_program_under_the_same_id_begins_a_life_of_its_own() {
    let program = env!("CARGO_BIN_EXE_flatline");
    let mut shell = Shell::run(&format!("read go; exec {program} leak --fds=600"));
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let child = under_way(&out, &[&shell.pid(), "--limit=fds=2"]);
    shell.say("go");
    wait_for("the other program", || text(&out, "events.csv").contains(",exec,"));
    let before = rows(&out);
    wait_for("60 more samples", || rows(&out) > before + 60);
    signal(child.id(), "-INT");
    let found = child.wait_with_output().unwrap();
    let events = text(&out, "events.csv");
    assert!(events.contains("sh is now flatline, another program"), "{events}");
    assert!([LEAK, UNDECIDED].contains(&found.status.code()), "{}", told(&found, &out));
    let reason = verdicts(&found)["fds"]["reason"].to_string();
    assert!(reason.contains("in the one of its 2 lives"), "{}", told(&found, &out));
}

#[test]
fn a_name_that_a_process_gives_itself_changes_nothing() {
    let mut shell = Shell::run("read go; printf idle > /proc/$$/comm; read wait");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let child = under_way(&out, &[&shell.pid()]);
    shell.say("go");
    wait_for("the name", || text(&out, "events.csv").contains(",name,sh is now idle"));
    signal(child.id(), "-INT");
    let found = child.wait_with_output().unwrap();
    assert!(!verdicts(&found)["fds"]["reason"].to_string().contains("lives"), "{}", told(&found, &out));
}

#[test]
fn a_process_that_gets_the_id_of_the_one_that_is_watched_is_another() {
    // In a process table of its own ids can be chosen (pid_namespaces(7), `ns_last_pid`).
    let program = env!("CARGO_BIN_EXE_flatline");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let script = format!(
        "sleep 600 & watched=$!
         {program} watch $watched --every=3s --out '{}' & watch=$!
         until grep -q sleep '{0}/samples.csv' 2>/dev/null; do :; done
         kill $watched; wait $watched
         echo $((watched - 1)) > /proc/sys/kernel/ns_last_pid
         tail -f /dev/null & other=$!
         test $other = $watched || echo id $other and not $watched
         wait $watch; echo code $?",
        out.display()
    );
    let found = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", &script])
        .output()
        .unwrap();
    assert!(said(&found).contains("its id is another's by now: tail"), "{}", told(&found, &out));
    assert_eq!(
        String::from_utf8_lossy(&found.stdout).lines().last(),
        Some("code 3"),
        "{}",
        told(&found, &out)
    );
}
