//! What a panel shows beside its lines: phases, faults, limits, crashes.

use super::group::Point;

/// What the counts of a panel are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    /// Whole numbers that were added or taken away.
    Added,
    /// What was counted or measured, as it stands.
    Held,
}

/// A named stretch of time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stretch {
    /// Its name.
    pub(super) name: String,
    /// Its start, in seconds.
    pub(super) from_s: f64,
    /// Its end, in seconds.
    pub(super) to_s: f64,
    /// Whether it is shaded, as what is not judged is.
    pub(super) shaded: bool,
}

/// A target that ended unasked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Crash {
    /// When, in seconds.
    pub(super) at_s: f64,
    /// Who.
    pub(super) target: String,
    /// Its place in the scenario's order.
    pub(super) place: Option<usize>,
}

/// What a panel shows beside its lines.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ground {
    /// What the counts are.
    pub(super) counts: Counts,
    /// Phases.
    pub(super) phases: Vec<Stretch>,
    /// Lines as steep as the limit, by their two ends.
    pub(super) limits: Vec<[Point; 2]>,
    /// Where a step of the load's script begins, in seconds.
    pub(super) steps: Vec<f64>,
    /// Stretches of time under a fault.
    pub(super) faults: Vec<(f64, f64)>,
    /// Who ended unasked.
    pub(super) crashes: Vec<Crash>,
    /// Where the judged stretch of the target at a place begins, in seconds.
    pub(super) cuts: Vec<(usize, f64)>,
}

impl Counts {
    /// Between two labels of the axis: a step below one would label the gaps between whole numbers.
    pub(super) fn least_step(self) -> f64 {
        match self {
            Self::Added => 1.0,
            Self::Held => 0.0,
        }
    }
}
