//! Which times Loki would refuse, and what to do with such a line. Known and counted before it is sent.
//!
//! Loki has three limits (`pkg/distributor/validator.go`, `pkg/ingester/stream.go`): older than
//! `reject_old_samples_max_age` (7 d) against now; further ahead than `creation_grace_period` (10 m);
//! and, whatever these say, older than half of `max_chunk_age` (1 h) behind the newest line that it has
//! accepted in that very stream.

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
    /// What to do with a line that is too old.
    pub too_old: Policy,
    /// What to do with a line from the future.
    pub too_new: Policy,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(7 * 24 * 3600),
            max_future: Duration::from_secs(600),
            max_behind: Duration::from_secs(3600),
            too_old: Policy::DeadLetter,
            too_new: Policy::Clamp,
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
    /// Give it up.
    Drop(Outside),
    /// Into the dead letters.
    DeadLetter(Outside),
}

impl Config {
    /// Judges a line's time against `now_ns` and the newest line of its stream.
    ///
    /// A line that was clamped once must not come here again: clamped anew on each attempt it would be
    /// a new line for Loki each time, and be stored twice.
    #[must_use]
    pub fn judge(&self, time_ns: i64, now_ns: i64, newest_ns: Option<i64>) -> Verdict {
        let Some(outside) = self.outside(time_ns, now_ns, newest_ns) else { return Verdict::Keep };
        match self.policy(outside) {
            Policy::Drop => Verdict::Drop(outside),
            Policy::DeadLetter => Verdict::DeadLetter(outside),
            Policy::Clamp => self.clamp(outside, now_ns, newest_ns),
        }
    }

    /// Whether the line has aged out of the window by `now_ns`; asked again after it has waited.
    #[must_use]
    pub fn aged_out(&self, time_ns: i64, now_ns: i64) -> bool {
        time_ns < now_ns.saturating_sub(duration_ns(self.max_age))
    }

    fn outside(&self, time_ns: i64, now_ns: i64, newest_ns: Option<i64>) -> Option<Outside> {
        if self.aged_out(time_ns, now_ns) {
            return Some(Outside::TooOld);
        }
        if time_ns > now_ns.saturating_add(duration_ns(self.max_future)) {
            return Some(Outside::TooNew);
        }
        let oldest_in_stream = newest_ns?.saturating_sub(duration_ns(self.max_behind));
        (time_ns < oldest_in_stream).then_some(Outside::TooFarBehind)
    }

    /// What is done with a line outside of the window.
    #[must_use]
    pub fn policy(&self, outside: Outside) -> Policy {
        match outside {
            Outside::TooOld | Outside::TooFarBehind => self.too_old,
            Outside::TooNew => self.too_new,
        }
    }

    /// An old line goes to a tenth inside of the limit, so that it does not age out while it waits; a
    /// line from the future goes to now, because Loki's clock may be behind ours.
    fn clamp(&self, outside: Outside, now_ns: i64, newest_ns: Option<i64>) -> Verdict {
        let inside = |edge: i64, width: Duration| edge.saturating_sub(duration_ns(width / 10 * 9));
        let (to_ns, direction) = match outside {
            Outside::TooNew => (now_ns, Direction::Down),
            Outside::TooOld | Outside::TooFarBehind => {
                let by_age = inside(now_ns, self.max_age);
                let by_stream = newest_ns.map_or(by_age, |newest| inside(newest, self.max_behind));
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

    fn all(policy: Policy) -> Config {
        Config { too_old: policy, too_new: policy, ..Config::default() }
    }

    #[test]
    fn the_edges_belong_to_the_window() {
        let window = all(Policy::Drop);
        assert_eq!(window.judge(NOW - 7 * 24 * HOUR, NOW, None), Verdict::Keep);
        assert_eq!(window.judge(NOW - 7 * 24 * HOUR - 1, NOW, None), Verdict::Drop(Outside::TooOld));
        assert_eq!(window.judge(NOW + HOUR / 6, NOW, None), Verdict::Keep);
        assert_eq!(window.judge(NOW + HOUR / 6 + 1, NOW, None), Verdict::Drop(Outside::TooNew));
        assert_eq!(window.judge(NOW - HOUR, NOW, Some(NOW)), Verdict::Keep);
        assert_eq!(window.judge(NOW - HOUR - 1, NOW, Some(NOW)), Verdict::Drop(Outside::TooFarBehind));
    }

    #[test]
    fn the_policy_is_that_of_the_reason() {
        let window = Config::default();
        assert_eq!(window.judge(0, NOW, None), Verdict::DeadLetter(Outside::TooOld));
        let clamped = Verdict::Clamp { to_ns: NOW, direction: Direction::Down };
        assert_eq!(window.judge(i64::MAX, NOW, None), clamped);
    }

    proptest! {
        #[test]
        fn a_clamped_time_is_inside(time in any::<i64>(), newest in proptest::option::of(NOW - 9 * HOUR..NOW)) {
            let window = all(Policy::Clamp);
            if let Verdict::Clamp { to_ns, .. } = window.judge(time, NOW, newest) {
                prop_assert_eq!(window.judge(to_ns, NOW, newest), Verdict::Keep);
            }
        }
    }
}
