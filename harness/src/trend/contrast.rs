//! A candidate held against a baseline: pure.
//!
//! Three questions are kept apart. Is there a difference for sure: does its interval exclude zero? Does it matter: is it
//! as large as the smallest difference that somebody cares about? And which way does it go? Only what is sure and
//! matters is called worse or better; that there is none that matters is a claim as well, for which the whole interval
//! must lie within what does not matter (Schuirmann's two one-sided tests, 1987). Everything else can't be told.
//!
//! A side may have several runs. Then the run is the unit: what varies between runs is in the interval, and a measure
//! that has no error within a run (a peak of memory, a quantile of latency) has one.

use std::collections::BTreeMap;

use crate::growth::difference::difference;
use crate::growth::slope::Growth;
use crate::result::contrast::{Contrast, Direction, Fact, Figure, Party, Row, Run, TargetContrast};
use crate::result::{Digest, Expect, Measure, Measured, SCHEMA, Sort};

mod sentence;
mod spread;

use spread::{mean, spread};

/// Chance of error on each side, for all rows together: 99 % intervals.
const ALPHA: f64 = 0.005;
/// The same of a side's own interval: 90 %, as reports have it everywhere.
const ALPHA_SHOWN: f64 = 0.05;

/// The smallest difference that matters, by sort.
#[derive(Clone, Debug, PartialEq)]
pub struct Matters(BTreeMap<Sort, f64>);

impl Default for Matters {
    /// Growth by 0.05 per minute comes to 72 a day, and reaches a limit of 1,024 descriptors within a fortnight. A
    /// twentieth of the throughput, a tenth of cost, a quarter of a latency are what people act upon; one line in a
    /// thousand twice is more than restarts explain.
    fn default() -> Self {
        Self(BTreeMap::from([
            (Sort::Growth, 0.05),
            (Sort::Throughput, 0.05),
            (Sort::Latency, 0.25),
            (Sort::Cpu, 0.10),
            (Sort::Memory, 0.10),
            (Sort::Duplicates, 0.001),
        ]))
    }
}

/// Below this, a latency is the timer's and the scheduler's, whatever share of another it is. Seconds.
const LATENCY_MIN_S: f64 = 0.02;
/// Below this a peak of memory is the allocator's. Bytes.
const MEMORY_MIN: f64 = 1_048_576.0;

impl Matters {
    /// Changes what matters of one sort. Each lost or altered line and each crash always does.
    pub fn set(&mut self, sort: Sort, value: f64) {
        self.0.insert(sort, value);
    }

    /// What somebody set, or the default.
    #[must_use]
    pub fn by_sort(&self) -> &BTreeMap<Sort, f64> {
        &self.0
    }

    /// In the measure's unit, beside such a level. `times` is by how much time was compressed: growth that comes to so
    /// much in a day comes to it in a shorter one. `lines` is how many were sent.
    #[must_use]
    pub fn of(&self, measure: Measure, level: f64, times: f64, lines: f64) -> f64 {
        let sort = measure.sort();
        let set = self.0.get(&sort).copied().unwrap_or(0.0);
        match sort {
            Sort::Growth => set * times,
            Sort::Throughput | Sort::Cpu => set * level.abs(),
            Sort::Latency => (set * level.abs()).max(LATENCY_MIN_S),
            Sort::Memory => (set * level.abs()).max(MEMORY_MIN),
            Sort::Duplicates => set * lines,
            // Any whole one is more.
            Sort::Lines | Sort::Crashes => 0.5,
        }
    }
}

/// Sets the candidate's runs against the baseline's. `across` is in what their environments differ. Both have one run
/// at least.
#[must_use]
pub fn contrast(
    baseline: &[&Digest],
    candidate: &[&Digest],
    matters: &Matters,
    across: Vec<Fact>,
) -> Contrast {
    let names = |runs: &[&Digest]| -> Vec<String> {
        let mut names: Vec<String> = runs.iter().flat_map(|run| run.targets.keys().cloned()).collect();
        names.sort();
        names.dedup();
        names
    };
    let (here, there) = (names(baseline), names(candidate));
    let both: Vec<&String> = here.iter().filter(|name| there.contains(name)).collect();
    let sides = |name: &str| Sides { name: name.to_owned(), baseline, candidate };
    let rows = both.iter().map(|name| sides(name).with_error()).sum::<usize>();
    let alpha = ALPHA / rows.max(1) as f64;
    let targets: BTreeMap<String, TargetContrast> =
        both.into_iter().map(|name| (name.clone(), sides(name).target(matters, alpha))).collect();
    let (direction, sentence) = sentence::whole(&targets);
    Contrast {
        schema: SCHEMA,
        direction,
        sentence,
        baseline: party(baseline),
        candidate: party(candidate),
        across,
        matters: matters.by_sort().clone(),
        targets,
        only_in_baseline: here.iter().filter(|name| !there.contains(name)).cloned().collect(),
        only_in_candidate: there.iter().filter(|name| !here.contains(name)).cloned().collect(),
    }
}

fn party(runs: &[&Digest]) -> Party {
    let run = |run: &&Digest| Run {
        run_id: run.run_id.clone(),
        started_at: run.started_at,
        revision: run.revision.clone(),
        ended: run.ended.clone(),
    };
    Party { runs: runs.iter().map(run).collect() }
}

/// One target on both sides.
struct Sides<'a> {
    name: String,
    baseline: &'a [&'a Digest],
    candidate: &'a [&'a Digest],
}

impl Sides<'_> {
    fn measured(&self, runs: &[&Digest], measure: Measure) -> Vec<Measured> {
        let of = |run: &&Digest| run.targets.get(&self.name)?.figures.get(&measure).copied();
        runs.iter().filter_map(of).collect()
    }

    fn both(&self, measure: Measure) -> (Vec<Measured>, Vec<Measured>) {
        (self.measured(self.baseline, measure), self.measured(self.candidate, measure))
    }

    /// How many rows make a claim with a chance of error.
    fn with_error(&self) -> usize {
        let estimated = Measure::ALL.into_iter().filter(|measure| !measure.sort().is_counted());
        let has_error = |measure: &Measure| {
            let (baseline, candidate) = self.both(*measure);
            spread(&baseline, &candidate, ALPHA).is_some()
        };
        estimated.filter(has_error).count()
    }

    fn target(&self, matters: &Matters, alpha: f64) -> TargetContrast {
        let expected = |runs: &[&Digest]| {
            runs.iter().filter_map(|run| Some(run.targets.get(&self.name)?.expect)).next_back()
        };
        let weighed = expected(self.candidate) == Some(Expect::Flat);
        let rows: BTreeMap<Measure, Row> = Measure::ALL
            .into_iter()
            .filter_map(|measure| Some((measure, self.row(measure, matters, alpha)?)))
            .collect();
        TargetContrast { weighed, direction: sentence::worst(rows.values().map(|row| row.direction)), rows }
    }

    /// `None` where neither side has it.
    fn row(&self, measure: Measure, matters: &Matters, alpha: f64) -> Option<Row> {
        let (baseline, candidate) = self.both(measure);
        if baseline.is_empty() && candidate.is_empty() {
            return None;
        }
        let level = mean(&baseline).unwrap_or(0.0);
        let matters = matters.of(measure, level, self.compressed(), self.lines());
        let row = Row {
            baseline: figure(&baseline),
            candidate: figure(&candidate),
            difference: mean(&candidate)
                .zip(mean(&baseline))
                .map(|(candidate, baseline)| candidate - baseline),
            ci_low: None,
            ci_high: None,
            matters,
            significant: None,
            relevant: false,
            direction: Direction::Open,
            why: None,
        };
        let row = Row { relevant: row.difference.is_some_and(|by| by.abs() >= matters), ..row };
        Some(match row.difference {
            None => Row { why: Some(missing(baseline.is_empty())), ..row },
            Some(_) if measure.sort().is_counted() => counted(row, &baseline, &candidate),
            Some(_) => match spread(&baseline, &candidate, alpha) {
                Some((baseline, candidate)) => estimated(row, measure, (&baseline, &candidate), alpha),
                None => seen_once(row),
            },
        })
    }

    fn compressed(&self) -> f64 {
        self.candidate.first().map_or(1.0, |run| run.ground.compression.get())
    }

    fn lines(&self) -> f64 {
        let sent = |run: &&Digest| run.targets.get(&self.name)?.lines_sent;
        self.baseline.iter().find_map(sent).unwrap_or(0) as f64
    }
}

fn missing(in_baseline: bool) -> String {
    let side = if in_baseline { "baseline" } else { "candidate" };
    format!("not measured in the {side}, or not to be trusted there")
}

/// A side's mean, with its own interval.
fn figure(runs: &[Measured]) -> Option<Figure> {
    let value = mean(runs)?;
    let growth = spread::one(runs, ALPHA_SHOWN);
    Some(Figure {
        value,
        ci_low: growth.map(|growth| growth.low(ALPHA_SHOWN)),
        ci_high: growth.map(|growth| growth.high(ALPHA_SHOWN)),
    })
}

/// Each one counts, and nothing is estimated: but what a run loses by chance, another may lose by chance.
fn counted(row: Row, baseline: &[Measured], candidate: &[Measured]) -> Row {
    let most = |runs: &[Measured]| runs.iter().map(|run| run.value).fold(0.0, f64::max);
    let (before, now) = (most(baseline), most(candidate));
    let (direction, why) = match (before > 0.0, now > 0.0) {
        (false, false) => (Direction::Same, None),
        (_, true) if now > before => (Direction::Worse, None),
        (true, false) => (Direction::Better, None),
        _ => (Direction::Open, Some("both have some: neither is good".to_owned())),
    };
    Row {
        significant: Some(matches!(direction, Direction::Worse | Direction::Better)),
        direction,
        why,
        ..row
    }
}

fn estimated(row: Row, measure: Measure, (baseline, candidate): (&Growth, &Growth), alpha: f64) -> Row {
    let found = difference(candidate, baseline, alpha);
    let (low, high) = (found.ci_low, found.ci_high);
    let is_sure = low > 0.0 || high < 0.0;
    let is_worse = (found.growth.per_min > 0.0) != measure.more_is_better();
    let direction = if is_sure && row.relevant {
        if is_worse { Direction::Worse } else { Direction::Better }
    } else if -row.matters < low && high < row.matters {
        Direction::Same
    } else {
        Direction::Open
    };
    let wide = || "the interval holds both no difference and one that matters".to_owned();
    let why = (direction == Direction::Open).then(wide);
    Row { ci_low: Some(low), ci_high: Some(high), significant: Some(is_sure), direction, why, ..row }
}

/// One run each says nothing of how much such a figure varies from run to run.
fn seen_once(row: Row) -> Row {
    if !row.relevant {
        return Row { direction: Direction::Same, ..row };
    }
    let why = "one run each does not show how much it varies: compare several".to_owned();
    Row { direction: Direction::Open, why: Some(why), ..row }
}

#[cfg(test)]
mod tests;
