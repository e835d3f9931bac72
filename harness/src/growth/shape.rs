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
//! - a **settling** curve, exp(-t/tau): a warm-up that was not cut;
//! - among several a **bend**, a pace that changes evenly over the whole window: a leak that accelerates behind an outage. It
//!   bounds nothing, so it is no reason to pass.
//!
//! The pace that is left beside them (`account`) is what the count does *now*. A knee so takes the place of
//! a gate on each quarter, with two gains: its error comes from the noise of the whole run instead of
//! a quarter of it, and the level before the knee is known, which halves the error of the pace after.

use crate::growth::Point;

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
/// Among several also one with less behind it: what has filled so late is then no leak, and too late to pass.
const KNEES_AMONG_SEVERAL_TO: f64 = 0.9;
/// Time constants for settling: three of them are over before the last quarter begins.
const SETTLINGS: (f64, f64, f64) = (0.025, 0.25, 0.025);
/// A bump that lasts until behind this has not been given back.
const END: f64 = 0.99;
/// Every so many of the places of an edge are tried for a change of pace, which is less sharp.
const KNEE_STEP: usize = 4;
/// Moments on a grid are multiples of one in so many.
const GRID: f64 = 1e6;
/// How finely an edge is placed after the coarse search.
const REFINEMENTS: u32 = 32;

/// A shape, with its moment or time constant as a share of the window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shape {
    Step { at: f64 },
    Bump { from: f64, to: f64 },
    Knee { at: f64 },
    Settling { within: f64 },
    Bend,
}

impl Shape {
    /// Its value at a moment `share` of the way through the window.
    pub(crate) fn value(self, share: f64) -> f64 {
        match self {
            Self::Step { at } => f64::from(u8::from(share >= at)),
            Self::Bump { from, to } => f64::from(u8::from(share >= from && share < to)),
            Self::Knee { at } => share.min(at),
            Self::Settling { within } => 1.0 - (-share / within).exp(),
            // Level at its end, so that what grows beside it is the pace at the end.
            Self::Bend => 1.0 - (1.0 - share).powi(2),
        }
    }

    /// From when to when it is one, where it is zero else.
    pub(crate) fn edges(self) -> Option<(f64, f64)> {
        match self {
            Self::Step { at } => Some((at, f64::INFINITY)),
            Self::Bump { from, to } => Some((from, to)),
            Self::Knee { .. } | Self::Settling { .. } | Self::Bend => None,
        }
    }

    /// What stays of it at the end, of all that comes behind `share`: what was given back again is none.
    pub(crate) fn stays(self, share: f64) -> f64 {
        match self {
            Self::Bump { to, .. } => f64::from(u8::from(to > END)),
            Self::Step { .. } | Self::Knee { .. } | Self::Settling { .. } | Self::Bend => {
                self.value(1.0) - self.value(share)
            }
        }
    }

    /// For which share of the window the pace beside it was the count's: that of a pace which changed is the one since then,
    /// and one that changes all the time is half of what it becomes.
    pub(crate) fn pace_lasts(self) -> f64 {
        match self {
            Self::Knee { at } => 1.0 - at,
            Self::Bend => 0.5,
            Self::Step { .. } | Self::Bump { .. } | Self::Settling { .. } => 1.0,
        }
    }

    /// When it is over, as a share of the window: three time constants leave a twentieth. A bend has no such moment.
    pub(crate) fn over(self) -> f64 {
        match self {
            Self::Step { at } | Self::Knee { at } => at,
            Self::Bump { to, .. } => to,
            Self::Settling { within } => 3.0 * within,
            Self::Bend => 0.0,
        }
    }
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

/// Which shapes are looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Family {
    /// Steps from this share of the window on.
    steps_from: f64,
    /// Changes of pace up to this share.
    knees_to: f64,
    /// How far apart the edges of bumps lie, and the changes of pace.
    by: f64,
    /// Whether a pace may change all the time.
    bends: bool,
}

/// Where one change is looked for.
pub(crate) const ALONE: Family = Family { steps_from: STEPS.0, knees_to: KNEES.1, by: BUMPS.2, bends: false };
/// Where several are.
pub(crate) const AMONG_SEVERAL: Family =
    Family { steps_from: STEPS_AMONG_SEVERAL_FROM, knees_to: KNEES_AMONG_SEVERAL_TO, bends: true, ..ALONE };
/// The same with moments closer to each other: with these a search begins, which is done once.
pub(crate) const AMONG_SEVERAL_FINELY: Family = Family { by: BUMPS.2 / 2.0, ..AMONG_SEVERAL };
/// The latest change of pace.
pub(crate) const LATE_KNEE: Shape = Shape::Knee { at: KNEES.1 };

impl Family {
    /// Among so many shapes one is looked for.
    pub(crate) fn size(self) -> usize {
        self.shapes().count()
    }

    pub(crate) fn shapes(self) -> impl Iterator<Item = Shape> {
        let steps = grid((self.steps_from, STEPS.1, STEPS.2)).map(|at| Shape::Step { at });
        let knees = grid((KNEES.0, self.knees_to, self.by)).map(|at| Shape::Knee { at });
        let settlings = grid(SETTLINGS).map(|within| Shape::Settling { within });
        let by = self.by;
        let bumps = grid((BUMPS.0, BUMPS.1, by)).flat_map(move |from| {
            grid((from + by, BUMPS.1.min(from + BUMP_MAX), by)).map(move |to| Shape::Bump { from, to })
        });
        steps.chain(bumps).chain(knees).chain(settlings).chain(self.bends.then_some(Shape::Bend))
    }
}

fn grid((from, to, by): (f64, f64, f64)) -> impl Iterator<Item = f64> {
    let steps =
        (0_u32..).map(move |i| from + f64::from(i) * by).take_while(move |share| *share < to + by / 2.0);
    // 0.75 is that, and not 0.75 and a rounding error.
    steps.map(|share| (share * GRID).round() / GRID)
}

impl Shape {
    /// An edge is placed finely, and where a pace changes as well; a settling is no moment.
    pub(crate) fn with_first_edge(self, family: Family) -> Vec<Shape> {
        match self {
            Shape::Step { at } => around(at, STEPS.2).map(|at| Shape::Step { at }).collect(),
            Shape::Bump { from, to } => {
                around(from, BUMPS.2).filter(|from| *from < to).map(|from| Shape::Bump { from, to }).collect()
            }
            Shape::Knee { at } => {
                let kept = |at: &f64| *at <= family.knees_to;
                around(at, KNEES.2).step_by(KNEE_STEP).filter(kept).map(|at| Shape::Knee { at }).collect()
            }
            Shape::Settling { .. } | Shape::Bend => vec![self],
        }
    }

    /// The other edge of a bump.
    pub(crate) fn with_last_edge(self) -> Vec<Shape> {
        match self {
            Shape::Bump { from, to } => {
                around(to, BUMPS.2).filter(|to| from < *to).map(|to| Shape::Bump { from, to }).collect()
            }
            Shape::Step { .. } | Shape::Knee { .. } | Shape::Settling { .. } | Shape::Bend => vec![self],
        }
    }
}

/// Moments about one, up to its neighbours on the grid. The moment itself is among them.
fn around(at: f64, reach: f64) -> impl Iterator<Item = f64> {
    let by = reach / f64::from(REFINEMENTS);
    (0..=2 * REFINEMENTS).map(move |i| at - reach + f64::from(i) * by)
}
