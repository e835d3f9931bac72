//! Killed a hundred times at random moments, on real containers that write, rotate, restart and are
//! replaced, while the sink stores, refuses, stalls, resets and is down: each line that was written is at
//! the sink or in the dead letters, and what comes twice was in flight.
//!
//! | container | its log | why Docker still has each line that is not settled |
//! | --- | --- | --- |
//! | `large` | rotates rarely | it writes on only while few of its lines are unsettled |
//! | `three` | `max-file=3`, 16 KiB each | the same; two whole files hold more than it may have unsettled |
//! | `one` (`hybrid`) | `max-file=1` | its file is filled up at any time, but begun anew only in each tenth life, which is not ended before all lines are settled: what is unlinked while nobody reads is lost, whoever reads |
//! | `restarted` | as `large` | Docker keeps it over a restart |
//! | `replaced` | as `large` | it is removed once all its lines are settled: its log goes with it |
//!
//! `pool` goes without `one`: a follower of Docker's log API that is not at the end of the file when that is
//! rotated away does not get the rest, and with `max-file=1` it is in no file that the API reads.
//!
//! A line may come again only in a later life, and only if it lies behind the checkpoint that the kill
//! left. Those are the lines that were under way (at most the retry queue full of batches), those
//! acknowledged since the last checkpoint, and those acknowledged behind a line that was not. Within one
//! life a line is never sent again once that life was told that it is stored.
//!
//! `SHIPPER_TEST_SEED` sets the seed, which a failure prints.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::prelude::*;
use rand::rngs::StdRng;
use shipper::record::ContainerId;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::support::docker_log;
use crate::support::engine::{Engine, Made};
use crate::support::letters::Letters;
use crate::support::numbered::{self, LOGGED_BYTES_MAX, Numbered};
use crate::support::program::{PATIENCE, Program, assert_conserved, sum};
use crate::support::sink::{Act, Sink};

mod judge;
mod weather;

use judge::{Coverage, judge};
use weather::weather;

const KILLS: u32 = 100;
/// In each life of this many, `one` begins a new file.
const UNLINKING: u32 = 10;
const BATCH_BYTES: u64 = 4096;
const RETRY_ITEMS: u64 = 6;
/// A batch counts at least this much for a line: its text and what Loki is told beside it.
const LINE_COST_MIN: u64 = 80 + 128;
/// What can be under way: the queue counts the pushes in the air too.
const IN_FLIGHT_MAX: u64 = RETRY_ITEMS * (BATCH_BYTES / LINE_COST_MIN);
/// A container writes on while fewer of its lines are unsettled.
const UNSETTLED_MAX: u64 = 120;
const PAIRS_MAX: u64 = 15;
/// What a line takes there, at least.
const LOGGED_BYTES_MIN: u64 = 140;
const FILE_BYTES: u64 = 16 * 1024;
/// Two whole files must hold what may be unsettled.
const _: () = assert!((UNSETTLED_MAX + 2 * PAIRS_MAX) * LOGGED_BYTES_MAX < 2 * FILE_BYTES);
const BEAT: Duration = Duration::from_millis(40);

/// What a container does beside writing.
#[derive(Clone, Copy, PartialEq)]
enum Habit {
    Writes,
    FillsOneFile,
    Restarts,
    IsReplaced,
}

const LARGE: (&str, Habit) = ("large", Habit::Writes);
const THREE: (&str, Habit) = ("three", Habit::Writes);
const ONE: (&str, Habit) = ("one", Habit::FillsOneFile);
const RESTARTED: (&str, Habit) = ("restarted", Habit::Restarts);
const REPLACED: (&str, Habit) = ("replaced", Habit::IsReplaced);

struct World {
    dir: tempfile::TempDir,
    engine: Engine,
    sink: Sink,
    tally: Mutex<Tally>,
    /// Held while the sink's mood changes.
    weather: tokio::sync::Mutex<()>,
    /// This life is not ended and the sink stores all, until `one` has a new file and all is settled.
    protected: AtomicBool,
    end: CancellationToken,
    containers: Mutex<BTreeSet<ContainerId>>,
}

/// What is settled so far.
struct Tally {
    letters: Letters,
    dead: HashSet<String>,
    settled: HashSet<String>,
    by_author: HashMap<String, u64>,
    arrivals: usize,
    restarts: u32,
}

impl Tally {
    fn settle(&mut self, line: String) {
        if self.settled.insert(line.clone()) {
            *self.by_author.entry(numbered::author(&line).to_owned()).or_default() += 1;
        }
    }
}

impl World {
    async fn new() -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("numbered")).unwrap();
        let tally = Tally {
            letters: Letters::of(&dir.path().join("state")),
            dead: HashSet::new(),
            settled: HashSet::new(),
            by_author: HashMap::new(),
            arrivals: 0,
            restarts: 0,
        };
        Arc::new(Self {
            dir,
            engine: Engine::new().await,
            sink: Sink::start(),
            tally: Mutex::new(tally),
            weather: tokio::sync::Mutex::default(),
            protected: AtomicBool::new(false),
            end: CancellationToken::new(),
            containers: Mutex::default(),
        })
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("numbered")
    }

    fn spawn(&self, design: &str, life: u32) -> Program {
        let config = format!(
            "design: {design}\nstate_dir: {dir}/state\nstart: end\nshutdown_deadline: 5s\n\
             docker: {{max_connections: 3}}\n\
             loki: {{url: \"{loki}/{life}\", encoding: json}}\n\
             batch: {{max_bytes: {BATCH_BYTES}B, max_wait: 20ms}}\n\
             retry: {{max_items: {RETRY_ITEMS}, initial: 20ms, max: 100ms}}\n\
             admin: {{listen: \"127.0.0.1:0\"}}\ndiscovery: {{labels: [\"{label}\"]}}\n",
            dir = self.dir.path().display(),
            loki = self.sink.url(),
            label = self.engine.label,
        );
        Program::spawn(self.dir.path(), &config)
    }

    /// Writes down what has been settled since the last time.
    fn count(&self) {
        let mut tally = self.tally.lock().unwrap();
        let from = tally.arrivals;
        let stored = self.sink.book(|book| book.order[from..].to_vec());
        tally.arrivals += stored.len();
        stored.into_iter().for_each(|line| tally.settle(line));
        for line in tally.letters.news() {
            tally.dead.insert(line.clone());
            tally.settle(line);
        }
    }

    fn unsettled(&self, container: &Numbered) -> u64 {
        let settled = self.tally.lock().unwrap().by_author.get(&container.name).copied().unwrap_or(0);
        (2 * container.pairs()).saturating_sub(settled)
    }

    /// The sink stores all and goes on doing so until [`World::protected`] is set back.
    async fn protect(&self) {
        let _held = self.weather.lock().await;
        self.protected.store(true, Ordering::SeqCst);
        // Whoever hangs is let go.
        self.sink.down().await;
        self.sink.up();
        self.sink.mood(Act::Store);
    }

    /// Waits until all that it has written is settled.
    async fn settled(&self, container: &Numbered) {
        let wait = async {
            while self.unsettled(container) > 0 {
                sleep(BEAT).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            let (sure, _) = numbered::all_lines(&self.folder(), std::slice::from_ref(&container.name));
            let tally = self.tally.lock().unwrap();
            let lost: Vec<_> = sure.iter().filter(|line| !tally.settled.contains(*line)).collect();
            panic!("{} of {} lines are lost: {lost:#?}", lost.len(), sure.len());
        }
    }

    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let wait = async {
            while !holds() {
                sleep(BEAT).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        assert!(waited.is_ok(), "never: {what}");
    }
}

async fn count(world: Arc<World>) {
    loop {
        world.count();
        sleep(BEAT).await;
    }
}

/// Writes as one container after the other, with one habit; the names that they had, and the last of them.
async fn write(world: Arc<World>, name: &str, habit: Habit, mut random: StdRng) -> (Vec<String>, Numbered) {
    let options: &[(&str, &str)] = match name {
        "one" => &[("max-size", "16k"), ("max-file", "1")],
        "three" => &[("max-size", "16k"), ("max-file", "3")],
        _ => &[("max-size", "64k"), ("max-file", "5")],
    };
    let log_options: Vec<_> = options.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let mut names = Vec::new();
    loop {
        let name = format!("{name}{}", names.len());
        let made = Made { log_options: log_options.clone(), ..Made::default() };
        let mut container = Numbered::start(&world.engine, &world.folder(), &name, made).await;
        world.containers.lock().unwrap().insert(container.id().clone());
        names.push(name);
        let mut beats: i32 = random.random_range(150..400);
        while habit != Habit::IsReplaced || beats > 0 {
            if world.end.is_cancelled() {
                return (names, container);
            }
            beat(&world, &mut container, habit, &mut random).await;
            beats -= 1;
        }
        world.engine.stop(&container.running).await;
        world.settled(&container).await;
        world.containers.lock().unwrap().remove(container.id());
        world.engine.remove(container.running).await;
    }
}

async fn beat(world: &World, container: &mut Numbered, habit: Habit, random: &mut StdRng) {
    let restarts = habit == Habit::Restarts && random.random_ratio(1, 100);
    let pairs = random.random_range(1..=PAIRS_MAX);
    if restarts {
        world.engine.stop(&container.running).await;
        world.engine.start(&container.running).await;
        world.tally.lock().unwrap().restarts += 1;
    }
    if habit == Habit::FillsOneFile && world.protected.load(Ordering::SeqCst) {
        begin_a_new_file(world, container).await;
    }
    let room = habit != Habit::FillsOneFile || has_room(container.id(), pairs);
    if room && world.unsettled(container) < UNSETTLED_MAX {
        container.order(pairs);
    }
    sleep(BEAT).await;
}

fn log_bytes(id: &ContainerId) -> u64 {
    std::fs::metadata(docker_log::path(id)).map_or(0, |metadata| metadata.len())
}

/// Whether so many pairs fit into the log file, whatever of the last order is still to come.
fn has_room(id: &ContainerId, pairs: u64) -> bool {
    log_bytes(id) + 2 * (pairs + PAIRS_MAX) * LOGGED_BYTES_MAX < FILE_BYTES
}

/// Has `one` write a little beyond the end of its file while a shipper lives that has settled all, and
/// waits until that shipper has settled the rest.
async fn begin_a_new_file(world: &World, container: &mut Numbered) {
    world.settled(container).await;
    let pairs = FILE_BYTES.saturating_sub(log_bytes(container.id())) / (2 * LOGGED_BYTES_MIN) + 5;
    while !container.order(pairs) {
        sleep(BEAT).await;
    }
    world.until("the order is carried out", || container.is_idle()).await;
    world.settled(container).await;
    world.protected.store(false, Ordering::SeqCst);
}

async fn crash(design: &str, habits: &[(&'static str, Habit)]) {
    let seed =
        std::env::var("SHIPPER_TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    eprintln!("SHIPPER_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let world = World::new().await;
    // From the first start on, each new container is read from its beginning, whatever happens.
    let mut first = world.spawn(design, 0);
    first.listening().await;
    first.until("/ready", |page| page == "ready\n").await;
    let mut writers = JoinSet::new();
    for &(name, habit) in habits {
        writers.spawn(write(world.clone(), name, habit, StdRng::from_rng(&mut random)));
    }
    let mut others = JoinSet::new();
    others.spawn(weather(world.clone(), StdRng::from_rng(&mut random)));
    others.spawn(count(world.clone()));

    let mut coverage = Coverage::default();
    let mut first = Some(first);
    for life in 0..KILLS {
        let mut program = first.take().unwrap_or_else(|| world.spawn(design, life));
        coverage.look_up(&world);
        let unlinking = life % UNLINKING == UNLINKING - 1 && habits.contains(&ONE);
        live(&world, &mut program, unlinking, &mut random).await;
        let broken = writers.try_join_next();
        assert!(broken.is_none(), "a writer ended early: {:?}", broken.map(|ended| ended.err()));
        program.kill().await;
        coverage.take(&world).await;
    }
    let mut last = world.spawn(design, KILLS);
    coverage.look_up(&world);
    last.listening().await;
    world.protect().await;
    world.end.cancel();
    let (mut names, mut containers) = (Vec::new(), Vec::new());
    while let Some(ended) = writers.join_next().await {
        let (of_writer, container) = ended.unwrap();
        world.engine.stop(&container.running).await;
        names.extend(of_writer);
        containers.push(container);
    }
    let (sure, perhaps) = numbered::all_lines(&world.folder(), &names);
    let all_settled = || sure.iter().all(|line| world.tally.lock().unwrap().settled.contains(line));
    settled_or_late(&world, all_settled).await;
    let page = last.until("/metrics", |page| sum(page, "shipper_lines_in_flight") == 0.0).await;
    assert_conserved(&page);
    assert_eq!(sum(&page, "shipper_lines_dropped_total"), 0.0, "{page}");
    assert_eq!(last.terminate().await, 0);
    coverage.take(&world).await;
    coverage.look_up(&world);
    world.count();
    others.shutdown().await;
    judge(&world, &coverage, &sure, &perhaps);
}

/// Waits, but not for ever: what is lost is told by name.
async fn settled_or_late(world: &World, all_settled: impl Fn() -> bool) {
    let wait = async {
        while !all_settled() {
            sleep(BEAT).await;
        }
    };
    if tokio::time::timeout(PATIENCE, wait).await.is_err() {
        eprintln!("not all lines are settled in time; {} are", world.tally.lock().unwrap().settled.len());
    }
}

/// A random while of a life: now and then it is killed while it starts.
async fn live(world: &World, program: &mut Program, unlinking: bool, random: &mut StdRng) {
    let (starting, while_ms) = (random.random_bool(0.2), random.random_range(100..1500));
    if starting && !unlinking {
        return sleep(Duration::from_millis(while_ms / 10)).await;
    }
    program.listening().await;
    if unlinking {
        world.protect().await;
        // Asked for its page while we wait, which then tells what is amiss.
        program.until("/metrics", |_| !world.protected.load(Ordering::SeqCst)).await;
    } else {
        sleep(Duration::from_millis(while_ms)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hybrid_loses_nothing_and_repeats_only_what_was_in_flight_when_it_is_killed_a_hundred_times() {
    crash("hybrid", &[LARGE, THREE, ONE, RESTARTED, REPLACED]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_loses_nothing_and_repeats_only_what_was_in_flight_when_it_is_killed_a_hundred_times() {
    crash("pool", &[LARGE, THREE, RESTARTED, REPLACED]).await;
}
