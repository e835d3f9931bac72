//! What a target is in a run, as far as judging it asks: so that a run that was killed can still be judged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Expect, Resource};

/// A target's part in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// `pool`, `hybrid`, `archived`, or another shipper's design.
    pub design: String,
    /// What it should do.
    pub expect: Expect,
    /// What a control must leak.
    pub must_leak: Vec<Resource>,
    /// How far each count may rise under load and be no leak, as the target declares.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bounds: BTreeMap<Resource, u32>,
}
