//! Verdicts on any series as a table for a terminal of 100 columns.

use std::collections::BTreeMap;

use super::figures;
use super::panel::short;
use super::view;
use crate::result::{Judgement, Verdict};

/// Letters of a line.
pub(super) const WIDTH: usize = 100;
/// Letters of a target's name, and of a column's.
const NAMES: (usize, usize) = (13, 12);
/// What stands where nothing was measured.
pub(super) const NOTHING: &str = "–";

/// Renders them, by target and by column: a line of figures, and the reason below it. With `colours` the verdict
/// stands out; a sign says it without them.
#[must_use]
pub fn verdicts(targets: &BTreeMap<String, BTreeMap<String, Judgement>>, colours: bool) -> String {
    let head = row(["target", "column", "growth", "interval", "limit", "floor", "warm-up", "verdict"]);
    let mut lines = vec![head.trim_end().to_owned()];
    for (target, judgements) in targets {
        for (column, judged) in judgements {
            lines.push(figures_of(target, column, judged, colours));
            lines.extend(
                wrapped(&printable(&judged.reason), WIDTH - 4).into_iter().map(|line| format!("    {line}")),
            );
        }
    }
    lines.join("\n")
}

fn row([target, column, growth, interval, limit, floor, warmup, verdict]: [&str; 8]) -> String {
    let (wide, narrow) = NAMES;
    format!(
        "{target:<wide$} {column:<narrow$} {growth:>11} {interval:>16} {limit:>8} {floor:>8} {warmup:>10}  {verdict}"
    )
}

fn figures_of(target: &str, column: &str, judged: &Judgement, colours: bool) -> String {
    let nothing = || NOTHING.to_owned();
    let mark = view::verdict(judged.verdict);
    let verdict = format!("{} {}", mark.sign, mark.word);
    let interval = judged.ci_low.zip(judged.ci_high).map(|(low, high)| figures::interval(low, high));
    row([
        &short(&printable(target), NAMES.0),
        &short(&printable(column), NAMES.1),
        &judged.growth_per_min.map_or_else(nothing, figures::growth),
        &interval.unwrap_or_else(nothing),
        &figures::rate(judged.limit_per_min),
        &judged.floor_per_min.map_or_else(nothing, floor),
        &figures::duration(judged.warmup_s),
        &if colours { coloured(&verdict, judged.verdict) } else { verdict },
    ])
}

/// A floor is never nothing, however fine.
fn floor(per_min: f64) -> String {
    if per_min < 0.005 { "<0.01/min".to_owned() } else { figures::rate(per_min) }
}

/// Not red beside green, which many can't tell apart: blue, red, yellow.
pub(super) fn coloured(text: &str, verdict: Verdict) -> String {
    let code = match verdict {
        Verdict::Pass => "34",
        Verdict::Fail => "31",
        Verdict::Inconclusive | Verdict::Invalid => "33",
    };
    format!("\u{1b}[1;{code}m{text}\u{1b}[0m")
}

/// A name from a file, without what a terminal would obey.
fn printable(text: &str) -> String {
    text.replace(char::is_control, "?")
}

/// Words in lines of so many letters.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judgement(verdict: Verdict, growth: Option<f64>) -> Judgement {
        Judgement {
            growth_per_min: growth,
            ci_low: growth.map(|growth| growth - 0.42),
            ci_high: growth.map(|growth| growth + 0.42),
            limit_per_min: 2.0,
            verdict,
            floor_per_min: growth.map(|_| 1.0),
            reason: "43.0 per minute (42.6 to 43.4) beside one step of +12 at 80 s: above the limit of 2, \
                     but so few units may have come by chance; a run twice as long would settle it"
                .to_owned(),
            warmup_s: 30.0,
            decided_at_s: None,
        }
    }

    fn table(colours: bool) -> String {
        let long = "a-target-with-a-very-long-name";
        let of = |verdict, growth| BTreeMap::from([("fds".to_owned(), judgement(verdict, growth))]);
        let targets = BTreeMap::from([
            (long.to_owned(), of(Verdict::Fail, Some(-1234.5))),
            ("\u{1b}[2J".to_owned(), of(Verdict::Invalid, None)),
            ("pool".to_owned(), of(Verdict::Inconclusive, Some(0.02))),
        ]);
        verdicts(&targets, colours)
    }

    #[test]
    fn a_table_fits_a_terminal_and_obeys_no_name() {
        let table = table(false);
        assert!(table.lines().all(|line| line.chars().count() <= WIDTH), "{table}");
        assert!(!table.contains('\u{1b}') && table.contains("?[2J"), "{table}");
        insta::assert_snapshot!("verdicts", table);
    }

    #[test]
    fn colours_add_nothing_but_colours() {
        let coloured = table(true);
        assert!(coloured.contains("\u{1b}[1;31m✗ fail\u{1b}[0m"), "{coloured}");
        let plain = coloured.replace("\u{1b}[0m", "");
        let plain = ["31", "33", "34"]
            .iter()
            .fold(plain, |text, code| text.replace(&format!("\u{1b}[1;{code}m"), ""));
        assert_eq!(plain, table(false));
    }
}
