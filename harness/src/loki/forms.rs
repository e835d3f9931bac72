//! The forms in which Loki writes and reads times, durations and sizes.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de::Error};

/// Go's zero time, `0001-01-01T00:00:00Z`: what an entry without a time has.
pub const ZERO_TIME: Timestamp = Timestamp::constant(-62_135_596_800, 0);

/// Go's `time.RFC3339`: whole seconds, the fraction cut off. In UTC, as a server in that zone prints.
#[must_use]
pub fn rfc3339(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Go's `Time.String()` in UTC: nine digits of fraction, without their trailing zeros.
#[must_use]
pub fn go_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string()
}

/// Reads `7d`, `1h30m`.
///
/// # Errors
/// When the text is no duration.
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|error| D::Error::custom(format!("`{text}`: {error}")))
}

/// Reads a size as Loki does: `100B`, `1KB`, `256KiB`, or a plain number of bytes. All its units are
/// powers of 1024.
///
/// # Errors
/// When the text is no size.
pub fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Raw {
        Bytes(usize),
        Text(String),
    }
    match Raw::deserialize(deserializer)? {
        Raw::Bytes(bytes) => Ok(bytes),
        Raw::Text(text) => parse_size(&text)
            .ok_or_else(|| D::Error::custom(format!("`{text}` is no size: write 100B, 1KB, 4MB"))),
    }
}

fn parse_size(text: &str) -> Option<usize> {
    let text = text.trim().to_ascii_uppercase();
    let digits = text.trim_end_matches(|sign: char| sign.is_ascii_alphabetic() || sign == ' ');
    let unit = match text.strip_prefix(digits)?.trim() {
        "" | "B" => 1,
        "K" | "KB" | "KIB" => 1 << 10,
        "M" | "MB" | "MIB" => 1 << 20,
        "G" | "GB" | "GIB" => 1 << 30,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_go_prints_them() {
        let time = Timestamp::constant(1_795_523_511, 123_450_000);
        assert_eq!(rfc3339(time), "2026-11-24T12:31:51Z");
        assert_eq!(go_time(time), "2026-11-24 12:31:51.12345 +0000 UTC");
        assert_eq!(go_time(Timestamp::constant(1_795_523_511, 0)), "2026-11-24 12:31:51 +0000 UTC");
        assert_eq!(rfc3339(ZERO_TIME), "0001-01-01T00:00:00Z");
        assert_eq!(rfc3339(Timestamp::constant(0, -1)), "1969-12-31T23:59:59Z");
    }

    #[test]
    fn sizes_are_powers_of_1024_whatever_their_unit_is_called() {
        for (text, bytes) in [("100B", 100), ("1KB", 1024), ("256kb", 262_144), ("2 MiB", 2 << 20), ("7", 7)]
        {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        assert_eq!(parse_size("1 apple"), None);
        assert_eq!(parse_size("KB"), None);
    }
}
