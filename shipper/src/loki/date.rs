//! Dates in HTTP headers: whole seconds, in GMT (RFC 9110, 5.6.7).

use http::header::{DATE, HeaderMap};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

/// When the answer was given, by the clock of whoever gave it.
#[must_use]
pub fn of(headers: &HeaderMap) -> Option<Timestamp> {
    parse(headers.get(DATE)?.to_str().ok()?)
}

/// An HTTP date is a mail date in GMT.
#[must_use]
pub fn parse(date: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(date.trim()).ok()
}
