//! Time compressed (`--compress`): how much, and what could not follow.

use serde::{Deserialize, Serialize};

use crate::units::Factor;

/// By how much the time of a run was compressed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compression {
    /// Durations were divided by it, rates and limits multiplied.
    pub times: Factor,
    /// What could not be divided or multiplied in full, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
}
