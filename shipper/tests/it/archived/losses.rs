//! The three defects that lose or damage lines, on real containers: each by a life that is killed or a log
//! that is awkward, once with the defect and once, in the very same way, without.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use shipper::delivery::checkpoint;
use shipper::record::{ContainerId, Position};
use wiremock::ResponseTemplate;

use super::{Archived, config};
use crate::support::docker_log;
use crate::support::engine::{Engine, Made};
use crate::support::loki::Loki;
use crate::support::program::until;

/// What all scripts begin with: `passes N` waits until the test opens gate N.
const GATES: &str = "passes() { until [ -e /gates/$1 ]; do sleep 0.01; done; }\n";

/// A folder for gates and one for what the shipper keeps.
struct Place {
    home: tempfile::TempDir,
    engine: Engine,
}

impl Place {
    async fn new() -> Self {
        let place = Self { home: tempfile::tempdir().unwrap(), engine: Engine::new().await };
        std::fs::create_dir(place.gates()).unwrap();
        place
    }

    fn gates(&self) -> PathBuf {
        self.home.path().join("gates")
    }

    fn open(&self, gate: &str) {
        std::fs::write(self.gates().join(gate), "").unwrap();
    }

    /// A container whose script waits at the gates.
    fn gated(&self) -> Made {
        Made { folder: Some((self.gates(), "/gates")), ..Made::default() }
    }

    /// Without any defect but `defect`, if that is on.
    async fn ship(&self, loki: &Loki, defect: &str, on: bool) -> Archived {
        let five = "replay_history: false, unbounded_retry: false, no_timestamp_check: false, leak_handles: false, no_metadata_cache: false";
        let defects = format!("{{ {five}, {defect}: {on} }}");
        let state = format!("state_dir: \"{}\"\n", self.state().display());
        let archived = Archived::start(self.home.path(), &(config(&self.engine, loki, &defects) + &state));
        archived.until("it listens to Docker", |it| it.counts("shipper_docker_connected") == 1).await;
        archived
    }

    fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }
}

/// The place that is on disk for a container.
fn saved(state: &Path, id: &ContainerId) -> Option<u64> {
    match checkpoint::read(&checkpoint::path(state)).unwrap()?.unwrap().containers.get(id)? {
        Position::File { offset, .. } => Some(*offset),
        Position::Api { .. } => None,
    }
}

/// Waits until the place behind all that a container has written is on disk.
async fn saved_whole(state: &Path, id: &ContainerId) {
    let length = || std::fs::metadata(docker_log::path(id)).map(|log| log.len()).ok();
    let whole = || saved(state, id).filter(|offset| *offset > 0).is_some_and(|at| Some(at) == length());
    until("its end is saved", whole).await;
}

/// Those of `written` that never came.
fn lost(loki: &Loki, written: &[String]) -> Vec<String> {
    let stored = loki.stored();
    written.iter().filter(|line| !stored.contains(line)).cloned().collect()
}

#[tokio::test]
async fn commit_on_read_loses_what_was_read_and_not_delivered_when_it_was_killed() {
    let waiting: Vec<String> = (1..=6).map(|number| format!("waits {number}")).collect();
    for (on, expected) in [(false, vec![]), (true, waiting.clone())] {
        let (place, up) = (Place::new().await, Arc::new(AtomicBool::new(false)));
        let is_up = Arc::clone(&up);
        let loki = Loki::by_rule(move |_, lines| {
            let waits = lines.iter().any(|line| line.starts_with("waits"));
            (waits && !is_up.load(Ordering::Relaxed)).then(|| ResponseTemplate::new(503))
        })
        .await;
        let mut archived = place.ship(&loki, "commit_on_read", on).await;
        let script = "for line in 1 2 3 4 5 6; do echo waits $line; done; passes 1; echo after; sleep 1000";
        let container = place.engine.make(&format!("{GATES}{script}"), place.gated()).await;
        place.engine.start(&container).await;
        archived.until("three batches wait", |it| it.counts("shipper_retry_queue_items") == 3).await;
        // Read later than all of those; and it does not wait.
        let other = place.engine.run("echo other; sleep 1000").await;
        saved_whole(&place.state(), &other.id).await;
        archived.kill();

        up.store(true, Ordering::Relaxed);
        let _archived = place.ship(&loki, "commit_on_read", on).await;
        place.open("1");
        until("what comes after is there", || loki.stored().contains(&"after".to_owned())).await;
        assert_eq!(lost(&loki, &waiting), expected, "commit_on_read: {on}");
    }
}

#[tokio::test]
async fn path_keyed_offset_loses_the_rest_of_a_log_that_was_rotated_while_it_was_down() {
    for on in [false, true] {
        let (place, loki) = (Place::new().await, Loki::start([]).await);
        let mut archived = place.ship(&loki, "path_keyed_offset", on).await;
        // Some 200 bytes each in the log: two rotations between the first gate and the second.
        let text = "x".repeat(100);
        let script = format!(
            "n=0; to() {{ while [ $n -lt $1 ]; do echo {text} $n; n=$((n + 1)); done; }}\n\
             to 3; passes 1; to 200; : > /gates/written; passes 2; to 201; sleep 1000"
        );
        let rotated = [("max-size", "16k"), ("max-file", "5")];
        let log_options = rotated.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        let made = Made { log_options, ..place.gated() };
        let container = place.engine.make(&format!("{GATES}{script}"), made).await;
        place.engine.start(&container).await;
        let written: Vec<String> = (0..201).map(|number| format!("{text} {number}")).collect();
        until("its first lines are there", || lost(&loki, &written[..3]).is_empty()).await;
        saved_whole(&place.state(), &container.id).await;
        archived.kill();

        place.open("1");
        until("it has written", || place.gates().join("written").exists()).await;
        // Docker may be behind.
        let kept = || docker_log::kept(Path::new(docker_log::ROOT), &container.id);
        until("all is in the log", || kept().len() == 200).await;
        let newest = docker_log::path(&container.id);
        let in_newest = std::fs::read_to_string(&newest).unwrap().lines().count();
        assert!(newest.with_extension("log.2").exists() && in_newest > 6, "{in_newest}");

        let mut archived = place.ship(&loki, "path_keyed_offset", on).await;
        place.open("2");
        until("its last line is there", || loki.stored().contains(&written[200])).await;
        assert!(archived.terminate().0.success());
        let lost = lost(&loki, &written);
        if on {
            // All of the rotated files, and of the newest as much as had been read of another.
            let all_but_newest = 200 - in_newest;
            assert!(lost.len() > all_but_newest - 3, "{} of {all_but_newest}", lost.len());
            assert_eq!(lost, written[3..3 + lost.len()]);
        } else {
            assert_eq!(lost, Vec::<String>::new());
        }
    }
}

#[tokio::test]
async fn mixed_streams_mixes_up_long_lines_of_both_streams() {
    // Two fragments, and a rest that comes with the newline.
    let text = "0123456789abcdef".repeat(2048);
    let written = [format!("out{text}"), format!("err{text}")];
    for (on, expected) in [(false, vec![]), (true, written.to_vec())] {
        let (place, loki) = (Place::new().await, Loki::start([]).await);
        let _archived = place.ship(&loki, "mixed_streams", on).await;
        let script = "x=0123456789abcdef; for i in 1 2 3 4 5 6 7 8 9 10 11; do x=$x$x; done\n\
                      printf %s out$x; passes 1; printf %s err$x >&2; passes 2; echo; passes 3; echo >&2\n\
                      passes 4; echo end; sleep 1000";
        let container = place.engine.make(&format!("{GATES}{script}"), place.gated()).await;
        place.engine.start(&container).await;
        let log = docker_log::path(&container.id);
        let entries =
            || std::fs::read(&log).map_or(0, |log| log.iter().filter(|byte| **byte == b'\n').count());
        for (gate, written) in [("1", 2), ("2", 4), ("3", 5), ("4", 6)] {
            until("Docker has written that", || entries() == written).await;
            place.open(gate);
        }
        until("its last line is there", || loki.stored().contains(&"end".to_owned())).await;
        assert_eq!(lost(&loki, &written), expected, "mixed_streams: {on}");
        assert_eq!(loki.stored().concat().len(), written.concat().len() + "end".len(), "nothing is missing");
    }
}
