//! Growth that comes in bursts: a leak with each fault, each deployment, each night's job.
//!
//! Between its bursts such a count is flat, so its residuals walk, and the error of a walk of few large steps is so wide
//! that any one change would explain the growth as well. But what would explain it would have to come that often: bursts
//! are events, and events that come by chance are a Poisson count. Bursts of unequal size are worth fewer: as many as
//! equal ones with the same mean and variance of their sum, (sum x)^2 / sum x^2.

use statrs::distribution::{DiscreteCDF, Poisson};

use crate::growth::{Point, median};

/// Into so many parts a series is cut to see bursts in.
const PARTS: usize = 120;
/// With fewer a burst is not told from one change that was to come.
const BURSTS_MIN: f64 = 4.0;
/// A part rises if it does so by more than so many quanta, and so many times what neighbouring parts usually differ by.
const RISE_QUANTA: f64 = 8.0;
const RISE_SPREADS: f64 = 6.0;
/// So much of what rose may have been given back, and have come between the bursts.
const ASIDE_MAX: f64 = 0.1;
/// They may have been over for so much of the series at most: what opens once, step by step, is over then.
const OVER_MAX: f64 = 1.0 / 3.0;

/// What came in bursts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bursts {
    /// As many of equal size say as much.
    pub(crate) number: f64,
    /// The size of each of those.
    pub(crate) size: f64,
}

impl Bursts {
    /// Whether bursts of this size that make `rise` on average would come this often with a chance of more than `alpha`.
    pub(crate) fn come_by_chance(&self, rise: f64, alpha: f64) -> bool {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few")]
        let fewer = (self.number.round() as u64).saturating_sub(1);
        Poisson::new(rise / self.size).is_ok_and(|arrivals| arrivals.sf(fewer) > alpha)
    }
}

/// `None` where the growth did not come in bursts.
pub(crate) fn bursts(points: &[Point], quantum: f64) -> Option<Bursts> {
    let parts: Vec<f64> = points
        .chunks(points.len().div_ceil(PARTS))
        .filter_map(|part| median(&part.iter().map(|point| point.count).collect::<Vec<_>>()))
        .collect();
    let steps: Vec<f64> =
        parts.iter().zip(parts.iter().skip(1)).map(|(before, after)| after - before).collect();
    let spread = median(&steps.iter().map(|step| step.abs()).collect::<Vec<_>>())?;
    let least = (RISE_QUANTA * quantum).max(RISE_SPREADS * spread);
    let rises = |step: &f64| *step > least;
    // Parts that rise one after the other are one burst.
    let sizes: Vec<f64> = steps
        .chunk_by(|before, after| rises(before) == rises(after))
        .filter(|chunk| chunk.first().is_some_and(rises))
        .map(|chunk| chunk.iter().sum())
        .collect();
    let sum: f64 = sizes.iter().sum();
    let number = sum * sum / sizes.iter().map(|size| size * size).sum::<f64>();
    let aside: f64 =
        steps.iter().filter(|step| !rises(step)).map(|step| step.abs()).filter(|step| *step > least).sum();
    let rise = parts.last()? - parts.first()?;
    let over = steps.iter().rev().take_while(|step| !rises(step)).count() as f64 / steps.len() as f64;
    let told = number >= BURSTS_MIN
        && aside <= ASIDE_MAX * sum
        && (rise - sum).abs() <= ASIDE_MAX * sum
        && over <= OVER_MAX;
    told.then(|| Bursts { number, size: sum / number })
}

#[cfg(test)]
mod tests {
    use super::{Bursts, bursts};
    use crate::growth::Point;

    fn series(count: impl Fn(f64) -> f64) -> Vec<Point> {
        (0..720_u32)
            .map(f64::from)
            .map(|s| Point { elapsed_s: s * 5.0, count: (count(s) + (s * 1.7).sin()).round() })
            .collect()
    }

    fn rising(moments: &'static [f64]) -> impl Fn(f64) -> f64 {
        move |s| moments.iter().map(|at| 100.0 * ((s - at) / 14.0).clamp(0.0, 1.0)).sum()
    }

    #[test]
    fn bursts_are_counted_and_measured() {
        let found = bursts(&series(rising(&[60.0, 200.0, 330.0, 500.0, 650.0])), 1.0).expect("bursts");
        assert!((found.number - 5.0).abs() < 0.1 && (found.size - 100.0).abs() < 3.0, "{found:?}");
    }

    #[test]
    fn what_is_over_or_given_back_or_one_long_rise_is_none() {
        for (what, points) in [
            ("over for half of the time", series(rising(&[40.0, 110.0, 180.0, 250.0, 340.0]))),
            ("two", series(rising(&[300.0, 600.0]))),
            ("a saw", series(|s| 100.0 * (s / 140.0).fract())),
            ("a steady rise", series(|s| s)),
            ("a queue", series(|s| s.min(400.0))),
        ] {
            assert_eq!(bursts(&points, 1.0), None, "{what}");
        }
    }

    #[test]
    fn five_bursts_are_chance_where_three_are_expected_and_not_where_half_a_one_is() {
        let five = Bursts { number: 5.0, size: 100.0 };
        assert!(five.come_by_chance(300.0, 0.05) && !five.come_by_chance(50.0, 0.001));
    }
}
