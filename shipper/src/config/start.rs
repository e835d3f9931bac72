//! `start:` in the config.

use std::fmt;
use std::time::Duration;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::units;

/// `start:`; written `end`, `beginning`, or `since: 1h` as a mapping or in quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// What is written from now on.
    End,
    /// All that Docker still has.
    Beginning,
    /// The lines of this last stretch of time.
    Since(Duration),
}

impl Start {
    fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "end" => Ok(Self::End),
            "beginning" => Ok(Self::Beginning),
            other => match other.strip_prefix("since:") {
                Some(since) => units::parse(since.trim()).map(Self::Since),
                None => Err(format!("{other:?} is no start: write `end`, `beginning` or `{{since: 1h}}`")),
            },
        }
    }
}

impl Serialize for Start {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::End => to.serialize_str("end"),
            Self::Beginning => to.serialize_str("beginning"),
            Self::Since(since) => to.collect_map([("since", humantime::format_duration(*since).to_string())]),
        }
    }
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(StartVisitor)
    }
}

struct StartVisitor;

impl<'de> Visitor<'de> for StartVisitor {
    type Value = Start;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`end`, `beginning` or `{since: 1h}`")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Start, E> {
        Start::parse(text).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Start, A::Error> {
        let Some((key, since)) = map.next_entry::<String, String>()? else {
            return Err(A::Error::custom("start is empty: write `end`, `beginning` or `{since: 1h}`"));
        };
        if key != "since" {
            return Err(A::Error::custom(format_args!("{key:?} is no key here, write `{{since: 1h}}`")));
        }
        if map.next_key::<String>()?.is_some() {
            return Err(A::Error::custom(
                "start has more than `since`: write `{since: 1h}` and nothing else",
            ));
        }
        units::parse(&since).map(Start::Since).map_err(A::Error::custom)
    }
}
