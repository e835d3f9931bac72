//! When a live run could have stopped.
//!
//! A pass is never early: a leak may begin at any time. A fail may be early, under three conditions.
//! The looks are fixed in advance (each a fourth root of two after the one before, from one minute on), so that nobody
//! peeks until it fits; the k-th look may err with alpha times 8 / ((k + 7) (k + 8)), which adds up to alpha over however
//! many. A fail must hold at two looks in a row. And the rise must be more than [`Explained`](super::Explained) says, without which a queue that fills
//! is called a leak by any statistic. Each look also keeps the guard of 1 in 1,000 at half the limit.
//!
//! Each look judges the samples up to it and nothing else, so a series that is cut at the moment of the
//! decision gives the same moment.

use crate::growth::Point;
use crate::growth::quality;
use crate::growth::thinned::Thinned;
use crate::growth::verdict::{ALPHA, Evidence, Settings};
use crate::growth::warmup::Warmup;
use crate::result::Verdict;

/// The first look, seconds after the declared warm-up.
const FIRST_S: f64 = 60.0;
/// From one look to the next: the fourth root of two. Coarser ones call a leak later, as two must agree.
const FACTOR: f64 = 1.189_207_115_002_721;

/// How the chance of error is spread: the k-th look has the share SPREAD / ((k + SPREAD - 1) (k + SPREAD)) of it, and all
/// of them 1. With 1 the first look, at which nothing is called yet, would have half.
const SPREAD: f64 = 8.0;

/// Looks at a series as it grows, at the moments that are fixed in advance, in bounded memory.
#[derive(Clone, Debug)]
pub struct Watch {
    settings: Settings,
    explained_rise: f64,
    seen: Thinned,
    quantum: Option<f64>,
    last_s: f64,
    from_s: Option<f64>,
    after_s: f64,
    number: f64,
    failed_before: bool,
    decided_at_s: Option<f64>,
}

impl Watch {
    /// `None` where nothing is known of how far the count may rise: nothing is early then.
    #[must_use]
    pub fn new(settings: &Settings) -> Option<Self> {
        let explained_rise = settings.explained.early_rise(settings.limit_per_min)?;
        Some(Self::begin(*settings, explained_rise))
    }

    /// The process was started again: what follows is another series. What was called stays called.
    pub fn begin_again(&mut self) {
        let decided_at_s = self.decided_at_s;
        *self = Self { decided_at_s, ..Self::begin(self.settings, self.explained_rise) };
    }

    fn begin(settings: Settings, explained_rise: f64) -> Self {
        Self {
            settings,
            explained_rise,
            seen: Thinned::new(quality::POINTS_MAX),
            quantum: None,
            last_s: f64::NEG_INFINITY,
            from_s: None,
            after_s: FIRST_S,
            number: 1.0,
            failed_before: false,
            decided_at_s: None,
        }
    }

    /// Takes the next sample, and answers whether the series is called a leak with it, for the first time. One that is
    /// not later than the last, or no number, is passed over.
    pub fn push(&mut self, point: Point) -> bool {
        if self.decided_at_s.is_some() || !point.count.is_finite() || point.elapsed_s <= self.last_s {
            return false;
        }
        let (Warmup::Fixed { seconds } | Warmup::AtLeast { seconds }) = self.settings.warmup;
        let from_s = *self.from_s.get_or_insert(point.elapsed_s + seconds);
        self.last_s = point.elapsed_s;
        self.seen.push(point);
        // The look takes place at the first sample at or after its planned moment; one for all that are due.
        if point.elapsed_s < from_s + self.after_s {
            return false;
        }
        let alpha = ALPHA * share(self.number);
        while point.elapsed_s >= from_s + self.after_s {
            self.after_s *= FACTOR;
            self.number += 1.0;
        }
        let fails = self.fails(alpha);
        let decided = fails && self.failed_before;
        self.failed_before = fails;
        self.decided_at_s = decided.then_some(point.elapsed_s);
        decided
    }

    /// When it was called a leak, on the samples' own clock.
    #[must_use]
    pub fn decided_at_s(&self) -> Option<f64> {
        self.decided_at_s
    }

    fn fails(&mut self, alpha: f64) -> bool {
        let points = self.seen.points();
        if self.seen.is_whole() || self.quantum.is_none() {
            self.quantum = Some(quality::quantum(points, self.settings.limit_per_min));
        }
        let Some(quantum) = self.quantum else { return false };
        // Cheap, and it spares most looks the rest: no rise is greater than the range.
        range(points) > self.explained_rise
            && quality::enough(points).is_ok()
            && Evidence::gather(points, quantum, &self.settings).is_ok_and(|evidence| {
                evidence.judged_growth().0.low(alpha) >= self.settings.limit_per_min
                    && evidence.rise() > self.explained_rise
                    && matches!(evidence.decided(&self.settings), Ok((Verdict::Fail, _)))
            })
    }
}

/// Of the chance of error, what the look of this number may use.
fn share(number: f64) -> f64 {
    SPREAD / ((number + SPREAD - 1.0) * (number + SPREAD))
}

fn range(points: &[Point]) -> f64 {
    let counts = || points.iter().map(|point| point.count);
    counts().fold(f64::NEG_INFINITY, f64::max) - counts().fold(f64::INFINITY, f64::min)
}

/// The moment of the verdict, on the samples' own clock. `None` for what was not decided.
pub(super) fn decided_at_s(points: &[Point], settings: &Settings, verdict: Verdict) -> Option<f64> {
    let end_s = points.last()?.elapsed_s;
    match verdict {
        Verdict::Pass => Some(end_s),
        Verdict::Fail => early_fail_s(points, settings).or(Some(end_s)),
        Verdict::Inconclusive | Verdict::Invalid => None,
    }
}

fn early_fail_s(points: &[Point], settings: &Settings) -> Option<f64> {
    let mut watch = Watch::new(settings)?;
    points.iter().any(|point| watch.push(*point)).then(|| watch.decided_at_s()).flatten()
}

#[cfg(test)]
mod tests {
    use super::{Watch, share};
    use crate::growth::Point;
    use crate::growth::verdict::{Explained, Settings, judge};
    use crate::growth::warmup::Warmup;
    use crate::result::Verdict;

    fn settings(explained: Explained) -> Settings {
        Settings {
            limit_per_min: 2.0,
            warmup: Warmup::AtLeast { seconds: 30.0 },
            process_limit: None,
            explained,
        }
    }

    fn leak(per_min: f64, seconds: u32) -> Vec<Point> {
        let count = |s: f64| (60.0 + 1.4 * (s * 1.7).sin() + (s * per_min / 60.0).floor()).round();
        (0..seconds).map(f64::from).map(|s| Point { elapsed_s: s, count: count(s) }).collect()
    }

    #[test]
    fn the_chances_of_error_of_all_looks_add_up_to_one() {
        let sum = (1..100_000).map(|number| share(f64::from(number))).sum::<f64>();
        assert!(sum < 1.0 && sum > 0.999, "{sum}");
    }

    #[test]
    fn without_any_bound_the_moment_is_early_and_the_verdict_the_same() {
        for (per_min, within_s) in [(43.0, 180.0), (10.0, 300.0)] {
            let points = leak(per_min, 1800);
            let known = judge(&points, &settings(Explained::Unknown)).judgement;
            let assumed = judge(&points, &settings(Explained::Assumed)).judgement;
            assert_eq!((known.verdict, known.decided_at_s), (Verdict::Fail, Some(1799.0)));
            assert_eq!((assumed.verdict, &assumed.reason), (Verdict::Fail, &known.reason));
            assert!(assumed.decided_at_s.unwrap() - assumed.warmup_s <= within_s, "{assumed:?}");
        }
    }

    #[test]
    fn a_run_under_way_calls_it_at_the_moment_that_its_record_gives() {
        let settings = settings(Explained::Declared(24.0));
        let points = leak(10.0, 900);
        let mut watch = Watch::new(&settings).unwrap();
        let called = points.iter().find(|point| watch.push(**point)).unwrap().elapsed_s;
        assert_eq!(judge(&points, &settings).judgement.decided_at_s, Some(called));
        assert_eq!(watch.decided_at_s(), Some(called));
        assert!(!watch.push(Point { elapsed_s: 901.0, count: 500.0 }), "it is called once");
    }

    #[test]
    fn where_nothing_is_known_nobody_watches() {
        assert!(Watch::new(&settings(Explained::Unknown)).is_none());
    }

    #[test]
    fn two_days_are_watched_in_bounded_memory() {
        let mut watch = Watch::new(&settings(Explained::Declared(1e6))).unwrap();
        let flat = (0..172_800_u32).map(|s| Point { elapsed_s: f64::from(s), count: f64::from(60 + s % 3) });
        assert!(!flat.into_iter().any(|point| watch.push(point)));
        assert!(watch.seen.points().len() <= super::quality::POINTS_MAX);
    }
}
