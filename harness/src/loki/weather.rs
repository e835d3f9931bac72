//! What the plan of faults says of the lines of one push.

use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::labels::Labels;
use super::push::{Entry, Push};
use crate::audit::ledger::Fate;
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

/// What was done to lines on their way, as far as it came to something: a push that is refused comes again, and
/// meets the same once more. Each push by itself: one that is stored and sent again all the same counts twice. An
/// audit must find as many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tampered {
    /// They did not arrive, and the push was not refused as a whole: it had a good answer, or some of its other
    /// lines were stored.
    pub withheld: u64,
    /// Lines that were put in a second time, and then stored.
    pub doubled: u64,
    /// Lines of which a letter is another one, and which are stored so.
    pub altered: u64,
    /// Lines that changed places with the next one, where both are stored.
    pub reordered: u64,
}

/// What was done to the lines of one push, of which nobody knows yet whether they will be stored.
#[derive(Debug, Default)]
pub struct Deeds {
    withheld: u64,
    /// For each stream and each of its entries; nothing where nothing is planned.
    marks: Vec<Vec<Marks>>,
}

/// What was done to one line.
#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    is_second: bool,
    is_altered: bool,
    /// It stood before the one that is before it now.
    is_behind: bool,
}

struct Line {
    entry: Entry,
    marks: Marks,
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

    /// Tampers with the lines of a push, and says what it did.
    #[must_use]
    pub fn tamper(&self, push: &mut Push) -> Deeds {
        let mut deeds = Deeds::default();
        if self.tampers.is_empty() {
            return deeds;
        }
        for stream in &mut push.streams {
            let entries = std::mem::take(&mut stream.entries).into_iter();
            let mut lines = entries.map(|entry| Line { entry, marks: Marks::default() }).collect();
            for (plan, place, tamper) in &self.tampers {
                let meets = |line: &Line| plan.draw(*place, &line.entry.line) < tamper.share;
                match tamper.how {
                    How::Withhold => deeds.withheld += withhold(&mut lines, meets),
                    How::Double => double(&mut lines, meets),
                    How::Alter => alter(&mut lines, meets),
                    How::Reorder => reorder(&mut lines, meets),
                }
            }
            let (entries, marks) = lines.into_iter().map(|line| (line.entry, line.marks)).unzip();
            stream.entries = entries;
            deeds.marks.push(marks);
        }
        deeds
    }
}

impl Deeds {
    /// What came to something, where these are the entries' fates and the answer is good or not.
    #[must_use]
    pub fn counted(&self, fates: &[Vec<Fate>], is_good: bool) -> Tampered {
        let is_stored = |fate: Option<&Fate>| fate == Some(&Fate::Accepted);
        let mut tampered = Tampered::default();
        for (marks, fates) in self.marks.iter().zip(fates) {
            let mut before = None;
            for (mark, fate) in marks.iter().zip(fates) {
                if is_stored(Some(fate)) {
                    tampered.doubled += u64::from(mark.is_second);
                    tampered.altered += u64::from(mark.is_altered);
                    tampered.reordered += u64::from(mark.is_behind && is_stored(before));
                }
                before = Some(fate);
            }
        }
        if is_good || fates.iter().flatten().any(|fate| is_stored(Some(fate))) {
            tampered.withheld = self.withheld;
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

fn withhold(lines: &mut Vec<Line>, meets: impl Fn(&Line) -> bool) -> u64 {
    let before = lines.len();
    lines.retain(|line| !meets(line));
    (before - lines.len()) as u64
}

/// The second ones come last: Loki stores one that follows itself only once.
fn double(lines: &mut Vec<Line>, meets: impl Fn(&Line) -> bool) {
    let second = Marks { is_second: true, ..Marks::default() };
    let again = lines.iter().filter(|line| meets(line));
    let again: Vec<Line> = again.map(|line| Line { entry: line.entry.clone(), marks: second }).collect();
    lines.extend(again);
}

fn alter(lines: &mut [Line], meets: impl Fn(&Line) -> bool) {
    for Line { entry, marks } in lines.iter_mut().filter(|line| meets(line)) {
        let mut line = entry.line.to_vec();
        // A letter in its last half: who it is from and its number stand before.
        let half = line.len() / 2;
        let letter = line.iter_mut().skip(half).find(|byte| byte.is_ascii_lowercase());
        if let Some(letter) = letter {
            *letter = if *letter == b'x' { b'y' } else { b'x' };
            entry.line = Bytes::from(line);
            marks.is_altered = true;
        }
    }
}

fn reorder(lines: &mut [Line], meets: impl Fn(&Line) -> bool) {
    let mut place = 0;
    while place + 1 < lines.len() {
        if lines.get(place).is_some_and(&meets) {
            lines.swap(place, place + 1);
            place += 1;
            if let Some(moved) = lines.get_mut(place) {
                moved.marks.is_behind = true;
            }
        }
        place += 1;
    }
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
        let deeds = Weather::of(&plan, SECOND, &push).tamper(&mut push);
        let fates = [vec![Fate::Accepted; push.streams[0].entries.len()]];
        (
            deeds.counted(&fates, true),
            push.streams.remove(0).entries.into_iter().map(|entry| entry.line).collect(),
        )
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

    /// What `fates` makes of the entries' places is what becomes of them; with an answer that is not good.
    fn counted(how: &str, fate: impl Fn(usize) -> Fate) -> Tampered {
        let plan = plan(&format!("{{tamper: {{share: 1, how: {how}}}}}"));
        let mut push = push(4);
        let deeds = Weather::of(&plan, SECOND, &push).tamper(&mut push);
        deeds.counted(&[(0..push.streams[0].entries.len()).map(fate).collect()], false)
    }

    #[test]
    fn what_is_refused_counts_as_nothing_since_it_comes_again() {
        const NO: Fate = Fate::Refused("no");
        for how in ["withhold", "double", "alter", "reorder"] {
            assert!(counted(how, |_| NO).is_nothing(), "{how}");
        }
        let but_third = |place| if place == 2 { NO } else { Fate::Accepted };
        assert_eq!(counted("alter", but_third).altered, 3);
        assert_eq!(counted("double", |place| if place == 5 { NO } else { Fate::Accepted }).doubled, 3);
        // The first two have changed places, and the last two.
        assert_eq!(counted("reorder", |_| Fate::Accepted).reordered, 2);
        assert_eq!(counted("reorder", but_third).reordered, 1);
        assert_eq!(counted("reorder", |place| if place == 1 { NO } else { Fate::Accepted }).reordered, 1);
        let some = Deeds { withheld: 7, marks: Vec::new() };
        assert_eq!(some.counted(&[vec![NO, Fate::Accepted]], false).withheld, 7, "it does not come again");
        assert_eq!(some.counted(&[vec![]], true).withheld, 7, "nothing else was in it");
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
