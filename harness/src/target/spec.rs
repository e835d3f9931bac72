//! What a target is: a YAML file for each kind of shipper, so that a new shipper is a new file.
//!
//! The command and the config file are templates. What they may name: `config` (path of the config
//! file), `sink_url`, `admin` (address that the target may listen on), `state_dir`, `docker_host`,
//! `containers_root`, `run_label` (label that the run's containers carry), `window` (what the sink
//! accepts, e.g. `15s`), and `settings.…` from the target's file, overridden by the scenario.

use std::collections::BTreeMap;

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::result::{Allowance, Bar, Expect, Figure, Resource, RunIn, Terms};
use crate::target::restart::Restart;

/// A kind of shipper: one file in `scenarios/targets/`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Kind {
    /// How it collects: `pool`, `hybrid`, `archived`, or another shipper's word.
    pub design: String,
    /// Command line, each part a template. A program without a slash is looked for beside flatline
    /// itself, then in `PATH`.
    pub command: Vec<String>,
    /// The config file, a template.
    pub config: String,
    /// How the config file's name ends, for programs that tell its form by that.
    #[serde(default = "config_ending")]
    pub config_ending: String,
    /// How to get its program, for who lacks it: one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install: Option<String>,
    /// Answers 200 once the target collects; a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_url: Option<String>,
    /// A file or socket that is there once the target collects, for those that answer no HTTP; a template. Who has neither
    /// is taken for ready once it is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_file: Option<String>,
    /// Prometheus text; a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_url: Option<String>,
    /// Which metrics say what.
    #[serde(default)]
    pub metrics: MetricNames,
    /// Where its dead letters lie, if it keeps any that can be read: then each is accounted for by its line, and
    /// not by a count.
    #[serde(default)]
    pub dead_letters: Option<DeadLetters>,
    /// Values for `settings.…`.
    #[serde(default)]
    pub settings: BTreeMap<String, serde_json::Value>,
    /// How far each count may rise above where it began under load, because queues, pools and caches fill: what the
    /// target's own config allows, not what is usual. No rise within it is called a leak, and only a resource that
    /// has such a bound can end a run early (`--fail-fast`).
    #[serde(default, deserialize_with = "bounds", skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = serde_json::json!({"enum": Resource::ALL.map(Resource::key)})))]
    pub bounds: BTreeMap<Resource, u32>,
    /// What it may use of the machine, where that is less than all of it.
    #[serde(default, skip_serializing_if = "Allowance::is_all")]
    pub resources: Allowance,
    /// Whether it runs as a process of this machine, or in a container of the run's Docker Engine: then its image holds
    /// its program and the libraries that this is linked with, and nothing else.
    #[serde(default, skip_serializing_if = "RunIn::is_process")]
    pub run_in: RunIn,
    /// Folders and files of this machine that it needs in its container besides its config, its state folder, the
    /// engine's socket and the containers' logs: templates of absolute paths, the same inside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<String>,
}

/// Names of the target's own metrics; a name that is left out is a figure that the target lacks. The
/// values of all series of a name are added up.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MetricNames {
    /// Asynchronous tasks (goroutines, …) alive.
    #[serde(default)]
    pub tasks: Option<String>,
    /// The same by kind: the values of its labels are the kinds. What `tasks` counts beyond it is `unnamed`.
    #[serde(default)]
    pub tasks_by_kind: Option<String>,
    /// Items that wait to be sent again.
    #[serde(default)]
    pub queue: Option<String>,
    /// Requests to the engine so far.
    #[serde(default)]
    pub docker_requests: Option<String>,
    /// Lines read so far.
    #[serde(default)]
    pub read: Option<String>,
    /// Lines passed over for a counted reason.
    #[serde(default)]
    pub skipped: Option<String>,
    /// Lines dropped for a counted reason.
    #[serde(default)]
    pub dropped: Option<String>,
    /// Lines that the sink has acknowledged.
    #[serde(default)]
    pub delivered: Option<String>,
    /// Lines in the dead letters.
    #[serde(default)]
    pub dead_lettered: Option<String>,
    /// Lines read and not yet settled.
    #[serde(default)]
    pub in_flight: Option<String>,
}

impl MetricNames {
    /// Whether it has any count of its tasks.
    #[must_use]
    pub fn counts_tasks(&self) -> bool {
        self.tasks.is_some() || self.tasks_by_kind.is_some()
    }
}

/// A folder of files of JSON, one document a line.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLetters {
    /// The folder, a template; it need not be there.
    pub folder: String,
    /// How the files' names end.
    pub ending: String,
    /// The field that holds the log line.
    pub field: String,
}

/// A target's entry in a scenario.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The target's file, beside the scenario.
    pub file: String,
    /// `flat`, or for a control `leak` or `lose`.
    pub expect: Expect,
    /// What a control that leaks must leak; ignored for the others.
    #[serde(default = "default_must_leak")]
    pub must_leak: Vec<Resource>,
    /// What a control must not leak.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub must_not_leak: Vec<Resource>,
    /// What its figures are held to, beside all else: `{ queue: { below: 20 }, docker_requests: { above: 120 } }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = serde_json::json!({"enum": Figure::ALL.map(Figure::key)})))]
    pub figures: BTreeMap<Figure, Bar>,
    /// Overrides of the file's settings.
    #[serde(default)]
    pub settings: BTreeMap<String, serde_json::Value>,
    /// Overrides of the file's bounds, where settings or the scenario's containers change them.
    #[serde(default, deserialize_with = "bounds")]
    #[schemars(extend("propertyNames" = serde_json::json!({"enum": Resource::ALL.map(Resource::key)})))]
    pub bounds: BTreeMap<Resource, u32>,
    /// Overrides of what the file lets it use.
    #[serde(default, skip_serializing_if = "Allowance::is_all")]
    pub resources: Allowance,
    /// Overrides what the file has it run in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_in: Option<RunIn>,
    /// Whether it is started again when it ends unasked.
    #[serde(default, skip_serializing_if = "Restart::is_no")]
    pub restart: Restart,
}

impl Entry {
    /// One of which nothing is said but where its file is: it must stay flat.
    #[must_use]
    pub fn flat(file: String) -> Self {
        Self {
            file,
            expect: Expect::Flat,
            must_leak: default_must_leak(),
            must_not_leak: Vec::new(),
            figures: BTreeMap::new(),
            settings: BTreeMap::new(),
            bounds: BTreeMap::new(),
            resources: Allowance::default(),
            run_in: None,
            restart: Restart::No,
        }
    }
}

/// How far a count may rise, read so that a mistake is told in words for who wrote the file.
struct Rise(u32);

impl<'de> Deserialize<'de> for Rise {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = || de::Error::custom("bounds: how far the count may rise, a whole number of 0 or more");
        let number = f64::deserialize(deserializer).map_err(|_| wrong())?;
        let whole = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is within the type's range"
        )]
        if whole { Ok(Self(number as u32)) } else { Err(wrong()) }
    }
}

fn bounds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<Resource, u32>, D::Error> {
    let rises = BTreeMap::<Resource, Rise>::deserialize(deserializer)?;
    Ok(rises.into_iter().map(|(resource, Rise(rise))| (resource, rise)).collect())
}

fn config_ending() -> String {
    "config".to_owned()
}

fn default_must_leak() -> Vec<Resource> {
    vec![Resource::Tasks, Resource::Fds]
}

/// A target of a run: its file and its entry joined.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Spec {
    /// Its name in the scenario.
    pub name: String,
    /// What it should do.
    pub expect: Expect,
    /// What a control must leak.
    pub must_leak: Vec<Resource>,
    /// What it must not leak.
    pub must_not_leak: Vec<Resource>,
    /// What its figures are held to.
    pub figures: BTreeMap<Figure, Bar>,
    /// Its kind, settings overridden.
    pub kind: Kind,
    /// Whether it is started again when it ends unasked.
    pub restart: Restart,
    /// File, line and field that say what it runs in; empty where nothing does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub run_in_at: String,
}

/// What the templates may name, `settings` left out.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// Path of the config file.
    pub config: String,
    /// Base address of its sink.
    pub sink_url: String,
    /// Address that it may listen on.
    pub admin: String,
    /// Folder that it may write to.
    pub state_dir: String,
    /// Address of the Docker Engine.
    pub docker_host: String,
    /// Where the engine keeps the containers' logs.
    pub containers_root: String,
    /// `key=value` of the label that the run's containers carry.
    pub run_label: String,
    /// What the sink accepts, with a unit.
    pub window: String,
}

/// The templates filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// Command line.
    pub command: Vec<String>,
    /// Text of the config file.
    pub config: String,
    /// How it says that it collects.
    pub ready: Ready,
    /// Address of the metrics, where it has any.
    pub metrics_url: Option<String>,
    /// Where its dead letters lie.
    pub dead_letters: Option<DeadLetters>,
    /// What else it needs in its container.
    pub mounts: Vec<String>,
}

/// How a target says that it collects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ready {
    /// This address answers 200.
    Url(String),
    /// This file is there.
    File(String),
    /// It does not: it is taken for ready once it is started.
    #[default]
    Started,
}

/// A template can't be filled in.
#[derive(Debug, thiserror::Error)]
#[error("target {target}: the template of `{field}` can't be filled in: {source}")]
pub struct TemplateError {
    target: String,
    field: &'static str,
    source: minijinja::Error,
}

impl Spec {
    /// Joins a target's file with its entry in the scenario.
    ///
    /// # Errors
    /// The name of a setting that the file does not have.
    pub fn join(name: &str, mut kind: Kind, entry: Entry) -> Result<Self, String> {
        for (key, value) in entry.settings {
            match kind.settings.get_mut(&key) {
                Some(setting) => *setting = value,
                None => return Err(key),
            }
        }
        kind.bounds.extend(entry.bounds);
        kind.resources = kind.resources.overridden_by(entry.resources);
        let Entry { expect, must_leak, must_not_leak, figures, restart, run_in, .. } = entry;
        kind.run_in = run_in.unwrap_or(kind.run_in);
        let (name, run_in_at) = (name.to_owned(), String::new());
        Ok(Self { name, expect, must_leak, must_not_leak, figures, kind, restart, run_in_at })
    }

    /// What it is held to.
    #[must_use]
    pub fn terms(&self) -> Terms {
        Terms {
            design: self.kind.design.clone(),
            expect: self.expect,
            must_leak: if self.expect == Expect::Leak { self.must_leak.clone() } else { Vec::new() },
            must_not_leak: self.must_not_leak.clone(),
            figures: self.figures.clone(),
            bounds: self.kind.bounds.clone(),
            resources: self.kind.resources.clone(),
            run_in: self.kind.run_in,
            uncounted: if self.kind.metrics.counts_tasks() { Vec::new() } else { vec![Resource::Tasks] },
        }
    }

    /// Fills in the templates. The filter `quoted` makes a text a string of JSON, and so of YAML: for what
    /// may hold a quote or a backslash, as a path may.
    ///
    /// # Errors
    /// [`TemplateError`]: a template that does not parse, or names what is not there.
    pub fn fill(&self, facts: &Facts) -> Result<Filled, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_filter("quoted", |text: &str| serde_json::Value::from(text).to_string());
        let facts = Value::from(Serde(facts));
        let settings = Value::from(Serde(&self.kind.settings));
        let context = minijinja::context! { settings, ..facts };
        let render = |field, template: &str| {
            let text = environment.render_str(template, context.clone());
            text.map_err(|source| TemplateError { target: self.name.clone(), field, source })
        };
        let each = |field, parts: &[String]| parts.iter().map(|part| render(field, part)).collect();
        let command: Result<_, _> = each("command", &self.kind.command);
        let mounts: Result<_, _> = each("mounts", &self.kind.mounts);
        let dead_letters = self.kind.dead_letters.as_ref().map(|letters| {
            let folder = render("dead_letters.folder", &letters.folder)?;
            Ok(DeadLetters { folder, ..letters.clone() })
        });
        Ok(Filled {
            command: command?,
            mounts: mounts?,
            dead_letters: dead_letters.transpose()?,
            config: render("config", &self.kind.config)?,
            ready: match (&self.kind.ready_url, &self.kind.ready_file) {
                (Some(url), _) => Ready::Url(render("ready_url", url)?),
                (None, Some(file)) => Ready::File(render("ready_file", file)?),
                (None, None) => Ready::Started,
            },
            metrics_url: match &self.kind.metrics_url {
                Some(url) => Some(render("metrics_url", url)?),
                None => None,
            },
        })
    }
}

/// One that is judged and never started.
///
/// # Panics
/// Where the settings of the two halves contradict each other: there are none.
#[cfg(test)]
#[must_use]
pub(crate) fn of(name: &str, expect: Expect, bounds: &[(Resource, u32)]) -> Spec {
    let kind = Kind {
        design: name.into(),
        command: vec![],
        config: String::new(),
        config_ending: config_ending(),
        install: None,
        ready_url: None,
        ready_file: None,
        metrics_url: None,
        metrics: MetricNames { tasks: Some("tasks".to_owned()), ..MetricNames::default() },
        dead_letters: None,
        settings: BTreeMap::new(),
        bounds: bounds.iter().copied().collect(),
        resources: Allowance::default(),
        run_in: RunIn::Process,
        mounts: vec![],
    };
    Spec::join(name, kind, Entry { expect, ..Entry::flat(String::new()) }).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(config: &str) -> Spec {
        let kind = Kind {
            design: "pool".into(),
            command: vec!["shipper".into(), "{{ config }}".into()],
            config: config.into(),
            config_ending: "config".into(),
            install: None,
            ready_url: Some("http://{{ admin }}/ready".into()),
            ready_file: None,
            metrics_url: Some("http://{{ admin }}/metrics".into()),
            metrics: MetricNames::default(),
            dead_letters: None,
            settings: BTreeMap::from([("max_connections".to_owned(), 16.into())]),
            bounds: BTreeMap::from([(Resource::Fds, 24), (Resource::Tasks, 24)]),
            resources: Allowance { fds: Some(64), ..Allowance::default() },
            run_in: RunIn::Process,
            mounts: vec!["{{ state_dir }}/../more".into()],
        };
        let settings = BTreeMap::from([("max_connections".to_owned(), 4.into())]);
        let bounds = BTreeMap::from([(Resource::Fds, 12)]);
        let resources = Allowance { fds: Some(128), ..Allowance::default() };
        let run_in = Some(RunIn::Container);
        let entry = Entry { settings, bounds, resources, run_in, ..Entry::flat(String::new()) };
        Spec::join("pool", kind, entry).unwrap()
    }

    fn facts() -> Facts {
        Facts {
            config: "/run/pool.yaml".into(),
            sink_url: "http://127.0.0.1:1".into(),
            admin: "127.0.0.1:2".into(),
            state_dir: "/run/state".into(),
            docker_host: "unix:///docker.sock".into(),
            containers_root: "/containers".into(),
            run_label: "flatline.run=x".into(),
            window: "15s".into(),
        }
    }

    #[test]
    fn the_scenario_overrides_the_settings_of_the_file() {
        let filled = spec("max: {{ settings.max_connections }}, to: {{ sink_url }}").fill(&facts()).unwrap();
        assert_eq!(filled.config, "max: 4, to: http://127.0.0.1:1");
        assert_eq!(filled.command, ["shipper", "/run/pool.yaml"]);
        assert_eq!(filled.ready, Ready::Url("http://127.0.0.1:2/ready".to_owned()));
        assert_eq!(filled.mounts, ["/run/state/../more"]);
    }

    #[test]
    fn the_scenario_overrides_the_bounds_that_it_names() {
        let bounds = spec("").kind.bounds;
        assert_eq!(bounds, BTreeMap::from([(Resource::Fds, 12), (Resource::Tasks, 24)]));
        let terms = spec("").terms();
        assert_eq!((terms.resources.fds, terms.run_in), (Some(128), RunIn::Container));
    }

    #[test]
    fn a_path_with_a_quote_in_it_stays_one_string() {
        let facts = Facts { state_dir: r#"/a "b" \c"#.into(), ..facts() };
        let filled = spec("dir: {{ state_dir | quoted }}").fill(&facts).unwrap();
        assert_eq!(filled.config, r#"dir: "/a \"b\" \\c""#);
    }

    #[test]
    fn a_template_that_names_what_is_not_there_is_refused() {
        let message = spec("{{ settings.typo }}").fill(&facts()).unwrap_err().to_string();
        assert!(message.contains("target pool") && message.contains("`config`"), "{message}");
    }
}
