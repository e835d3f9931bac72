//! The way to Loki, shared by all who push: one client, one connection, a count of each answer, and the
//! books of what is done with.
//!
//! However many tasks want to push, one does at a time, and each answer is read to its end: so the storm
//! of post-mortem #2 is one of tasks and not of descriptors, and no connection that comes and goes stands
//! between a leak of descriptors and who looks for it.

use std::sync::{Arc, Mutex, PoisonError};

use shipper::batch::Group;
use shipper::loki::client::{Answer, Client, Config, ConfigError, PushError};
use shipper::loki::encode::{self, Encoding};
use shipper::metrics::Metrics;
use shipper::metrics::labels::PushStatus;
use tokio::sync::Semaphore;

use crate::books::Books;
use crate::quiet::Quiet;

const PUSHES_MAX: usize = 1;
/// How much of Loki's words is logged.
const WORDS_CHARS_MAX: usize = 300;

/// One for the whole program.
#[derive(Debug)]
pub(crate) struct Lane {
    client: Client,
    encoding: Encoding,
    places: Semaphore,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) books: Books,
    complaints: Mutex<Quiet>,
}

/// Why a push brought no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Push(#[from] PushError),
    #[error(transparent)]
    Encode(#[from] encode::Error),
    #[error("the program ends")]
    Ending(#[from] tokio::sync::AcquireError),
}

impl Lane {
    pub(crate) fn new(
        config: &Config,
        metrics: Arc<Metrics>,
        books: Books,
    ) -> Result<Arc<Self>, ConfigError> {
        Ok(Arc::new(Self {
            client: Client::new(config)?,
            encoding: config.encoding,
            places: Semaphore::new(PUSHES_MAX),
            metrics,
            books,
            complaints: Mutex::default(),
        }))
    }

    /// Sends and waits for the answer.
    pub(crate) async fn push(&self, groups: &[Group]) -> Result<Answer, Failure> {
        let _place = self.places.acquire().await?;
        let body = self.encoding.encode(groups)?;
        let answer = self.client.push(body).await;
        let status = match &answer {
            Ok(answer) => PushStatus::of(answer.status),
            Err(PushError::Timeout) => PushStatus::Timeout,
            Err(PushError::Connection(_) | PushError::Closed(_)) => PushStatus::Connection,
        };
        self.metrics.push.get_or_create(&status).inc();
        Ok(answer?)
    }

    /// Logs what was not accepted, once in a while.
    pub(crate) fn complain(&self, result: &Result<Answer, Failure>) {
        let Some(suppressed) = self.complaints.lock().unwrap_or_else(PoisonError::into_inner).speak() else {
            return;
        };
        match result {
            Ok(answer) => {
                let words: String = answer.body.trim().chars().take(WORDS_CHARS_MAX).collect();
                tracing::warn!(status = answer.status, words, suppressed, "Loki refused a batch");
            }
            Err(error) => tracing::warn!(%error, suppressed, "a batch was not sent"),
        }
    }
}

/// A status as the design's client library judged it: any 2xx is success.
pub(crate) fn accepted(result: &Result<Answer, Failure>) -> bool {
    matches!(result, Ok(answer) if (200..300).contains(&answer.status))
}
