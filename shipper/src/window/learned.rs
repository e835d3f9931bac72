//! One of Loki's limits against now, as far as its answers tell: what it was seen to take, and what it was
//! seen to refuse. Pure: distances from now and moments are arguments.
//!
//! A distance is how old a line is for the limit on age, and how far ahead for the limit on the future.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::duration_ns;

/// Loki prints whole seconds: a limit is not known more closely than this.
const SLACK: Duration = Duration::from_secs(1);
/// For the time from our look at a line to Loki's; never more than this.
const MARGIN_MAX: Duration = Duration::from_secs(10);
/// A limit that stays is asked about less and less often, but at least this often.
const PROBE_EVERY_MAX: Duration = Duration::from_secs(3600);

/// When one line of a refused kind is sent again, to see whether it is still refused.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    first: Duration,
    every: Duration,
    due: Instant,
}

impl Probe {
    /// The first is due when `first` has passed.
    #[must_use]
    pub fn new(first: Duration, now: Instant) -> Self {
        Self { first, every: first, due: now + first }
    }

    /// Whether one is due. If so it counts as sent, and the next comes a while later, whatever becomes
    /// of this one.
    pub fn take(&mut self, now: Instant) -> bool {
        let due = now >= self.due;
        if due {
            self.due = now + self.every;
        }
        due
    }

    /// It was refused as before.
    pub fn refused(&mut self, now: Instant) {
        self.every = (self.every * 2).min(PROBE_EVERY_MAX.max(self.first));
        self.due = now + self.every;
    }
}

/// What is known of one limit.
#[derive(Debug)]
pub struct Limit {
    configured_ns: i64,
    probe_every: Duration,
    /// The furthest that was accepted.
    proven_ns: Option<i64>,
    narrower: Option<Narrower>,
}

/// The limit that Loki has shown, narrower than the configured one.
#[derive(Clone, Copy, Debug)]
struct Narrower {
    /// From here on it refuses, as far as it was measured.
    refused_ns: i64,
    since: Instant,
    probe: Probe,
}

impl Narrower {
    /// What is sent stays a little inside.
    fn limit_ns(&self) -> i64 {
        let margin = (self.refused_ns.saturating_abs() / 100).min(duration_ns(MARGIN_MAX));
        self.refused_ns.saturating_sub(margin.max(1))
    }
}

impl Limit {
    /// Nothing is learned yet.
    #[must_use]
    pub fn new(configured: Duration, probe_every: Duration) -> Self {
        Self { configured_ns: duration_ns(configured), probe_every, proven_ns: None, narrower: None }
    }

    /// What is further than this is not sent.
    #[must_use]
    pub fn limit_ns(&self) -> i64 {
        self.narrower.map_or(self.configured_ns, |narrower| narrower.limit_ns().min(self.configured_ns))
    }

    /// Whether Loki has shown that it refuses what the config lets pass.
    #[must_use]
    pub fn is_learned(&self) -> bool {
        self.narrower.is_some()
    }

    /// Whether a line at this distance was never seen to be accepted.
    #[must_use]
    pub fn is_unproven(&self, distance_ns: i64) -> bool {
        self.proven_ns.is_none_or(|proven| distance_ns > proven.saturating_add(duration_ns(SLACK)))
    }

    /// Whether a line that the learned limit keeps back goes out all the same, as a probe.
    pub fn take_probe(&mut self, distance_ns: i64, now: Instant) -> bool {
        distance_ns <= self.configured_ns
            && self
                .narrower
                .as_mut()
                .is_some_and(|narrower| distance_ns > narrower.refused_ns && narrower.probe.take(now))
    }

    /// A line at this distance was accepted, in a push that left at `sent`. Says whether a learned limit
    /// is forgotten for it.
    pub fn accepted(&mut self, distance_ns: i64, sent: Instant) -> bool {
        let disproved = |it: &Narrower| sent >= it.since && distance_ns > it.refused_ns;
        let forgotten = self.narrower.as_ref().is_some_and(disproved);
        if forgotten {
            self.narrower = None;
        }
        // An answer that was under way when the limit was learned proves nothing beyond it.
        let within = if self.is_learned() { distance_ns.min(self.limit_ns()) } else { distance_ns };
        self.proven_ns = self.proven_ns.max(Some(within));
        forgotten
    }

    /// Lines at `refused_ns` and beyond were refused, in a push that left at `sent`. Says whether the
    /// limit is new.
    pub fn refused(&mut self, refused_ns: i64, sent: Instant, now: Instant) -> bool {
        let mut learned = Narrower { refused_ns, since: now, probe: Probe::new(self.probe_every, now) };
        if learned.limit_ns() >= self.configured_ns {
            return false;
        }
        let before = self.narrower;
        if let Some(before) = before {
            learned.probe = before.probe;
            learned.since = before.since;
            if sent >= before.since {
                learned.probe.refused(now);
            }
        }
        self.narrower = Some(learned);
        self.proven_ns = self.proven_ns.map(|proven| proven.min(learned.limit_ns()));
        before.is_none()
    }

    /// The time of day has jumped: every distance that was measured is wrong by as much.
    pub fn forget(&mut self) {
        self.proven_ns = None;
        self.narrower = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: i64 = 3_600_000_000_000;

    fn week() -> Limit {
        Limit::new(MINUTE * 60 * 24 * 7, MINUTE)
    }

    #[test]
    fn a_refusal_narrows_the_limit_by_a_little_more_than_it_says() {
        let (mut limit, now) = (week(), Instant::now());
        assert!(limit.refused(HOUR, now, now));
        assert_eq!(limit.limit_ns(), HOUR - 10_000_000_000);
        assert!(!limit.refused(HOUR, now, now), "known already");
        let mut limit = week();
        limit.refused(HOUR / 60, now, now);
        assert_eq!(limit.limit_ns(), HOUR / 60 / 100 * 99);
        assert!(!limit.refused(9 * 24 * HOUR, now, now), "wider than the config: not learned");
    }

    #[test]
    fn a_probe_is_due_after_a_while_and_then_less_and_less_often() {
        let (mut limit, start) = (week(), Instant::now());
        limit.refused(HOUR, start, start);
        let mut now = start;
        let mut waits = Vec::new();
        for _ in 0..9 {
            let asked = now;
            while !limit.take_probe(2 * HOUR, now) {
                now += MINUTE / 2;
            }
            waits.push((now - asked).as_secs() / 60);
            limit.refused(HOUR, now, now);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(!limit.take_probe(8 * 24 * HOUR, now + MINUTE * 99), "the config refuses that one");
        assert!(!limit.take_probe(HOUR, now + MINUTE * 99), "it may well pass and would prove nothing");
    }

    #[test]
    fn an_accepted_probe_forgets_the_limit_and_an_answer_that_was_under_way_does_not() {
        let (mut limit, start) = (week(), Instant::now());
        limit.refused(HOUR, start, start + MINUTE);
        assert!(!limit.accepted(2 * HOUR, start));
        assert!(limit.is_learned() && limit.is_unproven(HOUR + HOUR / 2));
        assert!(limit.accepted(2 * HOUR, start + MINUTE));
        assert_eq!(limit.limit_ns(), 7 * 24 * HOUR);
        assert!(!limit.is_unproven(2 * HOUR) && limit.is_unproven(3 * HOUR));
    }

    /// A Loki of which each side learns; `true` in the steps is a push, `false` lets an hour pass.
    fn refusals(true_limit: i64, distances: &[(i64, bool)]) -> (u32, u32) {
        let (mut limit, mut now) = (week(), Instant::now());
        let (mut refused, mut probes) = (0, 0);
        for (distance, pause) in distances {
            now += if *pause { MINUTE * 61 } else { Duration::from_millis(1) };
            let probe = *distance > limit.limit_ns() && limit.take_probe(*distance, now);
            if *distance > limit.limit_ns() && !probe {
                continue;
            }
            probes += u32::from(probe);
            if *distance <= true_limit {
                limit.accepted(*distance, now);
            } else {
                refused += 1;
                limit.refused(true_limit, now, now);
            }
        }
        (refused, probes)
    }

    proptest! {
        #[test]
        fn whatever_comes_one_line_is_refused_and_then_only_probes_are(
            true_limit in 1..300 * HOUR,
            distances in proptest::collection::vec((0..300 * HOUR, any::<bool>()), 1..60),
        ) {
            let (refused, probes) = refusals(true_limit, &distances);
            prop_assert!(refused <= 1 + probes);
        }

        #[test]
        fn what_is_not_learned_is_what_is_configured(proven in 0..300 * HOUR) {
            let (mut limit, now) = (week(), Instant::now());
            limit.accepted(proven, now);
            prop_assert_eq!(limit.limit_ns(), 7 * 24 * HOUR);
        }
    }
}
