//! A series as a straight line and bounded changes beside it, each fitted beside the others.
//!
//! A run of an hour may have an outage, two steps and a leak that begins late. One change that is left in is noise in what
//! follows it, and one that was taken out alone may have been taken for another. So up to four are fitted together, and
//! kept where each is significant beside the others.

use crate::growth::Point;
use crate::growth::first::first_shapes;
use crate::growth::search::Search;
use crate::growth::shape::{ALONE, AMONG_SEVERAL, Family, Shape, coarse, shares};
use crate::growth::slope::{Growth, cosines_by_length, growth_beside};

/// Chance that a series without any change shows a significant one, over the whole family.
const ALPHA: f64 = 0.001;
/// The same for a first change that is worth a search for others, each of which hides it.
const ALPHA_HINT: f64 = 0.2;
/// Several changes are told from noise only where what is left forgets so soon that so many cosines measure its error:
/// noise that remembers for long has the shape of any of them.
const COSINES_TOLD: f64 = 20.0;
/// In a series too short for so many this share of the cosines that its length allows is asked for one change.
const SHARE_TOLD: f64 = 0.65;
/// Or it goes up or down at once by so many times what is left: noise that remembers does not jump.
const SHARP_SPREADS: f64 = 5.0;
/// Among so many points they are looked for.
const SEARCH_POINTS: usize = 1000;
/// How often each is looked for anew beside the others, at most.
const ROUNDS_MAX: usize = 8;
/// How many changes are fitted beside each other at most.
const CHANGES_MAX: usize = 4;

/// A shape fitted beside a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) shape: Shape,
    /// Its multiple, in counts.
    pub(crate) size: Growth,
}

impl Change {
    /// Whether chance is ruled out as its cause.
    fn is_significant(&self, family: Family) -> bool {
        self.size.per_min.abs() > self.size.half_width(ALPHA / family.size() as f64)
    }
}

/// A series as a straight line and bounded changes, fitted beside each other.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Account {
    /// Never empty.
    pub(crate) changes: Vec<Change>,
    /// What grows beside them.
    pub(crate) growth: Growth,
    /// Whether chance is ruled out as the cause of each.
    pub(crate) significant: bool,
    /// Whether each is told from noise that remembers for long, which has the shape of any: the series is long, what is left
    /// forgets soon, or they have edges that are far sharper than it.
    pub(crate) told: bool,
    /// What neither explains, in squares.
    squares_left: f64,
}

impl Account {
    fn of(
        points: &[Point],
        shares: &[f64],
        (shapes, family): (&[Shape], Family),
        quantum: f64,
    ) -> Option<Self> {
        let values = |shape: &Shape| shares.iter().map(|share| shape.value(*share)).collect();
        let values: Vec<Vec<f64>> = shapes.iter().map(values).collect();
        let beside = growth_beside(points, &values, quantum)?;
        let changes = shapes.iter().zip(beside.sizes).map(|(shape, size)| Change { shape: *shape, size });
        let changes: Vec<Change> = changes.collect();
        let significant = changes.iter().all(|change| change.is_significant(family));
        let allowed = cosines_by_length(points.len());
        let left = (beside.squares_left / points.len() as f64).sqrt();
        let is_sharp = |change: &Change| {
            change.shape.edges().is_some() && change.size.per_min.abs() > SHARP_SPREADS * left
        };
        let told = allowed >= COSINES_TOLD
            || beside.growth.degrees >= SHARE_TOLD * allowed
            || changes.iter().all(is_sharp);
        Some(Self { changes, growth: beside.growth, significant, told, squares_left: beside.squares_left })
    }

    /// Whether there is so much as a hint of each.
    pub(crate) fn is_hinted(&self) -> bool {
        self.changes.iter().all(|change| change.size.per_min.abs() >= change.size.half_width(ALPHA_HINT))
    }

    /// When all is over, as a share of the window.
    pub(crate) fn over(&self) -> f64 {
        self.changes.iter().map(|change| change.shape.over()).fold(0.0, f64::max)
    }

    /// Whether a pace changes all the time.
    pub(crate) fn bends(&self) -> bool {
        self.changes.iter().any(|change| change.shape == Shape::Bend)
    }

    /// By how much the changes lift the end above the beginning.
    pub(crate) fn lifts(&self) -> f64 {
        let lift =
            |change: &Change| change.size.per_min * (change.shape.value(1.0) - change.shape.value(0.0));
        self.changes.iter().map(lift).sum()
    }

    /// The points without these of the changes.
    pub(crate) fn taken_from(&self, points: &[Point], which: impl Fn(&Change) -> bool) -> Vec<Point> {
        let changes: Vec<&Change> = self.changes.iter().filter(|change| which(change)).collect();
        let sum = |share: f64| -> f64 {
            changes.iter().map(|change| change.size.per_min * change.shape.value(share)).sum()
        };
        let shares = shares(points);
        let less = |(point, share): (&Point, f64)| Point { count: point.count - sum(share), ..*point };
        points.iter().zip(shares).map(less).collect()
    }
}

/// The one change that explains most beside a straight line, be it significant or not.
pub(crate) fn best_change(points: &[Point], quantum: f64) -> Option<Account> {
    let shares = shares(points);
    Account::of(points, &shares, (&[Search::of(points, ALONE)?.best(points)?], ALONE), quantum)
}

/// Accounts of two changes and more, up to [`CHANGES_MAX`], all of which are significant beside each other: of each number
/// of changes the one that explains most, the one of fewest first. One change hides another: so the first are looked for
/// together, and each is looked for anew beside what is found after it.
pub(crate) fn several_changes(points: &[Point], quantum: f64) -> Vec<Account> {
    // Dear, and with too few samples nothing would be kept.
    if cosines_by_length(points.len()) < COSINES_TOLD {
        return Vec::new();
    }
    let few = &coarse(points, SEARCH_POINTS);
    let Some(search) = Search::of(few, AMONG_SEVERAL) else { return Vec::new() };
    let all_shares = &shares(points);
    let mut kept: Vec<Account> = first_shapes(points)
        .into_iter()
        .flat_map(|shapes| grown(shapes, few, &search, quantum))
        .filter_map(|shapes| Account::of(points, all_shares, (&shapes, AMONG_SEVERAL), quantum))
        .filter(|whole| whole.significant && whole.growth.degrees >= COSINES_TOLD)
        .collect();
    let number = |account: &Account| account.changes.len();
    kept.sort_by(|a, b| number(a).cmp(&number(b)).then(a.squares_left.total_cmp(&b.squares_left)));
    kept.dedup_by_key(|account| number(account));
    kept
}

/// Shapes with one more each time, up to [`CHANGES_MAX`]: each is looked for anew beside the others. Those that are
/// significant together.
fn grown(mut shapes: Vec<Shape>, points: &[Point], search: &Search, quantum: f64) -> Vec<Vec<Shape>> {
    let shares = &shares(points);
    let account = |shapes: &[Shape]| Account::of(points, shares, (shapes, AMONG_SEVERAL), quantum);
    let mut kept = Vec::new();
    while let Some(mut found) = account(&shapes) {
        for _ in 0..ROUNDS_MAX {
            let before = shapes.clone();
            for shape in &before {
                let others = found.taken_from(points, |change| change.shape != *shape);
                let Some(better) = search.best(&others) else { continue };
                let anew = |other: &Shape| if other == shape { better } else { *other };
                let refined: Vec<Shape> = shapes.iter().map(anew).collect();
                if let Some(account) = account(&refined).filter(|new| new.squares_left < found.squares_left) {
                    (shapes, found) = (refined, account);
                }
            }
            if shapes == before {
                break;
            }
        }
        if found.significant {
            kept.push(shapes.clone());
        }
        match search.best(&found.taken_from(points, |_| true)) {
            Some(next) if shapes.len() < CHANGES_MAX => shapes.push(next),
            _ => break,
        }
    }
    kept
}

/// The pace from a share of the window on, with the noise and the level of the whole of it.
pub(crate) fn pace_since(points: &[Point], at: f64, quantum: f64) -> Option<Growth> {
    Account::of(points, &shares(points), (&[Shape::Knee { at }], ALONE), quantum)
        .map(|account| account.growth)
}

#[cfg(test)]
mod tests {
    use super::{best_change, pace_since, several_changes};
    use crate::growth::Point;
    use crate::growth::shape::Shape;

    fn series(count: impl Fn(f64) -> f64) -> Vec<Point> {
        // A small ripple, so that nothing is free of noise.
        (0..300)
            .map(f64::from)
            .map(|s| Point { elapsed_s: s, count: (count(s) + (s * 1.7).sin()).round() })
            .collect()
    }

    #[test]
    fn a_step_is_found_and_nothing_grows_beside_it() {
        let found = best_change(&series(|s| if s < 130.0 { 50.0 } else { 62.0 }), 1.0).expect("a change");
        let Shape::Step { at } = found.changes[0].shape else { panic!("{found:?}") };
        assert!(found.significant && (at * 299.0 - 130.0).abs() < 2.0, "{found:?}");
        assert!(found.growth.per_min.abs() < 0.5, "{found:?}");
    }

    #[test]
    fn an_outage_that_recovers_is_a_bump() {
        let outage = |s: f64| if (110.0..150.0).contains(&s) { 90.0 } else { 50.0 };
        let found = best_change(&series(outage), 1.0).expect("a change");
        let Shape::Bump { from, to } = found.changes[0].shape else { panic!("{found:?}") };
        assert!((from * 299.0 - 110.0).abs() < 2.0 && (to * 299.0 - 150.0).abs() < 2.0, "{found:?}");
        assert!(found.significant && found.growth.per_min.abs() < 0.5, "{found:?}");
    }

    #[test]
    fn a_queue_that_filled_is_a_knee_with_nothing_after_it() {
        let found = best_change(&series(|s| 50.0 + (s / 2.0).min(60.0)), 1.0).expect("a change");
        assert!(matches!(found.changes[0].shape, Shape::Knee { at } if (at - 0.4).abs() < 0.06), "{found:?}");
        assert!(found.significant && found.growth.per_min.abs() < 0.5, "{found:?}");
    }

    #[test]
    fn a_leak_that_begins_late_is_a_knee_with_its_pace_after_it() {
        let points = series(|s| 50.0 + (s - 209.0).max(0.0) / 6.0);
        let found = best_change(&points, 1.0).expect("a change");
        assert!(found.significant, "{found:?}");
        assert!((found.growth.per_min - 10.0).abs() < 1.5, "{found:?}");
        let pace = pace_since(&points, 0.7, 1.0).expect("a pace");
        assert!((pace.per_min - 10.0).abs() < 1.0, "{pace:?}");
    }

    #[test]
    fn a_warm_up_that_settles_leaves_no_growth() {
        let found = best_change(&series(|s| 90.0 - 60.0 * (-s / 45.0).exp()), 1.0).expect("a change");
        assert!(matches!(found.changes[0].shape, Shape::Settling { .. }), "{found:?}");
        assert!(found.significant && found.growth.per_min.abs() < 0.5, "{found:?}");
    }

    #[test]
    fn a_straight_line_shows_no_significant_change() {
        for per_min in [0.0, 3.0, 43.0] {
            let found = best_change(&series(|s| 50.0 + s * per_min / 60.0), 1.0).expect("a fit");
            assert!(!found.significant, "{per_min}: {found:?}");
        }
    }

    #[test]
    fn two_changes_that_hide_each_other_are_found_together() {
        let points: Vec<Point> = (0..720)
            .map(f64::from)
            .map(|s| {
                let outage = if (350.0..420.0).contains(&s) { 40.0 } else { 0.0 };
                let late = (s - 540.0).max(0.0) / 4.0;
                Point { elapsed_s: s * 5.0, count: (50.0 + outage + late + (s * 1.7).sin()).round() }
            })
            .collect();
        let found = several_changes(&points, 1.0);
        let shapes = found[0].changes.iter().map(|change| change.shape);
        assert_eq!(found[0].changes.len(), 2, "{found:?}");
        assert!(shapes.clone().any(|shape| matches!(shape, Shape::Bump { .. })), "{found:?}");
        assert!(shapes.clone().any(|shape| matches!(shape, Shape::Knee { at } if (at - 0.75).abs() < 0.03)));
        assert!((found[0].growth.per_min - 3.0).abs() < 0.1, "{found:?}");
    }

    /// Three steps up within an hour, the first of them early.
    fn three_steps(count: impl Fn(f64) -> f64) -> Vec<Point> {
        let steps = |s: f64| [300.0, 1300.0, 2200.0].iter().filter(|at| s > **at).count() as f64 * 10.0;
        let ripple = |s: f64| (s * 1.7).sin() + (s * 0.9).cos();
        (0..720)
            .map(|i| f64::from(i) * 5.0)
            .map(|s| Point { elapsed_s: s, count: (50.0 + steps(s) + count(s) + ripple(s)).round() })
            .collect()
    }

    #[test]
    fn three_steps_that_look_like_a_slope_are_found() {
        let found = several_changes(&three_steps(|_| 0.0), 1.0);
        let three = found.iter().find(|all| all.changes.len() == 3).expect("three");
        for at in [300.0, 1300.0, 2200.0] {
            let is_there =
                |shape| matches!(shape, Shape::Step { at: found } if (found * 3595.0 - at).abs() < 15.0);
            assert!(three.changes.iter().any(|change| is_there(change.shape)), "{at}: {three:?}");
        }
        assert!(three.growth.per_min.abs() < 0.1, "{three:?}");
    }

    #[test]
    fn a_late_leak_behind_three_steps_is_found_with_them() {
        let found = several_changes(&three_steps(|s| (s - 2700.0).max(0.0) / 20.0), 1.0);
        let all = found.last().expect("an account");
        let is_late = |shape| matches!(shape, Shape::Knee { at } if (at - 0.75).abs() < 0.03);
        assert!(all.changes.len() == 4 && all.changes.iter().any(|change| is_late(change.shape)), "{all:?}");
        assert!((all.growth.per_min - 3.0).abs() < 0.2, "{all:?}");
    }

    #[test]
    fn slow_waves_are_not_taken_for_changes() {
        let waves = |s: f64| 20.0 * (s / 130.0).sin() + 14.0 * (s / 57.0).sin();
        let points: Vec<Point> = (0..720)
            .map(f64::from)
            .map(|s| Point { elapsed_s: s * 5.0, count: (300.0 + waves(s)).round() })
            .collect();
        assert_eq!(several_changes(&points, 1.0), []);
    }
}
