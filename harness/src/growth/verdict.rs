//! The verdict: a confidence statement about growth, never a guess.
//!
//! A straight line gives the growth, unless one bounded change (`shape`) is significant; then the
//! pace beside that change is the growth. On that:
//!
//! - **fail**: the whole interval lies above the limit, also beside the best bounded change whether
//!   or not that is significant; half the limit is excluded at 1 in 1,000, also for units that come by chance; and the count reaches new
//!   heights, as a leak must and a sawtooth does not, and goes on, as what has filled does not.
//! - **pass**: the whole interval lies below the limit; one and a half times the limit is excluded at
//!   1 in 1,000, also for a leak whose units arrive by chance; no part of the run since its quarter,
//!   half or three quarters shows growth at the limit's pace; and a change that was taken out has been
//!   over for a quarter of the run.
//! - **inconclusive**: neither, with the reason and what would settle it.
//! - **invalid**: the samples can't be trusted (`quality`).

use crate::growth::account::{self, Account, Change};
use crate::growth::project::project;
use crate::growth::quality::{self, Fault};
use crate::growth::saw;
use crate::growth::shape::Shape;
use crate::growth::slope::{Growth, growth};
use crate::growth::verdict::doubts::Doubt;
use crate::growth::verdict::late::{LATE, Late, late_paces};
use crate::growth::warmup::{self, Cut, Warmup, block_medians};
use crate::growth::{Point, words};
use crate::result::{FittedLine, Judgement, Verdict};

mod chance;
mod doubts;
mod heights;
mod late;
mod looks;
mod settings;

pub use doubts::left_s;
pub use looks::Watch;
pub use settings::{Explained, Settings};

/// Growth per minute that is allowed where nobody sets a limit: the post-mortem's bar.
pub const LIMIT_PER_MIN: f64 = 2.0;

/// Chance of error on each side of the reported interval.
const ALPHA: f64 = 0.05;
/// The same beside a change: its moment was searched for, and the search must not cost confidence.
const ALPHA_SEARCHED: f64 = ALPHA / 4.0;
/// Chance of error at half the limit for `fail` and at one and a half times the limit for `pass`.
const ALPHA_FAR: f64 = 0.001;
/// How far from the limit that is, as a share of it.
const FAR: f64 = 0.5;
/// A change must have been over for this share of the run before what follows counts as flat.
const REST: f64 = 0.25;
/// Units that must be expected to leak in a run for one at least to be seen in 19 of 20: e^-3 = 5 %.
const UNITS_SEEN: f64 = 3.0;

/// So many units of a leak of one and a half times the limit must be expected in a run that passes: one in twelve such
/// leaks makes none, e^-2.5. A minute at a limit of 2 a minute.
const UNITS_PASS: f64 = 2.5;

/// From so many units on that a late leak would have made, it must be ruled out. A shorter run can't, and says from
/// which pace it would have shown.
const UNITS_LATE: f64 = 40.0;

/// The judgement with what a plot and a comparison need.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// What was decided.
    pub judgement: Judgement,
    /// The line through the judged samples.
    pub line: Option<FittedLine>,
    /// The growth with its error, for [`crate::growth::difference`].
    pub growth: Option<Growth>,
}

/// Judges the samples of one count of one target under load.
#[must_use]
pub fn judge(points: &[Point], settings: &Settings) -> Judged {
    let trusted = match checked(points, settings) {
        Ok(trusted) => trusted,
        Err(fault) => return invalid(&fault, settings, 0.0),
    };
    let quantum = quality::quantum(&trusted, settings.limit_per_min);
    match Evidence::gather(quality::thinned(&trusted).points(), quantum, settings) {
        Ok(evidence) => {
            let (evidence, decided) = evidence.settled(settings);
            let (verdict, reason) = evidence.ruled(decided);
            let decided_at_s = looks::decided_at_s(&trusted, settings, verdict);
            evidence.judged(settings, verdict, reason, decided_at_s)
        }
        Err((fault, warmup_s)) => invalid(&fault, settings, warmup_s),
    }
}

fn checked(points: &[Point], settings: &Settings) -> Result<Vec<Point>, Fault> {
    let limit = settings.limit_per_min;
    if !limit.is_finite() || limit <= 0.0 {
        return Err(Fault::Limit { limit });
    }
    quality::trusted(points)
}

fn invalid(fault: &Fault, settings: &Settings, warmup_s: f64) -> Judged {
    let judgement = Judgement {
        growth_per_min: None,
        ci_low: None,
        ci_high: None,
        limit_per_min: settings.limit_per_min,
        verdict: Verdict::Invalid,
        floor_per_min: None,
        reason: fault.to_string(),
        warmup_s,
        decided_at_s: None,
    };
    Judged { judgement, line: None, growth: None }
}

/// What is decided, and what follows in words; or the doubt that is left.
type Decided = Result<(Verdict, String), Doubt>;

/// What the samples say, before any limit is held against it.
#[derive(Clone)]
struct Evidence {
    /// The counts as they were seen.
    seen: Vec<Point>,
    /// The same less the teeth of a saw.
    points: Vec<Point>,
    /// How often teeth were given back, and how much usually.
    teeth: Option<(usize, f64)>,
    /// The greatest count of what was cut as warm-up, beyond what was declared as such.
    cut_height: f64,
    cut: Cut,
    quantum: f64,
    /// The straight line through everything.
    plain: Growth,
    /// The bounded change that explains most, be it significant or not; or several that all are.
    changes: Option<Account>,
    /// What of it is taken out of the growth, if anything is.
    taken_out: Option<Account>,
}

/// Whether a change is to be taken out: it is beyond chance, and the verdict hangs on it.
///
/// Where growth lies below the limit with it and without it, the simpler account is given.
fn matters(plain: &Growth, changes: &Account, limit: f64) -> bool {
    let clear =
        |growth: &Growth, alpha| growth.high(alpha) < limit && growth.high(ALPHA_FAR) < limit * (1.0 + FAR);
    let either = clear(plain, ALPHA) && clear(&changes.growth, ALPHA_SEARCHED);
    changes.significant && !either
}

impl Evidence {
    fn gather(trusted: &[Point], quantum: f64, settings: &Settings) -> Result<Self, (Fault, f64)> {
        let cut = warmup::cut(trusted, settings.warmup, quantum);
        let kept = warmup::after(trusted, cut.seconds);
        let (Warmup::Fixed { seconds } | Warmup::AtLeast { seconds }) = settings.warmup;
        let undeclared = warmup::after(trusted, seconds);
        let undeclared = undeclared.get(..undeclared.len().saturating_sub(kept.len())).unwrap_or_default();
        let cut_height =
            block_medians(undeclared).iter().map(|block| block.count).fold(f64::NEG_INFINITY, f64::max);
        quality::enough(kept).map_err(|fault| (fault, cut.seconds))?;
        let seen = kept.to_vec();
        let saw = saw::without_teeth(&seen, quantum);
        let teeth = saw.as_ref().map(|saw| (saw.releases, saw.height));
        let points = saw.map_or_else(|| seen.clone(), |saw| saw.floors);
        let too_few = Fault::TooFew { samples: points.len() };
        let plain = growth(&points, quantum).ok_or((too_few, cut.seconds))?;
        let changes = account::best_change(&points, quantum);
        let taken_out = changes.clone().filter(|change| matters(&plain, change, settings.limit_per_min));
        Ok(Self { seen, points, teeth, cut_height, cut, quantum, plain, changes, taken_out })
    }

    /// The same with what is decided; with several changes taken out where one leaves the verdict open and several decide
    /// it.
    fn settled(self, settings: &Settings) -> (Self, Decided) {
        let decided = self.decided(settings);
        if decided.is_ok() {
            return (self, decided);
        }
        let settled = account::several_changes(&self.points, self.quantum)
            .into_iter()
            .filter(|all| self.are_no_stairs(all, settings.limit_per_min))
            .map(|all| Self { taken_out: Some(all.clone()), changes: Some(all), ..self.clone() })
            .map(|with_all| (with_all.decided(settings), with_all))
            .find(|(decided, _)| decided.is_ok());
        settled.map_or((self, decided), |(decided, with_all)| (with_all, decided))
    }

    /// Whether several changes are more than a leak in stairs: where together they lift the count by what the limit allows,
    /// or one of them is a pace that changes all the time, what is left beside them is no reason to pass.
    fn are_no_stairs(&self, all: &Account, limit: f64) -> bool {
        let bounded = !all.bends() && all.lifts() < limit * self.minutes();
        bounded || all.growth.per_min > limit
    }

    /// The growth that is judged, and the chance of error of its interval.
    fn judged_growth(&self) -> (Growth, f64) {
        self.taken_out.as_ref().map_or((self.plain, ALPHA), |changes| (changes.growth, ALPHA_SEARCHED))
    }

    fn ruled(&self, decided: Decided) -> (Verdict, String) {
        match decided {
            Ok((verdict, follows)) => (verdict, self.said(&follows)),
            Err(doubt) => (Verdict::Inconclusive, self.said(&self.doubted(&doubt))),
        }
    }

    /// What is decided, and what follows in words; or the doubt that is left.
    fn decided(&self, settings: &Settings) -> Decided {
        let limit = settings.limit_per_min;
        let (growth, alpha) = self.judged_growth();
        if growth.low(alpha) >= limit {
            return match self.doubt_of_leak(settings) {
                Some(doubt) => Err(doubt.after(&format!("above the limit of {limit}, but "))),
                None => Ok((Verdict::Fail, format!("above the limit of {limit}"))),
            };
        }
        if growth.high(alpha) >= limit {
            return Err(self.doubt_of_side(limit));
        }
        // Dear, and asked of nothing else.
        let late = late_paces(&self.points, self.changes.as_ref(), self.quantum);
        match self.doubt_of_flatness(limit, &late) {
            Some(doubt) => Err(doubt.after(&format!("below the limit of {limit}, but "))),
            None => Ok((Verdict::Pass, self.passing(settings, &late))),
        }
    }

    /// For which share of the run the growth lasts.
    fn share_of_growth(&self) -> f64 {
        let changes = self.taken_out.iter().flat_map(|all| &all.changes);
        changes.map(|change| change.shape.pace_lasts()).fold(1.0, f64::min)
    }

    /// Units of one quantum that a pace makes while the growth lasts.
    fn units(&self, per_min: f64) -> f64 {
        per_min * self.share_of_growth() * self.minutes() / self.quantum
    }

    fn minutes(&self) -> f64 {
        let from_s = self.points.first().map_or(0.0, |point| point.elapsed_s);
        self.points.last().map_or(0.0, |point| point.elapsed_s - from_s) / 60.0
    }

    /// The slowest leak told from none in 19 of 20 runs, with no more false alarms: both errors' half
    /// widths must fit between them, and enough units must have leaked for one to be seen.
    fn floor(&self) -> f64 {
        let (growth, alpha) = self.judged_growth();
        (2.0 * growth.half_width(alpha)).max(UNITS_SEEN * self.quantum / self.minutes())
    }

    /// From which pace a leak that began at the last of [`LATE`] would have been doubted at least.
    fn late_floor(&self, limit: f64, late: &[Late]) -> Option<f64> {
        let late = late.last()?;
        let until_s = self.points.last().map_or(0.0, |point| point.elapsed_s);
        let seen = late.pace.half_width(ALPHA) + late.half_width(ALPHA_FAR / LATE.len() as f64).max(limit);
        // One unit more than is left undoubted.
        Some(seen.max(chance::UNITS_DOUBTED * self.quantum * 60.0 / (until_s - late.since_s)))
    }

    /// The growth's sentence, with what was found beside it and what follows.
    fn said(&self, what_follows: &str) -> String {
        let (growth, alpha) = self.judged_growth();
        let beside = self.taken_out.as_ref().map_or_else(String::new, |changes| {
            let one = |change: &Change| {
                let at_s = self.moment_s(change.shape.over());
                let at = if change.shape == Shape::Bend { String::new() } else { format!(" at {at_s:.0} s") };
                format!("{}{at}", words::change(change))
            };
            format!(" beside {}", changes.changes.iter().map(one).collect::<Vec<_>>().join(" and "))
        });
        let teeth = self.teeth.map_or_else(String::new, |(releases, height)| {
            format!(" on the floors between {releases} releases of about {height:.0}")
        });
        let unsteady = if self.cut.steady { "" } else { " (no steady state was found)" };
        format!(
            "{} per minute ({} to {}){teeth}{beside}{unsteady}: {what_follows}",
            words::rate(growth.per_min),
            words::rate(growth.low(alpha)),
            words::rate(growth.high(alpha)),
        )
    }

    fn passing(&self, settings: &Settings, late: &[Late]) -> String {
        let limit = settings.limit_per_min;
        let mut said = format!("below the limit of {limit}");
        if let Some(late) = self.late_floor(limit, late) {
            said += &format!("; one that began in the last quarter would show from {}", words::rate(late));
        }
        let (growth, _) = self.judged_growth();
        if growth.low(ALPHA_FAR) > 0.0 {
            said += "; but growth above zero is confirmed";
            let last = self.points.last().map_or(0.0, |point| point.count);
            if let Some(left_s) = project(Some(growth.per_min), last, settings.process_limit).exhausted_in_s {
                said += &format!(" and reaches the process's own limit in {}", words::duration(left_s));
            }
        }
        said
    }

    fn moment_s(&self, share: f64) -> f64 {
        let from_s = self.points.first().map_or(0.0, |point| point.elapsed_s);
        from_s + share * self.minutes() * 60.0
    }

    /// The line through what follows the change that was taken out, or through everything.
    fn line(&self) -> FittedLine {
        let (growth, _) = self.judged_growth();
        let from_s = self.moment_s(self.taken_out.as_ref().map_or(0.0, Account::over));
        let to_s = self.moment_s(1.0);
        let drawn: Vec<&Point> = self.seen.iter().filter(|point| point.elapsed_s >= from_s).collect();
        let n = drawn.len().max(1) as f64;
        let middle_s = drawn.iter().map(|point| point.elapsed_s).sum::<f64>() / n;
        let middle = drawn.iter().map(|point| point.count).sum::<f64>() / n;
        let count = |at_s: f64| middle + growth.per_min * (at_s - middle_s) / 60.0;
        FittedLine { from_s, to_s, from_count: count(from_s), to_count: count(to_s) }
    }

    fn judged(
        &self,
        settings: &Settings,
        verdict: Verdict,
        reason: String,
        decided_at_s: Option<f64>,
    ) -> Judged {
        let (growth, alpha) = self.judged_growth();
        let judgement = Judgement {
            growth_per_min: Some(growth.per_min),
            ci_low: Some(growth.low(alpha)),
            ci_high: Some(growth.high(alpha)),
            limit_per_min: settings.limit_per_min,
            verdict,
            floor_per_min: Some(self.floor()),
            reason,
            warmup_s: self.cut.seconds,
            decided_at_s,
        };
        Judged { judgement, line: Some(self.line()), growth: Some(growth) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::{Explained, Judged, Settings, judge, left_s};
    use crate::growth::Point;
    use crate::growth::warmup::Warmup;
    use crate::result::Verdict;
    use crate::simulated::{self, Leak, Noise};

    const SETTINGS: Settings = Settings {
        limit_per_min: 2.0,
        warmup: Warmup::AtLeast { seconds: 30.0 },
        process_limit: Some(1024),
        explained: Explained::Unknown,
    };

    /// A leak under a ripple that a seed shifts.
    fn series(seconds: u32, per_min: f64, seed: u32) -> Vec<Point> {
        (0..seconds)
            .map(f64::from)
            .map(|s| {
                let ripple = 1.4 * (s * 1.7 + f64::from(seed)).sin();
                Point { elapsed_s: s, count: (60.0 + ripple + s * per_min / 60.0).round() }
            })
            .collect()
    }

    #[test]
    fn what_is_left_to_a_verdict_is_told_and_comes_true() {
        let left = |seconds, per_min| left_s(&series(seconds, per_min, 1), &SETTINGS);
        assert_eq!((left(20, 0.0), left(170, 43.0)), (None, None), "too little, and decided");
        for per_min in [0.0, 4.0] {
            let told = left(60, per_min).unwrap();
            assert!((10.0..600.0).contains(&told), "{per_min}: {told}");
            let then = (61..).find(|seconds| f64::from(*seconds) >= 60.0 + told).unwrap();
            assert_eq!(left(then, per_min), None, "{per_min}: it is decided by then");
        }
    }

    fn close(a: Option<f64>, b: Option<f64>, tolerance: f64) -> bool {
        (a.unwrap_or(f64::NAN) - b.unwrap_or(f64::NAN)).abs() <= tolerance
    }

    fn verdict(judged: &Judged) -> Verdict {
        judged.judgement.verdict
    }

    #[test]
    fn a_flat_count_passes_with_its_floor_and_line() {
        let judged = judge(&series(210, 0.0, 1), &SETTINGS);
        assert_eq!(verdict(&judged), Verdict::Pass, "{judged:?}");
        assert!(judged.judgement.reason.contains("below the limit of 2; one that began in the last quarter"));
        // Three units must have leaked in the three minutes for one at least to be seen.
        assert!(judged.judgement.floor_per_min.expect("a floor") >= 3.0 / 2.99, "{judged:?}");
        let line = judged.line.expect("a line");
        assert!((line.from_s - 30.0).abs() < 1e-9 && (line.to_s - 209.0).abs() < 1e-9, "{line:?}");
        assert!((line.from_count - 60.0).abs() < 1.0, "{line:?}");
    }

    #[test]
    fn a_leak_fails_and_is_decided_at_the_end_without_declared_bounds() {
        let judged = judge(&series(210, 43.0, 1), &SETTINGS);
        assert_eq!(verdict(&judged), Verdict::Fail, "{judged:?}");
        assert_eq!(judged.judgement.decided_at_s, Some(209.0));
        assert!(judged.judgement.reason.ends_with("above the limit of 2"), "{judged:?}");
    }

    #[test]
    fn growth_above_zero_below_the_limit_is_said_with_the_time_to_exhaustion() {
        let judged = judge(&series(3600, 1.0, 1), &SETTINGS);
        assert_eq!(verdict(&judged), Verdict::Pass, "{judged:?}");
        assert!(
            judged
                .judgement
                .reason
                .ends_with("growth above zero is confirmed and reaches the process's own limit in 15 h"),
            "{}",
            judged.judgement.reason
        );
    }

    #[test]
    fn growth_at_the_limit_is_inconclusive_and_has_no_moment() {
        let judged = judge(&series(600, 2.0, 1), &SETTINGS);
        assert_eq!(verdict(&judged), Verdict::Inconclusive, "{judged:?}");
        assert_eq!(judged.judgement.decided_at_s, None);
        assert!(judged.judgement.reason.contains("the limit of 2 lies inside the interval"), "{judged:?}");
    }

    #[test]
    fn a_rise_within_the_declared_bounds_is_no_leak_yet() {
        let settings = Settings { explained: Explained::Declared(200.0), ..SETTINGS };
        let judged = judge(&series(210, 43.0, 1), &settings);
        assert_eq!(verdict(&judged), Verdict::Inconclusive, "{judged:?}");
        assert!(judged.judgement.reason.contains("its declared bounds explain 200"), "{judged:?}");
    }

    #[test]
    fn a_rise_past_the_declared_bounds_is_called_within_three_minutes_and_by_no_later_sample() {
        let settings = Settings { explained: Explained::Declared(20.0), ..SETTINGS };
        let points = series(1800, 43.0, 1);
        let decided = judge(&points, &settings).judgement.decided_at_s.expect("a moment");
        assert!(decided <= 30.0 + 180.0, "{decided}");
        let seen: Vec<Point> = points.into_iter().take_while(|p| p.elapsed_s <= decided).collect();
        assert_eq!(judge(&seen, &settings).judgement.decided_at_s, Some(decided));
    }

    #[test]
    fn what_can_not_be_judged_is_invalid_and_never_a_panic() {
        let nan = Settings { limit_per_min: f64::NAN, ..SETTINGS };
        assert_eq!(verdict(&judge(&series(210, 0.0, 1), &nan)), Verdict::Invalid);
        assert_eq!(verdict(&judge(&[], &SETTINGS)), Verdict::Invalid);
        let long_warmup = Settings { warmup: Warmup::Fixed { seconds: 1e9 }, ..SETTINGS };
        let judged = judge(&series(210, 0.0, 1), &long_warmup);
        assert_eq!(verdict(&judged), Verdict::Invalid);
        assert_eq!(judged.judgement.reason, "only 0 samples after warm-up; at least 30 are needed");
        let mut broken = series(210, 0.0, 1);
        broken[100].count = f64::INFINITY;
        assert_eq!(verdict(&judge(&broken, &SETTINGS)), Verdict::Invalid);
    }

    /// An hour, a sample each five seconds, under churn.
    fn hour(count: impl Fn(f64) -> f64) -> Vec<Point> {
        let mut rng = StdRng::seed_from_u64(7);
        (0..720)
            .map(|sample| {
                let second = f64::from(sample) * 5.0;
                let churn = f64::from(rng.random_range(-2..=2_i8));
                Point { elapsed_s: 30.0 + second, count: (300.0 + churn + count(second / 60.0)).round() }
            })
            .collect()
    }

    #[test]
    fn a_leak_that_begins_late_is_seen_beside_what_was_before() {
        let late = |minute: f64| (3.0 * (minute - 45.0).max(0.0)).floor();
        let outage = |minute: f64| if (20.0..26.0).contains(&minute) { 40.0 } else { 0.0 };
        let queue = |minute: f64| 100.0 * (minute / 18.0).min(1.0);
        for judged in [
            judge(&hour(|minute| outage(minute) + late(minute)), &SETTINGS),
            judge(&hour(|minute| queue(minute) + late(minute)), &SETTINGS),
        ] {
            assert_eq!(verdict(&judged), Verdict::Fail, "{judged:?}");
            assert!((judged.judgement.growth_per_min.unwrap() - 3.0).abs() < 0.3, "{judged:?}");
            assert!(judged.judgement.reason.contains(" and a change of pace at 2"), "{judged:?}");
        }
        for judged in [judge(&hour(outage), &SETTINGS), judge(&hour(queue), &SETTINGS)] {
            assert_eq!(verdict(&judged), Verdict::Pass, "{judged:?}");
        }
    }

    #[test]
    fn a_leak_that_accelerates_behind_an_outage_is_called_and_one_that_slows_down_does_not_pass() {
        let outage = |minute: f64| if (34.0..40.0).contains(&minute) { 40.0 } else { 0.0 };
        let faster = |minute: f64| 180.0 * (minute / 60.0).powi(2);
        let judged = judge(&hour(|minute| outage(minute) + faster(minute)), &SETTINGS);
        assert_eq!(verdict(&judged), Verdict::Fail, "{judged:?}");
        assert!(
            (judged.judgement.growth_per_min.unwrap() - 6.0).abs() < 0.6,
            "its pace at the end: {judged:?}"
        );
        assert!(judged.judgement.reason.contains("a pace that changes all the time:"), "{judged:?}");
        let slower = |minute: f64| 100.0 * (1.0 - (1.0 - minute / 60.0).powi(2));
        let judged = judge(&hour(|minute| outage(minute) + slower(minute)), &SETTINGS);
        assert_eq!(verdict(&judged), Verdict::Inconclusive, "{judged:?}");
    }

    #[test]
    fn a_late_leak_below_the_heights_of_a_saw_is_seen_on_its_floors() {
        let saw = |minute: f64| 80.0 * ((minute + 9.5) / 13.0).fract();
        let late = |minute: f64| 3.0 * (minute - 45.0).max(0.0);
        let judged = judge(&hour(|minute| saw(minute) + late(minute)), &SETTINGS);
        assert_eq!(verdict(&judged), Verdict::Fail, "{judged:?}");
        assert_eq!(verdict(&judge(&hour(saw), &SETTINGS)), Verdict::Pass);
    }

    #[test]
    fn several_steps_are_no_leak_and_a_leak_in_stairs_does_not_pass_for_them() {
        let steps = |height: f64| {
            move |minute: f64| [12.0, 25.0, 38.0].iter().filter(|at| minute >= **at).count() as f64 * height
        };
        assert_eq!(verdict(&judge(&hour(steps(10.0)), &SETTINGS)), Verdict::Pass);
        let judged = judge(&hour(steps(80.0)), &SETTINGS);
        assert_eq!(verdict(&judged), Verdict::Inconclusive, "{judged:?}");
    }

    #[test]
    fn a_leak_with_each_fault_is_called_and_pools_that_open_one_after_the_other_are_not() {
        let bursts = |moments: [f64; 5]| {
            move |minute: f64| moments.iter().map(|at| 120.0 * (minute - at).clamp(0.0, 1.0)).sum::<f64>()
        };
        let judged = judge(&hour(bursts([7.0, 13.0, 32.0, 38.0, 56.0])), &SETTINGS);
        assert_eq!(verdict(&judged), Verdict::Fail, "{judged:?}");
        let judged = judge(&hour(bursts([4.0, 9.0, 13.0, 18.0, 24.0])), &SETTINGS);
        assert_ne!(verdict(&judged), Verdict::Fail, "{judged:?}");
    }

    #[test]
    fn what_fills_in_the_midst_of_a_run_and_has_stopped_is_no_leak() {
        let ten_minutes = |count: &dyn Fn(f64) -> f64| {
            let noisy =
                |s: f64| Point { elapsed_s: s, count: (300.0 + count(s / 600.0) + (s * 1.7).sin()).round() };
            judge(&(0..600).map(|s| noisy(f64::from(s))).collect::<Vec<_>>(), &SETTINGS)
        };
        for (from, within) in [(0.15, 0.45), (0.2, 0.5), (0.25, 0.55), (0.25, 0.6)] {
            let filling = |share: f64| 114.0 * ((share - from) / within).clamp(0.0, 1.0);
            let judged = ten_minutes(&filling);
            assert_ne!(verdict(&judged), Verdict::Fail, "{from} {within}: {}", judged.judgement.reason);
            // The same and one that goes on.
            let leaking = |share: f64| filling(share) + 100.0 * share;
            let judged = ten_minutes(&leaking);
            assert_eq!(verdict(&judged), Verdict::Fail, "{from} {within}: {}", judged.judgement.reason);
        }
    }

    #[test]
    fn a_run_of_luck_at_the_end_is_no_late_leak() {
        // Units at half the limit by chance, which came faster since some late moment.
        for seed in [69, 76, 106] {
            let judged = judge(&simulated::series(seed, 1800, Noise::Churn, Leak::Chance(1.0)), &SETTINGS);
            assert_ne!(verdict(&judged), Verdict::Fail, "{seed}: {}", judged.judgement.reason);
        }
    }

    #[test]
    fn a_change_is_not_told_from_noise_that_remembers_for_long() {
        // Each of them shows a change that a test for noise that forgets calls beyond chance, and a leak beside it.
        for seed in [418, 947, 1137, 1292, 1488] {
            let judged =
                judge(&simulated::series(seed, 180, Noise::Memory(30.0, 5.0), Leak::None), &SETTINGS);
            assert_ne!(verdict(&judged), Verdict::Fail, "{seed}: {}", judged.judgement.reason);
        }
    }

    #[test]
    fn what_is_given_back_at_the_very_end_was_no_leak() {
        let tooth = |minute: f64| 100.0 * (minute / 46.0 + 0.7087).fract();
        let judged = judge(&hour(tooth), &SETTINGS);
        assert_eq!(verdict(&judged), Verdict::Inconclusive, "{judged:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn the_origin_of_time_does_not_matter(pace in 0_u32..50, seed in 0_u32..100, origin in 0_u32..1_000_000) {
            let points = series(240, f64::from(pace), seed);
            let moved: Vec<Point> =
                points.iter().map(|p| Point { elapsed_s: p.elapsed_s + f64::from(origin), ..*p }).collect();
            let (a, b) = (judge(&points, &SETTINGS), judge(&moved, &SETTINGS));
            prop_assert_eq!(verdict(&a), verdict(&b));
            prop_assert!(close(a.judgement.growth_per_min, b.judgement.growth_per_min, 1e-6));
        }

        #[test]
        fn the_unit_of_the_count_does_not_matter(pace in 0_u32..50, seed in 0_u32..100, power in -3_i32..12) {
            let factor = 2.0_f64.powi(power);
            let points = series(240, f64::from(pace), seed);
            let scaled: Vec<Point> =
                points.iter().map(|p| Point { count: p.count * factor, ..*p }).collect();
            let settings = Settings { limit_per_min: 2.0 * factor, ..SETTINGS };
            let (a, b) = (judge(&points, &SETTINGS), judge(&scaled, &settings));
            prop_assert_eq!(verdict(&a), verdict(&b));
            let unscaled = b.judgement.ci_high.map(|high| high / factor);
            prop_assert!(close(a.judgement.ci_high, unscaled, 1e-6));
        }

        #[test]
        fn the_sampling_interval_does_not_matter(pace in 0_u32..50, seed in 0_u32..100) {
            // Away from the limit, where noise alone may turn the verdict.
            let pace = if (1..6).contains(&pace) { 8 } else { pace };
            let points = series(600, f64::from(pace), seed);
            let sparse: Vec<Point> = points.iter().copied().step_by(5).collect();
            let (a, b) = (judge(&points, &SETTINGS), judge(&sparse, &SETTINGS));
            prop_assert_eq!(verdict(&a), verdict(&b));
            prop_assert!(close(a.judgement.growth_per_min, b.judgement.growth_per_min, 0.3));
        }

        #[test]
        fn any_numbers_give_a_verdict_and_no_panic(
            counts in proptest::collection::vec(-1e12_f64..1e12, 0..80),
            limit in 1e-6_f64..1e6,
        ) {
            let points: Vec<Point> =
                counts.iter().zip(0..).map(|(c, s)| Point { elapsed_s: f64::from(s), count: *c }).collect();
            let judged = judge(&points, &Settings { limit_per_min: limit, ..SETTINGS });
            prop_assert!(!judged.judgement.reason.is_empty());
        }
    }
}
