//! Two targets' growth compared, from their slopes and never from pooled samples.
//!
//! The targets of one run see the same containers at the same time, but each has its own noise; the
//! difference of two slopes has the root of the sum of their squared errors, and the degrees of
//! freedom of Welch and Satterthwaite. It is the comparison of one run: what varies between runs is not in it.

use crate::growth::slope::Growth;

/// Chance of error on each side of the difference's interval.
const ALPHA: f64 = 0.05;

/// How much faster the first of two targets grows.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The first's growth less the second's.
    pub growth: Growth,
    /// Lower end of its 90 % interval, per minute.
    pub ci_low: f64,
    /// Upper end of its 90 % interval, per minute.
    pub ci_high: f64,
    /// For people.
    pub sentence: String,
}

/// A target's name and its growth.
pub type Named<'a> = (&'a str, &'a Growth);

/// Compares two targets.
#[must_use]
pub fn difference(first: Named<'_>, second: Named<'_>) -> Difference {
    let growth = subtract(first.1, second.1);
    let (ci_low, ci_high) = (growth.low(ALPHA), growth.high(ALPHA));
    let sentence = if ci_low > 0.0 {
        faster(first, second, ci_low)
    } else if ci_high < 0.0 {
        faster(second, first, -ci_high)
    } else {
        let widest = ci_high.max(-ci_low);
        format!("{} and {} can't be told apart (less than {widest:.2} per minute apart)", first.0, second.0)
    };
    Difference { growth, ci_low, ci_high, sentence }
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

/// "leaks at least N times faster": the slow end of the one against the fast end of the other, each
/// with half of the error.
fn faster((quick, fast): Named<'_>, (calm, slow): Named<'_>, apart: f64) -> String {
    let most = slow.high(ALPHA / 2.0);
    let times = fast.low(ALPHA / 2.0) / most;
    if most <= 0.0 || times < 2.0 {
        return format!("{quick} grows faster than {calm} by at least {apart:.2} per minute");
    }
    let calm_grows = if slow.low(ALPHA) > 0.0 { "" } else { ", which shows no growth" };
    format!("{quick} leaks at least {:.0} times faster than {calm}{calm_grows}", times.floor())
}

#[cfg(test)]
mod tests {
    use super::difference;
    use crate::growth::slope::Growth;

    fn growth(per_min: f64, error_per_min: f64) -> Growth {
        Growth { per_min, error_per_min, degrees: 12.0 }
    }

    #[test]
    fn a_leak_is_told_from_a_flat_target_in_either_order() {
        let (leak, flat) = (growth(43.0, 0.4), growth(0.1, 0.15));
        let ab = difference(("archived", &leak), ("hybrid", &flat));
        let ba = difference(("hybrid", &flat), ("archived", &leak));
        assert_eq!(ab.sentence, "archived leaks at least 98 times faster than hybrid, which shows no growth");
        assert_eq!(ab.sentence, ba.sentence);
        assert!((ab.ci_low + ba.ci_high).abs() < 1e-9);
    }

    #[test]
    fn the_error_of_a_difference_is_the_root_of_the_squares() {
        let found = difference(("a", &growth(5.0, 0.3)), ("b", &growth(1.0, 0.4)));
        assert!((found.growth.error_per_min - 0.5).abs() < 1e-12);
        assert!((found.growth.per_min - 4.0).abs() < 1e-12);
        assert!(found.growth.degrees > 12.0 && found.growth.degrees < 24.0);
    }

    #[test]
    fn two_flat_targets_can_not_be_told_apart() {
        let found = difference(("pool", &growth(0.1, 0.2)), ("hybrid", &growth(-0.1, 0.2)));
        assert!(found.sentence.starts_with("pool and hybrid can't be told apart (less than "), "{found:?}");
    }

    #[test]
    fn a_small_certain_difference_is_said_in_counts_not_in_times() {
        let found = difference(("a", &growth(5.0, 0.1)), ("b", &growth(4.0, 0.1)));
        assert!(found.sentence.starts_with("a grows faster than b by at least 0.7"), "{found:?}");
    }
}
