//! Paces since later moments of a run: a leak may begin late.

use crate::growth::Point;
use crate::growth::account::{self, Account, Change};
use crate::growth::slope::Growth;
use crate::growth::verdict::REST;

/// Shares of the run since which a late leak is looked for.
pub(super) const LATE: [f64; 3] = [0.25, 0.5, 0.75];
/// The degrees of freedom of a pace since then, as a share of those of the whole.
const LATE_DEGREES: f64 = 0.5;

/// A pace since some moment.
pub(super) struct Late {
    pub(super) since_s: f64,
    pub(super) pace: Growth,
    /// What changes of the last quarter would add to it.
    pub(super) rise_per_min: f64,
}

impl Late {
    /// A part of the window carries this pace, and fewer cosines measure its noise than that of the whole.
    pub(super) fn half_width(&self, alpha: f64) -> f64 {
        let degrees = (self.pace.degrees * LATE_DEGREES).max(1.0);
        Growth { degrees, ..self.pace }.half_width(alpha)
    }

    /// Since then the growth was slower than this, only with chance `alpha` not, though all that changed late were a part
    /// of it.
    pub(super) fn high(&self, alpha: f64) -> f64 {
        self.pace.per_min + self.rise_per_min + self.half_width(alpha)
    }
}

/// The paces since shares of the whole, with bounded changes taken out: one that is left in would be noise in what
/// follows it, and hide a leak that begins late.
pub(super) fn late_paces(points: &[Point], first: Option<&Account>, quantum: f64) -> Vec<Late> {
    // Dear, and without so much as a hint of a change there is none.
    let hinted = first.filter(|first| first.is_hinted());
    let all = hinted.and_then(|first| match first.changes.as_slice() {
        [_] => {
            let several = account::several_changes(points, quantum).pop();
            several.or_else(|| first.significant.then(|| first.clone()))
        }
        _ => Some(first.clone()),
    });
    let rest = all.as_ref().map_or_else(|| points.to_vec(), |all| all.taken_from(points, |_| true));
    // Changes in the last quarter may be a part of the leak that is looked for: by as much as all of them together leave.
    let is_late = |change: &&Change| change.shape.over() > 1.0 - REST;
    let changes = all.iter().flat_map(|all| &all.changes).filter(is_late);
    let rise =
        changes.map(|change| change.size.per_min * change.shape.stays(1.0 - REST)).sum::<f64>().max(0.0);
    let until_s = points.last().map_or(0.0, |point| point.elapsed_s);
    let since = |at: f64| {
        let moment_s = rest.first()?.elapsed_s * (1.0 - at) + rest.last()?.elapsed_s * at;
        let pace = account::pace_since(&rest, at, quantum)?;
        Some(Late { since_s: moment_s, pace, rise_per_min: rise * 60.0 / (until_s - moment_s) })
    };
    LATE.into_iter().filter_map(since).collect()
}

#[cfg(test)]
mod tests {
    use super::late_paces;
    use crate::growth::Point;
    use crate::growth::account::best_change;

    fn hour(count: impl Fn(f64) -> f64) -> Vec<Point> {
        let at = |s: f64| Point { elapsed_s: s, count: (count(s) + (s * 1.7).sin()).round() };
        (0..720).map(|i| at(f64::from(i) * 5.0)).collect()
    }

    fn rise(points: &[Point]) -> f64 {
        let late = late_paces(points, best_change(points, 1.0).as_ref(), 1.0);
        late.last().map_or(0.0, |late| late.rise_per_min)
    }

    #[test]
    fn what_stays_of_a_late_change_may_be_a_leak_and_what_is_given_back_is_none() {
        let up = |from: f64, to: f64| move |s: f64| if s >= from && s < to { 60.0 } else { 0.0 };
        // Sixty more at the end of the last quarter of an hour.
        let stays = rise(&hour(up(3000.0, 4000.0)));
        assert!((stays - 4.0).abs() < 0.3, "{stays}");
        for (from, to) in [(3000.0, 3300.0), (3100.0, 3105.0)] {
            let back = rise(&hour(up(from, to)));
            assert!(back < 0.2, "{from} to {to}: {back}");
        }
    }
}
