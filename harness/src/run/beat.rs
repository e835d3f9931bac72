//! The beat of those that look at processes: when the next look is due, and when there is none.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::clock::Stopwatch;

/// What is next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Turn {
    /// A look, so many seconds after the first.
    Look(f64),
    /// Nothing: its time is over.
    Over,
    /// Nothing: somebody asked it to stop.
    Stopped,
}

/// Looks at even distances; one that can't be kept is left out and counted.
#[derive(Debug)]
pub(super) struct Beat {
    ticks: Interval,
    stopwatch: Stopwatch,
    length: Option<Duration>,
    due: Option<Instant>,
    missed: u64,
}

impl Beat {
    /// Starts now. Without a `length` it goes on until it is stopped.
    pub(super) fn start(every: Duration, length: Option<Duration>) -> Self {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self { ticks, stopwatch: Stopwatch::start(), length, due: None, missed: 0 }
    }

    /// Waits for the next turn. Whoever asks it to stop is heard at once, and first.
    pub(super) async fn next(&mut self, stop: &CancellationToken) -> Turn {
        let due = tokio::select! {
            biased;
            () = stop.cancelled() => return Turn::Stopped,
            due = self.ticks.tick() => due,
        };
        self.missed += beats_missed(self.due, due, self.ticks.period());
        self.due = Some(due);
        let elapsed = self.stopwatch.elapsed();
        match self.length {
            Some(length) if elapsed > length => Turn::Over,
            _ => Turn::Look(elapsed.as_secs_f64()),
        }
    }

    /// Seconds since its start.
    pub(super) fn elapsed_s(&self) -> f64 {
        self.stopwatch.elapsed_s()
    }

    /// How many beats were left out.
    pub(super) fn missed(&self) -> u64 {
        self.missed
    }
}

/// Beats between two that were kept: due at even distances, whenever they were kept.
pub(super) fn beats_missed(last: Option<Instant>, due: Instant, every: Duration) -> u64 {
    let apart = last.map_or(Duration::ZERO, |last| due.duration_since(last));
    let beats = (apart.as_secs_f64() / every.as_secs_f64()).round();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast of a float saturates"
    )]
    let beats = beats as u64;
    beats.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_that_is_left_out_is_counted() {
        let (start, every) = (Instant::now(), Duration::from_secs(1));
        let after = |millis| start + Duration::from_millis(millis);
        assert_eq!(beats_missed(None, start, every), 0);
        assert_eq!(beats_missed(Some(start), after(1_000), every), 0);
        assert_eq!(beats_missed(Some(start), after(4_000), every), 3);
    }

    #[tokio::test]
    async fn it_ends_when_its_time_is_over_and_at_once_when_it_is_stopped() {
        let stop = CancellationToken::new();
        let mut beat = Beat::start(Duration::from_millis(1), None);
        assert!(matches!(beat.next(&stop).await, Turn::Look(_)));
        let mut beat = Beat::start(Duration::from_millis(1), Some(Duration::from_millis(5)));
        while let Turn::Look(_) = beat.next(&stop).await {}
        assert_eq!(beat.next(&stop).await, Turn::Over);
        stop.cancel();
        let mut beat = Beat::start(Duration::from_secs(3600), None);
        assert_eq!(beat.next(&stop).await, Turn::Stopped);
    }
}
