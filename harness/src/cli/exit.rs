//! From what came out, or why nothing did, to an exit code.

use crate::cli::UsageError;
use crate::loki::config::ConfigError;
use crate::result::bench::Bench;
use crate::result::{Outcome, Verdict};
use crate::run::against::AgainstError;
use crate::run::bench::BenchError;
use crate::run::merge::MergeError;
use crate::run::order::RunError;
use crate::run::resume::ResumeError;
use crate::run::selftest::SelftestError;
use crate::run::table::TableError;
use crate::run::watch::WatchError;
use crate::scenario::ScenarioError;

/// Every expectation met.
pub const MET: u8 = 0;
/// A target leaked, lost lines or missed a limit.
pub const MISSED: u8 = 1;
/// Bad usage or scenario.
pub const BAD_USAGE: u8 = 2;
/// Not decided.
pub const UNDECIDED: u8 = 3;
/// The environment failed.
pub const ENVIRONMENT: u8 = 4;

/// A file or a command line is the user's to mend, and a run that was stopped before it began has decided nothing;
/// whatever else fails is the environment.
#[must_use]
pub fn code_of(error: &anyhow::Error) -> u8 {
    let of_the_user = error.is::<ScenarioError>() || error.is::<ConfigError>() || error.is::<TableError>();
    let unfit = matches!(
        error.downcast_ref(),
        Some(RunError::NotEmbedded { .. } | RunError::ContainerNotEmbedded { .. })
    );
    if of_the_user
        || unfit
        || error.is::<UsageError>()
        || error.downcast_ref().is_some_and(ResumeError::is_refusal)
        || error.downcast_ref().is_some_and(MergeError::is_refusal)
        || matches!(error.downcast_ref(), Some(WatchError::Column(_)))
        || error.downcast_ref().is_some_and(AgainstError::is_refusal)
    {
        BAD_USAGE
    } else if matches!(error.downcast_ref(), Some(RunError::Stopped))
        || matches!(error.downcast_ref(), Some(SelftestError::Stopped))
        || matches!(error.downcast_ref(), Some(WatchError::Stopped))
        || matches!(error.downcast_ref(), Some(BenchError::Stopped))
    {
        UNDECIDED
    } else {
        ENVIRONMENT
    }
}

/// The message, and of its causes those that it does not tell itself: most of ours do, libraries' don't.
#[must_use]
pub fn in_words(error: &anyhow::Error) -> String {
    error.chain().skip(1).map(ToString::to_string).fold(error.to_string(), |said, cause| {
        if said.contains(&cause) { said } else { format!("{said}: {cause}") }
    })
}

/// Of a run.
#[must_use]
pub fn code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Met => MET,
        Outcome::Missed => MISSED,
        Outcome::Undecided | Outcome::Invalid => UNDECIDED,
    }
}

/// Of a bench: a loss outweighs all else; then what is not there since it was stopped, or since a target that was asked for
/// is missing or would not do its work.
#[must_use]
pub fn code_of_bench(bench: &Bench) -> u8 {
    match (bench.has_losses(), bench.cut_short, bench.is_complete()) {
        (true, _, _) => MISSED,
        (false, true, _) => UNDECIDED,
        (false, false, false) => ENVIRONMENT,
        (false, false, true) => MET,
    }
}

/// Of several verdicts, the worst of which this is.
#[must_use]
pub fn code_of_worst(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Pass => MET,
        Verdict::Fail => MISSED,
        Verdict::Inconclusive | Verdict::Invalid => UNDECIDED,
    }
}
