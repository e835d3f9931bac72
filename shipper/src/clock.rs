//! Time as an argument. The one place that asks the system what time it is, so that every rule about
//! the age of a line can be tested at any date.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Tells the time of day in nanoseconds since the epoch (negative before it). Cheap to clone.
///
/// For durations use `tokio::time::Instant`: the time of day may be set back.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The clock of this machine.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `now_ns` until it is moved; for tests.
    #[must_use]
    pub fn manual(now_ns: i64) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(now_ns))))
    }

    /// Nanoseconds since the epoch. A system clock outside of the years 1678 to 2262 saturates.
    #[must_use]
    pub fn now_ns(&self) -> i64 {
        match &self.0 {
            #[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
            Source::System => since_epoch_ns(SystemTime::now()),
            Source::Manual(now) => now.load(Ordering::Relaxed),
        }
    }

    /// Both clocks at once.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment { ns: self.now_ns(), at: Instant::now() }
    }

    /// Moves a manual clock forward, all its clones with it; the system's clock is left alone.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(now) = &self.0 {
            now.fetch_add(duration_ns(by), Ordering::Relaxed);
        }
    }

    /// Moves a manual clock back, as [`Clock::advance`] moves it forward.
    pub fn set_back(&self, by: Duration) {
        if let Source::Manual(now) = &self.0 {
            now.fetch_sub(duration_ns(by), Ordering::Relaxed);
        }
    }
}

/// One look at both clocks: the time of day, for the age of lines, and the time that only ever goes on,
/// for how long something has lasted.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Nanoseconds since the epoch.
    pub ns: i64,
    /// The same moment as the runtime counts.
    pub at: Instant,
}

/// A time of the system, as record times count; saturates outside of the years 1678 to 2262.
#[must_use]
pub fn since_epoch_ns(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => duration_ns(since),
        Err(before) => -duration_ns(before.duration()),
    }
}

/// A duration in nanoseconds as record times count them; saturates after 292 years.
#[must_use]
pub fn duration_ns(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_a_manual_clock_move_together() {
        let clock = Clock::manual(5);
        let other = clock.clone();
        clock.advance(Duration::from_nanos(7));
        assert_eq!(other.now_ns(), 12);
    }

    #[test]
    fn times_on_both_sides_of_the_epoch_are_counted() {
        let second = Duration::from_secs(1);
        assert_eq!(since_epoch_ns(SystemTime::UNIX_EPOCH + second), 1_000_000_000);
        assert_eq!(since_epoch_ns(SystemTime::UNIX_EPOCH - second), -1_000_000_000);
        assert_eq!(duration_ns(Duration::MAX), i64::MAX);
    }
}
