//! What surrounds the shipper in these tests: a folder like Docker's, and the servers that it talks to.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use shipper::clock::Clock;
use shipper::delivery::checkpoint;
use shipper::docker::api::Host;
use shipper::docker::known::{Born, Change};
use shipper::loki::{client, encode::Encoding};
use shipper::metrics::Metrics;
use shipper::record::{ContainerId, Position};
use shipper::window;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::PATIENCE;
use super::servers::{Docker, Loki, serve_docker, serve_loki};
use crate::books::Books;
use crate::config::{self, Defects};
use crate::engine::{Engine, nameless};
use crate::keeper::Keeper;
use crate::lane::Lane;
use crate::log::Settings;
use crate::reader::Reader;
use crate::sender::Sender;

/// Everything, and the shipper in the midst of it.
pub(super) struct World {
    root: tempfile::TempDir,
    changes: mpsc::Sender<Change>,
    clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    pub(super) loki: Arc<Loki>,
    pub(super) docker: Arc<Docker>,
    /// From when on history is wanted.
    pub(super) since_ns: Option<i64>,
    url: String,
    _servers: JoinSet<()>,
    tasks: JoinSet<()>,
    generation: usize,
}

impl World {
    /// With positions in memory only.
    pub(super) async fn start(defects: Defects) -> Self {
        let mut world = Self::empty().await;
        world.ship(defects, Books::absent(), checkpoint::Positions::new());
        world
    }

    /// With positions on disk.
    pub(super) async fn start_with_state(defects: Defects) -> Self {
        let mut world = Self::empty().await;
        world.ship_with_state(defects).await;
        world
    }

    /// Ends it without a chance to do anything more, and starts it anew.
    pub(super) async fn kill_and_start(&mut self, defects: Defects) {
        self.kill().await;
        self.ship_with_state(defects).await;
    }

    pub(super) async fn kill(&mut self) {
        self.tasks.shutdown().await;
    }

    pub(super) async fn ship_with_state(&mut self, defects: Defects) {
        self.metrics = Metrics::new();
        let (state, metrics) = (self.root.path().join("state"), Arc::clone(&self.metrics));
        let keeper = Keeper::open(&state, self.now_ns(), defects.path_keyed_offset, metrics).await.unwrap();
        let saved = keeper.checkpoint().containers.clone();
        let (tell, settled) = mpsc::channel(8);
        self.tasks.spawn(keeper.run(settled));
        self.ship(defects, Books::new(tell, defects.commit_on_read), saved);
    }

    /// A Loki and a Docker, and nothing yet that ships.
    async fn empty() -> Self {
        let (root, clock) = (tempfile::tempdir().unwrap(), Clock::system());
        let cut_off = clock.now_ns() - 3_600_000_000_000;
        let (mut servers, loki, docker) =
            (JoinSet::new(), Arc::new(Loki::new(cut_off)), Arc::new(Docker::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        servers.spawn(serve_loki(listener, Arc::clone(&loki)));
        let socket = UnixListener::bind(root.path().join("docker.sock")).unwrap();
        servers.spawn(serve_docker(socket, Arc::clone(&docker)));
        Self {
            root,
            changes: mpsc::channel(1).0,
            clock,
            metrics: Metrics::new(),
            loki,
            docker,
            since_ns: None,
            url,
            _servers: servers,
            tasks: JoinSet::new(),
            generation: 0,
        }
    }

    /// Batches are of one line, so that their number is known.
    fn ship(&mut self, defects: Defects, books: Books, saved: checkpoint::Positions) {
        let metrics = Arc::clone(&self.metrics);
        let url = self.url.clone();
        let config = client::Config { url, encoding: Encoding::Json, ..client::Config::default() };
        let lane = Lane::new(&config, Arc::clone(&metrics), books.clone()).unwrap();
        let sender = Sender::new(lane, defects);
        let settings = Settings {
            containers_root: self.root.path().join("containers"),
            batch: config::Batch { max_lines: 1, max_wait: Duration::from_secs(1) },
            window: window::Config { max_age: Duration::from_secs(3600), ..window::Config::default() },
            defects,
            engine: Engine { host: Host::Unix(self.root.path().join("docker.sock")), metrics },
            clock: self.clock.clone(),
            books,
            since_ns: self.since_ns,
            saved,
        };
        let (changes, told) = mpsc::channel(8);
        let (out, batches) = mpsc::channel(4);
        self.tasks.spawn(async { Reader::new(settings, out).run(told).await.unwrap() });
        self.tasks.spawn(sender.run(batches));
        self.changes = changes;
    }
}

/// What happens to containers and their logs.
impl World {
    pub(super) async fn started(&self, number: u8, born: Born) {
        if !self.log(number).exists() {
            self.raw(number, "");
        }
        self.tell(Change::Started { container: Arc::new(nameless(&id(number))), born }).await;
    }

    pub(super) async fn stopped(&self, number: u8) {
        self.tell(Change::Stopped(id(number))).await;
    }

    pub(super) async fn remove(&self, number: u8) {
        fs::remove_dir_all(self.log(number).parent().unwrap()).unwrap();
        self.tell(Change::Removed(id(number))).await;
    }

    pub(super) fn write(&self, number: u8, lines: &[&str], time_ns: i64) {
        self.raw(number, &lines.iter().map(|line| entry(line, time_ns)).collect::<String>());
    }

    pub(super) fn raw(&self, number: u8, text: &str) {
        let log = self.log(number);
        fs::create_dir_all(log.parent().unwrap()).unwrap();
        let mut file = OpenOptions::new().append(true).create(true).open(log).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// As Docker does it.
    pub(super) fn rotate(&mut self, number: u8) {
        let log = self.log(number);
        let older = |generation: usize| log.with_extension(format!("log.{generation}"));
        for generation in (1..=self.generation).rev() {
            fs::rename(older(generation), older(generation + 1)).unwrap();
        }
        fs::rename(&log, older(1)).unwrap();
        fs::File::create(&log).unwrap();
        self.generation += 1;
    }

    pub(super) fn unlink(&self, number: u8) {
        fs::remove_file(self.log(number)).unwrap();
        fs::File::create(self.log(number)).unwrap();
    }

    pub(super) fn log(&self, number: u8) -> PathBuf {
        let id = id(number);
        self.root.path().join("containers").join(id.as_str()).join(format!("{}-json.log", id.as_str()))
    }

    async fn tell(&self, change: Change) {
        self.changes.send(change).await.unwrap();
    }
}

/// What is seen of the shipper.
impl World {
    pub(super) fn now_ns(&self) -> i64 {
        self.clock.now_ns()
    }

    /// Loki takes lines of any age.
    pub(super) fn no_window(&self) {
        self.loki.cut_off(i64::MIN);
    }

    /// Waits until Loki holds exactly these lines, in this order.
    pub(super) async fn delivered(&mut self, lines: &[&str]) {
        self.until("these lines are delivered", |world| world.loki.lines() == lines).await;
    }

    pub(super) async fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            if let Some(ended) = self.tasks.try_join_next() {
                panic!("a task ended: {ended:?}");
            }
            let seen = (self.loki.lines(), self.open_files(), self.watches(), self.retry_tasks());
            assert!(
                Instant::now() < deadline,
                "not in time: {what}; lines, files, watches, retries: {seen:?}"
            );
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the place behind all that stands in the log now is on disk.
    pub(super) async fn saved(&mut self, number: u8) {
        let end = fs::metadata(self.log(number)).unwrap().len();
        self.until("its end is saved", |world| world.saved_offset(number) == Some(end)).await;
    }

    fn saved_offset(&self, number: u8) -> Option<u64> {
        let found = checkpoint::read(&checkpoint::path(&self.root.path().join("state"))).unwrap()?;
        match found.unwrap().containers.get(&id(number))? {
            Position::File { offset, .. } => Some(*offset),
            Position::Api { .. } => None,
        }
    }

    pub(super) fn open_files(&self) -> usize {
        usize::try_from(self.metrics.open_files.get()).unwrap()
    }

    pub(super) fn watches(&self) -> usize {
        usize::try_from(self.metrics.inotify_watches.get()).unwrap()
    }

    pub(super) fn retry_tasks(&self) -> usize {
        self.counts("shipper_tasks_alive{kind=\"retry\"}")
    }

    /// Of the whole runtime, less those of connections: the test's servers have one for each, and so has
    /// the client for Loki.
    pub(super) fn tasks_alive(&self) -> usize {
        let alive = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        alive.saturating_sub(self.docker.connections() + 2 * self.loki.connections())
    }

    pub(super) fn counts(&self, name: &str) -> usize {
        let page = self.metrics.render().unwrap();
        let value =
            page.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
        value.trim().parse().unwrap()
    }

    /// Log files that the kernel holds open for this process, whatever the metrics say.
    pub(super) fn descriptors(&self) -> usize {
        let logs = self.root.path().join("containers");
        let links =
            fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        links.filter(|link| link.starts_with(&logs)).count()
    }
}

fn id(number: u8) -> ContainerId {
    ContainerId::parse(&format!("{number:064x}")).unwrap()
}

/// As the json-file driver writes it.
pub(super) fn entry(line: &str, time_ns: i64) -> String {
    fragment(&format!("{line}\\n"), "stdout", time_ns)
}

/// The same of a piece of a line; `\\n` ends it.
pub(super) fn fragment(text: &str, stream: &str, time_ns: i64) -> String {
    let time = jiff::Timestamp::from_nanosecond(time_ns.into()).unwrap();
    format!("{{\"log\":\"{text}\",\"stream\":\"{stream}\",\"time\":\"{time}\"}}\n")
}
