//! `flatline bench`: how fast targets are, what they cost, how long lines take. Each target does the same work over and
//! over, in turn with the others, into a sink of its own that accounts for every line.
//!
//! The embedded engine runs the containers: so a backlog can lie there before anybody has written it, and no daemon of the
//! machine is at work for others meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::loki::server::SinkError;
use crate::record::files::{RecordError, write_json};
use crate::result::bench::{Bench, BenchCase, Measure, MissingTarget, SinkAlone, Trial};
use crate::result::{Audit, SCHEMA};
use crate::run::attach::AttachError;
use crate::run::progress::{Progress, Show};
use crate::sample::sampler::Sampler;
use crate::scenario::bench::{CatchUp, LoadedBench, Task, Work};
use crate::target::process;
use crate::target::spec::Spec;
use crate::world::engine::{Engine, EngineError};
use crate::world::image::of_this_machine;
use crate::world::own_engine::{Kind, OwnEngine, OwnEngineError};
use crate::world::tempo::TempoError;
use crate::world::truth::TruthError;
use crate::{clock, environment};

mod about;
mod bed;
mod catch_up;
mod climb;
mod contender;
mod estimate;
mod gather;
mod highest_rate;
mod idle;
mod logging;
mod plan;
mod sink_alone;
mod steady;

use bed::{Bed, Laid};
use contender::Arrival;
use plan::Turn;

/// All of it, in figures.
pub const RESULT: &str = "bench.json";
/// A line for each trial, as it ends.
pub const TRIALS: &str = "trials.jsonl";

/// What is asked of a bench.
#[derive(Debug)]
pub struct Order {
    /// What is done, and by whom.
    pub loaded: LoadedBench,
    /// Its id, unique on the machine.
    pub run_id: String,
    /// The folder for results, which must not hold a bench yet.
    pub out: PathBuf,
    /// The command line that repeats it.
    pub command: Vec<String>,
    /// Wall time, RFC 3339.
    pub started_at: String,
    /// How to show progress.
    pub show: Show,
}

/// Why a bench failed: the environment's fault, never a target's.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The embedded engine.
    #[error(transparent)]
    OwnEngine(#[from] OwnEngineError),
    /// A request to it.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A file.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A sink.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// A template of a target, or a port for it.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The generators' counters.
    #[error(transparent)]
    Truth(#[from] TruthError),
    /// The generators' tempo.
    #[error(transparent)]
    Tempo(#[from] TempoError),
    /// Not a failure: somebody asked it to stop.
    #[error("stopped before anything was measured")]
    Stopped,
}

/// What a trial came to.
#[derive(Clone, Debug, Default)]
struct Outcome {
    figures: BTreeMap<Measure, f64>,
    audit: Option<Audit>,
    troubles: Vec<String>,
    notes: Vec<String>,
    /// It would not even start.
    is_hopeless: bool,
}

impl Outcome {
    fn of(figures: BTreeMap<Measure, f64>, audit: Option<Audit>, arrival: Arrival) -> Self {
        let troubles = match arrival {
            Arrival::Whole => Vec::new(),
            Arrival::Stuck(words) => vec![words],
        };
        Self { figures, audit, troubles, ..Self::default() }
    }

    fn failed(words: String) -> Self {
        Self { troubles: vec![words], is_hopeless: true, ..Self::default() }
    }
}

/// Runs it. Whatever happens, containers, processes and temporary files are gone afterwards. When `stop` is cancelled,
/// what was measured until then is the result, marked as cut short.
///
/// # Errors
/// [`BenchError`] where the environment fails.
pub async fn run(order: Order, stop: &CancellationToken) -> Result<Bench, BenchError> {
    if stop.is_cancelled() {
        return Err(BenchError::Stopped);
    }
    let trials = Trials::create(&order.out)?;
    let mut own = OwnEngine::start(Kind::Embedded, &order.run_id).await?;
    let result = AssertUnwindSafe(Box::pin(with_engine(&order, &mut own, trials, stop))).catch_unwind().await;
    // It ends everything that bears the bench's id, the targets among them.
    let ended = own.end().await;
    let left = remove(&order.out.join(SCRATCH));
    match result {
        Ok(result) => {
            let result = result?;
            ended?;
            left?;
            write_json(&order.out.join(RESULT), &result)?;
            Ok(result)
        }
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

const SCRATCH: &str = "scratch";

fn remove(folder: &Path) -> Result<(), RecordError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(RecordError::io("remove", folder)(error)),
        _ => Ok(()),
    }
}

/// The trials, as they end.
struct Trials {
    path: PathBuf,
    file: File,
    all: Vec<Trial>,
}

impl Trials {
    fn create(out: &Path) -> Result<Self, RecordError> {
        fs::create_dir_all(out).map_err(RecordError::io("write", out))?;
        let path = out.join(TRIALS);
        let file = OpenOptions::new().append(true).create_new(true).open(&path);
        Ok(Self { file: file.map_err(RecordError::io("write", &path))?, path, all: Vec::new() })
    }

    fn add(&mut self, trial: Trial) -> Result<(), RecordError> {
        let failed = RecordError::io("write", &self.path);
        let mut line = serde_json::to_vec(&trial).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(failed)?;
        self.all.push(trial);
        Ok(())
    }
}

async fn with_engine(
    order: &Order,
    own: &mut OwnEngine,
    trials: Trials,
    stop: &CancellationToken,
) -> Result<Bench, BenchError> {
    let engine = Engine::connect(&own.host(), &order.run_id).await?;
    engine.import_image(of_this_machine()).await?;
    let out = fs::canonicalize(&order.out).map_err(RecordError::io("find", &order.out))?;
    let (scratch, logs) = (out.join(SCRATCH), out.join("logs"));
    for folder in [&scratch, &logs] {
        fs::create_dir_all(folder).map_err(RecordError::io("write", folder))?;
    }
    let bed = Bed {
        bench: &order.loaded,
        engine: &engine,
        engine_pid: own.pid(),
        containers_root: engine.containers_root().await?,
        run_id: &order.run_id,
        scratch,
        logs,
        sampler: Sampler::default(),
    };
    let (present, missing) = present(&order.loaded);
    let progress = Progress::new(order.show, &names(&present));
    for gone in &missing {
        progress.tell(&gone.words());
    }
    let mut show = Performance {
        bed,
        present,
        trials,
        progress,
        hopeless: BTreeSet::new(),
        cases: Vec::new(),
        sink_alone: None,
    };
    let cut_short = tokio::select! {
        biased;
        () = stop.cancelled() => true,
        played = Box::pin(show.play()) => { played?; false }
    };
    show.progress.clear();
    show.gather_rest();
    Ok(bench(order, engine.version(), (show.cases, show.sink_alone), (missing, cut_short)))
}

fn names(specs: &[&Spec]) -> Vec<String> {
    specs.iter().map(|spec| spec.name.clone()).collect()
}

/// Those whose program is there, and those whose is not.
fn present(loaded: &LoadedBench) -> (Vec<&Spec>, Vec<MissingTarget>) {
    let (mut present, mut missing) = (Vec::new(), Vec::new());
    for spec in &loaded.targets {
        let entry = loaded.scenario.targets.get(&spec.name);
        let is_wanted = entry.is_none_or(|entry| !entry.if_installed);
        match process::missing(spec) {
            Some(gone) => missing.push(MissingTarget { is_wanted, ..gone }),
            None => present.push(spec),
        }
    }
    (present, missing)
}

/// A bench under way.
struct Performance<'a> {
    bed: Bed<'a>,
    present: Vec<&'a Spec>,
    trials: Trials,
    progress: Progress,
    /// Targets that would not start.
    hopeless: BTreeSet<String>,
    cases: Vec<BenchCase>,
    sink_alone: Option<SinkAlone>,
}

impl Performance<'_> {
    async fn play(&mut self) -> Result<(), BenchError> {
        if self.present.is_empty() {
            return Ok(());
        }
        self.progress.phase("sink", None);
        self.sink_alone = sink_alone::measure(self.bed.window().0).await?;
        let bench = self.bed.bench;
        for task in &bench.tasks {
            self.task(task).await?;
            self.gather(task);
        }
        Ok(())
    }

    async fn task(&mut self, task: &Task) -> Result<(), BenchError> {
        let turns = plan::turns(self.present.len(), task.repeats);
        self.progress.trials(&task.name, turns.len() as u64);
        let laid = self.lay(&task.work).await?;
        for (done, turn) in turns.iter().enumerate() {
            let Some(spec) = self.present.get(turn.target).copied() else { continue };
            if self.hopeless.contains(&spec.name) {
                continue;
            }
            let message = format!("{}, repeat {} of {}", spec.name, turn.repeat + 1, task.repeats);
            self.progress.trial(done as u64, message);
            let outcome = Box::pin(self.trial(task, spec, (*turn, &laid))).await?;
            if outcome.is_hopeless {
                self.hopeless.insert(spec.name.clone());
            }
            self.progress
                .target(turn.target, about::trial(task.work.kind(), &outcome.figures, &outcome.troubles));
            self.trials.add(Trial {
                case: task.name.clone(),
                target: spec.name.clone(),
                repeat: turn.repeat,
                figures: outcome.figures,
                audit: outcome.audit,
                troubles: outcome.troubles,
                notes: outcome.notes,
            })?;
        }
        self.bed.engine.remove_containers().await?;
        Ok(())
    }

    /// What all trials of a case read.
    async fn lay(&self, work: &Work) -> Result<Laid, BenchError> {
        match work {
            Work::CatchUp(backlog) | Work::StartUp(backlog) => self.bed.lay(*backlog, clock::now_ns()).await,
            Work::Idle(idle) if idle.containers > 0 => {
                let lines = u64::from(idle.containers) * idle::LINES_BEFORE;
                let backlog =
                    CatchUp { files: idle.containers, lines, line_bytes: 100, text: Default::default() };
                self.bed.lay(backlog, clock::now_ns()).await
            }
            Work::Idle(_) | Work::Steady(_) | Work::HighestRate(_) => Ok(Laid::default()),
        }
    }

    async fn trial(
        &self,
        task: &Task,
        spec: &Spec,
        (turn, laid): (Turn, &Laid),
    ) -> Result<Outcome, BenchError> {
        let name = format!("{}-{}-{}", task.name, spec.name, turn.repeat + 1);
        match &task.work {
            Work::CatchUp(_) | Work::StartUp(_) => catch_up::trial(&self.bed, spec, (&name, laid)).await,
            Work::Steady(steady) => steady::trial(&self.bed, spec, (&name, steady)).await,
            Work::Idle(idle) => idle::trial(&self.bed, spec, (&name, *idle, laid)).await,
            Work::HighestRate(search) => highest_rate::trial(&self.bed, spec, (&name, *search)).await,
        }
    }

    fn gather(&mut self, task: &Task) {
        let about = (task.name.as_str(), task.work.kind(), about::work(&task.work));
        self.cases.push(gather::case(about, &names(&self.present), &self.trials.all));
    }

    /// Of a case that was cut short, those trials that ended.
    fn gather_rest(&mut self) {
        let bench = self.bed.bench;
        if let Some(task) = bench.tasks.get(self.cases.len())
            && self.trials.all.iter().any(|trial| trial.case == task.name)
        {
            self.gather(task);
        }
    }
}

fn bench(
    order: &Order,
    engine: &str,
    (cases, sink_alone): (Vec<BenchCase>, Option<SinkAlone>),
    (missing, cut_short): (Vec<MissingTarget>, bool),
) -> Bench {
    let scenario = &order.loaded.scenario;
    Bench {
        schema: SCHEMA,
        scenario: scenario.name.clone(),
        started_at: order.started_at.clone(),
        command: order.command.clone(),
        version: environment::VERSION.to_owned(),
        commit: environment::COMMIT.to_owned(),
        kernel: environment::kernel(),
        machine: environment::machine(),
        engine: engine.to_owned(),
        seed: scenario.seed,
        repeats: scenario.repeats,
        quick: order.loaded.quick,
        cut_short,
        sink_alone,
        missing,
        cases,
    }
}
