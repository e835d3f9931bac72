//! What a growth would come to, if it went on.

use crate::result::Projection;

/// From the growth (none where it could not be measured), the last count and the process's own limit.
///
/// A count that does not grow adds nothing: the projection of a slight fall is 0, not a negative count.
#[must_use]
pub fn project(growth_per_min: Option<f64>, last_count: f64, process_limit: Option<u64>) -> Projection {
    let per_min = growth_per_min.unwrap_or(0.0).max(0.0);
    Projection {
        after_1h: per_min * 60.0,
        after_24h: per_min * 60.0 * 24.0,
        process_limit,
        exhausted_in_s: process_limit.and_then(|limit| exhausted_in_s(per_min, limit as f64 - last_count)),
    }
}

fn exhausted_in_s(per_min: f64, room: f64) -> Option<f64> {
    (per_min > 0.0).then(|| room.max(0.0) / per_min * 60.0)
}

#[cfg(test)]
mod tests {
    use super::project;

    #[test]
    fn a_leak_reaches_the_limit_in_time() {
        let projection = project(Some(43.0), 164.0, Some(1024));
        assert!((projection.after_1h - 2580.0).abs() < 1e-9);
        assert!((projection.after_24h - 61_920.0).abs() < 1e-9);
        assert!((projection.exhausted_in_s.unwrap() - 1200.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_is_exhausted_where_nothing_grows_or_nothing_limits() {
        assert_eq!(project(Some(-0.1), 60.0, Some(1024)).exhausted_in_s, None);
        assert_eq!(project(None, 60.0, Some(1024)).exhausted_in_s, None);
        assert_eq!(project(Some(1.0), 60.0, None).exhausted_in_s, None);
        assert!(project(Some(-3.0), 60.0, None).after_1h.abs() < 1e-12);
    }

    #[test]
    fn a_limit_already_passed_is_reached_now() {
        assert_eq!(project(Some(1.0), 2000.0, Some(1024)).exhausted_in_s, Some(0.0));
    }
}
