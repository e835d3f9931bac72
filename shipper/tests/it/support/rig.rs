//! Pipeline and delivery as `app` joins them, with the test in the source's place.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shipper::batch;
use shipper::clock::Clock;
use shipper::credit::Credit;
use shipper::delivery::books::Books;
use shipper::delivery::checkpoint::Store;
use shipper::delivery::dead_letters::{self, DeadLetters};
use shipper::delivery::deliver::{Deliver, Left};
use shipper::delivery::lane::{self, Lane};
use shipper::delivery::retry;
use shipper::filter::{self, Filter};
use shipper::labels::{self, Scheme};
use shipper::loki::client;
use shipper::loki::encode::Encoding;
use shipper::metrics::Metrics;
use shipper::pipeline::{Limits, Pipeline};
use shipper::record::block::Block;
use shipper::record::{Container, ContainerId, Item, Position, Stream};
use shipper::shutdown::Shutdown;
use shipper::source::allowance::{self, Allowance};
use shipper::source::inlet::{Inlet, queue};
use shipper::targets::Targets;
use shipper::tenants;
use shipper::window::{self, shared::Window};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::program::sum;

/// When these tests play.
pub const NOW: i64 = 1_800_000_000_000_000_000;
pub const SECOND: i64 = 1_000_000_000;
const CONTAINER_BYTES: usize = 4 << 20;
/// A limit that no working machine reaches.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Rig {
    pub metrics: Arc<Metrics>,
    pub allowance: Allowance,
    pub shutdown: Shutdown,
    pub clock: Clock,
    items: Option<Inlet>,
    tasks: JoinSet<Option<Left>>,
    credits: HashMap<ContainerId, Credit>,
    next_line: u32,
}

/// How the parts are set.
pub struct Settings {
    pub retry: retry::Config,
    pub window: window::Config,
    pub batch: batch::Config,
    pub tenants: Option<tenants::Config>,
    pub labels: labels::Config,
    pub lines: filter::Config,
    /// A sink may share it.
    pub clock: Clock,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retry: retry(),
            window: window::Config::default(),
            batch: batch::Config { max_wait: Duration::from_millis(5), ..batch::Config::default() },
            tenants: None,
            labels: labels::Config::default(),
            lines: filter::Config::default(),
            clock: Clock::manual(NOW),
        }
    }
}

/// Short delays, so that real time is all a test needs.
pub fn retry() -> retry::Config {
    let (initial, max) = (Duration::from_millis(10), Duration::from_millis(50));
    retry::Config { initial, max, ..retry::Config::default() }
}

pub fn container() -> Arc<Container> {
    named('d', "web")
}

/// A container with this name, and an id of this digit.
pub fn named(digit: char, name: &str) -> Arc<Container> {
    Arc::new(Container {
        id: ContainerId::parse(&digit.to_string().repeat(64)).unwrap(),
        name: name.to_owned(),
        image: "generator".to_owned(),
        labels: std::collections::BTreeMap::default(),
        log_driver: "json-file".to_owned(),
        log_path: None,
        log_max_bytes: None,
        tty: false,
    })
}

/// How far the checkpoint in `dir` is: the number of the line behind which to go on.
pub async fn committed(dir: &Path) -> u32 {
    match Store::open(dir).await.unwrap().load(0).await.unwrap().containers.get(&container().id) {
        Some(Position::Api { seen, .. }) => *seen,
        Some(Position::File { .. }) | None => 0,
    }
}

impl Rig {
    pub async fn start(dir: &Path, url: &str, retry: retry::Config) -> Self {
        Self::with(dir, url, Settings { retry, ..Settings::default() }).await
    }

    pub async fn with(dir: &Path, url: &str, settings: Settings) -> Self {
        let Settings { retry, window, batch, tenants, labels, lines, clock } = settings;
        let metrics = Metrics::new();
        let shutdown = Shutdown::default();
        let (items, records) = queue(4);
        let (batches_in, batches) = mpsc::channel(2);
        let loki = client::Config {
            url: url.to_owned(),
            tenant: Some("test".to_owned()),
            tenants,
            encoding: Encoding::Json,
            ..client::Config::default()
        };
        let tenants = Arc::new(loki.tenants());
        let windows = tenants.lanes(|_, name| Window::new(window, name, metrics.clone()));
        let limits = allowance::Limits { bytes: CONTAINER_BYTES, bytes_per_s: None };
        let allowance = Allowance::new(limits, tenants.clone(), Targets::default(), metrics.clone());
        let clients = loki.clients().unwrap();
        let lanes = tenants.lanes(|lane, name| {
            let deps = lane::Deps {
                client: clients[lane].clone(),
                window: windows[lane].clone(),
                gate: allowance.gates()[lane].clone(),
                retry: retry.clone(),
                clock: clock.clone(),
                metrics: metrics.clone(),
            };
            Lane::new(name, deps)
        });
        let pipeline = Pipeline {
            tenants,
            windows,
            scheme: Scheme::new(&labels),
            streams_max: labels.max_streams,
            filter: Filter::new(&lines).unwrap(),
            limits: Limits::default(),
            clock: clock.clone(),
            metrics: metrics.clone(),
        };
        let letters = dead_letters::Config::default();
        let letters = DeadLetters::open(&dir.join("dead"), &letters, metrics.clone()).await.unwrap();
        let store = Store::open(dir).await.unwrap();
        let checkpoint = store.load(NOW).await.unwrap();
        let books = Books::new(letters, (store, checkpoint), metrics.clone());
        let deliver = Deliver::new(lanes, books, loki.encoding, metrics.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            pipeline.run(batch, records, batches_in).await;
            None
        });
        let shutdown_of_delivery = shutdown.clone();
        tasks.spawn(async move { Some(deliver.run(batches, shutdown_of_delivery).await.unwrap()) });
        let (items, credits) = (Some(items), HashMap::new());
        Self { metrics, allowance, shutdown, clock, items, tasks, credits, next_line: 0 }
    }

    /// Sends one line as a source does; its number is its position.
    pub async fn line(&mut self, time_ns: i64, text: &str) {
        self.line_of(&container(), time_ns, text).await;
    }

    /// … of another container.
    pub async fn line_of(&mut self, container: &Arc<Container>, time_ns: i64, text: &str) {
        self.send(container, Stream::Stdout, time_ns, text).await;
    }

    /// … of either output.
    pub async fn line_to(&mut self, stream: Stream, time_ns: i64, text: &str) {
        self.send(&container(), stream, time_ns, text).await;
    }

    /// As a source does: waits for credit, then for room, and then it has read the line.
    async fn send(&mut self, container: &Arc<Container>, stream: Stream, time_ns: i64, text: &str) {
        let credit = || self.allowance.credit(container);
        let credit = self.credits.entry(container.id.clone()).or_insert_with(credit);
        credit.regained().await;
        let room = self.items.as_ref().unwrap().room(1).await.unwrap();
        self.next_line += 1;
        let mut block = Block::of_api(container.clone());
        block.push(stream, time_ns, text, Position::Api { time_ns, seen: self.next_line });
        self.metrics.lines.read(1);
        room.fill(block.charged(credit));
    }

    /// For a real source in the test's place; it must end before the rig does.
    pub fn inlet(&self) -> Inlet {
        self.items.clone().unwrap()
    }

    /// Sends what is no line.
    pub async fn item(&self, item: Item) {
        self.items.as_ref().unwrap().send(item).await.unwrap();
    }

    /// The source ends; all else ends when it has done its work.
    pub async fn end(mut self) -> Left {
        self.items = None;
        let mut left = None;
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                left = left.or(ended.unwrap());
            }
        };
        assert!(tokio::time::timeout(PATIENCE, all).await.is_ok(), "it does not end");
        assert_law(&self.metrics);
        left.unwrap()
    }

    /// As [`Rig::end`], but it is asked to stop, and given up a little later.
    pub async fn give_up(self) -> Left {
        self.shutdown.stop.cancel();
        let give_up = self.shutdown.give_up.clone();
        let (left, ()) = tokio::join!(self.end(), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            give_up.cancel();
        });
        left
    }

    /// Waits until `holds`, looking often, under a limit that no working machine reaches.
    pub async fn until(&self, what: &str, holds: impl Fn(&Metrics) -> bool) {
        let wait = async {
            while !holds(&self.metrics) {
                assert_law(&self.metrics);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        assert!(waited.is_ok(), "never: {what}\n{}", self.metrics.render().unwrap());
    }
}

/// `read = delivered + skipped + dropped + dead-lettered + in flight`, at any moment: these tests have one
/// thread, so no update is under way when they look.
pub fn assert_law(metrics: &Metrics) {
    assert_eq!(metrics.lines.balance(), 0, "{}", metrics.render().unwrap());
}

/// One number of the metrics page; the sum, if there are several with that beginning.
pub fn metric(metrics: &Metrics, name: &str) -> f64 {
    sum(&metrics.render().unwrap(), name)
}

/// All lines of the dead letters: reason and text.
pub fn dead(dir: &Path) -> Vec<(String, String)> {
    let text = |letter: &serde_json::Value, key: &str| letter[key].as_str().unwrap().to_owned();
    letters(dir).iter().map(|letter| (text(letter, "reason"), text(letter, "line"))).collect()
}

/// All dead letters as they are.
pub fn letters(dir: &Path) -> Vec<serde_json::Value> {
    let mut files: Vec<_> =
        std::fs::read_dir(dir.join("dead")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let text: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
