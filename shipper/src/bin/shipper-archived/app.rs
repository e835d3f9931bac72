//! Builds everything and owns the tasks. All but those of post-mortem #2 are here.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, TryFutureExt};
use shipper::admin::{self, Admin, Shown};
use shipper::clock::{Clock, duration_ns};
use shipper::delivery::checkpoint::{self, Checkpoint};
use shipper::docker::api::{Api, ApiError, Host};
use shipper::docker::{discovery, metadata};
use shipper::loki::client;
use shipper::metrics::Metrics;
use shipper::targets::Targets;
use shipper::window;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::books::Books;
use crate::config::Config;
use crate::engine::Engine;
use crate::keeper::Keeper;
use crate::lane::Lane;
use crate::log::Settings;
use crate::reader::Reader;
use crate::sender::Sender;

/// Changes and batches on their way; beyond that the one who makes them waits.
const CHANGES_MAX: usize = 64;
const BATCHES_MAX: usize = 16;
/// Settled lines on their way to who keeps positions.
const SETTLED_MAX: usize = 1024;
const RECONCILE: Duration = Duration::from_secs(30);

/// Why it can't start or go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("can't listen to signals, or run tasks: {0}")]
    System(#[from] std::io::Error),
    #[error(transparent)]
    Admin(#[from] admin::Error),
    #[error(transparent)]
    Positions(#[from] checkpoint::Error),
    #[error(transparent)]
    Docker(#[from] ApiError),
    #[error(transparent)]
    Loki(#[from] client::ConfigError),
    #[error("a task ended before it was told to: {0}")]
    Early(String),
}

impl Error {
    /// Whether the surroundings are at fault, not the program.
    pub(crate) fn is_environment(&self) -> bool {
        !matches!(self, Self::Early(_))
    }
}

type Tasks = JoinSet<Result<(), Error>>;

/// All that runs.
struct Running {
    tasks: Tasks,
    /// Who keeps positions, if anybody does: ends when all others have, and saves what they have settled.
    keeper: JoinSet<()>,
}

/// Runs until it breaks, or until `stop`. What is pending is given up, as this design has nowhere to keep it;
/// it is read again by the next process, if positions are kept.
pub(crate) async fn run(config: Config, stop: impl Future<Output = ()>) -> Result<(), Error> {
    tokio::pin!(stop);
    let Running { mut tasks, mut keeper } = tokio::select! {
        running = start(config) => running?,
        () = &mut stop => return Ok(()),
    };
    // None of them ends before it is told to: the first that does ends the program.
    let ended = tokio::select! {
        () = stop => Ok(()),
        Some(_) = keeper.join_next() => Err(Error::Early("who keeps positions has gone".to_owned())),
        ended = tasks.join_next() => match ended {
            Some(Ok(Err(error))) => Err(error),
            Some(Err(error)) => Err(Error::Early(error.to_string())),
            Some(Ok(Ok(()))) | None => Err(Error::Early("its input has ended".to_owned())),
        },
    };
    tasks.shutdown().await;
    while keeper.join_next().await.is_some() {}
    ended
}

async fn start(config: Config) -> Result<Running, Error> {
    warn(&config);
    let never = CancellationToken::new();
    let (metrics, clock) = (Metrics::new(), Clock::system());
    let admin = Admin::bind(&config.admin).await?;
    let api = Api::connect(&config.docker.host, Arc::clone(&metrics)).await?;
    let mut keeper = JoinSet::new();
    let (books, saved) = positions(&config, &clock, &metrics, &mut keeper).await?;
    let lane = Lane::new(&config.loki, Arc::clone(&metrics), books.clone())?;
    let (tell, changes) = mpsc::channel(CHANGES_MAX);
    let (out, batches) = mpsc::channel(BATCHES_MAX);
    let looking = discovery_config(&config, &clock, &saved);
    let discovery = discovery::run(api, looking, Arc::clone(&metrics), tell, never.clone());
    let sender = Sender::new(lane, config.defects);
    let reader = Reader::new(settings(config, clock, Arc::clone(&metrics), books, saved)?, out);

    // Shown as they are, for as long as it runs.
    let (_, shown) = watch::channel(Shown { targets: Targets::default(), metrics });
    let mut tasks = JoinSet::new();
    tasks.spawn(discovery.map_err(|error| Error::Early(error.to_string())));
    tasks.spawn(reader.run(changes).map_err(|error| Error::Early(error.to_string())));
    tasks.spawn(sender.run(batches).map(Ok));
    tasks.spawn(admin.run(shown, never).map(Ok));
    Ok(Running { tasks, keeper })
}

/// What an earlier process left, and the books of this one.
async fn positions(
    config: &Config,
    clock: &Clock,
    metrics: &Arc<Metrics>,
    keepers: &mut JoinSet<()>,
) -> Result<(Books, Checkpoint), Error> {
    let Some(folder) = config.positions_dir() else {
        return Ok((Books::absent(), Checkpoint::new(clock.now_ns())));
    };
    let by_path = config.defects.path_keyed_offset;
    let keeper = Keeper::open(folder, clock.now_ns(), by_path, Arc::clone(metrics)).await?;
    let saved = keeper.checkpoint().clone();
    let (tell, settled) = mpsc::channel(SETTLED_MAX);
    keepers.spawn(keeper.run(settled));
    Ok((Books::new(tell, config.defects.commit_on_read), saved))
}

fn discovery_config(config: &Config, clock: &Clock, saved: &Checkpoint) -> discovery::Config {
    discovery::Config {
        labels: config.discovery.labels.clone(),
        exclude: Vec::new(),
        started_ns: clock.now_ns(),
        first_started_ns: saved.since_ns,
        remembered: saved.containers.keys().cloned().collect(),
        reconcile: RECONCILE,
        // Discovery is not where the design failed: it looks at a container once. The monitors are.
        metadata: metadata::Config { ttl: Duration::MAX, entries_max: 10_000 },
    }
}

fn settings(
    config: Config,
    clock: Clock,
    metrics: Arc<Metrics>,
    books: Books,
    saved: Checkpoint,
) -> Result<Settings, ApiError> {
    let since_ns = saved.since_ns.saturating_sub(duration_ns(config.start.since));
    Ok(Settings {
        containers_root: config.docker.containers_root,
        batch: config.batch,
        window: window::Config { max_age: config.window.max_age, ..window::Config::default() },
        defects: config.defects,
        engine: Engine { host: Host::parse(&config.docker.host)?, metrics },
        clock,
        books,
        since_ns: (!config.start.since.is_zero()).then_some(since_ns),
        saved: saved.containers,
    })
}

/// Nobody shall run this by mistake.
fn warn(config: &Config) {
    let defects = config.defects.active();
    let defects = if defects.is_empty() { "none".to_owned() } else { defects.join(", ") };
    tracing::warn!(%defects, "this is the archived design, kept to be tested against: not for production");
    if config.positions_dir().is_none() {
        tracing::info!("positions are kept in memory only: there is no state_dir, or replay_history is on");
    }
}
