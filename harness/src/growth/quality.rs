//! Whether samples can be trusted at all, and how coarse they are.

use crate::growth::thinned::Thinned;
use crate::growth::{Point, median};

/// Fewer samples than this can't carry a slope, its error and a look at the shape.
pub(crate) const SAMPLES_MIN: usize = 30;
/// A gap is a pause of more than this many ordinary intervals.
const GAP_INTERVALS: f64 = 3.0;
/// Share of the time that may be missing.
const GAP_SHARE_MAX: f64 = 0.05;
/// Longer series are averaged down to this many points; a slope loses nothing by it.
pub(crate) const POINTS_MAX: usize = 4096;

/// Why samples can't be judged; reads as the reason of an `invalid` verdict.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("only {samples} samples after warm-up; at least {SAMPLES_MIN} are needed")]
    TooFew { samples: usize },
    #[error("sample {row} is not a finite number")]
    NotFinite { row: usize },
    #[error("time runs backwards at {at_s:.1} s: the samples are out of order or the clock was set")]
    Backwards { at_s: f64 },
    #[error("two different counts at {at_s:.1} s: the series mixes two sources")]
    TwoAtOnce { at_s: f64 },
    #[error("samples are missing for {missing_s:.0} of {total_s:.0} s (at most 5 % may be)")]
    Gaps { missing_s: f64, total_s: f64 },
    #[error("the limit {limit} is not a finite number above 0")]
    Limit { limit: f64 },
}

/// The points in order, each moment once, or why they can't be trusted.
pub(crate) fn trusted(points: &[Point]) -> Result<Vec<Point>, Fault> {
    let mut kept: Vec<Point> = Vec::with_capacity(points.len());
    for (row, point) in points.iter().enumerate() {
        if !point.elapsed_s.is_finite() || !point.count.is_finite() {
            return Err(Fault::NotFinite { row });
        }
        // A repeated row is harmless and is dropped; anything else must move forward.
        match kept.last() {
            Some(last) if last == point => {}
            Some(last) if point.elapsed_s < last.elapsed_s => {
                return Err(Fault::Backwards { at_s: point.elapsed_s });
            }
            Some(last) if point.elapsed_s <= last.elapsed_s => {
                return Err(Fault::TwoAtOnce { at_s: point.elapsed_s });
            }
            Some(_) | None => kept.push(*point),
        }
    }
    enough(&kept)?;
    Ok(kept)
}

/// Whether there are enough samples, without holes.
pub(crate) fn enough(points: &[Point]) -> Result<(), Fault> {
    if points.len() < SAMPLES_MIN {
        return Err(Fault::TooFew { samples: points.len() });
    }
    let intervals: Vec<f64> =
        points.iter().zip(points.iter().skip(1)).map(|(a, b)| b.elapsed_s - a.elapsed_s).collect();
    let usual_s = median(&intervals).unwrap_or(0.0);
    let total_s: f64 = intervals.iter().sum();
    let missing_s: f64 =
        intervals.iter().filter(|gap| **gap > GAP_INTERVALS * usual_s).map(|gap| gap - usual_s).sum();
    if missing_s > GAP_SHARE_MAX * total_s {
        return Err(Fault::Gaps { missing_s, total_s });
    }
    Ok(())
}

/// The smallest step that the count makes: 1 for counts, more for what is counted in pages or pairs.
///
/// Taken from the data, so that a verdict does not change with the unit. A series that never moves
/// shows none: whole numbers are then taken for counts, others for as fine as half the limit.
pub(crate) fn quantum(points: &[Point], limit_per_min: f64) -> f64 {
    let mut counts: Vec<f64> = points.iter().map(|point| point.count).collect();
    counts.sort_by(f64::total_cmp);
    let largest = counts.iter().fold(0.0_f64, |largest, count| largest.max(count.abs()));
    let smallest = counts
        .iter()
        .zip(counts.iter().skip(1))
        .map(|(a, b)| b - a)
        // What is smaller than this is an artefact of decimal fractions, no step.
        .filter(|step| *step > largest * 1e-9)
        .fold(f64::INFINITY, f64::min);
    if smallest.is_finite() {
        return smallest;
    }
    if largest.fract() <= 0.0 { 1.0 } else { (limit_per_min / 2.0).min(1.0) }
}

/// At most [`POINTS_MAX`] points.
pub(crate) fn thinned(points: &[Point]) -> Thinned {
    let mut thinned = Thinned::new(POINTS_MAX);
    points.iter().for_each(|point| thinned.push(*point));
    thinned
}

#[cfg(test)]
mod tests {
    use super::{Fault, quantum, trusted};
    use crate::growth::Point;

    fn every_second(n: i32) -> Vec<Point> {
        (0..n).map(|i| Point { elapsed_s: f64::from(i), count: f64::from(i % 3) }).collect()
    }

    #[test]
    fn ordinary_samples_are_trusted() {
        assert_eq!(trusted(&every_second(60)).map(|points| points.len()), Ok(60));
    }

    #[test]
    fn each_fault_is_named() {
        assert_eq!(trusted(&[]), Err(Fault::TooFew { samples: 0 }));
        assert_eq!(trusted(&every_second(29)), Err(Fault::TooFew { samples: 29 }));
        let mut points = every_second(60);
        points[7].count = f64::NAN;
        assert_eq!(trusted(&points), Err(Fault::NotFinite { row: 7 }));
        let mut points = every_second(60);
        points.swap(10, 11);
        assert_eq!(trusted(&points), Err(Fault::Backwards { at_s: 10.0 }));
        let mut points = every_second(60);
        points[11].elapsed_s = 10.0;
        assert_eq!(trusted(&points), Err(Fault::TwoAtOnce { at_s: 10.0 }));
    }

    #[test]
    fn a_repeated_row_is_dropped() {
        let mut points = every_second(60);
        points.insert(20, points[20]);
        assert_eq!(trusted(&points), Ok(every_second(60)));
    }

    #[test]
    fn gaps_over_a_twentieth_of_the_time_are_refused() {
        let mut points = every_second(200);
        points.retain(|p| p.elapsed_s < 50.0 || p.elapsed_s > 58.0);
        assert!(trusted(&points).is_ok());
        points.retain(|p| p.elapsed_s < 50.0 || p.elapsed_s > 62.0);
        assert_eq!(trusted(&points), Err(Fault::Gaps { missing_s: 13.0, total_s: 199.0 }));
    }

    #[test]
    fn the_quantum_follows_the_unit() {
        let scaled = |factor: f64| -> Vec<Point> {
            every_second(40).iter().map(|p| Point { count: p.count * factor, ..*p }).collect()
        };
        for factor in [0.001, 1.0, 4096.0] {
            assert!((quantum(&scaled(factor), 2.0) / factor - 1.0).abs() < 1e-9);
        }
        assert!((quantum(&[Point { elapsed_s: 0.0, count: 61.0 }], 2.0) - 1.0).abs() < 1e-9);
        assert!((quantum(&[Point { elapsed_s: 0.0, count: 0.061 }], 0.002) - 0.001).abs() < 1e-9);
    }
}
