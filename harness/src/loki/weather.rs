//! What the plan of faults says of the lines of one push.

use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::labels::Labels;
use super::push::{Entry, Push};
use crate::faults::{Fault, How, Of, Plan, Reject, Tamper};

/// What a plan says of the lines of one push.
#[derive(Clone, Debug, Default)]
pub struct Weather<'a> {
    max_age: Option<Duration>,
    /// How far the clock of the lines' times is ahead.
    clock_step: SignedDuration,
    /// The whole push is refused.
    refuses_all: bool,
    rejects: Vec<(&'a Plan, usize, &'a Reject)>,
    tampers: Vec<(&'a Plan, usize, &'a Tamper)>,
}

/// Nothing goes wrong.
pub static FAIR: Weather<'static> = Weather {
    max_age: None,
    clock_step: SignedDuration::ZERO,
    refuses_all: false,
    rejects: Vec::new(),
    tampers: Vec::new(),
};

/// How many lines were tampered with on their way. An audit must find as many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tampered {
    /// They did not arrive.
    pub withheld: u64,
    /// They arrived twice.
    pub doubled: u64,
    /// A letter of them is another one.
    pub altered: u64,
    /// They changed places with the next one.
    pub reordered: u64,
}

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
                Fault::ClockStep(by) => weather.clock_step = weather.clock_step.saturating_add(by.0),
                Fault::Tamper(tamper) => weather.tampers.push((plan, place, tamper)),
                Fault::Status(_)
                | Fault::Hang
                | Fault::Reset
                | Fault::HalfClose
                | Fault::Outage
                | Fault::Slow(_)
                | Fault::SlowBody(_)
                | Fault::Pause
                | Fault::Truncate
                | Fault::DiskFull
                | Fault::DockerRestart
                | Fault::Kill => {}
            }
        }
        weather
    }

    /// How old a line may be, where the tenant's limits say `own`.
    #[must_use]
    pub fn max_age(&self, own: Duration) -> Duration {
        self.max_age.unwrap_or(own)
    }

    /// This moment by the clock that times the lines, where the sink's own says `now`: what the sink says of
    /// times, it says by that clock.
    #[must_use]
    pub fn by_their_clock(&self, now: Timestamp) -> Timestamp {
        shifted(now, -self.clock_step)
    }

    /// The same moment by the sink's own clock.
    #[must_use]
    pub fn by_own_clock(&self, theirs: Timestamp) -> Timestamp {
        shifted(theirs, self.clock_step)
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

    /// Tampers with the lines of a push, and says with how many.
    pub fn tamper(&self, push: &mut Push) -> Tampered {
        let mut tampered = Tampered::default();
        for (plan, place, tamper) in &self.tampers {
            let meets = |entry: &Entry| plan.draw(*place, &entry.line) < tamper.share;
            for stream in &mut push.streams {
                match tamper.how {
                    How::Withhold => tampered.withheld += withhold(&mut stream.entries, meets),
                    How::Double => tampered.doubled += double(&mut stream.entries, meets),
                    How::Alter => tampered.altered += alter(&mut stream.entries, meets),
                    How::Reorder => tampered.reordered += reorder(&mut stream.entries, meets),
                }
            }
        }
        tampered
    }
}

impl Tampered {
    /// Whether anything was done.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// These as well.
    pub(super) fn add(&mut self, other: Self) {
        self.withheld += other.withheld;
        self.doubled += other.doubled;
        self.altered += other.altered;
        self.reordered += other.reordered;
    }
}

fn shifted(time: Timestamp, by: SignedDuration) -> Timestamp {
    let end = if by.is_negative() { Timestamp::MIN } else { Timestamp::MAX };
    time.checked_add(by).unwrap_or(end)
}

fn withhold(entries: &mut Vec<Entry>, meets: impl Fn(&Entry) -> bool) -> u64 {
    let before = entries.len();
    entries.retain(|entry| !meets(entry));
    (before - entries.len()) as u64
}

/// The second ones come last: Loki stores one that follows itself only once.
fn double(entries: &mut Vec<Entry>, meets: impl Fn(&Entry) -> bool) -> u64 {
    let again: Vec<Entry> = entries.iter().filter(|entry| meets(entry)).cloned().collect();
    let count = again.len() as u64;
    entries.extend(again);
    count
}

fn alter(entries: &mut [Entry], meets: impl Fn(&Entry) -> bool) -> u64 {
    let mut count = 0;
    for entry in entries.iter_mut().filter(|entry| meets(entry)) {
        let mut line = entry.line.to_vec();
        // A letter in its last half: who it is from and its number stand before.
        let half = line.len() / 2;
        let letter = line.iter_mut().skip(half).find(|byte| byte.is_ascii_lowercase());
        if let Some(letter) = letter {
            *letter = if *letter == b'x' { b'y' } else { b'x' };
            entry.line = Bytes::from(line);
            count += 1;
        }
    }
    count
}

fn reorder(entries: &mut [Entry], meets: impl Fn(&Entry) -> bool) -> u64 {
    let (mut count, mut place) = (0, 0);
    while place + 1 < entries.len() {
        if entries.get(place).is_some_and(&meets) {
            entries.swap(place, place + 1);
            count += 1;
            place += 1;
        }
        place += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Timed;
    use crate::loki::labels::parse;
    use crate::loki::push::Stream;
    use crate::units::Span;

    const SECOND: Duration = Duration::from_secs(1);

    fn plan(yaml: &str) -> Plan {
        let fault = serde_saphyr::from_str(yaml).unwrap();
        let timed = Timed { at: Span::secs(0), lasts: Span::secs(9), every: None, fault };
        Plan { seed: 3, faults: vec![timed] }
    }

    fn push(count: usize) -> Push {
        let line = |number| Bytes::from(format!("line {number} and what it says"));
        let entries = (0..count).map(|number| Entry::plain(Timestamp::UNIX_EPOCH, line(number))).collect();
        Push {
            streams: vec![Stream { labels: parse("{a=\"b\"}").unwrap(), entries }],
            has_local_times: false,
        }
    }

    fn tampered(how: &str, count: usize) -> (Tampered, Vec<Bytes>) {
        let plan = plan(&format!("{{tamper: {{share: 0.2, how: {how}}}}}"));
        let mut push = push(count);
        let done = Weather::of(&plan, SECOND, &push).tamper(&mut push);
        (done, push.streams.remove(0).entries.into_iter().map(|entry| entry.line).collect())
    }

    #[test]
    fn what_is_done_to_lines_is_counted_as_it_is_done() {
        let sent: Vec<Bytes> = push(1000).streams.remove(0).entries.into_iter().map(|e| e.line).collect();
        let (done, arrived) = tampered("withhold", 1000);
        assert!((100..300).contains(&done.withheld), "{done:?}");
        assert_eq!(arrived.len() as u64, 1000 - done.withheld);
        let (done, arrived) = tampered("double", 1000);
        assert_eq!((arrived.len() as u64, &arrived[..1000]), (1000 + done.doubled, &sent[..]));
        let (done, arrived) = tampered("alter", 1000);
        let differ = arrived.iter().zip(&sent).filter(|(arrived, sent)| arrived != sent).count();
        assert_eq!(differ as u64, done.altered);
        let (done, arrived) = tampered("reorder", 1000);
        let differ = arrived.iter().zip(&sent).filter(|(arrived, sent)| arrived != sent).count();
        assert_eq!(differ as u64, 2 * done.reordered);
    }

    #[test]
    fn a_clock_that_is_ahead_makes_lines_newer_to_the_sink() {
        let plan = plan("{clock_step: 30m}");
        let weather = Weather::of(&plan, SECOND, &push(1));
        let now = Timestamp::new(100_000, 0).unwrap();
        assert_eq!(weather.by_own_clock(now).as_second(), 100_000 + 1800);
        assert_eq!(weather.by_own_clock(weather.by_their_clock(now)), now);
        assert_eq!(weather.by_their_clock(Timestamp::MIN), Timestamp::MIN);
    }
}
