//! When the next container comes or goes: at moments of chance, so that no clock of a target keeps step with them.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep_until};

/// The shortest and the longest pause, as shares of the usual one.
const PAUSES: std::ops::Range<f64> = 0.25..1.75;

/// The beat of the churn.
#[derive(Debug)]
pub(super) struct Beat {
    every: Duration,
    draws: StdRng,
    due: Instant,
}

impl Beat {
    /// Its first step is due now.
    pub(super) fn start(every: Duration, seed: u64) -> Self {
        Self { every, draws: StdRng::seed_from_u64(seed), due: Instant::now() }
    }

    /// Waits for the next step; a late one moves those behind it. Cancel safe.
    pub(super) async fn tick(&mut self) {
        sleep_until(self.due).await;
        self.due = Instant::now() + self.pause();
    }

    fn pause(&mut self) -> Duration {
        self.every.mul_f64(self.draws.random_range(PAUSES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pauses_are_drawn_about_the_usual_one_and_the_same_again_from_the_same_seed() {
        let pauses = |seed| {
            let mut beat = Beat::start(Duration::from_secs(4), seed);
            (0..1000).map(|_| beat.pause().as_secs_f64()).collect::<Vec<_>>()
        };
        let drawn = pauses(1);
        assert!(drawn == pauses(1) && drawn != pauses(2));
        assert!(drawn.iter().all(|pause| (1.0..7.0).contains(pause)));
        let mean = drawn.iter().sum::<f64>() / 1000.0;
        assert!((mean - 4.0).abs() < 0.2, "{mean}");
    }
}
