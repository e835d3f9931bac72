//! `flatline watch --container`, on real containers.

use std::path::Path;
use std::process::Command;

use super::{ENVIRONMENT, LEAK, UNDECIDED, are_complete, signal, text, told, under_way, verdicts, watch};
use crate::support::{said, wait_for};

/// A container that leaks on purpose, and the image that it was made of. Both are gone when it is dropped.
struct Container(String);

impl Container {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let program = env!("CARGO_BIN_EXE_flatline");
        let own = Self(format!("flatline-watch-test-{}", std::process::id()));
        // The program and the libraries that it is linked with, each where it lies here.
        let script = "set -e; mkdir root; cp \"$0\" root/flatline
            for file in $(ldd \"$0\" | grep -o '/[^ ]*'); do cp --parents -L \"$file\" root; done
            tar -C root -c . | docker import - \"$1\"";
        let made = Command::new("sh").args(["-c", script, program, &own.0]).current_dir(folder).output();
        let made = made.unwrap();
        assert!(made.status.success(), "a Docker Engine is needed: {}", said(&made));
        docker(
            &[&["run", "-d", "--network=none", "--name", &own.0, &own.0, "/flatline", "leak"], arguments]
                .concat(),
        );
        own
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        docker(&["rm", "-f", &self.0]);
        docker(&["rmi", "-f", &self.0]);
    }
}

fn docker(arguments: &[&str]) {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
}

#[test]
fn a_container_that_is_restarted_is_judged_in_each_of_its_lives() {
    let folder = tempfile::tempdir().unwrap();
    let container = Container::start(folder.path(), &["--fds=600"]);
    let out = folder.path().join("run");
    let child = under_way(&out, &["--container", &container.0, "--limit=fds=2"]);
    docker(&["restart", &container.0]);
    wait_for("the restart", || text(&out, "events.csv").contains(",restart,"));
    let before = text(&out, "samples.csv").lines().count();
    wait_for("40 more samples", || text(&out, "samples.csv").lines().count() > before + 40);
    signal(child.id(), "-INT");
    let found = child.wait_with_output().unwrap();
    assert!([LEAK, UNDECIDED].contains(&found.status.code()), "{}", told(&found, &out));
    let reason = verdicts(&found)["fds"]["reason"].to_string();
    assert!(reason.contains("in the one of its 2 lives"), "{}", told(&found, &out));
    are_complete(&out);
    docker(&["stop", &container.0]);
    let found = watch(&folder.path().join("stopped"), &["--container", &container.0]);
    assert_eq!(found.status.code(), ENVIRONMENT, "{}", said(&found));
    assert!(said(&found).contains("docker start"), "{}", said(&found));
    let found = watch(&folder.path().join("none"), &["--container", "flatline-no-such-container"]);
    assert_eq!(found.status.code(), ENVIRONMENT, "{}", said(&found));
    assert!(said(&found).contains("flatline-no-such-container"), "{}", said(&found));
}
