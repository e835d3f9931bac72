//! A level that is two: where its halves differ most, and whether that is more than chance. Pure.

use super::{Night, Spread, level};
use crate::growth::slope::critical_value;

/// Chance of a split in an unchanged row, for all the places at which it could be, on each side.
const ALPHA: f64 = 0.0002;
/// By how much the variance of a mean of nights is above that of as many independent ones: a third of a night's noise may
/// be that of the night before, as a machine's neighbours stay; (1 + 1/3) / (1 - 1/3).
const WANDERING: f64 = 2.0;
/// Of what matters, how much the plain means differ at least.
const ROUGH: f64 = 0.5;
/// Nights on each side at least.
const SIDE_MIN: usize = 3;
/// Nights that are looked at.
const NIGHTS_MAX: usize = 60;

/// Where, and which way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Split {
    /// The first night of the second half, as a place in the level.
    pub(super) at: usize,
    /// Whether it lies higher.
    pub(super) upward: bool,
}

/// The split that is surest, where it is sure enough and as large as matters.
pub(super) fn best(
    nights: &[Night],
    places: &[usize],
    earlier: Spread,
    matters: &dyn Fn(f64) -> f64,
) -> Option<Split> {
    let skipped = places.len().saturating_sub(NIGHTS_MAX);
    let places = places.get(skipped..)?;
    let candidates = SIDE_MIN..(places.len() + 1).saturating_sub(SIDE_MIN);
    let tests = candidates.len() as f64;
    let measured = candidates.filter_map(|at| {
        let (before, after) = places.split_at_checked(at)?;
        // Most splits are of nothing: a look at the plain means says so at once.
        let rough = (plain(nights, after) - plain(nights, before)).abs();
        if rough < ROUGH * matters(plain(nights, before)) {
            return None;
        }
        let (before, after) = (level(nights, before.iter().copied())?, level(nights, after.iter().copied())?);
        let spread = before.spread.and(after.spread).and(earlier);
        let shares = 1.0 / before.nights + 1.0 / after.nights;
        let within = before.within / before.nights + after.within / after.nights;
        let error = (spread.variance() * shares * WANDERING).max(within).sqrt();
        let by = after.mean - before.mean;
        let matters = by.abs() >= matters(before.mean);
        matters.then_some((by.abs() / error, Split { at: at + skipped, upward: by > 0.0 }, spread.degrees))
    });
    let (times, split, degrees) = measured.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (times > critical_value(degrees, ALPHA / tests)).then_some(split)
}

fn plain(nights: &[Night], places: &[usize]) -> f64 {
    let sum: f64 = places.iter().filter_map(|place| nights.get(*place)).map(|night| night.value).sum();
    sum / places.len().max(1) as f64
}
