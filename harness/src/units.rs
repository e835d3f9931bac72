//! Durations as people write them (`90s`, `1h 30m`, `7d`): parsed once, at the border.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A duration that reads and prints as text with units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

/// A text that is no duration.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is no duration: {why}; write a number with a unit, such as 500ms, 90s, 1h 30m or 7d")]
pub struct InvalidSpan {
    text: String,
    why: humantime::DurationError,
}

impl Span {
    /// So many seconds.
    #[must_use]
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The duration in seconds, as statistics and plots want it.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0.as_secs_f64()
    }
}

impl FromStr for Span {
    type Err = InvalidSpan;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_duration(text).map(Self).map_err(|why| InvalidSpan { text: text.to_owned(), why })
    }
}

impl TryFrom<String> for Span {
    type Error = InvalidSpan;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_reads_back_what_it_prints() {
        for text in ["500ms", "1m 30s", "7days", "1h"] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
        assert_eq!("90s".parse::<Span>().unwrap(), Span::secs(90));
    }

    #[test]
    fn a_number_without_a_unit_is_refused_with_advice() {
        let message = "90".parse::<Span>().unwrap_err().to_string();
        assert!(message.contains("write a number with a unit"), "{message}");
    }
}
