//! How sure the mean of some runs is: from what each knows of itself, and from how they differ. Pure.

use crate::growth::slope::Growth;
use crate::result::Measured;

/// The mean of the runs' values.
pub(super) fn mean(runs: &[Measured]) -> Option<f64> {
    (!runs.is_empty()).then(|| runs.iter().map(|run| run.value).sum::<f64>() / runs.len() as f64)
}

/// Both sides' means with their errors; the wider of what the runs know of themselves and of how they differ, as each
/// leaves out something that the other has. `None` where neither is known.
///
/// How runs differ is pooled over both sides: so one candidate is held against several runs of a baseline with the
/// error of a prediction, though alone it shows no spread.
pub(super) fn spread(baseline: &[Measured], candidate: &[Measured], alpha: f64) -> Option<(Growth, Growth)> {
    let within = within(baseline).zip(within(candidate));
    let between = between(&[baseline, candidate]);
    let between = between.and_then(|between| Some((on(between, baseline)?, on(between, candidate)?)));
    let width = |(one, other): &(Growth, Growth)| one.half_width(alpha).hypot(other.half_width(alpha));
    match (within, between) {
        (Some(within), Some(between)) => {
            Some(if width(&within) >= width(&between) { within } else { between })
        }
        (within, between) => within.or(between),
    }
}

/// The same of one side alone.
pub(super) fn one(runs: &[Measured], alpha: f64) -> Option<Growth> {
    let within = within(runs);
    let between = between(&[runs]).and_then(|between| on(between, runs));
    match (within, between) {
        (Some(within), Some(between)) => {
            Some(if within.half_width(alpha) >= between.half_width(alpha) { within } else { between })
        }
        (within, between) => within.or(between),
    }
}

/// The mean of estimates that each know their own error: Welch and Satterthwaite's degrees of freedom.
fn within(runs: &[Measured]) -> Option<Growth> {
    let errors: Option<Vec<_>> = runs.iter().map(|run| run.error).collect();
    let errors = errors.filter(|errors| !errors.is_empty())?;
    let squares = || errors.iter().map(|error| error.standard.powi(2));
    let sum: f64 = squares().sum();
    let parts: f64 = errors.iter().map(|error| error.standard.powi(4) / error.degrees).sum();
    let fewest = errors.iter().map(|error| error.degrees).fold(f64::INFINITY, f64::min);
    let degrees = sum.powi(2) / parts;
    Some(Growth {
        per_min: mean(runs)?,
        error_per_min: sum.sqrt() / runs.len() as f64,
        // Errors of exactly zero leave nothing to weigh.
        degrees: if degrees.is_finite() { degrees } else { fewest },
    })
}

/// The spread of single runs about their side's mean, and its degrees of freedom.
fn between(sides: &[&[Measured]]) -> Option<(f64, f64)> {
    let squares = sides.iter().filter_map(|runs| {
        let center = mean(runs)?;
        Some(runs.iter().map(|run| (run.value - center).powi(2)).sum::<f64>())
    });
    let degrees: usize = sides.iter().map(|runs| runs.len().saturating_sub(1)).sum();
    (degrees > 0).then(|| ((squares.sum::<f64>() / degrees as f64).sqrt(), degrees as f64))
}

/// A side's mean with an error from that spread.
fn on((spread, degrees): (f64, f64), runs: &[Measured]) -> Option<Growth> {
    Some(Growth { per_min: mean(runs)?, error_per_min: spread / (runs.len() as f64).sqrt(), degrees })
}
