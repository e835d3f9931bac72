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
/// Moments for a bump's beginning and for its end.
const BUMPS: (f64, f64, f64) = (0.05, 0.95, 0.05);
/// A bump is at most this share of the window long: what stays for longer is a step.
const BUMP_MAX: f64 = 0.3;
/// Moments for a knee: at least the last quarter is left to measure what comes after.
const KNEES: (f64, f64, f64) = (0.15, 0.75, 0.05);
/// Time constants for settling: three of them are over before the last quarter begins.
const SETTLINGS: (f64, f64, f64) = (0.025, 0.25, 0.025);
/// Two shapes of which less than this is their own are taken for one.
const PAIR_APART: f64 = 0.01;
/// Among so many points a pair is looked for.
const PAIR_POINTS: usize = 400;
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
pub(crate) fn best_shape(points: &[Point], shares: &[f64]) -> Option<Shape> {
    let (minutes, counts) = centred(points);
    let bent = without(&counts, &minutes, coefficient(&minutes, &counts)?);
    let explained = |shape: &Shape| explained(*shape, shares, &minutes, &bent);
    let family: Vec<Shape> = family().collect();
    let coarse = family.iter().copied().max_by(|a, b| explained(a).total_cmp(&explained(b)))?;
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

/// One of a pair, with what its angle to any other follows from.
struct Candidate {
    shape: Shape,
    /// Where a step or a bump is one, and else zero.
    range: Option<(usize, usize)>,
    values: Vec<f64>,
    /// Of the values before each place.
    sums: Vec<f64>,
    mean: f64,
    /// Its multiple of time.
    along: f64,
    /// The length of its own part, and that of what it explains alone.
    length: f64,
    explains: f64,
}

impl Candidate {
    fn of(shape: Shape, (shares, minutes, bent): (&[f64], &[f64], &[f64])) -> Option<Self> {
        let values: Vec<f64> = shares.iter().map(|share| shape.value(*share)).collect();
        let own = own_part_of(shape, shares, minutes);
        let length = square_sum(&own).sqrt();
        let place = |at: f64| shares.partition_point(|share| *share < at);
        let range = match shape {
            Shape::Step { at } => Some((place(at), shares.len())),
            Shape::Bump { from, to } => Some((place(from), place(to))),
            Shape::Knee { .. } | Shape::Settling { .. } => None,
        };
        let mut sums = vec![0.0];
        sums.extend(values.iter().scan(0.0, |sum, value| {
            *sum += value;
            Some(*sum)
        }));
        Some(Self {
            shape,
            range,
            mean: sums.last()? / values.len() as f64,
            along: coefficient(minutes, &values)?,
            explains: dot(&own, bent) / length,
            values,
            sums,
            length,
        })
        .filter(|_| length > 0.0)
    }

    /// The product of both shapes, summed over all points.
    fn product(&self, other: &Self) -> f64 {
        let within = |smooth: &Self, (from, to): (usize, usize)| {
            let until = |place: usize| smooth.sums.get(place).copied().unwrap_or(0.0);
            until(to) - until(from)
        };
        match (self.range, other.range) {
            (Some(one), Some(two)) => one.1.min(two.1).saturating_sub(one.0.max(two.0)) as f64,
            (Some(range), None) => within(other, range),
            (None, Some(range)) => within(self, range),
            (None, None) => dot(&self.values, &other.values),
        }
    }
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

/// The two of the family that together explain most beside a straight line.
pub(crate) fn best_pair(points: &[Point]) -> Option<[Shape; 2]> {
    let points = &coarse(points, PAIR_POINTS);
    let shares = &shares(points);
    let (minutes, counts) = centred(points);
    let bent = without(&counts, &minutes, coefficient(&minutes, &counts)?);
    let (n, time) = (points.len() as f64, square_sum(&minutes));
    let all: Vec<Candidate> = family_with_bumps(BUMPS.2 / 2.0)
        .filter_map(|shape| Candidate::of(shape, (shares, &minutes, &bent)))
        .collect();
    let mut best: Option<([Shape; 2], f64)> = None;
    for (place, one) in all.iter().enumerate() {
        for two in all.iter().skip(place + 1) {
            // Of both own parts, as what a shape has in common with a straight line is taken from each.
            let common = one.product(two) - n * one.mean * two.mean - time * one.along * two.along;
            let angle = common / (one.length * two.length);
            let apart = 1.0 - angle * angle;
            let explained = one.explains * one.explains + two.explains * two.explains
                - 2.0 * angle * one.explains * two.explains;
            if apart > PAIR_APART && best.is_none_or(|(_, most)| explained / apart > most) {
                best = Some(([one.shape, two.shape], explained / apart));
            }
        }
    }
    best.map(|(pair, _)| pair)
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
fn own_part_of(shape: Shape, shares: &[f64], minutes: &[f64]) -> Vec<f64> {
    let mean = shares.iter().map(|share| shape.value(*share)).sum::<f64>() / shares.len() as f64;
    let values: Vec<f64> = shares.iter().map(|share| shape.value(*share) - mean).collect();
    let along = coefficient(minutes, &values).unwrap_or(0.0);
    without(&values, minutes, along)
}

/// Among so many shapes one is looked for.
pub(crate) fn family_size() -> usize {
    family().count()
}

fn family() -> impl Iterator<Item = Shape> {
    family_with_bumps(BUMPS.2)
}

/// The family with bumps whose edges lie so far apart.
fn family_with_bumps(by: f64) -> impl Iterator<Item = Shape> {
    let steps = grid(STEPS).map(|at| Shape::Step { at });
    let knees = grid(KNEES).map(|at| Shape::Knee { at });
    let settlings = grid(SETTLINGS).map(|within| Shape::Settling { within });
    let bumps = grid((BUMPS.0, BUMPS.1, by)).flat_map(move |from| {
        grid((from + by, BUMPS.1.min(from + BUMP_MAX), by)).map(move |to| Shape::Bump { from, to })
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
