//! With which shapes a search for several changes begins.
//!
//! One change hides another, so that a search for one after the other goes astray with its first step. So those that
//! explain most together are looked for: the pairs of the family, and threes of steps, of which any two leave the third
//! for a slope; these also beside a leak that begins late, as each of them hides it.
//!
//! All is reckoned from cosines between shapes, which are known after one look at the points.

use crate::growth::Point;
use crate::growth::search::{Drawn, Search};
use crate::growth::shape::{AMONG_SEVERAL_FINELY, LATE_KNEE, Shape, coarse};

/// Shapes of which less than this is their own are taken for fewer.
const APART: f64 = 0.01;
/// Among so many points they are looked for.
const POINTS: usize = 400;

/// Shapes that explain most together, in no order.
pub(crate) fn first_shapes(points: &[Point]) -> Vec<Vec<Shape>> {
    let points = &coarse(points, POINTS);
    let Some(search) = Search::of(points, AMONG_SEVERAL_FINELY) else { return Vec::new() };
    let left = search.left(points);
    let cosine = |one: &Drawn, two: &Drawn| search.cosine(one, two);
    let all: Vec<(&Drawn, f64)> = search.drawn.iter().map(|drawn| (drawn, drawn.explains(&left))).collect();
    let steps: Vec<_> = all.iter().filter(|(one, _)| matches!(one.shape, Shape::Step { .. })).collect();
    let to_steps = |one: &Drawn| steps.iter().map(|(two, _)| cosine(one, two)).collect();
    let together = Together {
        shapes: steps.iter().map(|(step, _)| step.shape).collect(),
        explains: steps.iter().map(|(_, explains)| *explains).collect(),
        cosines: steps.iter().map(|(step, _)| to_steps(step)).collect(),
    };
    let late = search.draw(LATE_KNEE).and_then(|late| {
        let three = together.beside(late.explains(&left), &to_steps(&late)).best_three()?;
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

fn best_pair(all: &[(&Drawn, f64)], cosine: impl Fn(&Drawn, &Drawn) -> f64) -> Option<[Shape; 2]> {
    let mut best = None;
    for (place, (one, x)) in all.iter().enumerate() {
        for (two, y) in all.iter().skip(place + 1) {
            let cosine = cosine(one, two);
            let apart = 1.0 - cosine * cosine;
            let explained = x * x + y * y - 2.0 * cosine * x * y;
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
