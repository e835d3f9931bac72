//! How fast one container may be read: a bucket that fills at the rate and holds a second of it. Pure: the
//! time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// The bucket. What is taken beyond what it holds is a debt.
#[derive(Debug)]
pub struct Pace {
    bytes_per_s: f64,
    bytes: f64,
    looked: Instant,
}

impl Pace {
    /// A full one. The rate must not be 0.
    #[must_use]
    pub fn new(bytes_per_s: u64, now: Instant) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "no rate is that exact")]
        let bytes_per_s = bytes_per_s as f64;
        Self { bytes_per_s, bytes: bytes_per_s, looked: now }
    }

    /// Takes out what was read.
    pub fn charge(&mut self, bytes: usize, now: Instant) {
        self.fill(now);
        #[expect(clippy::cast_precision_loss, reason = "no line is that long")]
        let bytes = bytes as f64;
        self.bytes -= bytes;
    }

    /// When more may be read; `None` if now.
    pub fn next(&mut self, now: Instant) -> Option<Instant> {
        self.fill(now);
        (self.bytes <= 0.0).then(|| {
            let missing = Duration::from_secs_f64((1.0 - self.bytes) / self.bytes_per_s);
            now + missing
        })
    }

    /// How much may be read now without a debt.
    pub fn left_bytes(&mut self, now: Instant) -> usize {
        self.fill(now);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "both are wanted here")]
        let bytes = self.bytes.max(0.0) as usize;
        bytes
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.looked).as_secs_f64();
        self.bytes = (self.bytes + passed * self.bytes_per_s).min(self.bytes_per_s);
        self.looked = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_of_a_second_passes_and_then_the_rate_holds() {
        let now = Instant::now();
        let mut pace = Pace::new(1000, now);
        pace.charge(999, now);
        assert_eq!(pace.next(now), None);
        pace.charge(2001, now);
        let next = pace.next(now).unwrap();
        assert!((next - now).as_secs_f64() > 2.0 && (next - now).as_secs_f64() < 2.01);
        assert_eq!(pace.next(next), None);
        assert_eq!(pace.next(next + Duration::from_secs(3600)), None);
        pace.charge(1500, next + Duration::from_secs(3600));
        assert!(
            pace.next(next + Duration::from_secs(3600)).is_some(),
            "an hour of rest is no credit of an hour"
        );
    }

    proptest! {
        #[test]
        fn in_the_long_run_no_more_than_the_rate_is_read(lines in proptest::collection::vec(1..5000_usize, 1..200)) {
            let begin = Instant::now();
            let (mut pace, mut now, mut read) = (Pace::new(1000, begin), begin, 0);
            for bytes in &lines {
                now = pace.next(now).unwrap_or(now);
                pace.charge(*bytes, now);
                read += bytes;
            }
            let allowed = 1000.0 * (now - begin).as_secs_f64() + 1000.0 + 5000.0;
            prop_assert!(read as f64 <= allowed, "{read} of {allowed}");
        }
    }
}
