//! A scenario: one YAML file that says what runs, for how long, under which limits.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indexmap::IndexMap;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_saphyr::{MessageFormatter, UserMessageFormatter};

use crate::faults::{self, Plan, Timed};
use crate::result::{Expect, Resource};
use crate::sample::sampler::OWN_NAME;
use crate::target::spec::{Entry, Kind, Spec};
use crate::units::Span;
use crate::world::generate::{LINE_BYTES_MAX, RATE_MAX};
use crate::world::load;

/// The scenario that runs where none is named.
pub const DEFAULT: &str = "scenarios/quick.yaml";

/// The default scenario and its targets, so that the program runs anywhere.
const BUILT_IN: [(&str, &str); 4] = [
    (DEFAULT, include_str!("../../scenarios/quick.yaml")),
    ("scenarios/targets/pool.yaml", include_str!("../../scenarios/targets/pool.yaml")),
    ("scenarios/targets/hybrid.yaml", include_str!("../../scenarios/targets/hybrid.yaml")),
    ("scenarios/targets/archived.yaml", include_str!("../../scenarios/targets/archived.yaml")),
];

/// A scenario is a page of text.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Longer than any soak test; shorter than what clocks and timers can add up.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
/// A look at every process, or a request to the engine, takes some milliseconds.
const SHORTEST_BEAT: Duration = Duration::from_millis(100);
/// Names become parts of file names.
const NAME_MAX: usize = 64;
/// More than one machine's engine runs.
const CONTAINERS_MAX: usize = 1000;

/// What runs.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name: letters, digits, `-` and `_`; part of the run directory's name.
    pub name: String,
    /// Seed of everything that is drawn by chance.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// How long each stretch takes.
    pub phases: Phases,
    /// One sample this often.
    #[serde(default = "default_sample_every")]
    pub sample_every: Span,
    /// What is older is refused by the sinks (Loki's `reject_old_samples_max_age`).
    pub window: Span,
    /// What the containers do.
    pub containers: load::Config,
    /// What goes wrong, in the sinks and in the world, in times from the beginning of the load on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Timed>,
    /// Growth allowed per minute, for each resource that is judged; where there are none, only lines are.
    #[serde(default)]
    pub limits: BTreeMap<Resource, f64>,
    /// Who is tested.
    pub targets: IndexMap<String, Entry>,
}

/// The stretches of a run, in order.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Phases {
    /// Containers log, no target is there yet.
    pub history: Span,
    /// Targets have attached and settle; churn goes on.
    pub warmup: Span,
    /// What is judged.
    pub load: Span,
    /// Containers are gone; counts must come back.
    pub drain: Span,
}

fn default_seed() -> u64 {
    1
}

fn default_sample_every() -> Span {
    Span::secs(1)
}

/// Why a scenario can't be run.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// It can't be read.
    #[error("can't read {path}: {source}\n  `flatline ab` without a name runs {DEFAULT}, which is built in.")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It does not parse: the message names file, line, column and field.
    #[error("{path}:{why}")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// What is wrong, with line and column.
        why: String,
    },
    /// It parses, but makes no sense: every mistake at once.
    #[error("{path}: {} to mend:\n{}", mistakes.len(), bullets(mistakes))]
    Mistakes {
        /// Which file.
        path: PathBuf,
        /// The field and what is wrong with it, one each.
        mistakes: Vec<String>,
    },
    /// `--set KEY=VALUE` does not fit.
    #[error("--set {setting}: {why}")]
    Set {
        /// As given.
        setting: String,
        /// What is wrong.
        why: String,
    },
    /// `--targets` names a target that the scenario does not have.
    #[error("no target {name:?} in {path}; it has: {known}")]
    UnknownTarget {
        /// As given.
        name: String,
        /// The scenario.
        path: PathBuf,
        /// The names that there are.
        known: String,
    },
}

fn bullets(mistakes: &[String]) -> String {
    mistakes.iter().map(|mistake| format!("  - {mistake}")).collect::<Vec<_>>().join("\n")
}

/// A scenario with its targets' files, ready to run.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The scenario after `--set`, `--seed` and `--targets`.
    pub scenario: Scenario,
    /// Its targets, in its order.
    pub targets: Vec<Spec>,
    /// The same as one YAML text.
    pub yaml: String,
}

/// What the command line changes.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--set KEY=VALUE`, in order.
    pub set: Vec<String>,
    /// `--seed`.
    pub seed: Option<u64>,
    /// `--targets`; all where empty.
    pub targets: Vec<String>,
}

/// Reads a scenario and the files of its targets.
///
/// # Errors
/// [`ScenarioError`].
pub fn load(path: Option<&Path>, overrides: &Overrides) -> Result<Loaded, ScenarioError> {
    let source = Source { built_in: path.is_none() };
    let path = path.unwrap_or(Path::new(DEFAULT));
    let mut scenario: Scenario = parse(path, &source.read(path)?)?;
    scenario.seed = overrides.seed.unwrap_or(scenario.seed);
    for setting in &overrides.set {
        scenario = set(&scenario, setting)?;
    }
    select(&mut scenario, path, &overrides.targets)?;
    let mistakes = mistakes(&scenario);
    if !mistakes.is_empty() {
        return Err(ScenarioError::Mistakes { path: path.to_owned(), mistakes });
    }
    let yaml = serde_saphyr::to_string(&scenario)
        .map_err(|error| ScenarioError::Parse { path: path.to_owned(), why: error.to_string() })?;
    let targets = scenario.targets.iter().map(|(name, entry)| target(&source, path, name, entry.clone()));
    Ok(Loaded { targets: targets.collect::<Result<_, _>>()?, scenario, yaml })
}

struct Source {
    built_in: bool,
}

impl Source {
    fn read(&self, path: &Path) -> Result<String, ScenarioError> {
        let built_in = BUILT_IN.iter().find(|(name, _)| self.built_in && Path::new(name) == path);
        match built_in {
            Some((_, text)) => Ok((*text).to_owned()),
            None => {
                read_bounded(path).map_err(|source| ScenarioError::Read { path: path.to_owned(), source })
            }
        }
    }
}

/// A device or a huge file given by mistake must not fill the memory.
fn read_bounded(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other("it is longer than 1 MiB, so it is no scenario"));
    }
    Ok(text)
}

fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ScenarioError> {
    serde_saphyr::from_str(text).map_err(|error| {
        let at = error.location().map_or_else(String::new, |at| format!("{}:{}", at.line(), at.column()));
        ScenarioError::Parse { path: path.to_owned(), why: format!("{at}: {}", plain(&error)) }
    })
}

/// The message alone, in words for who wrote the file and not for who calls the parser.
fn plain(error: &serde_saphyr::Error) -> String {
    UserMessageFormatter.format_message(error.without_snippet()).into_owned()
}

fn target(source: &Source, scenario: &Path, name: &str, entry: Entry) -> Result<Spec, ScenarioError> {
    let path = scenario.parent().unwrap_or(Path::new("")).join(&entry.file);
    let kind: Kind = parse(&path, &source.read(&path)?)?;
    if kind.command.is_empty() {
        return Err(ScenarioError::Mistakes {
            path,
            mistakes: vec!["command: name at least a program".into()],
        });
    }
    let known = kind.settings.keys().cloned().collect::<Vec<_>>().join(", ");
    Spec::join(name, kind, entry).map_err(|key| ScenarioError::Mistakes {
        path: scenario.to_owned(),
        mistakes: vec![format!(
            "targets.{name}.settings.{key}: {} has no such setting; it has: {known}",
            path.display()
        )],
    })
}

/// Sets one value by its dotted path. The result must still be a scenario.
fn set(scenario: &Scenario, setting: &str) -> Result<Scenario, ScenarioError> {
    let wrong = |why: String| ScenarioError::Set { setting: setting.to_owned(), why };
    let (key, text) =
        setting.split_once('=').ok_or_else(|| wrong("write KEY=VALUE, e.g. phases.load=10m".into()))?;
    let value: Value = serde_saphyr::from_str(text).map_err(|error| wrong(plain(&error)))?;
    let mut whole = serde_json::to_value(scenario).map_err(|error| wrong(error.to_string()))?;
    let mut place = &mut whole;
    for part in key.split('.') {
        let known = keys(place);
        let fields =
            place.as_object_mut().ok_or_else(|| wrong(format!("there is nothing beneath it at {part:?}")))?;
        // Settings of a target may be named here for the first time; everything else is there already.
        let free = key.contains(".settings.");
        place = match (fields.contains_key(part), free) {
            (false, false) => return Err(wrong(format!("no field {part:?}; there are: {known}"))),
            _ => fields.entry(part).or_insert(Value::Null),
        };
    }
    *place = value;
    serde_json::from_value(whole).map_err(|error| wrong(error.to_string()))
}

fn keys(value: &Value) -> String {
    let keys = value.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>());
    keys.unwrap_or_default().join(", ")
}

fn select(scenario: &mut Scenario, path: &Path, names: &[String]) -> Result<(), ScenarioError> {
    if let Some(name) = names.iter().find(|name| !scenario.targets.contains_key(*name)) {
        let known = scenario.targets.keys().cloned().collect::<Vec<_>>().join(", ");
        return Err(ScenarioError::UnknownTarget { name: name.clone(), path: path.to_owned(), known });
    }
    if !names.is_empty() {
        scenario.targets.retain(|name, _| names.contains(name));
    }
    Ok(())
}

/// Everything that parses and still makes no sense.
fn mistakes(scenario: &Scenario) -> Vec<String> {
    let mut mistakes = names_and_limits(scenario);
    mistakes.extend(controls(scenario));
    mistakes.extend(durations(scenario));
    mistakes.extend(containers(&scenario.containers));
    mistakes.extend(faults(scenario));
    mistakes
}

fn is_word(text: &str) -> bool {
    let of_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(of_word)
}

fn wrong_ones(checks: impl IntoIterator<Item = (bool, String)>) -> Vec<String> {
    checks.into_iter().filter(|(wrong, _)| *wrong).map(|(_, mistake)| mistake).collect()
}

fn names_and_limits(scenario: &Scenario) -> Vec<String> {
    let word = format!("1 to {NAME_MAX} letters, digits, - and _");
    let targets = &scenario.targets;
    let above_zero = |limit: &f64| limit.is_finite() && *limit > 0.0;
    wrong_ones([
        (!is_word(&scenario.name), format!("name: {word}")),
        (targets.is_empty(), "targets: name at least one".to_owned()),
        (!targets.keys().all(|name| is_word(name)), format!("targets: use {word} in their names")),
        (
            targets.contains_key(OWN_NAME),
            format!("targets: {OWN_NAME} is the harness's own name; use another one"),
        ),
        (
            !scenario.limits.values().all(above_zero),
            "limits: growth per minute, a number above zero".to_owned(),
        ),
    ])
}

/// What a control must leak has to be judged, or its leak is never seen.
fn controls(scenario: &Scenario) -> Vec<String> {
    let mut mistakes = Vec::new();
    for (name, entry) in scenario.targets.iter().filter(|(_, entry)| entry.expect == Expect::Leak) {
        if entry.must_leak.is_empty() {
            mistakes.push(format!("targets.{name}.must_leak: name at least one of tasks, threads, fds"));
        }
        for resource in entry.must_leak.iter().filter(|resource| !scenario.limits.contains_key(resource)) {
            let key = resource.key();
            mistakes.push(format!("targets.{name}.must_leak: {key} has no limit, so its leak is never seen"));
        }
    }
    mistakes
}

fn durations(scenario: &Scenario) -> Vec<String> {
    let phases = &scenario.phases;
    let churn = scenario.containers.churn.as_ref();
    let all = [
        ("phases.history", Some(phases.history)),
        ("phases.warmup", Some(phases.warmup)),
        ("phases.load", Some(phases.load)),
        ("phases.drain", Some(phases.drain)),
        ("window", Some(scenario.window)),
        ("sample_every", Some(scenario.sample_every)),
        ("containers.churn.every", churn.map(|churn| churn.every)),
        ("containers.churn.linger", churn.map(|churn| churn.linger)),
    ];
    let too_long = all.iter().filter(|(_, span)| span.is_some_and(|span| span.0 > LONGEST));
    let mut mistakes: Vec<String> =
        too_long.map(|(field, _)| format!("{field}: at most {}", Span(LONGEST))).collect();
    let beat = Span(SHORTEST_BEAT);
    mistakes.extend(wrong_ones([
        (scenario.sample_every.0 < SHORTEST_BEAT, format!("sample_every: at least {beat}")),
        (
            churn.is_some_and(|churn| churn.every.0 < SHORTEST_BEAT),
            format!("containers.churn.every: at least {beat}"),
        ),
        (scenario.window.0.is_zero(), "window: above zero".to_owned()),
        (
            phases.load.0 < scenario.sample_every.0.saturating_mul(30),
            "phases.load: at least 30 samples long, or nothing can be judged".to_owned(),
        ),
    ]));
    mistakes
}

fn faults(scenario: &Scenario) -> Vec<String> {
    let mut mistakes = faults::mistakes(&scenario.faults);
    let load = scenario.phases.load.0;
    for (place, timed) in scenario.faults.iter().enumerate() {
        if timed.at.0 >= load {
            mistakes.push(format!("faults[{place}].at: before the load ends, after {}", Span(load)));
        }
    }
    let plan = Plan { seed: scenario.seed, faults: scenario.faults.clone() };
    mistakes.extend(plan.mistakes_of_the_world(load));
    mistakes
}

fn containers(config: &load::Config) -> Vec<String> {
    let within = |field: &str, value: u64, least: u64, most: u64| {
        (!(least..=most).contains(&value), format!("containers.{field}: {least} to {most}"))
    };
    let no_step = config.churn.as_ref().is_some_and(|churn| churn.steps.is_empty());
    wrong_ones([
        within("count", config.count as u64, 1, CONTAINERS_MAX as u64),
        within("lines_per_second", config.lines_per_second.into(), 1, RATE_MAX.into()),
        within("burst", config.burst.into(), 1, RATE_MAX.into()),
        within("line_bytes", config.line_bytes as u64, 1, LINE_BYTES_MAX as u64),
        within("stderr_percent", config.stderr_percent.into(), 0, 100),
        within("rotate.max_files", config.rotate.max_files.into(), 1, 1000),
        // Docker reads the size as a signed number; the lower end still holds a line.
        within("rotate.max_size", config.rotate.max_size.as_u64(), 1024, 1 << 40),
        (no_step, "containers.churn.steps: name at least one of restart, replace".to_owned()),
    ])
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn built_in(overrides: &Overrides) -> Result<Loaded, ScenarioError> {
        load(None, overrides)
    }

    fn set_one(setting: &str) -> Result<Loaded, ScenarioError> {
        built_in(&Overrides { set: vec![setting.to_owned()], ..Overrides::default() })
    }

    #[test]
    fn the_built_in_scenario_loads_with_its_targets_in_order() {
        let loaded = built_in(&Overrides::default()).unwrap();
        let names: Vec<&str> = loaded.targets.iter().map(|spec| spec.name.as_str()).collect();
        assert_eq!(names, ["pool", "hybrid", "archived"]);
        assert!(loaded.scenario.containers.count >= 6);
        let again: Scenario = serde_saphyr::from_str(&loaded.yaml).unwrap();
        assert_eq!(serde_saphyr::to_string(&again).unwrap(), loaded.yaml);
    }

    #[test]
    fn a_wrong_field_is_named_with_file_line_and_column() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.yaml");
        let text = include_str!("../../scenarios/quick.yaml").replace("  warmup:", "  warm_up:");
        let line = text.lines().position(|line| line.contains("warm_up")).unwrap() + 1;
        fs::write(&path, text).unwrap();
        let message = load(Some(&path), &Overrides::default()).unwrap_err().to_string();
        assert!(message.starts_with(&format!("{}:{line}:", path.display())), "{message}");
        assert!(message.contains("warm_up") && message.contains("warmup"), "{message}");
    }

    #[test]
    fn a_value_can_be_set_by_its_path() {
        let loaded = set_one("phases.load=45s").unwrap();
        assert_eq!(loaded.scenario.phases.load, Span::secs(45));
        let loaded = set_one("targets.archived.settings.leak_handles=false").unwrap();
        assert_eq!(loaded.targets[2].kind.settings["leak_handles"], Value::Bool(false));
    }

    #[test]
    fn a_path_that_leads_nowhere_is_refused_with_the_names_that_there_are() {
        let message = set_one("phases.laod=45s").unwrap_err().to_string();
        assert!(message.contains("laod") && message.contains("drain"), "{message}");
        let message = set_one("targets.archived.settings.leek=false").unwrap_err().to_string();
        assert!(message.contains("leek") && message.contains("leak_handles"), "{message}");
        assert!(set_one("phases.load").unwrap_err().to_string().contains("KEY=VALUE"));
        assert!(set_one("phases.load=soon").unwrap_err().to_string().contains("no duration"));
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let set =
            vec!["containers.count=0".to_owned(), "limits.fds=0".to_owned(), "phases.load=2s".to_owned()];
        let message = built_in(&Overrides { set, ..Overrides::default() }).unwrap_err().to_string();
        for field in ["containers.count", "limits", "phases.load"] {
            assert!(message.contains(field), "{message}");
        }
    }

    #[test]
    fn an_unknown_target_is_refused_with_the_names_that_there_are() {
        let overrides = Overrides { targets: vec!["polo".to_owned()], ..Overrides::default() };
        let message = built_in(&overrides).unwrap_err().to_string();
        assert!(message.contains("\"polo\"") && message.contains("pool, hybrid, archived"), "{message}");
    }

    #[test]
    fn what_no_machine_can_do_is_refused_before_anything_runs() {
        for setting in [
            "sample_every=18446744073709551615s",
            "sample_every=1ns",
            "phases.load=400000000y",
            "window=9999y",
            "containers.churn.every=1ns",
            "containers.churn.linger=400y",
            "containers.count=18446744073709551615",
            "containers.line_bytes=99999999999999",
            "containers.lines_per_second=4294967295",
            "containers.rotate.max_size=1B",
            "limits.fds=.inf",
            "limits.fds=.nan",
            "limits.fds=-2",
            "targets.archived.must_leak=[]",
        ] {
            let error = set_one(setting).unwrap_err();
            let field = setting.split(['=', '.']).next().unwrap();
            assert!(error.to_string().contains(field), "{setting}: {error}");
        }
    }

    #[test]
    fn a_control_that_must_leak_what_is_not_judged_is_refused() {
        let message = set_one("limits={ fds: 2 }").unwrap_err().to_string();
        assert!(message.contains("targets.archived.must_leak: tasks has no limit"), "{message}");
    }

    #[test]
    fn a_device_given_by_mistake_is_refused_and_not_read_to_its_end() {
        let message = load(Some(Path::new("/dev/zero")), &Overrides::default()).unwrap_err().to_string();
        assert!(message.contains("/dev/zero") && message.contains("1 MiB"), "{message}");
    }

    #[test]
    fn a_message_speaks_to_who_wrote_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("twice.yaml");
        fs::write(&path, "name: a\nname: b\n").unwrap();
        let message = load(Some(&path), &Overrides::default()).unwrap_err().to_string();
        assert_eq!(
            message,
            format!("{}:2:1: duplicate mapping key `name` is not allowed here", path.display())
        );
    }
}
