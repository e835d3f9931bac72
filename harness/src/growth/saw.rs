//! Saws: counts that rise for minutes and are given back at once, again and again.
//!
//! What piles up between two releases is no leak, and hides one. Each tooth begins at the floor, so a count is a
//! line in time, which is the growth, and one in the time since the last release, which is the tooth. Both are fitted
//! together (a leak lifts each floor above the one before, and is none of the tooth), and the tooth is taken out:
//! what is left is the course of the floors, seen at every moment and not at the few where the floor is reached.

use crate::growth::slope::{centred, coefficient, growth_beside, square_sum, without};
use crate::growth::{Point, median};

/// So many samples on each side of a release tell its height; their medians don't see a spike.
const SIDE: usize = 3;
/// A release gives back more than so many quanta, and more than so many times what neighbouring samples differ by.
const RELEASE_QUANTA: f64 = 8.0;
const RELEASE_SPREADS: f64 = 6.0;
/// Three whole teeth lie between four releases. With fewer a tooth is not known from the growth.
const RELEASES_MIN: usize = 4;
/// Teeth are taken out that leave no more than this share of the squared residuals of a straight line.
const LEFT_MAX: f64 = 0.25;
/// Chance that the tooth's pace is none.
const ALPHA: f64 = 0.001;

/// The points less their teeth; `None` where there are none.
pub(crate) fn without_teeth(points: &[Point], quantum: f64) -> Option<Vec<Point>> {
    let releases = releases(points, quantum);
    if releases.len() < RELEASES_MIN {
        return None;
    }
    let ages_min = ages_min(points, &releases);
    let first = releases.first()?.at;
    let (whole, whole_ages) = (points.get(first..)?, ages_min.get(first..)?);
    let tooth = growth_beside(whole, whole_ages, quantum)?.size;
    if tooth.low(ALPHA) <= 0.0 {
        return None;
    }
    // What the first release gave back says how old the tooth was that the samples begin in.
    let begun_min = releases.first()?.height / tooth.per_min - ages_min.get(first.checked_sub(1)?)?;
    let less = |(at, (point, age_min)): (usize, (&Point, &f64))| {
        let age_min = if at < first { age_min + begun_min } else { *age_min };
        Point { count: point.count - tooth.per_min * age_min, ..*point }
    };
    let left: Vec<Point> = points.iter().zip(&ages_min).enumerate().map(less).collect();
    (residue(&left)? <= LEFT_MAX * residue(points)?).then_some(left)
}

/// A fall from one sample to the next.
struct Release {
    /// The first sample after it.
    at: usize,
    height: f64,
}

/// Where the count falls at once by far more than it usually moves.
fn releases(points: &[Point], quantum: f64) -> Vec<Release> {
    let level = |side: &[Point]| median(&side.iter().map(|point| point.count).collect::<Vec<_>>());
    let falls: Vec<f64> = points
        .windows(2 * SIDE)
        .filter_map(|both| {
            let (before, after) = both.split_at(SIDE);
            Some(level(before)? - level(after)?)
        })
        .collect();
    let usual: Vec<f64> = falls.iter().map(|fall| fall.abs()).collect();
    let least = (RELEASE_QUANTA * quantum).max(RELEASE_SPREADS * median(&usual).unwrap_or(0.0));
    let mut found: Vec<Release> = Vec::new();
    for (at, height) in falls.into_iter().enumerate().map(|(at, fall)| (at + SIDE, fall)) {
        if height < least {
            continue;
        }
        match found.last_mut() {
            // The windows about one release all see it; the one that sees most lies on it.
            Some(last) if at - last.at < 2 * SIDE => {
                if height > last.height {
                    *last = Release { at, height };
                }
            }
            Some(_) | None => found.push(Release { at, height }),
        }
    }
    found
}

/// Minutes since the last release, or since the first sample.
fn ages_min(points: &[Point], releases: &[Release]) -> Vec<f64> {
    let mut next = releases.iter().map(|release| release.at).peekable();
    let mut from_s = points.first().map_or(0.0, |point| point.elapsed_s);
    let mut ages = Vec::with_capacity(points.len());
    for (at, point) in points.iter().enumerate() {
        if next.next_if_eq(&at).is_some() {
            from_s = point.elapsed_s;
        }
        ages.push((point.elapsed_s - from_s) / 60.0);
    }
    ages
}

/// Squared residuals of the straight line.
fn residue(points: &[Point]) -> Option<f64> {
    let (minutes, counts) = centred(points);
    Some(square_sum(&without(&counts, &minutes, coefficient(&minutes, &counts)?)))
}
