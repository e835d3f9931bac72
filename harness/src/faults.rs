//! Faults on a timeline: what goes wrong when. Pure: it is asked what holds at a moment, and the same plan with
//! the same seed says the same each time.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::Hasher;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::units::Span;

mod kind;

pub use kind::{Fault, How, Of, Reject, Slow, Status, Tamper, World};

/// One fault, and when it holds.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema, Serialize)]
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

/// Each beginning and end is an event of the run.
const EVERY_MIN: Duration = Duration::from_secs(1);
/// How often all faults of a run begin, together: one each two seconds for 48 hours, and some.
const BEGINNINGS_MAX: u128 = 100_000;

/// What goes wrong in a run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Whatever is drawn by chance is drawn from it.
    #[serde(default)]
    pub seed: u64,
    /// In the order in which they are asked.
    #[serde(deserialize_with = "list")]
    pub faults: Vec<Timed>,
}

/// A fault that begins or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When, since the plan began.
    pub at: Duration,
    /// Whether it begins.
    pub begins: bool,
    /// Its place in the plan.
    pub place: usize,
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

    /// How often it begins before `until`.
    fn beginnings(&self, until: Duration) -> u128 {
        match (until.saturating_sub(self.at.0), self.every) {
            (Duration::ZERO, _) => 0,
            (left, Some(every)) if !every.0.is_zero() => left.as_nanos().div_ceil(every.0.as_nanos()),
            _ => 1,
        }
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
        mistakes.extend(self.fault.mistakes());
        mistakes
    }
}

impl Plan {
    /// What makes no sense in it, each with its field.
    #[must_use]
    pub fn mistakes(&self) -> Vec<String> {
        mistakes(&self.faults)
    }

    /// The world is at fault in one way at a time, and comes to itself before `until`: else nobody could say what
    /// is whose. One mistake for each fault; to be asked where there are no other mistakes ([`mistakes`],
    /// [`too_often`]).
    #[must_use]
    pub fn mistakes_of_the_world(&self, until: Duration) -> Vec<String> {
        let (mut mistakes, mut told) = (Vec::new(), BTreeSet::new());
        let mut at_fault: Option<usize> = None;
        let of_the_world = |change: &Change| {
            self.faults.get(change.place).is_some_and(|timed| timed.fault.of_the_world().is_some())
        };
        for Change { at, begins, place, .. } in self.changes(until).into_iter().filter(of_the_world) {
            match at_fault {
                Some(other) if begins => {
                    let told_before = !told.insert(place);
                    mistakes.extend((!told_before).then(|| format!(
                        "faults[{place}]: at {} the world is still at fault by faults[{other}]; one after the other",
                        Span(at)
                    )));
                }
                _ => at_fault = begins.then_some(place),
            }
        }
        mistakes.extend(at_fault.map(|place| {
            format!("faults[{place}].for: it must end before the load does, after {}", Span(until))
        }));
        mistakes
    }

    /// Whether a fault is in it at any time.
    #[must_use]
    pub fn has(&self, fault: &Fault) -> bool {
        self.faults.iter().any(|timed| timed.fault == *fault)
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

    /// What begins and ends before `until`, in order; all of it at once, so for a plan that is not
    /// [`too_often`] at fault.
    #[must_use]
    pub fn changes(&self, until: Duration) -> Vec<Change> {
        let mut changes = Vec::new();
        for (place, timed) in self.faults.iter().enumerate() {
            let mut begins = timed.at.0;
            while begins < until {
                let what = timed.fault.words();
                changes.push(Change { at: begins, begins: true, place, what: what.clone() });
                let ends = begins.saturating_add(timed.lasts.0);
                if ends < until {
                    changes.push(Change { at: ends, begins: false, place, what });
                }
                match timed.every {
                    Some(every) if !every.0.is_zero() => begins = begins.saturating_add(every.0),
                    _ => break,
                }
            }
        }
        // What ends at a moment has ended before what begins then.
        changes.sort_by_key(|change| (change.at, change.begins));
        changes
    }

    /// The same to somebody who comes when `done` of it is over: what holds then begins at once. Times count from there.
    #[must_use]
    pub fn changes_from(&self, done: Duration, until: Duration) -> Vec<Change> {
        let (past, to_come): (Vec<Change>, Vec<Change>) =
            self.changes(until).into_iter().partition(|change| change.at < done);
        let mut holding: Vec<Change> = Vec::new();
        for change in past {
            holding.retain(|held| held.place != change.place);
            holding.extend(change.begins.then_some(change));
        }
        let all = holding.into_iter().chain(to_come);
        all.map(|change| Change { at: change.at.saturating_sub(done), ..change }).collect()
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

/// Where faults begin so often before `until` that a run could not tell of it; `None` where they don't.
#[must_use]
pub fn too_often(faults: &[Timed], until: Duration) -> Option<String> {
    let mut count = 0_u128;
    let place = faults.iter().position(|timed| {
        count = count.saturating_add(timed.beginnings(until));
        count > BEGINNINGS_MAX
    })?;
    let field = if faults.get(place)?.every.is_some() { ".every" } else { "" };
    Some(format!(
        "faults[{place}]{field}: up to here faults begin {count} times before the load ends; at most {BEGINNINGS_MAX}"
    ))
}

/// Reads a list of faults, and says what one looks like where there is something else.
///
/// # Errors
/// The deserializer's.
pub fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Timed>, D::Error> {
    struct List;
    impl<'de> Visitor<'de> for List {
        type Value = Vec<Timed>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of faults, such as `faults: [{at: 10s, for: 5s, fault: hang}]`")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
            let mut faults = Vec::new();
            while let Some(timed) = sequence.next_element()? {
                faults.push(timed);
            }
            Ok(faults)
        }
    }
    deserializer.deserialize_any(List)
}

/// `SplitMix64` (Steele, Lea and Flood 2014): neighbours land far apart.
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
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
    fn who_comes_late_meets_what_holds_at_once_and_the_rest_in_its_time() {
        let plan = plan(vec![timed(10, 5, Some(20), Fault::Hang), timed(12, 100, None, Fault::Outage)]);
        let told = |done| -> Vec<(u64, bool, usize)> {
            let changes = plan.changes_from(Duration::from_secs(done), Duration::from_secs(40));
            changes.into_iter().map(|change| (change.at.as_secs(), change.begins, change.place)).collect()
        };
        assert_eq!(
            plan.changes_from(Duration::ZERO, Duration::from_mins(1)),
            plan.changes(Duration::from_mins(1))
        );
        assert_eq!(told(14), [(0, true, 0), (0, true, 1), (1, false, 0), (16, true, 0), (21, false, 0)]);
        assert_eq!(told(30), [(0, true, 1), (0, true, 0), (5, false, 0)]);
        assert_eq!(told(40), [(0, true, 1)]);
    }

    #[test]
    fn the_world_is_at_fault_in_one_way_at_a_time_and_comes_to_itself() {
        let wrong = |faults| plan(faults).mistakes_of_the_world(Duration::from_secs(60));
        let pause = timed(10, 5, None, Fault::Pause);
        assert_eq!(wrong(vec![pause.clone(), timed(15, 5, None, Fault::Kill)]), Vec::<String>::new());
        assert_eq!(wrong(vec![pause.clone(), timed(12, 99, None, Fault::Hang)]), Vec::<String>::new());
        let again = wrong(vec![timed(1, 50, None, Fault::Pause), timed(2, 1, Some(3), Fault::Kill)]);
        let told = again.iter().filter(|mistake| mistake.contains("still at fault by faults[0]"));
        assert_eq!(told.count(), 1, "each fault is told once: {again:?}");
        let both = wrong(vec![pause, timed(14, 5, None, Fault::Kill)]);
        assert_eq!(both.len(), 1, "{both:?}");
        assert!(both[0].starts_with("faults[1]: at 14s"), "{both:?}");
        let endless = wrong(vec![timed(50, 5, Some(8), Fault::DiskFull)]);
        assert_eq!(endless, ["faults[0].for: it must end before the load does, after 1m"]);
    }

    #[test]
    fn faults_that_begin_too_often_are_named_without_going_through_them() {
        const HOURS_48: Duration = Duration::from_hours(48);
        let (each_30s, each_2s) = (timed(1, 1, Some(30), Fault::Hang), timed(0, 1, Some(2), Fault::Hang));
        assert_eq!(too_often(&[each_30s.clone(), each_2s.clone()], HOURS_48), None);
        let told = too_often(&[each_2s.clone(), each_30s.clone(), each_2s.clone()], HOURS_48).unwrap();
        assert!(told.starts_with("faults[2].every: up to here faults begin 178560 times"), "{told}");
        let each_ns = Timed { every: Some(Span(Duration::from_nanos(2))), ..each_2s };
        assert!(too_often(&[each_ns], Duration::MAX).unwrap().starts_with("faults[0].every"));
        assert_eq!(too_often(&[timed(60, 1, Some(1), Fault::Hang)], Duration::from_mins(1)), None);
        // As many as there are.
        for (at, every, until) in
            [(0, Some(7), 70), (3, Some(7), 70), (0, Some(7), 71), (3, None, 9), (9, None, 9)]
        {
            let (timed, until) = (timed(at, 1, every, Fault::Hang), Duration::from_secs(until));
            let begun =
                plan(vec![timed.clone()]).changes(until).iter().filter(|change| change.begins).count();
            assert_eq!(timed.beginnings(until), begun as u128, "{timed:?} until {until:?}");
        }
    }

    #[test]
    fn every_example_of_the_document_is_a_plan_and_each_fault_has_one() {
        let document = include_str!("../../docs/faults.md");
        let examples = document.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let mut known = BTreeSet::new();
        for example in examples {
            let plan: Plan = serde_saphyr::from_str(example).unwrap();
            assert_eq!(plan.mistakes(), Vec::<String>::new(), "{example}");
            assert_eq!(plan.mistakes_of_the_world(Duration::from_mins(2)), Vec::<String>::new(), "{example}");
            known.extend(plan.faults.iter().map(|timed| {
                // A word, or a word and its fields.
                let written = serde_json::to_string(&timed.fault).unwrap();
                written.split('"').nth(1).unwrap().to_owned()
            }));
        }
        let message = serde_saphyr::from_str::<Fault>("no_such").unwrap_err().to_string();
        for name in &known {
            assert!(
                message.contains(name) && document.contains(&format!("| `{name}` |")),
                "{name}: {message}"
            );
        }
        // One comma stands before the list.
        let first = message.lines().next().unwrap();
        assert_eq!(first.matches(", ").count(), known.len(), "{message} {known:?}");
    }

    #[test]
    fn what_is_no_list_is_told_with_what_one_looks_like() {
        for text in ["faults: hang", "faults: {at: 1s, for: 1s, fault: hang}", "faults: 7"] {
            let message = serde_saphyr::from_str::<Plan>(text).unwrap_err().to_string();
            assert!(message.contains("a list of faults, such as `faults: [{at: 10s"), "{message}");
        }
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
    fn every_form_is_read_and_what_makes_no_sense_is_named() {
        let text = "[{at: 1m, for: 10s, every: 5m, fault: {status: {code: 429, retry_after: 3s, share: 0.5}}}, \
            {at: 0s, for: 1s, fault: hang}, {at: 0s, for: 1s, fault: {slow: {p50: 100ms, p99: 2s}}}, \
            {at: 0s, for: 1s, fault: {slow_body: 10ms}}, {at: 0s, for: 1s, fault: {window: 10m}}, \
            {at: 0s, for: 1s, fault: {reject: {share: 0.05, of: entries}}}, \
            {at: 0s, for: 1s, fault: {clock_step: 30m}}, {at: 0s, for: 1s, fault: {clock_step: -2h}}, \
            {at: 0s, for: 1s, fault: {clock_step: 1w}}, \
            {at: 0s, for: 1s, fault: {tamper: {share: 0.1, how: withhold}}}, {at: 0s, for: 1s, fault: pause}, \
            {at: 0s, for: 1s, fault: truncate}, {at: 0s, for: 1s, fault: disk_full}, \
            {at: 0s, for: 1s, fault: docker_restart}, {at: 0s, for: 1s, fault: kill}]";
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
                "clock 30m ahead",
                "clock 2h behind",
                "clock 7days ahead",
                "10 % of lines withheld",
                "containers paused",
                "logs emptied in place",
                "no space for the targets' state",
                "Docker Engine down",
                "targets killed",
            ]
        );
        assert!(faults.iter().all(|timed| timed.mistakes().is_empty()));
        let wrong = timed(0, 5, Some(5), Fault::Reject(Reject { share: 1.5, of: Of::Streams }));
        let fields: Vec<&str> = wrong.mistakes().iter().map(|(field, _)| *field).collect();
        assert_eq!(fields, ["every", "fault.reject.share"]);
    }
}
