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
        "\n{} {} (limit {}, {}, a sample every {} s)",
        mark.sign,
        selftest.reason,
        figures::rate(selftest.limit_per_min),
        figures::duration(selftest.length_s),
        selftest.every_s,
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::result::selftest::Case;
    use crate::result::{Judgement, Outcome, Verdict};

    fn said(leaks_per_min: f64, expected: Verdict, verdict: Verdict, growth: Option<f64>) -> Said {
        let reason = "20.0 per minute (19.6 to 20.4) beside one step of +12 at 80 s: above the limit of 2, but so few \
                      units may have come by chance; a run twice as long would settle it";
        let judgement = Judgement {
            growth_per_min: growth,
            ci_low: growth.map(|growth| growth - 0.42),
            ci_high: growth.map(|growth| growth + 0.42),
            limit_per_min: 2.0,
            verdict,
            floor_per_min: None,
            reason: reason.to_owned(),
            warmup_s: 0.0,
            decided_at_s: None,
        };
        Said { leaks_per_min, expected, agreement: Agreement::of(verdict, expected), judgement }
    }

    fn selftest() -> Selftest {
        let resources = BTreeMap::from([
            (Resource::Tasks, said(0.0, Verdict::Pass, Verdict::Pass, Some(0.02))),
            (Resource::Threads, said(0.0, Verdict::Pass, Verdict::Fail, Some(-1234.5))),
            (Resource::Fds, said(20.0, Verdict::Fail, Verdict::Invalid, None)),
        ]);
        let case = Case { name: "fds".to_owned(), what: "leaks file descriptors".to_owned(), resources };
        Selftest {
            schema: 1,
            outcome: Outcome::Missed,
            reason: "the judge was wrong about threads of fds".to_owned(),
            cut_short: false,
            length_s: 120.4,
            every_s: 1.0,
            limit_per_min: 2.0,
            cases: vec![case],
        }
    }

    #[test]
    fn what_is_not_as_expected_stands_out_with_its_reason() {
        let table = table(&selftest(), false);
        assert!(table.lines().all(|line| line.chars().count() <= WIDTH), "{table}");
        assert_eq!(table.matches("beside one step").count(), 2, "{table}");
        insta::assert_snapshot!("selftest", table);
    }

    #[test]
    fn only_what_is_not_as_expected_is_coloured() {
        assert_eq!(table(&selftest(), true).matches("\u{1b}[1;").count(), 2);
    }
}
