//! Discovery and both designs on a real Docker Engine.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use shipper::clock::Clock;
use shipper::docker::known::{Born, Change};
use shipper::docker::{api, discovery, metadata};
use shipper::metrics::Metrics;
use shipper::metrics::labels::Endpoint;
use shipper::record::{ContainerId, Position, Stream};
use shipper::source::position::{Resume, Start};
use shipper::source::{Inputs, auto, hybrid, pool};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::allowance::allowance;
use crate::support::engine::{Engine, Made, unique};
use crate::support::items::{Item, Items, Record, items};

mod drivers;
mod files;

const HOST: &str = "unix:///var/run/docker.sock";
const PATIENCE: Duration = Duration::from_secs(60);
const CONTAINER_BYTES: usize = 1 << 20;

#[derive(Clone, Copy)]
enum Design {
    Auto,
    Pool { connections_max: usize },
    Hybrid,
}

const BOTH: [Design; 2] = [Design::Pool { connections_max: 4 }, Design::Hybrid];

/// Discovery and a source of one design, as the shipper runs them.
struct Upstream {
    items: Items,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Upstream {
    async fn start(engine: &Engine, design: Design, start: Start, resume: Resume) -> Self {
        Self::start_with(engine, design, (start, resume), Path::new("/var/lib/docker/containers")).await
    }

    async fn start_with(
        engine: &Engine,
        design: Design,
        (start, resume): (Start, Resume),
        containers_root: &Path,
    ) -> Self {
        let (metrics, stop, mut tasks) = (Metrics::new(), CancellationToken::new(), JoinSet::new());
        let started_ns = Clock::system().now_ns();
        let api = api::Api::connect(HOST, Arc::clone(&metrics)).await.unwrap();
        let (tell, changes) = mpsc::channel(16);
        let config = discovery_config(engine, started_ns);
        let discovery = discovery::run(api.clone(), config, Arc::clone(&metrics), tell, stop.clone());
        tasks.spawn(async move { discovery.await.unwrap() });
        let (out, items) = items(16);
        let inputs = Inputs {
            changes,
            resume,
            start,
            started_ns,
            clock: Clock::system(),
            out,
            allowance: allowance(CONTAINER_BYTES, &metrics),
            metrics: Arc::clone(&metrics),
            stop: stop.clone(),
        };
        let slice = Duration::from_millis(200);
        let limits = hybrid::Limits::default();
        let containers_root = containers_root.to_owned();
        let hybrid = hybrid::Config { containers_root, reconcile: Duration::from_secs(2), limits };
        match design {
            Design::Auto => {
                let config = auto::Config { pool: pool::Config { connections_max: 4, slice }, hybrid };
                tasks.spawn(async move { auto::run(config, api, inputs).await.unwrap() });
            }
            Design::Pool { connections_max } => {
                let config = pool::Config { connections_max, slice };
                tasks.spawn(async move { pool::run(config, api, inputs).await.unwrap() });
            }
            Design::Hybrid => {
                tasks.spawn(async move { hybrid::run(hybrid, inputs).await.unwrap() });
            }
        }
        Self { items, metrics, stop, tasks }
    }

    async fn next(&mut self) -> Item {
        let item = tokio::time::timeout(PATIENCE, self.items.recv()).await;
        item.expect("nothing more comes").expect("the source has ended")
    }

    async fn line(&mut self) -> Record {
        loop {
            if let Item::Line(record) = self.next().await {
                return record;
            }
        }
    }

    /// The texts of each container, until there are `count` in all.
    async fn lines(&mut self, count: usize) -> HashMap<ContainerId, Vec<String>> {
        let mut lines: HashMap<ContainerId, Vec<String>> = HashMap::new();
        for _ in 0..count {
            let record = self.line().await;
            lines.entry(record.container.id.clone()).or_default().push(record.line);
        }
        lines
    }

    /// Waits until all of these are gone, in whatever order.
    async fn gone(&mut self, ids: impl IntoIterator<Item = ContainerId>) {
        let mut missing: HashSet<_> = ids.into_iter().collect();
        while !missing.is_empty() {
            match self.next().await {
                Item::Gone(id) => drop(missing.take(&id)),
                Item::Line(record) => panic!("a line more than was written: {record:?}"),
                Item::Passed { .. } => {}
            }
        }
    }

    /// Stops it; what it had still to say.
    async fn end(mut self) -> Vec<Item> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        let mut rest = Vec::new();
        while let Some(item) = self.items.recv().await {
            rest.push(item);
        }
        rest
    }
}

fn discovery_config(engine: &Engine, started_ns: i64) -> discovery::Config {
    discovery::Config {
        labels: vec![engine.label.clone()],
        exclude: vec!["no.logs".to_owned()],
        started_ns,
        first_started_ns: started_ns,
        remembered: BTreeSet::new(),
        reconcile: Duration::from_secs(30),
        metadata: metadata::Config { ttl: Duration::from_secs(300), entries_max: 100 },
    }
}

#[tokio::test]
async fn what_was_removed_while_the_shipper_was_down_is_told_and_what_the_filter_leaves_out_is_not() {
    let (engine, other) = (Engine::new().await, Engine::new().await);
    let (kept, filtered) = (engine.run("sleep 1000").await, other.run("sleep 1000").await);
    let gone = ContainerId::parse(&"0".repeat(64)).unwrap();
    let remembered = BTreeSet::from([kept.id.clone(), filtered.id.clone(), gone.clone()]);
    let config = discovery::Config { remembered, ..discovery_config(&engine, Clock::system().now_ns()) };
    let (metrics, stop) = (Metrics::new(), CancellationToken::new());
    let api = api::Api::connect(HOST, Arc::clone(&metrics)).await.unwrap();
    let (tell, mut changes) = mpsc::channel(16);
    let mut tasks = JoinSet::new();
    tasks.spawn(discovery::run(api, config, metrics, tell, stop.clone()));
    let mut next = async || tokio::time::timeout(PATIENCE, changes.recv()).await.unwrap().unwrap();
    assert_eq!(next().await, Change::Removed(gone));
    assert!(matches!(next().await, Change::Started { container, .. } if container.id == kept.id));
    stop.cancel();
    tasks.join_next().await.unwrap().unwrap().unwrap();
}

fn count_to(lines: u32) -> String {
    format!("i=0; while [ $i -lt {lines} ]; do echo line $i; i=$((i+1)); done")
}

fn numbered(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| format!("line {number}")).collect()
}

#[tokio::test]
async fn discovery_tells_the_whole_life_of_a_container() {
    let engine = Engine::new().await;
    let old = engine.run("sleep 1000").await;
    let exited = engine.run("true").await;
    engine.stop(&exited).await;
    let (metrics, stop) = (Metrics::new(), CancellationToken::new());
    let api = api::Api::connect(HOST, Arc::clone(&metrics)).await.unwrap();
    let (tell, mut changes) = mpsc::channel(16);
    let config = discovery_config(&engine, Clock::system().now_ns());
    let mut tasks = JoinSet::new();
    tasks.spawn(discovery::run(api, config, Arc::clone(&metrics), tell, stop.clone()));
    let mut next = async || tokio::time::timeout(PATIENCE, changes.recv()).await.unwrap().unwrap();

    let mut first = vec![next().await, next().await, next().await];
    first.retain(|change| !matches!(change, Change::Stopped(id) if *id == exited.id));
    let found = |change: &Change| match change {
        Change::Started { container, born: Born::BeforeUs } => container.id.clone(),
        Change::Started { .. } | Change::Stopped(_) | Change::Renamed(_) | Change::Removed(_) => {
            panic!("{change:?}")
        }
    };
    assert_eq!(first.len(), 2);
    assert!(first.iter().map(found).all(|id| id == old.id || id == exited.id));

    let new = engine.run("sleep 1000").await;
    let Change::Started { container, born } = next().await else { panic!() };
    assert_eq!((&container.id, &container.name, born), (&new.id, &new.name, Born::AfterUs));
    assert_eq!((container.log_driver.as_str(), container.tty), ("json-file", false));
    assert!(container.log_path.as_ref().unwrap().to_string_lossy().contains(new.id.as_str()));
    let name = unique();
    engine.rename(&new, &name).await;
    let Change::Renamed(container) = next().await else { panic!() };
    assert_eq!(container.name, name);
    engine.stop(&new).await;
    assert_eq!(next().await, Change::Stopped(new.id.clone()));
    engine.start(&new).await;
    assert!(matches!(next().await, Change::Started { .. }));
    let id = new.id.clone();
    drop(new);
    assert_eq!(next().await, Change::Stopped(id.clone()));
    assert_eq!(next().await, Change::Removed(id));
    assert_eq!(metrics.metadata_cache_hits.get(), 1, "the restart needs no inspection");
    assert_eq!(metrics.metadata_cache_entries.get(), 2);
    stop.cancel();
    tasks.join_next().await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_container_that_asks_to_be_left_out_is_left_out_in_all_its_lives() {
    let engine = Engine::new().await;
    let left_out = engine.make("echo line 0", Made { label: Some("no.logs"), ..Made::default() }).await;
    engine.start(&left_out).await;
    for design in BOTH {
        let mut upstream = Upstream::start(&engine, design, Start::Beginning, Resume::new()).await;
        engine.start(&left_out).await;
        let other = engine.run("echo line 0").await;
        assert_eq!(upstream.line().await.container.id, other.id);
        assert!(upstream.metrics.containers_excluded.get() >= 1);
        let id = other.id.clone();
        drop(other);
        upstream.gone([id]).await;
        assert!(upstream.end().await.is_empty());
    }
}

#[tokio::test]
async fn a_container_that_lives_for_a_moment_is_read_to_its_last_line() {
    let engine = Engine::new().await;
    for design in BOTH {
        let mut upstream = Upstream::start(&engine, design, Start::End, Resume::new()).await;
        let brief = engine.run(&count_to(50)).await;
        let id = brief.id.clone();
        assert_eq!(upstream.lines(50).await[&id], numbered(0..50));
        drop(brief);
        upstream.gone([id]).await;
        assert_eq!(upstream.metrics.open_files.get() + upstream.metrics.inotify_watches.get(), 0);
        assert_eq!(upstream.metrics.docker_connections_in_use.get(), 0);
        assert!(upstream.end().await.is_empty());
    }
}

#[tokio::test]
async fn containers_beyond_the_pool_are_served_in_turn_and_nothing_is_lost_or_repeated() {
    let engine = Engine::new().await;
    let design = Design::Pool { connections_max: 2 };
    let mut upstream = Upstream::start(&engine, design, Start::End, Resume::new()).await;
    let script = "i=0; while [ $i -lt 60 ]; do echo line $i; sleep 0.05; i=$((i+1)); done; sleep 1000";
    let mut containers = Vec::new();
    for _ in 0..7 {
        containers.push(engine.run(script).await);
    }
    let lines = upstream.lines(7 * 60).await;
    for container in &containers {
        assert_eq!(lines[&container.id], numbered(0..60), "{}", container.id);
    }
    assert_eq!(upstream.metrics.docker_connections_max.get(), 2);
    let ids: Vec<_> = containers.iter().map(|container| container.id.clone()).collect();
    drop(containers);
    upstream.gone(ids).await;
    assert_eq!(upstream.metrics.docker_connections_in_use.get(), 0);
    assert!(upstream.end().await.is_empty());
}

#[tokio::test]
async fn long_lines_of_both_outputs_are_whole_and_apart() {
    let engine = Engine::new().await;
    // 40,000 letters: three fragments of Docker's.
    let script = "a=x; while [ ${#a} -lt 40000 ]; do a=$a$a; done; \
                  i=0; while [ $i -lt 10 ]; do echo $i-out-$a; echo $i-err-$a >&2; i=$((i+1)); done";
    for design in BOTH {
        let mut upstream = Upstream::start(&engine, design, Start::End, Resume::new()).await;
        let container = engine.run(script).await;
        let (mut out, mut err) = (0, 0);
        for _ in 0..20 {
            let record = upstream.line().await;
            let (number, name) = match record.stream {
                Stream::Stdout => (&mut out, "out"),
                Stream::Stderr => (&mut err, "err"),
            };
            let expected = format!("{number}-{name}-{}", "x".repeat(65_536));
            assert!(record.line == expected, "line {number} of {name} came with {} bytes", record.line.len());
            *number += 1;
        }
        let id = container.id.clone();
        drop(container);
        upstream.gone([id]).await;
        assert!(upstream.end().await.is_empty());
    }
}

#[tokio::test]
async fn a_terminal_is_read_as_lines_too() {
    let engine = Engine::new().await;
    for design in BOTH {
        let mut upstream = Upstream::start(&engine, design, Start::End, Resume::new()).await;
        let container = engine.create(&count_to(20), &[], true).await;
        engine.start(&container).await;
        assert_eq!(upstream.lines(20).await[&container.id], numbered(0..20));
        upstream.end().await;
    }
}

#[tokio::test]
async fn a_restarted_shipper_goes_on_behind_what_was_settled_also_with_the_other_design() {
    let engine = Engine::new().await;
    for (before, design) in BOTH.into_iter().flat_map(|before| BOTH.map(|design| (before, design))) {
        let mut upstream = Upstream::start(&engine, before, Start::End, Resume::new()).await;
        let container = engine.run(&count_to(200)).await;
        let mut settled: Option<Position> = None;
        for _ in 0..90 {
            settled = Some(upstream.line().await.position);
        }
        upstream.end().await;
        let resume = Resume::from([(container.id.clone(), settled.unwrap())]);
        let mut upstream = Upstream::start(&engine, design, Start::End, resume).await;
        // A file knows no marks: from the time of one that `pool` has left, its line comes again.
        let again = matches!((before, design), (Design::Pool { .. }, Design::Hybrid));
        let first: u32 = if again { 89 } else { 90 };
        assert_eq!(upstream.lines(200 - first as usize).await[&container.id], numbered(first..200));
        let id = container.id.clone();
        drop(container);
        upstream.gone([id]).await;
        assert_eq!(upstream.metrics.resume_lost.get(), 0);
        assert!(upstream.end().await.is_empty());
    }
}

#[tokio::test]
async fn history_is_not_replayed_and_a_restarted_container_goes_on() {
    let engine = Engine::new().await;
    for design in BOTH {
        let container = engine.run("echo life 1; sleep 1000").await;
        let probe = api::Api::connect(HOST, Metrics::new()).await.unwrap();
        written(&probe, &container.id, "life 1").await;
        let mut upstream = Upstream::start(&engine, design, Start::End, Resume::new()).await;
        let Item::Passed { .. } = upstream.next().await else { panic!("its history was read") };
        for _ in 0..2 {
            engine.stop(&container).await;
            engine.start(&container).await;
            assert_eq!(upstream.line().await.line, "life 1");
        }
        let id = container.id.clone();
        drop(container);
        upstream.gone([id]).await;
        upstream.end().await;
    }
}

#[tokio::test]
async fn docker_rotates_and_hybrid_follows() {
    let engine = Engine::new().await;
    for files in ["1", "3"] {
        let mut upstream = Upstream::start(&engine, Design::Hybrid, Start::End, Resume::new()).await;
        let script = "i=0; while [ $i -lt 400 ]; do echo line $i; sleep 0.005; i=$((i+1)); done";
        let container = engine.create(script, &[("max-size", "2k"), ("max-file", files)], false).await;
        engine.start(&container).await;
        assert_eq!(upstream.lines(400).await[&container.id], numbered(0..400));
        upstream.end().await;
    }
}

/// Up to Docker 20.10 the log API repeats the first messages of each new file.
#[tokio::test]
async fn docker_rotates_and_pool_takes_each_line_once() {
    let engine = Engine::new().await;
    let design = Design::Pool { connections_max: 2 };
    let mut upstream = Upstream::start(&engine, design, Start::End, Resume::new()).await;
    let script = "i=0; while [ $i -lt 400 ]; do echo line $i; sleep 0.02; i=$((i+1)); done; sleep 1000";
    let container = engine.create(script, &[("max-size", "8k"), ("max-file", "5")], false).await;
    engine.start(&container).await;
    assert_eq!(upstream.lines(400).await[&container.id], numbered(0..400));
    assert_eq!(upstream.metrics.resume_lost.get(), 0);
    let id = container.id.clone();
    drop(container);
    upstream.gone([id]).await;
    assert!(upstream.end().await.is_empty());
}

/// Waits until a line stands in Docker's log.
async fn written(api: &api::Api, id: &ContainerId, line: &str) {
    let reached = async {
        let mut stream = api.logs(id, 0, shipper::docker::logs::Until::Stopped).await.unwrap();
        let mut text = String::new();
        while !text.contains(line) {
            text.push_str(&String::from_utf8_lossy(&stream.next().await.unwrap().unwrap()));
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.expect("the container writes nothing");
}

#[tokio::test]
async fn what_is_wrong_with_the_socket_is_said_as_advice() {
    let folder = tempfile::tempdir().unwrap();
    let missing = format!("unix://{}/none.sock", folder.path().display());
    let error = api::Api::connect(&missing, Metrics::new()).await.unwrap_err().to_string();
    assert!(error.starts_with("there is no Docker socket at"), "{error}");

    let path = folder.path().join("stranger.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let host = format!("unix://{}", path.display());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            drop(listener.accept().await.unwrap());
        }
    });
    let error = api::Api::connect(&host, Metrics::new()).await.unwrap_err().to_string();
    assert!(error.contains("is not a Docker Engine"), "{error}");
    tasks.shutdown().await;
    let error = api::Api::connect(&host, Metrics::new()).await.unwrap_err().to_string();
    assert!(error.starts_with("nobody answers at"), "{error}");

    let error = api::Api::connect("ftp://x", Metrics::new()).await.unwrap_err().to_string();
    assert!(error.contains("give unix:///path"), "{error}");
}

#[tokio::test]
async fn a_container_whose_lines_are_not_settled_is_read_within_its_credit_and_the_others_go_on() {
    const NOISY: usize = 1000;
    let engine = Engine::new().await;
    // The one connection is held by the noisy one until its time is over.
    for design in [Design::Pool { connections_max: 1 }, Design::Hybrid] {
        let mut upstream = Upstream::start(&engine, design, Start::End, Resume::new()).await;
        let text = "x".repeat(10_000);
        let noisy = engine
            .run(&format!("i=0; while [ $i -lt {NOISY} ]; do echo $i {text}; i=$((i+1)); done; sleep 1000"))
            .await;
        let mut unsettled = Vec::new();
        let used_up = async {
            while upstream.metrics.credit_waiting.get() == 0 {
                tokio::select! {
                    record = upstream.line() => unsettled.push(record),
                    () = tokio::time::sleep(Duration::from_millis(1)) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, used_up).await.expect("it is read on without credit");
        let quiet = engine.run("i=0; while [ $i -lt 100 ]; do echo quiet $i; i=$((i+1)); done").await;
        for number in 0..100 {
            let record = loop {
                let record = upstream.line().await;
                if record.container.id == quiet.id {
                    break record;
                }
                unsettled.push(record);
            };
            assert_eq!(record.line, format!("quiet {number}"));
        }
        let bytes = upstream.metrics.in_flight_bytes.get();
        assert!((CONTAINER_BYTES..CONTAINER_BYTES + (1 << 20)).contains(&usize::try_from(bytes).unwrap()));

        let mut unsettled = unsettled.into_iter();
        for number in 0..NOISY {
            let record = match unsettled.next() {
                Some(record) => record,
                None => upstream.line().await,
            };
            assert!(record.container.id == noisy.id && record.line.starts_with(&format!("{number} ")));
        }
        let metrics = Arc::clone(&upstream.metrics);
        drop((noisy, quiet));
        upstream.end().await;
        assert_eq!((metrics.in_flight_bytes.get(), metrics.credit_waiting.get()), (0, 0));
    }
}
