//! One attempt to push some lines, and how it went.

use bytes::Bytes;
use tokio::time::Instant;

use crate::loki::answer::{Outcome, judge};
use crate::loki::client::{Answer, Client, PushError};
use crate::loki::encode;
use crate::metrics::Metrics;
use crate::metrics::labels::PushStatus;

/// How it went.
#[derive(Debug)]
pub enum Attempt {
    /// Loki has answered, and this is what to do.
    Answered(Answer, Outcome),
    /// It has not; what became of the lines is not known.
    Unanswered(PushError),
    /// Nothing was sent.
    Unencodable(encode::Error),
    /// The end came first; what became of the lines is not known.
    GivenUp,
}

impl Attempt {
    /// Sends what was encoded, and counts the answer.
    pub async fn make(client: &Client, body: Result<Bytes, encode::Error>, metrics: &Metrics) -> Self {
        let started = Instant::now();
        let attempt = match body {
            Err(error) => Self::Unencodable(error),
            Ok(body) => match client.push(body).await {
                Ok(answer) => {
                    let outcome = judge(answer.status, answer.retry_after, &answer.body);
                    Self::Answered(answer, outcome)
                }
                Err(error) => Self::Unanswered(error),
            },
        };
        metrics.push_duration_seconds.observe(started.elapsed().as_secs_f64());
        if let Some(status) = attempt.status() {
            metrics.push.get_or_create(&status).inc();
        }
        attempt
    }

    /// Whether Loki has taken all of it.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Answered(_, Outcome::Delivered))
    }

    fn status(&self) -> Option<PushStatus> {
        match self {
            Self::Answered(answer, _) => Some(PushStatus::of(answer.status)),
            Self::Unanswered(PushError::Timeout) => Some(PushStatus::Timeout),
            Self::Unanswered(PushError::Connection(_) | PushError::Closed(_)) => Some(PushStatus::Connection),
            Self::Unencodable(_) | Self::GivenUp => None,
        }
    }
}
