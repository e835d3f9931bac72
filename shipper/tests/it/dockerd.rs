//! The Docker daemon itself is restarted or killed under the shipper. Each test has an engine of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::support::docker_log;
use crate::support::dockerd::Dockerd;
use crate::support::engine::{Engine, Made};
use crate::support::numbered::Numbered;
use crate::support::program::{PATIENCE, Program, assert_conserved, sum, until};
use crate::support::stage::Stage;

struct World {
    dockerd: Dockerd,
    stage: Stage,
    writers: Vec<Numbered>,
}

impl World {
    async fn new(options: &'static [&'static str]) -> Self {
        let dockerd = Dockerd::start(options).await;
        let stage = Stage::on(Engine::of(&dockerd.socket()).await);
        Self { dockerd, stage, writers: Vec::new() }
    }

    async fn start(&self, design: &str) -> Program {
        let containers = self.dockerd.containers();
        let docker =
            format!("docker: {{host: \"{}\", containers_root: {containers:?}}}", self.stage.engine.host());
        self.stage.start(design, &[&docker]).await
    }

    async fn hire(&mut self, name: &str) {
        let made = Made { restarts: true, ..Made::default() };
        let folder = self.stage.path("numbered");
        self.writers.push(Numbered::start(&self.stage.engine, &folder, name, made).await);
    }

    /// Has each write. One whose last order was lost with a life that ended takes another.
    fn order(&mut self, pairs: u64) {
        for writer in &mut self.writers {
            writer.order(pairs);
        }
    }

    /// What stands in Docker's logs, and how often: of a line that the daemon had read a half of when it was
    /// killed, the rest is logged as a line. That may be mere padding, like another's.
    fn logged(&self) -> BTreeMap<String, usize> {
        let logs = |writer: &Numbered| docker_log::kept(&self.dockerd.containers(), writer.id());
        let mut times = BTreeMap::new();
        for line in self.writers.iter().flat_map(logs) {
            *times.entry(line).or_default() += 1;
        }
        times
    }

    /// Lines that came more often than they were logged.
    fn repeated(&self) -> Vec<String> {
        let logged = self.logged();
        let often = |line: &&String, arrivals: usize| arrivals > logged.get(*line).copied().unwrap_or(0);
        self.stage.sink.book(|book| {
            let lines = book.lines.iter().filter(|(line, stored)| often(line, stored.arrivals.len()));
            lines.map(|(line, stored)| format!("{line}: {stored:?}")).collect()
        })
    }

    /// Until all that stands in Docker's logs has arrived, and nothing is on its way; the metrics page then.
    async fn settled(&self, program: &Program) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let lines = self.logged();
            let missing: Vec<&String> = lines.keys().filter(|line| !self.stage.sink.has(line)).collect();
            let page = program.page("/metrics").await;
            if missing.is_empty() && !lines.is_empty() && sum(&page, "shipper_lines_in_flight") == 0.0 {
                assert_conserved(&page);
                return page;
            }
            let few = &missing[..missing.len().min(5)];
            assert!(
                Instant::now() < deadline,
                "{} of {} are missing: {few:?}\n{}",
                missing.len(),
                lines.len(),
                program.log()
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Each has written what it was told last.
    async fn written(&self) {
        until("all is written", || self.writers.iter().all(Numbered::is_idle)).await;
    }
}

/// What is open in the quiet between, but for connections to the sink that are kept for a while.
fn own_tasks(page: &str) -> f64 {
    sum(page, "shipper_tasks_alive") - sum(page, "shipper_tasks_alive{kind=\"admin_connection\"}")
}

async fn ready(program: &Program) {
    program.until("/ready", |page| page == "ready\n").await;
}

async fn daemon_ends(design: &str, options: &'static [&'static str], signal: Signal) {
    let mut world = World::new(options).await;
    let program = world.start(design).await;
    for name in ["a", "b", "c"] {
        world.hire(name).await;
    }
    world.order(50);
    world.written().await;
    let tasks = own_tasks(&world.settled(&program).await);
    for _ in 0..2 {
        // They are in the midst of it when the daemon ends.
        world.order(2000);
        world.dockerd.end(signal).await;
        sleep(Duration::from_millis(300)).await;
        world.dockerd.up().await;
        ready(&program).await;
        // What was ordered before is done, or was lost with a life; each goes on.
        let goes_on = async {
            loop {
                let pairs: Vec<u64> = world.writers.iter().map(Numbered::pairs).collect();
                world.order(20);
                sleep(Duration::from_millis(100)).await;
                if world.writers.iter().zip(pairs).all(|(writer, before)| writer.pairs() >= before + 20) {
                    break;
                }
            }
        };
        tokio::time::timeout(PATIENCE, goes_on).await.expect("the containers do not go on");
        world.written().await;
        let page = world.settled(&program).await;
        assert_eq!(own_tasks(&page), tasks, "{design}: {page}");
    }
    // A container that is born now is found too.
    world.hire("d").await;
    world.order(10);
    world.written().await;
    world.settled(&program).await;
    assert_eq!(world.repeated(), Vec::<String>::new());
    assert_eq!(program.terminate().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hybrid_goes_on_when_the_daemon_is_restarted() {
    daemon_ends("hybrid", &[], Signal::TERM).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_goes_on_when_the_daemon_is_restarted() {
    daemon_ends("pool", &[], Signal::TERM).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hybrid_goes_on_when_the_daemon_is_killed_and_containers_live_on() {
    daemon_ends("hybrid", &["--live-restore"], Signal::KILL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_goes_on_when_the_daemon_is_killed_and_containers_live_on() {
    daemon_ends("pool", &["--live-restore"], Signal::KILL).await;
}
