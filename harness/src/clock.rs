//! The only place that reads a clock. Wall time is for the times in lines and names; whatever is
//! measured or judged uses the monotonic [`Stopwatch`], which no clock step moves.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Wall time, nanoseconds since the epoch. Zero for a clock set before 1970.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Wall time.
#[must_use]
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::from_nanosecond(i128::from(now_ns())).unwrap_or_default()
}

/// Wall time as RFC 3339 in UTC, whole seconds.
#[must_use]
pub fn wall_rfc3339() -> String {
    let seconds = now_ns() / 1_000_000_000;
    jiff::Timestamp::from_second(seconds).map_or_else(|_| String::new(), |t| t.to_string())
}

/// Seconds since it was started, from a monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// Seconds since the start.
    #[must_use]
    pub fn elapsed_s(self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}
