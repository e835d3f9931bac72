//! What chance can hide and what it can make, where a leak's units come one by one.
//!
//! Such units are a Poisson count. A least-squares slope weighs them unequally and so has 6/5 of that
//! count's variance, as if there were that many fewer. Both questions are asked at 1 in 1,000.

use statrs::distribution::{DiscreteCDF, Poisson};

/// Chance of error of either answer.
const ALPHA: f64 = 0.001;
/// So much more variance than a count has a slope through it.
const DISPERSION: f64 = 1.2;
/// From this many units on a rise is doubted. To doubt less would be to ask for less than a count's own
/// noise, and leave every short run undecided.
pub(super) const UNITS_DOUBTED: f64 = 3.0;
/// Beyond so many expected units chance keeps back a tenth of them at most, which no verdict hangs on.
const UNITS_WITHOUT_CHANCE: f64 = 1000.0;

/// Whether so many units are more than a count's own noise.
pub(super) fn doubted(units: f64) -> bool {
    units.round() >= UNITS_DOUBTED
}

/// Whether a leak that is expected to make `expected` units may have shown as few as `units`.
pub(super) fn hides(units: f64, expected: f64) -> bool {
    let seen = whole(units);
    doubted(units / DISPERSION) && arrivals(expected).is_some_and(|arrivals| arrivals.cdf(seen) > ALPHA)
}

/// Whether growth that is expected to make `expected` units may have shown as many as `units`.
pub(super) fn makes(units: f64, expected: f64) -> bool {
    let fewer = whole(units).saturating_sub(1);
    arrivals(expected).is_some_and(|arrivals| arrivals.sf(fewer) > ALPHA)
}

/// `None` where chance plays no part.
fn arrivals(expected: f64) -> Option<Poisson> {
    Poisson::new(expected / DISPERSION).ok().filter(|_| expected < UNITS_WITHOUT_CHANCE)
}

/// Units on the scale of [`arrivals`].
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast saturates at the type's ends, far beyond the units that chance is asked about"
)]
fn whole(units: f64) -> u64 {
    (units / DISPERSION).round() as u64
}

#[cfg(test)]
mod tests {
    use super::{hides, makes};

    #[test]
    fn a_few_units_of_many_expected_are_not_chance() {
        assert!(!hides(10.0, 90.0) && hides(75.0, 90.0));
        assert!(!makes(90.0, 10.0) && makes(15.0, 10.0));
    }

    #[test]
    fn what_is_within_a_counts_own_noise_is_not_doubted() {
        assert!(!hides(2.0, 3.0) && !hides(-4.0, 3.0) && hides(4.0, 9.0));
    }

    #[test]
    fn chance_has_no_say_in_thousands() {
        assert!(!hides(9_900.0, 10_000.0) && !makes(10_100.0, 10_000.0));
    }
}
