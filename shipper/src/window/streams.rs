//! What is known of each of Loki's streams: its newest line, and what it was seen to take and to refuse.
//! A stream is a set of labels: two containers with the same labels share one. Pure, and bounded.

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
    used: u64,
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
        let behind_ns = self.behind_ns.unwrap_or(i64::MAX).min(duration_ns(behind));
        newest_ns.map(|newest| newest.saturating_sub(behind_ns)).max(self.floor.map(|floor| floor.ns))
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

/// The streams that were used of late.
#[derive(Debug)]
pub struct Streams {
    max: usize,
    map: HashMap<String, Stream>,
    uses: u64,
}

impl Streams {
    /// None yet, and never more than `max`.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max: max.max(1), map: HashMap::new(), uses: 0 }
    }

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
        self.map.values().filter(|stream| stream.floor.is_some()).count()
    }

    /// The stream of these labels, if it is known.
    #[must_use]
    pub fn get(&self, labels: &str) -> Option<&Stream> {
        self.map.get(labels)
    }

    /// Does something with the stream of these labels. If there was none, those used longest ago make room.
    pub fn with<T>(&mut self, labels: &str, act: impl FnOnce(&mut Stream) -> T) -> T {
        self.uses += 1;
        if let Some(stream) = self.map.get_mut(labels) {
            stream.used = self.uses;
            return act(stream);
        }
        if self.map.len() >= self.max {
            self.evict();
        }
        let mut stream = Stream { used: self.uses, ..Stream::default() };
        let done = act(&mut stream);
        self.map.insert(labels.to_owned(), stream);
        done
    }

    /// An eighth at once, so that a full map does not look at all of itself for each new stream.
    fn evict(&mut self) {
        let mut uses: Vec<u64> = self.map.values().map(|stream| stream.used).collect();
        let (_, eighth, _) = uses.select_nth_unstable(self.max / 8);
        let eighth = *eighth;
        self.map.retain(|_, stream| stream.used > eighth);
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
        fn the_map_keeps_its_bound_and_the_streams_used_last(
            max in 1..40_usize,
            uses in proptest::collection::vec(0..100_u32, 1..300),
        ) {
            let mut streams = Streams::new(max);
            for used in &uses {
                streams.with(&used.to_string(), |stream| stream.admit(1));
                prop_assert!(streams.len() <= max);
                prop_assert!(streams.get(&used.to_string()).is_some());
            }
            let mut last: Vec<&u32> = Vec::new();
            for used in uses.iter().rev() {
                if !last.contains(&used) {
                    last.push(used);
                }
            }
            for used in last.iter().take(max - max / 8 - 1) {
                prop_assert!(streams.get(&used.to_string()).is_some(), "{used} was used of late");
            }
        }
    }
}
