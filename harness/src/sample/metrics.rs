//! Prometheus text, as far as it is needed: the sum of all series of one name.
//!
//! Format: <https://prometheus.io/docs/instrumenting/exposition_formats/>, and OpenMetrics, whose
//! lines are the same here.

/// Adds up every series called `name`. `None` where there is none, or none that is a number.
#[must_use]
pub fn sum(text: &str, name: &str) -> Option<f64> {
    let values = text.lines().filter_map(|line| value_of(line, name));
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

fn value_of(line: &str, name: &str) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    let rest = match rest.strip_prefix('{') {
        Some(labels) => labels.split_once('}').map(|_| after_labels(labels))??,
        None if rest.starts_with([' ', '\t']) => rest,
        None => return None,
    };
    rest.split_ascii_whitespace().next()?.parse().ok().filter(|value: &f64| value.is_finite())
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
    let sum = sum(text, name)?.round();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked: in range and whole"
    )]
    (0.0..9.0e15).contains(&sum).then_some(sum as u64)
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
    fn what_is_no_number_is_no_value() {
        assert_eq!(sum(TEXT, "broken"), None);
        assert_eq!(count("x -1\n", "x"), None);
        assert_eq!(count("x NaN\n", "x"), None);
    }
}
