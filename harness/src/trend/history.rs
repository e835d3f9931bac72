//! Nights read as a whole: pure.
//!
//! Growth and lines depend on the program and its load, so nights of one load stand in one row whatever the machine.
//! Cost, latency and throughput depend on the machine as well: there each class of machine has a row of its own, and a
//! change of the machine is no change of the program. What else of the environment changed with a change is named.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::growth::slope::critical_value;
use crate::result::contrast::Direction;
use crate::result::trend::{
    Ack, ChangeSeen, Gap, NightSeen, Point, ScenarioTrend, Series, Skipped, State, Trend,
};
use crate::result::{Digest, Expect, Measure, Measured, SCHEMA};
use crate::trend::change::{Change, Night, changes};
use crate::trend::contrast::Matters;
use crate::trend::ground::differences;

mod words;

pub use words::commits;

/// What is followed over the nights. What each one counts of (lost lines, crashes) the night's own verdict says.
pub const FOLLOWED: [Measure; 8] = [
    Measure::TasksGrowth,
    Measure::ThreadsGrowth,
    Measure::FdsGrowth,
    Measure::CpuPerMillionLines,
    Measure::RssMax,
    Measure::LatencyP50,
    Measure::LatencyP99,
    Measure::LinesPerSecond,
];

/// Chance of error on each side of a night's own interval.
const ALPHA_SHOWN: f64 = 0.05;

/// What is asked of a history.
#[derive(Clone, Debug)]
pub struct Question {
    /// What of a change matters.
    pub matters: Matters,
    /// How far apart nights are expected.
    pub every: Option<Duration>,
    /// Up to when.
    pub until: Timestamp,
}

/// Reads a history. `skipped` is what of its file could not be read.
#[must_use]
pub fn trend(nights: &[Digest], acks: &[Ack], skipped: Vec<Skipped>, question: &Question) -> Trend {
    // A clock that was wrong once would else hide each night that does not run, for as long as it was wrong by.
    let (nights, ahead): (Vec<&Digest>, Vec<&Digest>) =
        nights.iter().partition(|night| night.started_at <= question.until);
    let names: BTreeSet<&str> = nights.iter().map(|night| night.ground.scenario.as_str()).collect();
    let scenarios = names.into_iter().map(|name| {
        let mut of: Vec<&Digest> =
            nights.iter().copied().filter(|night| night.ground.scenario == name).collect();
        of.sort_by(|a, b| (a.started_at, &a.run_id).cmp(&(b.started_at, &b.run_id)));
        Nights { of, acks, question }.read(name)
    });
    let scenarios: Vec<ScenarioTrend> = scenarios.collect();
    let (direction, mut sentences) = words::whole(&scenarios);
    sentences.extend(words::ahead(&ahead, question.until));
    Trend {
        schema: SCHEMA,
        direction,
        sentences,
        until: question.until,
        every_s: question.every.map(|every| every.as_secs_f64()),
        scenarios,
        skipped,
    }
}

/// The nights of one scenario, in order.
struct Nights<'a> {
    of: Vec<&'a Digest>,
    acks: &'a [Ack],
    question: &'a Question,
}

/// Nights that may stand in one row, as places.
struct Row {
    ground: Option<String>,
    places: Vec<usize>,
}

impl Nights<'_> {
    fn read(&self, scenario: &str) -> ScenarioTrend {
        let series = FOLLOWED.into_iter().flat_map(|measure| self.measure(measure));
        ScenarioTrend {
            scenario: scenario.to_owned(),
            nights: self.nights(),
            gaps: self.gaps(),
            series: series.collect(),
        }
    }

    fn nights(&self) -> Vec<NightSeen> {
        let seen = |(place, night): (usize, &&Digest)| NightSeen {
            run_id: night.run_id.clone(),
            started_at: night.started_at,
            outcome: night.outcome,
            ended: night.ended.clone(),
            revision: night.revision.clone(),
            new_ground: place.checked_sub(1).map_or_else(Vec::new, |before| self.new_ground(before, place)),
        };
        self.of.iter().enumerate().map(seen).collect()
    }

    /// What of the environment is not as it was on an earlier night.
    fn new_ground(&self, before: usize, place: usize) -> Vec<String> {
        let both = self.of.get(before).zip(self.of.get(place));
        let facts = both.map_or_else(Vec::new, |(before, now)| differences(&before.ground, &now.ground));
        facts
            .into_iter()
            .map(|fact| format!("{}: {} → {}", fact.what, fact.baseline, fact.candidate))
            .collect()
    }

    fn gaps(&self) -> Vec<Gap> {
        let Some(every) = self.question.every.map(|every| every.as_secs_f64()) else { return Vec::new() };
        let starts = self.of.iter().map(|night| (night.started_at, false));
        let ends = self.of.iter().skip(1).map(|night| (night.started_at, false));
        let gaps =
            starts.zip(ends.chain([(self.question.until, true)])).filter_map(|((from, _), (to, is_open))| {
                let apart = to.duration_since(from).as_secs_f64() / every;
                let nights = whole(apart.round() - 1.0);
                (nights > 0).then_some(Gap { from, to, nights, is_open })
            });
        gaps.collect()
    }

    /// The rows of a measure, each target's by itself.
    fn measure(&self, measure: Measure) -> Vec<Series> {
        let rows = self.rows(measure.is_of_the_machine());
        let mut names: Vec<&String> = self.of.iter().flat_map(|night| night.targets.keys()).collect();
        names.sort();
        names.dedup();
        let all = names.iter().flat_map(|name| rows.iter().map(move |row| (*name, row)));
        all.filter_map(|(name, row)| self.series(name, measure, row)).collect()
    }

    /// Nights apart by their load, and by their machine where that matters.
    fn rows(&self, by_machine: bool) -> Vec<Row> {
        let mut rows: Vec<(usize, Vec<usize>)> = Vec::new();
        for (place, night) in self.of.iter().enumerate() {
            let fits = |first: usize| {
                self.of.get(first).is_some_and(|first| {
                    let same_machine = first.ground.machine_class() == night.ground.machine_class();
                    night.ground.is_same_load(&first.ground) && (same_machine || !by_machine)
                })
            };
            match rows.iter_mut().find(|(first, _)| fits(*first)) {
                Some((_, places)) => places.push(place),
                None => rows.push((place, vec![place])),
            }
        }
        let several = rows.len() > 1;
        let last = self.of.last();
        let named = |first: usize| {
            let (first, last) = (self.of.get(first)?, last?);
            let machine = by_machine.then(|| first.ground.machine_class().to_string());
            let load = differences(&last.ground, &first.ground).into_iter();
            let load = load.filter(|fact| fact.what.starts_with("scenario") || fact.what == "compression");
            let load = load.map(|fact| format!("{} {}", fact.what, fact.candidate));
            Some(machine.into_iter().chain(load).collect::<Vec<_>>().join("; "))
        };
        let row = |(first, places)| Row {
            ground: named(first).filter(|words| several && !words.is_empty()),
            places,
        };
        rows.into_iter().map(row).collect()
    }

    fn figure(&self, place: usize, target: &str, measure: Measure) -> Option<Measured> {
        let night = self.of.get(place)?;
        let target = night.targets.get(target)?;
        // A control must leak; a run that was cut short has had less of everything.
        let counts =
            target.expect == Expect::Flat && matches!(night.ended.as_str(), "finished" | "stopped early");
        target.figures.get(&measure).copied().filter(|_| counts)
    }

    fn series(&self, target: &str, measure: Measure, row: &Row) -> Option<Series> {
        let seen =
            row.places.iter().filter_map(|place| Some((*place, self.figure(*place, target, measure)?)));
        let (places, figures): (Vec<usize>, Vec<Measured>) = seen.unzip();
        let first = self.of.get(*places.first()?)?;
        let times = first.ground.compression.get();
        let matters = |level: f64| self.question.matters.of(measure, level, times, 0.0);
        let nights: Vec<Night> = figures
            .iter()
            .map(|figure| Night {
                value: figure.value,
                error: figure.error.map_or(0.0, |error| error.standard),
            })
            .collect();
        let found = changes(&nights, &matters);
        let at = |place: usize| places.get(place).copied();
        let seen: Vec<ChangeSeen> = found
            .changes
            .iter()
            .filter_map(|change| self.change(change, (target, measure), &places))
            .collect();
        Some(Series {
            target: target.to_owned(),
            measure,
            ground: row.ground.clone(),
            points: places.iter().zip(&figures).map(|(night, figure)| point(*night, figure)).collect(),
            changes: settled(seen, measure, &matters),
            apart: found.apart.iter().filter_map(|place| at(*place)).collect(),
        })
    }

    fn change(
        &self,
        change: &Change,
        (target, measure): (&str, Measure),
        places: &[usize],
    ) -> Option<ChangeSeen> {
        let night = *places.get(change.at)?;
        let before = *places.get(change.at.checked_sub(1)?)?;
        let (first, last_good) = (self.of.get(night)?, self.of.get(before)?);
        let confirmed = change.confirmed_at.and_then(|place| self.of.get(*places.get(place)?));
        let ack = self.acks.iter().find(|ack| {
            ack.run_id == first.run_id
                && ack.target.as_ref().is_none_or(|of| of == target)
                && ack.measure.is_none_or(|of| of == measure)
        });
        let is_worse = (change.after > change.before) != measure.more_is_better();
        let state = match (confirmed, ack) {
            (None, _) => State::Suspected,
            (Some(_), Some(_)) => State::Acknowledged,
            (Some(_), None) => State::Stands,
        };
        Some(ChangeSeen {
            night,
            run_id: first.run_id.clone(),
            started_at: first.started_at,
            confirmed_by: confirmed.map(|run| run.run_id.clone()),
            direction: if is_worse { Direction::Worse } else { Direction::Better },
            state,
            before: change.before,
            after: change.after,
            after_revision: last_good.revision.clone(),
            up_to_revision: first.revision.clone(),
            with: self.new_ground(before, night),
            because: ack.map(|ack| ack.because.clone()),
        })
    }
}

/// Notes of each change for the worse whether a later one took it back: to no worse than it was, or by less than matters.
fn settled(mut seen: Vec<ChangeSeen>, measure: Measure, matters: &dyn Fn(f64) -> f64) -> Vec<ChangeSeen> {
    let later: Vec<Vec<f64>> = (0..seen.len())
        .map(|place| {
            let confirmed = seen.iter().skip(place + 1).filter(|change| change.state != State::Suspected);
            confirmed.map(|change| change.after).collect()
        })
        .collect();
    for (change, later) in seen.iter_mut().zip(later) {
        let back = |level: f64| {
            let by = level - change.before;
            let worse = if measure.more_is_better() { -by } else { by };
            worse < matters(change.before)
        };
        let is_gone = change.direction == Direction::Worse && later.iter().any(|level| back(*level));
        if is_gone && change.state == State::Stands {
            change.state = State::Gone;
        }
    }
    seen
}

fn point(night: usize, figure: &Measured) -> Point {
    let half = figure.error.map(|error| critical_value(error.degrees, ALPHA_SHOWN) * error.standard);
    Point {
        night,
        value: figure.value,
        ci_low: half.map(|half| figure.value - half),
        ci_high: half.map(|half| figure.value + half),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn whole(count: f64) -> u64 {
    count.max(0.0) as u64
}

/// The last known state of each series: what a reader looks for first.
#[must_use]
pub fn latest(scenario: &ScenarioTrend) -> BTreeMap<(String, Measure), &Series> {
    let mut latest: BTreeMap<(String, Measure), &Series> = BTreeMap::new();
    let last = |series: &Series| series.points.last().map_or(0, |point| point.night);
    for series in &scenario.series {
        let slot = latest.entry((series.target.clone(), series.measure)).or_insert(series);
        if last(series) >= last(slot) {
            *slot = series;
        }
    }
    latest
}

#[cfg(test)]
mod tests;
