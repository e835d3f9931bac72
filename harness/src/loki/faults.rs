//! Faults on a timeline: what goes wrong when. Pure: it is asked what holds at a moment, and the same plan with
//! the same seed says the same each time.

use std::hash::Hasher;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use super::labels::Labels;
use super::push::Push;
use crate::units::Span;

/// One fault, and when it holds.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Timed {
    /// When it begins.
    pub at: Span,
    /// How long it holds.
    #[serde(rename = "for")]
    pub lasts: Span,
    /// It comes again each time this much has passed since it began; once, where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// What happens.
    pub fault: Fault,
}

/// What goes wrong. Pushes that meet one of the first six are not stored.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// An answer with this status: 401, 413, 429, 500, 503, 260 and others.
    Status(Status),
    /// No answer at all.
    Hang,
    /// The connection is reset instead of an answer.
    Reset,
    /// The connection is closed for writing instead of an answer.
    HalfClose,
    /// Nobody listens, and open connections are cut.
    Outage,
    /// Answers come late, each after a time of its own.
    Slow(Slow),
    /// Answers with a text come byte by byte, with this pause before each.
    SlowBody(Span),
    /// `reject_old_samples_max_age` of all tenants is this meanwhile.
    Window(Span),
    /// Lines that are in time are refused as too old.
    Reject(Reject),
}

/// [`Fault::Status`].
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// The status.
    pub code: u16,
    /// The header `Retry-After`, in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Span>,
    /// Which part of the pushes meets it, 0 to 1.
    #[serde(default = "all")]
    pub share: f64,
}

/// [`Fault::Slow`]: a log-normal distribution of times.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    /// Half of the answers take at most this.
    pub p50: Span,
    /// 99 of 100 take at most this.
    pub p99: Span,
}

/// [`Fault::Reject`].
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Reject {
    /// Which part, 0 to 1.
    pub share: f64,
    /// A part of what.
    pub of: Of,
}

/// What is refused together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// Each line by itself.
    Entries,
    /// All lines of a stream.
    Streams,
    /// All lines of a push.
    Batches,
}

/// Each beginning and end is an event of the run.
const EVERY_MIN: Duration = Duration::from_secs(1);

fn all() -> f64 {
    1.0
}

/// What goes wrong in a run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Whatever is drawn by chance is drawn from it.
    #[serde(default)]
    pub seed: u64,
    /// In the order in which they are asked.
    pub faults: Vec<Timed>,
}

/// A fault that begins or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When, since the plan began.
    pub at: Duration,
    /// Whether it begins.
    pub begins: bool,
    /// What.
    pub what: String,
}

impl Timed {
    /// Whether it holds so long after the plan has begun.
    #[must_use]
    pub fn holds(&self, elapsed: Duration) -> bool {
        let Some(since) = elapsed.checked_sub(self.at.0) else { return false };
        let since_ns = match self.every {
            Some(every) => since.as_nanos() % every.0.as_nanos().max(1),
            None => since.as_nanos(),
        };
        since_ns < self.lasts.0.as_nanos()
    }

    /// How long until it begins or ends next; `None` where it does so no more.
    #[must_use]
    pub fn next_change(&self, elapsed: Duration) -> Option<Duration> {
        let Some(since) = elapsed.checked_sub(self.at.0) else { return Some(self.at.0 - elapsed) };
        let Some(every) = self.every else {
            return self.lasts.0.checked_sub(since).filter(|left| !left.is_zero());
        };
        let round = Duration::from_nanos_u128(since.as_nanos() % every.0.as_nanos().max(1));
        let end = if round < self.lasts.0 { self.lasts.0 } else { every.0 };
        Some(end.saturating_sub(round))
    }

    /// What makes no sense, with its field.
    #[must_use]
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let share = |share: f64| (0.0..=1.0).contains(&share);
        let mut mistakes = Vec::new();
        if self.lasts.0.is_zero() {
            mistakes.push(("for", "above zero".to_owned()));
        }
        if self.every.is_some_and(|every| every.0 <= self.lasts.0) {
            mistakes.push(("every", "longer than `for`, or it never ends".to_owned()));
        }
        if self.every.is_some_and(|every| every.0 < EVERY_MIN) {
            mistakes.push(("every", format!("at least {}", Span(EVERY_MIN))));
        }
        match &self.fault {
            Fault::Status(status) => {
                if !(200..=599).contains(&status.code) {
                    mistakes.push(("fault.status.code", "200 to 599".to_owned()));
                }
                if !share(status.share) {
                    mistakes.push(("fault.status.share", "0 to 1".to_owned()));
                }
            }
            Fault::Slow(slow) if slow.p50.0.is_zero() || slow.p99.0 < slow.p50.0 => {
                mistakes.push(("fault.slow", "p50 above zero, and p99 no less".to_owned()));
            }
            Fault::Window(max_age) if max_age.0.is_zero() => {
                mistakes.push(("fault.window", "above zero".to_owned()));
            }
            Fault::Reject(reject) if !share(reject.share) => {
                mistakes.push(("fault.reject.share", "0 to 1".to_owned()));
            }
            Fault::Hang
            | Fault::Reset
            | Fault::HalfClose
            | Fault::Outage
            | Fault::Slow(_)
            | Fault::SlowBody(_)
            | Fault::Window(_)
            | Fault::Reject(_) => {}
        }
        mistakes
    }
}

impl Fault {
    /// In a few words, for events and plots.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Status(Status { code, retry_after, share }) => {
                let after = retry_after.map_or_else(String::new, |after| format!(", Retry-After {after}"));
                let part =
                    if *share < 1.0 { format!(" for {} of pushes", percent(*share)) } else { String::new() };
                format!("{code}{after}{part}")
            }
            Self::Hang => "no answer".to_owned(),
            Self::Reset => "connections reset".to_owned(),
            Self::HalfClose => "connections half closed".to_owned(),
            Self::Outage => "outage".to_owned(),
            Self::Slow(Slow { p50, p99 }) => format!("slow answers, p50 {p50}, p99 {p99}"),
            Self::SlowBody(every) => format!("slow bodies, a byte each {every}"),
            Self::Window(max_age) => format!("window of {max_age}"),
            Self::Reject(Reject { share, of }) => {
                let of = match of {
                    Of::Entries => "entries",
                    Of::Streams => "streams",
                    Of::Batches => "batches",
                };
                format!("{} of {of} refused as too old", percent(*share))
            }
        }
    }
}

fn percent(share: f64) -> String {
    format!("{} %", (share * 1000.0).round() / 10.0)
}

impl Plan {
    /// What makes no sense in it, each with its field.
    #[must_use]
    pub fn mistakes(&self) -> Vec<String> {
        mistakes(&self.faults)
    }

    /// The faults that hold so long after it has begun, with their places in the plan.
    pub fn now(&self, elapsed: Duration) -> impl Iterator<Item = (usize, &Fault)> {
        let timed = self.faults.iter().enumerate().filter(move |(_, timed)| timed.holds(elapsed));
        timed.map(|(place, timed)| (place, &timed.fault))
    }

    /// Whether nobody listens.
    #[must_use]
    pub fn is_out(&self, elapsed: Duration) -> bool {
        self.now(elapsed).any(|(_, fault)| *fault == Fault::Outage)
    }

    /// How long until that may change; `None` where it does not any more.
    #[must_use]
    pub fn next_outage_change(&self, elapsed: Duration) -> Option<Duration> {
        let outages = self.faults.iter().filter(|timed| timed.fault == Fault::Outage);
        outages.filter_map(|timed| timed.next_change(elapsed)).min()
    }

    /// A number from 0 to below 1, for this part of the plan and this key: always the same.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "53 bits are as much as a number below 1 holds")]
    pub fn draw(&self, place: usize, key: &[u8]) -> f64 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.write(&self.seed.to_le_bytes());
        hasher.write(&place.to_le_bytes());
        hasher.write(key);
        // A CRC alone is linear: keys that differ in a bit would be drawn together.
        (mixed(u64::from(hasher.finalize())) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// What begins and ends before `until`, in order.
    #[must_use]
    pub fn changes(&self, until: Duration) -> Vec<Change> {
        let mut changes = Vec::new();
        for timed in &self.faults {
            let mut begins = timed.at.0;
            while begins < until {
                let what = timed.fault.words();
                changes.push(Change { at: begins, begins: true, what: what.clone() });
                let ends = begins.saturating_add(timed.lasts.0);
                if ends < until {
                    changes.push(Change { at: ends, begins: false, what });
                }
                match timed.every {
                    Some(every) if !every.0.is_zero() => begins = begins.saturating_add(every.0),
                    _ => break,
                }
            }
        }
        changes.sort_by_key(|change| change.at);
        changes
    }
}

/// What makes no sense in these, each with its field.
#[must_use]
pub fn mistakes(faults: &[Timed]) -> Vec<String> {
    let all = faults.iter().enumerate();
    let told = all.flat_map(|(place, timed)| {
        timed.mistakes().into_iter().map(move |(field, why)| format!("faults[{place}].{field}: {why}"))
    });
    told.collect()
}

/// What a plan says of the lines of one push.
#[derive(Clone, Debug, Default)]
pub struct Weather<'a> {
    max_age: Option<Duration>,
    /// The whole push is refused.
    refuses_all: bool,
    rejects: Vec<(&'a Plan, usize, &'a Reject)>,
}

/// Nothing goes wrong.
pub static FAIR: Weather<'static> = Weather { max_age: None, refuses_all: false, rejects: Vec::new() };

impl<'a> Weather<'a> {
    /// Of this push, so long after the plan has begun. The same lines meet the same fate whenever they come.
    #[must_use]
    pub fn of(plan: &'a Plan, elapsed: Duration, push: &Push) -> Self {
        let mut weather = Self::default();
        for (place, fault) in plan.now(elapsed) {
            match fault {
                Fault::Window(max_age) => weather.max_age = Some(max_age.0),
                Fault::Reject(reject) if reject.of == Of::Batches => {
                    let first = push.streams.iter().find_map(|stream| stream.entries.first());
                    let key = first.map(|entry| entry.line.as_ref()).unwrap_or_default();
                    weather.refuses_all |= plan.draw(place, key) < reject.share;
                }
                Fault::Reject(reject) => weather.rejects.push((plan, place, reject)),
                Fault::Status(_)
                | Fault::Hang
                | Fault::Reset
                | Fault::HalfClose
                | Fault::Outage
                | Fault::Slow(_)
                | Fault::SlowBody(_) => {}
            }
        }
        weather
    }

    /// How old a line may be, where the tenant's limits say `own`.
    #[must_use]
    pub fn max_age(&self, own: Duration) -> Duration {
        self.max_age.unwrap_or(own)
    }

    /// Whether a line is refused though it is in time.
    #[must_use]
    pub fn refuses(&self, labels: &Labels, line: &[u8]) -> bool {
        let meets = |&(plan, place, reject): &(&Plan, usize, &Reject)| match reject.of {
            Of::Entries => plan.draw(place, line) < reject.share,
            Of::Streams => plan.draw(place, labels.to_string().as_bytes()) < reject.share,
            Of::Batches => false,
        };
        self.refuses_all || self.rejects.iter().any(meets)
    }
}

/// `SplitMix64` (Steele, Lea and Flood 2014): neighbours land far apart.
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Slow {
    /// The time at this quantile (0 to below 1).
    #[must_use]
    pub fn at(&self, quantile: f64) -> Duration {
        let normal = Normal::standard();
        let [p50, p99] = [self.p50, self.p99].map(|span| span.as_secs_f64().ln());
        let spread = (p99 - p50) / normal.inverse_cdf(0.99);
        let z = normal.inverse_cdf(quantile.clamp(1e-6, 1.0 - 1e-6));
        Duration::try_from_secs_f64((p50 + spread * z).exp()).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timed(at: u64, lasts: u64, every: Option<u64>, fault: Fault) -> Timed {
        Timed { at: Span::secs(at), lasts: Span::secs(lasts), every: every.map(Span::secs), fault }
    }

    fn plan(faults: Vec<Timed>) -> Plan {
        Plan { seed: 7, faults }
    }

    #[test]
    fn a_fault_holds_from_its_beginning_to_its_end_and_comes_again() {
        let once = timed(10, 5, None, Fault::Hang);
        let again = timed(10, 5, Some(20), Fault::Hang);
        let held = |timed: &Timed| {
            [9, 10, 14, 15, 29, 30, 34, 35].map(|second| timed.holds(Duration::from_secs(second)))
        };
        assert_eq!(held(&once), [false, true, true, false, false, false, false, false]);
        assert_eq!(held(&again), [false, true, true, false, false, true, true, false]);
        let next =
            |timed: &Timed, second| timed.next_change(Duration::from_secs(second)).map(|left| left.as_secs());
        assert_eq!([0, 10, 14, 15].map(|second| next(&once, second)), [Some(10), Some(5), Some(1), None]);
        assert_eq!([0, 14, 15, 29, 30].map(|second| next(&again, second)), [10, 1, 15, 1, 5].map(Some));
    }

    #[test]
    fn what_begins_and_ends_is_told_in_order() {
        let plan = plan(vec![timed(10, 5, Some(20), Fault::Hang), timed(12, 100, None, Fault::Outage)]);
        let told: Vec<(u64, bool, String)> = plan
            .changes(Duration::from_secs(40))
            .into_iter()
            .map(|change| (change.at.as_secs(), change.begins, change.what))
            .collect();
        let row = |at, begins, what: &str| (at, begins, what.to_owned());
        assert_eq!(
            told,
            [
                row(10, true, "no answer"),
                row(12, true, "outage"),
                row(15, false, "no answer"),
                row(30, true, "no answer"),
                row(35, false, "no answer"),
            ]
        );
    }

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    fn a_share_is_that_share_and_the_same_seed_draws_the_same() {
        let (one, other) = (plan(Vec::new()), Plan { seed: 8, ..Plan::default() });
        let lines: Vec<String> = (0..10_000).map(|number| format!("line {number}")).collect();
        let drawn = |plan: &Plan, place| -> Vec<bool> {
            lines.iter().map(|line| plan.draw(place, line.as_bytes()) < 0.3).collect()
        };
        let share = |drawn: &[bool]| drawn.iter().filter(|drawn| **drawn).count() as f64 / 10_000.0;
        assert!((share(&drawn(&one, 0)) - 0.3).abs() < 0.02, "{}", share(&drawn(&one, 0)));
        assert_eq!(drawn(&one, 0), drawn(&one.clone(), 0));
        assert_ne!(drawn(&one, 0), drawn(&other, 0));
        assert_ne!(drawn(&one, 0), drawn(&one, 1), "each fault draws for itself");
    }

    #[test]
    fn slow_answers_have_the_quantiles_that_were_asked_for() {
        let slow = Slow { p50: Span(Duration::from_millis(100)), p99: Span::secs(2) };
        for (quantile, seconds) in [(0.5, 0.1), (0.99, 2.0)] {
            assert!((slow.at(quantile).as_secs_f64() - seconds).abs() < 1e-6);
        }
    }

    #[test]
    fn every_form_is_read_and_what_makes_no_sense_is_named() {
        let text = "[{at: 1m, for: 10s, every: 5m, fault: {status: {code: 429, retry_after: 3s, share: 0.5}}}, \
            {at: 0s, for: 1s, fault: hang}, {at: 0s, for: 1s, fault: {slow: {p50: 100ms, p99: 2s}}}, \
            {at: 0s, for: 1s, fault: {slow_body: 10ms}}, {at: 0s, for: 1s, fault: {window: 10m}}, \
            {at: 0s, for: 1s, fault: {reject: {share: 0.05, of: entries}}}]";
        let faults: Vec<Timed> = serde_saphyr::from_str(text).unwrap();
        let words: Vec<String> = faults.iter().map(|timed| timed.fault.words()).collect();
        assert_eq!(
            words,
            [
                "429, Retry-After 3s for 50 % of pushes",
                "no answer",
                "slow answers, p50 100ms, p99 2s",
                "slow bodies, a byte each 10ms",
                "window of 10m",
                "5 % of entries refused as too old",
            ]
        );
        assert!(faults.iter().all(|timed| timed.mistakes().is_empty()));
        let wrong = timed(0, 5, Some(5), Fault::Reject(Reject { share: 1.5, of: Of::Streams }));
        let fields: Vec<&str> = wrong.mistakes().iter().map(|(field, _)| *field).collect();
        assert_eq!(fields, ["every", "fault.reject.share"]);
    }
}
