//! When a limit would be reached, said at the first moment at which anybody could say that something grows: what comes
//! after that moment is not looked at.

use crate::growth::Point;
use crate::growth::verdict::{Explained, Settings, Watch, judge};
use crate::result::Foretold;

/// A count is at its limit from so near on: two short of it, or one percent. Who opens several at a time never has the last
/// one.
const NEAR: f64 = 0.01;
/// A leak is called at the first look at which it looks like one, which is one at which chance has made it look faster than
/// it is. So what it comes to is said a while later.
const AS_LONG: f64 = 2.0;

/// The first sample at the limit.
#[must_use]
pub fn reached(points: &[Point], limit: f64) -> Option<Point> {
    let full = limit - (limit * NEAR).max(2.0);
    points.iter().find(|point| point.count >= full).copied()
}

/// From the samples of one life, in order of time, up to the moment at which they have been watched twice as long
/// ([`AS_LONG`]) as until their growth was called a leak, or up to the call where there are none so late; `None` where it is
/// not called, or where the limit was passed by then.
///
/// Where nobody says how far the count may rise, what the limit of growth allows in a quarter of an hour is taken for it, as
/// for every moment at which a leak can be called.
#[must_use]
pub fn foretell(points: &[Point], settings: &Settings, limit: f64) -> Option<Foretold> {
    let explained = match settings.explained {
        Explained::Unknown => Explained::Assumed,
        known @ (Explained::Assumed | Explained::Declared(_)) => known,
    };
    let mut watch = Watch::new(&Settings { explained, ..*settings })?;
    let called = points.iter().position(|point| watch.push(*point))?;
    let (first_s, called_s) = (points.first()?.elapsed_s, points.get(called)?.elapsed_s);
    let due_s = first_s + (called_s - first_s) * AS_LONG;
    let look = points.iter().position(|point| point.elapsed_s >= due_s).unwrap_or(called);
    at_look(points.get(..=look)?, settings, limit)
}

/// From these samples alone.
fn at_look(seen: &[Point], settings: &Settings, limit: f64) -> Option<Foretold> {
    // When it was called is known by now.
    let judged = judge(seen, &Settings { explained: Explained::Unknown, ..*settings });
    let line = judged.line?;
    let per_min = judged.judgement.growth_per_min.filter(|per_min| *per_min > 0.0)?;
    let room = limit - line.to_count;
    let at_s = line.to_s + room / per_min * 60.0;
    (room > 0.0).then_some(Foretold { made_at_s: seen.last()?.elapsed_s, at_s })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::growth::median;
    use crate::simulated::{Leak, Noise, series};

    const LIMIT: f64 = 1024.0;

    fn settings() -> Settings {
        Settings { explained: Explained::Declared(24.0), ..Settings::by_limit(2.0) }
    }

    /// What was foretold of a series and when it was reached, without the sample that reached it.
    fn both(seed: u64, noise: Noise, leak: Leak) -> Option<(Foretold, f64)> {
        let points = series(seed, 3600, noise, leak);
        let at = reached(&points, LIMIT).unwrap();
        let before: Vec<Point> = points.into_iter().filter(|point| point.elapsed_s < at.elapsed_s).collect();
        Some((foretell(&before, &settings(), LIMIT)?, at.elapsed_s))
    }

    /// By which share of the time that was left it came later or earlier than foretold, the middle one and the worst of
    /// many series.
    fn off(noise: Noise, leak: Leak) -> (f64, f64) {
        let off = |seed| {
            let (told, at_s) = both(seed, noise, leak).unwrap();
            assert!(told.made_at_s < 30.0 + 300.0, "{noise:?} {leak:?} {seed}: {told:?}");
            (told.at_s - at_s).abs() / (at_s - told.made_at_s)
        };
        let all: Vec<f64> = (0..40).map(off).collect();
        (median(&all).unwrap(), all.iter().copied().fold(0.0, f64::max))
    }

    #[test]
    fn a_leak_is_foretold_long_before_and_comes_about_when_it_was_foretold() {
        for (noise, leak, (middle, worst)) in [
            (Noise::Churn, Leak::Steady(43.0), (0.02, 0.08)),
            (Noise::WarmUp, Leak::Steady(43.0), (0.02, 0.08)),
            (Noise::MixedChurn, Leak::Steady(30.0), (0.1, 0.25)),
            // A unit comes when chance has it: so many units are known to so much, and no better.
            (Noise::Churn, Leak::Chance(30.0), (0.15, 0.6)),
        ] {
            let off = off(noise, leak);
            assert!(off.0 < middle && off.1 < worst, "{noise:?} {leak:?}: {off:?}");
        }
    }

    #[test]
    fn nothing_after_the_moment_is_looked_at() {
        let points = series(7, 1200, Noise::Churn, Leak::Steady(43.0));
        let told = foretell(&points, &settings(), LIMIT).unwrap();
        let until: Vec<Point> = points.into_iter().filter(|p| p.elapsed_s <= told.made_at_s).collect();
        assert_eq!(foretell(&until, &settings(), LIMIT), Some(told));
        let less = foretell(&until[..until.len() - 1], &settings(), LIMIT);
        assert!(less.is_none_or(|less| less.made_at_s < told.made_at_s), "{less:?} {told:?}");
    }

    #[test]
    fn what_is_flat_or_past_it_is_not_foretold() {
        let flat = series(1, 1200, Noise::Churn, Leak::None);
        assert_eq!(foretell(&flat, &settings(), LIMIT), None);
        let leak = series(1, 1200, Noise::Churn, Leak::Steady(43.0));
        assert_eq!(foretell(&leak, &settings(), 80.0), None);
        assert_eq!(reached(&flat, LIMIT), None);
        let point = |count| [Point { elapsed_s: 1.0, count }];
        assert!(reached(&point(62.0), 64.0).is_some() && reached(&point(61.0), 64.0).is_none());
        assert!(reached(&point(1014.0), 1024.0).is_some() && reached(&point(1013.0), 1024.0).is_none());
    }
}
