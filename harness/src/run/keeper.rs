//! Looks after a target's process while the run goes on: an end that nobody asked for is noted when it happens, with how
//! it ended, and the target is started again where the scenario says so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::WeakSender;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

use crate::clock::Stopwatch;
use crate::result::{Stability, Unasked};
use crate::run::journal::Note;
use crate::sample::sampler::{Others, Subject, TasksGauge};
use crate::target::confine::Confinement;
use crate::target::container::{Container, Means};
use crate::target::ended::Ended;
use crate::target::process::{Place, Process, ProcessError, last_lines};
use crate::target::restart::Backoff;
use crate::target::running::Running;
use crate::target::spec::{Filled, MetricNames, Spec};
use crate::world::memory_group::{self, MemoryGroup};

/// How exactly an end is timed.
const BEAT: Duration = Duration::from_millis(100);
/// Longer than the shipper's own deadline of 8 s.
const STOP_WITHIN: Duration = Duration::from_secs(12);
/// Letters of a log line that stand in an event.
const SAID_MAX: usize = 200;

/// All that it takes to start a target.
#[derive(Debug)]
pub(super) struct Recipe {
    /// What it is.
    pub(super) spec: Spec,
    /// Its command and config.
    pub(super) filled: Filled,
    /// Where its files go.
    pub(super) place: Place,
    /// What holds it to its memory, where that is limited and it runs as a process.
    pub(super) group: Option<MemoryGroup>,
    /// What it takes where it runs in containers.
    pub(super) means: Option<Means>,
    /// The run's clock.
    pub(super) stopwatch: Stopwatch,
}

impl Recipe {
    async fn start(&self) -> Result<Running, ProcessError> {
        let name = &self.spec.name;
        if let Some(means) = &self.means {
            return Ok(Running::Container(Container::start(name, &self.filled, &self.place, means).await?));
        }
        let group = self.group.as_ref().map(MemoryGroup::folder);
        let confinement = Confinement::new(&self.spec.kind.resources, group);
        Ok(Running::Process(Process::start(name, &self.filled, &self.place, &confinement)?))
    }

    /// Starts it and waits until it is ready.
    pub(super) async fn start_ready(&self) -> Result<Running, ProcessError> {
        let mut process = self.start().await?;
        process.wait_ready(&self.filled.ready, &self.place).await?;
        Ok(process)
    }

    fn subject(&self, process: &Running) -> Subject {
        let MetricNames { tasks, tasks_by_kind: by_kind, queue, docker_requests, read, .. } =
            self.spec.kind.metrics.clone();
        let others = Others { queue, docker_requests, read };
        // Who counts tasks by kind alone has them all in their sum.
        let name = tasks.or_else(|| by_kind.clone());
        let page = name.zip(self.filled.metrics_url.clone());
        let tasks = page.map(|(name, url)| TasksGauge { url, name, by_kind, others });
        // What counts its memory is asked where that has a limit.
        let limited = self.spec.kind.resources.memory.is_some();
        let memory = process.memory().or(self.group.as_ref()).filter(|_| limited).cloned();
        Subject { name: self.spec.name.clone(), pid: process.pid(), tasks, memory }
    }
}

/// A target's process, and what became of those before it.
#[derive(Debug, Default)]
struct Life {
    process: Option<Running>,
    /// It is down, or the run ends, as planned: nobody else starts it.
    planned: bool,
    crashes: u32,
    unasked: Vec<Unasked>,
    last_log_lines: Vec<String>,
    restarts: u32,
    /// How many the kernel had killed for want of memory: in its group, and on the machine.
    killed: (u64, u64),
}

/// Whoever looks after one target.
#[derive(Debug)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
    /// One task; it ends with its owner.
    watching: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    recipe: Recipe,
    life: Mutex<Life>,
    /// Whoever starts or ends it has the turn until that is done.
    turn: tokio::sync::Mutex<()>,
}

impl Keeper {
    /// Looks after this process from now on, and tells the journal of its end.
    pub(super) fn begin(recipe: Recipe, process: Running, notes: WeakSender<Note>) -> Self {
        let killed = killed(&recipe);
        let life = Mutex::new(Life { process: Some(process), killed, ..Life::default() });
        let shared = Arc::new(Shared { recipe, life, turn: tokio::sync::Mutex::default() });
        let mut watching = JoinSet::new();
        watching.spawn(watch(Arc::clone(&shared), notes));
        Self { shared, watching }
    }

    /// What it takes to start it.
    pub(super) fn recipe(&self) -> &Recipe {
        &self.shared.recipe
    }

    /// How to look at it; `None` while it is down.
    pub(super) fn subject(&self) -> Option<Subject> {
        Some(self.shared.recipe.subject(self.shared.life().process.as_ref()?))
    }

    /// Kills it, as planned.
    ///
    /// # Errors
    /// [`ProcessError::Engine`]: its container may still run.
    pub(super) async fn kill(&self) -> Result<(), ProcessError> {
        self.shared.life().planned = true;
        let _turn = self.shared.turn.lock().await;
        let process = self.shared.life().process.take();
        if let Some(process) = process
            && let Some(ended) = process.kill().await?
        {
            self.shared.note(&ended);
        }
        Ok(())
    }

    /// Starts it again on its state folder, where it is down, and waits until it is ready. One that does not come back
    /// has failed, as one that crashes.
    pub(super) async fn start_again(&self) {
        let _turn = self.shared.turn.lock().await;
        {
            let mut life = self.shared.life();
            if life.process.is_some() {
                return;
            }
            life.planned = true;
        }
        match self.shared.recipe.start_ready().await {
            Ok(process) => {
                let mut life = self.shared.life();
                life.process = Some(process);
                life.planned = false;
            }
            Err(error) => {
                let words = format!("it did not come back: {error}");
                self.shared.note(&Ended::new(words, false));
            }
        }
    }

    /// Ends it, and says how it fared.
    pub(super) async fn end(self) -> Stability {
        let Self { shared, watching } = self;
        shared.life().planned = true;
        let turn = shared.turn.lock().await;
        drop(watching);
        let process = shared.life().process.take();
        drop(turn);
        let last = match process {
            Some(mut process) => match process.ended() {
                Some(ended) => {
                    shared.note(&ended);
                    None
                }
                None => Some(process.stop(STOP_WITHIN).await),
            },
            None => None,
        };
        let log = last.as_ref().filter(|ended| !ended.clean).map(|_| last_lines(&shared.recipe.place.log));
        let life = std::mem::take(&mut *shared.life());
        stability(life, last, log)
    }
}

impl Shared {
    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes an end down that nobody asked for, and answers with it.
    fn note(&self, ended: &Ended) -> Unasked {
        let now = killed(&self.recipe);
        let log = last_lines(&self.recipe.place.log);
        let mut life = self.life();
        let in_group = ended.out_of_memory || now.0 > life.killed.0;
        let on_machine = now.1 > life.killed.1;
        let unasked = Unasked {
            at_s: self.recipe.stopwatch.elapsed_s(),
            how: how(ended, &self.recipe.spec, (in_group, on_machine)),
            out_of_memory: in_group,
            last_log_lines: log.clone(),
        };
        life.killed = now;
        life.crashes = life.crashes.saturating_add(1);
        life.last_log_lines = log;
        if life.unasked.len() < Stability::KEPT {
            life.unasked.push(unasked.clone());
        }
        unasked
    }
}

/// How many were killed for want of memory so far: in the target's group, and on the machine.
fn killed(recipe: &Recipe) -> (u64, u64) {
    let in_group = recipe.group.as_ref().and_then(MemoryGroup::killed);
    (in_group.unwrap_or(0), memory_group::killed_on_machine().unwrap_or(0))
}

fn how(ended: &Ended, spec: &Spec, (in_group, on_machine): (bool, bool)) -> String {
    let limit = spec.kind.resources.memory.map(|memory| memory.display().iec().to_string());
    match limit.filter(|_| in_group) {
        Some(limit) => {
            format!("{}, out of memory: the kernel killed it at its limit of {limit}", ended.words)
        }
        None if on_machine && ended.words.contains("SIGKILL") => {
            format!("{}, while the kernel killed for want of memory on this machine", ended.words)
        }
        None => ended.words.clone(),
    }
}

/// Until its owner drops it.
async fn watch(shared: Arc<Shared>, notes: WeakSender<Note>) {
    let mut beat = interval(BEAT);
    let mut backoff = Backoff::default();
    let mut began = Instant::now();
    loop {
        beat.tick().await;
        let Some((ended, restarts)) = shared.ended() else { continue };
        let unasked = shared.note(&ended);
        let name = &shared.recipe.spec.name;
        tell(&notes, Note::Ended(name.clone(), with_last_words(&unasked))).await;
        let wanted = shared.recipe.spec.restart.wants(ended.clean, restarts);
        if !wanted {
            continue;
        }
        sleep(backoff.after(began.elapsed())).await;
        began = Instant::now();
        if let Some(note) = shared.start_unless_planned().await {
            tell(&notes, note).await;
        }
    }
}

impl Shared {
    /// How its process has ended, if it has just done so, and how often it was started again until now.
    fn ended(&self) -> Option<(Ended, u32)> {
        let mut life = self.life();
        let ended = life.process.as_mut()?.ended()?;
        life.process = None;
        Some((ended, life.restarts))
    }

    async fn start_unless_planned(&self) -> Option<Note> {
        let _turn = self.turn.lock().await;
        let number = {
            let mut life = self.life();
            if life.planned || life.process.is_some() {
                return None;
            }
            life.restarts += 1;
            life.restarts
        };
        let restart = &self.recipe.spec.restart;
        match self.recipe.start().await {
            Ok(process) => {
                let subject = self.recipe.subject(&process);
                self.life().process = Some(process);
                let why = format!("started again (restart: {restart}), the {} time", ordinal(number));
                Some(Note::Back(vec![subject], why))
            }
            Err(error) => {
                let words = format!("it did not come back: {error}");
                let unasked = self.note(&Ended::new(words, false));
                Some(Note::Ended(self.recipe.spec.name.clone(), unasked.how))
            }
        }
    }
}

fn ordinal(number: u32) -> String {
    let ending = match (number % 10, number % 100) {
        (1, hundred) if hundred != 11 => "st",
        (2, hundred) if hundred != 12 => "nd",
        (3, hundred) if hundred != 13 => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

fn with_last_words(unasked: &Unasked) -> String {
    let said = unasked.last_log_lines.iter().rev().find(|line| !line.trim().is_empty());
    let Some(said) = said else { return unasked.how.clone() };
    let said: String = said.trim().chars().take(SAID_MAX).collect();
    format!("{}; it said last: {said}", unasked.how)
}

/// While there is a journal.
async fn tell(notes: &WeakSender<Note>, note: Note) {
    if let Some(notes) = notes.upgrade() {
        notes.send(note).await.unwrap_or_default();
    }
}

/// `last` is how it ended when it was asked to, where that came.
fn stability(life: Life, last: Option<Ended>, log: Option<Vec<String>>) -> Stability {
    let mut ends: Vec<String> = life.unasked.iter().map(said).collect();
    let more = usize::try_from(life.crashes).unwrap_or(usize::MAX).saturating_sub(ends.len());
    if more > 0 {
        ends.push(format!("{more} more"));
    }
    let is_down = last.is_none() && life.crashes == 0;
    ends.extend(last.map(|ended| ended.words));
    ends.extend(is_down.then(|| "killed, as planned".to_owned()));
    Stability {
        crashes: life.crashes,
        restarts: life.restarts.into(),
        ended: ends.join("; "),
        last_log_lines: log.unwrap_or(life.last_log_lines),
        unasked: life.unasked,
    }
}

fn said(unasked: &Unasked) -> String {
    format!("{} at {:.1} s, unasked", unasked.how, unasked.at_s)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{Allowance, Expect};
    use crate::target::spec::of;

    fn unasked(how: &str, at_s: f64) -> Unasked {
        Unasked { at_s, how: how.into(), out_of_memory: false, last_log_lines: vec![] }
    }

    #[test]
    fn an_end_that_nobody_asked_for_is_told_with_its_time() {
        let life =
            Life { crashes: 1, unasked: vec![unasked("signal 9 (SIGKILL)", 12.34)], ..Life::default() };
        assert_eq!(stability(life, None, None).ended, "signal 9 (SIGKILL) at 12.3 s, unasked");
        let last = Ended::new("exit status 0 after SIGTERM", true);
        let life = Life {
            crashes: 12,
            restarts: 12,
            unasked: vec![unasked("exit status 1", 1.0), unasked("exit status 1", 3.0)],
            ..Life::default()
        };
        let told = stability(life, Some(last), None);
        let words = "exit status 1 at 1.0 s, unasked; exit status 1 at 3.0 s, unasked; 10 more; \
                     exit status 0 after SIGTERM";
        assert_eq!((told.ended.as_str(), told.restarts), (words, 12));
        assert_eq!(stability(Life::default(), None, None).ended, "killed, as planned");
    }

    #[test]
    fn who_was_killed_for_want_of_memory_is_told_apart_from_who_was_killed() {
        let mut spec = of("t", Expect::Flat, &[]);
        spec.kind.resources = Allowance { memory: Some(bytesize::ByteSize::mib(64)), ..Allowance::default() };
        let ended = Ended::new("signal 9 (SIGKILL)", false);
        let at_limit = "signal 9 (SIGKILL), out of memory: the kernel killed it at its limit of 64.0 MiB";
        assert_eq!(how(&ended, &spec, (true, true)), at_limit);
        assert!(how(&ended, &spec, (false, true)).contains("want of memory on this machine"));
        assert_eq!(how(&ended, &spec, (false, false)), "signal 9 (SIGKILL)");
        let exited = Ended::new("exit status 1", false);
        assert_eq!(how(&exited, &spec, (false, true)), "exit status 1");
    }

    #[test]
    fn the_last_words_stand_in_the_event() {
        let mut end = unasked("exit status 3", 1.0);
        assert_eq!(with_last_words(&end), "exit status 3");
        end.last_log_lines = vec!["can't open: too many".into(), " ".into()];
        assert_eq!(with_last_words(&end), "exit status 3; it said last: can't open: too many");
        assert_eq!([1, 2, 3, 11, 12, 21].map(ordinal), ["1st", "2nd", "3rd", "11th", "12th", "21st"]);
    }
}
