//! A scenario: one YAML file that says what runs, for how long, under which limits.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::faults::{self, Timed};
use crate::loki::config::Said;
use crate::result::{Compression, Resource, Shard};
use crate::target::spec::{Entry, Kind, Spec};
use crate::units::{Factor, Span};
use crate::world::load;
use crate::world::script::Script;

pub mod bench;
mod compressed;
mod include;
pub mod schema;

mod mistakes;
mod overrides;
mod yaml;

pub use overrides::Overrides;
use yaml::parse;

/// The scenario that runs where none is named.
pub const DEFAULT: &str = "scenarios/quick.yaml";

/// The default scenario, the default bench and all targets, so that the program runs anywhere.
const BUILT_IN: [(&str, &str); 11] = [
    (DEFAULT, include_str!("../../scenarios/quick.yaml")),
    (bench::DEFAULT, include_str!("../../scenarios/bench/default.yaml")),
    ("scenarios/targets/alloy.yaml", include_str!("../../scenarios/targets/alloy.yaml")),
    ("scenarios/targets/fluent-bit.yaml", include_str!("../../scenarios/targets/fluent-bit.yaml")),
    ("scenarios/targets/leaky.yaml", include_str!("../../scenarios/targets/leaky.yaml")),
    ("scenarios/targets/promtail.yaml", include_str!("../../scenarios/targets/promtail.yaml")),
    ("scenarios/targets/syslog-ng.yaml", include_str!("../../scenarios/targets/syslog-ng.yaml")),
    ("scenarios/targets/vector.yaml", include_str!("../../scenarios/targets/vector.yaml")),
    ("scenarios/targets/pool.yaml", include_str!("../../scenarios/targets/pool.yaml")),
    ("scenarios/targets/hybrid.yaml", include_str!("../../scenarios/targets/hybrid.yaml")),
    ("scenarios/targets/archived.yaml", include_str!("../../scenarios/targets/archived.yaml")),
];

/// A scenario is a page of text.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What runs.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name: letters, digits, `-` and `_`; part of the run directory's name.
    pub name: String,
    /// Seed of everything that is drawn by chance.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// How long each stretch takes.
    pub phases: Phases,
    /// By how much time is compressed where `--compress` does not say otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compress: Option<Factor>,
    /// One sample this often.
    #[serde(default = "default_sample_every")]
    pub sample_every: Span,
    /// What is older is refused by the sinks (Loki's `reject_old_samples_max_age`).
    pub window: Span,
    /// What else the sinks are told, in Loki's own keys (`limits_config` and others, as `flatline mock-loki --config` takes
    /// them).
    #[serde(default, skip_serializing_if = "Said::is_nothing")]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub loki: Said,
    /// What the containers do.
    pub containers: load::Config,
    /// How lines and churn change over the load; they stay as they are where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<Script>,
    /// What goes wrong, in the sinks and in the world, in times from the beginning of the load on.
    #[serde(default, deserialize_with = "faults::list", skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Timed>,
    /// Growth allowed per minute, for each resource that is judged; where there are none, only lines are.
    #[serde(default)]
    #[schemars(extend("propertyNames" = serde_json::json!({"enum": Resource::ALL.map(Resource::key)})))]
    pub limits: BTreeMap<Resource, f64>,
    /// Who is tested.
    pub targets: IndexMap<String, Entry>,
}

/// The stretches of a run, in order.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, Serialize)]
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
    /// `--shard` leaves no target.
    #[error("shard {shard} has no target: {path} has {count} of them here; use as many shards at most")]
    EmptyShard {
        /// Which one.
        shard: Shard,
        /// The scenario.
        path: PathBuf,
        /// How many targets there are.
        count: usize,
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
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Loaded {
    /// The scenario after `--set`, `--seed` and `--targets`.
    pub scenario: Scenario,
    /// Its targets, in its order.
    pub targets: Vec<Spec>,
    /// The same as one YAML text: compressed, with every setting of the targets, so that it needs no option to say the
    /// same again.
    pub yaml: String,
    /// By how much time is compressed, if it is.
    pub compression: Option<Compression>,
    /// Which share of its targets these are, if they are not all.
    #[serde(default)]
    pub shard: Option<Shard>,
}

/// Reads a scenario and the files of its targets.
///
/// # Errors
/// [`ScenarioError`].
pub fn load(path: Option<&Path>, overrides: &Overrides) -> Result<Loaded, ScenarioError> {
    let source = Source { built_in: path.is_none() };
    let path = path.unwrap_or(Path::new(DEFAULT));
    let mut scenario = overrides.applied(include::read(&source, path)?, &source, path)?;
    fit(path, mistakes::all(&scenario))?;
    replayed(&mut scenario, path)?;
    let own = scenario.compress.take().unwrap_or_default();
    let by = overrides.compress.unwrap_or(own);
    let (mut scenario, kept) = compressed::scenario(scenario, by);
    let when = |mistake| format!("{mistake} (compressed {by} times)");
    fit(path, mistakes::all(&scenario).into_iter().map(when).collect())?;
    let entries = scenario.targets.iter().map(|(name, entry)| target(&source, path, name, entry.clone()));
    let mut targets: Vec<Spec> = entries.collect::<Result<_, _>>()?;
    let is_compressed = by > Factor::ONE;
    if is_compressed {
        for (spec, entry) in targets.iter_mut().zip(scenario.targets.values_mut()) {
            spec.kind.settings.values_mut().for_each(|value| compressed::settings(value, by));
            entry.settings.clone_from(&spec.kind.settings);
        }
    }
    let yaml = serde_saphyr::to_string(&scenario)
        .map_err(|error| ScenarioError::Parse { path: path.to_owned(), why: error.to_string() })?;
    let compression = is_compressed.then_some(Compression { times: by, kept });
    Ok(Loaded { scenario, targets, yaml, compression, shard: overrides.shard })
}

/// Finds the folder of logs to replay, if there is to be one.
fn replayed(scenario: &mut Scenario, path: &Path) -> Result<(), ScenarioError> {
    let Some(folder) = &scenario.containers.replay else { return Ok(()) };
    let beside = path.parent().unwrap_or(Path::new("")).join(folder);
    let found = [folder.clone(), beside].into_iter().find(|folder| folder.is_dir());
    let absolute = found.and_then(|folder| std::path::absolute(folder).ok());
    let missing = format!("containers.replay: {} is no folder that is there", folder.display());
    scenario.containers.replay = absolute;
    fit(path, if scenario.containers.replay.is_some() { Vec::new() } else { vec![missing] })
}

fn fit(path: &Path, mistakes: Vec<String>) -> Result<(), ScenarioError> {
    if mistakes.is_empty() {
        Ok(())
    } else {
        Err(ScenarioError::Mistakes { path: path.to_owned(), mistakes })
    }
}

struct Source {
    built_in: bool,
}

impl Source {
    fn read(&self, path: &Path) -> std::io::Result<String> {
        let plain = without_detours(path);
        let built_in = BUILT_IN.iter().find(|(name, _)| self.built_in && Path::new(name) == plain);
        built_in.map_or_else(|| read_bounded(path), |(_, text)| Ok((*text).to_owned()))
    }

    /// The file of a target that the scenario does not name: it lies where the files of those lie that it has.
    fn unnamed<'a>(
        &self,
        scenario: &Path,
        files: impl Iterator<Item = (&'a String, &'a String)>,
        name: &str,
    ) -> Result<String, ScenarioError> {
        let (known, files): (Vec<&str>, Vec<&str>) =
            files.map(|(name, file)| (name.as_str(), file.as_str())).unzip();
        let beside = files.first().map(|file| Path::new(file).with_file_name(format!("{name}.yaml")));
        let is_there = |file: &PathBuf| {
            let folder = scenario.parent().unwrap_or(Path::new(""));
            mistakes::is_word(name) && self.read(&folder.join(file)).is_ok()
        };
        beside.filter(is_there).map(|file| file.display().to_string()).ok_or_else(|| {
            ScenarioError::UnknownTarget {
                name: name.to_owned(),
                path: scenario.to_owned(),
                known: known.join(", "),
            }
        })
    }
}

/// `a/b/../c` as `a/c`: what is built in goes by its shortest name.
fn without_detours(path: &Path) -> PathBuf {
    let mut short = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir && short.file_name().is_some() {
            short.pop();
        } else {
            short.push(part);
        }
    }
    short
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

fn target(source: &Source, scenario: &Path, name: &str, entry: Entry) -> Result<Spec, ScenarioError> {
    let path = scenario.parent().unwrap_or(Path::new("")).join(&entry.file);
    let text = source.read(&path).map_err(|error| ScenarioError::Mistakes {
        path: scenario.to_owned(),
        mistakes: vec![format!("targets.{name}.file: can't read {}: {error}", path.display())],
    })?;
    let kind: Kind = parse(&path, &text)?;
    if kind.command.is_empty() {
        return Err(ScenarioError::Mistakes {
            path,
            mistakes: vec!["command: name at least a program".into()],
        });
    }
    let known = kind.settings.keys().cloned().collect::<Vec<_>>().join(", ");
    let place = run_in_place(source, (scenario, name), (&path, &text), &entry);
    let joined = Spec::join(name, kind, entry).map_err(|key| ScenarioError::Mistakes {
        path: scenario.to_owned(),
        mistakes: vec![format!(
            "targets.{name}.settings.{key}: {} has no such setting; it has: {known}",
            path.display()
        )],
    });
    Ok(Spec { run_in_at: place, ..joined? })
}

/// Where it is said what a target runs in, as file, line, column and field; without a line where the command line or an
/// included file says so. Empty where nothing does.
fn run_in_place(
    source: &Source,
    (scenario, name): (&Path, &str),
    (file, text): (&Path, &str),
    entry: &Entry,
) -> String {
    const FIELD: &str = "run_in";
    let said = |path: &Path, at: Option<(u64, u64)>, field: &str| {
        let at = at.map_or_else(String::new, |(line, column)| format!("{line}:{column}:"));
        format!("{}:{at} {field}", path.display())
    };
    if entry.run_in.is_some() {
        let at = source.read(scenario).ok().and_then(|text| include::place(&text, &["targets", name, FIELD]));
        return said(scenario, at, &format!("targets.{name}.{FIELD}"));
    }
    let at = include::place(text, &[FIELD]);
    at.map_or_else(String::new, |at| said(file, Some(at), FIELD))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::Value;

    use super::*;
    use crate::loki::config::Config;

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
    fn every_scenario_that_ships_loads() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let scenarios: Vec<_> =
            files.filter(|path| path.extension().is_some_and(|ending| ending == "yaml")).collect();
        assert!(scenarios.len() > 5);
        for scenario in scenarios {
            let loaded = load(Some(&scenario), &Overrides::default());
            assert!(loaded.is_ok(), "{}: {}", scenario.display(), loaded.unwrap_err());
        }
    }

    #[test]
    fn a_scenario_may_be_meant_to_be_compressed_and_the_command_line_decides() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/nightly.yaml");
        let load_of = |compress: Option<&str>| {
            let compress = compress.map(|times| times.parse().unwrap());
            load(Some(&path), &Overrides { compress, ..Overrides::default() }).unwrap()
        };
        let loaded = load_of(None);
        assert_eq!(loaded.scenario.phases.load, Span::secs(110 * 60));
        assert!(loaded.compression.is_some() && loaded.scenario.compress.is_none());
        for (times, hours) in [("48", 44.0 / 48.0), ("1", 44.0)] {
            let load = load_of(Some(times)).scenario.phases.load;
            assert_eq!(
                load,
                Span(std::time::Duration::from_secs_f64(hours * 3600.0)),
                "the command line decides"
            );
        }
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
    fn a_value_of_the_wrong_kind_is_named_with_its_field_and_what_to_write() {
        let built_in = include_str!("../../scenarios/quick.yaml");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.yaml");
        let said = |from: &str, to: &str| {
            assert!(built_in.contains(from), "{from}");
            fs::write(&path, built_in.replacen(from, to, 1)).unwrap();
            load(Some(&path), &Overrides::default()).unwrap_err().to_string()
        };
        let of = [
            ("count: 8", "count: many", "containers.count: write a whole number, 0 or more"),
            ("seed: 1", "seed: [1]", "seed: write a single value"),
            ("every: 4s", "evry: 4s", "containers.churn.evry: unknown field `evry`, expected one of every"),
            ("load: 170s", "load: 5x", "phases.load: \"5x\" is no duration"),
        ];
        for (from, to, why) in of {
            let said = said(from, to);
            assert!(said.contains("s.yaml:") && said.contains(why), "{said}");
        }
    }

    #[test]
    fn a_wrong_bound_is_named_with_its_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let scenario = folder.path().join("s.yaml");
        fs::write(&scenario, include_str!("../../scenarios/quick.yaml").replace("targets/", "")).unwrap();
        for name in ["hybrid.yaml", "archived.yaml", "pool.yaml"] {
            let text = fs::read_to_string(Path::new("../scenarios/targets").join(name)).unwrap();
            fs::write(folder.path().join(name), text).unwrap();
        }
        let pool = fs::read_to_string(folder.path().join("pool.yaml")).unwrap();
        let line = pool.lines().position(|line| line.starts_with("bounds:")).unwrap() + 1;
        for (wrong, words) in
            [("fds: -1", "bounds: how far"), ("fds: many", "a whole number of 0 or more"), ("fsd: 24", "fsd")]
        {
            fs::write(folder.path().join("pool.yaml"), pool.replace("fds: 24 }", &format!("{wrong} }}")))
                .unwrap();
            let message = load(Some(&scenario), &Overrides::default()).unwrap_err().to_string();
            let place = format!("{}:{line}:", folder.path().join("pool.yaml").display());
            assert!(message.starts_with(&place) && message.contains(words), "{message}");
        }
    }

    #[test]
    fn a_bound_can_be_set_in_the_scenario() {
        let loaded = set_one("targets.pool.bounds={fds: 40}").unwrap();
        assert_eq!(loaded.targets[0].kind.bounds[&Resource::Fds], 40);
        assert_eq!(loaded.targets[0].kind.bounds[&Resource::Tasks], 24);
    }

    #[test]
    fn a_target_whose_file_can_not_be_read_is_named_by_its_field() {
        let message = set_one("targets.pool.file=nope.yaml").unwrap_err().to_string();
        let words = "targets.pool.file: can't read scenarios/nope.yaml: No such file";
        assert!(
            message.starts_with("scenarios/quick.yaml: 1 to mend:") && message.contains(words),
            "{message}"
        );
    }

    #[test]
    fn a_value_can_be_set_by_its_path() {
        let loaded = set_one("phases.load=45s").unwrap();
        assert_eq!(loaded.scenario.phases.load, Span::secs(45));
        let loaded = set_one("targets.archived.settings.leak_handles=false").unwrap();
        assert_eq!(loaded.targets[2].kind.settings["leak_handles"], Value::Bool(false));
    }

    #[test]
    fn logs_to_replay_are_found_beside_the_scenario_or_from_here_and_else_missed_by_their_field() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/real_files.yaml");
        let replayed = |set: Vec<String>| load(Some(&path), &Overrides { set, ..Overrides::default() });
        let folder = |set| replayed(set).unwrap().scenario.containers.replay.unwrap();
        assert!(folder(Vec::new()).join("web-json.log").is_file());
        assert!(folder(vec!["containers.replay=src".to_owned()]).join("lib.rs").is_file());
        let message = replayed(vec!["containers.replay=nowhere".to_owned()]).unwrap_err().to_string();
        assert!(message.contains("containers.replay: nowhere is no folder"), "{message}");
    }

    #[test]
    fn a_path_that_leads_nowhere_is_refused_with_the_names_that_there_are() {
        let message = set_one("phases.laod=45s").unwrap_err().to_string();
        assert!(message.contains("laod") && message.contains("drain"), "{message}");
        let message = set_one("targets.polo.settings.max_age=1h").unwrap_err().to_string();
        assert!(message.contains("no target \"polo\"; there are: pool, hybrid"), "{message}");
        let message = set_one("containers.churn.steps.0=restart").unwrap_err().to_string();
        assert!(message.contains("a list is set whole"), "{message}");
        let message = set_one("targets.archived.settings.leek=false").unwrap_err().to_string();
        assert!(message.contains("leek") && message.contains("leak_handles"), "{message}");
        assert!(set_one("phases.load").unwrap_err().to_string().contains("KEY=VALUE"));
        assert!(set_one("phases.load=soon").unwrap_err().to_string().contains("no duration"));
    }

    #[test]
    fn what_a_scenario_leaves_out_can_be_set_and_what_there_is_can_be_left_out() {
        let loaded = set_one("faults=[{at: 1s, for: 2s, fault: hang}]").unwrap();
        assert_eq!(loaded.scenario.faults.len(), 1);
        assert!(set_one("containers.churn=null").unwrap().scenario.containers.churn.is_none());
        let set = ["limits={}", "limits.fds=3", "targets.archived.expect=flat"].map(str::to_owned).to_vec();
        let loaded = built_in(&Overrides { set, ..Overrides::default() }).unwrap();
        assert_eq!(loaded.scenario.limits, BTreeMap::from([(Resource::Fds, 3.0)]));
        let loaded = set_one("loki.limits_config.max_line_size=1KB").unwrap();
        assert_eq!(loaded.scenario.loki.over(&Config::default()).limits_config.max_line_size, 1024);
        for (setting, words) in [
            ("script.cycle=1m", "missing field `steps`"),
            ("phasis.load=1m", "unknown field `phasis`, expected one of"),
            ("fautls=[]", "unknown field `fautls`, expected one of"),
            ("limits.fd=2", "unknown variant `fd`"),
            ("targets.polo={file: x, expect: flat}", "there are: pool, hybrid, archived"),
            ("faults=hang", "a list of faults, such as"),
        ] {
            let message = set_one(setting).unwrap_err().to_string();
            assert!(message.contains(words), "{setting}: {message}");
        }
    }

    /// Before the end of this test, and of the memory.
    #[test]
    fn faults_without_end_are_refused_by_their_field() {
        let faults = |every: &str| format!("faults=[{{at: 1s, for: 1ns, every: {every}, fault: hang}}]");
        for (set, field) in [
            (vec![faults("2ns")], "faults[0].every: at least 1s"),
            (vec![faults("2s"), "phases.load=9999999y".to_owned()], "phases.load: at most"),
            (vec![faults("1s"), "phases.load=48h".to_owned()], "faults[0].every: up to here"),
            (
                vec![faults("1s").replace("hang", "kill"), "phases.load=1y".to_owned()],
                "faults[0].every: up to",
            ),
        ] {
            let message = built_in(&Overrides { set, ..Overrides::default() }).unwrap_err().to_string();
            assert!(message.contains(field), "{field}: {message}");
        }
        let set = vec![faults("30s").replace("hang", "kill"), "phases.load=48h".to_owned()];
        built_in(&Overrides { set, ..Overrides::default() }).unwrap();
    }

    #[test]
    fn the_sinks_are_told_what_a_scenario_says_in_lokis_own_keys() {
        let loaded = set_one("loki={limits_config: {max_line_size: 1KB}}").unwrap();
        let loki = loaded.scenario.loki.over(&Config::default());
        assert_eq!(loki.limits_config.max_line_size, 1024);
        // It is in the run's record, from which the run can be repeated.
        assert!(loaded.yaml.contains("max_line_size: 1KB"), "{}", loaded.yaml);
        for (setting, words) in [
            ("loki={limits_config: {max_lien_size: 1KB}}", "max_lien_size"),
            ("loki={limits_config: {reject_old_samples_max_age: 1h}}", "`window`"),
        ] {
            let message = set_one(setting).unwrap_err().to_string();
            assert!(message.contains(words), "{setting}: {message}");
        }
    }

    #[test]
    fn a_burst_that_no_run_reaches_is_refused() {
        let message = set_one("containers.burst=1000000").unwrap_err().to_string();
        assert!(message.contains("containers.burst: at 10 lines a second"), "{message}");
        set_one("containers.burst=1700").unwrap();
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
