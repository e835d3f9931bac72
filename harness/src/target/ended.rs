//! How a target ended, in words.

use std::fmt::Display;
use std::process::ExitStatus;
use std::time::Duration;

/// How a target ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// In words.
    pub words: String,
    /// Whether it did so in order: exit status 0.
    pub clean: bool,
    /// Whether the kernel killed for want of memory in its container. Of a process its control group says so.
    pub out_of_memory: bool,
}

impl Ended {
    /// One whose memory was not the reason, as far as is known here.
    #[must_use]
    pub fn new(words: impl Into<String>, clean: bool) -> Self {
        Self { words: words.into(), clean, out_of_memory: false }
    }

    /// By the status of its process.
    #[must_use]
    pub(super) fn with(status: ExitStatus) -> Self {
        // As std says it, with the signal's name: `exit status: 3`, `signal: 9 (SIGKILL)`.
        Self::new(status.to_string().replacen(": ", " ", 1), status.success())
    }

    /// The same, when it was asked to.
    #[must_use]
    pub(super) fn after_sigterm(self) -> Self {
        Self { words: format!("{} after SIGTERM", self.words), ..self }
    }

    /// One that did not end when it was asked to; and what went wrong when it was killed, if anything did.
    #[must_use]
    pub(super) fn killed_after(grace: Duration, failed: Option<impl Display>) -> Self {
        let words = format!("killed: still there {} s after SIGTERM", grace.as_secs());
        Self::new(failed.map_or_else(|| words.clone(), |error| format!("{words}; {error}")), false)
    }
}
