//! Saws: counts that rise for minutes and are given back at once, again and again.
//!
//! What piles up between two releases is no leak, and hides one. Each tooth begins at the floor, so a count is a
//! line in time, which is the growth, and one in the time since the last release, which is the tooth. Both are fitted
//! together (a leak lifts each floor above the one before, and is none of the tooth), and the tooth is taken out:
//! what is left is the course of the floors, seen at every moment and not at the few where the floor is reached.

use std::cmp::Ordering;

use crate::growth::slope::growth_beside;
use crate::growth::{Point, median};

/// So many samples on each side of a release tell its height; their medians don't see a spike.
const SIDE: usize = 3;
/// A release gives back more than so many quanta, and more than so many times what neighbouring samples differ by.
const RELEASE_QUANTA: f64 = 8.0;
const RELEASE_SPREADS: f64 = 6.0;
/// Three whole teeth lie between four releases. With fewer a tooth is not known from the growth.
const RELEASES_MIN: usize = 4;
/// A tooth is at most so many times as long as the middle one of all.
const TEETH_MAX: f64 = 2.0;
/// Teeth are a saw's if what they leave, within each, is no more than this share of its squared differences.
const LEFT_MAX: f64 = 0.25;

/// The points less their teeth; `None` where there are none.
pub(crate) fn without_teeth(points: &[Point], quantum: f64) -> Option<Vec<Point>> {
    let releases = releases(points, quantum);
    if releases.len() < RELEASES_MIN {
        return None;
    }
    let ages_min = ages_min(points, &releases)?;
    let (first, last) = (releases.first()?.at, releases.last()?.at);
    // Whole teeth alone: what follows the last release may be anything.
    let (whole, whole_ages) = (points.get(first..last)?, ages_min.get(first..last)?);
    let pace_per_min = growth_beside(whole, whole_ages, quantum)?.size.per_min;
    if pace_per_min <= 0.0 {
        return None;
    }
    // What the first release gave back says how old the tooth was that the samples begin in.
    let begun_min = releases.first()?.height / pace_per_min - ages_min.get(first.checked_sub(1)?)?;
    let less = |(at, (point, age_min)): (usize, (&Point, &f64))| {
        let age_min = if at < first { age_min + begun_min } else { *age_min };
        Point { count: point.count - pace_per_min * age_min, ..*point }
    };
    let left: Vec<Point> = points.iter().zip(&ages_min).enumerate().map(less).collect();
    let within = |points: &[Point]| within_teeth(points, &releases);
    (within(&left) <= LEFT_MAX * within(points)).then_some(left)
}

/// A fall from one sample to the next.
struct Release {
    /// The first sample after it.
    at: usize,
    height: f64,
}

/// Where the count falls at once by far more than it usually moves, and by half of what it mostly falls by then.
fn releases(points: &[Point], quantum: f64) -> Vec<Release> {
    let level = |side: &[Point]| median(&side.iter().map(|point| point.count).collect::<Vec<_>>());
    let falls: Vec<f64> = points
        .windows(2 * SIDE)
        .filter_map(|both| {
            let (before, after) = both.split_at(SIDE);
            Some(level(before)? - level(after)?)
        })
        .collect();
    let usual = median(&falls.iter().map(|fall| fall.abs()).collect::<Vec<_>>()).unwrap_or(0.0);
    let clear = steepest(points, &falls, (RELEASE_QUANTA * quantum).max(RELEASE_SPREADS * usual));
    let heights: Vec<f64> = clear.iter().map(|release| release.height).collect();
    match median(&heights) {
        // The count may fall by less where something else rises meanwhile.
        Some(height) => steepest(points, &falls, (height / 2.0).max(RELEASE_SPREADS * usual)),
        None => clear,
    }
}

/// Falls of so much at least, each where it is steepest.
fn steepest(points: &[Point], falls: &[f64], least: f64) -> Vec<Release> {
    let mut found: Vec<Release> = Vec::new();
    for (at, height) in falls.iter().enumerate().map(|(at, fall)| (at + SIDE, *fall)) {
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
    for release in &mut found {
        // Medians don't tell on which side of a release the samples next to it lie.
        let fall = |at: &usize| Some(points.get(at.checked_sub(1)?)?.count - points.get(*at)?.count);
        let near = release.at.saturating_sub(SIDE)..=release.at + SIDE;
        let steepest = near.max_by(|a, b| fall(a).partial_cmp(&fall(b)).unwrap_or(Ordering::Equal));
        release.at = steepest.unwrap_or(release.at);
    }
    found.dedup_by_key(|release| release.at);
    found
}

/// Minutes since the last release, or since the first sample; no more than [`TEETH_MAX`] times those of a usual tooth. A
/// count that goes on rising where it was always given back is no tooth.
fn ages_min(points: &[Point], releases: &[Release]) -> Option<Vec<f64>> {
    let moments: Vec<f64> =
        releases.iter().filter_map(|release| Some(points.get(release.at)?.elapsed_s)).collect();
    let lengths_s: Vec<f64> =
        moments.iter().zip(moments.iter().skip(1)).map(|(from, to)| to - from).collect();
    let longest_min = TEETH_MAX * median(&lengths_s)? / 60.0;
    let begun_s = points.first()?.elapsed_s;
    let age_min = |point: &Point| {
        let begun = moments.iter().rev().find(|moment| **moment <= point.elapsed_s).unwrap_or(&begun_s);
        ((point.elapsed_s - begun) / 60.0).min(longest_min)
    };
    Some(points.iter().map(age_min).collect())
}

/// Squared differences from the mean of each whole tooth: what comes and goes more slowly has little part in them.
fn within_teeth(points: &[Point], releases: &[Release]) -> f64 {
    let whole = releases.iter().zip(releases.iter().skip(1));
    let teeth = whole.map(|(from, to)| points.get(from.at..to.at).unwrap_or_default());
    teeth
        .map(|tooth| {
            let mean = tooth.iter().map(|point| point.count).sum::<f64>() / tooth.len().max(1) as f64;
            tooth.iter().map(|point| (point.count - mean).powi(2)).sum::<f64>()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, prop_assert, proptest};

    use super::without_teeth;
    use crate::growth::Point;
    use crate::growth::slope::growth;

    /// An hour, a sample each five seconds, with a ripple.
    fn hour(count: impl Fn(f64) -> f64) -> Vec<Point> {
        let ripple = |s: f64| 1.4 * (s * 1.7).sin();
        let seconds = (0..720).map(|i| f64::from(i) * 5.0);
        seconds.map(|s| Point { elapsed_s: s, count: (100.0 + ripple(s) + count(s)).round() }).collect()
    }

    /// Teeth of thirteen minutes and a height of eighty; `share` of one is over when the hour begins.
    fn saw(share: f64) -> impl Fn(f64) -> f64 {
        move |s| 80.0 * (s / 780.0 + share).fract()
    }

    fn per_min(points: &[Point]) -> f64 {
        growth(points, 1.0).expect("a slope").per_min
    }

    #[test]
    fn what_is_left_of_a_saw_is_flat_wherever_it_begins() {
        for share in [0.0, 0.2, 0.5, 0.9] {
            let left = without_teeth(&hour(saw(share)), 1.0).expect("teeth");
            let counts = || left.iter().map(|point| point.count);
            let (low, high) = (counts().fold(f64::MAX, f64::min), counts().fold(f64::MIN, f64::max));
            assert!(high - low < 12.0, "{share}: {low} to {high}");
            assert!(per_min(&left).abs() < 0.1, "{share}: {}", per_min(&left));
        }
    }

    #[test]
    fn a_leak_is_left_whole() {
        for share in [0.0, 0.2, 0.5, 0.9] {
            let (tooth, leak) = (saw(share), 3.0);
            let left = without_teeth(&hour(|s| tooth(s) + leak * s / 60.0), 1.0).expect("teeth");
            assert!((per_min(&left) - leak).abs() < 0.15, "{share}: {}", per_min(&left));
        }
    }

    #[test]
    fn a_leak_that_begins_late_is_left_where_it_begins() {
        let tooth = saw(0.3);
        let left = without_teeth(&hour(|s| tooth(s) + (s - 2700.0).max(0.0) * 3.0 / 60.0), 1.0);
        let left = left.expect("teeth");
        let (before, after) = left.split_at(540);
        assert!(
            per_min(before).abs() < 0.5 && per_min(after) > 2.0,
            "{} {}",
            per_min(before),
            per_min(after)
        );
    }

    #[test]
    fn what_goes_on_rising_behind_the_last_release_is_no_tooth() {
        // Teeth of five minutes until 45; then nothing is given back any more.
        let stops = |s: f64| 30.0 * (s.min(2690.0) / 300.0).fract() + (s - 2690.0).max(0.0) * 6.0 / 60.0;
        let left = without_teeth(&hour(stops), 1.0).expect("teeth");
        let after = per_min(left.split_at(560).1);
        assert!((after - 6.0).abs() < 1.0, "{after}");
    }

    #[test]
    fn few_teeth_spikes_and_leaks_are_no_saw() {
        assert_eq!(without_teeth(&hour(|s| 80.0 * (s / 1500.0).fract()), 1.0), None);
        assert_eq!(without_teeth(&hour(|s| if s % 300.0 < 5.0 { 40.0 } else { 0.0 }), 1.0), None);
        assert_eq!(without_teeth(&hour(|s| 10.0 * s / 60.0), 1.0), None);
        assert_eq!(without_teeth(&hour(|s| (s / 300.0).floor() * 20.0), 1.0), None);
        assert_eq!(without_teeth(&hour(|_| 0.0), 1.0), None);
        assert_eq!(without_teeth(&[], 1.0), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn whatever_the_counts_each_moment_keeps_a_finite_one(
            counts in proptest::collection::vec(-1e9_f64..1e9, 0..200),
        ) {
            let points: Vec<Point> =
                counts.iter().zip(0..).map(|(c, s)| Point { elapsed_s: f64::from(s), count: *c }).collect();
            if let Some(left) = without_teeth(&points, 1e-3) {
                prop_assert!(left.len() == points.len() && left.iter().all(|point| point.count.is_finite()));
            }
        }
    }
}
