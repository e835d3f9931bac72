//! Whether a target is ready: it is asked until it says so, has ended, or has had its time.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, interval};

use crate::target::ended::Ended;
use crate::target::spec::Ready;

/// How long a target may take.
pub(super) const READY_WITHIN: Duration = Duration::from_secs(20);
/// How exactly the time until then is known.
const BEAT: Duration = Duration::from_millis(10);
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// Why it is not.
#[derive(Debug)]
pub(super) enum Unready {
    /// It has ended.
    Ended(Ended),
    /// It runs, and has never said so.
    Late,
}

/// Waits until it says that it collects.
///
/// # Errors
/// [`Unready`].
pub(super) async fn until_ready(
    ready: &Ready,
    mut ended: impl FnMut() -> Option<Ended>,
) -> Result<(), Unready> {
    let client = reqwest::Client::new();
    let deadline = Instant::now() + READY_WITHIN;
    let mut beat = interval(BEAT);
    while Instant::now() < deadline {
        beat.tick().await;
        if let Some(ended) = ended() {
            return Err(Unready::Ended(ended));
        }
        let is_ready = match ready {
            Ready::Url(url) => {
                let probe = client.get(url).timeout(ANSWERS_WITHIN).send().await;
                probe.is_ok_and(|answer| answer.status().is_success())
            }
            Ready::File(path) => Path::new(path).exists(),
            Ready::Started => true,
        };
        if is_ready {
            return Ok(());
        }
    }
    Err(Unready::Late)
}
