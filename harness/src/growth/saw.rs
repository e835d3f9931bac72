//! Saws: counts that rise for minutes and are given back at once, again and again.
//!
//! What piles up between two releases is no leak, and hides one. What a release gives back was piled up in its tooth, and
//! what it does not give back has leaked: so from each tooth goes a straight rise to the height of its release, and what is
//! left is the course of the floors, seen at every moment and not at the few where the floor is reached. Teeth may differ
//! in length and height. Where nothing was given back yet, no more is taken out than the highest tooth.

use std::cmp::Ordering;

use crate::growth::{Point, median};

/// So many samples on each side of a release tell its height; their medians don't see a spike.
const SIDE: usize = 3;
/// A release gives back more than so many quanta, and more than so many times what neighbouring samples differ by.
const RELEASE_QUANTA: f64 = 8.0;
const RELEASE_SPREADS: f64 = 6.0;
/// Three whole teeth lie between four releases. With fewer a tooth is not known from the growth.
const RELEASES_MIN: usize = 4;
/// Teeth are a saw's if what they leave, within each, is no more than this share of its squared differences.
const LEFT_MAX: f64 = 0.25;

/// A saw without its teeth, and what they were.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Saw {
    /// The points less their teeth.
    pub(crate) floors: Vec<Point>,
    /// How often something was given back.
    pub(crate) releases: usize,
    /// How much usually.
    pub(crate) height: f64,
}

/// The points less their teeth; `None` where there are none.
pub(crate) fn without_teeth(points: &[Point], quantum: f64) -> Option<Saw> {
    let releases = releases(points, quantum);
    if releases.len() < RELEASES_MIN {
        return None;
    }
    let teeth = Teeth::of(points, &releases)?;
    let less =
        |(at, point): (usize, &Point)| Point { count: point.count - teeth.piled_up(at, point), ..*point };
    let floors: Vec<Point> = points.iter().enumerate().map(less).collect();
    let within = |points: &[Point]| within_teeth(points, &releases);
    let is_saw = within(&floors) <= LEFT_MAX * within(points);
    let heights: Vec<f64> = releases.iter().map(|release| release.height).collect();
    is_saw.then_some(Saw { floors, releases: releases.len(), height: median(&heights)? })
}

/// A straight rise to a height, and no further.
#[derive(Clone, Copy)]
struct Tooth {
    /// Its first sample.
    at: usize,
    begun_s: f64,
    length_s: f64,
    height: f64,
}

struct Teeth {
    /// The first release: when, and how much.
    first: (f64, f64),
    /// Whole ones, each from one release to the next.
    whole: Vec<Tooth>,
    /// Behind the last release.
    last: Tooth,
}

impl Teeth {
    fn of(points: &[Point], releases: &[Release]) -> Option<Self> {
        let moment_s = |release: &Release| Some(points.get(release.at)?.elapsed_s);
        let whole: Vec<Tooth> = releases
            .iter()
            .zip(releases.iter().skip(1))
            .filter_map(|(from, to)| {
                let begun_s = moment_s(from)?;
                Some(Tooth { at: from.at, begun_s, length_s: moment_s(to)? - begun_s, height: to.height })
            })
            .collect();
        let (first, last) = (releases.first()?, releases.last()?);
        // As fast as the one before, and as high as any.
        let before = whole.last()?;
        let height = whole.iter().map(|tooth| tooth.height).fold(0.0, f64::max);
        let length_s = before.length_s * height / before.height;
        let last = Tooth { at: last.at, begun_s: moment_s(last)?, length_s, height };
        Some(Self { first: (moment_s(first)?, first.height), whole, last })
    }

    /// How much of this sample's count will be given back, or was.
    fn piled_up(&self, at: usize, point: &Point) -> f64 {
        let tooth = match self.whole.partition_point(|tooth| tooth.at <= at).checked_sub(1) {
            // The samples begin in it, so its height at its end is all that is known of it, and its pace that of the next.
            None => {
                let (until_s, height) = self.first;
                let next = self.whole.first().unwrap_or(&self.last);
                return (height - next.height / next.length_s * (until_s - point.elapsed_s)).max(0.0);
            }
            _ if at >= self.last.at => &self.last,
            Some(index) => self.whole.get(index).unwrap_or(&self.last),
        };
        tooth.height * ((point.elapsed_s - tooth.begun_s) / tooth.length_s).min(1.0)
    }
}

/// A fall from one sample to the next.
struct Release {
    /// The first sample after it.
    at: usize,
    height: f64,
}

/// Where the count falls at once by far more than it usually moves, or by half of what it mostly falls by then.
fn releases(points: &[Point], quantum: f64) -> Vec<Release> {
    let level = |side: &[Point]| median(&side.iter().map(|point| point.count).collect::<Vec<_>>());
    let falls: Vec<f64> = points
        .windows(2 * SIDE)
        .filter_map(|both| {
            let (before, after) = both.split_at(SIDE);
            Some(level(before)? - level(after)?)
        })
        .collect();
    // About the middle one, as a tooth's own rise is no noise.
    let middle = median(&falls).unwrap_or(0.0);
    let usual = median(&falls.iter().map(|fall| (fall - middle).abs()).collect::<Vec<_>>()).unwrap_or(0.0);
    let least = (RELEASE_QUANTA * quantum).max(RELEASE_SPREADS * usual);
    let clear = steepest(points, &falls, least);
    let heights: Vec<f64> = clear.iter().map(|release| release.height).collect();
    let half = median(&heights).map_or(least, |height| (height / 2.0).max(RELEASE_SPREADS * usual));
    // The count may fall by less where something else rises meanwhile.
    if half < least { steepest(points, &falls, half) } else { clear }
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

    use super::{Saw, without_teeth};
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
            let left = without_teeth(&hour(saw(share)), 1.0).expect("teeth").floors;
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
            let left = without_teeth(&hour(|s| tooth(s) + leak * s / 60.0), 1.0).expect("teeth").floors;
            assert!((per_min(&left) - leak).abs() < 0.15, "{share}: {}", per_min(&left));
        }
    }

    #[test]
    fn a_leak_that_begins_late_is_left_where_it_begins() {
        let tooth = saw(0.3);
        let left = without_teeth(&hour(|s| tooth(s) + (s - 2700.0).max(0.0) * 3.0 / 60.0), 1.0);
        let left = left.expect("teeth").floors;
        let (before, after) = left.split_at(540);
        assert!(
            per_min(before).abs() < 0.5 && per_min(after) > 2.0,
            "{} {}",
            per_min(before),
            per_min(after)
        );
    }

    #[test]
    fn teeth_may_grow_on_the_same_floor_and_a_floor_may_rise_under_the_same_peaks() {
        let growing = |s: f64| (40.0 + 0.1 * (s / 200.0).floor() * 200.0) * (s / 200.0).fract();
        let floors = without_teeth(&hour(growing), 1.0).expect("teeth").floors;
        assert!(per_min(&floors).abs() < 0.5, "{}", per_min(&floors));
        let floor = |s: f64| (s / 200.0).floor() * 10.0;
        let drowning = |s: f64| floor(s) + (220.0 - floor(s)) * (s / 200.0).fract();
        let floors = without_teeth(&hour(drowning), 1.0).expect("teeth").floors;
        assert!((per_min(&floors) - 3.0).abs() < 0.5, "{}", per_min(&floors));
    }

    #[test]
    fn what_goes_on_rising_behind_the_last_release_is_no_tooth() {
        // Teeth of five minutes until 45; then nothing is given back any more.
        let stops = |s: f64| 30.0 * (s.min(2690.0) / 300.0).fract() + (s - 2690.0).max(0.0) * 6.0 / 60.0;
        let left = without_teeth(&hour(stops), 1.0).expect("teeth").floors;
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
            if let Some(Saw { floors: left, .. }) = without_teeth(&points, 1e-3) {
                prop_assert!(left.len() == points.len() && left.iter().all(|point| point.count.is_finite()));
            }
        }
    }
}
