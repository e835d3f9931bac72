//! `flatline ab`: targets side by side on the same containers, from nothing to a report, and nothing
//! left behind.

use std::collections::BTreeMap;
use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{join_all, try_join_all};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::audit::reconcile::{Unexplained, reconcile};
use crate::clock::{self, Stopwatch};
use crate::environment;
use crate::loki::limits::Limits;
use crate::loki::server::{Sink, SinkConfig, SinkError};
use crate::record::files::{self, RecordError};
use crate::record::recorder::Recorder;
use crate::report;
use crate::result::{Audit, Manifest, RunResult, SCHEMA};
use crate::run::attach::{AttachError, Attached, Detached, Setting};
use crate::run::journal::{Journal, Note};
use crate::run::judge::Case;
use crate::run::progress::{Progress, Show};
use crate::run::truth::truth;
use crate::sample::sampler::Sampler;
use crate::scenario::Loaded;
use crate::world::engine::{Engine, EngineError};
use crate::world::image::{self, ImageError};
use crate::world::load::{self, Load};
use crate::world::truth::{TruthError, Written, read_all};

/// A target needs some seconds to start and to read, during which lines age: what was younger than the
/// window by this much when it was started must arrive.
const ATTACH_ALLOWANCE: Duration = Duration::from_secs(5);
/// How long a run that was cut short waits for what is under way.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);
const LATE_CONTAINER: Duration = Duration::from_secs(1);
const NOTES_MAX: usize = 64;

/// What is to be run.
#[derive(Debug)]
pub struct Order {
    /// The scenario and its targets.
    pub loaded: Loaded,
    /// The run's id, unique on the machine.
    pub run_id: String,
    /// The run directory, which must not hold a run yet.
    pub out: PathBuf,
    /// Address of the Docker Engine.
    pub docker_host: String,
    /// The command line that repeats the run.
    pub command: Vec<String>,
    /// How to show progress.
    pub show: Show,
}

/// Why a run failed: the environment's fault, never a target's.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The Docker Engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The run directory.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The generator's image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A sink.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// A target.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The generators' counters.
    #[error(transparent)]
    Truth(#[from] TruthError),
    /// The report.
    #[error(transparent)]
    Report(#[from] report::ReportError),
    /// Not a failure: somebody asked the run to stop.
    #[error("stopped")]
    Stopped,
}

/// `audit.json`: the figures of each target, and where to look for what nobody accounts for.
#[derive(Debug, Serialize)]
struct AuditFile<'a> {
    schema: u32,
    targets: BTreeMap<&'a str, AuditEntry>,
}

#[derive(Debug, Serialize)]
struct AuditEntry {
    #[serde(flatten)]
    audit: Audit,
    /// Lines that were changed on their way.
    altered: u64,
    /// Lines that arrived behind a later one of the same output.
    out_of_order: u64,
    unaccounted: Vec<String>,
}

/// Runs it. Whatever happens, containers, processes and temporary files are gone afterwards. When `stop`
/// is cancelled, what was seen until then is judged and reported, marked as cut short.
///
/// # Errors
/// [`RunError`] where the environment fails.
pub async fn run(order: Order, stop: &CancellationToken) -> Result<RunResult, RunError> {
    let engine = Engine::connect(&order.docker_host, &order.run_id).await?;
    let recorder = Recorder::create(&order.out)?;
    let result = AssertUnwindSafe(conduct(&order, &engine, recorder, stop)).catch_unwind().await;
    let mut containers = engine.remove_all().await;
    if !matches!(result, Ok(Ok(_))) {
        // A request that was given up half-way may still make its container.
        sleep(LATE_CONTAINER).await;
        containers = engine.remove_all().await;
    }
    let files = remove_work(&order.out);
    match result {
        Ok(result) => {
            let result = result?;
            containers?;
            files?;
            Ok(result)
        }
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn work(out: &Path) -> PathBuf {
    out.join("work")
}

fn remove_work(out: &Path) -> Result<(), RecordError> {
    let work = work(out);
    match fs::remove_dir_all(&work) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(RecordError::io("remove", &work)(error))
        }
        _ => Ok(()),
    }
}

async fn conduct(
    order: &Order,
    engine: &Engine,
    recorder: Recorder,
    stop: &CancellationToken,
) -> Result<RunResult, RunError> {
    let mut manifest = manifest(order, engine);
    recorder.manifest(&manifest)?;
    let mut house = House::build(order, engine, Stopwatch::start()).await?;
    let sinks = order.loaded.targets.iter().zip(&house.sinks);
    let sinks = sinks.map(|(spec, sink)| (spec.name.clone(), Arc::clone(sink))).collect();
    let progress = Progress::new(order.show, &manifest.targets);
    let limits = order.loaded.scenario.limits.clone();
    let mut journal = Journal::new(recorder, house.stopwatch, sinks, limits, progress);
    let end = house.live(&mut journal, stop).await;
    journal.progress().clear();
    manifest.phases = journal.phases();
    manifest.containers_started = house.containers_started;
    manifest.ended = match &end {
        Ok(End::Finished) => "finished".to_owned(),
        Ok(End::CutShort) => "interrupted".to_owned(),
        Err(error) => format!("failed: {error}"),
    };
    journal.recorder().manifest(&manifest)?;
    let end = end?;
    let accounts = house.settle(end).await?;
    conclude(order, &manifest, &accounts, end)
}

fn manifest(order: &Order, engine: &Engine) -> Manifest {
    let scenario = &order.loaded.scenario;
    Manifest {
        schema: SCHEMA,
        run_id: order.run_id.clone(),
        started_at: clock::wall_rfc3339(),
        command: order.command.clone(),
        scenario: scenario.name.clone(),
        scenario_yaml: order.loaded.yaml.clone(),
        seed: scenario.seed,
        version: environment::VERSION.to_owned(),
        commit: environment::COMMIT.to_owned(),
        engine: engine.version().to_owned(),
        kernel: environment::kernel(),
        machine: environment::machine(),
        phases: Vec::new(),
        limits: scenario.limits.clone(),
        window_s: scenario.window.as_secs_f64(),
        targets: order.loaded.targets.iter().map(|spec| spec.name.clone()).collect(),
        containers_started: 0,
        ended: "running".to_owned(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Finished,
    CutShort,
}

/// What one target did, in figures.
#[derive(Debug)]
struct Account {
    detached: Detached,
    audit: Audit,
    altered: u64,
    out_of_order: u64,
    unexplained: Vec<Unexplained>,
}

/// Everything that runs.
struct House<'a> {
    order: &'a Order,
    engine: &'a Engine,
    stopwatch: Stopwatch,
    sinks: Vec<Arc<Sink>>,
    setting: Setting,
    truth_folder: PathBuf,
    /// The counters when the oldest line that must arrive was written.
    old: BTreeMap<String, Written>,
    attached: Vec<Attached>,
    containers_started: u64,
}

impl<'a> House<'a> {
    async fn build(order: &'a Order, engine: &'a Engine, stopwatch: Stopwatch) -> Result<Self, RunError> {
        let out = fs::canonicalize(&order.out).map_err(RecordError::io("find", &order.out))?;
        let (work, logs) = (work(&out), out.join("logs"));
        let truth_folder = work.join("truth");
        for folder in [&truth_folder, &logs] {
            fs::create_dir_all(folder).map_err(RecordError::io("write", folder))?;
        }
        let scenario = &order.loaded.scenario;
        let limits = Limits { reject_old_samples_max_age: scenario.window.0, ..Limits::default() };
        let sinks =
            order.loaded.targets.iter().map(|_| Sink::start(None, SinkConfig { limits: limits.clone() }));
        let setting = Setting {
            docker_host: engine.host().to_owned(),
            containers_root: engine.containers_root().await?,
            run_label: engine.label(),
            run_id: order.run_id.clone(),
            window: scenario.window.to_string(),
            work,
            logs,
        };
        Ok(Self {
            order,
            engine,
            stopwatch,
            sinks: try_join_all(sinks).await?.into_iter().map(Arc::new).collect(),
            setting,
            truth_folder,
            old: BTreeMap::new(),
            attached: Vec::new(),
            containers_started: 0,
        })
    }

    /// From the first container to the last, with the journal kept all the while.
    async fn live(&mut self, journal: &mut Journal, stop: &CancellationToken) -> Result<End, RunError> {
        let (notes, mut inbox) = mpsc::channel(NOTES_MAX);
        let every = self.order.loaded.scenario.sample_every.0;
        let phases = async {
            let result = self.phases(&notes, stop).await;
            drop(notes);
            result
        };
        let keep = async { Ok(journal.keep(&mut inbox, every).await?) };
        match tokio::try_join!(phases, keep) {
            Ok(_) => Ok(End::Finished),
            Err(RunError::Stopped) => Ok(End::CutShort),
            Err(error) => Err(error),
        }
    }

    async fn phases(&mut self, notes: &mpsc::Sender<Note>, stop: &CancellationToken) -> Result<(), RunError> {
        let phases = self.order.loaded.scenario.phases;
        tell(notes, Note::Phase("start", None)).await;
        let mut load = self.start_containers(stop).await?;
        tell(notes, Note::Phase("history", Some(phases.history.0))).await;
        self.history(phases.history.0, stop).await?;
        self.attach(notes, stop).await?;

        let mut beat = self.churn_beat();
        for (name, length) in [("warmup", phases.warmup.0), ("load", phases.load.0)] {
            tell(notes, Note::Phase(name, Some(length))).await;
            let end = Instant::now() + length;
            while wait(end, beat.as_mut(), stop).await? == Woke::Churn {
                self.churn(&mut load, notes).await?;
            }
        }
        tell(notes, Note::Phase("drain", Some(phases.drain.0))).await;
        let end = Instant::now() + phases.drain.0;
        self.engine.stop_all().await?;
        self.settled(Instant::now() + phases.drain.0 / 2).await;
        self.engine.remove_containers().await?;
        wait(end, None, stop).await.map(drop)
    }

    async fn start_containers(&mut self, stop: &CancellationToken) -> Result<Load, RunError> {
        let packed = tokio::task::spawn_blocking(image::pack).await;
        let image = packed.unwrap_or_else(|join| std::panic::resume_unwind(join.into_panic()))?;
        let mut load = self.new_load(image.entrypoint.clone());
        self.engine.import_image(image).await?;
        while !stop.is_cancelled() && load.start_one().await? {}
        self.containers_started = load.started();
        Ok(load)
    }

    async fn attach(&mut self, notes: &mpsc::Sender<Note>, stop: &CancellationToken) -> Result<(), RunError> {
        let urls: Vec<String> = self.sinks.iter().map(|sink| sink.url()).collect();
        self.attached = tokio::select! {
            () = stop.cancelled() => return Err(RunError::Stopped),
            attached = self.setting.attach(&self.order.loaded.targets, &urls) => attached?,
        };
        tell(notes, Note::Attached(self.attached.iter().map(Attached::subject).collect())).await;
        Ok(())
    }

    fn new_load(&self, entrypoint: Vec<String>) -> Load {
        let scenario = &self.order.loaded.scenario;
        let setting = load::Setting {
            run_id: self.order.run_id.clone(),
            entrypoint,
            truth: self.truth_folder.clone(),
            seed: scenario.seed,
        };
        Load::new(self.engine.clone(), scenario.containers.clone(), setting)
    }

    /// Lets the containers log alone, and notes the counters at the moment from which on every line
    /// must arrive.
    async fn history(&mut self, length: Duration, stop: &CancellationToken) -> Result<(), RunError> {
        let end = Instant::now() + length;
        let window = self.order.loaded.scenario.window.0;
        let must_arrive = end.checked_sub(window.saturating_sub(ATTACH_ALLOWANCE)).unwrap_or(end);
        wait(must_arrive, None, stop).await?;
        self.old = read_all(&self.truth_folder)?;
        wait(end, None, stop).await.map(drop)
    }

    fn churn_beat(&self) -> Option<Interval> {
        let churn = self.order.loaded.scenario.containers.churn.as_ref()?;
        let mut beat = interval(churn.every.0);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Some(beat)
    }

    async fn churn(&mut self, load: &mut Load, notes: &mpsc::Sender<Note>) -> Result<(), RunError> {
        let done = load.churn().await?;
        self.containers_started = load.started();
        tell(notes, Note::Event("churn", done)).await;
        Ok(())
    }

    /// Waits until nothing is under way in any target, by their own counts, or until `deadline`.
    async fn settled(&self, deadline: Instant) {
        let sampler = Sampler::default();
        let mut beat = interval(Duration::from_millis(250));
        let mut quiet = 0;
        while Instant::now() < deadline && quiet < 8 {
            beat.tick().await;
            let all = join_all(self.attached.iter().map(|attached| attached.is_settled(&sampler))).await;
            quiet = if all.into_iter().all(|settled| settled) { quiet + 1 } else { 0 };
        }
    }

    /// Ends the targets and accounts for every line.
    async fn settle(mut self, end: End) -> Result<Vec<Account>, RunError> {
        if end == End::CutShort {
            self.engine.stop_all().await?;
            self.settled(Instant::now() + SETTLE_WITHIN).await;
        }
        let sampler = Sampler::default();
        let attached = std::mem::take(&mut self.attached);
        let detached = join_all(attached.into_iter().map(|attached| attached.detach(&sampler))).await;
        let all = read_all(&self.truth_folder)?;
        let truth = truth(&self.old, &all);
        let accounts = detached.into_iter().zip(&self.sinks).map(|(detached, sink)| {
            let ledger = sink.ledger();
            let reconciled = reconcile(&truth, &ledger, &detached.claims);
            Account {
                detached,
                audit: reconciled.audit,
                altered: ledger.altered,
                out_of_order: ledger.sequences().map(|(_, sequence)| sequence.out_of_order).sum(),
                unexplained: reconciled.unexplained,
            }
        });
        Ok(accounts.collect())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Woke {
    End,
    Churn,
}

/// Waits for the end, or for a beat before it. Somebody who asks the run to stop is heard here and not
/// in the middle of a request to the engine, whose container would then be nobody's.
async fn wait(end: Instant, beat: Option<&mut Interval>, stop: &CancellationToken) -> Result<Woke, RunError> {
    let beat = async {
        match beat {
            Some(beat) => beat.tick().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(RunError::Stopped),
        () = sleep_until(end) => Ok(Woke::End),
        _ = beat => Ok(Woke::Churn),
    }
}

/// The journal listens for as long as the run lives; where it has failed, its error ends the run.
async fn tell(notes: &mpsc::Sender<Note>, note: Note) {
    notes.send(note).await.unwrap_or_default();
}

/// Judges, from what stands in the run directory, and draws the report.
fn conclude(
    order: &Order,
    manifest: &Manifest,
    accounts: &[Account],
    end: End,
) -> Result<RunResult, RunError> {
    let out = &order.out;
    let samples = files::read_csv(&out.join(files::SAMPLES))?;
    let case = Case {
        samples: &samples,
        phases: &manifest.phases,
        limits: &manifest.limits,
        cut_short: end == End::CutShort,
    };
    let targets = accounts
        .iter()
        .map(|account| (account.detached.spec.name.clone(), case.target(&account.detached, account.audit)));
    let verdict = case.whole(targets.collect());
    files::write_json(&out.join(files::AUDIT), &audit_file(accounts))?;
    files::write_json(&out.join(files::VERDICT), &verdict)?;
    let result = files::read_run(out)?;
    report::write_all(out, &result)?;
    Ok(result)
}

fn unaccounted(unexplained: &Unexplained) -> String {
    let runs: Vec<String> =
        unexplained.first_runs.iter().map(|(first, last)| format!("{first}..={last}")).collect();
    let Unexplained { key, missing, .. } = unexplained;
    format!("{} {:?}: {missing} missing, first {}", key.source, key.stream, runs.join(", "))
}

fn audit_file(accounts: &[Account]) -> AuditFile<'_> {
    let entry = |account: &Account| AuditEntry {
        audit: account.audit,
        altered: account.altered,
        out_of_order: account.out_of_order,
        unaccounted: account.unexplained.iter().map(unaccounted).collect(),
    };
    let targets = accounts.iter().map(|account| (account.detached.spec.name.as_str(), entry(account)));
    AuditFile { schema: SCHEMA, targets: targets.collect() }
}
