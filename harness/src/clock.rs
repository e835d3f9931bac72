//! The only place that reads a clock: everywhere else time is an argument.

use std::time::{SystemTime, UNIX_EPOCH};

/// The wall clock, nanoseconds since the Unix epoch. It may step; durations come from `Instant`.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
pub fn now_ns() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}
