//! What a target runs in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a target's program is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunIn {
    /// As a process of this machine.
    #[default]
    Process,
    /// In a container of the run's Docker Engine, on the host's network.
    Container,
}

impl RunIn {
    /// Whether it is the one that holds where none is named.
    #[must_use]
    pub fn is_process(&self) -> bool {
        *self == Self::Process
    }
}
