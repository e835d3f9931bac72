//! From an outcome to an HTTP answer with Loki's status, headers and body.

use wiremock::ResponseTemplate;

use super::ingester::Refusal;
use super::push::PushError;

/// What is sent back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Text without its newline; `None` for no body and no type.
    pub text: Option<String>,
}

impl Answer {
    /// All is stored, or so Loki says.
    pub const NO_CONTENT: Self = Self { status: 204, text: None };
    /// A path with another method: Loki sends neither a body nor `Allow`.
    pub const METHOD_NOT_ALLOWED: Self = Self { status: 405, text: None };

    /// An answer with a text.
    #[must_use]
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self { status, text: Some(text.into()) }
    }

    /// As wiremock sends it.
    #[must_use]
    pub fn template(&self) -> ResponseTemplate {
        let template = ResponseTemplate::new(self.status);
        match &self.text {
            None => template,
            Some(text) => template
                .insert_header("X-Content-Type-Options", "nosniff")
                .set_body_raw(format!("{text}\n"), "text/plain; charset=utf-8"),
        }
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
