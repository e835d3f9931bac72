//! The forms in which Loki writes and reads times, durations and sizes.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, de::Error};

/// Go's zero time, `0001-01-01T00:00:00Z`: what an entry without a time has.
pub const ZERO_TIME: Timestamp = Timestamp::constant(-62_135_596_800, 0);

/// Go's `time.RFC3339` in UTC: whole seconds, the fraction cut off.
#[must_use]
pub fn rfc3339(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Go's `time.RFC3339` in a zone. The zero time has no zone but UTC, as in Go.
#[must_use]
pub fn rfc3339_in(time: Timestamp, zone: &TimeZone) -> String {
    if time == ZERO_TIME || zone.to_offset(time).is_zero() {
        return rfc3339(time);
    }
    time.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// Go's `Time.String()` in UTC: nine digits of fraction, without their trailing zeros.
#[must_use]
pub fn go_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string()
}

/// Bytes as Loki prints a limit: in the largest unit that divides them.
#[must_use]
pub fn size_text(bytes: usize) -> String {
    const UNITS: [(usize, &str); 3] = [(1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")];
    let unit = UNITS.into_iter().find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit));
    let (unit, name) = unit.unwrap_or((1, "B"));
    format!("{}{name}", bytes / unit)
}

/// A duration in the file: `7d`, `1h30m`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Age(pub(super) Duration);

impl<'de> Deserialize<'de> for Age {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let age = humantime::parse_duration(&text);
        age.map(Self)
            .map_err(|why| D::Error::custom(format!("`{text}` is no duration: {why}; write 1h or 7d")))
    }
}

/// A size in the file: `100B`, `1KB`, `256KiB`, or a plain number of bytes. All units are powers of 1024.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size(pub(super) usize);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let size = parse_size(&text).map(Self);
        size.ok_or_else(|| D::Error::custom(format!("`{text}` is no size: write 100B, 1KB or 4MB")))
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

/// A moment in the file: RFC 3339, or `0` for none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(pub(super) Option<Timestamp>);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "0" {
            return Ok(Self(None));
        }
        let moment = text.parse().map(|moment| Self(Some(moment)));
        moment.map_err(|_| D::Error::custom(format!("`{text}` is no time: write 2099-01-01T00:00:00Z")))
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::Offset;

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
    fn a_zone_shows_but_for_the_zero_time() {
        let amsterdam = TimeZone::fixed(Offset::constant(1));
        let time = Timestamp::constant(1_795_523_511, 900_000_000);
        assert_eq!(rfc3339_in(time, &amsterdam), "2026-11-24T13:31:51+01:00");
        assert_eq!(rfc3339_in(time, &TimeZone::UTC), "2026-11-24T12:31:51Z");
        assert_eq!(rfc3339_in(ZERO_TIME, &amsterdam), "0001-01-01T00:00:00Z");
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

    #[test]
    fn a_size_is_printed_in_the_largest_unit_that_divides_it() {
        for (bytes, text) in [(0, "0B"), (300, "300B"), (1024, "1KB"), (1025, "1025B"), (3 << 20, "3MB")] {
            assert_eq!(size_text(bytes), text);
        }
    }
}
