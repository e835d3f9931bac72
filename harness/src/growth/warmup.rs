//! How much of the start is warm-up.
//!
//! The start is compared with where the *second half* leads back to: the medians of ten blocks of
//! it make a straight line, and leading blocks that lie outside that line's prediction interval are
//! warm-up. A line, not a level: against a level, a leaking series never settles, the cut runs to
//! the end, and the leak is called a long warm-up. For the same reason the cut is capped: a start that
//! does not meet the line within half of the series is no warm-up but a series without a steady
//! state, and is judged as it is. Barrett et al. ("Virtual Machine Warmup Blows Hot and Cold",
//! OOPSLA 2017) found that to be ordinary.

use crate::growth::slope::{centred, coefficient, square_sum, without};
use crate::growth::{Point, median, slope};

/// What to cut from the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Warmup {
    /// Exactly so many seconds.
    Fixed {
        /// Seconds from the first sample.
        seconds: f64,
    },
    /// So many seconds, and what still settles after them.
    AtLeast {
        /// Seconds from the first sample.
        seconds: f64,
    },
}

/// What was cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    /// Seconds from the first sample.
    pub seconds: f64,
    /// Whether the rest begins where its second half leads back to.
    pub steady: bool,
}

/// Blocks of the series; the second half of them makes the line.
const BLOCKS: usize = 20;
/// Chance that a block of a steady series is taken for warm-up, on either side.
const ALPHA: f64 = 0.0005;

/// Finds the cut. `quantum` is the smallest step of the count.
#[must_use]
pub fn cut(points: &[Point], warmup: Warmup, quantum: f64) -> Cut {
    match warmup {
        Warmup::Fixed { seconds } => Cut { seconds, steady: true },
        Warmup::AtLeast { seconds } => {
            let rest = after(points, seconds);
            match settling_s(rest, quantum) {
                Some(more) => Cut { seconds: seconds + more, steady: true },
                None => Cut { seconds, steady: false },
            }
        }
    }
}

/// The points from so many seconds after the first one on.
#[must_use]
pub fn after(points: &[Point], seconds: f64) -> &[Point] {
    let from_s = points.first().map_or(0.0, |point| point.elapsed_s) + seconds;
    let skipped = points.partition_point(|point| point.elapsed_s < from_s);
    points.get(skipped..).unwrap_or_default()
}

/// How long the start differs from the line of the second half; `None` if for all of the first half.
fn settling_s(points: &[Point], quantum: f64) -> Option<f64> {
    let blocks = block_medians(points);
    let from_s = points.first().map_or(0.0, |point| point.elapsed_s);
    let Some(line) = Line::through(blocks.get(BLOCKS / 2..).unwrap_or_default(), quantum) else {
        return Some(0.0);
    };
    let first_half = blocks.iter().take(BLOCKS / 2);
    let unlike = first_half.take_while(|block| !line.predicts(block)).count();
    if unlike == 0 {
        return Some(0.0);
    }
    if unlike == BLOCKS / 2 {
        return None;
    }
    let span_s = points.last().map_or(0.0, |point| point.elapsed_s - from_s);
    Some(span_s * unlike as f64 / BLOCKS as f64)
}

/// The middle of each of [`BLOCKS`] equal stretches of time: spikes don't reach it.
pub(crate) fn block_medians(points: &[Point]) -> Vec<Point> {
    let from_s = points.first().map_or(0.0, |point| point.elapsed_s);
    let block_s = points.last().map_or(0.0, |point| point.elapsed_s - from_s) / BLOCKS as f64;
    let mut rest = points;
    let mut medians = Vec::with_capacity(BLOCKS);
    for block in 1..=BLOCKS {
        let end_s = from_s + block_s * block as f64;
        let taken = rest.partition_point(|point| point.elapsed_s < end_s);
        let (inside, later) = rest.split_at(taken);
        rest = later;
        let counts: Vec<f64> = inside.iter().map(|point| point.count).collect();
        medians.extend(median(&counts).map(|count| Point { elapsed_s: end_s - block_s / 2.0, count }));
    }
    medians
}

/// A line through block medians, and how far a further block may lie from it.
struct Line {
    middle: Point,
    per_min: f64,
    spread: f64,
    reach: f64,
    blocks: f64,
    own: f64,
}

impl Line {
    fn through(blocks: &[Point], quantum: f64) -> Option<Self> {
        let (minutes, counts) = centred(blocks);
        let per_min = coefficient(&minutes, &counts)?;
        let n = blocks.len() as f64;
        let residuals = square_sum(&without(&counts, &minutes, per_min));
        // The median of counts is known to a quantum at best.
        let spread = (residuals / (n - 2.0) + quantum * quantum / 12.0).sqrt();
        let middle = Point {
            elapsed_s: blocks.iter().map(|block| block.elapsed_s).sum::<f64>() / n,
            count: blocks.iter().map(|block| block.count).sum::<f64>() / n,
        };
        let unit = slope::Growth { per_min: 0.0, error_per_min: 1.0, degrees: n - 2.0 };
        Some(Self {
            middle,
            per_min,
            spread,
            reach: unit.half_width(ALPHA),
            blocks: n,
            own: square_sum(&minutes),
        })
    }

    /// Whether a block lies within the prediction interval.
    fn predicts(&self, block: &Point) -> bool {
        let away_min = (block.elapsed_s - self.middle.elapsed_s) / 60.0;
        let expected = self.middle.count + self.per_min * away_min;
        let widening = (1.0 + 1.0 / self.blocks + away_min * away_min / self.own).sqrt();
        (block.count - expected).abs() <= self.reach * self.spread * widening
    }
}

#[cfg(test)]
mod tests {
    use super::{Warmup, after, cut};
    use crate::growth::Point;

    fn series(count: impl Fn(f64) -> f64) -> Vec<Point> {
        (0..600)
            .map(f64::from)
            .map(|s| Point { elapsed_s: 1000.0 + s, count: (count(s) + (s * 1.7).sin()).round() })
            .collect()
    }

    const AUTO: Warmup = Warmup::AtLeast { seconds: 0.0 };

    #[test]
    fn a_flat_series_has_no_warm_up() {
        let found = cut(&series(|_| 60.0), AUTO, 1.0);
        assert!(found.steady && found.seconds < 1e-9, "{found:?}");
    }

    #[test]
    fn a_leak_is_no_warm_up() {
        let found = cut(&series(|s| 60.0 + s * 43.0 / 60.0), AUTO, 1.0);
        assert!(found.steady && found.seconds < 1e-9, "{found:?}");
    }

    #[test]
    fn a_start_that_settles_is_cut_with_and_without_a_leak_under_it() {
        for leak_per_min in [0.0, 10.0] {
            let points = series(|s| 90.0 - 50.0 * (-s / 40.0).exp() + s * leak_per_min / 60.0);
            let found = cut(&points, AUTO, 1.0);
            assert!(found.steady && found.seconds > 60.0 && found.seconds < 240.0, "{found:?}");
        }
    }

    #[test]
    fn a_start_that_differs_for_half_of_the_series_is_not_cut_but_said() {
        let found = cut(&series(|s| if s < 305.0 { 60.0 } else { 20.0 }), AUTO, 1.0);
        assert!(!found.steady && found.seconds < 1e-9, "{found:?}");
    }

    #[test]
    fn the_minimum_is_cut_in_any_case_and_a_fixed_cut_is_exact() {
        let points = series(|_| 60.0);
        assert!((cut(&points, Warmup::AtLeast { seconds: 30.0 }, 1.0).seconds - 30.0).abs() < 1e-9);
        assert!((cut(&points, Warmup::Fixed { seconds: 45.0 }, 1.0).seconds - 45.0).abs() < 1e-9);
        assert_eq!(after(&points, 45.0).first().map(|p| p.elapsed_s), Some(1045.0));
        assert!(after(&points, 1e9).is_empty());
    }
}
