//! What each target used while it was looked at, and the harness itself: the series that nobody loads.

use serde::Serialize;

use super::figures;
use crate::result::{Count, Moment, RunResult};

/// What stands where nothing was measured.
pub(super) const NOTHING: &str = "–";

/// What the process of a target, or the harness itself, cost.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Cost {
    pub(super) name: String,
    pub(super) cpu: String,
    pub(super) cpu_s: Option<f64>,
    pub(super) share: String,
    pub(super) rss: String,
    pub(super) rss_bytes: Option<u64>,
    pub(super) threads: String,
    pub(super) fds: String,
}

/// What each target cost, and at last what the harness itself cost: the series that nobody loads.
pub(super) fn costs(result: &RunResult) -> Vec<Cost> {
    let names = result.manifest.targets.iter().map(String::as_str).chain(["flatline"]);
    let sampled = names.filter(|name| result.samples.of(name).is_some());
    sampled.map(|name| of(result, name)).collect()
}

/// What each target cost that has a column.
pub(super) fn target_costs(result: &RunResult) -> Vec<Cost> {
    let names = result.manifest.targets.iter().filter(|name| result.verdict.targets.contains_key(*name));
    names.map(|name| of(result, name)).collect()
}

/// What one of them cost, in words.
pub(super) fn of(result: &RunResult, name: &str) -> Cost {
    let used = used_by(result, name);
    let counts = |count| result.samples.moments(name).filter_map(move |sample| sample.count(count));
    Cost {
        name: name.to_owned(),
        cpu: used.cpu_s.map_or(NOTHING.to_owned(), figures::cpu),
        cpu_s: used.cpu_s,
        share: used.cpu_share.map_or(NOTHING.to_owned(), figures::percent),
        rss: used.rss_bytes.map_or(NOTHING.to_owned(), figures::bytes),
        rss_bytes: used.rss_bytes,
        threads: ends(counts(Count::Threads)),
        fds: ends(counts(Count::Fds)),
    }
}

/// What a process used, in figures. `None` where nothing was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Used {
    /// CPU time of all its lives, seconds.
    pub(super) cpu_s: Option<f64>,
    /// Of one core, while it was looked at.
    pub(super) cpu_share: Option<f64>,
    /// The most resident memory.
    pub(super) rss_bytes: Option<u64>,
    /// How long it was looked at, seconds.
    pub(super) seconds: f64,
}

/// What the process of a target, or the harness itself, used.
pub(super) fn used_by(result: &RunResult, name: &str) -> Used {
    let samples = result.samples.moments(name);
    let cpu: Vec<f64> = samples.clone().filter_map(Moment::cpu_seconds).collect();
    let ends = samples.clone().last().zip(samples.clone().next());
    let seconds = ends.map_or(0.0, |(last, first)| last.elapsed_s() - first.elapsed_s());
    let first = cpu.first().copied();
    let share = |first| if seconds > 0.0 { (used(&cpu) - first) / seconds } else { 0.0 };
    Used {
        cpu_s: first.map(|_| used(&cpu)),
        cpu_share: first.map(share),
        rss_bytes: samples.filter_map(|sample| sample.count(Count::RssBytes)).max(),
        seconds,
    }
}

/// CPU time over all of a target's processes: a restart begins at zero again.
fn used(cpu: &[f64]) -> f64 {
    let finished = cpu.iter().zip(cpu.iter().skip(1)).filter(|(before, after)| after < before);
    finished.map(|(before, _)| before).sum::<f64>() + cpu.last().copied().unwrap_or(0.0)
}

fn ends(mut counts: impl Iterator<Item = u64>) -> String {
    let Some(first) = counts.next() else { return NOTHING.to_owned() };
    let last = counts.last().unwrap_or(first);
    format!("{} → {}", figures::count(first), figures::count(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_adds_up_over_restarts() {
        assert!((used(&[1.0, 2.0, 0.5, 1.5]) - 3.5).abs() < 1e-9);
        assert!(used(&[]).abs() < 1e-9);
    }
}
