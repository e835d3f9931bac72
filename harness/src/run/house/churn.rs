//! When the next container comes or goes: at moments of chance, so that no clock of a target keeps step with them.

use std::future::pending;
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
    /// So many times as often as usual.
    times: f64,
    /// `None` while nobody comes or goes.
    due: Option<Instant>,
}

impl Beat {
    /// Its first step is due now.
    pub(super) fn start(every: Duration, seed: u64) -> Self {
        Self { every, draws: StdRng::seed_from_u64(seed), times: 1.0, due: Some(Instant::now()) }
    }

    /// Waits for the next step; a late one moves those behind it. Cancel safe.
    pub(super) async fn tick(&mut self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => pending().await,
        }
        self.due = Some(Instant::now() + self.pause());
    }

    /// From now on steps come so many times as often as usual, also the one that is waited for; 0 for never.
    pub(super) fn scale(&mut self, times: f64) {
        let now = Instant::now();
        let left = self.due.map(|due| due.saturating_duration_since(now).mul_f64(self.times));
        let left = left.unwrap_or_else(|| self.draw());
        self.times = times;
        self.due = (times > 0.0).then(|| now + left.div_f64(times));
    }

    fn pause(&mut self) -> Duration {
        self.draw().div_f64(self.times)
    }

    fn draw(&mut self) -> Duration {
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

    #[tokio::test(start_paused = true)]
    async fn a_beat_that_is_scaled_comes_so_many_times_as_often_at_once_and_not_at_all_at_0() {
        let mut beat = Beat::start(Duration::from_secs(100), 1);
        let count = async |beat: &mut Beat, seconds| {
            let end = Instant::now() + Duration::from_secs(seconds);
            let mut count = 0;
            while tokio::time::timeout_at(end, beat.tick()).await.is_ok() {
                count += 1;
            }
            count
        };
        let usual = count(&mut beat, 10_000).await;
        assert!((80..120).contains(&usual), "{usual}");
        beat.scale(10.0);
        let storm = count(&mut beat, 1000).await;
        assert!((80..120).contains(&storm), "{storm}");
        beat.scale(0.0);
        assert_eq!(count(&mut beat, 10_000).await, 0);
        beat.scale(100.0);
        let storm = count(&mut beat, 100).await;
        assert!((80..120).contains(&storm), "{storm}");
    }
}
