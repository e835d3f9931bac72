//! Durations as people write them in the config: `10s`, `1h 30m`, `7d`. For `#[serde(with = "units")]`.

use std::fmt;
use std::time::Duration;

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};

/// Writes `7days`, `8s`.
///
/// # Errors
/// The serializer's own.
pub fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_duration(*duration))
}

/// Reads what [`parse`] takes.
///
/// # Errors
/// When it is no duration.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    from.deserialize_str(DurationText)
}

/// Reads `10s`.
///
/// # Errors
/// Says what a duration looks like.
pub fn parse(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{text:?} is no duration: {error} (write `10s`, `5m`, `7d`)"))
}

struct DurationText;

impl Visitor<'_> for DurationText {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration with its unit, such as `10s` or `7d`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        parse(text).map_err(E::custom)
    }
}

/// Durations that may be `null`. For `#[serde(with = "units::optional")]`.
pub mod optional {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Unit(#[serde(with = "super")] Duration);

    /// As [`super::serialize`].
    ///
    /// # Errors
    /// The serializer's own.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        duration.map(Unit).serialize(to)
    }

    /// As [`super::deserialize`].
    ///
    /// # Errors
    /// When it is no duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Unit>::deserialize(from)?.map(|unit| unit.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_without_a_unit_is_refused_with_an_example() {
        assert_eq!(parse("7d"), Ok(Duration::from_secs(7 * 86_400)));
        insta::assert_snapshot!(parse("10").unwrap_err(), @r#""10" is no duration: time unit needed, for example 10sec or 10ms (write `10s`, `5m`, `7d`)"#);
    }
}
