//! What each process cost, in figures and in words.

use serde::Serialize;

use super::figures;
use crate::result::RunResult;

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
    let sampled = names.filter(|name| result.samples.iter().any(|sample| sample.target == *name));
    sampled.map(|name| cost(result, name)).collect()
}

/// What each target cost that has a column.
pub(super) fn target_costs(result: &RunResult) -> Vec<Cost> {
    let names = result.manifest.targets.iter().filter(|name| result.verdict.targets.contains_key(*name));
    names.map(|name| cost(result, name)).collect()
}

/// What the process of this name cost.
pub(super) fn cost(result: &RunResult, name: &str) -> Cost {
    let samples: Vec<_> = result.samples.iter().filter(|sample| sample.target == name).collect();
    let cpu: Vec<f64> = samples.iter().filter_map(|sample| sample.cpu_seconds).collect();
    let used = used(&cpu);
    let time =
        samples.last().zip(samples.first()).map_or(0.0, |(last, first)| last.elapsed_s - first.elapsed_s);
    let first_used = cpu.first().copied().unwrap_or(0.0);
    let share = if time > 0.0 { (used - first_used) / time } else { 0.0 };
    let peak = samples.iter().filter_map(|sample| sample.rss_bytes).max();
    let measured = !cpu.is_empty();
    Cost {
        name: name.to_owned(),
        cpu: if measured { figures::cpu(used) } else { NOTHING.to_owned() },
        cpu_s: measured.then_some(used),
        rss_bytes: peak,
        share: if measured { figures::percent(share) } else { NOTHING.to_owned() },
        rss: peak.map_or(NOTHING.to_owned(), figures::bytes),
        threads: ends(samples.iter().filter_map(|sample| sample.threads)),
        fds: ends(samples.iter().filter_map(|sample| sample.fds)),
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
