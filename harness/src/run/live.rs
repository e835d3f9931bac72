//! The growth so far, kept for the display alone: what is judged is read from the run directory.

use crate::growth::Point;

/// Ten minutes of one sample a second. Beyond that a line through fewer points shows the same to a person.
const POINTS_MAX: usize = 600;

/// A series of even spacing and bounded length, however long the run: when it is full, every other point
/// goes, and from then on only every other one is taken.
#[derive(Debug)]
pub(super) struct Series {
    points: Vec<Point>,
    /// One of so many is taken.
    stride: u64,
    seen: u64,
}

impl Default for Series {
    fn default() -> Self {
        Self { points: Vec::new(), stride: 1, seen: 0 }
    }
}

impl Series {
    /// Takes the next point, or passes over it.
    pub(super) fn push(&mut self, point: Point) {
        if self.points.len() >= POINTS_MAX {
            let mut keep = false;
            self.points.retain(|_| {
                keep = !keep;
                keep
            });
            self.stride *= 2;
        }
        if self.seen.is_multiple_of(self.stride) {
            self.points.push(point);
        }
        self.seen += 1;
    }

    /// What was taken, in order of time.
    #[must_use]
    pub(super) fn points(&self) -> &[Point] {
        &self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_days_of_seconds_stay_bounded_and_evenly_spaced_from_first_to_last() {
        let mut series = Series::default();
        for second in 0..172_800_u32 {
            series.push(Point { elapsed_s: f64::from(second), count: 1.0 });
        }
        let times: Vec<f64> = series.points().iter().map(|point| point.elapsed_s).collect();
        assert!(times.len() <= POINTS_MAX && times.len() >= POINTS_MAX / 2, "{}", times.len());
        let steps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(steps.iter().all(|step| (step - steps[0]).abs() < 1e-9), "{steps:?}");
        assert!(times[0] == 0.0 && times.last().unwrap() + steps[0] >= 172_800.0 - 1.0);
    }
}
