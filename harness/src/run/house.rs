//! Everything that runs: sinks, containers, targets; from the first container to the account of every
//! line.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::audit::ledger::Key;
use crate::audit::reconcile::{Reconciled, Truth, reconcile};
use crate::clock::Stopwatch;
use crate::faults::{Fault, Plan};
use crate::loki::server::{Sink, SinkConfig};
use crate::loki::weather::Tampered;
use crate::record::files::RecordError;
use crate::result::Latency;
use crate::run::attach::{Attached, Detached, Said, Setting, memory_groups};
use crate::run::containers::Surroundings;
use crate::run::journal::{Journal, Note};
use crate::run::letters;
use crate::run::order::{Order, RunError};
use crate::run::truth::truth;
use crate::sample::sampler::Sampler;
use crate::world::engine::Engine;
use crate::world::happened::Happened;
use crate::world::image;
use crate::world::load::{self, Load};
use crate::world::own_engine::OwnEngine;
use crate::world::replay::Ready;
use crate::world::tempo::Tempo;
use crate::world::truth::{Written, read_all};

mod churn;
mod timeline;
mod trouble;

use churn::Beat;

/// A target needs some seconds to start and to read, during which lines age: what was younger than the
/// window by this much when it was started must arrive.
const ATTACH_ALLOWANCE: Duration = Duration::from_secs(5);
/// How long a run that was cut short waits for what is under way.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);
const NOTES_MAX: usize = 64;

/// How the phases ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The last one is over.
    Finished,
    /// Somebody asked the run to stop.
    CutShort,
}

/// What a run needs while it goes on and nobody needs afterwards.
pub(super) fn scratch(out: &Path) -> PathBuf {
    out.join("scratch")
}

/// What one target did, in figures.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) detached: Detached,
    pub(super) reconciled: Reconciled,
    pub(super) latency: Option<Latency>,
    /// What the plan of faults did to lines on their way.
    pub(super) tampered: Tampered,
}

/// Everything that runs.
pub(super) struct House<'a> {
    order: &'a Order,
    engine: &'a Engine,
    /// The engine, where it is the run's own.
    own_engine: Option<&'a mut OwnEngine>,
    pub(super) stopwatch: Stopwatch,
    pub(super) sinks: Vec<Arc<Sink>>,
    /// What has happened to the containers.
    pub(super) happened: Arc<Happened>,
    /// What goes wrong.
    plan: Plan,
    /// Containers that are frozen.
    paused: Vec<String>,
    setting: Setting,
    truth_folder: PathBuf,
    /// Logs to replay, made ready.
    replay: Vec<PathBuf>,
    /// The counters when the oldest line that must arrive was written.
    old: BTreeMap<String, Written>,
    attached: Vec<Attached>,
    pub(super) containers_started: u64,
}

impl<'a> House<'a> {
    pub(super) async fn build(
        order: &'a Order,
        engine: &'a Engine,
        own_engine: Option<&'a mut OwnEngine>,
        stopwatch: Stopwatch,
    ) -> Result<Self, RunError> {
        let out = fs::canonicalize(&order.out).map_err(RecordError::io("find", &order.out))?;
        let (scratch, logs) = (scratch(&out), out.join("logs"));
        let truth_folder = scratch.join("truth");
        for folder in [&truth_folder, &logs] {
            fs::create_dir_all(folder).map_err(RecordError::io("write", folder))?;
        }
        let scenario = &order.loaded.scenario;
        let plan = Plan { seed: scenario.seed, faults: scenario.faults.clone() };
        let mut sink = SinkConfig::for_run(scenario.window.0, plan.clone(), &scenario.loki);
        if let Some(compression) = &order.loaded.compression {
            sink.loki = sink.loki.compressed(compression.times);
        }
        let sinks = order.loaded.targets.iter().map(|_| Sink::start(None, sink.clone()).map(Arc::new));
        let sinks: Vec<Arc<Sink>> = sinks.collect::<Result<_, _>>()?;
        let containers_root = engine.containers_root().await?;
        let happened = Arc::new(Happened::new(PathBuf::from(&containers_root)));
        let mut setting = Setting {
            docker_host: engine.host().to_owned(),
            containers_root,
            run_label: engine.label(),
            run_id: order.run_id.clone(),
            window: scenario.window.to_string(),
            scratch,
            logs,
            small_disks: plan.has(&Fault::DiskFull),
            groups: memory_groups(&order.run_id, &order.loaded.targets)?,
            means: BTreeMap::new(),
            stopwatch,
        };
        let urls = sinks.iter().map(|sink| sink.url());
        let surroundings = Surroundings {
            // The run's own engine makes its socket anew when it is started again: who has only the file loses it.
            socket: own_engine.as_ref().map_or_else(|| engine.socket(), |own| Some(own.socket_folder())),
            containers_root: PathBuf::from(&setting.containers_root),
        };
        setting.make_containers(engine, surroundings, order.loaded.targets.iter().zip(urls)).await?;
        Ok(Self {
            order,
            engine,
            own_engine,
            stopwatch,
            sinks,
            happened,
            plan,
            paused: Vec::new(),
            setting,
            truth_folder,
            replay: Vec::new(),
            old: BTreeMap::new(),
            attached: Vec::new(),
            containers_started: 0,
        })
    }

    /// From the first container to the last, with the journal kept all the while.
    pub(super) async fn live(
        &mut self,
        journal: &mut Journal,
        stop: &CancellationToken,
    ) -> Result<End, RunError> {
        let (notes, mut inbox) = mpsc::channel(NOTES_MAX);
        let every = self.order.loaded.scenario.sample_every.0;
        let enough = journal.enough();
        let phases = async {
            let result = self.phases(&notes, &Ends { stop, enough: &enough }).await;
            drop(notes);
            result
        };
        let keep = async { Ok(journal.keep(&mut inbox, every).await?) };
        let ended = tokio::try_join!(phases, keep);
        let undone = self.undo().await;
        // Why it ended comes first, whatever fails then.
        match ended {
            Ok(_) => undone.map(|()| End::Finished),
            Err(RunError::Stopped) => undone.map(|()| End::CutShort),
            Err(error) => Err(error),
        }
    }

    async fn phases(&mut self, notes: &mpsc::Sender<Note>, ends: &Ends<'_>) -> Result<(), RunError> {
        let stop = ends.stop;
        let phases = self.order.loaded.scenario.phases;
        tell(notes, Note::Phase("start", None)).await;
        self.replay = match &self.order.loaded.scenario.containers.replay {
            Some(folder) => {
                let ready = Ready::make(folder, &self.truth_folder)?;
                tell(notes, Note::Event("replay", ready.words())).await;
                ready.files
            }
            None => Vec::new(),
        };
        let mut load = self.start_containers(stop).await?;
        tell(notes, Note::Phase("history", Some(phases.history.0))).await;
        self.history(phases.history.0, stop).await?;
        self.attach(notes, stop).await?;

        let mut beat = self.churn_beat();
        self.busy(("warmup", phases.warmup.0), &[], (&mut load, beat.as_mut()), (notes, ends)).await?;
        let done = self.order.load_done();
        self.sinks.iter().for_each(|sink| sink.begin_after(done));
        self.note_early().await;
        let owed = phases.load.0.saturating_sub(done);
        if !owed.is_zero() {
            let script = self.order.loaded.scenario.script.as_ref();
            let changes = timeline::changes(&self.plan, script, (done, phases.load.0));
            self.busy(("load", owed), &changes, (&mut load, beat.as_mut()), (notes, ends)).await?;
        }
        if ends.enough.is_cancelled() {
            // A fault that was under way would keep the drain from draining.
            self.undo().await?;
        }
        tell(notes, Note::Phase("drain", Some(phases.drain.0))).await;
        let end = Instant::now() + phases.drain.0;
        self.engine.stop_all().await?;
        self.settled(Instant::now() + phases.drain.0 / 2).await;
        self.engine.remove_containers().await?;
        wait(end, None, stop).await.map(drop)
    }

    async fn start_containers(&mut self, stop: &CancellationToken) -> Result<Load, RunError> {
        let image = if self.engine.is_embedded() {
            image::of_this_machine()
        } else {
            let packed = tokio::task::spawn_blocking(image::pack).await;
            packed.unwrap_or_else(|join| std::panic::resume_unwind(join.into_panic()))?
        };
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
            attached = self.setting.attach(&self.order.loaded.targets, &urls, notes) => attached?,
        };
        tell(notes, Note::Attached(self.attached.iter().filter_map(Attached::subject).collect())).await;
        Ok(())
    }

    /// What they have dropped until now were the old lines, which nobody owes.
    async fn note_early(&mut self) {
        // Its connections end with it. One that stayed open would end by itself in the load, which the targets' counts
        // would show as a step.
        let sampler = Sampler::default();
        join_all(self.attached.iter_mut().map(|attached| attached.note_early(&sampler))).await;
    }

    fn new_load(&self, entrypoint: Vec<String>) -> Load {
        let scenario = &self.order.loaded.scenario;
        let setting = load::Setting {
            run_id: self.order.run_id.clone(),
            entrypoint,
            truth: self.truth_folder.clone(),
            tempo: scenario.script.as_ref().map(|_| Tempo::file(&self.truth_folder)),
            replay: self.replay.clone(),
            seed: scenario.seed,
            happened: Arc::clone(&self.happened),
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

    /// The image of each target that runs in containers: its id.
    pub(super) fn images(&self) -> BTreeMap<String, String> {
        self.setting.images()
    }

    /// Whether there is anything to account for.
    #[must_use]
    pub(super) fn is_attached(&self) -> bool {
        !self.attached.is_empty()
    }

    /// Ends the targets and accounts for every line.
    pub(super) async fn settle(mut self, end: End) -> Result<Vec<Account>, RunError> {
        if end == End::CutShort {
            self.engine.stop_all().await?;
            self.settled(Instant::now() + SETTLE_WITHIN).await;
        }
        let sampler = Sampler::default();
        let attached = std::mem::take(&mut self.attached);
        let detached = join_all(attached.into_iter().map(|attached| attached.detach(&sampler))).await;
        let all = read_all(&self.truth_folder)?;
        let truth = truth(&self.old, &all);
        let pairs = detached.into_iter().zip(&self.sinks);
        Ok(pairs.map(|(detached, sink)| account(&truth, detached, sink)).collect())
    }
}

fn account(truth: &BTreeMap<Key, Truth>, detached: Detached, sink: &Sink) -> Account {
    let mut ledger = sink.ledger();
    let letters = detached.dead_letters.as_ref().map(|letters| letters::enter(&mut ledger, letters));
    let Said { claims, early, dead_letters, .. } = &detached.said;
    let mut reconciled = reconcile(truth, &ledger, claims, early);
    reconciled
        .disagreements
        .extend(letters.into_iter().flat_map(|found| letters::doubts(found, *dead_letters)));
    let (latency, tampered) = (ledger.latencies.figures(), sink.tampered());
    Account { detached, reconciled, latency, tampered }
}

/// What ends a phase before its time.
struct Ends<'a> {
    /// Somebody asks the run to stop: nothing more is begun.
    stop: &'a CancellationToken,
    /// Nothing that is still to come under load can change what the run says: the drain follows.
    enough: &'a CancellationToken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Woke {
    End,
    Churn,
}

/// Waits for the end, or for a beat before it. Somebody who asks the run to stop is heard here and not
/// in the middle of a request to the engine, whose container would then be nobody's.
async fn wait(end: Instant, beat: Option<&mut Beat>, stop: &CancellationToken) -> Result<Woke, RunError> {
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
