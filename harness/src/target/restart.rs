//! Whether a target that ended unasked is started again, in Docker's words and at Docker's pace.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize};

/// The first pause before it is started again; each after that is twice as long,
const FIRST: Duration = Duration::from_secs(1);
/// up to this.
const LONGEST: Duration = Duration::from_secs(60);
/// Who has run for so long begins with the first pause again.
const STEADY: Duration = Duration::from_secs(10);

/// The policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub enum Restart {
    /// `no`: it stays down.
    #[default]
    No,
    /// `on-failure`, or `on-failure:5`: unless it ended with exit status 0; at most so often.
    OnFailure(Option<u32>),
    /// `always`.
    Always,
}

/// A text that is no policy.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no restart policy; write no, on-failure, on-failure:5 (at most so often) or always")]
pub struct InvalidRestart(String);

impl FromStr for Restart {
    type Err = InvalidRestart;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidRestart(text.to_owned());
        match text.split_once(':') {
            Some(("on-failure", times)) => Ok(Self::OnFailure(Some(times.parse().map_err(|_| invalid())?))),
            Some(_) => Err(invalid()),
            None => match text {
                "no" => Ok(Self::No),
                "on-failure" => Ok(Self::OnFailure(None)),
                "always" => Ok(Self::Always),
                _ => Err(invalid()),
            },
        }
    }
}

impl<'de> Deserialize<'de> for Restart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Policy;
        impl Visitor<'_> for Policy {
            type Value = Restart;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a restart policy: no, on-failure, on-failure:5 (at most so often) or always")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Restart, E> {
                text.parse().map_err(E::custom)
            }
            /// A `no` without quotes is one to YAML.
            fn visit_bool<E: de::Error>(self, is_so: bool) -> Result<Restart, E> {
                if is_so { Err(E::invalid_type(Unexpected::Bool(true), &self)) } else { Ok(Restart::No) }
            }
        }
        deserializer.deserialize_any(Policy)
    }
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => f.write_str("no"),
            Self::OnFailure(None) => f.write_str("on-failure"),
            Self::OnFailure(Some(times)) => write!(f, "on-failure:{times}"),
            Self::Always => f.write_str("always"),
        }
    }
}

impl JsonSchema for Restart {
    fn schema_name() -> Cow<'static, str> {
        "Restart".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "Whether a target that ended unasked is started again, in Docker's words.",
            "examples": ["no", "on-failure", "on-failure:5", "always"],
            "pattern": "^(no|always|on-failure(:[0-9]+)?)$",
        })
    }
}

impl From<Restart> for String {
    fn from(restart: Restart) -> Self {
        restart.to_string()
    }
}

impl Restart {
    /// Whether it is the one that holds where none is named.
    #[must_use]
    pub fn is_no(&self) -> bool {
        *self == Self::No
    }

    /// Whether one that ended so is started again, after so many restarts.
    #[must_use]
    pub fn wants(self, clean: bool, restarts: u32) -> bool {
        match self {
            Self::No => false,
            Self::OnFailure(at_most) => !clean && at_most.is_none_or(|at_most| restarts < at_most),
            Self::Always => true,
        }
    }
}

/// How long to wait before the next start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    in_a_row: u32,
}

impl Backoff {
    /// After a life of this length.
    pub fn after(&mut self, life: Duration) -> Duration {
        if life >= STEADY {
            self.in_a_row = 0;
        }
        let pause = FIRST.saturating_mul(2_u32.saturating_pow(self.in_a_row)).min(LONGEST);
        self.in_a_row += 1;
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_no_without_quotes_is_one() {
        for text in ["no", "'no'", "false"] {
            assert_eq!(serde_saphyr::from_str::<Restart>(text).unwrap(), Restart::No, "{text}");
        }
        assert_eq!(serde_json::from_str::<Restart>("false").unwrap(), Restart::No);
        for text in ["true", "3", "[no]", "sometimes"] {
            let error = serde_saphyr::from_str::<Restart>(text).unwrap_err().to_string();
            assert!(error.contains("on-failure:5 (at most so often) or always"), "{text}: {error}");
        }
    }

    #[test]
    fn a_policy_reads_back_what_it_prints_and_nothing_else() {
        for text in ["no", "on-failure", "on-failure:5", "always"] {
            assert_eq!(text.parse::<Restart>().unwrap().to_string(), text);
        }
        for text in ["", "never", "on-failure:", "on-failure:-1", "always:3", "No"] {
            let error = text.parse::<Restart>().unwrap_err().to_string();
            assert!(error.contains("no restart policy"), "{error}");
        }
    }

    #[test]
    fn who_ended_in_order_is_started_again_by_always_alone() {
        let wants = |policy: &str, clean, restarts| policy.parse::<Restart>().unwrap().wants(clean, restarts);
        assert!(!wants("no", false, 0));
        assert!(wants("on-failure", false, 99) && !wants("on-failure", true, 0));
        assert!(wants("on-failure:2", false, 1) && !wants("on-failure:2", false, 2));
        assert!(wants("always", true, 99));
    }

    #[test]
    fn each_pause_is_twice_as_long_until_a_life_was_steady() {
        let mut backoff = Backoff::default();
        let pauses = [0, 1, 9, 10, 0].map(|life| backoff.after(Duration::from_secs(life)).as_secs());
        assert_eq!(pauses, [1, 2, 4, 1, 2]);
        let last = (0..40).map(|_| backoff.after(Duration::ZERO)).last();
        assert_eq!(last, Some(LONGEST));
    }
}
