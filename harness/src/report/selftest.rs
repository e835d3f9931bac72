//! What a selftest found, as tables for a terminal of 100 columns.

use super::figures;
use super::verdicts::{NOTHING, WIDTH, coloured, wrapped};
use super::view;
use crate::result::Resource;
use crate::result::selftest::{Agreement, Said, Selftest};

/// A line for each verdict, and its reason where it is not the one that was expected. With `colours` those stand out; a
/// word says it without them.
#[must_use]
pub fn table(selftest: &Selftest, colours: bool) -> String {
    let mut lines =
        vec![row(["resource", "leaks", "growth", "interval", "expected", "said"]).trim_end().to_owned()];
    for case in &selftest.cases {
        lines.push(format!("{}: {}", case.name, case.what));
        lines.extend(case.resources.iter().flat_map(|(resource, said)| verdict(*resource, said, colours)));
    }
    lines.push(summary(selftest));
    lines.join("\n")
}

fn row([resource, leaks, growth, interval, expected, said]: [&str; 6]) -> String {
    format!("  {resource:<9} {leaks:>8} {growth:>12} {interval:>18}  {expected:<9} {said}")
}

fn verdict(resource: Resource, said: &Said, colours: bool) -> Vec<String> {
    let nothing = || NOTHING.to_owned();
    let judged = &said.judgement;
    let mark = view::verdict(judged.verdict);
    let verdict = format!("{} {}", mark.sign, mark.word);
    let right = said.agreement == Agreement::Right;
    let verdict = if colours && !right { coloured(&verdict, judged.verdict) } else { verdict };
    let word = match said.agreement {
        Agreement::Right => "",
        Agreement::Wrong => "   WRONG",
        Agreement::Undecided => "   undecided",
    };
    let interval = judged.ci_low.zip(judged.ci_high).map(|(low, high)| figures::interval(low, high));
    let line = row([
        resource.key(),
        &figures::rate(said.leaks_per_min),
        &judged.growth_per_min.map_or_else(nothing, figures::growth),
        &interval.unwrap_or_else(nothing),
        said.expected.word(),
        &format!("{verdict}{word}"),
    ]);
    let reasons = if right { Vec::new() } else { wrapped(&judged.reason, WIDTH - 8) };
    [line].into_iter().chain(reasons.into_iter().map(|line| format!("        {line}"))).collect()
}

fn summary(selftest: &Selftest) -> String {
    let mark = view::outcome(selftest.outcome);
    format!(
        "\n{} {} (limit {}, {} at a sample each {} s)",
        mark.sign,
        selftest.reason,
        figures::rate(selftest.limit_per_min),
        figures::duration(selftest.length_s),
        selftest.every_s,
    )
}
