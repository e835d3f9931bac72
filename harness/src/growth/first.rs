//! With which shapes a search for several changes begins.
//!
//! One change hides another, so that a search for one after the other goes astray with its first step. So those that
//! explain most together are looked for: the pairs of the family, and threes of steps, of which any two leave the third
//! for a slope; these also beside a leak that begins late, as each of them hides it.
//!
//! All is reckoned from cosines between shapes, which are known after one look at the points.

use crate::growth::Point;
use crate::growth::shape::{AMONG_SEVERAL_FINELY, LATE_KNEE, Shape, coarse, own_part_of, shares};
use crate::growth::slope::{centred, coefficient, square_sum, without};

/// Shapes of which less than this is their own are taken for fewer.
const APART: f64 = 0.01;
/// Among so many points they are looked for.
const POINTS: usize = 400;

/// A shape, with what its cosine to any other follows from.
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

/// Shapes that explain most together, in no order.
pub(crate) fn first_shapes(points: &[Point]) -> Vec<Vec<Shape>> {
    let points = &coarse(points, POINTS);
    let shares = &shares(points);
    let (minutes, counts) = centred(points);
    let Some(along) = coefficient(&minutes, &counts) else { return Vec::new() };
    let bent = without(&counts, &minutes, along);
    let (n, time) = (points.len() as f64, square_sum(&minutes));
    let candidate = |shape| Candidate::of(shape, (shares, &minutes, &bent));
    // Of both own parts, as what a shape has in common with a straight line is taken from each.
    let cosine = |one: &Candidate, two: &Candidate| {
        let common = one.product(two) - n * one.mean * two.mean - time * one.along * two.along;
        common / (one.length * two.length)
    };
    let all: Vec<Candidate> = AMONG_SEVERAL_FINELY.shapes().filter_map(candidate).collect();
    let steps: Vec<&Candidate> = all.iter().filter(|one| matches!(one.shape, Shape::Step { .. })).collect();
    let to_steps = |one: &Candidate| steps.iter().map(|two| cosine(one, two)).collect();
    let together = Together {
        shapes: steps.iter().map(|step| step.shape).collect(),
        explains: steps.iter().map(|step| step.explains).collect(),
        cosines: steps.iter().map(|step| to_steps(step)).collect(),
    };
    let late = candidate(LATE_KNEE).and_then(|late| {
        let three = together.beside(late.explains, &to_steps(&late)).best_three()?;
        Some([&three[..], &[late.shape]].concat())
    });
    let pair = best_pair(&all, cosine).map(Vec::from);
    let three = together.best_three().map(Vec::from);
    [pair, three, late].into_iter().flatten().collect()
}

/// Keeps the most.
fn keep<const N: usize>(best: &mut Option<([Shape; N], f64)>, shapes: [Shape; N], explained: f64) {
    if best.is_none_or(|(_, most)| explained > most) {
        *best = Some((shapes, explained));
    }
}

fn best_pair(all: &[Candidate], cosine: impl Fn(&Candidate, &Candidate) -> f64) -> Option<[Shape; 2]> {
    let mut best = None;
    for (place, one) in all.iter().enumerate() {
        for two in all.iter().skip(place + 1) {
            let cosine = cosine(one, two);
            let apart = 1.0 - cosine * cosine;
            let explained = one.explains * one.explains + two.explains * two.explains
                - 2.0 * cosine * one.explains * two.explains;
            if apart > APART {
                keep(&mut best, [one.shape, two.shape], explained / apart);
            }
        }
    }
    best.map(|(pair, _)| pair)
}

/// Shapes, what each explains alone, and their cosines.
struct Together {
    shapes: Vec<Shape>,
    explains: Vec<f64>,
    cosines: Vec<Vec<f64>>,
}

impl Together {
    /// What is left of each beside one more, which explains so much and has these cosines to them.
    fn beside(&self, explains: f64, to: &[f64]) -> Self {
        let own: Vec<f64> = to.iter().map(|cosine| (1.0 - cosine * cosine).sqrt()).collect();
        let left = self.explains.iter().zip(to).zip(&own);
        let row = |(row, (cosine, length)): (&Vec<f64>, (&f64, &f64))| {
            let others = row.iter().zip(to).zip(&own);
            others.map(|((with, other), own)| (with - cosine * other) / (length * own)).collect()
        };
        Self {
            shapes: self.shapes.clone(),
            explains: left.map(|((alone, cosine), own)| (alone - cosine * explains) / own).collect(),
            cosines: self.cosines.iter().zip(to.iter().zip(&own)).map(row).collect(),
        }
    }

    fn best_three(&self) -> Option<[Shape; 3]> {
        let mut best = None;
        let each: Vec<_> = self.shapes.iter().zip(self.explains.iter().copied()).zip(&self.cosines).collect();
        for (i, ((one, x), to_one)) in each.iter().enumerate() {
            for (j, (((two, y), to_two), &a)) in each.iter().zip(*to_one).enumerate().skip(i + 1) {
                for ((((three, z), _), &b), &c) in each.iter().zip(*to_one).zip(*to_two).skip(j + 1) {
                    // Gram's determinant and the cofactors of its matrix, which is one on its diagonal.
                    let apart = 1.0 + 2.0 * a * b * c - a * a - b * b - c * c;
                    let squares = x * x * (1.0 - c * c) + y * y * (1.0 - b * b) + z * z * (1.0 - a * a);
                    let products = x * y * (b * c - a) + x * z * (a * c - b) + y * z * (a * b - c);
                    if apart > APART {
                        keep(&mut best, [**one, **two, **three], (squares + 2.0 * products) / apart);
                    }
                }
            }
        }
        best.map(|(three, _)| three)
    }
}
