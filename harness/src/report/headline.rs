//! What a reader who has one minute is told: a sentence for each target, and who is better in what, by how much.

use std::collections::BTreeMap;

use serde::Serialize;

use super::figures;
use crate::result::{Pair, Resource, ResourceResult, RunResult, TargetResult, Verdict};

/// Costs that differ by less are alike: what one run measures is no closer.
const ALIKE: f64 = 1.1;

/// One target in one sentence: whether it leaks, what, how fast, and whether a line was lost.
pub(super) fn sentence(name: &str, target: &TargetResult) -> String {
    let mut parts = vec![growth(name, target), lines(target)];
    match target.stability.crashes {
        0 => {}
        1 => parts.push("it ended unasked".to_owned()),
        many => parts.push(format!("it ended unasked {many} times")),
    }
    format!("{}.", parts.join("; "))
}

fn growth(name: &str, target: &TargetResult) -> String {
    let of = |verdict| {
        let found = target.resources.iter().filter(move |(_, found)| found.judgement.verdict == verdict);
        found.collect::<Vec<_>>()
    };
    let leaking = of(Verdict::Fail);
    if let Some(leaks) = target.leaks.as_ref().filter(|_| !leaking.is_empty()) {
        return leaks.clone();
    }
    if !leaking.is_empty() {
        return format!("{name} leaks {}", listed(&leaking.iter().map(rate).collect::<Vec<_>>()));
    }
    for (verdict, said) in [(Verdict::Invalid, "can't be judged"), (Verdict::Inconclusive, "is not decided")]
    {
        let open = of(verdict);
        if !open.is_empty() {
            return format!(
                "{name} {said} in {}",
                listed(&open.iter().map(|(it, _)| word(**it)).collect::<Vec<_>>())
            );
        }
    }
    let most = target.resources.values().filter_map(|found| found.judgement.ci_high).reduce(f64::max);
    match most {
        Some(most) => {
            let most = figures::rate(most.max(0.0));
            format!("{name} stays flat: nothing grows by more than {most}, 95 % sure")
        }
        None if target.resources.is_empty() => format!("{name}: growth is not judged"),
        None => format!("{name} stays flat"),
    }
}

fn rate((resource, found): &(&Resource, &ResourceResult)) -> String {
    let growth = found.judgement.growth_per_min.map_or_else(String::new, figures::growth);
    format!("{} ({growth})", word(**resource))
}

fn word(resource: Resource) -> String {
    resource.title().to_lowercase()
}

fn lines(target: &TargetResult) -> String {
    let Some(audit) = target.audit else { return "what became of its lines is not known".to_owned() };
    let sent = figures::count(audit.sent);
    let altered = audit.altered + audit.altered_copies;
    let lost = match audit.lost {
        0 if audit.sent == 0 => "no line was written".to_owned(),
        0 => format!("no line of {sent} is lost"),
        lost => format!("{} of {sent} lines are lost", figures::count(lost)),
    };
    if altered > 0 { format!("{lost}, {} are altered", figures::count(altered)) } else { lost }
}

/// Who is better in one row of the comparison, and by how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Better {
    /// One or more names, or that nobody is.
    pub(super) who: String,
    /// By how much, or why that can't be said.
    pub(super) why: String,
}

impl Better {
    /// Where nobody has accounted for the lines.
    pub(super) fn unknown() -> Self {
        Self::new(&[], "not accounted for")
    }

    fn new(who: &[&str], why: impl Into<String>) -> Self {
        let who = if who.is_empty() { "no difference".to_owned() } else { listed(who) };
        Self { who, why: why.into() }
    }
}

/// Who grows least, by the title of the resource's row.
pub(super) fn growths(result: &RunResult) -> BTreeMap<&'static str, Better> {
    let row = |resource: Resource| {
        let judged = |name: &str| {
            result.verdict.targets.get(name).is_some_and(|target| target.resources.contains_key(&resource))
        };
        let names = result.manifest.targets.iter().map(String::as_str).filter(|name| judged(name));
        let better = match result.verdict.comparisons.get(&resource) {
            None => Better::new(&[], "not compared"),
            Some(comparison) => {
                let faster = comparison.pairs.iter().filter_map(faster).collect::<Vec<_>>();
                let (quick, least): (Vec<&str>, Vec<&str>) = names.partition(|name| faster.contains(name));
                let sentence = comparison.sentence.clone().unwrap_or_default();
                Better::new(if quick.is_empty() { &[] } else { &least }, sentence)
            }
        };
        (resource.title(), better)
    };
    Resource::ALL.into_iter().map(row).collect()
}

/// Who of two grows faster, beyond chance.
fn faster(pair: &Pair) -> Option<&str> {
    match pair {
        Pair { ci_low, first, .. } if *ci_low > 0.0 => Some(first),
        Pair { ci_high, second, .. } if *ci_high < 0.0 => Some(second),
        _ => None,
    }
}

/// Who stays flat, loses no line, alters none and never ends unasked.
pub(super) fn sound(result: &RunResult) -> Better {
    if result.verdict.is_unfinished() {
        return Better::unknown();
    }
    let names = result.manifest.targets.iter().map(String::as_str);
    let sound: Vec<&str> =
        names.filter(|name| result.verdict.targets.get(*name).is_some_and(is_sound)).collect();
    let judged = result.verdict.targets.values().any(|target| !target.resources.is_empty());
    let flat = if judged { "stays flat, " } else { "" };
    let why = match sound.as_slice() {
        [] => format!("no target {flat}loses no line and never crashes"),
        [_] => format!("alone {flat}loses no line and never crashes"),
        _ => format!("each {flat}loses no line and never crashes"),
    };
    Better::new(&sound, why)
}

fn is_sound(target: &TargetResult) -> bool {
    let passes = target.resources.values().all(|found| found.judgement.verdict == Verdict::Pass);
    let audit = target.audit.unwrap_or_default();
    passes && audit.lost + audit.altered + audit.altered_copies == 0 && target.stability.crashes == 0
}

/// Who has the least of what there should be none of.
pub(super) fn fewest(counts: &[(&str, u64)]) -> Better {
    let least = counts.iter().map(|(_, count)| *count).min().unwrap_or(0);
    let who: Vec<&str> = counts.iter().filter(|(_, count)| *count == least).map(|(name, _)| *name).collect();
    if who.len() == counts.len() {
        return Better::new(&[], "");
    }
    let next = counts.iter().map(|(_, count)| *count).filter(|count| *count > least).min().unwrap_or(least);
    Better::new(&who, format!("by {} at least", figures::count(next - least)))
}

/// Who takes least: one figure for each target, which no interval goes with.
pub(super) fn cheapest(costs: &[(&str, f64)]) -> Better {
    let least = costs.iter().map(|(_, cost)| *cost).fold(f64::INFINITY, f64::min);
    let is_alike = |cost: f64| cost <= least * ALIKE;
    let more = costs.iter().filter(|(_, cost)| !is_alike(*cost));
    let Some((next, cost)) = more.min_by(|a, b| a.1.total_cmp(&b.1)).filter(|_| least > 0.0) else {
        return Better::new(&[], "");
    };
    let alike = costs.iter().filter(|(_, cost)| is_alike(*cost));
    let who: Vec<&str> = alike.map(|(name, _)| *name).collect();
    Better::new(
        &who,
        format!("{next} takes {:.1} times as much; single figures, without an interval", cost / least),
    )
}

/// Names in a sentence.
fn listed(names: &[impl AsRef<str>]) -> String {
    match names {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{run, troubled};
    use super::*;

    const NAMES: [&str; 3] = ["pool", "hybrid", "archived"];

    fn said(run: &RunResult, name: &str) -> String {
        sentence(name, &run.verdict.targets[name])
    }

    #[test]
    fn a_sentence_says_what_leaks_how_fast_and_whether_a_line_is_lost() {
        let mut run = run(NAMES);
        assert_eq!(
            said(&run, "pool"),
            "pool stays flat: nothing grows by more than 0.17/min, 95 % sure; no line of 21,600 is lost."
        );
        let leaks = "archived leaks 43.1 tasks/min, 98 % of kind retry, 0.98 per rejected push; and 10.0 FDs/min, \
                     all inotify instances, one per started container; 12 of 21,600 lines are lost.";
        assert_eq!(said(&run, "archived"), leaks);
        run.verdict.targets.get_mut("archived").unwrap().leaks = None;
        let leaks = "archived leaks tasks (+43.1/min) and file descriptors (+10.0/min); \
                     12 of 21,600 lines are lost.";
        assert_eq!(said(&run, "archived"), leaks);
        let troubled = said(&troubled(), "hybrid");
        assert!(troubled.starts_with("hybrid can't be judged in threads; 3 of"), "{troubled}");
        assert!(troubled.ends_with("it ended unasked 2 times."), "{troubled}");
    }

    #[test]
    fn better_is_who_is_told_apart_from_another_and_by_how_much() {
        let run = run(NAMES);
        let growths = growths(&run);
        assert_eq!(growths["Tasks"].who, "pool and hybrid");
        assert!(growths["Tasks"].why.contains("at least 64 times faster"), "{growths:?}");
        assert_eq!(
            (growths["Threads"].who.as_str(), growths["Threads"].why.as_str()),
            ("no difference", "not compared")
        );
        assert_eq!(sound(&run).who, "pool and hybrid");
        assert_eq!(fewest(&[("a", 0), ("b", 12), ("c", 3)]), Better::new(&["a"], "by 3 at least"));
        assert_eq!(fewest(&[("a", 0), ("b", 0)]).who, "no difference");
        let cheap = cheapest(&[("a", 3.0), ("b", 1.5), ("c", 1.6)]);
        assert_eq!(cheap.who, "b and c");
        assert!(cheap.why.starts_with("a takes 2.0 times as much"), "{cheap:?}");
        assert_eq!(cheapest(&[]).who, "no difference");
    }
}
