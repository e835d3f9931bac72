//! `benchmark.json`: the figures of whoever must stay flat, as github-action-benchmark reads them
//! (`tool: customSmallerIsBetter`), so that a chart shows them from commit to commit.
//!
//! Controls are left out: of a leak that must be seen, smaller is not better.

use serde::Serialize;

use super::figures;
use super::{cost, view};
use crate::result::{Expect, Resource, RunResult, TargetResult};

/// One figure. Its name is the key from one commit to the next.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Entry {
    name: String,
    unit: &'static str,
    value: f64,
    /// Half the interval's width, as the action shows it: `± 0.15`.
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<String>,
    extra: String,
}

/// Renders it.
pub(super) fn render(result: &RunResult) -> serde_json::Result<String> {
    let flat = view::targets(result).into_iter().filter(|(_, _, target)| target.expect == Expect::Flat);
    let entries: Vec<Entry> = flat.flat_map(|(_, name, target)| of_target(result, name, target)).collect();
    serde_json::to_string_pretty(&entries).map(|text| text + "\n")
}

fn of_target(result: &RunResult, name: &str, target: &TargetResult) -> Vec<Entry> {
    let compressed = result.manifest.compression.as_ref();
    let compressed =
        compressed.map_or_else(String::new, |by| format!(", time compressed {} times", by.times));
    let about = format!("{} at commit {}{compressed}", result.manifest.scenario, result.manifest.commit);
    let entry = |what: &str, unit, value: f64, extra: String| Entry {
        name: format!("{name}: {what}"),
        unit,
        value,
        range: None,
        extra: format!("{extra}\n{about}"),
    };
    let growth = |resource: &Resource| {
        let judged = &target.resources.get(resource)?.judgement;
        let half = judged.ci_low.zip(judged.ci_high).map(|(low, high)| (high - low) / 2.0);
        let said = format!("{}, limit {}", judged.verdict.word(), figures::rate(judged.limit_per_min));
        let what = format!("{} growth", resource.title().to_lowercase());
        let range = half.map(|half| format!("± {half:.2}"));
        Some(Entry { range, ..entry(&what, "per minute", rounded(judged.growth_per_min?, 4), said) })
    };
    let mut entries: Vec<Entry> = Resource::ALL.iter().filter_map(growth).collect();
    if let Some(audit) = target.audit {
        let of = format!("of {} sent", figures::count(audit.sent));
        entries.push(entry("lines lost", "lines", audit.lost as f64, of.clone()));
        entries.push(entry("lines duplicated", "lines", audit.duplicated as f64, of));
    }
    if let Some(latency) = target.latency {
        let of = format!("of {} lines", figures::count(latency.lines));
        entries.push(entry("latency, half of the lines", "ms", rounded(latency.p50_s * 1e3, 1), of.clone()));
        entries.push(entry("latency, 99 % of the lines", "ms", rounded(latency.p99_s * 1e3, 1), of));
    }
    let cost = cost::used_by(result, name);
    let took = || format!("in {}", figures::duration(cost.seconds));
    entries
        .extend(cost.cpu_share.map(|share| entry("CPU", "% of a core", rounded(share * 100.0, 2), took())));
    entries.extend(
        cost.rss_bytes
            .map(|most| entry("memory at most", "MiB", rounded(most as f64 / 1_048_576.0, 2), took())),
    );
    entries
}

/// To so many places: what lies beyond is noise, and would make each file differ.
fn rounded(value: f64, places: i32) -> f64 {
    let scale = 10_f64.powi(places);
    // Adding zero makes a negative zero a plain one.
    (value * scale).round() / scale + 0.0
}
