//! How long lines take from where they are written to where they are stored. Bounded: a histogram.

use hdrhistogram::Histogram;

use crate::result::Latency;

/// Longer than any run waits for a line.
const MAX_US: u64 = 7 * 24 * 3600 * 1_000_000;
/// Three digits of each figure are exact.
const DIGITS: u8 = 3;

/// The times of all lines that were written from some moment on.
#[derive(Clone, Debug, PartialEq)]
pub struct Latencies {
    histogram: Histogram<u64>,
    from_ns: i64,
}

impl Default for Latencies {
    /// Of all lines.
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "the bounds are constants, and the tests make one")]
        let histogram =
            Histogram::new_with_bounds(1, MAX_US, DIGITS).expect("1 < MAX_US, and 3 digits are few");
        Self { histogram, from_ns: i64::MIN }
    }
}

impl Latencies {
    /// Only lines written from this time on count: what was there before waited for nobody.
    pub fn count_from(&mut self, ns: i64) {
        self.histogram.reset();
        self.from_ns = ns;
    }

    /// A line that was written at the one time is stored at the other, in nanoseconds since the epoch. A clock
    /// that was set back makes no time negative.
    pub fn record(&mut self, written_ns: i64, stored_ns: i64) {
        if written_ns >= self.from_ns {
            let us = u64::try_from(stored_ns.saturating_sub(written_ns) / 1000).unwrap_or(0);
            self.histogram.saturating_record(us.max(1));
        }
    }

    /// In figures; `None` where no line counts.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a week in microseconds is far below 2^53")]
    pub fn figures(&self) -> Option<Latency> {
        let at = |quantile| self.histogram.value_at_quantile(quantile) as f64 / 1e6;
        (!self.histogram.is_empty()).then(|| Latency {
            lines: self.histogram.len(),
            p50_s: at(0.5),
            p99_s: at(0.99),
            p99_9_s: at(0.999),
            max_s: self.histogram.max() as f64 / 1e6,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn quantiles_are_those_of_the_lines_that_count() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.figures(), None);
        latencies.record(0, 1000 * MS);
        latencies.count_from(10 * MS);
        latencies.record(9 * MS, 5000 * MS);
        (1..=1000).for_each(|ms| latencies.record(10 * MS, (10 + ms) * MS));
        let figures = latencies.figures().unwrap();
        assert_eq!(figures.lines, 1000);
        let close = |found: f64, wanted: f64| (found / wanted - 1.0).abs() < 0.002;
        assert!(close(figures.p50_s, 0.5) && close(figures.p99_s, 0.99), "{figures:?}");
        assert!(close(figures.p99_9_s, 0.999) && close(figures.max_s, 1.0), "{figures:?}");
    }

    #[test]
    fn a_clock_that_is_set_back_and_a_line_of_last_year_are_within_the_bounds() {
        let mut latencies = Latencies::default();
        latencies.record(10 * MS, 5 * MS);
        latencies.record(0, i64::MAX);
        let figures = latencies.figures().unwrap();
        assert!(figures.p50_s < 0.001 && figures.max_s > 600_000.0, "{figures:?}");
    }
}
