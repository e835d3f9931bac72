//! Where a run took place.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Facts of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Logical cores.
    pub cores: u64,
    /// Memory, bytes.
    pub memory_bytes: u64,
}
