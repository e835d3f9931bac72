//! Keeps the beat: at every tick it looks at each process and writes down what it saw; between the ticks
//! it writes down what happened. It owns the run directory's files while the run goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::clock::Stopwatch;
use crate::growth::thinned::Thinned;
use crate::growth::verdict::{Settings, left_s};
use crate::growth::{Point, words};
use crate::record::files::RecordError;
use crate::record::recorder::Recorder;
use crate::result::{Event, Missed, Phase, Resource, Sample, StoppedEarly};
use crate::run::beat::beats_missed;
use crate::run::clocks::{Oddity, Reading};
use crate::run::early::Early;
use crate::run::judge;
use crate::run::progress::Progress;
use crate::run::surroundings::World;
use crate::sample::daemons::Change;
use crate::sample::process;
use crate::sample::sampler::{OWN_NAME, Sampler, Subject};

/// Kinds are listed this often, in ticks, and wherever a phase begins or ends: listing costs a system call for each
/// descriptor and thread.
const KINDS_EVERY: u64 = 10;

/// What the run tells the journal.
#[derive(Clone, Debug)]
pub(super) enum Note {
    /// A phase begins, planned to take so long.
    Phase(&'static str, Option<Duration>),
    /// These processes are there from now on.
    Attached(Vec<Subject>),
    /// The process of this target has ended unasked, so.
    Ended(String, String),
    /// Those that were away are there again, and why.
    Back(Vec<Subject>, String),
    /// Something happened to all targets.
    Event(&'static str, String),
}

/// The run's scribe.
pub(super) struct Journal {
    recorder: Recorder,
    stopwatch: Stopwatch,
    sampler: Sampler,
    subjects: Vec<Subject>,
    world: World,
    /// How each resource of each target is judged.
    judged: BTreeMap<String, BTreeMap<Resource, Settings>>,
    progress: Progress,
    phases: Vec<Phase>,
    planned: Option<Duration>,
    live: BTreeMap<(String, Resource), Thinned>,
    /// How long each that is open should take until it is decided, seconds.
    left_s: BTreeMap<(String, Resource), f64>,
    early: Option<Early>,
    /// Cancelled when the load may end.
    enough: CancellationToken,
    ticks: u64,
    /// When the last beat was due.
    due: Option<Instant>,
    clocks: Option<Reading>,
    missed: Missed,
}

impl Journal {
    /// Nobody is looked at yet but the harness itself.
    #[must_use]
    pub(super) fn new(
        recorder: Recorder,
        stopwatch: Stopwatch,
        world: World,
        (judged, early): (BTreeMap<String, BTreeMap<Resource, Settings>>, Option<Early>),
        progress: Progress,
    ) -> Self {
        let own = Subject { name: OWN_NAME.to_owned(), pid: std::process::id(), tasks: None, memory: None };
        Self {
            recorder,
            stopwatch,
            sampler: Sampler::default(),
            subjects: vec![own],
            world,
            judged,
            progress,
            phases: Vec::new(),
            planned: None,
            live: BTreeMap::new(),
            left_s: BTreeMap::new(),
            early,
            enough: CancellationToken::new(),
            ticks: 0,
            due: None,
            clocks: Reading::now(stopwatch),
            missed: Missed::default(),
        }
    }

    /// The run directory's writer.
    #[must_use]
    pub(super) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The display.
    #[must_use]
    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Cancelled as soon as nothing that is still to come under load can change what the run says.
    #[must_use]
    pub(super) fn enough(&self) -> CancellationToken {
        self.enough.clone()
    }

    /// Why the load has ended early, if it has.
    #[must_use]
    pub(super) fn stopped_early(&self) -> Option<&StoppedEarly> {
        self.early.as_ref()?.over()
    }

    /// What the sampling missed so far.
    #[must_use]
    pub(super) fn missed(&self) -> Missed {
        self.missed
    }

    /// The phases so far, the last one ended now.
    #[must_use]
    pub(super) fn phases(&self) -> Vec<Phase> {
        self.phases_until(self.stopwatch.elapsed_s())
    }

    fn phases_until(&self, now: f64) -> Vec<Phase> {
        let mut phases = self.phases.clone();
        if let Some(last) = phases.last_mut() {
            last.to_s = now;
        }
        phases
    }

    /// Looks and writes until the notes end.
    ///
    /// # Errors
    /// [`RecordError`]: the run directory can't be written any more.
    pub(super) async fn keep(
        &mut self,
        notes: &mut mpsc::Receiver<Note>,
        every: Duration,
    ) -> Result<(), RecordError> {
        let mut beat = interval(every);
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                biased;
                note = notes.recv() => match note {
                    Some(note) => self.write_down(note).await?,
                    // The drain is over: what is there now is what has not come back.
                    None => return self.list(self.stopwatch.elapsed_s()).await,
                },
                due = beat.tick() => self.tick(due, every).await?,
            }
        }
    }

    async fn write_down(&mut self, note: Note) -> Result<(), RecordError> {
        match note {
            Note::Phase(name, planned) => {
                let now = self.stopwatch.elapsed_s();
                self.phases = self.phases_until(now);
                self.phases.push(Phase { name: name.to_owned(), from_s: now, to_s: now });
                self.planned = planned;
                self.progress.phase(name, planned);
                self.event("", "phase", name.to_owned())?;
                if name == "load" {
                    self.say_who_is_not_watched()?;
                }
                // The end of one phase and the beginning of the next.
                self.list(now).await
            }
            Note::Attached(subjects) => {
                self.subjects.splice(0..0, subjects);
                Ok(())
            }
            Note::Ended(target, how) => self.has_ended(&target, how),
            Note::Back(subjects, why) => {
                subjects.into_iter().try_for_each(|subject| self.is_back(subject, why.clone()))
            }
            Note::Event(event, detail) => self.event("", event, detail),
        }
    }

    fn has_ended(&mut self, target: &str, how: String) -> Result<(), RecordError> {
        // Its id may be another's by the next look; 0 is nobody's.
        self.subjects.iter_mut().filter(|subject| subject.name == target).for_each(|subject| subject.pid = 0);
        self.event(target, Event::CRASH, how)
    }

    fn is_back(&mut self, subject: Subject, why: String) -> Result<(), RecordError> {
        let name = subject.name.clone();
        // Whatever became of an earlier life, this one is another.
        if let Some(known) = self.subjects.iter_mut().find(|known| known.name == name) {
            *known = subject;
        }
        self.live.retain(|(target, _), _| *target != name);
        self.left_s.retain(|(target, _), _| *target != name);
        if let Some(early) = &mut self.early {
            early.restarted(&name);
        }
        self.event(&name, Event::RESTART, why)
    }

    fn event(&mut self, target: &str, event: &str, detail: String) -> Result<(), RecordError> {
        let elapsed_s = self.stopwatch.elapsed_s();
        self.recorder.event(&Event { elapsed_s, target: target.to_owned(), event: event.to_owned(), detail })
    }

    /// Writes down everything by kind.
    async fn list(&mut self, elapsed_s: f64) -> Result<(), RecordError> {
        let (kinds, missed) = self.sampler.kinds(elapsed_s, &self.everybody()).await;
        self.missed.listings += missed;
        self.recorder.kinds(&kinds)
    }

    async fn tick(&mut self, due: Instant, every: Duration) -> Result<(), RecordError> {
        self.missed.beats += beats_missed(self.due, due, every);
        self.due = Some(due);
        self.look_at_clocks()?;
        self.refresh_daemons()?;
        let elapsed_s = self.stopwatch.elapsed_s();
        let mut samples = self.sampler.look(elapsed_s, &self.everybody()).await;
        self.world.add(&mut samples);
        self.recorder.samples(&samples)?;
        for sample in &samples {
            self.keep_live(sample)?;
        }
        if self.ticks.is_multiple_of(KINDS_EVERY) {
            self.list(elapsed_s).await?;
        }
        self.look_ahead();
        self.ticks += 1;
        self.show(elapsed_s);
        Ok(())
    }

    fn look_at_clocks(&mut self) -> Result<(), RecordError> {
        let Some(now) = Reading::now(self.stopwatch) else { return Ok(()) };
        let odd = self.clocks.replace(now).map(|earlier| now.since(earlier));
        odd.into_iter().flatten().try_for_each(|oddity| {
            match oddity {
                Oddity::Slept(_) => self.missed.sleeps += 1,
                Oddity::Set(_) => self.missed.clock_jumps += 1,
            }
            self.progress.tell(&oddity.said());
            self.event("", oddity.event(), oddity.said())
        })
    }

    fn everybody(&self) -> Vec<Subject> {
        self.subjects.iter().cloned().chain(self.world.daemons.subjects()).collect()
    }

    /// Says once who of the engine's processes can't be sampled, and when another takes the place of one.
    fn refresh_daemons(&mut self) -> Result<(), RecordError> {
        for (name, change) in self.world.daemons.refresh() {
            match change {
                Change::Found => self.say_what_is_unreadable(name)?,
                Change::Succeeded => {
                    self.event(name, Event::RESTART, "another process has taken its place".to_owned())?;
                }
                Change::NotFound { why } => self.event(name, "unreadable", format!("not sampled: {why}"))?,
            }
        }
        Ok(())
    }

    fn say_what_is_unreadable(&mut self, name: &str) -> Result<(), RecordError> {
        let subjects = self.world.daemons.subjects();
        let pid = subjects.iter().find(|subject| subject.name == name).map(|subject| subject.pid);
        if pid.is_some_and(|pid| !process::can_list_fds(pid)) {
            let why =
                "its descriptors can't be listed: run as the user that it runs as, or as root".to_owned();
            self.event(name, "unreadable", why)?;
        }
        Ok(())
    }

    fn in_phase(&self, name: &str) -> bool {
        self.phases.last().is_some_and(|phase| phase.name == name)
    }

    fn keep_live(&mut self, sample: &Sample) -> Result<(), RecordError> {
        if !self.in_phase("load") {
            return Ok(());
        }
        for resource in self.judged.get(&sample.target).into_iter().flat_map(BTreeMap::keys) {
            if let Some(count) = judge::count(sample, *resource) {
                let point = Point { elapsed_s: sample.elapsed_s, count };
                let key = (sample.target.clone(), *resource);
                self.live.entry(key).or_insert_with(|| Thinned::new(judge::SHOWN_MAX)).push(point);
            }
        }
        let Some(early) = &mut self.early else { return Ok(()) };
        let calls = early.see(sample);
        if early.over().is_some() {
            self.enough.cancel();
        }
        calls.into_iter().try_for_each(|call| self.event(&call.target, "fail_fast", call.because))
    }

    /// Says of whom no leak can end the run.
    fn say_who_is_not_watched(&mut self) -> Result<(), RecordError> {
        let unwatched = self.early.as_ref().map_or_else(Vec::new, |early| early.unwatched().to_vec());
        unwatched.into_iter().try_for_each(|call| {
            self.progress.say(&format!("{}: {}", call.target, call.because));
            self.event(&call.target, "fail_fast", call.because)
        })
    }

    /// Judges one series a tick, each in its turn: to judge all of them each second would cost what is measured.
    fn look_ahead(&mut self) {
        if !self.in_phase("load") {
            return self.left_s.clear();
        }
        let turn = usize::try_from(self.ticks).unwrap_or(0).checked_rem(self.live.len());
        let Some((key, points)) = turn.and_then(|turn| self.live.iter().nth(turn)) else { return };
        let Some(settings) = self.judged.get(&key.0).and_then(|judged| judged.get(&key.1)) else { return };
        match left_s(points.points(), settings) {
            Some(left_s) => drop(self.left_s.insert(key.clone(), left_s)),
            None => drop(self.left_s.remove(key)),
        }
    }

    fn show(&self, elapsed_s: f64) {
        let in_phase = self.phases.last().map_or(0.0, |phase| elapsed_s - phase.from_s);
        let of = self.planned.map_or_else(String::new, |planned| format!(" of {} s", planned.as_secs()));
        self.progress.at(in_phase, format!("{in_phase:.0}{of}"));
        let targets = self.subjects.iter().filter(|subject| subject.name != OWN_NAME);
        for (index, subject) in targets.enumerate() {
            self.progress.target(index, self.live_text(&subject.name));
        }
    }

    fn live_text(&self, target: &str) -> String {
        let resources = self.judged.get(target).into_iter().flatten();
        let growths = resources.filter_map(|(resource, settings)| {
            let key = (target.to_owned(), *resource);
            let judged = judge::live(self.live.get(&key)?.points(), settings.limit_per_min)?;
            Some(format!("{} {judged}", resource.key()))
        });
        let growths = growths.collect::<Vec<_>>().join("   ");
        let sink = self.world.sinks.get(target);
        let lines = sink.map_or_else(String::new, |sink| {
            let counters = sink.counters();
            format!("accepted {}, refused {}", counters.entries_accepted, counters.entries_refused)
        });
        // All of them, once the last one is decided.
        let left_s = self.left_s.iter().filter(|((of, _), _)| of == target).map(|(_, left_s)| *left_s);
        let left =
            left_s.reduce(f64::max).map(|left_s| format!("verdict in about {}", words::duration(left_s)));
        let parts = [Some(growths), left, Some(lines)];
        parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("   ")
    }
}
