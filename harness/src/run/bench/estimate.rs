//! From the values of several trials to a figure: pure.
//!
//! The interval of the median is made of two of the values, whatever their distribution is: of n independent values, the
//! k-th least and the k-th greatest enclose the median of the distribution unless at least n − k + 1 of them fell on one
//! side of it, as n − k + 1 of n coins do (David and Nagaraja, "Order Statistics", section 7.1).

use statrs::distribution::{Binomial, DiscreteCDF};

use crate::result::bench::Estimated;

/// How sure the interval is to be, where there are enough values.
const CONFIDENCE: f64 = 0.9;

/// The median and its interval; `None` where there is no value that is a number.
#[must_use]
pub(super) fn estimate(values: &[f64]) -> Option<Estimated> {
    let values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let mut sorted = values.clone();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len();
    let (below, above) = (sorted.get(count.checked_sub(1)? / 2)?, sorted.get(count / 2)?);
    let median = f64::midpoint(*below, *above);
    let (inside, confidence) = narrowest(count);
    let (low, high) = (*sorted.get(inside)?, *sorted.get(count - 1 - inside)?);
    Some(Estimated { median, low, high, confidence, values })
}

/// How many values are left out at either end so that what is left is as narrow as it may be, and how sure it is then.
fn narrowest(count: usize) -> (usize, f64) {
    let sure = |inside: usize| confidence(count, inside);
    let most = count.saturating_sub(1) / 2;
    let inside = (0..=most).rev().find(|inside| sure(*inside) >= CONFIDENCE).unwrap_or(0);
    (inside, sure(inside))
}

/// Of `count` values, `inside` left out at either end.
fn confidence(count: usize, inside: usize) -> f64 {
    let coins = Binomial::new(0.5, count as u64);
    coins.map_or(0.0, |coins| (1.0 - 2.0 * coins.cdf(inside as u64)).max(0.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64]) -> (f64, f64, f64) {
        let found = estimate(values).unwrap();
        (found.median, found.low, found.high)
    }

    #[test]
    fn the_interval_of_few_values_is_all_of_them_with_its_own_confidence() {
        let five = estimate(&[5.0, 1.0, 3.0, 2.0, 4.0]).unwrap();
        assert_eq!((five.median, five.low, five.high), (3.0, 1.0, 5.0));
        assert!((five.confidence - 0.9375).abs() < 1e-9, "{}", five.confidence);
        assert_eq!(five.values, [5.0, 1.0, 3.0, 2.0, 4.0], "as they came");
        let three = estimate(&[1.0, 2.0, 9.0]).unwrap();
        assert!((three.confidence - 0.75).abs() < 1e-9);
        let one = estimate(&[7.0]).unwrap();
        assert_eq!((one.low, one.high), (7.0, 7.0));
        assert!(one.confidence < 1e-9, "{}", one.confidence);
    }

    #[test]
    fn with_more_values_the_outermost_are_left_out() {
        let eight: Vec<f64> = (1..=8).map(f64::from).collect();
        let found = estimate(&eight).unwrap();
        assert_eq!((found.median, found.low, found.high), (4.5, 2.0, 7.0));
        assert!((found.confidence - 0.9297).abs() < 1e-3, "{}", found.confidence);
    }

    #[test]
    fn what_is_no_number_is_left_out_and_of_nothing_there_is_no_figure() {
        assert_eq!(of(&[f64::NAN, 4.0, f64::INFINITY]), (4.0, 4.0, 4.0));
        assert_eq!(estimate(&[]), None);
        assert_eq!(estimate(&[f64::NAN]), None);
    }

    proptest! {
        #[test]
        fn the_median_lies_within_and_the_interval_is_as_sure_as_it_can_be(
            values in proptest::collection::vec(-1e6_f64..1e6, 1..60),
        ) {
            let found = estimate(&values).unwrap();
            prop_assert!(found.low <= found.median && found.median <= found.high);
            prop_assert!(values.len() < 5 || found.confidence >= CONFIDENCE);
            prop_assert!(values.contains(&found.low) && values.contains(&found.high));
        }
    }
}
