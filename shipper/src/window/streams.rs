//! What is known of each of Loki's streams: its newest line, and what it was seen to take and to refuse.
//! A stream is a set of labels: two containers with the same labels share one. It is known for as long as
//! anyone writes to it or holds lines of it. Pure.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::learned::Probe;
use crate::clock::duration_ns;

/// One stream. Times of lines in nanoseconds since the epoch.
#[derive(Debug, Default)]
pub struct Stream {
    /// The newest line that the window let pass.
    admitted_ns: Option<i64>,
    /// The newest line that Loki has accepted.
    accepted_ns: Option<i64>,
    /// From here on Loki was seen to accept lines, in an answer that could have hidden no refusal.
    proven_ns: Option<i64>,
    floor: Option<Floor>,
    /// How far behind Loki takes lines, if it was seen to be less than configured.
    behind_ns: Option<i64>,
}

/// Lines before this were refused.
#[derive(Clone, Copy, Debug)]
struct Floor {
    ns: i64,
    since: Instant,
    probe: Probe,
}

impl Stream {
    /// The oldest line that it may be sent, when the lines up to `newest_ns` are there.
    #[must_use]
    pub fn floor_ns(&self, newest_ns: Option<i64>, behind: Duration) -> Option<i64> {
        let behind_ns = self.behind_ns(behind);
        newest_ns.map(|newest| newest.saturating_sub(behind_ns)).max(self.floor.map(|floor| floor.ns))
    }

    /// How far behind its newest line it takes others, if that is at most `behind`.
    #[must_use]
    pub fn behind_ns(&self, behind: Duration) -> i64 {
        self.behind_ns.unwrap_or(i64::MAX).min(duration_ns(behind))
    }

    /// The newest line that is there already, or on its way.
    #[must_use]
    pub fn newest_ns(&self) -> Option<i64> {
        self.admitted_ns.max(self.accepted_ns)
    }

    /// The newest line that Loki has accepted.
    #[must_use]
    pub fn accepted_ns(&self) -> Option<i64> {
        self.accepted_ns
    }

    /// Whether Loki was never seen to take a line as old as this.
    #[must_use]
    pub fn is_unproven(&self, time_ns: i64) -> bool {
        self.proven_ns.is_none_or(|proven| time_ns < proven)
    }

    /// A line is on its way.
    pub fn admit(&mut self, time_ns: i64) {
        self.admitted_ns = self.admitted_ns.max(Some(time_ns));
    }

    /// Lines from `oldest_ns` to `newest_ns` were accepted, `alone` if their push held no other stream; it
    /// left at `sent`. Says whether a learned floor is forgotten for it.
    pub fn accepted(&mut self, (oldest_ns, newest_ns): (i64, i64), alone: bool, sent: Instant) -> bool {
        self.accepted_ns = self.accepted_ns.max(Some(newest_ns));
        if !alone {
            return false;
        }
        self.proven_ns = Some(self.proven_ns.map_or(oldest_ns, |proven| proven.min(oldest_ns)));
        let disproved = self.floor.is_some_and(|floor| sent >= floor.since && oldest_ns < floor.ns);
        if disproved {
            (self.floor, self.behind_ns) = (None, None);
        }
        disproved
    }

    /// Lines before `floor_ns` were refused, in a push that left at `sent`. Says whether that is new.
    ///
    /// Loki says where the floor lies, and not how far behind the newest line: that is not always ours.
    /// Only when the floor has risen with our own newest line, the distance is taken for Loki's limit.
    pub fn refused(&mut self, floor_ns: i64, probe_every: Duration, (sent, now): (Instant, Instant)) -> bool {
        let mut floor = Floor { ns: floor_ns, since: now, probe: Probe::new(probe_every, now) };
        let before = self.floor;
        if let Some(before) = before {
            floor.probe = before.probe;
            if floor_ns > before.ns {
                let behind = self.accepted_ns.map(|newest| newest.saturating_sub(floor_ns));
                self.behind_ns = behind.filter(|behind| *behind > 0).or(self.behind_ns);
            } else if sent >= before.since {
                floor.probe.refused(now);
            }
        }
        self.floor = Some(floor);
        // What is proven stays proven: lines before the floor are not sent in any case.
        before.is_none()
    }

    /// Whether a line that only the learned floor keeps back goes out all the same, as a probe.
    pub fn take_probe(&mut self, time_ns: i64, behind: Duration, now: Instant) -> bool {
        let configured = self.newest_ns().map(|newest| newest.saturating_sub(duration_ns(behind)));
        configured.is_none_or(|oldest| time_ns >= oldest)
            && self.floor.as_mut().is_some_and(|floor| time_ns < floor.ns && floor.probe.take(now))
    }
}

/// The streams that someone writes to, or holds lines of.
#[derive(Debug, Default)]
pub struct Streams {
    map: HashMap<String, Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    by: usize,
    stream: Stream,
}

impl Streams {
    /// How many are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// How many of them have a learned floor.
    #[must_use]
    pub fn floors(&self) -> usize {
        self.map.values().filter(|shared| shared.stream.floor.is_some()).count()
    }

    /// One more uses the stream of these labels: it is known from now on.
    pub fn join(&mut self, labels: &str) {
        match self.map.get_mut(labels) {
            Some(shared) => shared.by += 1,
            None => drop(self.map.insert(labels.to_owned(), Shared { by: 1, stream: Stream::default() })),
        }
    }

    /// One that has joined uses it no more; the last one leaves nothing behind. Says whether a learned floor
    /// is forgotten for it.
    pub fn leave(&mut self, labels: &str) -> bool {
        let Some(shared) = self.map.get_mut(labels) else { return false };
        shared.by -= 1;
        shared.by == 0 && self.map.remove(labels).is_some_and(|shared| shared.stream.floor.is_some())
    }

    /// The stream of these labels, if it is known.
    #[must_use]
    pub fn get(&self, labels: &str) -> Option<&Stream> {
        self.map.get(labels).map(|shared| &shared.stream)
    }

    /// The same, to learn something of it.
    #[must_use]
    pub fn get_mut(&mut self, labels: &str) -> Option<&mut Stream> {
        self.map.get_mut(labels).map(|shared| &mut shared.stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const HOUR_NS: i64 = 3_600_000_000_000;

    #[test]
    fn a_learned_floor_stays_until_the_streams_own_newest_line_has_raised_it() {
        let (mut stream, now) = (Stream::default(), Instant::now());
        assert_eq!(stream.floor_ns(stream.newest_ns(), HOUR), None);
        assert!(stream.refused(10 * HOUR_NS, HOUR, (now, now)));
        stream.admit(10 * HOUR_NS + HOUR_NS / 2);
        assert_eq!(stream.floor_ns(stream.newest_ns(), HOUR), Some(10 * HOUR_NS));
        stream.admit(12 * HOUR_NS);
        assert_eq!(stream.floor_ns(stream.newest_ns(), HOUR), Some(11 * HOUR_NS));
    }

    #[test]
    fn a_floor_that_rises_with_the_newest_line_shows_how_far_behind_loki_takes_lines() {
        let (mut stream, now) = (Stream::default(), Instant::now());
        for newest in [10 * HOUR_NS, 11 * HOUR_NS] {
            stream.accepted((newest, newest), false, now);
            stream.refused(newest - HOUR_NS / 2, HOUR, (now, now));
        }
        assert_eq!(stream.floor_ns(Some(20 * HOUR_NS), HOUR), Some(20 * HOUR_NS - HOUR_NS / 2));
    }

    #[test]
    fn a_probe_below_the_floor_that_passes_forgets_it() {
        let (mut stream, start) = (Stream::default(), Instant::now());
        stream.refused(10 * HOUR_NS, HOUR, (start, start));
        let below = 10 * HOUR_NS - 1;
        assert!(!stream.take_probe(below, HOUR, start));
        assert!(!stream.take_probe(below + 1, HOUR, start + HOUR), "it is not refused");
        assert!(stream.take_probe(below, HOUR, start + HOUR));
        assert!(!stream.take_probe(below, HOUR, start + HOUR), "one at a time");
        assert!(!stream.accepted((below, below), false, start + HOUR), "others may have hidden its refusal");
        assert!(stream.accepted((below, below), true, start + HOUR));
        assert_eq!(stream.floor_ns(None, HOUR), None);
        assert!(!stream.is_unproven(below) && stream.is_unproven(below - 1));
    }

    proptest! {
        #[test]
        fn a_stream_is_known_while_anyone_uses_it(steps in prop::collection::vec((any::<bool>(), 0..3_usize), 0..60)) {
            let (mut streams, mut users) = (Streams::default(), [0_usize; 3]);
            for (joins, one) in steps {
                let labels = one.to_string();
                if joins {
                    streams.join(&labels);
                    users[one] += 1;
                } else if users[one] > 0 {
                    streams.leave(&labels);
                    users[one] -= 1;
                }
                if let Some(stream) = streams.get_mut(&labels) {
                    stream.admit(1);
                }
                prop_assert_eq!(streams.get(&labels).and_then(Stream::newest_ns), (users[one] > 0).then_some(1));
                prop_assert_eq!(streams.len(), users.iter().filter(|users| **users > 0).count());
            }
        }
    }
}
