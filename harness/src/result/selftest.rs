//! What `flatline selftest` found: how the judge did on processes that leak on purpose, and on simulated ones.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Judgement, Outcome, Resource, Verdict};

/// The judge on real processes: `selftest --json` prints it, `selftest.json` holds it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Selftest {
    /// [`super::SCHEMA`].
    pub schema: u32,
    /// `met` where every verdict is as expected, `missed` where one is wrong, else `undecided`.
    pub outcome: Outcome,
    /// Why, in one sentence.
    pub reason: String,
    /// Whether it was stopped before its time.
    pub cut_short: bool,
    /// How long the processes were looked at, seconds.
    pub length_s: f64,
    /// Seconds from sample to sample, as planned.
    pub every_s: f64,
    /// Growth per minute that was allowed.
    pub limit_per_min: f64,
    /// In the order in which they are shown.
    pub cases: Vec<Case>,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Case {
    /// Its name, as in `samples.csv`.
    pub name: String,
    /// What it does, in words.
    pub what: String,
    /// By resource.
    pub resources: BTreeMap<Resource, Said>,
}

/// What was expected of the judge, and what it said.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Said {
    /// What the process really leaks, per minute.
    pub leaks_per_min: f64,
    /// The right verdict.
    pub expected: Verdict,
    /// How the verdict stands to it.
    pub agreement: Agreement,
    /// What the judge said.
    #[serde(flatten)]
    pub judgement: Judgement,
}

/// How a verdict stands to the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Agreement {
    /// The same.
    Right,
    /// The opposite.
    Wrong,
    /// Not decided, or not to be trusted.
    Undecided,
}

impl Agreement {
    /// Of a verdict with the one that is expected, `pass` or `fail`.
    #[must_use]
    pub fn of(said: Verdict, expected: Verdict) -> Self {
        match said {
            said if said == expected => Self::Right,
            Verdict::Pass | Verdict::Fail => Self::Wrong,
            Verdict::Inconclusive | Verdict::Invalid => Self::Undecided,
        }
    }
}

/// The judge on simulated processes: `selftest --power --json` prints it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Power {
    /// [`super::SCHEMA`].
    pub schema: u32,
    /// Growth per minute that was allowed.
    pub limit_per_min: f64,
    /// Simulated runs of each cell.
    pub runs: u32,
    /// Where chance began.
    pub seed: u64,
    /// Seconds from sample to sample.
    pub every_s: f64,
    /// What else varies in the simulated processes, in words.
    pub noise: String,
    /// By leak, then by length, then by pace.
    pub cells: Vec<Cell>,
}

/// How often each verdict was given, at one pace in runs of one length.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// How the units come.
    pub leak: Arrival,
    /// Length of a run, seconds.
    pub length_s: f64,
    /// Pace of the leak, as a multiple of the limit.
    pub times_limit: f64,
    /// The same, units per minute.
    pub per_min: f64,
    /// How many of the runs passed.
    pub pass: u32,
    /// How many failed.
    pub fail: u32,
    /// How many were not decided.
    pub inconclusive: u32,
    /// How many could not be trusted; none, or the simulation is at fault.
    pub invalid: u32,
}

/// How a leak's units come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrival {
    /// One after the other, evenly.
    Steady,
    /// One by one, by chance.
    ByChance,
}

impl Arrival {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Steady => "a leak that is steady",
            Self::ByChance => "a leak whose units come by chance",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_opposite_is_wrong() {
        assert_eq!(Agreement::of(Verdict::Pass, Verdict::Pass), Agreement::Right);
        assert_eq!(Agreement::of(Verdict::Pass, Verdict::Fail), Agreement::Wrong);
        assert_eq!(Agreement::of(Verdict::Fail, Verdict::Pass), Agreement::Wrong);
        for open in [Verdict::Inconclusive, Verdict::Invalid] {
            assert_eq!(Agreement::of(open, Verdict::Fail), Agreement::Undecided);
        }
    }
}
