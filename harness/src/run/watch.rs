//! `flatline watch`: any process is looked at until it ends or its time is over, and its growth judged as that of a
//! recorded series is. What it needs is `/proc`; Docker only for a container, a metrics page only for tasks.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::record::files::RecordError;
use crate::record::recorder::Recorder;
use crate::result::{Event, Resource, Sample};
use crate::run::analyze::{Known, Question};
use crate::run::beat::{Beat, Turn};
use crate::run::progress::Progress;
use crate::run::watch::columns::Columns;
use crate::run::watch::conclude::{Seen, conclude};
use crate::run::watch::family::{Family, Look};
use crate::run::watch::target::{State, Target};
use crate::sample::process;
use crate::sample::sampler::{Sampler, Subject, TasksGauge};
use crate::target::ended::Ended;

mod columns;
mod kinds;
mod conclude;
mod order;
mod page;
mod target;
mod family;

pub use columns::ColumnError;
pub use conclude::{PLOT, RESULT};
pub use order::{Found, Order, WatchError, Watched};
pub use page::{GAUGES, Page};
pub use target::Whom;

/// Kinds are listed so seldom that it takes one part of so many of a core, if not every ten seconds: a short watch may
/// cost more than a long one, or it would tell nothing.
const LISTING_PART: u32 = 25;
/// Names that a process gives itself are noted up to so many: some do so with all that they begin.
const RENAMED_MAX: u64 = 100;

/// Watches. When `stop` is cancelled, when the process ends or when the time is over, what was seen until then is judged.
/// A command that it started is gone afterwards.
///
/// # Errors
/// [`WatchError`]; of these [`ColumnError`] before anything is started.
pub async fn run(order: Order, stop: &CancellationToken) -> Result<Watched, WatchError> {
    let limits = columns::limits(&order.question, order.page.is_some())?;
    let (target, recorder) = attach(&order).await?;
    let mut watcher = Watcher::new(&order, limits, (target, recorder));
    let end = watcher.watch(&order, stop).await;
    watcher.progress.clear();
    let Watcher { target, mut recorder, beat, limits, known, is_first, family, .. } = watcher;
    let (elapsed_s, name) = (beat.elapsed_s(), target.name.clone());
    if is_first {
        recorder.samples(&[Sample::unread(elapsed_s, &name)])?;
    }
    let left = target.leave().await;
    let end = end?;
    let words = match left {
        Some(left) if !matches!(end, End::Gone(_)) => {
            format!("{}; it ended with {}", end.words(), left.words)
        }
        _ => end.words(),
    };
    recorder.event(&Event {
        elapsed_s,
        target: name.clone(),
        event: "end".to_owned(),
        detail: words.clone(),
    })?;
    let seen = Seen { name: &name, length_s: elapsed_s, is_gone: matches!(end, End::Gone(_)) };
    let found = conclude(&order, &seen, &Question { limits, known, ..order.question.clone() })?;
    let missed = match beat.missed() {
        0 => String::new(),
        missed => format!("; {missed} of the samples were missed, as the machine was busy"),
    };
    let children = family.said().map_or_else(String::new, |children| format!("; {children}"));
    let ended = format!("{name}: {words}, after {elapsed_s:.0} s{missed}{children}");
    let failed = matches!(&end, End::Gone(ended) if !ended.clean);
    Ok(Watched { found, ended, failed })
}

/// The process, and the files. A command is started only where they can be written, and whom there is nobody to watch
/// leaves none.
async fn attach(order: &Order) -> Result<(Target, Recorder), WatchError> {
    let target = match &order.whom {
        Whom::Pid(pid) => Target::process(*pid)?,
        Whom::Container { name, docker_host } => Target::container(name, docker_host).await?,
        Whom::Command(command) => {
            let recorder = Recorder::create(&order.out)?;
            return Ok((Target::command(command, &order.out.join("logs"), &order.run_id)?, recorder));
        }
    };
    Ok((target, Recorder::create(&order.out)?))
}

/// How it ended.
#[derive(Debug)]
enum End {
    Over,
    Stopped,
    Called(String),
    Gone(Ended),
}

impl End {
    fn words(&self) -> String {
        match self {
            Self::Over => "its time is over".to_owned(),
            Self::Stopped => "stopped".to_owned(),
            Self::Called(because) => format!("stopped early: {because}"),
            Self::Gone(ended) => format!("the process is gone ({})", ended.words),
        }
    }
}

/// A watch under way.
struct Watcher {
    target: Target,
    recorder: Recorder,
    sampler: Sampler,
    beat: Beat,
    limits: BTreeMap<String, f64>,
    columns: Columns,
    known: Known,
    gauge: Option<TasksGauge>,
    progress: Progress,
    family: Family,
    /// When kinds are listed next, seconds.
    kinds_at_s: f64,
    is_first: bool,
    /// Whether it was said that some of its descendants can't be listed.
    is_partly_hidden: bool,
    renamed: u64,
}

impl Watcher {
    fn new(order: &Order, mut limits: BTreeMap<String, f64>, (target, recorder): (Target, Recorder)) -> Self {
        let fds = Resource::Fds.key();
        // Whoever asks for descriptors is told that there are none to judge; who does not has the rest judged.
        let hidden = process::read(target.pid).is_ok_and(|reading| reading.fds.is_none());
        if hidden && order.question.limits.is_empty() && !order.question.bounds.contains_key(fds) {
            limits.remove(fds);
        }
        let of_process = process::limits(target.pid);
        let process_limit = |resource: Resource| Some((resource.key().to_owned(), of_process.on(resource)?));
        let process_limits = Resource::ALL.into_iter().filter_map(process_limit).collect();
        let columns = Columns::new(&limits, &order.question, order.fail_fast);
        Self {
            target,
            recorder,
            sampler: Sampler::default(),
            beat: Beat::start(order.every, order.length),
            progress: Progress::new(order.show, &columns.names()),
            limits,
            columns,
            known: Known { starts_s: Vec::new(), process_limits },
            gauge: None,
            family: Family::new(order.children),
            kinds_at_s: 0.0,
            is_first: true,
            is_partly_hidden: false,
            renamed: 0,
        }
    }

    async fn watch(&mut self, order: &Order, stop: &CancellationToken) -> Result<End, WatchError> {
        if let Some(page) = &order.page {
            self.gauge = Some(page.gauge(&self.sampler, &mut self.target, stop).await?);
        }
        self.beat = Beat::start(order.every, order.length);
        self.progress.phase("watch", order.length);
        self.note("phase", &format!("watch, process {}", self.target.pid))?;
        if order.fail_fast {
            for column in self.columns.unwatched() {
                let why = format!("{column} can't end it early: no bound is given (--bound {column}=COUNT)");
                self.progress.tell(&why);
                self.note("fail_fast", &why)?;
            }
        }
        loop {
            let elapsed_s = match self.beat.next(stop).await {
                Turn::Look(elapsed_s) => elapsed_s,
                Turn::Over => return Ok(End::Over),
                Turn::Stopped => return Ok(End::Stopped),
            };
            if let Some(end) = self.look(elapsed_s, order).await? {
                return Ok(end);
            }
        }
    }

    /// Looks once. What was seen of a process that was gone by the end of the look is not its own for sure.
    async fn look(&mut self, elapsed_s: f64, order: &Order) -> Result<Option<End>, WatchError> {
        let subject = Subject {
            name: self.target.name.clone(),
            pid: self.target.pid,
            tasks: self.gauge.clone(),
            memory: None,
        };
        let Look { pids, reading, events } = self.family.look(subject.pid);
        let row = self.sampler.row(elapsed_s, &subject, reading).await;
        let listed = if elapsed_s >= self.kinds_at_s {
            let listed = self.sampler.kinds_of((elapsed_s, &subject), &pids, order.smaps).await;
            self.kinds_at_s = elapsed_s + kinds_after_s(order.length, elapsed_s, listed.cost);
            Some(listed)
        } else {
            None
        };
        match self.target.state().await {
            State::Same => {}
            State::Renamed(words) => self.renamed(&words)?,
            State::Exec(words) => {
                self.begin_again(
                    elapsed_s,
                    "exec",
                    &format!("{words}, another program: its counts begin anew"),
                )?;
                return Ok(None);
            }
            State::Ended(ended) => return Ok(Some(End::Gone(ended))),
            State::Away => {
                self.progress
                    .at(elapsed_s, format!("{elapsed_s:.0} s   it does not run; is it started again?"));
                return Ok(None);
            }
            State::Again => {
                let words = format!("process {} and no longer {}", self.target.pid, subject.pid);
                self.begin_again(elapsed_s, Event::RESTART, &words)?;
                return Ok(None);
            }
        }
        events.iter().try_for_each(|words| self.note("children", words))?;
        self.recorder.samples(std::slice::from_ref(&row))?;
        self.say_what_is_hidden(&row)?;
        if let Some(listed) = listed {
            self.recorder.kinds(&listed.kinds)?;
            self.say_who_is_hidden(&pids, listed.missed)?;
        }
        self.show(elapsed_s, &row);
        let Some(call) = self.columns.see(&row) else { return Ok(None) };
        self.note("fail_fast", &call)?;
        Ok(Some(End::Called(call)))
    }

    /// From now on it is another process, or the same with another program: what was counted belongs to the one before.
    fn begin_again(&mut self, elapsed_s: f64, event: &str, words: &str) -> Result<(), RecordError> {
        self.known.starts_s.push(elapsed_s);
        self.columns.begin_again();
        self.note(event, words)
    }

    fn renamed(&mut self, words: &str) -> Result<(), RecordError> {
        self.renamed += 1;
        match self.renamed {
            RENAMED_MAX => self.note("name", &format!("{words}; the names that follow are not noted")),
            before if before < RENAMED_MAX => self.note("name", words),
            _ => Ok(()),
        }
    }

    /// Once. One that is gone by the time that it is listed is missed as well, and hides nothing.
    fn say_who_is_hidden(&mut self, pids: &[u32], missed: u64) -> Result<(), RecordError> {
        if missed == 0 || self.is_partly_hidden || !process::can_list_fds(self.target.pid) {
            return Ok(());
        }
        let hides = |pid: &&u32| process::stat(**pid).is_ok() && !process::can_list_fds(**pid);
        let count = pids.iter().filter(hides).count();
        if count == 0 {
            return Ok(());
        }
        self.is_partly_hidden = true;
        let words = format!(
            "{}: {count} of its {} processes may not be looked at, and are left out of the kinds: watch it as root",
            self.target.name,
            pids.len()
        );
        self.progress.tell(&words);
        self.note("unreadable", &words)
    }

    /// Once, at the first look.
    fn say_what_is_hidden(&mut self, sample: &Sample) -> Result<(), WatchError> {
        if std::mem::take(&mut self.is_first)
            && let Some(hidden) = hidden(&self.target.name, sample, process::can_list_fds(self.target.pid))
        {
            self.progress.tell(&hidden);
            self.note("unreadable", &hidden)?;
        }
        Ok(())
    }

    fn show(&self, elapsed_s: f64, sample: &Sample) {
        let memory = sample.rss_bytes.map(|bytes| format!("   memory {:.1} MiB", bytes as f64 / 1_048_576.0));
        let cpu = sample.cpu_seconds.map(|seconds| format!("   CPU {seconds:.1} s"));
        let words = [Some(format!("{elapsed_s:.0} s")), memory, cpu];
        self.progress.at(elapsed_s, words.into_iter().flatten().collect::<String>());
        for (index, said) in self.columns.said().into_iter().enumerate() {
            self.progress.target(index, said);
        }
    }

    fn note(&mut self, event: &str, detail: &str) -> Result<(), RecordError> {
        self.recorder.event(&Event {
            elapsed_s: self.beat.elapsed_s(),
            target: self.target.name.clone(),
            event: event.to_owned(),
            detail: detail.to_owned(),
        })
    }
}

/// What of a process can't be seen by this user, and what to do.
fn hidden(name: &str, sample: &Sample, can_list_fds: bool) -> Option<String> {
    let missing = match (sample.fds, can_list_fds) {
        (_, true) => return None,
        (Some(_), false) => {
            "its file descriptors can be counted but not listed, so neither they nor its memory are told by kind"
        }
        (None, false) => "its file descriptors can't be counted, and are not judged",
    };
    Some(format!("{name}: {missing}: watch it as its own user, or as root"))
}

/// From this listing of kinds, which cost so much, to the next one, seconds.
fn kinds_after_s(length: Option<Duration>, elapsed_s: f64, cost: Duration) -> f64 {
    let wanted_s = kinds::every_s(length.map_or(elapsed_s, |length| length.as_secs_f64()));
    let affordable_s = (cost * LISTING_PART).as_secs_f64().min(kinds::EVERY_S.1);
    // A beat that comes a little early is the one that is meant.
    wanted_s.max(affordable_s) * 0.99
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_listed_often_enough_for_a_slope_and_not_more_than_they_may_cost() {
        let after = |seconds: Option<u64>, elapsed_s, took_ms| {
            kinds_after_s(seconds.map(Duration::from_secs), elapsed_s, Duration::from_millis(took_ms)) / 0.99
        };
        let known = [10, 80, 3600].map(|seconds| after(Some(seconds), 0.0, 1));
        assert!(
            known.iter().zip([1.0, 2.0, 10.0]).all(|(found, wanted)| (found - wanted).abs() < 1e-9),
            "{known:?}"
        );
        let unknown = [0.0, 80.0, 3600.0].map(|elapsed_s| after(None, elapsed_s, 1));
        assert!(unknown.iter().zip([1.0, 2.0, 10.0]).all(|(found, wanted)| (found - wanted).abs() < 1e-9));
        let dear = [160, 900].map(|took_ms| after(Some(10), 0.0, took_ms));
        assert!(
            dear.iter().zip([4.0, 10.0]).all(|(found, wanted)| (found - wanted).abs() < 1e-9),
            "{dear:?}"
        );
    }

    #[test]
    fn what_is_hidden_is_said_with_what_to_do() {
        let sample = |fds| Sample { fds, ..Sample::unread(0.0, "db") };
        assert_eq!(hidden("db", &sample(Some(3)), true), None);
        let counted = hidden("db", &sample(Some(3)), false).unwrap();
        assert!(counted.contains("counted but not listed") && counted.contains("as root"), "{counted}");
        let neither = hidden("db", &sample(None), false).unwrap();
        assert!(neither.contains("not judged") && neither.contains("as root"), "{neither}");
    }
}
