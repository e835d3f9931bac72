//! What may not be looked at, and what is no process to watch.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::{ENVIRONMENT, Leaky, PASS, UNDECIDED, told, verdicts, watch};
use crate::support::{said, wait_for};

/// A program and a folder that anybody may use, whatever lies above the folder of the tests.
fn for_anybody(folder: &Path) -> (PathBuf, PathBuf) {
    let (program, out) = (folder.join("flatline"), folder.join("out"));
    std::fs::copy(env!("CARGO_BIN_EXE_flatline"), &program).unwrap();
    std::fs::create_dir(&out).unwrap();
    for (path, mode) in [(folder, 0o755), (program.as_path(), 0o755), (out.as_path(), 0o777)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    (program, out)
}

fn as_nobody(program: &Path, out: &Path, arguments: &[&str]) -> Output {
    Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(program)
        .args(["watch", "--json", "--every=200ms", "--for=10s", "--out"])
        .arg(out)
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn of_another_users_process_what_is_seen_is_judged_and_the_rest_is_told() {
    let leaky = Leaky::start(&["--hold=sockets=5"]);
    let folder = tempfile::tempdir().unwrap();
    let (program, out) = for_anybody(folder.path());
    let run = out.join("run");
    let found = as_nobody(&program, &run, &[&leaky.pid()]);
    assert!([PASS, UNDECIDED].contains(&found.status.code()), "{}", told(&found, &run));
    assert!(said(&found).contains("neither they nor its memory are told by kind"), "{}", said(&found));
    assert!(said(&found).contains("as root"), "{}", said(&found));
    assert!(
        verdicts(&found)["fds"]["growth_per_min"].is_number(),
        "they are counted: {}",
        told(&found, &run)
    );
    let events = std::fs::read_to_string(run.join("events.csv")).unwrap();
    assert_eq!(events.matches(",unreadable,").count(), 1, "{events}");
    let refused = as_nobody(&program, Path::new("/root/out"), &[&leaky.pid()]);
    assert_eq!(refused.status.code(), ENVIRONMENT, "{}", said(&refused));
    assert!(said(&refused).contains("--out DIR"), "{}", said(&refused));
}

#[test]
fn of_a_tree_those_who_hide_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (program, out) = for_anybody(folder.path());
    // Who runs a program that he may not read can't look at it either, though it is his (proc(5), `dumpable`).
    let secret = folder.path().join("secret");
    std::fs::copy("/bin/sleep", &secret).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o711)).unwrap();
    let mut shell = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c"])
        .arg(format!("{} 600 & read wait; kill $!", secret.display()))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let children = format!("/proc/{0}/task/{0}/children", shell.id());
    wait_for("the child", || !std::fs::read_to_string(&children).unwrap().trim().is_empty());
    let run = out.join("run");
    let found = as_nobody(&program, &run, &[&shell.id().to_string(), "--children"]);
    drop(shell.stdin.take());
    shell.wait().unwrap();
    assert!(said(&found).contains("1 of its 2 processes may not be looked at"), "{}", told(&found, &run));
    assert!(verdicts(&found)["threads"]["growth_per_min"].is_number(), "{}", told(&found, &run));
}

#[test]
fn what_is_no_process_to_watch_is_told_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let kernel = watch(&out, &["2"]);
    assert_eq!(kernel.status.code(), ENVIRONMENT);
    assert!(said(&kernel).contains("thread of the kernel"), "{}", said(&kernel));
    let mut ended = Command::new("true").spawn().unwrap();
    let stat = format!("/proc/{}/stat", ended.id());
    while !std::fs::read_to_string(&stat).unwrap().contains(") Z ") {
        std::thread::yield_now();
    }
    let zombie = watch(&out, &[&ended.id().to_string()]);
    ended.wait().unwrap();
    assert_eq!(zombie.status.code(), ENVIRONMENT);
    assert!(said(&zombie).contains("zombie"), "{}", said(&zombie));
    let leaky = Leaky::start(&["--hold=threads=1"]);
    let threads = std::fs::read_dir(format!("/proc/{}/task", leaky.pid())).unwrap().flatten();
    let mut threads = threads.map(|entry| entry.file_name().into_string().unwrap());
    let thread = threads.find(|thread| *thread != leaky.pid()).unwrap();
    let of_thread = watch(&out, &[&thread]);
    assert_eq!(of_thread.status.code(), ENVIRONMENT);
    let words = format!("{thread} is a thread of process {}", leaky.pid());
    assert!(said(&of_thread).contains(&words), "{}", said(&of_thread));
    assert!(!out.exists(), "who can't be watched leaves no folder");
}
