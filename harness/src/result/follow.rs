//! What growth follows: events that a run counts, and how much grows with each.

use serde::{Deserialize, Serialize};

use super::{Count, Moment};

/// An event that a leak may follow. All are counted from outside a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A container starts, a new one or again.
    Starts,
    /// A container starts again.
    Restarts,
    /// A new container starts.
    Created,
    /// A container's log is rotated.
    Rotations,
    /// The target connects to its sink.
    Connections,
    /// The sink answers a push.
    Pushes,
    /// The sink refuses a push; one that comes again is no other one.
    RejectedPushes,
    /// A push comes again that was refused before.
    RepeatedPushes,
}

impl EventKind {
    /// All of them, in the order in which reports show them.
    pub const ALL: [Self; 8] = [
        Self::Starts,
        Self::Restarts,
        Self::Created,
        Self::Rotations,
        Self::Connections,
        Self::Pushes,
        Self::RejectedPushes,
        Self::RepeatedPushes,
    ];

    /// One of them, as in "0.98 per rejected push".
    #[must_use]
    pub fn one(self) -> &'static str {
        match self {
            Self::Starts => "started container",
            Self::Restarts => "container restart",
            Self::Created => "new container",
            Self::Rotations => "log rotation",
            Self::Connections => "connection",
            Self::Pushes => "push",
            Self::RejectedPushes => "rejected push",
            Self::RepeatedPushes => "repeated push",
        }
    }

    /// Several of them, for the head of a row.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Starts => "Started containers",
            Self::Restarts => "Container restarts",
            Self::Created => "New containers",
            Self::Rotations => "Log rotations",
            Self::Connections => "Connections",
            Self::Pushes => "Pushes",
            Self::RejectedPushes => "Rejected pushes",
            Self::RepeatedPushes => "Repeated pushes",
        }
    }

    /// How often it had happened when a sample was taken; `None` where that was not counted.
    #[must_use]
    pub fn count(self, sample: Moment<'_>) -> Option<u64> {
        match self {
            Self::Starts => sample.count(Count::Starts),
            Self::Restarts => sample.count(Count::Restarts),
            Self::Created => {
                Some(sample.count(Count::Starts)?.saturating_sub(sample.count(Count::Restarts)?))
            }
            Self::Rotations => sample.count(Count::Rotations),
            Self::Connections => sample.count(Count::Connections),
            Self::Pushes => sample.count(Count::Pushes),
            Self::RejectedPushes => sample.count(Count::RejectedPushes),
            Self::RepeatedPushes => sample.count(Count::RepeatedPushes),
        }
    }
}

/// Growth set against one event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventGrowth {
    /// The event.
    pub event: EventKind,
    /// How often it happened in the judged stretch.
    pub events: u64,
    /// Growth per 1,000 of them.
    pub per_1000: f64,
    /// Lower end of its 90 % interval.
    pub ci_low: f64,
    /// Upper end of its 90 % interval.
    pub ci_high: f64,
    /// Whether the interval excludes zero.
    pub significant: bool,
    /// Whether the count grows when the event happens. Several that have it can't be told apart.
    pub follows: bool,
}
