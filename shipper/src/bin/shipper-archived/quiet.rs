//! Keeps a log that repeats itself from becoming the next flood: in the incident the shipper logged each
//! refusal, and its own log was one that it shipped.

use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(10);

/// Lets one message through in ten seconds.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    last: Option<Instant>,
    suppressed: u64,
}

impl Quiet {
    /// Whether to log now, and how many messages were held back since the last.
    pub(crate) fn speak(&mut self) -> Option<u64> {
        self.speak_at(Instant::now())
    }

    fn speak_at(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.duration_since(last) < INTERVAL) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_are_counted_and_told_with_the_next_message() {
        let (mut quiet, start) = (Quiet::default(), Instant::now());
        assert_eq!(quiet.speak_at(start), Some(0));
        assert_eq!(quiet.speak_at(start + Duration::from_secs(1)), None);
        assert_eq!(quiet.speak_at(start + Duration::from_secs(9)), None);
        assert_eq!(quiet.speak_at(start + INTERVAL), Some(2));
    }
}
