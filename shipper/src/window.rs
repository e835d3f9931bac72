//! Which times Loki would refuse, and what to do with such a line. Known and counted before it is sent.
//!
//! Loki has three limits (`pkg/distributor/validator.go`, `pkg/ingester/stream.go`): older than
//! `reject_old_samples_max_age` (7 d) against now; further ahead than `creation_grace_period` (10 m);
//! and, whatever these say, older than half of `max_chunk_age` (1 h) behind the newest line that it has
//! accepted in that very stream. They may be narrower than ours: [`shared::Window`] learns them.

pub mod learned;
pub mod skew;
pub mod streams;
pub mod glance;
pub mod shared;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::duration_ns;
use crate::metrics::labels::Direction;
use crate::units;

/// `window:` in the config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How old a line may be.
    #[serde(with = "units")]
    pub max_age: Duration,
    /// How far in the future it may be.
    #[serde(with = "units")]
    pub max_future: Duration,
    /// How far behind the newest line of its stream.
    #[serde(with = "units")]
    pub max_behind: Duration,
    /// A limit that Loki has shown is tried anew after this long, then less often while it stays.
    #[serde(with = "units")]
    pub probe_every: Duration,
    /// What to do with a line that is too old.
    pub too_old: Policy,
    /// What to do with a line from the future.
    pub too_new: Policy,
    /// What to do with a line too far behind the newest of its stream.
    pub too_far_behind: Policy,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(7 * 24 * 3600),
            max_future: Duration::from_secs(600),
            max_behind: Duration::from_secs(3600),
            probe_every: Duration::from_secs(60),
            too_old: Policy::DeadLetter,
            too_new: Policy::Clamp,
            too_far_behind: Policy::DeadLetter,
        }
    }
}

/// What to do with a line outside of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Give it up; counted.
    Drop,
    /// Keep it on disk.
    DeadLetter,
    /// Move its time into the window, once, and keep its own beside it.
    Clamp,
}

/// Why a line is outside of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// Older than `max_age`.
    TooOld,
    /// Further ahead than `max_future`.
    TooNew,
    /// Further behind its stream than `max_behind`.
    TooFarBehind,
}

impl Outside {
    /// As it stands in the dead letters.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooOld => "too_old",
            Self::TooNew => "too_new",
            Self::TooFarBehind => "too_far_behind",
        }
    }
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its time is fine.
    Keep,
    /// Its time becomes `to_ns`.
    Clamp {
        /// The new time.
        to_ns: i64,
        /// Which way it was moved.
        direction: Direction,
    },
    /// Loki has refused such lines; this one goes out alone, to see whether it still does.
    Probe,
    /// Give it up.
    Drop(Outside),
    /// Into the dead letters.
    DeadLetter(Outside),
}

impl Config {
    /// Whether a line is older than `max_age` by `now_ns`.
    #[must_use]
    pub fn aged_out(&self, time_ns: i64, now_ns: i64) -> bool {
        time_ns < now_ns.saturating_sub(duration_ns(self.max_age))
    }

    /// What is done with a line outside of the window.
    #[must_use]
    pub fn policy(&self, outside: Outside) -> Policy {
        match outside {
            Outside::TooOld => self.too_old,
            Outside::TooNew => self.too_new,
            Outside::TooFarBehind => self.too_far_behind,
        }
    }
}

/// The window at one moment, for one stream. Its edges belong to it.
#[derive(Clone, Copy, Debug)]
pub struct Edges {
    /// Now.
    pub now_ns: i64,
    /// How old a line may be.
    pub max_age_ns: i64,
    /// How far ahead it may be.
    pub max_future_ns: i64,
    /// The oldest that its stream takes.
    pub floor_ns: Option<i64>,
    /// The newest line of its stream.
    pub newest_ns: Option<i64>,
}

impl Edges {
    /// On which side a line lies outside, if it does.
    #[must_use]
    pub fn outside(&self, time_ns: i64) -> Option<Outside> {
        if time_ns < self.now_ns.saturating_sub(self.max_age_ns) {
            return Some(Outside::TooOld);
        }
        if time_ns > self.now_ns.saturating_add(self.max_future_ns) {
            return Some(Outside::TooNew);
        }
        self.floor_ns.is_some_and(|floor| time_ns < floor).then_some(Outside::TooFarBehind)
    }

    /// What `policy` makes of a line outside.
    ///
    /// A line that was clamped once must not come here again: clamped anew on each attempt it would be
    /// a new line for Loki each time, and be stored twice.
    #[must_use]
    pub fn apply(&self, policy: Policy, outside: Outside) -> Verdict {
        match policy {
            Policy::Drop => Verdict::Drop(outside),
            Policy::DeadLetter => Verdict::DeadLetter(outside),
            // Our present is Loki's future already: no time that is true for us would pass.
            Policy::Clamp if outside == Outside::TooNew && self.max_future_ns < 0 => {
                Verdict::DeadLetter(outside)
            }
            Policy::Clamp => self.clamp(outside),
        }
    }

    /// An old line goes to a tenth inside of the limit, so that it does not age out while it waits; a
    /// line from the future goes to now, because Loki's clock may be behind ours.
    fn clamp(&self, outside: Outside) -> Verdict {
        let (to_ns, direction) = match outside {
            Outside::TooNew => (self.now_ns, Direction::Down),
            Outside::TooOld | Outside::TooFarBehind => {
                let by_age = self.now_ns.saturating_sub(self.max_age_ns / 10 * 9);
                let by_stream = self.floor_ns.map_or(by_age, |floor| {
                    let width = self.newest_ns.map_or(0, |newest| newest.saturating_sub(floor).max(0));
                    floor.saturating_add(width / 10)
                });
                (by_age.max(by_stream), Direction::Up)
            }
        };
        Verdict::Clamp { to_ns, direction }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: i64 = 3_600_000_000_000;
    const NOW: i64 = 500_000 * HOUR;

    fn edges(newest_ns: Option<i64>) -> Edges {
        let (max_age_ns, max_future_ns) = (7 * 24 * HOUR, HOUR / 6);
        let floor_ns = newest_ns.map(|newest| newest - HOUR);
        Edges { now_ns: NOW, max_age_ns, max_future_ns, floor_ns, newest_ns }
    }

    #[test]
    fn the_edges_belong_to_the_window() {
        let of_a_new_stream = edges(None);
        assert_eq!(of_a_new_stream.outside(NOW - 7 * 24 * HOUR), None);
        assert_eq!(of_a_new_stream.outside(NOW - 7 * 24 * HOUR - 1), Some(Outside::TooOld));
        assert_eq!(of_a_new_stream.outside(NOW + HOUR / 6), None);
        assert_eq!(of_a_new_stream.outside(NOW + HOUR / 6 + 1), Some(Outside::TooNew));
        assert_eq!(edges(Some(NOW)).outside(NOW - HOUR), None);
        assert_eq!(edges(Some(NOW)).outside(NOW - HOUR - 1), Some(Outside::TooFarBehind));
    }

    #[test]
    fn each_reason_has_its_own_policy() {
        let config = Config { too_far_behind: Policy::Drop, ..Config::default() };
        let policies =
            [Outside::TooOld, Outside::TooNew, Outside::TooFarBehind].map(|outside| config.policy(outside));
        assert_eq!(policies, [Policy::DeadLetter, Policy::Clamp, Policy::Drop]);
        let clamped = Verdict::Clamp { to_ns: NOW, direction: Direction::Down };
        assert_eq!(edges(None).apply(Policy::Clamp, Outside::TooNew), clamped);
    }

    proptest! {
        #[test]
        fn a_clamped_time_is_inside(
            time in any::<i64>(),
            newest in proptest::option::of(NOW - 9 * HOUR..NOW),
            max_age_ns in 0..9 * HOUR,
            max_future_ns in 0..HOUR,
        ) {
            let newest = newest.map(|newest| newest.min(NOW + max_future_ns));
            let edges = Edges { max_age_ns, max_future_ns, ..edges(newest) };
            if let Some(outside) = edges.outside(time)
                && let Verdict::Clamp { to_ns, .. } = edges.apply(Policy::Clamp, outside)
            {
                prop_assert_eq!(edges.outside(to_ns), None);
            }
        }
    }
}
