//! When a live run could have stopped.
//!
//! A pass is never early: a leak may begin at any time. A fail may be early, under three conditions.
//! The looks are fixed in advance (each a factor of the square root of two after the one before, from
//! one minute on), so that nobody peeks until it fits; the k-th look may err with alpha / (k (k + 1)), which
//! adds up to alpha over however many. A fail must hold at two looks in a row. And the must be more than the target's declared bounds explain, without which a queue that fills is
//! called a leak by any statistic. Each look also keeps the guard of 1 in 1,000 at half the limit.
//!
//! Each look judges the samples up to it and nothing else, so a series that is cut at the moment of the
//! decision gives the same moment.

use crate::growth::Point;
use crate::growth::quality;
use crate::growth::verdict::{ALPHA, Evidence, Settings};
use crate::growth::warmup::Warmup;
use crate::result::Verdict;

/// The first look, seconds after the declared warm-up.
const FIRST_S: f64 = 60.0;
/// From one look to the next.
const FACTOR: f64 = std::f64::consts::SQRT_2;

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
    settings.explained_rise?;
    let (Warmup::Fixed { seconds } | Warmup::AtLeast { seconds }) = settings.warmup;
    let from_s = points.first()?.elapsed_s + seconds;
    let mut failed_before = false;
    let mut planned_s = from_s + FIRST_S;
    let mut number = 1.0;
    // The look takes place at the first sample at or after its planned moment.
    while let Some(seen) = up_to(points, planned_s) {
        let fails = fails_at(seen, settings, ALPHA / (number * (number + 1.0)));
        if fails && failed_before {
            return seen.last().map(|point| point.elapsed_s);
        }
        failed_before = fails;
        planned_s = from_s + (planned_s - from_s) * FACTOR;
        number += 1.0;
    }
    None
}

/// The points up to the first one at or after `moment_s`; `None` if there is none.
fn up_to(points: &[Point], moment_s: f64) -> Option<&[Point]> {
    points.get(..=points.partition_point(|point| point.elapsed_s < moment_s))
}

fn fails_at(seen: &[Point], settings: &Settings, alpha: f64) -> bool {
    quality::enough(seen).is_ok()
        && Evidence::gather(seen, settings).is_ok_and(|evidence| {
            evidence.judged_growth().0.low(alpha) >= settings.limit_per_min
                && evidence.rule(settings).0 == Verdict::Fail
        })
}
