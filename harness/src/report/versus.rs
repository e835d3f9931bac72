//! The targets compared with each other, in words: what each report says of `comparisons`.

use serde::Serialize;

use super::figures;
use crate::result::{Basis, Comparison, Pair, Resource, RunResult};

/// One resource's comparison.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Versus {
    pub(super) resource: &'static str,
    /// What the figures carry.
    pub(super) sentence: String,
    pub(super) pairs: Vec<Against>,
}

/// Two targets.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Against {
    pub(super) first: String,
    pub(super) second: String,
    pub(super) difference: String,
    pub(super) interval: String,
    pub(super) sentence: String,
}

/// What the figures rest on, to stand beside them.
pub(super) fn note(result: &RunResult) -> String {
    let from = match basis(result) {
        Basis::SingleRun => "From a single run: what varies between runs is not in the intervals.",
        Basis::RunsApart => {
            "From runs of the same load: of targets of different runs, what varies between runs is in the differences and \
             not in the intervals."
        }
    };
    format!(
        "{from} Each is the difference of two growths with its 99 % interval, which holds for all of these comparisons \
         together."
    )
}

/// The same in few words.
pub(super) fn from(result: &RunResult) -> &'static str {
    match basis(result) {
        Basis::SingleRun => "a single run",
        Basis::RunsApart => "runs of the same load",
    }
}

fn basis(result: &RunResult) -> Basis {
    result.verdict.comparisons.values().next().map_or(Basis::SingleRun, |comparison| comparison.basis)
}

/// Every resource in which there are two targets to compare.
pub(super) fn all(result: &RunResult) -> Vec<Versus> {
    let comparisons = &result.verdict.comparisons;
    let found =
        Resource::ALL.into_iter().filter_map(|resource| Some((resource, comparisons.get(&resource)?)));
    found.map(|(resource, comparison)| versus(resource, comparison)).collect()
}

fn versus(resource: Resource, comparison: &Comparison) -> Versus {
    let Comparison { sentence, basis: _, pairs } = comparison;
    Versus {
        resource: resource.title(),
        sentence: sentence.clone().unwrap_or_default(),
        pairs: pairs.iter().map(against).collect(),
    }
}

fn against(pair: &Pair) -> Against {
    Against {
        first: pair.first.clone(),
        second: pair.second.clone(),
        difference: figures::growth(pair.difference_per_min),
        interval: figures::interval(pair.ci_low, pair.ci_high),
        sentence: pair.sentence.clone(),
    }
}
