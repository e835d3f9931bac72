//! From an outcome to an HTTP answer with Loki's status, headers and body.

use super::ingester::Refusal;
use super::push::PushError;

/// What is sent back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Text without its newline; `None` for no body and no type.
    pub text: Option<String>,
    /// Whether the text is JSON.
    pub is_json: bool,
    /// `Retry-After`, in seconds.
    pub retry_after_s: Option<u64>,
}

impl Answer {
    /// All is stored, or so Loki says.
    pub const NO_CONTENT: Self = Self::empty(204);
    /// A path with another method: Loki sends neither a body nor `Allow`.
    pub const METHOD_NOT_ALLOWED: Self = Self::empty(405);

    const fn empty(status: u16) -> Self {
        Self { status, text: None, is_json: false, retry_after_s: None }
    }

    /// An answer with a text.
    #[must_use]
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self { status, text: Some(text.into()), is_json: false, retry_after_s: None }
    }

    /// An answer in JSON.
    #[must_use]
    pub fn json(text: impl Into<String>) -> Self {
        Self { status: 200, text: Some(text.into()), is_json: true, retry_after_s: None }
    }
}

impl From<&PushError> for Answer {
    fn from(error: &PushError) -> Self {
        Self::text(error.status(), error.to_string())
    }
}

impl From<Option<Refusal>> for Answer {
    fn from(refusal: Option<Refusal>) -> Self {
        refusal.map_or(Self::NO_CONTENT, |refusal| Self::text(refusal.status, refusal.text))
    }
}
