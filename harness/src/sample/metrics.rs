//! Prometheus text, as far as it is needed: the sum of all series of one name, and their values by a label.
//!
//! Format: <https://prometheus.io/docs/instrumenting/exposition_formats/>, and OpenMetrics, whose
//! lines are the same here.

use std::collections::BTreeMap;

/// Adds up every series called `name`. `None` where there is none, or none that is a number.
#[must_use]
pub fn sum(text: &str, name: &str) -> Option<f64> {
    let values = text.lines().filter_map(|line| series(line, name)).map(|(_, value)| value);
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

/// The counts of the series called `name` by the value of a label; those that are zero or lack it are left out.
#[must_use]
pub fn counts_by(text: &str, name: &str, label: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for (labels, value) in text.lines().filter_map(|line| series(line, name)) {
        if let (Some(of), Some(count)) = (value_of(labels, label), whole(value).filter(|count| *count > 0)) {
            *counts.entry(of.to_owned()).or_default() += count;
        }
    }
    counts
}

/// The counts of the series called `name` by the values of all their labels, a space between them. Those that are zero
/// stand there as well, those without labels don't.
#[must_use]
pub fn counts_by_labels(text: &str, name: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for (labels, value) in text.lines().filter_map(|line| series(line, name)) {
        let values: Vec<&str> = pairs(labels).map(|(_, value)| value).collect();
        if let (false, Some(count)) = (values.is_empty(), whole(value)) {
            *counts.entry(values.join(" ")).or_default() += count;
        }
    }
    counts
}

/// The value of a label, as it is written.
fn value_of<'a>(labels: &'a str, label: &str) -> Option<&'a str> {
    pairs(labels).find(|(name, _)| *name == label).map(|(_, value)| value)
}

/// The labels with their values, as they are written.
fn pairs(labels: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = labels;
    std::iter::from_fn(move || {
        let (name, value) = rest.split_once("=\"")?;
        let end = closing_quote(value)?;
        rest = value.get(end + 1..)?;
        Some((name.trim_start_matches([',', ' ']), value.get(..end)?))
    })
}

fn closing_quote(value: &str) -> Option<usize> {
    let mut escaped = false;
    value.char_indices().find_map(|(at, character)| {
        let closes = character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
        closes.then_some(at)
    })
}

/// The labels and the value of a line of this name.
fn series<'a>(line: &'a str, name: &str) -> Option<(&'a str, f64)> {
    let rest = line.strip_prefix(name)?;
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(labels) => {
            let rest = after_labels(labels)?;
            (labels.get(..labels.len() - rest.len() - 1)?, rest)
        }
        None if rest.starts_with([' ', '\t']) => ("", rest),
        None => return None,
    };
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    f64::is_finite(value).then_some((labels, value))
}

/// A `}` inside a label's quoted value does not end the labels.
fn after_labels(labels: &str) -> Option<&str> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, character) in labels.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '}' if !quoted => return labels.get(at + 1..),
            _ => {}
        }
    }
    None
}

/// A count: a sum that is a whole number of at least zero.
#[must_use]
pub fn count(text: &str, name: &str) -> Option<u64> {
    whole(sum(text, name)?)
}

fn whole(value: f64) -> Option<u64> {
    let value = value.round();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked: in range and whole"
    )]
    (0.0..9.0e15).contains(&value).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP lines_total Lines.\n# TYPE lines_total counter\n\
        lines_total{reason=\"too_old\"} 3\nlines_total{reason=\"odd } \\\" value\"} 4 1700000000\n\
        lines_total_created 17\ntasks 12\nbroken x\n";

    #[test]
    fn all_series_of_a_name_are_added_up() {
        assert_eq!(count(TEXT, "lines_total"), Some(7));
        assert_eq!(count(TEXT, "tasks"), Some(12));
    }

    #[test]
    fn a_name_is_not_taken_for_the_beginning_of_another() {
        assert_eq!(sum(TEXT, "lines"), None);
        assert_eq!(sum(TEXT, "task"), None);
    }

    #[test]
    fn series_are_told_apart_by_a_label() {
        let text = "x{a=\"1\",reason=\"old\"} 3\nx{reason=\"old\"} 2\nx{reason=\"q\\\"}\"} 1\nx{other=\"reason\"} 7\nx{reason=\"none\"} 0\n";
        let by = counts_by(text, "x", "reason");
        let pairs: Vec<(&str, u64)> = by.iter().map(|(of, count)| (of.as_str(), *count)).collect();
        assert_eq!(pairs, [("old", 5), ("q\\\"}", 1)]);
    }

    #[test]
    fn series_are_told_apart_by_all_their_labels() {
        let text =
            "x{a=\"1\",kind=\"old\"} 3\nx{a=\"1\",kind=\"new\"} 0\nx 7\nx{a=\"1\",kind=\"old\"} 1\nx{} 2\n";
        let by = counts_by_labels(text, "x");
        let pairs: Vec<(&str, u64)> = by.iter().map(|(of, count)| (of.as_str(), *count)).collect();
        assert_eq!(pairs, [("1 new", 0), ("1 old", 4)]);
    }

    #[test]
    fn what_is_no_number_is_no_value() {
        assert_eq!(sum(TEXT, "broken"), None);
        assert_eq!(count("x -1\n", "x"), None);
        assert_eq!(count("x NaN\n", "x"), None);
    }
}
