//! What a target is held to: with the samples, all that judging it needs to know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Allowance, Bar, Expect, Figure, Resource, RunIn};

/// The terms of one target, as its file and the scenario set them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// `pool`, `hybrid`, `archived`, or another shipper's design.
    pub design: String,
    /// What it should do.
    pub expect: Expect,
    /// What a control that leaks must leak; means nothing for the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub must_leak: Vec<Resource>,
    /// What it must not leak, though it is a control.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub must_not_leak: Vec<Resource>,
    /// What its figures are held to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<Figure, Bar>,
    /// How far each count may rise because queues, pools and caches fill.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bounds: BTreeMap<Resource, u32>,
    /// What it may use of the machine.
    #[serde(default, skip_serializing_if = "Allowance::is_all")]
    pub resources: Allowance,
    /// What it runs in.
    #[serde(default, skip_serializing_if = "RunIn::is_process")]
    pub run_in: RunIn,
    /// What it has no count of, so that nobody can judge it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uncounted: Vec<Resource>,
}
