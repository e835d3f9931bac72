//! All tasks from Docker to Loki, for as long as one config is in force: hired, watched, and ended in the order
//! in which data flows, sources first.

use std::collections::{BTreeSet, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{Config, Design, Start};
use crate::credit::Gate;
use crate::delivery::books::Books;
use crate::delivery::checkpoint::{self, Checkpoint, Store};
use crate::delivery::dead_letters::{self, DeadLetters};
use crate::delivery::deliver::{Deliver, Left};
use crate::delivery::lane::{self, Lane};
use crate::docker::api::Api;
use crate::docker::{discovery, metadata};
use crate::filter::Filter;
use crate::labels::Scheme;
use crate::metrics::Metrics;
use crate::pipeline::Pipeline;
use crate::record::{ContainerId, Item};
use crate::shutdown::{Shutdown, Signals};
use crate::source::allowance::{self, Allowance};
use crate::source::{self, auto, hybrid, inlet, pool};
use crate::targets::Targets;
use crate::tenants::{PerLane, Tenants};
use crate::window::shared::Window;

use super::Error;

/// Batches between the pipeline and delivery: one ready while another is being filled.
const BATCHES_QUEUED: usize = 2;
/// Changes of containers between discovery and the source.
const CHANGES_QUEUED: usize = 256;
/// How often everything is compared with what Docker says, in case an event was missed.
const RECONCILE: Duration = Duration::from_secs(5);
/// How long a container keeps its log connection while others wait for one.
const POOL_SLICE: Duration = Duration::from_secs(2);
/// After giving up, for a task that does not see it.
const LAST_GRACE: Duration = Duration::from_secs(1);

/// How a task ended when it ended well.
enum Ended {
    Upstream,
    Delivery(Left),
}

type Tasks = JoinSet<Result<Ended, Error>>;

/// All tasks but admin's, with their names.
pub(super) struct Staff {
    tasks: Tasks,
    names: HashMap<Id, &'static str>,
    /// Of the state folder, until all have ended.
    lock: Option<checkpoint::Lock>,
}

impl Staff {
    /// Starts all of them. Dropped half-way, it takes with it what it had started.
    ///
    /// # Errors
    /// What could not be had.
    pub(super) async fn hire(
        config: &Config,
        targets: Targets,
        metrics: &Arc<Metrics>,
        shutdown: &Shutdown,
    ) -> Result<Self, Error> {
        let mut staff = Self { tasks: JoinSet::new(), names: HashMap::new(), lock: None };
        staff.start(config, targets, metrics, shutdown).await?;
        Ok(staff)
    }

    async fn start(
        &mut self,
        config: &Config,
        targets: Targets,
        metrics: &Arc<Metrics>,
        shutdown: &Shutdown,
    ) -> Result<(), Error> {
        let clock = Clock::system();
        let started_ns = clock.now_ns();
        let store = Store::open(&config.state_dir).await?;
        self.lock = Some(store.lock()?);
        let checkpoint = store.load(started_ns).await?;
        let (items, records) = inlet::queue(config.limits.queue_lines);
        let (batches_in, batches) = mpsc::channel(BATCHES_QUEUED);

        let stop = shutdown.stop.clone();
        let remembered = checkpoint.containers.keys().cloned().collect();
        let since = (started_ns, checkpoint.since_ns, remembered);
        let (changes, api) = self.discover(config, metrics, since, stop.clone()).await?;
        let engine = api.clone();
        let tenants = Arc::new(config.loki.tenants());
        let limits = allowance::Limits {
            bytes: usize::try_from(config.limits.container_bytes.as_u64()).unwrap_or(usize::MAX),
            bytes_per_s: config.limits.container_bytes_per_s.map(|rate| rate.as_u64()),
        };
        let allowance = Allowance::new(limits, tenants.clone(), targets, metrics.clone());
        let gates = allowance.gates().clone();
        let inputs = source::Inputs {
            changes,
            resume: checkpoint.containers.clone().into_iter().collect(),
            start: start(config.start),
            started_ns,
            clock: clock.clone(),
            out: items,
            allowance,
            metrics: metrics.clone(),
            stop,
        };
        self.read(config, api, inputs);
        let windows = tenants.lanes(|_, name| Window::new(config.window, name, metrics.clone()));
        let resumed = checkpoint.containers.len();
        let books = books(config, metrics, (store, checkpoint)).await?;
        let deliver = Deliver::new(
            lanes(config, &tenants, (&windows, &gates), (&clock, metrics))?,
            books,
            config.loki.encoding,
            metrics.clone(),
        );
        let pipeline = Pipeline {
            tenants,
            windows,
            scheme: Scheme::new(&config.labels),
            streams_max: config.labels.max_streams,
            filter: Filter::new(&config.lines).map_err(Error::Patterns)?,
            limits: config.limits.clone(),
            clock,
            metrics: metrics.clone(),
        };
        self.batch(config, pipeline, (records, batches_in));
        announce(config, &engine, resumed);
        let shutdown = shutdown.clone();
        self.add("delivery", async move { Ok(Ended::Delivery(deliver.run(batches, shutdown).await?)) });
        Ok(())
    }

    async fn discover(
        &mut self,
        config: &Config,
        metrics: &Arc<Metrics>,
        (started_ns, first_started_ns, remembered): (i64, i64, BTreeSet<ContainerId>),
        stop: CancellationToken,
    ) -> Result<(mpsc::Receiver<crate::docker::known::Change>, Api), Error> {
        let api = Api::connect(&config.docker.host, metrics.clone()).await?;
        let (out, changes) = mpsc::channel(CHANGES_QUEUED);
        let settings = discovery::Config {
            labels: config.discovery.labels.clone(),
            exclude: config.discovery.exclude.clone(),
            started_ns,
            first_started_ns,
            remembered,
            reconcile: RECONCILE,
            metadata: metadata::Config { ttl: config.metadata.ttl, entries_max: config.metadata.max_entries },
        };
        let (api_of_task, metrics) = (api.clone(), metrics.clone());
        self.add("discovery", async move {
            let ended = discovery::run(api_of_task, settings, metrics, out, stop).await;
            ended.map(|()| Ended::Upstream).map_err(|error| early("discovery", &error))
        });
        Ok((changes, api))
    }

    fn read(&mut self, config: &Config, api: Api, inputs: source::Inputs) {
        let pool = pool::Config { connections_max: config.docker.max_connections, slice: POOL_SLICE };
        let (containers_root, limits) = (config.docker.containers_root.clone(), config.hybrid.clone());
        let hybrid = hybrid::Config { containers_root, reconcile: RECONCILE, limits };
        match config.design {
            Design::Pool => self.add("pool", async move {
                let ended = pool::run(pool, api, inputs).await;
                ended.map(|()| Ended::Upstream).map_err(|error| early("pool", &error))
            }),
            Design::Hybrid => self.add("hybrid", async move {
                hybrid::run(hybrid, inputs).await?;
                Ok(Ended::Upstream)
            }),
            Design::Auto => self.add("auto", async move {
                let ended = auto::run(auto::Config { pool, hybrid }, api, inputs).await;
                ended.map(|()| Ended::Upstream).map_err(|error| early("auto", &error))
            }),
        }
    }

    fn batch(
        &mut self,
        config: &Config,
        pipeline: Pipeline,
        (records, batches): (mpsc::Receiver<Item>, mpsc::Sender<crate::batch::Batch>),
    ) {
        let settings = config.batch.clone();
        self.add("pipeline", async move {
            pipeline.run(settings, records, batches).await;
            Ok(Ended::Upstream)
        });
    }

    fn add(&mut self, name: &'static str, task: impl Future<Output = Result<Ended, Error>> + Send + 'static) {
        let handle = self.tasks.spawn(task);
        self.names.insert(handle.id(), name);
    }

    /// Waits for all of them. One that ends before the stop takes the others with it, in order. `load` is asked at
    /// SIGHUP; what it gives ends them too, and stands in `next` unless they are to end for good by then.
    ///
    /// # Errors
    /// What broke.
    pub(super) async fn watch(
        mut self,
        (signals, shutdown): (&mut Signals, Shutdown),
        grace: Duration,
        load: impl FnMut() -> Option<Config>,
        next: &mut Option<Config>,
    ) -> Result<Left, Error> {
        let mut conduct = pin!(async {
            signals.conduct(&shutdown, grace, load, next).await;
            tokio::time::sleep(LAST_GRACE).await;
        });
        let mut first_error = None;
        let mut left = None;
        loop {
            let ended = tokio::select! {
                ended = self.tasks.join_next_with_id() => ended,
                () = &mut conduct => {
                    self.tasks.shutdown().await;
                    None
                }
            };
            let Some(ended) = ended else { break };
            match self.judge(ended, shutdown.stop.is_cancelled()) {
                Ok(Ended::Delivery(what)) => left = Some(what),
                Ok(Ended::Upstream) => {}
                Err(error) => first_error = first_error.or(Some(error)),
            }
            if first_error.is_some() {
                shutdown.stop.cancel();
            }
        }
        let no_delivery =
            || Error::Early { task: "delivery", reason: Some("it had to be aborted".to_owned()) };
        first_error.map_or_else(|| left.ok_or_else(no_delivery), Err)
    }

    /// An end in order, or an error. Once all are to end, a source may well find the next room empty.
    fn judge(
        &self,
        ended: Result<(Id, Result<Ended, Error>), JoinError>,
        stopping: bool,
    ) -> Result<Ended, Error> {
        let name = |id| self.names.get(&id).copied().unwrap_or("a task");
        match ended {
            Ok((_, Ok(ended))) if stopping => Ok(ended),
            Ok((id, Ok(_))) => Err(Error::Early { task: name(id), reason: None }),
            Ok((_, Err(error))) if stopping && !error.is_environment() => {
                tracing::debug!(%error, "while stopping");
                Ok(Ended::Upstream)
            }
            Ok((_, Err(error))) => Err(error),
            Err(panic) => Err(Error::Early { task: name(panic.id()), reason: Some(panic.to_string()) }),
        }
    }
}

async fn books(config: &Config, metrics: &Arc<Metrics>, state: (Store, Checkpoint)) -> Result<Books, Error> {
    let dir = config.state_dir.join(dead_letters::FOLDER);
    let dead_letters = DeadLetters::open(&dir, &config.dead_letters, metrics.clone()).await?;
    Ok(Books::new(dead_letters, state, metrics.clone()))
}

fn lanes(
    config: &Config,
    tenants: &Tenants,
    (windows, gates): (&PerLane<Window>, &PerLane<Gate>),
    (clock, metrics): (&Clock, &Arc<Metrics>),
) -> Result<PerLane<Lane>, Error> {
    let clients = config.loki.clients()?;
    Ok(tenants.lanes(|lane, tenant| {
        let deps = lane::Deps {
            client: clients[lane].clone(),
            window: windows[lane].clone(),
            gate: gates[lane].clone(),
            retry: config.retry.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
        };
        Lane::new(tenant, deps)
    }))
}

/// What an operator asks first when something is amiss.
fn announce(config: &Config, api: &Api, resumed: usize) {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        design = ?config.design,
        docker = config.docker.host,
        engine = api.engine(),
        api = api.version(),
        loki = config.loki.shown_url(),
        start = ?config.start,
        resumed,
        "started"
    );
    if config.loki.shows_secrets() {
        tracing::warn!("who listens on the way to loki.url can read the password or token: use https");
    }
}

fn start(start: Start) -> source::position::Start {
    match start {
        Start::End => source::position::Start::End,
        Start::Beginning => source::position::Start::Beginning,
        Start::Since(since) => source::position::Start::Since(since),
    }
}

fn early(task: &'static str, error: &impl std::error::Error) -> Error {
    Error::Early { task, reason: Some(error.to_string()) }
}
