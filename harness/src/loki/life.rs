//! What `/ready` says from the start to the end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::answer::Answer;
use crate::clock::Stopwatch;

/// How long Loki's parts take to start.
const STARTING_S: f64 = 0.4;

/// A life that began when it was made.
pub(super) struct Life {
    born: Stopwatch,
    min_ready: Duration,
    is_stopping: AtomicBool,
}

impl Life {
    pub(super) fn begin(min_ready: Duration) -> Self {
        Self { born: Stopwatch::start(), min_ready, is_stopping: AtomicBool::new(false) }
    }

    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    pub(super) fn ready(&self) -> Answer {
        if self.is_stopping() {
            return Answer::text(503, "Application is stopping");
        }
        said(self.min_ready, self.born.elapsed_s())
    }
}

fn said(min_ready: Duration, elapsed_s: f64) -> Answer {
    if elapsed_s >= min_ready.as_secs_f64() {
        return Answer::text(200, "ready");
    }
    if elapsed_s < STARTING_S {
        return Answer::text(503, "Some services are not Running:\nStarting: 13\nRunning: 2\nNew: 1\n");
    }
    let min_ready = go_duration(min_ready);
    Answer::text(503, format!("Ingester not ready: waiting for {min_ready} after being ready"))
}

/// Go's `Duration.String()` of whole seconds: `15s`, `1m30s`, `1h0m0s`.
fn go_duration(duration: Duration) -> String {
    let (hours, minutes, seconds) =
        (duration.as_secs() / 3600, duration.as_secs() / 60 % 60, duration.as_secs() % 60);
    match (hours, minutes) {
        (0, 0) => format!("{}s", duration.as_secs_f64()),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_waits_and_is_ready_and_at_its_end_it_stops() {
        let min_ready = Duration::from_secs(15);
        let services = "Some services are not Running:\nStarting: 13\nRunning: 2\nNew: 1\n";
        assert_eq!(said(min_ready, 0.0), Answer::text(503, services));
        let waiting = "Ingester not ready: waiting for 15s after being ready";
        assert_eq!(said(min_ready, 14.9), Answer::text(503, waiting));
        assert_eq!(said(min_ready, 15.0), Answer::text(200, "ready"));
        let life = Life::begin(Duration::ZERO);
        assert_eq!(life.ready(), Answer::text(200, "ready"));
        life.stop();
        assert_eq!(life.ready(), Answer::text(503, "Application is stopping"));
    }

    #[test]
    fn durations_are_told_as_go_does() {
        for (seconds, text) in [(15, "15s"), (90, "1m30s"), (3600, "1h0m0s")] {
            assert_eq!(go_duration(Duration::from_secs(seconds)), text);
        }
    }
}
