//! A thousand containers' lives and a thousand rotations leave nothing behind, and while they last what is
//! held stays in proportion to what is there. Both designs at once, on the same containers.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::support::docker_log;
use crate::support::engine::{Engine, Made};
use crate::support::holdings::{ByKind, by_kind};
use crate::support::numbered::{Numbered, last_pair};
use crate::support::program::{PATIENCE, Program, until};
use crate::support::stage::Stage;

/// Containers that are there at a time and go again, and how many of them go, one behind the other.
const AT_A_TIME: usize = 8;
const EACH: usize = 42;
const LIVES: usize = 3;
/// What Docker itself must have kept of their lines, so that the rest shows something: of a container that has
/// ended it waits no more than some seconds for the output (moby's `daemon/monitor.go` and `container/stream`).
const KEPT_MIN: usize = AT_A_TIME * EACH * LIVES * 2 * 9 / 10;
/// Containers whose logs rotate, and how often each.
const ROTATORS: usize = 8;
const ROTATIONS: usize = 125;
/// An order is a little less than `max-size`: a log that rotates twice before Docker's own reader has looked is
/// not sent whole (see `docs/pool.md`).
const PAIRS: u64 = 16;
const MAX_SIZE: &str = "5600";
/// What may be held beyond the quiet state, of each kind: containers come and go faster than they are
/// forgotten, and each may have its log in several generations. A leak of one for each start is far beyond.
const PROPORTION: usize = 128;
/// Longer than a thread is kept that has nothing to do.
const QUIET: Duration = Duration::from_secs(12);

struct Shipper {
    design: &'static str,
    stage: Stage,
    program: Program,
}

impl Shipper {
    async fn start(engine: &Engine, design: &'static str) -> Self {
        let stage = Stage::on(engine.clone());
        let program = stage.start(design, &[]).await;
        Self { design, stage, program }
    }

    /// What it holds once that has not changed for a while, and connections to Loki are closed.
    async fn at_rest(&self) -> ByKind {
        until("no connection to Loki is open", || self.stage.sink.open() == 0).await;
        let (mut before, mut since) = (by_kind(&self.program).await, Instant::now());
        let deadline = since + 3 * PATIENCE;
        while since.elapsed() < QUIET {
            assert!(Instant::now() < deadline, "it never comes to rest: {before:#?}");
            sleep(Duration::from_millis(500)).await;
            let now = by_kind(&self.program).await;
            if now != before {
                (before, since) = (now, Instant::now());
            }
        }
        before
    }

    /// Waits until it holds the same again.
    async fn at_rest_again(&self, before: &ByKind) {
        let deadline = Instant::now() + 3 * PATIENCE;
        loop {
            let now = by_kind(&self.program).await;
            if now == *before {
                return;
            }
            let kinds = before.keys().chain(now.keys()).filter(|kind| before.get(*kind) != now.get(*kind));
            let differ: BTreeMap<_, _> =
                kinds.map(|kind| (kind, (before.get(kind), now.get(kind)))).collect();
            assert!(Instant::now() < deadline, "not as before: {differ:#?}\n{}", self.program.log());
            sleep(Duration::from_millis(500)).await;
        }
    }

    /// Looks, for ever, whether what it holds is in proportion.
    async fn watch(&self, at_rest: &ByKind) {
        loop {
            let held = by_kind(&self.program).await;
            // As many lines are on their way as are written.
            for (kind, held) in held.into_iter().filter(|(kind, _)| !kind.contains("in_flight")) {
                let bound = at_rest.get(&kind).copied().unwrap_or_default() + PROPORTION;
                assert!(held <= bound, "{held} of {kind}, and {at_rest:?} at rest:\n{}", self.program.log());
            }
            sleep(Duration::from_millis(250)).await;
        }
    }
}

/// Until all have these lines.
async fn arrived(shippers: &[Shipper; 2], lines: &[String]) {
    for Shipper { design, stage, program } in shippers {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let missing: Vec<&String> = lines.iter().filter(|line| !stage.sink.has(line)).collect();
            if missing.is_empty() {
                break;
            }
            let late = Instant::now() > deadline;
            assert!(!late, "{design} has not read {missing:?} of {lines:?}:\n{}", program.log());
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// One container after the other, each with several lives. What it has written last is waited for, so that
/// all of them are read. How many lines Docker has kept of them.
async fn live_and_die(engine: &Engine, shippers: &[Shipper; 2], worker: usize) -> usize {
    let mut kept = 0;
    for number in 0..EACH {
        let name = format!("{worker}-{number}");
        let script = format!(
            "echo >> /lives; n=0; while read l; do n=$((n+1)); done < /lives; \
                              echo {name} out $n; echo {name} err $n >&2"
        );
        let container = engine.create(&script, &[], false).await;
        for _ in 0..LIVES {
            engine.start(&container).await;
            engine.ended(&container).await;
            arrived(shippers, &docker_log::kept(Path::new(docker_log::ROOT), &container.id)).await;
        }
        kept += docker_log::kept(Path::new(docker_log::ROOT), &container.id).len();
        engine.remove(container).await;
    }
    kept
}

/// Has it write until its log has rotated so often, and goes on only once all have come, since Docker keeps no
/// more than a few generations.
async fn rotate(shippers: &[Shipper; 2], writer: &mut Numbered, times: usize) {
    let log = docker_log::path(writer.id());
    let inode = || log.metadata().unwrap().ino();
    let (mut before, mut rotated) = (inode(), 0);
    while rotated < times {
        writer.write(PAIRS).await;
        arrived(shippers, &last_pair(writer)).await;
        rotated += usize::from(before != inode());
        before = inode();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_starts_and_a_thousand_rotations_leave_nothing_behind() {
    let engine = Engine::new().await;
    let shippers = [Shipper::start(&engine, "hybrid").await, Shipper::start(&engine, "pool").await];
    let folder = shippers[0].stage.path("numbered");
    let mut rotators = Vec::new();
    for number in 0..ROTATORS {
        let options = [("max-size", MAX_SIZE), ("max-file", "3")];
        let log_options = options.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        let made = Made { log_options, ..Made::default() };
        rotators.push(Numbered::start(&engine, &folder, &format!("rotator-{number}"), made).await);
    }
    for writer in &mut rotators {
        rotate(&shippers, writer, 4).await;
    }
    let before = tokio::join!(shippers[0].at_rest(), shippers[1].at_rest());
    let before = [before.0, before.1];

    let lives = join_all((0..AT_A_TIME).map(|worker| live_and_die(&engine, &shippers, worker)));
    let rotations = join_all(rotators.iter_mut().map(|writer| rotate(&shippers, writer, ROTATIONS)));
    let kept: usize = tokio::select! {
        (kept, _) = async { tokio::join!(lives, rotations) } => kept.into_iter().sum(),
        _ = async { tokio::join!(shippers[0].watch(&before[0]), shippers[1].watch(&before[1])) } => unreachable!(),
    };
    assert!(kept >= KEPT_MIN, "Docker has kept {kept} lines, of which {KEPT_MIN} are needed");

    for (shipper, before) in shippers.iter().zip(&before) {
        shipper.at_rest_again(before).await;
        assert_eq!(shipper.stage.dead().len(), 0);
    }
}
