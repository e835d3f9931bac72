//! Durations as people write them (`90s`, `1h 30m`, `7d`), and by how much time is compressed: parsed once, at the
//! border.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
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

/// A duration's units, as `humantime` reads them.
const SPAN: &str = "([0-9]+ *(nsec|ns|usec|us|µs|msec|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|wks?|w|months?|M|years?|yrs?|y) *)+|0";

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A duration with its unit.",
            "examples": ["500ms", "90s", "1h 30m", "7d"],
            "pattern": format!("^({SPAN})$"),
        })
    }
}

impl JsonSchema for Offset {
    fn schema_name() -> Cow<'static, str> {
        "Offset".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A duration with its unit, with a minus to go back.",
            "examples": ["30m", "-2h"],
            "pattern": format!("^[+-]?({SPAN})$"),
        })
    }
}

impl JsonSchema for Factor {
    fn schema_name() -> Cow<'static, str> {
        "Factor".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 1, "maximum": Self::MOST })
    }
}

/// A size in bytes, as `bytesize` reads it.
pub fn byte_size_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["string", "integer"],
        "description": "A size in bytes, or with its unit.",
        "examples": ["256KiB", "1MB"],
        "pattern": "^[0-9]+(\\.[0-9]+)? *([kKmMgGtTpP]([iI]?[bB])?|[bB])?$",
        "minimum": 0,
    })
}

/// A moment on the run's clock: `04:10`, from an hour on `1:04:10`; before zero `−04:10`, with the real minus sign.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
pub fn clock(seconds: f64) -> String {
    let total = seconds.abs().round() as u64;
    let sign = if seconds < 0.0 && total > 0 { "\u{2212}" } else { "" };
    let (hours, minutes, rest) = (total / 3_600, total / 60 % 60, total % 60);
    let hours = if hours > 0 { format!("{hours}:") } else { String::new() };
    format!("{sign}{hours}{minutes:02}:{rest:02}")
}

/// A duration either way, as text: a [`Span`], with a minus before it where it goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Offset(pub SignedDuration);

/// A text that is no duration either way.
#[derive(Debug, thiserror::Error)]
#[error(
    "{text:?} is no duration: {why}; write a number with a unit, with a minus to go back, such as 30m, 1d or -2h"
)]
pub struct InvalidOffset {
    text: String,
    why: String,
}

impl FromStr for Offset {
    type Err = InvalidOffset;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |why: String| InvalidOffset { text: text.to_owned(), why };
        let (goes_back, length) = match text.strip_prefix('-') {
            Some(length) => (true, length),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let length = humantime::parse_duration(length).map_err(|why| invalid(why.to_string()))?;
        let length = SignedDuration::try_from(length).map_err(|_| invalid("it is too long".to_owned()))?;
        Ok(Self(if goes_back { -length } else { length }))
    }
}

impl TryFrom<String> for Offset {
    type Error = InvalidOffset;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Offset> for String {
    fn from(offset: Offset) -> Self {
        offset.to_string()
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0.is_negative() { "-" } else { "" };
        write!(f, "{sign}{}", Span(self.0.unsigned_abs()))
    }
}

/// How many times time is compressed: durations are divided by it, rates multiplied.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Factor(f64);

/// A number by which time can't be compressed.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no number from 1 to {most}, such as 24 or 1.5", most = Factor::MOST)]
pub struct InvalidFactor(String);

impl Factor {
    /// Time as it is.
    pub const ONE: Self = Self(1.0);
    /// A year in half a minute.
    const MOST: f64 = 1e6;

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// A duration divided by it, in whole microseconds.
    #[must_use]
    pub fn shorten(self, span: Span) -> Span {
        if self <= Self::ONE {
            return span;
        }
        let micros = (span.0.div_f64(self.0).as_nanos() + 500) / 1000;
        Span(Duration::from_nanos_u128(micros * 1000))
    }

    /// A rate multiplied by it, to twelve digits: 24 times 0.05 is 1.2, and not 1.2000000000000002.
    #[must_use]
    pub fn raise(self, rate: f64) -> f64 {
        let raised = rate * self.0;
        format!("{raised:.11e}").parse().unwrap_or(raised)
    }
}

impl Default for Factor {
    fn default() -> Self {
        Self::ONE
    }
}

impl TryFrom<f64> for Factor {
    type Error = InvalidFactor;
    fn try_from(times: f64) -> Result<Self, Self::Error> {
        // NaN is in no range.
        let is_fit = (1.0..=Self::MOST).contains(&times);
        if is_fit { Ok(Self(times)) } else { Err(InvalidFactor(times.to_string())) }
    }
}

impl FromStr for Factor {
    type Err = InvalidFactor;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidFactor(text.to_owned());
        text.parse::<f64>().map_err(|_| invalid())?.try_into().map_err(|_| invalid())
    }
}

impl From<Factor> for f64 {
    fn from(factor: Factor) -> Self {
        factor.0
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
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
    fn a_rate_that_is_raised_reads_as_one_would_write_it() {
        let by: Factor = "24".parse().unwrap();
        let raised = [0.05, 2.0, 0.1, 1e6, 0.0, f64::INFINITY].map(|rate| by.raise(rate).to_string());
        assert_eq!(raised, ["1.2", "48", "2.4", "24000000", "0", "inf"]);
    }

    #[test]
    fn an_offset_takes_every_form_of_a_span_with_a_sign_or_without() {
        let hours = |text: &str| text.parse::<Offset>().unwrap().0.as_hours();
        assert_eq!(["1d", "+1w", "-2h", "120m", "1h 60m"].map(hours), [24, 168, -2, 2, 2]);
        for text in ["-1h 30m", "1day", "0s"] {
            let offset: Offset = text.parse().unwrap();
            assert_eq!(offset.to_string(), text);
            assert_eq!(offset.to_string().parse::<Offset>().unwrap(), offset);
        }
        for text in ["soon", "--2h", "-", "", "PT30M", "30", "999999999999y"] {
            let message = text.parse::<Offset>().unwrap_err().to_string();
            assert!(message.contains("such as 30m, 1d or -2h"), "{message}");
        }
    }

    #[test]
    fn a_number_without_a_unit_is_refused_with_advice() {
        let message = "90".parse::<Span>().unwrap_err().to_string();
        assert!(message.contains("write a number with a unit"), "{message}");
    }

    #[test]
    fn a_factor_shortens_and_is_never_below_one() {
        let shortened = |factor: &str, text: &str| {
            factor.parse::<Factor>().unwrap().shorten(text.parse().unwrap()).to_string()
        };
        assert_eq!(shortened("24", "48h"), "2h");
        assert_eq!(shortened("1.5", "3s"), "2s");
        assert_eq!(shortened("24", "4s"), "166ms 667us");
        assert_eq!(shortened("1", "1s 1ns"), "1s 1ns");
        for text in ["0", "0.5", "-2", "inf", "1e300", "NaN", "many", ""] {
            let message = text.parse::<Factor>().unwrap_err().to_string();
            assert!(message.contains("from 1 to 1000000"), "{message}");
        }
    }
}
