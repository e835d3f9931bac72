//! A process that was started again: its counts begin anew, so each of its lives is a series of its own.

use crate::growth::Point;
use crate::growth::verdict::{Judged, Settings, judge};
use crate::growth::words;
use crate::result::Verdict;

/// Judges each life by itself; `starts_s` are the moments at which it was started again, in order.
///
/// A leak in one of them is a leak. Else the longest that can be judged speaks for all, and says so: the shorter ones
/// could only have shown less.
#[must_use]
pub fn judge_lives(points: &[Point], starts_s: &[f64], settings: &Settings) -> Judged {
    let lives: Vec<&[Point]> = split(points, starts_s).into_iter().filter(|life| !life.is_empty()).collect();
    if lives.len() < 2 {
        return judge(points, settings);
    }
    let count = lives.len();
    let judged = lives.into_iter().map(|life| (life, judge(life, settings)));
    let speaks = |(life, judged): &(&[Point], Judged)| {
        let weight = match judged.judgement.verdict {
            Verdict::Fail => 2,
            Verdict::Pass | Verdict::Inconclusive => 1,
            Verdict::Invalid => 0,
        };
        (weight, span_s(life))
    };
    let best = judged.max_by(|a, b| {
        let ((a_weight, a_span), (b_weight, b_span)) = (speaks(a), speaks(b));
        a_weight.cmp(&b_weight).then(a_span.total_cmp(&b_span))
    });
    let Some((life, mut judged)) = best else { return judge(points, settings) };
    let (from_s, length_s) = (life.first().map_or(0.0, |point| point.elapsed_s), span_s(life));
    judged.judgement.reason = format!(
        "in the one of its {count} lives that began at {from_s:.0} s and lasted {}: {}",
        words::duration(length_s),
        judged.judgement.reason
    );
    judged
}

/// How long the longest life lasted, seconds.
#[must_use]
pub fn longest_s(points: &[Point], starts_s: &[f64]) -> f64 {
    split(points, starts_s).into_iter().map(span_s).fold(0.0, f64::max)
}

/// The samples of each life; `starts_s` are the moments at which it was started again, in order.
#[must_use]
pub fn split<'a>(points: &'a [Point], starts_s: &[f64]) -> Vec<&'a [Point]> {
    let mut rest = points;
    let mut lives = Vec::with_capacity(starts_s.len() + 1);
    for start_s in starts_s {
        let (before, after) = rest.split_at(rest.partition_point(|point| point.elapsed_s < *start_s));
        lives.push(before);
        rest = after;
    }
    lives.push(rest);
    lives
}

fn span_s(life: &[Point]) -> f64 {
    life.first().zip(life.last()).map_or(0.0, |(first, last)| last.elapsed_s - first.elapsed_s)
}

#[cfg(test)]
mod tests {
    use super::{judge_lives, longest_s};
    use crate::growth::Point;
    use crate::growth::verdict::{Explained, Judged, Settings, judge};
    use crate::growth::warmup::Warmup;
    use crate::result::Verdict;

    const SETTINGS: Settings = Settings {
        limit_per_min: 2.0,
        warmup: Warmup::AtLeast { seconds: 0.0 },
        process_limit: None,
        explained: Explained::Unknown,
    };

    /// Lives that begin at these seconds, each with a leak of its own, until 1,200 s.
    fn lives(leaks_per_min: &[(f64, f64)]) -> Vec<Point> {
        let count = |s: f64| {
            let (began, leak) = leaks_per_min.iter().rev().find(|(began, _)| s >= *began).expect("a life");
            60.0 + ((s * 1.7).sin() * 1.4 + (s - began) * leak / 60.0).round()
        };
        (0..1200).map(f64::from).map(|s| Point { elapsed_s: s, count: count(s) }).collect()
    }

    fn judged(leaks_per_min: &[(f64, f64)]) -> Judged {
        let starts: Vec<f64> = leaks_per_min.iter().skip(1).map(|(began, _)| *began).collect();
        judge_lives(&lives(leaks_per_min), &starts, &SETTINGS)
    }

    #[test]
    fn a_leak_that_each_restart_ends_is_a_leak() {
        let each = [(0.0, 10.0), (300.0, 10.0), (600.0, 10.0), (900.0, 10.0)];
        let found = judged(&each).judgement;
        assert_eq!(found.verdict, Verdict::Fail, "{found:?}");
        assert!((found.growth_per_min.expect("growth") - 10.0).abs() < 0.5, "{found:?}");
        // As one series it is a saw.
        assert_ne!(judge(&lives(&each), &SETTINGS).judgement.verdict, Verdict::Fail);
    }

    #[test]
    fn a_leak_in_a_short_life_outweighs_a_long_one_without() {
        let found = judged(&[(0.0, 0.0), (900.0, 43.0)]).judgement;
        assert_eq!(found.verdict, Verdict::Fail, "{found:?}");
        assert!(found.reason.starts_with("in the one of its 2 lives that began at 900 s"), "{found:?}");
    }

    #[test]
    fn the_longest_life_speaks_for_those_that_are_too_short_to_tell() {
        let found = judged(&[(0.0, 0.0), (10.0, 0.0), (1190.0, 0.0)]).judgement;
        assert_eq!(found.verdict, Verdict::Pass, "{found:?}");
        let words = "in the one of its 3 lives that began at 10 s and lasted 20 min: ";
        assert!(found.reason.starts_with(words), "{found:?}");
    }

    #[test]
    fn the_longest_life_is_measured_by_its_samples() {
        let points = lives(&[(0.0, 0.0)]);
        assert!((longest_s(&points, &[]) - 1199.0).abs() < 1e-9);
        assert!((longest_s(&points, &[300.0, 1000.0]) - 699.0).abs() < 1e-9);
        assert!(longest_s(&[], &[1.0]).abs() < 1e-9);
    }

    #[test]
    fn without_a_restart_within_the_samples_nothing_is_split() {
        let points = lives(&[(0.0, 0.0)]);
        for starts in [&[][..], &[-5.0], &[5000.0]] {
            assert_eq!(judge_lives(&points, starts, &SETTINGS), judge(&points, &SETTINGS));
        }
        assert_eq!(judge_lives(&[], &[1.0], &SETTINGS), judge(&[], &SETTINGS));
    }
}
