//! What all targets' results come to.

use std::collections::BTreeMap;

use super::{kept, named};
use crate::result::bench::MissingTarget;
use crate::result::{Expect, FigureResult, Outcome, TargetResult, Verdict};

/// A leak or a loss that was seen is seen, whatever else is not decided. Then what can't be trusted,
/// then what is not decided.
#[must_use]
pub(in crate::run) fn outcome(
    targets: &BTreeMap<String, TargetResult>,
    cut_short: bool,
) -> (Outcome, String) {
    if targets.is_empty() {
        return (Outcome::Undecided, "no target was attached: there is nothing to judge".to_owned());
    }
    let unmet = |expect| targets.iter().filter(move |(_, target)| target.expect == expect && !target.met);
    let said = |names: Vec<String>| names.join("; ");
    let sentence = |(name, target): (&String, &TargetResult)| format!("{name}: {}", target.reason);
    let missed: Vec<String> =
        unmet(Expect::Flat).filter(|(_, target)| is_missed(target, cut_short)).map(sentence).collect();
    if !missed.is_empty() {
        return (Outcome::Missed, said(missed));
    }
    let invalid = |target: &TargetResult| !named(&target.resources, Verdict::Invalid).is_empty();
    let untrusted: Vec<String> =
        unmet(Expect::Flat).filter(|(_, target)| invalid(target)).map(sentence).collect();
    if !untrusted.is_empty() {
        return (Outcome::Invalid, said(untrusted));
    }
    let open: Vec<String> =
        unmet(Expect::Flat).chain(unmet(Expect::Leak)).chain(unmet(Expect::Lose)).map(sentence).collect();
    if !open.is_empty() {
        return (Outcome::Undecided, said(open));
    }
    (Outcome::Met, as_expected(targets))
}

/// The same, where targets that were asked for could not be run: of them nobody knows.
#[must_use]
pub(in crate::run) fn without(
    (outcome, reason): (Outcome, String),
    missing: &[MissingTarget],
) -> (Outcome, String) {
    if missing.is_empty() {
        return (outcome, reason);
    }
    let outcome = if outcome == Outcome::Met { Outcome::Undecided } else { outcome };
    let words = std::iter::once(reason).chain(missing.iter().map(MissingTarget::words));
    (outcome, words.collect::<Vec<_>>().join("; "))
}

/// Who stays flat, and which control was seen to leak.
fn as_expected(targets: &BTreeMap<String, TargetResult>) -> String {
    let of = |expect| targets.iter().filter(move |(_, target)| target.expect == expect);
    let flat: Vec<&str> = of(Expect::Flat).map(|(name, _)| name.as_str()).collect();
    let judged = of(Expect::Flat).any(|(_, target)| !target.resources.is_empty());
    let flat = match (flat.as_slice(), judged) {
        ([], _) => None,
        ([one], true) => Some(format!("{one} stays flat and loses no line")),
        ([one], false) => Some(format!("{one} loses no line")),
        (several, true) => Some(format!("{} stay flat and lose no line", several.join(" and "))),
        (several, false) => Some(format!("{} lose no line", several.join(" and "))),
    };
    let controls =
        of(Expect::Leak).chain(of(Expect::Lose)).map(|(name, target)| format!("{name} {}", target.reason));
    flat.into_iter().chain(controls).collect::<Vec<_>>().join("; ")
}

/// A run that was cut short has not waited for what its targets had still to read or to send.
fn is_missed(target: &TargetResult, cut_short: bool) -> bool {
    let leaks = !named(&target.resources, Verdict::Fail).is_empty();
    let audit = target.audit.unwrap_or_default();
    let loses = audit.lost > 0 && !cut_short;
    let keeps = kept(&target.resources).next().is_some();
    let passes = target.figures.values().any(FigureResult::is_passed);
    leaks
        || keeps
        || loses
        || passes
        || audit.altered + audit.altered_copies > 0
        || target.stability.crashes > 0
}
