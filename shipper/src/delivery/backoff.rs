//! How long a batch waits before its next attempt: 1, 2, 4 … 60 s, each with equal jitter (between half
//! of it and all of it), so that many shippers do not come back at the same moment.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The delays of one batch, growing with each attempt and never ending.
#[derive(Debug)]
pub struct Backoff(ExponentialBackoff, Duration);

impl Backoff {
    /// Starts at `initial` and doubles up to `max`.
    #[must_use]
    pub fn new(initial: Duration, max: Duration) -> Self {
        // The crate's jitter adds up to the delay itself, so that half the delay gives equal jitter.
        let half = ExponentialBuilder::new()
            .with_min_delay(initial / 2)
            .with_max_delay(max / 2)
            .with_factor(2.0)
            .without_max_times()
            .with_jitter();
        Self(half.build(), max)
    }

    /// The next delay, but not less than what Loki has asked for.
    pub fn next_delay(&mut self, asked: Option<Duration>) -> Duration {
        let own = self.0.next().unwrap_or(self.1);
        own.max(asked.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_maximum_with_jitter_below() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        for whole in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0] {
            let delay = backoff.next_delay(None).as_secs_f64();
            assert!(delay >= whole / 2.0 && delay <= whole, "{delay} of {whole}");
        }
    }

    #[test]
    fn what_loki_asks_for_is_honoured() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(backoff.next_delay(Some(Duration::from_secs(90))), Duration::from_secs(90));
    }
}
