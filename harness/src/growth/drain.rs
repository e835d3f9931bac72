//! Whether a count came back after the load.

use crate::growth::{Point, median};
use crate::result::DrainResult;

/// Samples at the end of the drain whose median is its result: one late socket must not decide.
const SETTLED_SAMPLES: usize = 5;

/// The count while idle (median of `idle`, before the load) against the end of `draining`.
///
/// Which kinds were kept, and what explains them, is not known here and left open. `None` where either stretch has no samples.
#[must_use]
pub fn drain(idle: &[Point], draining: &[Point]) -> Option<DrainResult> {
    let idle_counts: Vec<f64> = idle.iter().map(|point| point.count).collect();
    let last: Vec<f64> = draining.iter().rev().take(SETTLED_SAMPLES).map(|point| point.count).collect();
    let (idle_count, drained_count) = (median(&idle_counts)?, median(&last)?);
    Some(DrainResult { idle_count, drained_count, explained: None, kept: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::drain;
    use crate::growth::Point;
    use crate::result::DrainResult;

    fn points(counts: &[f64]) -> Vec<Point> {
        counts.iter().zip(0..).map(|(count, s)| Point { elapsed_s: f64::from(s), count: *count }).collect()
    }

    #[test]
    fn medians_ignore_a_single_socket_on_either_side() {
        let found = drain(&points(&[60.0, 60.0, 75.0]), &points(&[90.0, 64.0, 64.0, 64.0, 64.0, 70.0]));
        assert_eq!(
            found,
            Some(DrainResult { idle_count: 60.0, drained_count: 64.0, explained: None, kept: vec![] })
        );
    }

    #[test]
    fn nothing_is_said_without_both_stretches() {
        assert_eq!(drain(&[], &points(&[1.0])), None);
        assert_eq!(drain(&points(&[1.0]), &[]), None);
    }
}
