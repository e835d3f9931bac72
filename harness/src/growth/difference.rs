//! Two targets' growth compared, from their slopes and never from pooled samples.
//!
//! The targets of one run see the same containers at the same time, but each has its own noise; the
//! difference of two slopes has the root of the sum of their squared errors, and the degrees of
//! freedom of Welch and Satterthwaite. It is the comparison of one run: what varies between runs is not in it.

use crate::growth::slope::Growth;
use crate::result::{Estimate, ResourceResult};

/// Fewer times as fast are said in counts: "1.3 times faster" is read as more than it is.
const TIMES_MIN: f64 = 2.0;
/// Chance of error on each side of the interval that a judgement reports.
const ALPHA_REPORTED: f64 = 0.05;

/// How much faster the first of two targets grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The first's growth less the second's.
    pub growth: Growth,
    /// Lower end of its interval, per minute.
    pub ci_low: f64,
    /// Upper end of its interval, per minute.
    pub ci_high: f64,
    /// What that interval carries.
    pub relation: Relation,
}

/// What can be said of two targets' growth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Relation {
    /// The first grows faster.
    FirstFaster(Lead),
    /// The second grows faster.
    SecondFaster(Lead),
    /// Neither is seen to grow faster.
    Alike {
        /// They are no further apart than this, per minute.
        within_per_min: f64,
    },
}

/// How much faster at least.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lead {
    /// Counts per minute.
    pub per_min: f64,
    /// Times as fast, where it is at least twice; `None` also where the slower one may not grow at all.
    pub times: Option<f64>,
}

/// Compares two targets; each side of the interval errs with chance `alpha`.
#[must_use]
pub fn difference(first: &Growth, second: &Growth, alpha: f64) -> Difference {
    let growth = subtract(first, second);
    let (ci_low, ci_high) = (growth.low(alpha), growth.high(alpha));
    let relation = if ci_low > 0.0 {
        Relation::FirstFaster(Lead { per_min: ci_low, times: times(first, second, alpha) })
    } else if ci_high < 0.0 {
        Relation::SecondFaster(Lead { per_min: -ci_high, times: times(second, first, alpha) })
    } else {
        Relation::Alike { within_per_min: ci_high.max(-ci_low) }
    };
    Difference { growth, ci_low, ci_high, relation }
}

/// A growth with an error as wide as its reported interval: beside a change whose moment was searched for, that
/// interval is wider than the error alone.
#[must_use]
pub fn reported(found: &ResourceResult) -> Option<Growth> {
    let Estimate { per_min, error_per_min, degrees } = found.estimate?;
    let growth = Growth { per_min, error_per_min, degrees };
    let reported = found.judgement.ci_high.map_or(0.0, |high| high - per_min);
    let wider = (reported / growth.half_width(ALPHA_REPORTED)).max(1.0);
    let growth = Growth { error_per_min: error_per_min * wider, ..growth };
    (growth.per_min.is_finite() && growth.error_per_min.is_finite()).then_some(growth)
}

fn subtract(first: &Growth, second: &Growth) -> Growth {
    let (a, b) = (first.error_per_min.powi(2), second.error_per_min.powi(2));
    let pooled = (a + b).powi(2) / (a * a / first.degrees + b * b / second.degrees);
    Growth {
        per_min: first.per_min - second.per_min,
        error_per_min: (a + b).sqrt(),
        // Two errors of exactly zero leave nothing to weigh.
        degrees: if pooled.is_finite() { pooled } else { first.degrees.min(second.degrees) },
    }
}

/// The slow end of the one against the fast end of the other, each with half of the error.
fn times(fast: &Growth, slow: &Growth, alpha: f64) -> Option<f64> {
    let most = slow.high(alpha / 2.0);
    let times = fast.low(alpha / 2.0) / most;
    (most > 0.0 && times >= TIMES_MIN).then_some(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALPHA: f64 = 0.05;

    fn growth(per_min: f64, error_per_min: f64) -> Growth {
        Growth { per_min, error_per_min, degrees: 12.0 }
    }

    #[test]
    fn a_leak_is_told_from_a_flat_target_in_either_order() {
        let (leak, flat) = (growth(43.0, 0.4), growth(0.1, 0.15));
        let (ab, ba) = (difference(&leak, &flat, ALPHA), difference(&flat, &leak, ALPHA));
        let Relation::FirstFaster(lead) = ab.relation else { panic!("{ab:?}") };
        assert_eq!(ba.relation, Relation::SecondFaster(lead));
        assert_eq!(lead.times.map(f64::floor), Some(98.0));
        assert!((ab.ci_low + ba.ci_high).abs() < 1e-9);
    }

    #[test]
    fn the_error_of_a_difference_is_the_root_of_the_squares() {
        let found = difference(&growth(5.0, 0.3), &growth(1.0, 0.4), ALPHA);
        assert!((found.growth.error_per_min - 0.5).abs() < 1e-12);
        assert!((found.growth.per_min - 4.0).abs() < 1e-12);
        assert!(found.growth.degrees > 12.0 && found.growth.degrees < 24.0);
    }

    #[test]
    fn two_flat_targets_can_not_be_told_apart() {
        let found = difference(&growth(0.1, 0.2), &growth(-0.1, 0.2), ALPHA);
        assert_eq!(found.relation, Relation::Alike { within_per_min: found.ci_high });
    }

    #[test]
    fn a_small_certain_difference_has_no_times() {
        let found = difference(&growth(5.0, 0.1), &growth(4.0, 0.1), ALPHA);
        let Relation::FirstFaster(Lead { per_min, times: None }) = found.relation else {
            panic!("{found:?}")
        };
        assert!(per_min > 0.7 && per_min < 0.8, "{per_min}");
        // Nothing is some times as fast as what may shrink.
        let found = difference(&growth(43.0, 0.1), &growth(-4.0, 0.1), ALPHA);
        assert!(matches!(found.relation, Relation::FirstFaster(Lead { times: None, .. })), "{found:?}");
    }

    #[test]
    fn a_stricter_chance_of_error_claims_less() {
        let (a, b) = (growth(1.0, 0.3), growth(0.0, 0.3));
        assert!(matches!(difference(&a, &b, 0.05).relation, Relation::FirstFaster(_)));
        assert!(matches!(difference(&a, &b, 0.005).relation, Relation::Alike { .. }));
    }
}
