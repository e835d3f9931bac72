//! Why neither `pass` nor `fail` can be said, and how long a run would settle it.
//!
//! The length is that at which the same growth, under noise of the same kind, clears what it did not clear. Errors
//! shrink with a power of the run's length: 3/2 where noise forgets, 1/2 where it walks; 1 is reckoned with. How often
//! a run of the length that is named is decided stands in `docs/growth.md`.

use crate::growth::account::Account;
use crate::growth::bursts::bursts;
use crate::growth::slope::Growth;
use crate::growth::verdict::late::{LATE, Late};
use crate::growth::verdict::{
    ALPHA, ALPHA_FAR, Evidence, Explained, FAR, REST, Settings, UNITS_LATE, UNITS_PASS, chance, checked,
};
use crate::growth::{Point, quality, words};

/// The run's length once more: for what only time can tell.
const AGAIN: f64 = 2.0;
/// So many of the present length show several cycles of what looks like one.
const CYCLES: f64 = 4.0;
/// How much longer a run should be than reckoned, as the growth that is found is itself uncertain.
const MARGIN: f64 = 1.5;
/// No run is named that is longer than so many of this one.
const TIMES_MAX: f64 = 20.0;
/// How finely a length is looked for.
const STEP: f64 = 1.1;

/// What is doubted, and how many times as long a run would settle it.
pub(super) struct Doubt {
    why: String,
    times: f64,
}

impl Doubt {
    fn new(why: impl Into<String>, times: f64) -> Self {
        Self { why: why.into(), times }
    }

    /// The same, begun with these words.
    pub(super) fn after(self, words: &str) -> Self {
        Self { why: format!("{words}{}", self.why), ..self }
    }
}

/// The growth as a run so many times as long would find it.
fn stretched(growth: Growth, times: f64) -> Growth {
    Growth { error_per_min: growth.error_per_min / times, ..growth }
}

impl Late {
    /// The same: what changed once makes less of a pace in a longer run.
    fn stretched(&self, times: f64) -> Self {
        let rise_per_min = self.rise_per_min / times;
        Self { pace: stretched(self.pace, times), rise_per_min, ..*self }
    }
}

/// The least length, in lengths of this run, at which all is clear; without bound where none is.
fn least(is_clear: impl Fn(f64) -> bool) -> f64 {
    let mut times = 1.0;
    while times <= TIMES_MAX {
        times *= STEP;
        if is_clear(times) {
            return times * MARGIN;
        }
    }
    f64::INFINITY
}

/// After how many more seconds a series under way should be decided, if it goes on as it is. `None` where it is decided,
/// where there is too little of it, and where it is so close to the limit that nobody can say.
#[must_use]
pub fn left_s(points: &[Point], settings: &Settings) -> Option<f64> {
    let trusted = checked(points, settings).ok()?;
    let quantum = quality::quantum(&trusted, settings.limit_per_min);
    let evidence = Evidence::gather(&trusted, quantum, settings).ok()?;
    evidence.decided(settings).err().and_then(|doubt| evidence.left_s(&doubt))
}

impl Evidence {
    /// The doubt in words, with the length of the run that would settle it.
    pub(super) fn doubted(&self, doubt: &Doubt) -> String {
        let run_s = |times: f64| words::duration(self.cut.seconds + times * self.minutes() * 60.0);
        if doubt.times <= TIMES_MAX {
            format!("{}; a run of about {} would settle it", doubt.why, run_s(doubt.times))
        } else {
            format!("{}; it is so close that a run of {} would not settle it", doubt.why, run_s(TIMES_MAX))
        }
    }

    /// How much more would settle the doubt, seconds; `None` where nobody can say.
    pub(super) fn left_s(&self, doubt: &Doubt) -> Option<f64> {
        (doubt.times <= TIMES_MAX).then(|| (doubt.times - 1.0).max(0.0) * self.minutes() * 60.0)
    }

    /// On which side of the limit the growth lies.
    pub(super) fn doubt_of_side(&self, limit: f64) -> Doubt {
        let (growth, _) = self.judged_growth();
        let times = if growth.per_min < limit { self.until_flat(limit) } else { self.until_leak(limit) };
        Doubt::new(format!("the limit of {limit} lies inside the interval"), times)
    }

    /// How long until growth below the limit is clear.
    fn until_flat(&self, limit: f64) -> f64 {
        let (growth, alpha) = self.judged_growth();
        let far = limit * (1.0 + FAR);
        least(|times| {
            let then = stretched(growth, times);
            let units = |per_min: f64| self.units(per_min) * times;
            then.high(alpha) < limit
                && then.high(ALPHA_FAR) < far
                && !chance::hides(units(then.per_min), units(far))
        })
    }

    /// How long until growth above the limit is clear.
    fn until_leak(&self, limit: f64) -> f64 {
        let (growth, alpha) = self.judged_growth();
        let beside =
            self.changes.as_ref().map(|changes| changes.growth).filter(|beside| beside.per_min > limit);
        let near = limit * (1.0 - FAR);
        least(|times| {
            let then = stretched(growth, times);
            let units = |per_min: f64| self.units(per_min) * times;
            then.low(alpha) >= limit
                && then.low(ALPHA_FAR) >= near
                && beside.is_none_or(|beside| stretched(beside, times).low(ALPHA) >= limit)
                && !chance::makes(units(then.per_min), units(near))
        })
    }

    /// Whether the growth came in bursts, too many for chance.
    fn bursts_settle(&self, limit: f64) -> bool {
        let rise = limit * self.minutes();
        bursts(&self.points, self.quantum).is_some_and(|bursts| {
            !bursts.come_by_chance(rise, ALPHA) && !bursts.come_by_chance(rise * (1.0 - FAR), ALPHA_FAR)
        })
    }

    /// Why growth above the limit may still be no leak.
    pub(super) fn doubt_of_leak(&self, settings: &Settings) -> Option<Doubt> {
        let limit = settings.limit_per_min;
        let (growth, _) = self.judged_growth();
        let beside = self.changes.as_ref().map_or(growth, |changes| changes.growth);
        let open = growth.low(ALPHA_FAR) < limit * (1.0 - FAR) || beside.low(ALPHA) < limit;
        if open && !self.bursts_settle(limit) {
            let what = self.changes.as_ref().map_or_else(|| "chance".to_owned(), words::changes);
            return Some(Doubt::new(
                format!("{what} would explain it as well"),
                self.until_leak(limit).max(AGAIN),
            ));
        }
        let untold = self.taken_out.as_ref().filter(|changes| !changes.told);
        if let Some(changes) = untold.filter(|_| self.plain.low(ALPHA) <= 0.0) {
            let why =
                format!("noise that remembers for long would explain {} as well", words::changes(changes));
            return Some(Doubt::new(why, AGAIN));
        }
        if chance::makes(self.units(growth.per_min), self.units(limit * (1.0 - FAR))) {
            return Some(Doubt::new("so few units may have come by chance", self.until_leak(limit)));
        }
        if !self.reaches_new_heights(&growth) {
            let why = "the count has been as high before: a sawtooth or a recovery looks the same";
            return Some(Doubt::new(why, CYCLES));
        }
        if self.has_stopped(&growth, limit) {
            let why = "it no longer grows like that: what has filled looks the same";
            return Some(Doubt::new(why, AGAIN));
        }
        // A tooth that is longer than what was seen of it.
        let given_back = self.given_back();
        if given_back >= growth.per_min * self.minutes() / 2.0 {
            let why = format!("{given_back:.0} were given back at once: a sawtooth looks the same");
            return Some(Doubt::new(why, CYCLES));
        }
        let (Explained::Declared(explained), rise) = (settings.explained, self.rise()) else { return None };
        (rise <= explained).then(|| {
            let why = format!("it rose by {rise:.0} and its declared bounds explain {explained:.0}");
            Doubt::new(why, explained / rise * MARGIN)
        })
    }

    /// Why growth below the limit may still be a leak.
    pub(super) fn doubt_of_flatness(&self, limit: f64, late: &[Late]) -> Option<Doubt> {
        let (growth, _) = self.judged_growth();
        let far = limit * (1.0 + FAR);
        if growth.high(ALPHA_FAR) >= far || chance::hides(self.units(growth.per_min), self.units(far)) {
            return Some(Doubt::new(
                format!("too close to tell from a leak of {far}"),
                self.until_flat(limit),
            ));
        }
        let expected = self.units(far);
        if expected < UNITS_PASS {
            let why = format!("a leak of {far} may not have shown in so short a run");
            return Some(Doubt::new(why, UNITS_PASS / expected * MARGIN));
        }
        let over = self.taken_out.as_ref().map_or(0.0, Account::over);
        if 1.0 - over < REST {
            let what = self.taken_out.as_ref().map_or_else(String::new, words::changes);
            return Some(Doubt::new(format!("{what} came too late to see what follows"), AGAIN));
        }
        let until_s = self.points.last().map_or(0.0, |point| point.elapsed_s);
        let alpha = ALPHA_FAR / LATE.len() as f64;
        late.iter().find_map(|late| {
            let (since_s, pace) = (late.since_s, late.pace);
            let units = |per_min: f64| per_min * (until_s - since_s) / 60.0 / self.quantum;
            let rises =
                pace.per_min >= limit && pace.low(alpha) > 0.0 && chance::doubted(units(pace.per_min));
            if rises {
                let pace = words::rate(pace.per_min);
                return Some(Doubt::new(
                    format!("since {since_s:.0} s it seems to grow by {pace} per minute"),
                    AGAIN,
                ));
            }
            (units(far) >= UNITS_LATE && late.high(alpha) >= far).then(|| {
                let why = format!("a leak of {far} that began at {since_s:.0} s would not show");
                Doubt::new(why, least(|times| late.stretched(times).high(alpha) < far))
            })
        })
    }
}
