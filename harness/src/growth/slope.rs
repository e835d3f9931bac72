//! Growth per minute with an interval that holds for autocorrelated counts.
//!
//! The estimate is the least-squares slope against time, so that unequal spacing needs no care. Its
//! standard error is the equal-weighted cosine estimate (EWC) with Student's t critical values, as
//! Lazarus, Lewis, Stock & Watson recommend in "HAR Inference: Recommendations for Practice"
//! (Journal of Business & Economic Statistics 36(4), 2018, pages 541-559): project the scores onto
//! the first `nu` cosines, take the mean square. The textbook error of a slope takes each sample for
//! new information; a count that is still what it was a second ago is not, and such an interval is
//! several times too narrow.
//!
//! Three things are added.
//!
//! - The cosines must be slow against the count's own memory, or they measure less variance than
//!   matters: `nu` is capped by the memory that the residuals show.
//! - A count that remembers for as long as the run leaves too few cosines for any conclusion, and a
//!   leak whose units arrive by chance is such a count: its residuals are a random walk. So a second
//!   error is computed for a random walk from the increments between blocks. It is too wide for any count that
//!   forgets, as those increments then hold noise that does not add up; so both hold,
//!   and the narrower one is taken.
//! - Counts come in quanta: a rounding error's variance is always added, so that a constant series
//!   has an interval.

use std::f64::consts::PI;

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::growth::Point;

/// Blocks between which a random walk's steps are measured: enough for an error of its own, and long
/// enough that noise within them averages out.
const BLOCKS: usize = 20;
/// With fewer cosines the run is not even some ten times as long as the noise takes to forget (twice its
/// memory), and an error measured from forgetting noise is too narrow too often.
const COSINES_MIN: f64 = 4.0;
/// How many memories the sum of autocorrelations runs over. Three leave out a twentieth of an exponential
/// memory; Sokal's five would leave out less and add more noise than that, in runs as short as ours.
const WINDOW: f64 = 3.0;
/// Two regressors of which this share of the variance is their own at most are one: what is left is rounding.
const ALIKE: f64 = 1e-9;
/// Chance of error at which the two errors are compared.
const ALPHA: f64 = 0.01;

/// A slope per minute with its uncertainty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    /// The estimate, per minute.
    pub per_min: f64,
    /// Its standard error, per minute.
    pub error_per_min: f64,
    /// Degrees of freedom of that error.
    pub degrees: f64,
}

impl Growth {
    /// What has to be added and taken away for a one-sided interval that errs with chance `alpha`.
    #[must_use]
    pub fn half_width(&self, alpha: f64) -> f64 {
        critical_value(self.degrees, alpha) * self.error_per_min
    }

    /// The growth is slower than this only with chance `alpha`.
    #[must_use]
    pub fn low(&self, alpha: f64) -> f64 {
        self.per_min - self.half_width(alpha)
    }

    /// The growth is faster than this only with chance `alpha`.
    #[must_use]
    pub fn high(&self, alpha: f64) -> f64 {
        self.per_min + self.half_width(alpha)
    }
}

/// The value that Student's t exceeds with chance `alpha`.
pub(crate) fn critical_value(degrees: f64, alpha: f64) -> f64 {
    StudentsT::new(0.0, 1.0, degrees).map_or(f64::INFINITY, |t| t.inverse_cdf(1.0 - alpha))
}

/// The straight line through all points. `None` for fewer than three points or no passage of time.
///
/// `quantum` is the smallest step that the count can make.
#[must_use]
pub fn growth(points: &[Point], quantum: f64) -> Option<Growth> {
    let (minutes, counts) = centred(points);
    alone(&counts, &minutes, quantum)
}

/// A regressor's multiple in a response, both about their means.
pub(crate) fn alone(response: &[f64], regressor: &[f64], quantum: f64) -> Option<Growth> {
    let multiple = coefficient(regressor, response)?;
    let residuals = without(response, regressor, multiple);
    let cosines = cosines(&residuals, 2.0);
    Some(estimate(multiple, regressor, &residuals, (2.0, cosines, quantum)))
}

/// The multiples of several regressors in a response, each beside the others, all about their means. `None` where one
/// regressor follows from the others.
pub(crate) fn side_by_side(response: &[f64], regressors: &[&[f64]], quantum: f64) -> Option<Vec<Growth>> {
    // Frisch, Waugh and Lovell: a coefficient of a joint regression is that of a simple one on the
    // part of its regressor which the others don't explain. So one formula for errors serves all.
    let own = (0..regressors.len()).map(|place| own_part(regressors, place)).collect::<Option<Vec<_>>>()?;
    let multiples = own.iter().map(|own| coefficient(own, response)).collect::<Option<Vec<f64>>>()?;
    let explained = regressors.iter().zip(&multiples);
    let residuals =
        explained.fold(response.to_vec(), |left, (regressor, multiple)| without(&left, regressor, *multiple));
    let fitted = regressors.len() as f64 + 1.0;
    let cosines = cosines(&residuals, fitted);
    let each = own.iter().zip(multiples);
    Some(
        each.map(|(own, multiple)| estimate(multiple, own, &residuals, (fitted, cosines, quantum))).collect(),
    )
}

/// What of one regressor the others don't explain.
fn own_part(regressors: &[&[f64]], place: usize) -> Option<Vec<f64>> {
    let others = regressors.iter().enumerate().filter(|(other, _)| *other != place);
    let mut apart: Vec<Vec<f64>> = Vec::new();
    let all = others.map(|(_, other)| *other).chain(regressors.get(place).copied());
    for regressor in all {
        let own = apart.iter().try_fold(regressor.to_vec(), |own, before| {
            Some(without(&own, before, coefficient(before, &own)?))
        })?;
        if square_sum(&own) <= ALIKE * square_sum(regressor) {
            return None;
        }
        apart.push(own);
    }
    apart.pop()
}

/// A straight line beside shapes: what growth is left when the best multiple of each is taken out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Beside {
    /// The growth that is left, per minute.
    pub(crate) growth: Growth,
    /// The shapes' multiples, with their errors, in counts.
    pub(crate) sizes: Vec<Growth>,
    /// What is left of the counts, in squares.
    pub(crate) squares_left: f64,
}

/// As [`growth`], with shapes (one value per point each) as further regressors.
pub(crate) fn growth_beside(points: &[Point], shapes: &[Vec<f64>], quantum: f64) -> Option<Beside> {
    let (minutes, counts) = centred(points);
    let shapes: Vec<Vec<f64>> = shapes.iter().map(|shape| about_mean(shape.iter().copied())).collect();
    let regressors: Vec<&[f64]> =
        std::iter::once(minutes.as_slice()).chain(shapes.iter().map(Vec::as_slice)).collect();
    let found = side_by_side(&counts, &regressors, quantum)?;
    let taken = regressors.iter().zip(&found);
    let left = taken.fold(counts, |left, (part, multiple)| without(&left, part, multiple.per_min));
    let mut found = found.into_iter();
    Some(Beside { growth: found.next()?, sizes: found.collect(), squares_left: square_sum(&left) })
}

/// Time in minutes and counts, both about their means.
pub(crate) fn centred(points: &[Point]) -> (Vec<f64>, Vec<f64>) {
    // From the first point, so that a clock with a far origin loses no digits.
    let origin_s = points.first().map_or(0.0, |point| point.elapsed_s);
    let origin = points.first().map_or(0.0, |point| point.count);
    let minutes = about_mean(points.iter().map(|point| (point.elapsed_s - origin_s) / 60.0));
    (minutes, about_mean(points.iter().map(|point| point.count - origin)))
}

pub(crate) fn about_mean(values: impl ExactSizeIterator<Item = f64> + Clone) -> Vec<f64> {
    let mean = values.clone().sum::<f64>() / values.len() as f64;
    values.map(|value| value - mean).collect()
}

/// Least-squares multiple of `regressor` in `response`, both about their means.
pub(crate) fn coefficient(regressor: &[f64], response: &[f64]) -> Option<f64> {
    let own = square_sum(regressor);
    let largest = regressor.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    if regressor.len() < 3 || largest <= f64::EPSILON {
        return None;
    }
    Some(dot(regressor, response) / own)
}

/// Sum of products.
pub(crate) fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

/// `values` less a multiple of `part`.
pub(crate) fn without(values: &[f64], part: &[f64], multiple: f64) -> Vec<f64> {
    values.iter().zip(part).map(|(value, part)| value - multiple * part).collect()
}

/// Sum of squares.
pub(crate) fn square_sum(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum()
}

/// Adds the error to a coefficient, from its own part of its regressor and the regression's residuals:
/// the narrower of the two that hold. `fitted` is the number of coefficients of the regression, `cosines` what its residuals
/// allow.
fn estimate(
    coefficient: f64,
    regressor: &[f64],
    residuals: &[f64],
    (fitted, cosines, quantum): (f64, f64, f64),
) -> Growth {
    let own = square_sum(regressor);
    let rounding = quantum * quantum / 12.0 / own;
    let with = |(variance, degrees): (f64, f64)| Growth {
        per_min: coefficient,
        error_per_min: (variance / (own * own) + rounding).sqrt(),
        degrees,
    };
    let forgetting = with(cosine_variance(regressor, residuals, cosines));
    let walking = with(walk_variance(regressor, residuals, fitted));
    let forgets = forgetting.degrees >= COSINES_MIN;
    if forgets && forgetting.half_width(ALPHA) < walking.half_width(ALPHA) { forgetting } else { walking }
}

/// Variance of the sum of the scores for residuals that forget, with its degrees of freedom: EWC.
fn cosine_variance(regressor: &[f64], residuals: &[f64], cosines: f64) -> (f64, f64) {
    let scores: Vec<f64> = regressor.iter().zip(residuals).map(|(x, residual)| x * residual).collect();
    (long_run_sum_variance(&scores, cosines), cosines)
}

/// The same for residuals that walk. With steps of variance s per sample, the sum of x e is the sum of
/// the steps, each times the sum of the x that follow it. The means of neighbouring blocks of h samples
/// of a random walk differ with variance 2/3 h s.
fn walk_variance(regressor: &[f64], residuals: &[f64], fitted: f64) -> (f64, f64) {
    let block = residuals.len().div_ceil(BLOCKS);
    let means: Vec<f64> =
        residuals.chunks_exact(block).map(|chunk| chunk.iter().sum::<f64>() / block as f64).collect();
    let steps: f64 = means.iter().zip(means.iter().skip(1)).map(|(a, b)| (b - a).powi(2)).sum();
    let degrees = (means.len() as f64 - 1.0 - fitted).max(1.0);
    let per_sample = steps / degrees / (2.0 / 3.0 * block as f64);
    let following = regressor.iter().rev().scan(0.0, |sum, x| {
        *sum += x;
        Some(*sum * *sum)
    });
    (per_sample * following.sum::<f64>(), degrees)
}

/// Variance of the sum of the scores, by the mean square of their first `cosines` projections.
///
/// Each cosine follows from the two of lower order at the same moment, cos(k x) = 2 cos(x) cos((k - 1) x) - cos((k - 2) x):
/// an error that grows with the square of the order, and the orders are few hundred.
fn long_run_sum_variance(scores: &[f64], cosines: f64) -> f64 {
    let n = scores.len() as f64;
    let first: Vec<f64> = (0..scores.len()).map(|i| (PI / n * (i as f64 + 0.5)).cos()).collect();
    let (mut before, mut at) = (vec![1.0; scores.len()], first.clone());
    let mut sum = 0.0;
    let mut order = 1.0;
    while order <= cosines {
        let projection = dot(scores, &at);
        sum += 2.0 / n * projection * projection;
        for ((before, at), first) in before.iter_mut().zip(&at).zip(&first) {
            *before = 2.0 * first * at - *before;
        }
        std::mem::swap(&mut before, &mut at);
        order += 1.0;
    }
    n * sum / cosines
}

/// How many cosines: 0.4 n^(2/3) by the paper, fewer where the residuals remember for long.
///
/// Noise that forgets with time constant `m` samples has a spectrum that is flat up to about
/// frequency 1/m. Cosine `j` of `n` samples has frequency pi j / n. Kept to half of that, the mean
/// over the cosines is at most 8 % below the variance that is sought: j <= n / (2 pi m).
fn cosines(residuals: &[f64], fitted: f64) -> f64 {
    let n = residuals.len() as f64;
    let by_memory = n / (2.0 * PI * memory_samples(residuals, fitted));
    cosines_by_length(residuals.len()).min(by_memory.floor()).max(1.0)
}

/// How many cosines so many samples have at most.
pub(crate) fn cosines_by_length(samples: usize) -> f64 {
    (0.4 * (samples as f64).powf(2.0 / 3.0)).round()
}

/// Integrated autocorrelation time m in samples, summed up to the first lag that is [`WINDOW`] times the
/// sum so far (Sokal, "Monte Carlo Methods in Statistical Mechanics", section 3).
///
/// Residuals remember less than the noise did: each fitted coefficient has taken about 2m/n of the
/// variance with it, at every lag of the window. So the sum s is m - WINDOW s * fitted * 2m/n, which is
/// solved for m. Where the run is too short for that, the memory is without bound.
fn memory_samples(residuals: &[f64], fitted: f64) -> f64 {
    let variance = square_sum(residuals);
    let mut sum = 0.5;
    for lag in 1..residuals.len() / 4 {
        if variance <= f64::EPSILON || lag as f64 >= WINDOW * sum {
            break;
        }
        sum += dot(residuals, residuals.get(lag..).unwrap_or_default()) / variance;
    }
    let sum = sum.max(0.5);
    let left = 1.0 - 2.0 * WINDOW * fitted * sum / residuals.len() as f64;
    if left > 0.0 { sum / left } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::{Growth, critical_value, growth, growth_beside, memory_samples};
    use crate::growth::Point;

    fn series(count: impl FnMut(f64) -> f64) -> Vec<Point> {
        let mut count = count;
        (0..180).map(|i| Point { elapsed_s: f64::from(i), count: count(f64::from(i)) }).collect()
    }

    #[test]
    fn cosines_by_recurrence_are_the_cosines() {
        let scores: Vec<f64> =
            (0..4096_u32).map(|i| (f64::from(i) * 0.37).sin() + f64::from(i % 7)).collect();
        let n = scores.len() as f64;
        let squares = (1..=300_u32).map(|order| {
            let step = PI * f64::from(order) / n;
            let at = |i: usize| (step * (i as f64 + 0.5)).cos();
            scores.iter().enumerate().map(|(i, score)| score * at(i)).sum::<f64>().powi(2)
        });
        let direct = 2.0 * squares.sum::<f64>() / 300.0;
        let found = super::long_run_sum_variance(&scores, 300.0);
        assert!((found / direct - 1.0).abs() < 1e-9, "{found} {direct}");
    }

    #[test]
    fn critical_values_are_those_of_the_printed_tables() {
        // Any textbook's table of Student's t.
        for (degrees, alpha, expected) in
            [(1.0, 0.05, 6.314), (2.0, 0.001, 22.327), (10.0, 0.05, 1.812), (13.0, 0.001, 3.852)]
        {
            assert!((critical_value(degrees, alpha) - expected).abs() < 1e-3, "{degrees} {alpha}");
        }
        assert!(critical_value(13.0, 1e-5) > 6.0 && critical_value(13.0, 1e-5) < 7.0);
    }

    #[test]
    fn a_straight_line_has_its_own_slope() {
        let line = growth(&series(|s| 40.0 + s / 6.0), 1.0).expect("enough points");
        assert!((line.per_min - 10.0).abs() < 1e-9, "{line:?}");
    }

    #[test]
    fn unequal_spacing_does_not_bend_a_line() {
        let mut points = series(|s| 40.0 + s / 6.0);
        points.retain(|p| p.elapsed_s < 60.0 || p.elapsed_s % 5.0 < 0.5);
        let line = growth(&points, 1.0).expect("enough points");
        assert!((line.per_min - 10.0).abs() < 1e-9, "{line:?}");
    }

    #[test]
    fn a_constant_series_has_an_interval_with_a_width() {
        let flat = growth(&series(|_| 61.0), 1.0).expect("enough points");
        assert!(flat.per_min.abs() < 1e-12);
        // Rounding alone: 1 / (T sqrt n) per minute for a run of T minutes and n samples.
        let expected = 1.0 / (3.0 * 180.0_f64.sqrt());
        assert!((flat.error_per_min - expected).abs() < expected / 50.0, "{flat:?}");
    }

    #[test]
    fn a_step_beside_a_line_is_told_from_it() {
        let step: Vec<f64> = (0..180).map(|i| if i < 70 { 0.0 } else { 1.0 }).collect();
        let points = series(|s| s / 20.0 + if s < 70.0 { 0.0 } else { 12.0 });
        let beside = growth_beside(&points, &[step], 1.0).expect("enough points");
        assert!((beside.growth.per_min - 3.0).abs() < 1e-9, "{beside:?}");
        assert!((beside.sizes[0].per_min - 12.0).abs() < 1e-9, "{beside:?}");
    }

    #[test]
    fn noise_that_remembers_widens_the_interval() {
        // The same values, once alternating and once in blocks of ten seconds.
        let quick = growth(&series(|s| if s % 2.0 < 1.0 { 0.0 } else { 4.0 }), 1.0).expect("points");
        let slow = growth(&series(|s| if s % 20.0 < 10.0 { 0.0 } else { 4.0 }), 1.0).expect("points");
        assert!(slow.half_width(0.05) > 3.0 * quick.half_width(0.05), "{slow:?} {quick:?}");
    }

    #[test]
    fn memory_is_half_a_sample_where_nothing_is_remembered_and_unbounded_where_nothing_is_forgotten() {
        let alternating: Vec<f64> = (0..1000).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        assert!((memory_samples(&alternating, 2.0) - 0.5).abs() < 0.01);
        assert!(memory_samples(&[1.0; 100], 2.0).is_infinite());
    }

    #[test]
    fn a_random_walk_has_the_error_of_a_random_walk() {
        // Steps of a fixed scramble of -1, 0 and 1; a walk's slope has variance 6/5 s^2 / T.
        let mut state = 7_u32;
        let mut at = 0.0;
        let walk = series(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            at += f64::from(state >> 16 & 3).min(2.0) - 1.0;
            at
        });
        let found = growth(&walk, 1.0).expect("enough points");
        let expected = (1.2 * 0.75 * 60.0 / 3.0_f64).sqrt();
        assert!(found.error_per_min > expected / 2.0, "{found:?} {expected}");
        assert!(found.error_per_min < expected * 2.0, "{found:?} {expected}");
    }

    #[test]
    fn too_few_points_or_no_time_give_no_growth() {
        let two: Vec<Point> = series(|s| s).into_iter().take(2).collect();
        assert_eq!(growth(&two, 1.0), None);
        let still = [Point { elapsed_s: 5.0, count: 1.0 }; 10];
        assert_eq!(growth(&still, 1.0), None);
    }

    #[test]
    fn an_interval_is_symmetric_and_wider_where_it_must_err_less() {
        let growth = Growth { per_min: 1.0, error_per_min: 0.5, degrees: 10.0 };
        assert!((growth.high(0.05) + growth.low(0.05) - 2.0).abs() < 1e-12);
        assert!(growth.half_width(0.001) > growth.half_width(0.05));
    }
}
