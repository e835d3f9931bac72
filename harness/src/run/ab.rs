//! `flatline ab`: targets side by side on the same containers, from nothing to a report, and nothing
//! left behind.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::clock::{self, Stopwatch};
use crate::environment;
use crate::faults::Fault;
use crate::orphans;
use crate::record::files::{self, RecordError};
use crate::record::recorder::Recorder;
use crate::result::bench::MissingTarget;
use crate::result::{Manifest, Missed, Resource, RunIn, RunResult, SCHEMA};
use crate::run::clean::{self, Removed};
use crate::run::conclude::conclude;
use crate::run::doctor;
use crate::run::doctor::findings::{self, State};
use crate::run::early::Early;
use crate::run::house::{End, House, scratch};
use crate::run::journal::Journal;
use crate::run::judge;
use crate::run::order::{EngineChoice, Order, RunError};
use crate::run::progress::Progress;
use crate::run::resume::{self, Begun};
use crate::run::surroundings::World;
use crate::sample::daemons::Daemons;
use crate::target::process::missing;
use crate::world::engine::{Engine, EngineError};
use crate::world::memory_group;
use crate::world::own_engine::{Kind, OwnEngine};
use crate::world::small_disk::unmount_all;

/// How long a request that was given up half-way may still take to make its container.
const LATE_CONTAINER: Duration = Duration::from_secs(1);

/// Runs it. Whatever happens, containers, processes and temporary files are gone afterwards. When `stop`
/// is cancelled, what was seen until then is judged and reported, marked as cut short.
///
/// # Errors
/// [`RunError`] where the environment fails.
pub async fn run(mut order: Order, stop: &CancellationToken) -> Result<RunResult, RunError> {
    if stop.is_cancelled() {
        return Err(RunError::Stopped);
    }
    without_missing(&mut order);
    sweep(&order).await?;
    look_round(&order)?;
    let mut own = match own_engine(&order).await? {
        Some(kind) => Some(OwnEngine::start(kind, &order.run_id).await?),
        None => None,
    };
    let host = own.as_ref().map_or_else(|| order.docker_host.clone(), OwnEngine::host);
    let result =
        AssertUnwindSafe(Box::pin(with_engine(&order, &host, own.as_mut(), stop))).catch_unwind().await;
    let ended = match own {
        Some(own) => own.end().await,
        None => Ok(()),
    };
    let left = remove_left(&order).await;
    match result {
        Ok(result) => {
            let result = result?;
            ended?;
            left?;
            Ok(result)
        }
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Whoever is not on this machine does not keep the others from running. Where nobody is left, the first that is started says
/// what is missing.
fn without_missing(order: &mut Order) {
    let gone: Vec<MissingTarget> = order.loaded.targets.iter().filter_map(missing).collect();
    if gone.len() == order.loaded.targets.len() {
        return;
    }
    let progress = Progress::new(order.show, &[]);
    gone.iter().for_each(|target| progress.tell(&target.words()));
    let is_there = |name: &str| gone.iter().all(|target| target.name != name);
    order.loaded.targets.retain(|spec| is_there(&spec.name));
    order.loaded.scenario.targets.retain(|name, _| is_there(name));
    order.missing = gone;
}

/// What dead runs have left goes first: of the run that goes on everything, of others what is dead for sure.
async fn sweep(order: &Order) -> Result<(), RunError> {
    let progress = Progress::new(order.show, &[]);
    let tell = |removed: &Removed| {
        if !removed.is_nothing() {
            progress.tell(&format!("left by a run that is dead: {removed}"));
        }
    };
    if let Some(earlier) = &order.earlier {
        let of = |run_id: &str| earlier.manifest.segments.iter().any(|segment| segment.run_id == run_id);
        tell(&clean::remove(of, &order.docker_host).await?);
    }
    if std::env::var_os(orphans::SWEEP_VARIABLE).is_some_and(|sweep| sweep == "off") {
        return Ok(());
    }
    match clean::remove(orphans::is_orphan, &order.docker_host).await {
        Ok(removed) => tell(&removed),
        // Others' leavings are no reason not to run.
        Err(error) => progress.tell(&format!("what dead runs have left stays: {error}")),
    }
    Ok(())
}

/// Says what the machine lacks, and how much will be written.
fn look_round(order: &Order) -> Result<(), RunError> {
    let facts = doctor::facts(&order.loaded, &order.out, order.load_done());
    let progress = Progress::new(order.show, &[]);
    progress.tell(&findings::room(&facts));
    for finding in findings::all(&facts).into_iter().filter(|finding| finding.state != State::Good) {
        match (finding.what, finding.state) {
            ("space", State::Missing) => return Err(RunError::NoRoom(finding.found)),
            ("space", _) => {}
            // The rest is told by what it makes impossible, where it does.
            (what, _) => progress.tell(&format!("{what}: {}; {}", finding.found, finding.advice)),
        }
    }
    Ok(())
}

/// Which engine of its own the run needs, if any: one that faults may stop, or one where there is no Docker.
async fn own_engine(order: &Order) -> Result<Option<Kind>, RunError> {
    let restarts = order.loaded.scenario.faults.iter().any(|timed| timed.fault == Fault::DockerRestart);
    match order.engine {
        EngineChoice::Auto | EngineChoice::Docker if restarts => Ok(Some(Kind::Docker)),
        EngineChoice::Embedded if restarts => Err(RunError::NotEmbedded { fault: "docker_restart" }),
        EngineChoice::Docker => Ok(None),
        EngineChoice::Embedded => Ok(Some(Kind::Embedded)),
        EngineChoice::Auto => match Engine::connect(&order.docker_host, &order.run_id).await {
            Ok(_) => Ok(None),
            // One that is there and not for this user is another matter.
            Err(error @ EngineError::Unreachable { .. }) => {
                if let Some(place) = container_asked_for(order) {
                    return Err(RunError::ContainerWithoutDocker { place, source: error });
                }
                Progress::new(order.show, &[]).say(&format!(
                    "{error}\n  The embedded engine runs the containers, as plain processes (--engine docker insists on Docker)."
                ));
                Ok(Some(Kind::Embedded))
            }
            Err(error) => Err(error.into()),
        },
    }
}

/// Where it is said that a target runs in a container, if any does.
fn container_asked_for(order: &Order) -> Option<String> {
    let contained = order.loaded.targets.iter().find(|spec| spec.kind.run_in == RunIn::Container);
    contained.map(|spec| spec.run_in_at.clone())
}

async fn with_engine(
    order: &Order,
    host: &str,
    own: Option<&mut OwnEngine>,
    stop: &CancellationToken,
) -> Result<RunResult, RunError> {
    let engine = tokio::select! {
        biased;
        () = stop.cancelled() => return Err(RunError::Stopped),
        engine = Engine::connect(host, &order.run_id) => engine?,
    };
    if let Some(place) = container_asked_for(order).filter(|_| engine.is_embedded()) {
        return Err(RunError::ContainerNotEmbedded { place });
    }
    let begun = match &order.earlier {
        Some(earlier) => {
            let begun = resume::take_up(order, earlier)?;
            remove_scratch(order)?;
            begun
        }
        None => begin(order, &engine)?,
    };
    let result = AssertUnwindSafe(Box::pin(conduct(order, &engine, own, begun, stop))).catch_unwind().await;
    let mut containers = engine.remove_all().await;
    if !matches!(result, Ok(Ok(_))) {
        sleep(LATE_CONTAINER).await;
        containers = engine.remove_all().await;
    }
    match result {
        Ok(result) => {
            let result = result?;
            containers?;
            Ok(result)
        }
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// What the run has left: what its targets have started outlives them otherwise.
async fn remove_left(order: &Order) -> Result<(), RunError> {
    orphans::end_processes(|run_id| run_id == order.run_id)
        .map_err(RecordError::io("look for processes in", Path::new("/proc")))?;
    memory_group::remove_all(|run_id| run_id == order.run_id).await?;
    unmount_all(|run_id| run_id == order.run_id)?;
    remove_scratch(order)
}

/// Where the folder is this run's; if it could not begin, it may be that of another which is alive.
fn remove_scratch(order: &Order) -> Result<(), RunError> {
    if !files::read_manifest(&order.out).is_ok_and(|manifest| manifest.run_id == order.run_id) {
        return Ok(());
    }
    let scratch = scratch(&order.out);
    match fs::remove_dir_all(&scratch) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(RecordError::io("remove", &scratch)(error).into())
        }
        _ => Ok(()),
    }
}

fn begin(order: &Order, engine: &Engine) -> Result<Begun, RunError> {
    let scratch = scratch(&order.out);
    if scratch.exists() {
        // Of a run that is alive or was killed; or somebody's own, and it is removed in the end.
        return Err(RecordError::io("write", &scratch)(ErrorKind::AlreadyExists.into()).into());
    }
    let recorder = Recorder::create(&order.out)?;
    resume::note(order)?;
    let manifest = manifest(order, engine);
    recorder.manifest(&manifest)?;
    Ok(Begun { recorder, manifest, stopwatch: Stopwatch::start() })
}

async fn conduct(
    order: &Order,
    engine: &Engine,
    own: Option<&mut OwnEngine>,
    Begun { recorder, mut manifest, stopwatch }: Begun,
    stop: &CancellationToken,
) -> Result<RunResult, RunError> {
    let mut house = match House::build(order, engine, own, stopwatch).await {
        Ok(house) => house,
        Err(error) => {
            manifest.end(format!("failed: {error}"), stopwatch.elapsed_s());
            recorder.manifest(&manifest)?;
            return Err(error);
        }
    };
    manifest.images = house.images();
    recorder.manifest(&manifest)?;
    let sinks = order.loaded.targets.iter().zip(&house.sinks);
    let world = World {
        sinks: sinks.map(|(spec, sink)| (spec.name.clone(), Arc::clone(sink))).collect(),
        happened: Arc::clone(&house.happened),
        daemons: Daemons::of(engine.host(), engine.is_embedded()),
    };
    let progress = Progress::new(order.show, &manifest.targets);
    let limits = order.loaded.scenario.limits.clone();
    let early = order.fail_fast.then(|| Early::new(&order.loaded.targets, &limits));
    let judged = manifest.terms.iter().map(|(name, terms)| {
        let settings = |(resource, limit): (&Resource, &f64)| {
            (*resource, judge::settings(terms, *resource, *limit, None))
        };
        (name.clone(), limits.iter().map(settings).collect())
    });
    let judged = (judged.collect(), early);
    let mut journal = Journal::new(recorder, house.stopwatch, world, judged, progress);
    let end = house.live(&mut journal, stop).await;
    journal.progress().clear();
    manifest.phases.extend(journal.phases());
    manifest.missed += journal.missed();
    manifest.containers_started += house.containers_started;
    let ended = match &end {
        Ok(End::Finished) if journal.stopped_early().is_some() => "stopped early".to_owned(),
        Ok(End::Finished) => "finished".to_owned(),
        Ok(End::CutShort) => "interrupted".to_owned(),
        Err(error) => format!("failed: {error}"),
    };
    manifest.end(ended, house.stopwatch.elapsed_s());
    let noted = journal.recorder().manifest(&manifest);
    let end = match end {
        Ok(end) => end,
        // What was seen until then is worth a report, and the failure is what the run ends with, whatever
        // else fails on the way.
        Err(error) => {
            if house.is_attached()
                && let Err(second) = report(order, house, &manifest, &journal, End::CutShort).await
            {
                journal.progress().say(&format!("no report of what was seen until then: {second}"));
            }
            return Err(error);
        }
    };
    noted?;
    report(order, house, &manifest, &journal, end).await
}

async fn report(
    order: &Order,
    house: House<'_>,
    manifest: &Manifest,
    journal: &Journal,
    end: End,
) -> Result<RunResult, RunError> {
    let accounts = house.settle(end).await?;
    conclude(order, manifest, &accounts, (end, journal.stopped_early()))
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
        revision: order.revision.clone(),
        engine: engine.version().to_owned(),
        kernel: environment::kernel(),
        machine: environment::machine(),
        phases: Vec::new(),
        limits: scenario.limits.clone(),
        compression: order.loaded.compression.clone(),
        window_s: scenario.window.as_secs_f64(),
        targets: order.loaded.targets.iter().map(|spec| spec.name.clone()).collect(),
        shard: order.loaded.shard,
        missing_targets: order.missing.clone(),
        terms: order.loaded.targets.iter().map(|spec| (spec.name.clone(), spec.terms())).collect(),
        images: BTreeMap::new(),
        containers_started: 0,
        ended: Manifest::RUNNING.to_owned(),
        missed: Missed::default(),
        segments: vec![resume::now().segment(&order.run_id, 0.0)],
        parts: Vec::new(),
    }
}
