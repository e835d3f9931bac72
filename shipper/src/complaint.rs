//! Messages of our own at a bounded rate: what is wrong for a thousand containers, or with each push while
//! Loki is down, is one thing to be told and not a thousand.

use std::time::Duration;

use tokio::time::Instant;

const EVERY: Duration = Duration::from_secs(10);

/// One kind of complaint.
#[derive(Debug, Default)]
pub struct Complaint {
    last: Option<Instant>,
    withheld: u64,
}

impl Complaint {
    /// Whether it may be told at `now`; if so, how many of its kind were withheld since the last.
    #[must_use]
    pub fn may_speak(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.duration_since(last) < EVERY) {
            self.withheld += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_next_counts_those_between() {
        let (mut complaint, now) = (Complaint::default(), Instant::now());
        let told = [0, 1, 9, 10, 11].map(|second| complaint.may_speak(now + Duration::from_secs(second)));
        assert_eq!(told, [Some(0), None, None, Some(2), None]);
    }
}
