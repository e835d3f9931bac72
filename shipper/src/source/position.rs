//! Where reading begins. Pure.

use std::collections::HashMap;
use std::time::Duration;

use crate::docker::known::Born;
use crate::record::{ContainerId, Position};

/// Where to begin with a container that no checkpoint knows and that was there before us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Only what it writes from now on.
    End,
    /// With the oldest line that Docker keeps.
    Beginning,
    /// With the lines of this last stretch of time.
    Since(Duration),
}

/// What the checkpoint knows.
pub type Resume = HashMap<ContainerId, Position>;

/// The decision for one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Just behind what was settled in an earlier run.
    At(Position),
    /// With its first line.
    Beginning,
    /// With what comes after the shipper's start.
    End,
    /// With the first line of this time or later, in nanoseconds since the epoch.
    Since(i64),
}

/// A checkpoint decides before all else; else birth; else the policy.
#[must_use]
pub fn begin(position: Option<Position>, born: Born, start: Start, now_ns: i64) -> Begin {
    match (position, born, start) {
        (Some(position), _, _) => Begin::At(position),
        (None, Born::AfterUs, _) | (None, Born::BeforeUs, Start::Beginning) => Begin::Beginning,
        (None, Born::BeforeUs, Start::End) => Begin::End,
        (None, Born::BeforeUs, Start::Since(ago)) => {
            Begin::Since(now_ns.saturating_sub(i64::try_from(ago.as_nanos()).unwrap_or(i64::MAX)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_decides_before_birth_and_policy() {
        let position = Position::Api { time_ns: 5, seen: 1 };
        for born in [Born::BeforeUs, Born::AfterUs] {
            let begin = begin(Some(position.clone()), born, Start::End, 100);
            assert_eq!(begin, Begin::At(position.clone()));
        }
    }

    #[test]
    fn a_container_born_after_us_is_read_from_its_first_line_whatever_the_policy() {
        for start in [Start::End, Start::Beginning, Start::Since(Duration::from_secs(1))] {
            assert_eq!(begin(None, Born::AfterUs, start, 100), Begin::Beginning);
        }
    }

    #[test]
    fn history_is_read_as_the_policy_says() {
        assert_eq!(begin(None, Born::BeforeUs, Start::End, 100), Begin::End);
        assert_eq!(begin(None, Born::BeforeUs, Start::Beginning, 100), Begin::Beginning);
        assert_eq!(
            begin(None, Born::BeforeUs, Start::Since(Duration::from_nanos(30)), 100),
            Begin::Since(70)
        );
        assert_eq!(begin(None, Born::BeforeUs, Start::Since(Duration::MAX), 0), Begin::Since(-i64::MAX));
    }
}
