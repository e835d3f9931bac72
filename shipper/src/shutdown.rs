//! From a signal to an ordered end: the first stops the sources, the deadline or a second signal ends
//! the waiting for what is left.

use std::io::IsTerminal;
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

/// The signals that the program hears. Made before anything is started, so that none is missed.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// Whether there was a terminal, whose end is told by SIGHUP too.
    terminal: bool,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    End,
    Reload,
}

const STOPPING: &str = "stopping: the sources end, what was read is delivered";

impl Signals {
    /// Takes over SIGTERM, SIGINT and SIGHUP.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn install() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            terminal: std::io::stderr().is_terminal(),
        })
    }

    /// SIGHUP asks for the config to be read again, as of any service. But when a terminal is closed it means that,
    /// and the end: the terminal is none any more then (`tty_ioctl(4)`: EIO).
    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::End,
            _ = self.interrupt.recv() => Asked::End,
            _ = self.hangup.recv() => {
                if self.terminal && !std::io::stderr().is_terminal() { Asked::End } else { Asked::Reload }
            }
        }
    }

    /// Waits for one that asks for the end.
    pub async fn end(&mut self) {
        while self.next().await != Asked::End {}
    }

    /// Runs both stages; returns once the second has begun. Stage one begins when the end is asked for; when `load`,
    /// which is called at SIGHUP, has something to go on with, which is then in `next`; or when somebody else
    /// cancels `stop`, because a task failed.
    pub async fn conduct<T>(
        &mut self,
        shutdown: &Shutdown,
        grace: Duration,
        mut load: impl FnMut() -> Option<T>,
        next: &mut Option<T>,
    ) {
        loop {
            tokio::select! {
                () = shutdown.stop.cancelled() => break,
                asked = self.next() => match asked {
                    Asked::End => {
                        tracing::info!(deadline = ?grace, "{STOPPING}");
                        break;
                    }
                    Asked::Reload => *next = load(),
                }
            }
            if next.is_some() {
                tracing::info!(deadline = ?grace, "reloading: the sources end, what was read is delivered");
                break;
            }
        }
        shutdown.stop.cancel();
        let deadline = tokio::time::Instant::now() + grace;
        loop {
            tokio::select! {
                asked = self.next() => match asked {
                    Asked::Reload => tracing::warn!("SIGHUP while ending: not heard"),
                    Asked::End if next.take().is_some() => tracing::info!(deadline = ?grace, "{STOPPING}"),
                    Asked::End => {
                        tracing::warn!("second signal: ending at once");
                        break;
                    }
                },
                () = tokio::time::sleep_until(deadline) => {
                    tracing::warn!("deadline reached: what is left stays unacknowledged");
                    break;
                }
            }
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
        let mut signals = Signals::install().unwrap();
        let started = tokio::time::Instant::now();
        shutdown.stop.cancel();
        signals.conduct(&shutdown, Duration::from_secs(8), || Some(()), &mut None).await;
        assert!(shutdown.give_up.is_cancelled());
        assert_eq!(started.elapsed().as_secs(), 8);
    }
}
