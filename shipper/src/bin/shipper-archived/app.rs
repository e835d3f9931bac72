//! Builds everything and owns the tasks. All but those of post-mortem #2 are here.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::FutureExt;
use shipper::admin::Admin;
use shipper::clock::Clock;
use shipper::docker::api::{Api, Host};
use shipper::docker::{discovery, metadata};
use shipper::metrics::Metrics;
use shipper::metrics::labels::TaskKind;
use shipper::window;
use tokio::sync::mpsc;
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

/// Runs until `stop`; what is pending then is given up, as this design has nowhere to keep it.
pub(crate) async fn run(config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    let tasks = start(config, &stop).await?;
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        ended = first_end(tasks) => ended,
    }
}

async fn start(config: Config, stop: &CancellationToken) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
    warn(&config);
    let metrics = Metrics::new();
    let admin = Admin::bind(&config.admin, Arc::clone(&metrics)).await?;
    let api = Api::connect(&config.docker.host, Arc::clone(&metrics)).await?;
    let lane = Lane::new(&config.loki, Arc::clone(&metrics))?;
    let clock = Clock::system();
    let (tell, changes) = mpsc::channel(CHANGES_MAX);
    let (out, batches) = mpsc::channel(BATCHES_MAX);
    let discovery =
        discovery::run(api, discovery_config(&config, &clock), Arc::clone(&metrics), tell, stop.clone());
    let sender = Sender::new(lane, config.defects);
    let alive = metrics.task(TaskKind::Source);
    let reader = Reader::new(settings(config, clock, metrics)?, out);

    let mut tasks = JoinSet::new();
    tasks.spawn(async { discovery.await.context("discovery ended") });
    tasks.spawn(async {
        let _alive = alive;
        reader.run(changes).await.context("the reader ended")
    });
    tasks.spawn(sender.run(batches).map(Ok));
    tasks.spawn(admin.run(stop.clone()).map(Ok));
    Ok(tasks)
}

/// None of them ends before it is told to: the first that does ends the program.
async fn first_end(mut tasks: JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    match tasks.join_next().await {
        Some(ended) => {
            ended.context("a task failed")?.and(Err(anyhow::anyhow!("a task ended before it was told to")))
        }
        None => Ok(()),
    }
}

fn discovery_config(config: &Config, clock: &Clock) -> discovery::Config {
    discovery::Config {
        labels: config.discovery.labels.clone(),
        started_ns: clock.now_ns(),
        reconcile: RECONCILE,
        // Discovery is not where the design failed: it looks at a container once. The monitors are.
        metadata: metadata::Config { ttl: Duration::MAX, entries_max: 10_000 },
    }
}

fn settings(config: Config, clock: Clock, metrics: Arc<Metrics>) -> anyhow::Result<Settings> {
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
