//! The only place that reads a clock. Wall time is for the times in lines and names; whatever is
//! measured or judged uses the monotonic [`Stopwatch`], which no clock step moves.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

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

/// Time since the machine was started, time asleep included; no step of the wall clock moves it.
#[must_use]
pub fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), nanos)
}

/// Seconds since it was started, from a monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    started: Instant,
    /// What an earlier one had measured.
    before: Duration,
}

impl Stopwatch {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self::going_on_from(Duration::ZERO)
    }

    /// Goes on now where an earlier one stood.
    #[must_use]
    pub fn going_on_from(before: Duration) -> Self {
        Self { started: Instant::now(), before }
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.before.saturating_add(self.started.elapsed())
    }

    /// Seconds since the start.
    #[must_use]
    pub fn elapsed_s(self) -> f64 {
        self.elapsed().as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopwatch_goes_on_where_an_earlier_one_stood() {
        let before = Duration::from_secs(812);
        let watch = Stopwatch::going_on_from(before);
        assert!(watch.elapsed() >= before);
        assert!(watch.elapsed_s() >= 812.0);
    }
}
