//! A series of bounded length, however long it goes on: when it is full, neighbours are averaged.

use crate::growth::Point;

/// The points so far. What it holds depends on what was pushed alone, so a run under way and its record see the same.
#[derive(Clone, Debug)]
pub struct Thinned {
    points: Vec<Point>,
    most: usize,
    /// Each point is the mean of so many samples.
    stride: usize,
    /// Of those, what has come of the next one.
    open: Vec<Point>,
}

impl Thinned {
    /// Holds between half of `most` points and `most`, once so many have come.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { points: Vec::new(), most: most.max(2), stride: 1, open: Vec::new() }
    }

    /// Takes the next sample.
    pub fn push(&mut self, point: Point) {
        self.open.push(point);
        if self.open.len() < self.stride {
            return;
        }
        if self.points.len() >= self.most {
            self.points = self.points.chunks(2).map(mean).collect();
            self.stride *= 2;
            return;
        }
        self.points.push(mean(&self.open));
        self.open.clear();
    }

    /// What was kept, in order of time. The last samples may be missing, fewer than one point stands for.
    #[must_use]
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// Whether each point is a sample as it came.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.stride == 1
    }
}

fn mean(points: &[Point]) -> Point {
    let n = points.len() as f64;
    let elapsed_s = points.iter().map(|point| point.elapsed_s).sum::<f64>() / n;
    Point { elapsed_s, count: points.iter().map(|point| point.count).sum::<f64>() / n }
}

#[cfg(test)]
mod tests {
    use super::Thinned;
    use crate::growth::Point;

    fn of(seconds: u32, most: usize) -> Thinned {
        let mut thinned = Thinned::new(most);
        (0..seconds).map(f64::from).for_each(|s| thinned.push(Point { elapsed_s: s, count: s / 60.0 }));
        thinned
    }

    #[test]
    fn two_days_of_seconds_stay_bounded_and_evenly_spaced_from_first_to_last() {
        let thinned = of(172_800, 600);
        let points = thinned.points();
        assert!((300..=600).contains(&points.len()) && !thinned.is_whole(), "{}", points.len());
        let steps: Vec<f64> = points.windows(2).map(|pair| pair[1].elapsed_s - pair[0].elapsed_s).collect();
        assert!(steps.iter().all(|step| (step - steps[0]).abs() < 1e-9), "{steps:?}");
        assert!(points[0].elapsed_s < steps[0] && points.last().unwrap().elapsed_s + steps[0] >= 172_799.0);
        assert!(points.iter().all(|point| (point.count - point.elapsed_s / 60.0).abs() < 1e-9));
    }

    #[test]
    fn a_short_series_stays_as_it_is() {
        let points: Vec<f64> = of(600, 600).points().iter().map(|point| point.elapsed_s).collect();
        assert_eq!(points, (0..600).map(f64::from).collect::<Vec<f64>>());
    }
}
