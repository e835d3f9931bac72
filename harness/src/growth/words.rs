//! Figures in words, for reasons that people read.

use crate::growth::account::{Account, Change};
use crate::growth::shape::Shape;

/// A rate with as many digits as it deserves; never "-0.00".
pub(crate) fn rate(per_min: f64) -> String {
    let digits = usize::from(per_min.abs() < 10.0) + 1;
    let rounded = format!("{per_min:.digits$}");
    let is_zero = rounded.chars().all(|c| matches!(c, '-' | '0' | '.'));
    if is_zero { rounded.trim_start_matches('-').to_owned() } else { rounded }
}

/// What changed once.
pub(crate) fn change(change: &Change) -> String {
    let size = change.size.per_min;
    match change.shape {
        Shape::Step { .. } => format!("one step of {size:+.0}"),
        Shape::Bump { .. } => format!("a passing {size:+.0}"),
        Shape::Knee { .. } => "a change of pace".to_owned(),
        Shape::Settling { .. } => format!("a settling by {size:+.0}"),
        Shape::Bend => "a pace that changes all the time".to_owned(),
    }
}

/// All that changed.
pub(crate) fn changes(all: &Account) -> String {
    all.changes.iter().map(change).collect::<Vec<_>>().join(" and ")
}

/// A length of time, to the unit that matters.
pub(crate) fn duration(seconds: f64) -> String {
    let (unit_s, unit) = match seconds {
        s if s < 120.0 => (1.0, "s"),
        s if s < 120.0 * 60.0 => (60.0, "min"),
        s if s < 72.0 * 3600.0 => (3600.0, "h"),
        _ => (86_400.0, "days"),
    };
    format!("{:.0} {unit}", seconds / unit_s)
}

#[cfg(test)]
mod tests {
    use super::{duration, rate};

    #[test]
    fn rates_have_the_digits_that_they_deserve() {
        assert_eq!([0.004, -0.004, 2.345, -12.34, 43.0].map(rate), ["0.00", "0.00", "2.35", "-12.3", "43.0"]);
    }

    #[test]
    fn durations_have_one_unit() {
        assert_eq!([45.0, 600.0, 30_000.0, 864_000.0].map(duration), ["45 s", "10 min", "8 h", "10 days"]);
    }
}
