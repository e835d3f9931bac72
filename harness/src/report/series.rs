//! A target's samples as lines to draw: gaps kept open, peaks kept; those of a run since its load began.

use crate::result::{FittedLine, Judgement, Resource, RunResult};

/// A gap of so many usual steps between two samples is shown as one.
const GAP_IN_STEPS: f64 = 5.0;

/// What one target's line in a plot is drawn from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    /// The target's place in the scenario's order, or in that of the names.
    pub(super) place: usize,
    /// Its name.
    pub(super) name: String,
    /// Stretches without a gap: seconds, and the count.
    pub(super) stretches: Vec<Vec<(f64, f64)>>,
    /// The fitted line.
    pub(super) fitted: Option<FittedLine>,
    /// What was decided.
    pub(super) judgement: Option<Judgement>,
}

impl Series {
    /// A range, widened to hold the samples and the fitted line.
    pub(super) fn extent(&self, range: (f64, f64)) -> (f64, f64) {
        let samples = self.stretches.iter().flatten().map(|(_, value)| *value);
        let ends = self.fitted.iter().flat_map(|line| [line.from_count, line.to_count]);
        samples.chain(ends).fold(range, |(low, high), value| (low.min(value), high.max(value)))
    }

    /// Its last point.
    pub(super) fn last(&self) -> Option<(f64, f64)> {
        self.stretches.last().and_then(|stretch| stretch.last()).copied()
    }
}

/// Points of all series of a run together: some six letters each where the page embeds them.
const POINTS_MAX: usize = 60_000;
/// Points of one series at most: more than the dots of a wide screen.
const POINTS_OF_ONE: usize = 8_000;

/// The series of every target that has this resource, in the scenario's order, as fine as anybody looks at them. They
/// are made once and drawn several times: going through the samples of two days takes its time.
pub(super) fn all(result: &RunResult, resource: Resource) -> Vec<Series> {
    let series = result.manifest.targets.len().max(1) * Resource::ALL.len();
    let columns = ((POINTS_MAX / series).min(POINTS_OF_ONE) / 2).max(1);
    let names = result.manifest.targets.iter().enumerate();
    names.filter_map(|(place, name)| one(result, resource, (place, name), columns)).collect()
}

/// The same with at most about so many pairs of points each.
pub(super) fn coarse(series: &[Series], columns: usize) -> Vec<Series> {
    let one = |one: &Series| {
        let points = one.stretches.iter().map(Vec::len).sum::<usize>().max(1);
        let share = |stretch: &Vec<_>| thinned(stretch, (columns * stretch.len()).div_ceil(points));
        Series { stretches: one.stretches.iter().map(share).collect(), ..one.clone() }
    };
    series.iter().map(one).collect()
}

fn one(
    result: &RunResult,
    resource: Resource,
    (place, name): (usize, &String),
    columns: usize,
) -> Option<Series> {
    let points: Vec<(f64, f64)> = result
        .samples
        .moments(name)
        .filter_map(|sample| Some((sample.elapsed_s(), exact(sample.count(resource.count())?))))
        .collect();
    let base = base(&points, load_start(result))?;
    let moved: Vec<(f64, f64)> = points.into_iter().map(|(at, count)| (at, count - base)).collect();
    let judged = result.verdict.targets.get(name).and_then(|target| target.resources.get(&resource));
    let fitted = judged.and_then(|judged| judged.line).map(|line| FittedLine {
        from_count: line.from_count - base,
        to_count: line.to_count - base,
        ..line
    });
    let judgement = judged.map(|judged| judged.judgement.clone());
    Some(Series { place, name: name.clone(), stretches: drawn(&moved, columns), fitted, judgement })
}

/// The lines through these points, with at most about so many pairs of points.
pub(super) fn drawn(points: &[(f64, f64)], columns: usize) -> Vec<Vec<(f64, f64)>> {
    let stretches = stretches(points);
    if stretches.len() > columns {
        // Nobody sees so many gaps.
        return vec![thinned(points, columns)];
    }
    // Each stretch gets its share of the columns, so that many gaps do not make many points.
    let share = |stretch: &[(f64, f64)]| (columns * stretch.len()).div_ceil(points.len().max(1));
    stretches.into_iter().map(|stretch| thinned(stretch, share(stretch))).collect()
}

/// When the load began; the run's start where it has no such phase.
pub(super) fn load_start(result: &RunResult) -> f64 {
    load(result).map_or(0.0, |(from_s, _)| from_s)
}

/// From where the load began to where it ended last.
pub(super) fn load(result: &RunResult) -> Option<(f64, f64)> {
    let mut loads = result.manifest.phases.iter().filter(|phase| phase.name == "load");
    let first = loads.next()?;
    Some((first.from_s, loads.next_back().unwrap_or(first).to_s))
}

/// The count that the plot calls zero: the last one before the load, or else the first of all.
fn base(points: &[(f64, f64)], load_start: f64) -> Option<f64> {
    let before = points.iter().take_while(|(at, _)| *at <= load_start).last();
    before.or_else(|| points.first()).map(|(_, count)| *count)
}

/// Splits a line where samples are missing, so that the plot does not invent them.
fn stretches(points: &[(f64, f64)]) -> Vec<&[(f64, f64)]> {
    let widest = usual_step(points) * GAP_IN_STEPS;
    points.chunk_by(|last, point| point.0 - last.0 <= widest).collect()
}

/// The median step between samples.
fn usual_step(points: &[(f64, f64)]) -> f64 {
    let mut steps: Vec<f64> = points.iter().zip(points.iter().skip(1)).map(|(a, b)| b.0 - a.0).collect();
    let middle = steps.len() / 2;
    if steps.is_empty() { f64::INFINITY } else { *steps.select_nth_unstable_by(middle, f64::total_cmp).1 }
}

/// The least and the most of every column of the picture, in order of time: fewer points, the same peaks.
fn thinned(points: &[(f64, f64)], columns: usize) -> Vec<(f64, f64)> {
    if points.len() <= columns * 2 {
        return points.to_vec();
    }
    let per_column = points.len().div_ceil(columns.max(1));
    let mut out = Vec::with_capacity(columns * 2 + 1);
    for column in points.chunks(per_column) {
        let least = column.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        let most = column.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        let mut pair: Vec<(f64, f64)> = least.into_iter().chain(most).copied().collect();
        pair.sort_by(|a, b| a.0.total_cmp(&b.0));
        pair.dedup();
        out.extend(pair);
    }
    out.extend(points.last().filter(|last| out.last() != Some(last)).copied());
    out
}

/// Counts of processes are far below the 2^53 up to which this is exact.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn exact(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_every_peak_and_the_last_point() {
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|i| (f64::from(i), 0.0)).collect();
        points[4_321].1 = 99.0;
        points[7_777].1 = -5.0;
        let few = thinned(&points, 100);
        assert!(few.len() <= 201, "{}", few.len());
        assert!(few.contains(&(4_321.0, 99.0)) && few.contains(&(7_777.0, -5.0)));
        assert!(few.last().unwrap().0 > 9_998.5);
        assert!(few.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn a_gap_in_the_samples_opens_the_line() {
        let points = [0.0, 1.0, 2.0, 3.0, 30.0, 31.0].map(|at| (at, 1.0));
        let lengths: Vec<usize> = drawn(&points, 100).iter().map(Vec::len).collect();
        assert_eq!(lengths, [4, 2]);
    }

    #[test]
    fn many_gaps_do_not_make_many_lines() {
        let points: Vec<(f64, f64)> =
            (0..10_000).map(|i| (f64::from(i) + f64::from(i / 3) * 50.0, 1.0)).collect();
        let drawn = drawn(&points, 100);
        assert!(drawn.iter().map(Vec::len).sum::<usize>() <= 201, "{} lines", drawn.len());
    }

    #[test]
    fn zero_is_the_last_count_before_the_load() {
        let points = [(0.0, 10.0), (1.0, 12.0), (2.0, 15.0)];
        assert_eq!(base(&points, 1.5), Some(12.0));
        assert_eq!(base(&points, -1.0), Some(10.0));
        assert_eq!(base(&[], 1.5), None);
    }
}
