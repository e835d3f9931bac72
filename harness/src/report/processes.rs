//! How each process grew, in words: the targets', the engine's, and the harness's own, which is judged.

use serde::Serialize;

use super::figures;
use super::view::{self, Mark, NOTHING};
use crate::result::{ProcessCount, ProcessGrowth, RunResult};
use crate::sample::daemons;
use crate::sample::sampler::OWN_NAME;

/// What the table rests on, to stand above it.
pub(super) const NOTE: &str = "Growth under load of every process that takes part, with its 90 % interval. The targets \
     are judged above. Those of the engine serve all targets at once and are not judged; what they gain for sure is \
     named. flatline is what measures: where it grows itself, the run is invalid. Its descriptors are counted without \
     those that the targets hold open at its sinks.";

/// A process.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Process {
    pub(super) name: String,
    /// Its place among the targets, if it is one.
    pub(super) place: Option<usize>,
    pub(super) role: &'static str,
    /// One for each of [`ProcessCount::ALL`].
    pub(super) cells: Vec<Option<Cell>>,
}

/// The growth of one count.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Cell {
    pub(super) growth: String,
    pub(super) interval: String,
    pub(super) ends: String,
    pub(super) verdict: Option<Mark>,
}

/// Heads of the columns.
pub(super) const COLUMNS: [&str; 4] = ["Tasks", "Threads", "File descriptors", "Memory"];

/// The targets in their order, then the engine's processes, then the harness.
pub(super) fn all(result: &RunResult) -> Vec<Process> {
    let targets = result.manifest.targets.iter().enumerate();
    let targets = targets.map(|(place, name)| (name.as_str(), Some(place), "target"));
    let others = daemons::NAMES.map(|name| (name, "engine, not judged"));
    let others = others.into_iter().chain([(OWN_NAME, "harness")]);
    let names = targets
        .chain(others.flat_map(|(name, role)| in_each_run(result, name).map(move |name| (name, None, role))));
    let process = |(name, place, role): (&str, Option<usize>, &'static str)| {
        let growths = result.verdict.processes.get(name)?;
        let cells = ProcessCount::ALL.map(|count| growths.get(&count).map(|growth| cell(count, growth)));
        Some(Process { name: name.to_owned(), place, role, cells: cells.into_iter().collect() })
    };
    names.filter_map(process).collect()
}

/// A process that is no target, by its name; in a merged run there is one of each run.
fn in_each_run<'a>(result: &'a RunResult, name: &'a str) -> impl Iterator<Item = &'a str> {
    let names = result.verdict.processes.keys().map(String::as_str);
    names.filter(move |found| {
        found.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(" (run "))
    })
}

fn cell(count: ProcessCount, found: &ProcessGrowth) -> Cell {
    let is_memory = count == ProcessCount::RssBytes;
    let interval = found.ci_low.zip(found.ci_high);
    let number = if is_memory { figures::bytes } else { figures::count };
    Cell {
        growth: found.growth_per_min.map_or(NOTHING.to_owned(), |growth| pace(count, growth)),
        interval: interval.map_or(NOTHING.to_owned(), |(low, high)| match is_memory {
            true => figures::bytes_interval(low, high),
            false => figures::interval(low, high),
        }),
        ends: format!("{} → {}", number(found.first), number(found.last)),
        verdict: found.verdict.map(view::verdict),
    }
}

fn pace(count: ProcessCount, per_min: f64) -> String {
    if count == ProcessCount::RssBytes { figures::bytes_growth(per_min) } else { figures::growth(per_min) }
}

/// What the engine's processes gain for sure, what of them could not be sampled, and whether the harness grew.
pub(super) fn said(result: &RunResult) -> Vec<String> {
    let mut said = Vec::new();
    for name in daemons::NAMES.into_iter().flat_map(|name| in_each_run(result, name)) {
        let gains: Vec<String> = result.verdict.processes.get(name).map_or_else(Vec::new, |growths| {
            let sure = growths.iter().filter(|(_, growth)| growth.confirmed);
            sure.filter_map(|(count, growth)| Some(gain(*count, growth.growth_per_min?))).collect()
        });
        if !gains.is_empty() {
            said.push(format!("{name} gains {} under this load", gains.join(", ")));
        }
        let unread = result.events.iter().filter(|event| event.target == name && event.event == "unreadable");
        said.extend(unread.map(|event| format!("{name}: {}", event.detail)));
    }
    for name in in_each_run(result, OWN_NAME) {
        let own = result.verdict.processes.get(name).into_iter().flatten();
        for (count, growth) in own.filter(|(_, growth)| growth.verdict == Some(crate::result::Verdict::Fail))
        {
            said.extend(
                growth.growth_per_min.map(|growth| format!("{name} itself gains {}", gain(*count, growth))),
            );
        }
    }
    said
}

fn gain(count: ProcessCount, per_min: f64) -> String {
    let unit = match count {
        ProcessCount::Tasks => "tasks",
        ProcessCount::Threads => "threads",
        ProcessCount::Fds => "FDs",
        ProcessCount::RssBytes => return format!("{} of memory/min", figures::bytes_pace(per_min)),
    };
    format!("{} {unit}/min", figures::pace(per_min))
}
