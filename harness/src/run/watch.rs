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
use crate::run::watch::target::{State, Target};
use crate::sample::process;
use crate::sample::sampler::{Sampler, Subject, TasksGauge};
use crate::target::process::Ended;

mod columns;
mod conclude;
mod order;
mod page;
mod target;

pub use columns::ColumnError;
pub use conclude::{PLOT, RESULT};
pub use order::{Order, WatchError, Watched};
pub use page::{GAUGES, Page};
pub use target::Whom;

/// Kinds are listed so often: it costs more than to count.
const KINDS_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// And so often at least in a watch of a known length: with fewer listings there is no slope of a kind.
const LISTINGS: u32 = 20;

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
    let Watcher { target, mut recorder, beat, limits, known, is_first, .. } = watcher;
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
    let (analysis, leaks) = conclude(&order, &seen, Question { limits, known, ..order.question.clone() })?;
    let missed = match beat.missed() {
        0 => String::new(),
        missed => format!("; {missed} of the samples were missed, as the machine was busy"),
    };
    let ended = format!("{name}: {words}, after {elapsed_s:.0} s{missed}");
    let failed = matches!(&end, End::Gone(ended) if !ended.clean);
    Ok(Watched { analysis, leaks, ended, failed })
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
    /// When kinds are listed next, seconds.
    kinds_at_s: f64,
    is_first: bool,
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
            kinds_at_s: 0.0,
            is_first: true,
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
        let kinds_every = kinds_every(order.length);
        loop {
            let elapsed_s = match self.beat.next(stop).await {
                Turn::Look(elapsed_s) => elapsed_s,
                Turn::Over => return Ok(End::Over),
                Turn::Stopped => return Ok(End::Stopped),
            };
            if let Some(end) = self.look(elapsed_s, kinds_every).await? {
                return Ok(end);
            }
        }
    }

    /// Looks once. What was seen of a process that was gone by the end of the look is not its own for sure.
    async fn look(&mut self, elapsed_s: f64, kinds_every: Duration) -> Result<Option<End>, WatchError> {
        let subject =
            Subject { name: self.target.name.clone(), pid: self.target.pid, tasks: self.gauge.clone() };
        let subjects = std::slice::from_ref(&subject);
        let rows = self.sampler.look(elapsed_s, subjects).await;
        let kinds = if elapsed_s >= self.kinds_at_s {
            self.kinds_at_s = elapsed_s + kinds_every.as_secs_f64() * 0.99;
            // Who is gone is found below; what is hidden was said at the start.
            Some(self.sampler.kinds(elapsed_s, subjects).await.0)
        } else {
            None
        };
        match self.target.state().await {
            State::Same => {}
            State::Ended(ended) => return Ok(Some(End::Gone(ended))),
            State::Away => {
                self.progress
                    .at(elapsed_s, format!("{elapsed_s:.0} s   it does not run; is it started again?"));
                return Ok(None);
            }
            State::Again => {
                self.known.starts_s.push(elapsed_s);
                self.columns.begin_again();
                self.note(
                    Event::RESTART,
                    &format!("process {} and no longer {}", self.target.pid, subject.pid),
                )?;
                return Ok(None);
            }
        }
        self.recorder.samples(&rows)?;
        kinds.map_or(Ok(()), |kinds| self.recorder.kinds(&kinds))?;
        let Some(sample) = rows.first() else { return Ok(None) };
        self.say_what_is_hidden(sample)?;
        self.show(elapsed_s, sample);
        let Some(call) = self.columns.see(sample) else { return Ok(None) };
        self.note("fail_fast", &call)?;
        Ok(Some(End::Called(call)))
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
        (Some(_), false) => "its file descriptors can be counted but not listed, so no kind of them is named",
        (None, false) => "its file descriptors can't be counted, and are not judged",
    };
    Some(format!("{name}: {missing}: watch it as its own user, or as root"))
}

fn kinds_every(length: Option<Duration>) -> Duration {
    let (least, most) = KINDS_EVERY;
    length.map_or(most, |length| (length / LISTINGS).clamp(least, most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_listed_often_enough_for_a_slope_and_not_more() {
        let every = |seconds: Option<u64>| kinds_every(seconds.map(Duration::from_secs)).as_secs();
        assert_eq!([every(Some(10)), every(Some(40)), every(Some(3600)), every(None)], [1, 2, 10, 10]);
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
