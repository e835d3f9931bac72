//! Figures of a measure for people, each in its unit.

use super::figures;
use crate::result::{Measure, Sort};

/// A value: `+0.02/min`, `1,002 lines/s`, `512 ms`, `41.3 MiB`.
pub(super) fn value(measure: Measure, value: f64) -> String {
    match measure.sort() {
        Sort::Growth => figures::growth(value),
        Sort::Throughput => format!("{} lines/s", figures::significant(value)),
        Sort::Latency => figures::latency(value),
        Sort::Cpu => format!("{} s", figures::significant(value)),
        Sort::Memory => figures::bytes(whole(value)),
        Sort::Lines | Sort::Duplicates | Sort::Crashes => figures::level(value),
    }
}

/// A difference with its sign.
pub(super) fn change(measure: Measure, by: f64) -> String {
    match measure.sort() {
        Sort::Growth => figures::growth(by),
        Sort::Throughput => format!("{} lines/s", signed(by)),
        Sort::Latency => format!("{}{}", sign(by), figures::latency(by.abs())),
        Sort::Cpu => format!("{} s", signed(by)),
        Sort::Memory => format!("{}{}", sign(by), figures::bytes(whole(by.abs()))),
        Sort::Lines | Sort::Duplicates | Sort::Crashes => signed(by),
    }
}

/// An interval of a difference or of a value.
pub(super) fn interval(measure: Measure, low: f64, high: f64) -> String {
    match measure.sort() {
        Sort::Growth => figures::interval(low, high),
        Sort::Memory => format!("{} MiB", figures::interval(low / MEBI, high / MEBI)),
        Sort::Latency => format!("{} ms", figures::interval(low * 1e3, high * 1e3)),
        Sort::Throughput | Sort::Cpu => figures::interval(low, high),
        Sort::Lines | Sort::Duplicates | Sort::Crashes => figures::interval(low, high),
    }
}

/// The smallest difference that matters, without a sign.
pub(super) fn matters(measure: Measure, by: f64) -> String {
    match measure.sort() {
        Sort::Lines | Sort::Crashes => "each one".to_owned(),
        Sort::Growth => figures::rate(by),
        Sort::Throughput | Sort::Latency | Sort::Cpu | Sort::Memory | Sort::Duplicates => value(measure, by),
    }
}

/// How much of the baseline a difference is: `+20 %`; of growth, which is about zero, a share means nothing.
pub(super) fn share(measure: Measure, baseline: f64, by: f64) -> Option<String> {
    let shown = matches!(measure.sort(), Sort::Throughput | Sort::Latency | Sort::Cpu | Sort::Memory);
    (shown && baseline > 0.0).then(|| format!("{}{}", sign(by), figures::percent((by / baseline).abs())))
}

/// What a round number of a measure is round in.
pub(super) fn unit(measure: Measure) -> f64 {
    if measure.sort() == Sort::Memory { MEBI } else { 1.0 }
}

const MEBI: f64 = 1_048_576.0;

fn sign(by: f64) -> &'static str {
    if by < 0.0 {
        "\u{2212}"
    } else if by > 0.0 {
        "+"
    } else {
        ""
    }
}

fn signed(by: f64) -> String {
    format!("{}{}", sign(by), figures::significant(by.abs()))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_measure_has_its_unit() {
        let shown = |measure, of: f64| format!("{}, {}", value(measure, of), change(measure, -of));
        assert_eq!(shown(Measure::FdsGrowth, 0.034), "+0.03/min, −0.03/min");
        assert_eq!(shown(Measure::LinesPerSecond, 78.91), "78.9 lines/s, −78.9 lines/s");
        assert_eq!(shown(Measure::LatencyP99, 0.512), "512 ms, −512 ms");
        assert_eq!(shown(Measure::CpuPerMillionLines, 2.941), "2.94 s, −2.94 s");
        assert_eq!(shown(Measure::RssMax, 43_306_189.0), "41.3 MiB, −41.3 MiB");
        assert_eq!(shown(Measure::Lost, 3.0), "3, −3");
        assert_eq!(share(Measure::RssMax, 10.0, -2.0).as_deref(), Some("−20.0 %"));
        assert_eq!(share(Measure::TasksGrowth, 10.0, -2.0), None);
    }
}
