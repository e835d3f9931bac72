//! From a signal to an ordered end: the first stops the sources, the deadline or a second signal ends
//! the waiting for what is left.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The two stages of an end. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Stage one: sources stop; what they have read flows on.
    pub stop: CancellationToken,
    /// Stage two: no more waiting; what is left stays unacknowledged.
    pub give_up: CancellationToken,
}

/// The signals that end the program. Made before anything is started, so that none is missed.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes over SIGTERM, SIGINT and SIGHUP: a terminal that is closed must cost no line.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn install() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next of them.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }

    /// Runs both stages; returns once the second has begun. Stage one also begins when somebody else
    /// cancels `stop`, because a task failed.
    pub async fn conduct(mut self, shutdown: Shutdown, grace: Duration) {
        tokio::select! {
            () = self.next() => tracing::info!(deadline = ?grace, "stopping: the sources end, what was read is delivered"),
            () = shutdown.stop.cancelled() => {}
        }
        shutdown.stop.cancel();
        tokio::select! {
            () = self.next() => tracing::warn!("second signal: ending at once"),
            () = tokio::time::sleep(grace) => tracing::warn!("deadline reached: what is left stays unacknowledged"),
        }
        shutdown.give_up.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_second_stage_follows_the_first_after_the_grace_time() {
        let shutdown = Shutdown::default();
        let signals = Signals::install().unwrap();
        let started = tokio::time::Instant::now();
        shutdown.stop.cancel();
        signals.conduct(shutdown.clone(), Duration::from_secs(8)).await;
        assert!(shutdown.give_up.is_cancelled());
        assert_eq!(started.elapsed().as_secs(), 8);
    }
}
