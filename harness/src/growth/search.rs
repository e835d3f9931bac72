//! Which shape explains most beside a straight line.
//!
//! Of a shape only what a straight line does not explain is its own, and so much of what the line leaves it explains as
//! lies along that part. For a step and a bump all of it follows from sums up to their edges, so that one more costs the
//! same however many points there are.

use crate::growth::Point;
use crate::growth::shape::{Family, Shape, shares};
use crate::growth::slope::{about_mean, centred, dot, square_sum, without};

/// A shape whose own part is less than this, in squares a point, is a straight line.
const OWN_MIN: f64 = 1e-9;

/// A family of shapes at the moments of a series.
pub(crate) struct Search {
    shares: Vec<f64>,
    minutes: Vec<f64>,
    minutes_up_to: Vec<f64>,
    /// Of the minutes, squared.
    time: f64,
    family: Family,
    pub(crate) drawn: Vec<Drawn>,
}

/// A shape at those moments.
pub(crate) struct Drawn {
    pub(crate) shape: Shape,
    place: Place,
    mean: f64,
    /// Its multiple of time.
    along: f64,
    /// Of its own part.
    length: f64,
}

enum Place {
    /// One from here to there, and else zero.
    Between(usize, usize),
    Everywhere {
        values: Vec<f64>,
        up_to: Vec<f64>,
    },
}

/// What a straight line leaves of counts.
pub(crate) struct Left {
    values: Vec<f64>,
    up_to: Vec<f64>,
}

impl Search {
    /// `None` where there is too little for any.
    pub(crate) fn of(points: &[Point], family: Family) -> Option<Self> {
        let (shares, (minutes, _)) = (shares(points), centred(points));
        let (time, minutes_up_to) = (square_sum(&minutes), sums(&minutes));
        if time <= 0.0 || points.len() < 3 {
            return None;
        }
        let mut search = Self { shares, minutes, minutes_up_to, time, family, drawn: Vec::new() };
        search.drawn = family.shapes().filter_map(|shape| search.draw(shape)).collect();
        Some(search)
    }

    /// The one of the family that explains most of these counts, its edges placed finely.
    pub(crate) fn best(&self, points: &[Point]) -> Option<Shape> {
        let left = self.left(points);
        let by_explained = |a: &Drawn, b: &Drawn| a.explains(&left).abs().total_cmp(&b.explains(&left).abs());
        let best = self.drawn.iter().max_by(|a, b| by_explained(a, b))?.shape;
        let finely = |shapes: Vec<Shape>| {
            let drawn = shapes.into_iter().filter_map(|shape| self.draw(shape));
            drawn.max_by(by_explained).map(|drawn| drawn.shape)
        };
        // One edge after the other: a bump has two.
        let early = finely(best.with_first_edge(self.family))?;
        finely(early.with_last_edge())
    }

    /// What a straight line leaves of counts at these moments.
    pub(crate) fn left(&self, points: &[Point]) -> Left {
        let (_, counts) = centred(points);
        let values = without(&counts, &self.minutes, dot(&self.minutes, &counts) / self.time);
        let up_to = sums(&values);
        Left { values, up_to }
    }

    /// `None` for a shape that is a straight line here.
    pub(crate) fn draw(&self, shape: Shape) -> Option<Drawn> {
        let at = |share: f64| self.shares.partition_point(|moment| *moment < share);
        let n = self.shares.len() as f64;
        let (place, mean, along, squares) = match shape.edges() {
            Some((from, to)) => {
                let (from, to) = (at(from), at(to));
                let mean = to.saturating_sub(from) as f64 / n;
                let along = between(&self.minutes_up_to, from, to) / self.time;
                (Place::Between(from, to), mean, along, mean * (1.0 - mean) * n)
            }
            None => {
                let values: Vec<f64> = self.shares.iter().map(|share| shape.value(*share)).collect();
                let mean = values.iter().sum::<f64>() / n;
                let squares = square_sum(&about_mean(values.iter().copied()));
                let along = dot(&values, &self.minutes) / self.time;
                let up_to = sums(&values);
                (Place::Everywhere { values, up_to }, mean, along, squares)
            }
        };
        let own = squares - along * along * self.time;
        (own > OWN_MIN * n).then(|| Drawn { shape, place, mean, along, length: own.sqrt() })
    }

    /// Of the angle between the own parts of both.
    pub(crate) fn cosine(&self, one: &Drawn, two: &Drawn) -> f64 {
        let product = match (&one.place, &two.place) {
            (Place::Between(from, to), Place::Between(other_from, other_to)) => {
                to.min(other_to).saturating_sub(*from.max(other_from)) as f64
            }
            (Place::Between(from, to), Place::Everywhere { up_to, .. })
            | (Place::Everywhere { up_to, .. }, Place::Between(from, to)) => between(up_to, *from, *to),
            (Place::Everywhere { values, .. }, Place::Everywhere { values: other, .. }) => dot(values, other),
        };
        let n = self.shares.len() as f64;
        let own = product - n * one.mean * two.mean - self.time * one.along * two.along;
        own / (one.length * two.length)
    }
}

impl Drawn {
    /// How much lies along its own part: the square is by how much it lowers the squared residuals of the line.
    pub(crate) fn explains(&self, left: &Left) -> f64 {
        let along = match &self.place {
            Place::Between(from, to) => between(&left.up_to, *from, *to),
            Place::Everywhere { values, .. } => dot(values, &left.values),
        };
        along / self.length
    }
}

/// Of the values before each place, and of all.
fn sums(values: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0];
    sums.extend(values.iter().scan(0.0, |sum, value| {
        *sum += value;
        Some(*sum)
    }));
    sums
}

fn between(up_to: &[f64], from: usize, to: usize) -> f64 {
    let sum = |place: usize| up_to.get(place).copied().unwrap_or(0.0);
    sum(to) - sum(from)
}
