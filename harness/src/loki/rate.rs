//! How much may come in a second: the buckets of Go's `golang.org/x/time/rate`, and how fast a stream is.

use jiff::Timestamp;

/// What a bucket is filled with and how far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Bytes a second.
    pub per_second: f64,
    /// What fits into it.
    pub burst: f64,
}

/// A bucket of bytes. It begins full.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    bytes: f64,
    filled_at: Timestamp,
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub fn full(rate: Rate, now: Timestamp) -> Self {
        Self { bytes: rate.burst, filled_at: now }
    }

    /// Takes `bytes` out of it, or nothing: what is more than the burst never passes.
    pub fn take(&mut self, rate: Rate, now: Timestamp, bytes: f64) -> bool {
        let since = now.duration_since(self.filled_at).as_secs_f64().max(0.0);
        // A clock that was set back must not stop the filling until it has caught up.
        self.filled_at = now;
        self.bytes = (self.bytes + since * rate.per_second).min(rate.burst);
        let passes = bytes <= self.bytes;
        if passes {
            self.bytes -= bytes;
        }
        passes
    }

    /// Puts bytes in that come from elsewhere.
    pub fn add(&mut self, bytes: f64) {
        self.bytes += bytes;
    }
}

/// How many bytes a stream took in the last whole second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    second: i64,
    this: u64,
    last: u64,
}

impl Pace {
    /// Counts bytes.
    pub fn count(&mut self, now: Timestamp, bytes: u64) {
        self.turn(now);
        self.this = self.this.saturating_add(bytes);
    }

    /// Bytes of the second before this one; 0 while none is known.
    pub fn per_second(&mut self, now: Timestamp) -> u64 {
        self.turn(now);
        self.last
    }

    fn turn(&mut self, now: Timestamp) {
        let second = now.as_second();
        if second != self.second {
            self.last = if second == self.second + 1 { self.this } else { 0 };
            self.this = 0;
            self.second = second;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 100.0, burst: 200.0 };

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(millisecond).unwrap()
    }

    #[test]
    fn a_bucket_fills_with_time_up_to_its_burst_and_gives_all_or_nothing() {
        let mut bucket = Bucket::full(RATE, at(0));
        assert!(!bucket.take(RATE, at(0), 201.0), "more than the burst never passes");
        assert!(bucket.take(RATE, at(0), 200.0), "and has taken nothing");
        assert!(!bucket.take(RATE, at(500), 51.0));
        assert!(bucket.take(RATE, at(500), 50.0));
        assert!(bucket.take(RATE, at(60_000), 200.0));
        assert!(!bucket.take(RATE, at(60_000), 1.0), "a minute fills it no further than the burst");
    }

    #[test]
    fn a_clock_that_is_set_back_takes_nothing_and_gives_nothing() {
        let mut bucket = Bucket::full(RATE, at(100_000));
        assert!(bucket.take(RATE, at(100_000), 200.0));
        assert!(!bucket.take(RATE, at(0), 1.0));
        assert!(bucket.take(RATE, at(1000), 100.0), "it fills again from then on");
    }

    #[test]
    fn the_pace_is_that_of_the_second_before() {
        let mut pace = Pace::default();
        pace.count(at(10_000), 5);
        pace.count(at(10_900), 6);
        assert_eq!(pace.per_second(at(10_999)), 0);
        assert_eq!(pace.per_second(at(11_000)), 11);
        assert_eq!(pace.per_second(at(13_000)), 0, "a second without bytes has none");
    }
}
