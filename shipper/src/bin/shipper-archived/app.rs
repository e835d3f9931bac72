//! Builds everything and owns the tasks. All but those of post-mortem #2 are here.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, TryFutureExt};
use shipper::admin::{self, Admin, Shown};
use shipper::clock::Clock;
use shipper::docker::api::{Api, ApiError, Host};
use shipper::docker::{discovery, metadata};
use shipper::loki::client;
use shipper::metrics::Metrics;
use shipper::targets::Targets;
use shipper::window;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::engine::Engine;
use crate::lane::Lane;
use crate::reader::{Reader, Settings};
use crate::sender::Sender;

/// Changes and batches on their way; beyond that the one who makes them waits.
const CHANGES_MAX: usize = 64;
const BATCHES_MAX: usize = 16;
const RECONCILE: Duration = Duration::from_secs(30);

/// Why it can't start or go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("can't listen to signals, or run tasks: {0}")]
    System(#[from] std::io::Error),
    #[error(transparent)]
    Admin(#[from] admin::Error),
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

/// Runs until it breaks. Dropping it ends all tasks: what is pending is given up, as this design has
/// nowhere to keep it.
pub(crate) async fn run(config: Config) -> Result<(), Error> {
    // None of them ends before it is told to: the first that does ends the program.
    match start(config).await?.join_next().await {
        Some(Ok(Err(error))) => Err(error),
        Some(Err(error)) => Err(Error::Early(error.to_string())),
        Some(Ok(Ok(()))) | None => Err(Error::Early("its input has ended".to_owned())),
    }
}

async fn start(config: Config) -> Result<Tasks, Error> {
    warn(&config);
    let never = CancellationToken::new();
    let metrics = Metrics::new();
    let admin = Admin::bind(&config.admin).await?;
    let api = Api::connect(&config.docker.host, Arc::clone(&metrics)).await?;
    let lane = Lane::new(&config.loki, Arc::clone(&metrics))?;
    let clock = Clock::system();
    let (tell, changes) = mpsc::channel(CHANGES_MAX);
    let (out, batches) = mpsc::channel(BATCHES_MAX);
    let looking = discovery_config(&config, &clock);
    let discovery = discovery::run(api, looking, Arc::clone(&metrics), tell, never.clone());
    let sender = Sender::new(lane, config.defects);
    let reader = Reader::new(settings(config, clock, Arc::clone(&metrics))?, out);

    // Shown as they are, for as long as it runs.
    let (_, shown) = watch::channel(Shown { targets: Targets::default(), metrics });
    let mut tasks = JoinSet::new();
    tasks.spawn(discovery.map_err(|error| Error::Early(error.to_string())));
    tasks.spawn(reader.run(changes).map_err(|error| Error::Early(error.to_string())));
    tasks.spawn(sender.run(batches).map(Ok));
    tasks.spawn(admin.run(shown, never).map(Ok));
    Ok(tasks)
}

fn discovery_config(config: &Config, clock: &Clock) -> discovery::Config {
    let now_ns = clock.now_ns();
    discovery::Config {
        labels: config.discovery.labels.clone(),
        exclude: Vec::new(),
        started_ns: now_ns,
        // Nothing is remembered of an earlier run.
        first_started_ns: now_ns,
        remembered: std::collections::BTreeSet::new(),
        reconcile: RECONCILE,
        // Discovery is not where the design failed: it looks at a container once. The monitors are.
        metadata: metadata::Config { ttl: Duration::MAX, entries_max: 10_000 },
    }
}

fn settings(config: Config, clock: Clock, metrics: Arc<Metrics>) -> Result<Settings, ApiError> {
    Ok(Settings {
        containers_root: config.docker.containers_root,
        batch: config.batch,
        window: window::Config { max_age: config.window.max_age, ..window::Config::default() },
        defects: config.defects,
        engine: Engine { host: Host::parse(&config.docker.host)?, metrics },
        clock,
    })
}

/// Nobody shall run this by mistake.
fn warn(config: &Config) {
    let defects = config.defects.active();
    let defects = if defects.is_empty() { "none".to_owned() } else { defects.join(", ") };
    tracing::warn!(%defects, "this is the archived design, kept to be tested against: not for production");
    if let Some(folder) = &config.state_dir {
        tracing::info!(?folder, "state_dir is not used: offsets are kept in memory");
    }
}
