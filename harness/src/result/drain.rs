//! What is left of a count when the load is over.

use serde::{Deserialize, Serialize};

use super::KeptKind;

/// Whether the count came back after the load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrainResult {
    /// Count while idle, before the load.
    pub idle_count: f64,
    /// Count at the end of the drain phase.
    pub drained_count: f64,
    /// How much more the target's declared bounds explain. `None` where it declares none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explained: Option<u32>,
    /// The kinds of which more is there than while idle, most first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<KeptKind>,
}

impl DrainResult {
    /// How much more is there than while idle.
    #[must_use]
    pub fn more(&self) -> f64 {
        self.drained_count - self.idle_count
    }

    /// Whether that is beyond what the target's bounds explain. Where it declares none nobody can say.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.explained.is_some_and(|explained| self.more() > f64::from(explained))
    }
}
