//! The one bounded change that a leak must outlast.
//!
//! A pool that opens, a queue that fills to its bound, a cache that settles: each lifts a count once
//! and is over. A slope over such a series is steep and means nothing. So the straight line is fitted
//! again beside each shape of a small family, and the shape that explains most is kept:
//!
//! - a **step** at one moment;
//! - a **bump**: up at one moment and back at another, as in an outage that recovers;
//! - a **knee**: one pace up to a moment, another pace from there on. With the pace after it near zero
//!   this is a queue that filled; with a pace after it that is steep, it is a leak that began late;
//! - a **settling** curve, exp(-t/tau): a warm-up that was not cut.
//!
//! The pace that is left beside the shape is what the count does *now*. A knee so takes the place of
//! a gate on each quarter, with two gains: its error comes from the noise of the whole run instead of
//! a quarter of it, and the level before the knee is known, which halves the error of the pace after.

use crate::growth::slope::{Beside, centred, coefficient, growth_beside, square_sum, without};
use crate::growth::{Point, slope};

/// Chance that a series without any change shows a significant one, over the whole family.
const ALPHA: f64 = 0.001;
/// Moments for a step, as shares of the window. The beginning keeps 15 %, as in Andrews, "Tests for Parameter
/// Instability and Structural Change with Unknown Change Point" (Econometrica 61(4), 1993): nearer to an end a few noisy
/// samples pass for a level. At the end that may be: a step that comes so late leaves the verdict open, and without it
/// one passes for a leak that began late.
const STEPS: (f64, f64, f64) = (0.15, 0.975, 0.025);
/// Moments for a bump's beginning and for its end.
const BUMPS: (f64, f64, f64) = (0.05, 0.95, 0.05);
/// A bump is at most this share of the window long: what stays for longer is a step.
const BUMP_MAX: f64 = 0.3;
/// Moments for a knee: at least the last quarter is left to measure what comes after.
const KNEES: (f64, f64, f64) = (0.15, 0.75, 0.05);
/// Time constants for settling: three of them are over before the last quarter begins.
const SETTLINGS: (f64, f64, f64) = (0.025, 0.25, 0.025);
/// The same for a first change that is worth a search for others, each of which hides it.
const ALPHA_HINT: f64 = 0.2;
/// How many changes are taken out of what a late leak is looked for in.
const CHANGES_MAX: usize = 4;
/// How finely an edge is placed after the coarse search.
const REFINEMENTS: u32 = 32;

/// A shape, with its moment or time constant as a share of the window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shape {
    Step { at: f64 },
    Bump { from: f64, to: f64 },
    Knee { at: f64 },
    Settling { within: f64 },
}

impl Shape {
    /// Its value at a moment `share` of the way through the window.
    fn value(self, share: f64) -> f64 {
        match self {
            Self::Step { at } => f64::from(u8::from(share >= at)),
            Self::Bump { from, to } => f64::from(u8::from(share >= from && share < to)),
            Self::Knee { at } => share.min(at),
            Self::Settling { within } => 1.0 - (-share / within).exp(),
        }
    }

    /// When it is over, as a share of the window: three time constants leave a twentieth.
    pub(crate) fn over(self) -> f64 {
        match self {
            Self::Step { at } | Self::Knee { at } => at,
            Self::Bump { to, .. } => to,
            Self::Settling { within } => 3.0 * within,
        }
    }
}

/// A shape fitted beside a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) shape: Shape,
    pub(crate) fit: Beside,
    /// Whether chance is ruled out as its cause.
    pub(crate) significant: bool,
}

/// The shape that explains most beside a straight line.
pub(crate) fn best_change(points: &[Point], quantum: f64) -> Option<Change> {
    let shares = shares(points);
    let (minutes, counts) = centred(points);
    let bent = without(&counts, &minutes, coefficient(&minutes, &counts)?);
    let explained = |shape: &Shape| explained(*shape, &shares, &minutes, &bent);
    let family: Vec<Shape> = family().collect();
    let coarse = family.iter().copied().max_by(|a, b| explained(a).total_cmp(&explained(b)))?;
    // One edge after the other: a bump has two.
    let early = with_first_edge(coarse).into_iter().max_by(|a, b| explained(a).total_cmp(&explained(b)))?;
    let fine = with_last_edge(early).into_iter().max_by(|a, b| explained(a).total_cmp(&explained(b)))?;
    let fit = fit(points, &shares, fine, quantum)?;
    Some(Change { shape: fine, fit, significant: is_significant(&fit) })
}

/// The points less the most changes, the first and up to [`CHANGES_MAX`] in all, that are all significant beside each other. One step hides
/// another: so they are looked for one after the other, and asked for their significance together.
pub(crate) fn without_changes(points: &[Point], first: Option<&Change>, quantum: f64) -> Vec<Point> {
    let shares = shares(points);
    let (mut found, mut left, mut kept) = (Vec::new(), points.to_vec(), points.to_vec());
    let mut next = first.copied();
    for _ in 0..CHANGES_MAX {
        let Some(change) = next else { break };
        if found.is_empty() && change.fit.size.per_min.abs() < change.fit.size.half_width(ALPHA_HINT) {
            break;
        }
        left = less(&left, &shares, &change);
        found.push(change);
        let beside_the_others = |change: &Change| {
            let alone = less(&left, &shares, &Change { fit: change.fit.negated(), ..*change });
            fit(&alone, &shares, change.shape, quantum).is_some_and(|fit| is_significant(&fit))
        };
        if found.iter().all(beside_the_others) {
            kept.clone_from(&left);
        }
        next = if found.len() < CHANGES_MAX { best_change(&left, quantum) } else { None };
    }
    kept
}

fn less(points: &[Point], shares: &[f64], change: &Change) -> Vec<Point> {
    let size = change.fit.size.per_min;
    let without = |(point, share): (&Point, &f64)| Point {
        count: point.count - size * change.shape.value(*share),
        ..*point
    };
    points.iter().zip(shares).map(without).collect()
}

fn is_significant(fit: &Beside) -> bool {
    fit.size.per_min.abs() > fit.size.half_width(ALPHA / family().count() as f64)
}

/// The pace from a share of the window on, with the noise and the level of the whole of it.
pub(crate) fn pace_since(points: &[Point], at: f64, quantum: f64) -> Option<slope::Growth> {
    fit(points, &shares(points), Shape::Knee { at }, quantum).map(|beside| beside.growth)
}

fn fit(points: &[Point], shares: &[f64], shape: Shape, quantum: f64) -> Option<Beside> {
    let values: Vec<f64> = shares.iter().map(|share| shape.value(*share)).collect();
    growth_beside(points, &values, quantum)
}

/// Each point's moment as a share of the window.
fn shares(points: &[Point]) -> Vec<f64> {
    let from_s = points.first().map_or(0.0, |point| point.elapsed_s);
    let span_s = points.last().map_or(0.0, |point| point.elapsed_s - from_s);
    points.iter().map(|point| (point.elapsed_s - from_s) / span_s).collect()
}

/// By how much a shape lowers the squared residuals of the straight line.
fn explained(shape: Shape, shares: &[f64], minutes: &[f64], bent: &[f64]) -> f64 {
    let mean = shares.iter().map(|share| shape.value(*share)).sum::<f64>() / shares.len() as f64;
    let values: Vec<f64> = shares.iter().map(|share| shape.value(*share) - mean).collect();
    let along = coefficient(minutes, &values).unwrap_or(0.0);
    let own = without(&values, minutes, along);
    coefficient(&own, bent).map_or(0.0, |size| size * size * square_sum(&own))
}

fn family() -> impl Iterator<Item = Shape> {
    let steps = grid(STEPS).map(|at| Shape::Step { at });
    let knees = grid(KNEES).map(|at| Shape::Knee { at });
    let settlings = grid(SETTLINGS).map(|within| Shape::Settling { within });
    let bumps = grid(BUMPS).flat_map(|from| {
        grid((from + BUMPS.2, BUMPS.1.min(from + BUMP_MAX), BUMPS.2)).map(move |to| Shape::Bump { from, to })
    });
    steps.chain(bumps).chain(knees).chain(settlings)
}

fn grid((from, to, by): (f64, f64, f64)) -> impl Iterator<Item = f64> {
    (0_u32..).map(move |i| from + f64::from(i) * by).take_while(move |share| *share < to + by / 2.0)
}

/// An edge is sharp, so it is placed finely; a smooth shape stays as it is.
fn with_first_edge(shape: Shape) -> Vec<Shape> {
    match shape {
        Shape::Step { at } => around(at, STEPS.2).map(|at| Shape::Step { at }).collect(),
        Shape::Bump { from, to } => {
            around(from, BUMPS.2).filter(|from| *from < to).map(|from| Shape::Bump { from, to }).collect()
        }
        Shape::Knee { .. } | Shape::Settling { .. } => vec![shape],
    }
}

/// The other edge of a bump.
fn with_last_edge(shape: Shape) -> Vec<Shape> {
    match shape {
        Shape::Bump { from, to } => {
            around(to, BUMPS.2).filter(|to| from < *to).map(|to| Shape::Bump { from, to }).collect()
        }
        Shape::Step { .. } | Shape::Knee { .. } | Shape::Settling { .. } => vec![shape],
    }
}

/// Moments about one, up to its neighbours on the grid. The moment itself is among them.
fn around(at: f64, reach: f64) -> impl Iterator<Item = f64> {
    let by = reach / f64::from(REFINEMENTS);
    (0..=2 * REFINEMENTS).map(move |i| at - reach + f64::from(i) * by)
}

#[cfg(test)]
mod tests {
    use super::{Shape, best_change, pace_since};
    use crate::growth::Point;

    fn series(count: impl Fn(f64) -> f64) -> Vec<Point> {
        // A small ripple, so that nothing is free of noise.
        (0..300)
            .map(f64::from)
            .map(|s| Point { elapsed_s: s, count: (count(s) + (s * 1.7).sin()).round() })
            .collect()
    }

    #[test]
    fn a_step_is_found_and_nothing_grows_beside_it() {
        let change = best_change(&series(|s| if s < 130.0 { 50.0 } else { 62.0 }), 1.0).expect("a change");
        let Shape::Step { at } = change.shape else { panic!("{change:?}") };
        assert!(change.significant && (at * 299.0 - 130.0).abs() < 2.0, "{change:?}");
        assert!(change.fit.growth.per_min.abs() < 0.5, "{change:?}");
    }

    #[test]
    fn an_outage_that_recovers_is_a_bump() {
        let outage = |s: f64| if (110.0..150.0).contains(&s) { 90.0 } else { 50.0 };
        let change = best_change(&series(outage), 1.0).expect("a change");
        let Shape::Bump { from, to } = change.shape else { panic!("{change:?}") };
        assert!((from * 299.0 - 110.0).abs() < 2.0 && (to * 299.0 - 150.0).abs() < 2.0, "{change:?}");
        assert!(change.significant && change.fit.growth.per_min.abs() < 0.5, "{change:?}");
    }

    #[test]
    fn a_queue_that_filled_is_a_knee_with_nothing_after_it() {
        let change = best_change(&series(|s| 50.0 + (s / 2.0).min(60.0)), 1.0).expect("a change");
        assert!(matches!(change.shape, Shape::Knee { at } if (at - 0.4).abs() < 0.06), "{change:?}");
        assert!(change.significant && change.fit.growth.per_min.abs() < 0.5, "{change:?}");
    }

    #[test]
    fn a_leak_that_begins_late_is_a_knee_with_its_pace_after_it() {
        let points = series(|s| 50.0 + (s - 209.0).max(0.0) / 6.0);
        let change = best_change(&points, 1.0).expect("a change");
        assert!(change.significant, "{change:?}");
        assert!((change.fit.growth.per_min - 10.0).abs() < 1.5, "{change:?}");
        let pace = pace_since(&points, 0.7, 1.0).expect("a pace");
        assert!((pace.per_min - 10.0).abs() < 1.0, "{pace:?}");
    }

    #[test]
    fn a_warm_up_that_settles_leaves_no_growth() {
        let change = best_change(&series(|s| 90.0 - 60.0 * (-s / 45.0).exp()), 1.0).expect("a change");
        assert!(matches!(change.shape, Shape::Settling { .. }), "{change:?}");
        assert!(change.significant && change.fit.growth.per_min.abs() < 0.5, "{change:?}");
    }

    #[test]
    fn a_straight_line_shows_no_significant_change() {
        for per_min in [0.0, 3.0, 43.0] {
            let change = best_change(&series(|s| 50.0 + s * per_min / 60.0), 1.0).expect("a fit");
            assert!(!change.significant, "{per_min}: {change:?}");
        }
    }
}
