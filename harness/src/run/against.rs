//! Run directories read as digests, and two sides of them set against each other.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::record::files::RecordError;
use crate::result::contrast::{Contrast, Fact};
use crate::result::{Digest, Manifest};
use crate::run::so_far;
use crate::trend::contrast::{Matters, contrast};
use crate::trend::digest::{DigestError, digest};
use crate::trend::ground::differences;

/// Why runs can't be compared.
#[derive(Debug, thiserror::Error)]
pub enum AgainstError {
    /// A run directory.
    #[error("{source}\n  Of {}: name a run directory, as `flatline ab` and `flatline run` leave them.", run.display())]
    Record {
        /// Which one.
        run: PathBuf,
        /// What is wrong with it.
        source: RecordError,
    },
    /// What stands in it.
    #[error("can't make figures of {}: {source}", run.display())]
    Digest {
        /// Which one.
        run: PathBuf,
        /// What is wrong with it.
        source: DigestError,
    },
    /// One run counts for two.
    #[error(
        "{} and {} hold the same run, {run_id}\n  Name each run once: a copy of it would pass for a second measurement.",
        first.display(), second.display()
    )]
    Twice {
        /// Where it is.
        first: PathBuf,
        /// Where it is as well.
        second: PathBuf,
        /// Which run.
        run_id: String,
    },
    /// It goes on.
    #[error("the run in {} still goes on: wait for its end", .0.display())]
    Running(PathBuf),
    /// They are of different places or different loads.
    #[error(
        "the runs can't be compared: their environments differ{}\n  \
         Repeat one of them where the other ran; or add --across-environments, and the report names what differs.",
        listed(.0)
    )]
    Differ(Vec<Fact>),
    /// They have no target in common.
    #[error(
        "the runs have no target in common: {} in the baseline, {} in the candidate\n  \
         Targets are matched by their names in the scenario.",
        named(.baseline),
        named(.candidate)
    )]
    NothingInCommon {
        /// The baseline's targets.
        baseline: Vec<String>,
        /// The candidate's.
        candidate: Vec<String>,
    },
}

impl AgainstError {
    /// Whether the runs are none to be compared or kept; else a directory can't be used.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Record { .. } | Self::Digest { .. })
    }
}

fn listed(facts: &[Fact]) -> String {
    let said = facts.iter().map(|Fact { what, baseline, candidate }| {
        format!("\n    {what}: {baseline} in the baseline, {candidate} in the candidate")
    });
    said.collect()
}

fn named(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// A run in few figures, whatever became of it.
///
/// # Errors
/// [`AgainstError`] where the directory has no run, or a damaged one.
pub fn read(run: &Path) -> Result<Digest, AgainstError> {
    let result = so_far::read(run).map_err(|source| AgainstError::Record { run: run.to_owned(), source })?;
    digest(&result).map_err(|source| AgainstError::Digest { run: run.to_owned(), source })
}

/// The same of a run that is over: what is kept of one must be all of it.
///
/// # Errors
/// [`AgainstError`], also where the run still goes on.
pub fn read_ended(run: &Path) -> Result<Digest, AgainstError> {
    let digest = read(run)?;
    if digest.ended == Manifest::RUNNING { Err(AgainstError::Running(run.to_owned())) } else { Ok(digest) }
}

/// The runs of one side, each run once.
///
/// # Errors
/// What `read_one` says, and where two directories hold the same run.
pub fn read_each(
    runs: &[PathBuf],
    read_one: fn(&Path) -> Result<Digest, AgainstError>,
) -> Result<Vec<Digest>, AgainstError> {
    let mut places: HashMap<String, &PathBuf> = HashMap::new();
    let mut digests = Vec::new();
    for run in runs {
        let digest = read_one(run)?;
        if let Some(first) = places.insert(digest.run_id.clone(), run) {
            let (first, second) = (first.clone(), run.clone());
            return Err(AgainstError::Twice { first, second, run_id: digest.run_id });
        }
        digests.push(digest);
    }
    Ok(digests)
}

/// Whether environments may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Across {
    /// Where they do, nothing is compared.
    Refused,
    /// What differs is named beside the figures.
    Told,
}

/// Sets a candidate's runs against a baseline's. Both have one run at least.
///
/// # Errors
/// [`AgainstError`] where they can't be compared.
pub fn set_against(
    baseline: &[Digest],
    candidate: &[Digest],
    matters: &Matters,
    across: Across,
) -> Result<Contrast, AgainstError> {
    let facts = differing(baseline, candidate);
    if across == Across::Refused && !facts.is_empty() {
        return Err(AgainstError::Differ(facts));
    }
    let (baseline, candidate): (Vec<_>, Vec<_>) = (baseline.iter().collect(), candidate.iter().collect());
    let found = contrast(&baseline, &candidate, matters, facts);
    if found.targets.is_empty() {
        return Err(AgainstError::NothingInCommon {
            baseline: found.only_in_baseline,
            candidate: found.only_in_candidate,
        });
    }
    Ok(found)
}

/// In what any run differs from the first of the baseline, each fact once.
fn differing(baseline: &[Digest], candidate: &[Digest]) -> Vec<Fact> {
    let Some(first) = baseline.first() else { return Vec::new() };
    let mut facts: Vec<Fact> = Vec::new();
    for run in baseline.iter().skip(1).chain(candidate) {
        for fact in differences(&first.ground, &run.ground) {
            if !facts.contains(&fact) {
                facts.push(fact);
            }
        }
    }
    facts
}
