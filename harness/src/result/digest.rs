//! What a run came to, in few figures: one line of a history, one side of a comparison, a part of a baseline.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Expect, Machine, Measure, Outcome, Resource, Verdict};
use crate::units::Factor;

/// A run in few figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Digest {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u32,
    /// The run's own id.
    pub run_id: String,
    /// When it began, RFC 3339 in UTC.
    #[schemars(with = "String")]
    pub started_at: Timestamp,
    /// How it ended, in the words of `run.json`.
    pub ended: String,
    /// What it came to.
    pub outcome: Outcome,
    /// Why, in one sentence.
    pub reason: String,
    /// The revision of what was tested, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Where it ran, and what it was put through.
    pub ground: Ground,
    /// By name.
    pub targets: BTreeMap<String, TargetDigest>,
}

/// Where a run took place, and what it was put through: what must be the same for figures of two runs to be set
/// against each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ground {
    /// The scenario's name.
    pub scenario: String,
    /// What the scenario sets, by the path of each key; without what is no part of the load: seed, limits, targets.
    pub settings: BTreeMap<String, String>,
    /// By how much time was compressed.
    pub compression: Factor,
    /// The engine and its version.
    pub engine: String,
    /// The kernel's release.
    pub kernel: String,
    /// The machine.
    pub machine: Machine,
}

impl Ground {
    /// Machines that are alike bear one name: processor, cores, and memory in GiB, rounded up, as a kernel
    /// keeps some of it for itself and no two report the same number of bytes.
    #[must_use]
    pub fn machine_class(&self) -> MachineClass<'_> {
        let gibibytes = self.machine.memory_bytes.div_ceil(1 << 30);
        MachineClass { cpu: &self.machine.cpu, cores: self.machine.cores, gibibytes }
    }

    /// Whether another run was put through the same, wherever it took place: then growth of both may stand in one row. A
    /// count of tasks or descriptors does not grow faster because a processor does.
    #[must_use]
    pub fn is_same_load(&self, other: &Self) -> bool {
        self.scenario == other.scenario
            && self.engine_kind() == other.engine_kind()
            && self.compression == other.compression
            && self.settings == other.settings
    }

    /// The engine without its version: `docker`, `embedded`.
    #[must_use]
    pub fn engine_kind(&self) -> &str {
        self.engine.split_whitespace().next().unwrap_or_default()
    }
}

/// What machines that are alike have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MachineClass<'a> {
    cpu: &'a str,
    cores: u64,
    gibibytes: u64,
}

impl fmt::Display for MachineClass<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, cores, gibibytes } = self;
        let cpu = if cpu.is_empty() { "unknown processor" } else { cpu };
        write!(f, "{cpu}, {cores} cores, {gibibytes} GiB")
    }
}

/// One target of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TargetDigest {
    /// `pool`, `hybrid`, `archived`, or another shipper's design.
    pub design: String,
    /// What it should do. Only of whoever must stay flat is more growth worse.
    pub expect: Expect,
    /// Whether it did.
    pub met: bool,
    /// The verdict on each resource.
    pub verdicts: BTreeMap<Resource, Verdict>,
    /// What was measured of it and can be trusted.
    pub figures: BTreeMap<Measure, Measured>,
    /// Lines that the generators wrote; `None` where the run did not come to the end, at which they are accounted for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines_sent: Option<u64>,
}

/// A figure with what is known of its error from within the run. The unit is the [`Measure`]'s.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measured {
    /// The estimate, or the count.
    pub value: f64,
    /// Its standard error, where the run itself shows one: from the autocorrelated samples of a growth, from stretches
    /// of the load of a rate. A run's one quantile of latency, or its peak of memory, has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

/// A standard error with its degrees of freedom.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Unchecked")]
#[schemars(!try_from)]
pub struct Error {
    /// In the figure's unit.
    pub standard: f64,
    /// Degrees of freedom.
    pub degrees: f64,
}

/// As it stands in a file, which anyone may have written.
#[derive(Deserialize)]
struct Unchecked {
    standard: f64,
    degrees: f64,
}

impl TryFrom<Unchecked> for Error {
    type Error = String;
    fn try_from(Unchecked { standard, degrees }: Unchecked) -> Result<Self, String> {
        match (standard >= 0.0, degrees > 0.0) {
            (false, _) => Err(format!("a standard error is zero or above, not {standard}")),
            (_, false) => Err(format!("degrees of freedom are above zero, not {degrees}")),
            (true, true) => Ok(Self { standard, degrees }),
        }
    }
}

impl Measured {
    /// What is counted, and not estimated.
    #[must_use]
    pub fn exactly(value: f64) -> Self {
        Self { value, error: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_that_differ_by_what_the_kernel_keeps_are_of_one_class() {
        let ground = |memory_bytes| Ground {
            scenario: "quick".to_owned(),
            settings: BTreeMap::new(),
            compression: Factor::ONE,
            engine: "docker 24.0.7 (API 1.43)".to_owned(),
            kernel: "6.1".to_owned(),
            machine: Machine { cpu: "AMD EPYC".to_owned(), cores: 2, memory_bytes },
        };
        let (one, other, half) = (ground(25_276_059_648), ground(25_201_004_544), ground(12_600_000_000));
        assert_eq!(one.machine_class(), other.machine_class());
        assert_ne!(one.machine_class(), half.machine_class());
        assert_eq!(one.machine_class().to_string(), "AMD EPYC, 2 cores, 24 GiB");
        assert_eq!(one.engine_kind(), "docker");
    }
}
