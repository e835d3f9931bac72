//! `flatline selftest`: real processes that leak on purpose, or only seem to, are sampled and judged as a run's
//! targets are. The judge is judged.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio_util::sync::CancellationToken;

use crate::growth::Point;
use crate::growth::verdict::{LIMIT_PER_MIN, Settings, judge};
use crate::record::files::{RecordError, write_json};
use crate::record::recorder::Recorder;
use crate::result::selftest::{Agreement, Case, Said, Selftest};
use crate::result::{Event, Outcome, Resource, SCHEMA, Sample};
use crate::run::beat::{Beat, Turn};
use crate::run::judge::{count, live};
use crate::run::progress::{Progress, Show};
use crate::run::selftest::cast::{Part, cast};
use crate::run::selftest::player::Player;
use crate::sample::process::Limits;
use crate::sample::sampler::{OWN_NAME, Sampler, Subject};
use crate::target::process::ProcessError;

mod cast;
mod player;

/// Name of the file that holds the result.
pub const RESULT: &str = "selftest.json";
/// Kinds of descriptors are listed this often, in ticks.
const KINDS_EVERY: u64 = 10;

/// What is asked of a selftest.
#[derive(Debug)]
pub struct Order {
    /// How long the processes are looked at.
    pub length: Duration,
    /// From sample to sample.
    pub every: Duration,
    /// The folder for samples, logs and the result; it must not hold a run yet.
    pub out: PathBuf,
    /// The run's id, unique on the machine.
    pub run_id: String,
    /// How to show progress.
    pub show: Show,
}

/// Why a selftest failed: the environment's fault, never the judge's.
#[derive(Debug, thiserror::Error)]
pub enum SelftestError {
    /// This very program can't be found.
    #[error("can't find the program that runs, to start it again: {0}")]
    Program(io::Error),
    /// A process would not start.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A process never said where it listens.
    #[error("the process {name} did not say within {seconds} s where it listens; is the machine very busy?")]
    Silent {
        /// Which.
        name: &'static str,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A process ended unasked.
    #[error("the process {name} ended unasked ({ended}); its last words:\n{last_words}")]
    Ended {
        /// Which.
        name: &'static str,
        /// How.
        ended: String,
        /// The end of its log.
        last_words: String,
    },
    /// A process did not end in order.
    #[error("the process {name} did not end in order: {words}")]
    Unclean {
        /// Which.
        name: &'static str,
        /// How it ended.
        words: String,
    },
    /// The folder.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Not a failure: somebody asked it to stop.
    #[error("stopped before there was anything to judge")]
    Stopped,
}

/// Runs it. Whatever happens, its processes are gone afterwards. When `stop` is cancelled, what was seen until then is
/// judged, and the result says that it was cut short.
///
/// # Errors
/// [`SelftestError`] where the environment fails.
pub async fn run(order: Order, stop: &CancellationToken) -> Result<Selftest, SelftestError> {
    if stop.is_cancelled() {
        return Err(SelftestError::Stopped);
    }
    let recorder = Recorder::create(&order.out)?;
    let mut stage = Stage::set(&order, recorder).await?;
    let played = stage.play(&order, stop).await;
    stage.progress.clear();
    let Stage { players, samples, .. } = stage;
    let parts: Vec<(Part, Limits)> = players.iter().map(|player| (player.part, player.limits)).collect();
    let stopped = join_all(players.into_iter().map(Player::stop)).await;
    let cut_short = played?;
    stopped.into_iter().collect::<Result<(), _>>()?;
    let selftest = judged(&order, &samples, &parts, cut_short);
    write_json(&order.out.join(RESULT), &selftest)?;
    Ok(selftest)
}

/// The processes, and what was seen of them.
struct Stage {
    players: Vec<Player>,
    samples: Vec<Sample>,
    recorder: Recorder,
    sampler: Sampler,
    beat: Beat,
    progress: Progress,
}

impl Stage {
    async fn set(order: &Order, recorder: Recorder) -> Result<Self, SelftestError> {
        // Each takes a while to be ready, and they need not wait for each other.
        let logs = order.out.join("logs");
        let cast = cast(order.length);
        let names: Vec<String> = cast.iter().map(|part| part.name.to_owned()).collect();
        let players = cast.map(|part| Player::start(part, &logs, &order.run_id));
        let players = try_join_all(players).await?;
        Ok(Self {
            players,
            samples: Vec::new(),
            recorder,
            sampler: Sampler::default(),
            beat: Beat::start(order.every, Some(order.length)),
            progress: Progress::new(order.show, &names),
        })
    }

    /// Looks until the time is over. Answers whether it was cut short.
    async fn play(&mut self, order: &Order, stop: &CancellationToken) -> Result<bool, SelftestError> {
        self.progress.phase("selftest", Some(order.length));
        self.note("phase", "load")?;
        let mut subjects: Vec<Subject> = self.players.iter().map(Player::subject).collect();
        subjects.push(Subject {
            name: OWN_NAME.to_owned(),
            pid: std::process::id(),
            tasks: None,
            memory: None,
        });
        let client = reqwest::Client::new();
        let mut ticks: u64 = 0;
        let cut_short = loop {
            let elapsed_s = match self.beat.next(stop).await {
                Turn::Look(elapsed_s) => elapsed_s,
                Turn::Over => break false,
                Turn::Stopped => break true,
            };
            self.look(elapsed_s, &subjects, ticks.is_multiple_of(KINDS_EVERY)).await?;
            join_all(self.players.iter_mut().map(|player| player.tell(&client, elapsed_s))).await;
            ticks += 1;
        };
        self.note("end", if cut_short { "interrupted" } else { "finished" })?;
        Ok(cut_short)
    }

    async fn look(&mut self, elapsed_s: f64, subjects: &[Subject], kinds: bool) -> Result<(), SelftestError> {
        let rows = self.sampler.look(elapsed_s, subjects).await;
        self.recorder.samples(&rows)?;
        self.samples.extend(rows);
        if kinds {
            // Whoever is gone and can't be listed is found below.
            let (kinds, _missed) = self.sampler.kinds(elapsed_s, subjects).await;
            self.recorder.kinds(&kinds)?;
        }
        self.players.iter_mut().try_for_each(Player::check)?;
        self.progress.at(elapsed_s, format!("{elapsed_s:.0} s"));
        for (index, player) in self.players.iter().enumerate() {
            let growths = Resource::ALL.into_iter().filter_map(|resource| {
                let judged = live(&points(&self.samples, player.part.name, resource), LIMIT_PER_MIN)?;
                Some(format!("{} {judged}", resource.key()))
            });
            self.progress.target(index, growths.collect::<Vec<_>>().join("   "));
        }
        Ok(())
    }

    fn note(&mut self, event: &str, detail: &str) -> Result<(), RecordError> {
        let elapsed_s = self.beat.elapsed_s();
        self.recorder.event(&Event {
            elapsed_s,
            target: String::new(),
            event: event.to_owned(),
            detail: detail.to_owned(),
        })
    }
}

/// A sample in which a count could not be read has none, as in a run.
fn points(samples: &[Sample], name: &str, resource: Resource) -> Vec<Point> {
    let of_player = samples.iter().filter(|sample| sample.target == name);
    of_player
        .filter_map(|sample| Some(Point { elapsed_s: sample.elapsed_s, count: count(sample, resource)? }))
        .collect()
}

fn judged(order: &Order, samples: &[Sample], parts: &[(Part, Limits)], cut_short: bool) -> Selftest {
    let case = |(part, limits): &(Part, Limits)| {
        let said =
            |resource| (resource, said(&points(samples, part.name, resource), part, resource, *limits));
        let resources = BTreeMap::from(Resource::ALL.map(said));
        Case { name: part.name.to_owned(), what: part.what.to_owned(), resources }
    };
    let cases: Vec<Case> = parts.iter().map(case).collect();
    let (outcome, reason) = outcome(&cases, cut_short);
    Selftest {
        schema: SCHEMA,
        outcome,
        reason,
        cut_short,
        length_s: samples.last().map_or(0.0, |sample| sample.elapsed_s),
        every_s: order.every.as_secs_f64(),
        limit_per_min: LIMIT_PER_MIN,
        cases,
    }
}

fn said(points: &[Point], part: &Part, resource: Resource, limits: Limits) -> Said {
    let settings = Settings { process_limit: limits.on(resource), ..Settings::by_limit(LIMIT_PER_MIN) };
    let judgement = judge(points, &settings).judgement;
    let expected = part.expected(resource);
    let agreement = Agreement::of(judgement.verdict, expected);
    Said { leaks_per_min: part.leaks_per_min(resource), expected, agreement, judgement }
}

fn outcome(cases: &[Case], cut_short: bool) -> (Outcome, String) {
    if cut_short {
        // The start of a warm-up is a leak to any judge.
        return (Outcome::Undecided, "cut short: what was seen until then settles nothing".to_owned());
    }
    let with = |agreement| {
        let all = cases
            .iter()
            .flat_map(|case| case.resources.iter().map(move |(resource, said)| (case, resource, said)));
        let such = all.filter(move |(_, _, said)| said.agreement == agreement);
        such.map(|(case, resource, _)| format!("{} of {}", resource.key(), case.name)).collect::<Vec<_>>()
    };
    let (wrong, open) = (with(Agreement::Wrong), with(Agreement::Undecided));
    if !wrong.is_empty() {
        return (Outcome::Missed, format!("the judge was wrong about {}", wrong.join(", ")));
    }
    if !open.is_empty() {
        return (Outcome::Undecided, format!("not decided: {}", open.join(", ")));
    }
    let verdicts: usize = cases.iter().map(|case| case.resources.len()).sum();
    (Outcome::Met, format!("all {verdicts} verdicts are as expected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two minutes of everybody, a sample a second, as the clock has it; `lost` says which seconds have no sample.
    fn selftest(cut_short: bool, lost: impl Fn(u64) -> bool) -> Selftest {
        let order = Order {
            length: Duration::from_secs(120),
            every: Duration::from_secs(1),
            out: PathBuf::new(),
            run_id: String::new(),
            show: Show::Nothing,
        };
        let cast = cast(order.length);
        let seconds = (0..120_u64).filter(|second| !lost(*second));
        let samples: Vec<Sample> =
            seconds.flat_map(|second| cast.iter().map(move |part| sample(part, second))).collect();
        judged(&order, &samples, &cast.map(|part| (part, Limits::default())), cut_short)
    }

    fn sample(part: &Part, second: u64) -> Sample {
        // Twenty a minute.
        let events = second / 3;
        let held = part.plan().wanted(Duration::from_secs(second), events);
        let count = |held: usize| Some(held as u64 + 7);
        Sample {
            threads: count(held.threads),
            tasks: count(held.tasks),
            fds: count(held.fds),
            ..Sample::unread(second as f64, part.name)
        }
    }

    #[test]
    fn on_perfect_samples_the_judge_is_right_about_everybody() {
        let found = selftest(false, |_| false);
        assert_eq!(found.outcome, Outcome::Met, "{}", found.reason);
        assert!(found.reason.contains("all 21 verdicts"), "{}", found.reason);
    }

    #[test]
    fn samples_with_holes_decide_nothing_and_make_nobody_wrong() {
        let found = selftest(false, |second| (40..60).contains(&second));
        assert_eq!(found.outcome, Outcome::Undecided, "{}", found.reason);
        assert!(found.reason.contains("tasks of flat"), "{}", found.reason);
    }

    #[test]
    fn a_verdict_that_is_the_opposite_is_named_unless_it_was_cut_short() {
        let found = selftest(true, |_| false);
        assert_eq!((found.outcome, found.cut_short), (Outcome::Undecided, true));
        let mut cases = selftest(false, |_| false).cases;
        let said = cases[1].resources.get_mut(&Resource::Fds).unwrap();
        said.agreement = Agreement::of(crate::result::Verdict::Pass, said.expected);
        let (outcome, reason) = outcome(&cases, false);
        assert_eq!((outcome, reason.as_str()), (Outcome::Missed, "the judge was wrong about fds of fds"));
    }
}
