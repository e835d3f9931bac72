//! Scales and their ticks: where a value stands, and which values are worth a label.

/// Round steps of time, in seconds.
const TIME_STEPS: [f64; 17] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_200.0, 1_800.0, 3_600.0, 7_200.0, 10_800.0,
    21_600.0, 43_200.0,
];

/// A stretch of values and the stretch of the picture that shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    /// The lowest value.
    pub(super) low: f64,
    /// The highest value.
    pub(super) high: f64,
    /// Where the lowest stands.
    pub(super) from: f64,
    /// Where the highest stands.
    pub(super) to: f64,
}

impl Scale {
    /// Where a value stands.
    pub(super) fn at(&self, value: f64) -> f64 {
        let span = self.high - self.low;
        let share = if span > 0.0 { (value - self.low) / span } else { 0.5 };
        self.from + share * (self.to - self.from)
    }

    /// Whether a value is within.
    pub(super) fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// Round values (steps of 1, 2 or 5, none below `least_step`) within a scale, so that there are at most about so
/// many.
pub(super) fn ticks(scale: &Scale, at_most: f64, least_step: f64) -> Vec<f64> {
    let rough = (scale.high - scale.low) / at_most.max(1.0);
    if !rough.is_finite() || rough <= 0.0 {
        return vec![scale.low];
    }
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough);
    multiples(scale, step.unwrap_or(rough).max(least_step))
}

/// Round moments within a scale of seconds.
pub(super) fn time_ticks(scale: &Scale, at_most: f64) -> Vec<f64> {
    let rough = (scale.high - scale.low) / at_most.max(1.0);
    let step = TIME_STEPS.into_iter().find(|step| *step >= rough);
    multiples(scale, step.unwrap_or_else(|| (rough / 86_400.0).ceil().max(1.0) * 86_400.0))
}

fn multiples(scale: &Scale, step: f64) -> Vec<f64> {
    let first = (scale.low / step).ceil();
    std::iter::successors(Some(first), |index| Some(index + 1.0))
        .map(|index| index * step)
        .take_while(|value| *value <= scale.high)
        .take(100)
        .collect()
}

/// Linear between -1 and 1 and logarithmic beyond, so that 0.02 and 43 are both readable on one axis.
pub(super) fn symlog(value: f64) -> f64 {
    if value.abs() <= 1.0 { value } else { value.signum() * (1.0 + value.abs().log10()) }
}

/// Powers of ten, both ways, that lie between two values, with zero.
pub(super) fn decades(low: f64, high: f64) -> Vec<f64> {
    let powers = [1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0, 1_000_000.0];
    let below = powers.iter().rev().map(|power| -power);
    let all = below.chain([0.0]).chain(powers);
    all.filter(|value| (low..=high).contains(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scale(low: f64, high: f64) -> Scale {
        Scale { low, high, from: 0.0, to: 100.0 }
    }

    #[test]
    fn ticks_are_round_and_whole() {
        assert_eq!(ticks(&scale(-3.0, 132.0), 6.0, 1.0), [0.0, 50.0, 100.0]);
        assert_eq!(ticks(&scale(0.0, 2.0), 6.0, 1.0), [0.0, 1.0, 2.0]);
        assert_eq!(ticks(&scale(0.0, 2.0), 6.0, 0.0), [0.0, 0.5, 1.0, 1.5, 2.0]);
        assert_eq!(time_ticks(&scale(0.0, 280.0), 6.0), [0.0, 60.0, 120.0, 180.0, 240.0]);
        assert_eq!(decades(-0.3, 44.0), [0.0, 1.0, 10.0]);
    }

    #[test]
    fn a_scale_without_extent_puts_its_value_in_the_middle() {
        assert!((scale(5.0, 5.0).at(5.0) - 50.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn ticks_stay_within_the_scale_and_are_few(low in -1e6_f64..1e6, extent in 0.1_f64..1e7) {
            let scale = scale(low, low + extent);
            for found in [ticks(&scale, 6.0, 1.0), ticks(&scale, 6.0, 0.0), time_ticks(&scale, 6.0)] {
                prop_assert!(found.len() <= 8);
                prop_assert!(found.iter().all(|tick| scale.holds(*tick)));
            }
        }

        #[test]
        fn symlog_keeps_the_order(a in -1e6_f64..1e6, b in -1e6_f64..1e6) {
            prop_assert_eq!(a < b, symlog(a) < symlog(b));
        }
    }
}
