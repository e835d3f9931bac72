//! What a bench does: one YAML file of its own form, read and checked as a scenario is.

use std::collections::BTreeMap;
use std::path::Path;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::yaml::parse;
use super::{ScenarioError, Source, overrides, target};
use crate::embedded::backlog::Text;
use crate::faults::{self, Timed};
use crate::result::Allowance;
use crate::result::bench::WorkKind;
use crate::target::spec::{Entry, Spec};
use crate::units::Span;

mod mistakes;
mod quick;

/// The one that runs where none is named; it is built in.
pub const DEFAULT: &str = "scenarios/bench/default.yaml";

/// A bench: who is measured, and what is to be done.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Bench")]
pub struct BenchScenario {
    /// Its name: letters, digits, `-` and `_`; part of the name of the folder.
    pub name: String,
    /// Seed of everything that is drawn by chance.
    #[serde(default = "one")]
    pub seed: u64,
    /// How often each case is repeated for each target.
    pub repeats: u32,
    /// What is older is refused by the sinks; the targets' templates may name it.
    pub window: Span,
    /// Who is measured. The others are compared with the first.
    pub targets: IndexMap<String, BenchEntry>,
    /// What is to be done, in this order.
    pub cases: Vec<Case>,
}

/// A target of a bench.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BenchEntry {
    /// The target's file, beside the scenario.
    pub file: String,
    /// Overrides of the file's settings.
    #[serde(default)]
    pub settings: BTreeMap<String, serde_json::Value>,
    /// Overrides of what the file lets it use.
    #[serde(default, skip_serializing_if = "Allowance::is_all")]
    pub resources: Allowance,
    /// Whether the bench is whole without it, where its program is not there. It is told in any case.
    #[serde(default)]
    pub if_installed: bool,
}

/// A piece of work: one of `catch_up`, `start_up`, `steady`, `idle` and `highest_rate`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Its name, of which there is one.
    pub name: String,
    /// Whether it is done with `--quick`.
    #[serde(default = "yes")]
    pub quick: bool,
    /// How often it is repeated, where that is not as often as the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u32>,
    /// Read a backlog of logs on disk to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<CatchUp>,
    /// Start, and deliver a first line of a small backlog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_up: Option<CatchUp>,
    /// Keep up with containers that log at a set rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steady: Option<Steady>,
    /// Wait beside containers that log nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Idle>,
    /// Find the highest rate that is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub highest_rate: Option<HighestRate>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Read a backlog to its end.
    CatchUp(CatchUp),
    /// Deliver the first line of one.
    StartUp(CatchUp),
    /// Keep up.
    Steady(Steady),
    /// Wait.
    Idle(Idle),
    /// Find the highest rate.
    HighestRate(HighestRate),
}

/// A backlog.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CatchUp {
    /// So many files, one for each container.
    pub files: u32,
    /// Lines of all of them together.
    pub lines: u64,
    /// Bytes of a line, newline left out, before Docker escapes anything.
    pub line_bytes: usize,
    /// What the lines are filled up with.
    #[serde(default)]
    pub text: Text,
}

/// Containers that log at a set rate.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Steady {
    /// How many.
    pub containers: u32,
    /// Lines a second of all of them together.
    pub lines_per_second: u32,
    /// Bytes of a line, newline left out.
    pub line_bytes: usize,
    /// What is left out of the figures at the start.
    pub warmup: Span,
    /// What is measured.
    pub length: Span,
    /// What goes wrong in the sink, in times from the beginning of what is measured.
    #[serde(default, deserialize_with = "faults::list", skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Timed>,
}

/// Containers that log nothing.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Idle {
    /// How many.
    pub containers: u32,
    /// How long a target may take to settle.
    pub settle: Span,
    /// What is measured.
    pub length: Span,
}

/// A search for the highest rate.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HighestRate {
    /// How many containers log.
    pub containers: u32,
    /// Bytes of a line, newline left out.
    pub line_bytes: usize,
    /// Lines a second of all together at first; doubled as long as they are held.
    pub from: u32,
    /// No more than these are tried.
    pub to: u32,
    /// How long each rate is held.
    pub hold: Span,
    /// Behind is who has more than this much of the rate's lines still to deliver.
    pub behind: Span,
    /// So many rates between the last that was held and the first that was not.
    pub refine: u32,
}

fn one() -> u64 {
    1
}

fn yes() -> bool {
    true
}

impl Case {
    /// What it asks for: one thing, where it makes sense.
    fn works(&self) -> Vec<Work> {
        let works = [
            self.catch_up.map(Work::CatchUp),
            self.start_up.map(Work::StartUp),
            self.steady.clone().map(Work::Steady),
            self.idle.map(Work::Idle),
            self.highest_rate.map(Work::HighestRate),
        ];
        works.into_iter().flatten().collect()
    }
}

impl Work {
    /// Which sort it is.
    #[must_use]
    pub fn kind(&self) -> WorkKind {
        match self {
            Self::CatchUp(_) => WorkKind::CatchUp,
            Self::StartUp(_) => WorkKind::StartUp,
            Self::Steady(steady) if steady.faults.is_empty() => WorkKind::Steady,
            Self::Steady(_) => WorkKind::Trouble,
            Self::Idle(_) => WorkKind::Idle,
            Self::HighestRate(_) => WorkKind::HighestRate,
        }
    }
}

/// What the command line changes.
#[derive(Clone, Debug, Default)]
pub struct BenchOverrides {
    /// `--set KEY=VALUE`, in order.
    pub set: Vec<String>,
    /// `--seed`.
    pub seed: Option<u64>,
    /// `--repeats`.
    pub repeats: Option<u32>,
    /// `--targets`; all where empty. What the scenario lacks is looked for among the targets' files beside it.
    pub targets: Vec<String>,
    /// `--only`; all where empty.
    pub only: Vec<WorkKind>,
    /// `--quick`.
    pub quick: bool,
}

/// A case, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// How often it is done for each target.
    pub repeats: u32,
    /// What is done.
    pub work: Work,
}

/// A bench with its targets' files, ready to run.
#[derive(Clone, Debug)]
pub struct LoadedBench {
    /// As the command line has changed it.
    pub scenario: BenchScenario,
    /// Its cases, checked.
    pub tasks: Vec<Task>,
    /// Its targets, in its order.
    pub targets: Vec<Spec>,
    /// Whether `--quick` has shortened it.
    pub quick: bool,
}

/// Reads a bench and the files of its targets.
///
/// # Errors
/// [`ScenarioError`], as of a scenario.
pub fn load(path: Option<&Path>, changes: &BenchOverrides) -> Result<LoadedBench, ScenarioError> {
    let source = Source { built_in: path.is_none() };
    let path = path.unwrap_or(Path::new(DEFAULT));
    let text = source.read(path).map_err(|source| ScenarioError::Read { path: path.to_owned(), source })?;
    let mut scenario: BenchScenario = parse(path, &text)?;
    for setting in &changes.set {
        scenario = overrides::set(&scenario, setting)?;
    }
    scenario.seed = changes.seed.unwrap_or(scenario.seed);
    super::fit(path, mistakes::all(&scenario))?;
    if changes.quick {
        quick::shorten(&mut scenario);
    }
    scenario.repeats = changes.repeats.unwrap_or(scenario.repeats);
    if changes.repeats.is_some() {
        scenario.cases.iter_mut().for_each(|case| case.repeats = None);
    }
    let mut tasks: Vec<Task> = scenario.cases.iter().flat_map(|case| tasks(case, scenario.repeats)).collect();
    if !changes.only.is_empty() {
        tasks.retain(|task| changes.only.contains(&task.work.kind()));
    }
    select(&source, &mut scenario, path, &changes.targets)?;
    let specs = scenario.targets.iter().map(|(name, entry)| target(&source, path, name, entry.entry()));
    let targets = specs.collect::<Result<_, _>>()?;
    Ok(LoadedBench { scenario, tasks, targets, quick: changes.quick })
}

fn tasks(case: &Case, repeats: u32) -> Vec<Task> {
    let task = |work| Task { name: case.name.clone(), repeats: case.repeats.unwrap_or(repeats), work };
    case.works().into_iter().map(task).collect()
}

/// Who was asked for must be there, however the scenario sees it.
fn select(
    source: &Source,
    scenario: &mut BenchScenario,
    path: &Path,
    names: &[String],
) -> Result<(), ScenarioError> {
    if names.is_empty() {
        return Ok(());
    }
    let mut chosen = IndexMap::new();
    for name in names {
        let entry = match scenario.targets.get(name) {
            Some(entry) => BenchEntry { if_installed: false, ..entry.clone() },
            None => {
                let files = scenario.targets.iter().map(|(name, entry)| (name, &entry.file));
                let file = source.unnamed(path, files, name)?;
                BenchEntry {
                    file,
                    settings: BTreeMap::new(),
                    resources: Allowance::default(),
                    if_installed: false,
                }
            }
        };
        chosen.insert(name.clone(), entry);
    }
    scenario.targets = chosen;
    Ok(())
}

impl BenchEntry {
    /// As a scenario's.
    fn entry(&self) -> Entry {
        Entry {
            settings: self.settings.clone(),
            resources: self.resources.clone(),
            ..Entry::flat(self.file.clone())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn loaded(changes: BenchOverrides) -> Result<LoadedBench, ScenarioError> {
        load(None, &changes)
    }

    #[test]
    fn the_built_in_bench_loads_and_has_every_sort_of_work() {
        let bench = loaded(BenchOverrides::default()).unwrap();
        let kinds: Vec<WorkKind> = bench.tasks.iter().map(|task| task.work.kind()).collect();
        for kind in <WorkKind as clap::ValueEnum>::value_variants() {
            assert!(kinds.contains(kind), "{kind:?}");
        }
        assert!(bench.scenario.repeats >= 5);
        assert_eq!(bench.targets.len(), bench.scenario.targets.len());
    }

    #[test]
    fn quick_is_shorter_and_the_command_line_has_the_last_word() {
        let whole = loaded(BenchOverrides::default()).unwrap();
        let quick = loaded(BenchOverrides { quick: true, ..BenchOverrides::default() }).unwrap();
        assert!(quick.scenario.repeats < whole.scenario.repeats && quick.tasks.len() < whole.tasks.len());
        for task in &quick.tasks {
            let same = whole.tasks.iter().find(|other| other.name == task.name).unwrap();
            assert_eq!(task.work.kind(), same.work.kind());
            if let (Work::CatchUp(short), Work::CatchUp(long)) = (&task.work, &same.work) {
                assert!(short.lines < long.lines, "{}", task.name);
            }
        }
        let only = BenchOverrides {
            repeats: Some(7),
            only: vec![WorkKind::Idle],
            quick: true,
            ..BenchOverrides::default()
        };
        let only = loaded(only).unwrap().tasks;
        assert!(only.iter().all(|task| task.work.kind() == WorkKind::Idle && task.repeats == 7));
        assert!(!only.is_empty());
    }

    #[test]
    fn who_is_asked_for_by_name_is_wanted_also_where_the_scenario_lacks_it() {
        let asked =
            BenchOverrides { targets: vec!["vector".into(), "leaky".into()], ..BenchOverrides::default() };
        let bench = loaded(asked).unwrap();
        let names: Vec<&str> = bench.targets.iter().map(|spec| spec.name.as_str()).collect();
        assert_eq!(names, ["vector", "leaky"]);
        assert!(bench.scenario.targets.values().all(|entry| !entry.if_installed));
        let unknown = BenchOverrides { targets: vec!["vektor".into()], ..BenchOverrides::default() };
        let message = loaded(unknown).unwrap_err().to_string();
        assert!(message.contains("vektor") && message.contains("hybrid"), "{message}");
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.yaml");
        let text = "name: x\nrepeats: 1\nwindow: 1h\ntargets: {}\ncases:\n  - name: a\n    catch_up: {files: 1, lines: 5, line_bites: 9}\n";
        fs::write(&path, text).unwrap();
        let message = load(Some(&path), &BenchOverrides::default()).unwrap_err().to_string();
        assert!(message.contains("b.yaml:7:") && message.contains("line_bites"), "{message}");
        let two = text.replace("bites", "bytes") + "    idle: {containers: 1, settle: 1s, length: 1s}\n";
        fs::write(&path, two).unwrap();
        let message = load(Some(&path), &BenchOverrides::default()).unwrap_err().to_string();
        assert!(message.contains("one of catch_up"), "{message}");
        fs::write(&path, text.replace("bites", "bytes").replace("files: 1", "files: 0")).unwrap();
        let message = load(Some(&path), &BenchOverrides::default()).unwrap_err().to_string();
        assert!(
            message.contains("targets: name at least one") && message.contains("cases[0] a"),
            "{message}"
        );
    }
}
