//! The bounded changes that a leak must outlast.
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
//! The pace that is left beside them (`account`) is what the count does *now*. A knee so takes the place of
//! a gate on each quarter, with two gains: its error comes from the noise of the whole run instead of
//! a quarter of it, and the level before the knee is known, which halves the error of the pace after.

use crate::growth::Point;
use crate::growth::slope::{centred, coefficient, square_sum, without};

/// Moments for a step, as shares of the window. The beginning keeps 15 %, as in Andrews, "Tests for Parameter
/// Instability and Structural Change with Unknown Change Point" (Econometrica 61(4), 1993): nearer to an end a few noisy
/// samples pass for a level. At the end that may be: a step that comes so late leaves the verdict open, and without it
/// one passes for a leak that began late.
const STEPS: (f64, f64, f64) = (0.15, 0.975, 0.025);
/// Where several are looked for there are samples enough for a level in so short a part.
const STEPS_AMONG_SEVERAL_FROM: f64 = 0.05;
/// Moments for a bump's beginning and for its end.
const BUMPS: (f64, f64, f64) = (0.05, 0.95, 0.05);
/// A bump is at most this share of the window long: what stays for longer is a step.
const BUMP_MAX: f64 = 0.3;
/// Moments for a knee: at least the last quarter is left to measure what comes after.
const KNEES: (f64, f64, f64) = (0.15, 0.75, 0.05);
/// Time constants for settling: three of them are over before the last quarter begins.
const SETTLINGS: (f64, f64, f64) = (0.025, 0.25, 0.025);
/// Where the end of the window is looked at: a bump's last edge may lie at the very last sample.
const END: f64 = 0.99;
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
    pub(crate) fn value(self, share: f64) -> f64 {
        match self {
            Self::Step { at } => f64::from(u8::from(share >= at)),
            Self::Bump { from, to } => f64::from(u8::from(share >= from && share < to)),
            Self::Knee { at } => share.min(at),
            Self::Settling { within } => 1.0 - (-share / within).exp(),
        }
    }

    /// By how much more of it there is at the end than at `share`.
    pub(crate) fn rise(self, share: f64) -> f64 {
        self.value(END) - self.value(share)
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

/// The shape that explains most beside a straight line, its edges placed finely.
pub(crate) fn best_shape(points: &[Point], shares: &[f64], family: Family) -> Option<Shape> {
    let (minutes, counts) = centred(points);
    let bent = without(&counts, &minutes, coefficient(&minutes, &counts)?);
    let explained = |shape: &Shape| explained(*shape, shares, &minutes, &bent);
    let coarse = family.shapes().max_by(|a, b| explained(a).total_cmp(&explained(b)))?;
    // One edge after the other: a bump has two.
    let early = with_first_edge(coarse).into_iter().max_by(|a, b| explained(a).total_cmp(&explained(b)))?;
    with_last_edge(early).into_iter().max_by(|a, b| explained(a).total_cmp(&explained(b)))
}

/// At most so many points, each the mean of neighbours.
pub(crate) fn coarse(points: &[Point], most: usize) -> Vec<Point> {
    let mean = |chunk: &[Point]| {
        let n = chunk.len() as f64;
        let sum = |value: fn(&Point) -> f64| chunk.iter().map(value).sum::<f64>() / n;
        Point { elapsed_s: sum(|point| point.elapsed_s), count: sum(|point| point.count) }
    };
    points.chunks(points.len().div_ceil(most).max(1)).map(mean).collect()
}

/// Each point's moment as a share of the window.
pub(crate) fn shares(points: &[Point]) -> Vec<f64> {
    let from_s = points.first().map_or(0.0, |point| point.elapsed_s);
    let span_s = points.last().map_or(0.0, |point| point.elapsed_s - from_s);
    points.iter().map(|point| (point.elapsed_s - from_s) / span_s).collect()
}

/// By how much a shape lowers the squared residuals of the straight line.
fn explained(shape: Shape, shares: &[f64], minutes: &[f64], bent: &[f64]) -> f64 {
    let own = own_part_of(shape, shares, minutes);
    coefficient(&own, bent).map_or(0.0, |size| size * size * square_sum(&own))
}

/// What of a shape a straight line does not explain.
pub(crate) fn own_part_of(shape: Shape, shares: &[f64], minutes: &[f64]) -> Vec<f64> {
    let mean = shares.iter().map(|share| shape.value(*share)).sum::<f64>() / shares.len() as f64;
    let values: Vec<f64> = shares.iter().map(|share| shape.value(*share) - mean).collect();
    let along = coefficient(minutes, &values).unwrap_or(0.0);
    without(&values, minutes, along)
}

/// Which shapes are looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Family {
    /// Steps from this share of the window on.
    steps_from: f64,
    /// How far apart the edges of bumps lie.
    bumps_by: f64,
}

/// Where one change is looked for.
pub(crate) const ALONE: Family = Family { steps_from: STEPS.0, bumps_by: BUMPS.2 };
/// Where several are.
pub(crate) const AMONG_SEVERAL: Family = Family { steps_from: STEPS_AMONG_SEVERAL_FROM, ..ALONE };
/// The same with more bumps: those that hide each other are looked for once.
pub(crate) const AMONG_SEVERAL_FINELY: Family = Family { bumps_by: BUMPS.2 / 2.0, ..AMONG_SEVERAL };
/// The latest change of pace.
pub(crate) const LATE_KNEE: Shape = Shape::Knee { at: KNEES.1 };

impl Family {
    /// Among so many shapes one is looked for.
    pub(crate) fn size(self) -> usize {
        self.shapes().count()
    }

    pub(crate) fn shapes(self) -> impl Iterator<Item = Shape> {
        let steps = grid((self.steps_from, STEPS.1, STEPS.2)).map(|at| Shape::Step { at });
        let knees = grid(KNEES).map(|at| Shape::Knee { at });
        let settlings = grid(SETTLINGS).map(|within| Shape::Settling { within });
        let by = self.bumps_by;
        let bumps = grid((BUMPS.0, BUMPS.1, by)).flat_map(move |from| {
            grid((from + by, BUMPS.1.min(from + BUMP_MAX), by)).map(move |to| Shape::Bump { from, to })
        });
        steps.chain(bumps).chain(knees).chain(settlings)
    }
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
