//! Whether a target is ready: it is asked until it says so, has ended, or has had its time.

use std::time::Duration;

use tokio::time::{Instant, interval};

use crate::target::ended::Ended;

/// How long a target may take.
pub(super) const READY_WITHIN: Duration = Duration::from_secs(20);
const BEAT: Duration = Duration::from_millis(50);
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// Why it is not.
#[derive(Debug)]
pub(super) enum Unready {
    /// It has ended.
    Ended(Ended),
    /// It runs, and has never said so.
    Late,
}

/// Waits until its ready probe answers 200.
///
/// # Errors
/// [`Unready`].
pub(super) async fn until_ready(url: &str, mut ended: impl FnMut() -> Option<Ended>) -> Result<(), Unready> {
    let client = reqwest::Client::new();
    let deadline = Instant::now() + READY_WITHIN;
    let mut beat = interval(BEAT);
    while Instant::now() < deadline {
        beat.tick().await;
        if let Some(ended) = ended() {
            return Err(Unready::Ended(ended));
        }
        let probe = client.get(url).timeout(ANSWERS_WITHIN).send().await;
        if probe.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
    }
    Err(Unready::Late)
}
