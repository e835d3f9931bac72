//! The config file: composes what the components need, and reports every mistake at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::delivery::{dead_letters, retry};
use crate::files;
use crate::loki::client;
use crate::source::hybrid;
use crate::{admin, batch, filter, labels, pipeline, units, window};

pub mod start;
pub mod tree;
mod expand;
pub mod read;
mod check;

pub use start::Start;
use tree::{Mistake, Place};

/// All settings; each has a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How logs are collected.
    pub design: Design,
    /// Where Docker is.
    pub docker: Docker,
    /// Bounds of reading files (`hybrid`).
    pub hybrid: hybrid::Limits,
    /// Which containers.
    pub discovery: Discovery,
    /// What streams are called.
    pub labels: labels::Config,
    /// Which lines are dropped, and what is redacted.
    pub lines: filter::Config,
    /// Where to begin with a container that was there before us and is not in the checkpoint.
    pub start: Start,
    /// Checkpoint and dead letters. Its own for each shipper; on a full disk nothing is lost.
    pub state_dir: PathBuf,
    /// Where lines go.
    pub loki: client::Config,
    /// How many go at once.
    pub batch: batch::Config,
    /// Which times Loki takes.
    pub window: window::Config,
    /// What happens when Loki does not.
    pub retry: retry::Config,
    /// Lines that can't be delivered. While the disk takes none of them, delivery waits.
    pub dead_letters: dead_letters::Config,
    /// Bounds of queues and lines.
    pub limits: pipeline::Limits,
    /// What is remembered of containers.
    pub metadata: Metadata,
    /// Metrics and health.
    pub admin: admin::Config,
    /// From the first signal to the end, at most.
    #[serde(with = "units")]
    pub shutdown_deadline: Duration,
    /// The shipper's own log, on standard error.
    pub log: Log,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            design: Design::Hybrid,
            docker: Docker::default(),
            hybrid: hybrid::Limits::default(),
            discovery: Discovery::default(),
            labels: labels::Config::default(),
            lines: filter::Config::default(),
            start: Start::End,
            state_dir: PathBuf::from("/var/lib/shipper"),
            loki: client::Config::default(),
            batch: batch::Config::default(),
            window: window::Config::default(),
            retry: retry::Config::default(),
            dead_letters: dead_letters::Config::default(),
            limits: pipeline::Limits::default(),
            metadata: Metadata::default(),
            admin: admin::Config::default(),
            shutdown_deadline: Duration::from_secs(8),
            log: Log::default(),
        }
    }
}

/// `design:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Design {
    /// Docker's log API over a bounded pool of connections: works with any logging driver it can read.
    Pool,
    /// Tails the files of the json-file driver: cheapest, needs to read Docker's folder.
    Hybrid,
    /// For each container the one that fits its logging driver.
    Auto,
}

/// `docker:`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Docker {
    /// `unix:///path` or `tcp://host:port`.
    pub host: String,
    /// Log connections at once (`pool`); containers beyond that are served in turn.
    pub max_connections: usize,
    /// Where the json-file driver writes (`hybrid`).
    pub containers_root: PathBuf,
}

impl Default for Docker {
    fn default() -> Self {
        Self {
            host: "unix:///var/run/docker.sock".to_owned(),
            max_connections: 32,
            containers_root: PathBuf::from("/var/lib/docker/containers"),
        }
    }
}

/// `discovery:`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Discovery {
    /// Only containers that bear all of these labels (`key=value`, or `key` for any value).
    pub labels: Vec<String>,
    /// No container that bears one of these.
    pub exclude: Vec<String>,
}

/// `metadata:`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metadata {
    /// How long what is known of a container is believed.
    #[serde(with = "units")]
    pub ttl: Duration,
    /// Of how many containers it is remembered.
    pub max_entries: usize,
}

impl Default for Metadata {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(300), max_entries: 10_000 }
    }
}

/// `log:`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// The least that is worth a line.
    pub level: LogLevel,
}

/// `log.format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// `log.level`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// What needs a person.
    Error,
    /// What may need one.
    Warn,
    /// What a person likes to know.
    #[default]
    Info,
    /// For finding a fault.
    Debug,
    /// Everything.
    Trace,
}

/// A config that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file.
    #[error("can't read the config {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What stands in it.
    #[error("{}", list(path, mistakes))]
    Mistakes {
        /// Which file.
        path: PathBuf,
        /// All of them, in the order of the file.
        mistakes: Vec<Mistake>,
    },
}

/// A line for each: `shipper.yaml:3:5: retry.initial is longer than retry.max`.
fn list(path: &Path, mistakes: &[Mistake]) -> String {
    let line = |Mistake { at, words }: &Mistake| match at {
        Some(Place { line, column }) => format!("{}:{line}:{column}: {words}", path.display()),
        None => format!("{}: {words}", path.display()),
    };
    mistakes.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A config is a page of text; a device given by mistake must not fill the memory.
const BYTES_MAX: u64 = 1 << 20;

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// All mistakes in it.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = files::read_named(path, BYTES_MAX)
            .map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let variable = |name: &str| std::env::var(name).ok();
        Self::parse(&text, &variable).map_err(|mistakes| Error::Mistakes { path: path.to_owned(), mistakes })
    }

    /// An empty file is a config: all defaults.
    fn parse(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let root = match tree::parse(text, &mut mistakes) {
            Ok(root) => root,
            Err(mistake) => return Err([mistakes, vec![mistake]].concat()),
        };
        let Some(mut root) = root else { return Ok(Self::default()) };
        let mut wrong = Vec::new();
        expand::expand(&mut root, variable, &mut wrong);
        let names =
            |wrong: &[(String, Mistake)]| wrong.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        wrong.extend(read::mistakes::<Self>(&root.without(&names(&wrong))));
        let right = root.without(&names(&wrong));
        mistakes.extend(wrong.into_iter().map(|(_, mistake)| mistake));
        // Whatever else is wrong, what can be read is judged.
        if let Ok(config) = read::read::<Self>(&right) {
            mistakes.extend(config.mistakes().into_iter().map(|words| {
                let found = root.nearest(words.split(' ').next().unwrap_or_default());
                Mistake { at: (!found.path.is_empty()).then_some(found.at), words }
            }));
            if mistakes.is_empty() {
                return Ok(config);
            }
        }
        mistakes.sort_by_key(|mistake| mistake.at);
        Err(mistakes)
    }

    /// The whole config with its defaults filled in, as a file that can be read again.
    ///
    /// # Errors
    /// Not in practice.
    pub fn to_yaml(&self) -> Result<String, String> {
        let mut tree = serde_json::to_value(self).map_err(|error| error.to_string())?;
        expand::double_dollars(&mut tree);
        serde_saphyr::to_string(&tree).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loki::auth;
    use crate::tenants;

    /// The keys that others rely on, as the design page has them.
    const DESIGN: &str = r#"
design: hybrid                    # pool | hybrid | auto
docker: { host: "unix:///var/run/docker.sock", max_connections: 32 }
start: end                        # end | beginning | since: 1h
state_dir: /var/lib/shipper       # checkpoint and dead letters
loki: { url: "http://127.0.0.1:3100", tenant: null, encoding: protobuf }   # or json
batch: { max_bytes: 1MiB, max_wait: 1s }
window: { max_age: 7d, max_future: 10m, too_old: dead_letter, too_new: clamp }   # drop | dead_letter | clamp
retry: { max_items: 50, initial: 1s, max: 60s, when_full: pause }           # pause | oldest | newest | random
metadata: { ttl: 5m, max_entries: 10000 }
admin: { listen: "127.0.0.1:9080" }
shutdown_deadline: 8s
"#;

    /// The file in which each option is explained.
    const EXAMPLE: &str = include_str!("../deploy/shipper.yaml");

    fn parse(text: &str) -> Result<Config, String> {
        let variable = |name: &str| (name == "PORT").then(|| "9081".to_owned());
        Config::parse(text, &variable).map_err(|mistakes| list(Path::new("shipper.yaml"), &mistakes))
    }

    #[test]
    fn the_documented_config_is_the_default() {
        assert_eq!(parse(DESIGN), Ok(Config::default()));
        assert_eq!(parse("# nothing\n\n"), Ok(Config::default()));
        assert_eq!(parse("loki:\nbatch:\n"), Ok(Config::default()), "a section without anything in it");
        assert_eq!(Config::default().mistakes(), Vec::<String>::new());
    }

    /// A config in which nothing is left out: what it prints has every key that there is.
    fn complete() -> Config {
        let mut config = Config::default();
        config.loki.tenants = Some(tenants::Config { label: "team".to_owned(), allow: Vec::new() });
        config.loki.basic_auth = Some(auth::Basic { username: String::new(), password_file: PathBuf::new() });
        config.lines.redact = vec![filter::Redaction { pattern: String::new(), replacement: String::new() }];
        config
    }

    /// Each key by its dotted name, and the line in which it stands.
    fn keys(node: &tree::Node) -> Vec<(String, usize)> {
        match &node.value {
            tree::Value::Scalar { .. } => Vec::new(),
            tree::Value::List(items) => items.iter().flat_map(keys).collect(),
            tree::Value::Map(entries) => {
                let own = |(key, node): &(tree::Key, tree::Node)| {
                    [vec![(node.path.clone(), key.at.line)], keys(node)].concat()
                };
                entries.iter().flat_map(own).collect()
            }
        }
    }

    #[test]
    fn the_example_holds_the_defaults_and_explains_every_option() {
        assert_eq!(parse(EXAMPLE), Ok(Config::default()));
        let lines: Vec<&str> = EXAMPLE.lines().collect();
        let explains = |line: usize| lines[line - 1].trim_start().starts_with("## ");
        // One # before an option: an example. Made active, all of them must be options of that type.
        let active = |line: &&str| match line.split_once('#') {
            Some((indent, rest)) if indent.trim().is_empty() && !rest.starts_with('#') => {
                format!("{indent}{rest}")
            }
            _ => (*line).to_owned(),
        };
        let text = lines.iter().map(active).collect::<Vec<_>>().join("\n");
        let mut mistakes = Vec::new();
        let mut root = tree::parse(&text, &mut mistakes).unwrap().unwrap();
        let mut wrong = Vec::new();
        expand::expand(&mut root, &|_| None, &mut wrong);
        wrong.extend(read::mistakes::<Config>(&root));
        assert!(mistakes.is_empty() && wrong.is_empty(), "{mistakes:?} {wrong:?}");

        let there = keys(&root);
        let printed = tree::parse(&complete().to_yaml().unwrap(), &mut Vec::new()).unwrap().unwrap();
        let missing = |(name, _): &(String, usize)| !there.iter().any(|(other, _)| other == name);
        let missing: Vec<_> = keys(&printed).into_iter().filter(missing).map(|(name, _)| name).collect();
        assert_eq!(missing, Vec::<String>::new(), "deploy/shipper.yaml lacks these options");
        let bare: Vec<_> = there.iter().filter(|(_, line)| !explains(line - 1)).collect();
        assert!(bare.is_empty(), "nothing in deploy/shipper.yaml says what these are: {bare:?}");
    }

    #[test]
    fn what_is_printed_can_be_read_again() {
        let retry = retry::Config { budget: Some(Duration::from_secs(60)), ..retry::Config::default() };
        let mut config =
            Config { start: Start::Since(Duration::from_secs(5400)), retry, ..Config::default() };
        config.labels.fixed = [("price".to_owned(), "$5 or ${MORE} or $$".to_owned())].into();
        assert_eq!(parse(&config.to_yaml().unwrap()), Ok(config));
    }

    #[test]
    fn a_start_may_be_a_word_or_a_mapping() {
        let start = |text: &str| parse(text).map(|config| config.start);
        let hour = Start::Since(Duration::from_secs(3600));
        assert_eq!(start("start: beginning"), Ok(Start::Beginning));
        assert_eq!(start("start: {since: 1h}"), Ok(hour));
        assert_eq!(start("start: \"since: 1h\""), Ok(hour));
    }

    #[test]
    fn a_variable_may_stand_in_any_value_and_is_read_as_what_belongs_there() {
        let config = parse(
            "admin: {listen: \"127.0.0.1:${PORT}\"}\ndocker:\n  max_connections: ${NONE:-7}\n\
             batch: {max_wait: '${NONE:-3s}', max_bytes: \"${NONE:-2MiB}\"}\ndesign: ${NONE:-pool}\n\
             loki:\n  tenant: ${NONE:-null}\n  gzip: ${NONE:-false}",
        )
        .unwrap();
        assert_eq!((config.admin.listen.port(), config.docker.max_connections), (9081, 7));
        assert_eq!((config.batch.max_wait, config.design), (Duration::from_secs(3), Design::Pool));
        assert_eq!((config.loki.tenant, config.loki.gzip), (None, false));
    }

    #[test]
    fn all_mistakes_are_told_at_once_each_with_its_place_and_field() {
        let text = "design: both
docker: {host: docker, max_connections: many}
start: middle
loki:
  uri: x
  url: ftp://loki
  tenant: [a]
  tls: yes please
  basic_auth: {username: me}
  no_such_key_at_all: 1
batch: {max_wait: 10, max_bytes: 5MiB}
admin: {listen: 0.0.0.0:1}
retry: {initial: 2m, when_full: explode}
discovery: {labels: [ok, =x]}
window: 7d
";
        insta::assert_snapshot!(parse(text).unwrap_err(), @r#"
        shipper.yaml: limits.container_bytes 4.0 MiB is less than two batches (batch.max_bytes is 5.0 MiB): a container could not fill one while another is under way
        shipper.yaml:1:9: design is "both": write `pool`, `hybrid` or `auto`
        shipper.yaml:2:16: docker.host "docker" is not understood: give unix:///path/to/docker.sock or tcp://host:port
        shipper.yaml:2:41: docker.max_connections is "many": write a whole number, 0 or more
        shipper.yaml:3:8: start is wrong: "middle" is no start: write `end`, `beginning` or `{since: 1h}`
        shipper.yaml:5:3: loki.uri is no key: is it `url`?
        shipper.yaml:6:8: loki.url has the scheme "ftp"; write http://host:3100 or https://host
        shipper.yaml:7:11: loki.tenant is a list: write a text
        shipper.yaml:8:8: loki.tls is "yes please": write `key: value` pairs
        shipper.yaml:9:15: loki.basic_auth lacks `password_file`
        shipper.yaml:10:3: loki.no_such_key_at_all is no key: the keys here are `url`, `tenant`, `tenants`, `encoding`, `gzip`, `basic_auth`, `bearer_token_file` and `tls`
        shipper.yaml:11:19: batch.max_wait is wrong: "10" is no duration: time unit needed, for example 10sec or 10ms (write `10s`, `5m`, `7d`)
        shipper.yaml:11:34: batch.max_bytes 5.0 MiB is over 3.5 MiB: Loki takes 4 MiB in all
        shipper.yaml:12:17: admin.listen 0.0.0.0:1 is no loopback address; whoever reaches it sees all containers' names: write 127.0.0.1, or admin.allow_remote: true
        shipper.yaml:13:18: retry.initial is longer than retry.max
        shipper.yaml:13:33: retry.when_full is "explode": write `pause`, `oldest`, `newest` or `random`
        shipper.yaml:14:21: discovery.labels has "=x": write key=value
        shipper.yaml:15:9: window is "7d": write `key: value` pairs
        "#);
    }

    #[test]
    fn what_is_no_yaml_and_what_is_not_in_the_environment_is_told_with_its_place() {
        insta::assert_snapshot!(parse("design: hybrid\nloki: {url: x").unwrap_err(), @r#"
        shipper.yaml:2:7: no YAML: unclosed bracket '{'
        "#);
        insta::assert_snapshot!(parse("loki:\n  url: ${LOKI}\n  tenant: ${TENANT}\nloki: {}\n").unwrap_err(), @r#"
        shipper.yaml:2:8: loki.url names ${LOKI}, which is not in the environment: set it, or write ${LOKI:-default}
        shipper.yaml:3:11: loki.tenant names ${TENANT}, which is not in the environment: set it, or write ${TENANT:-default}
        shipper.yaml:4:1: loki stands there twice, first in line 1
        "#);
        insta::assert_snapshot!(parse("hello").unwrap_err(), @r#"
        shipper.yaml:1:1: the file is "hello": write `key: value` pairs
        "#);
    }

    #[test]
    fn each_mistake_of_meaning_begins_with_a_field() {
        let text = "docker: {host: docker, max_connections: 0}\nloki: {url: ftp://loki, tenants: {label: '', allow: [a]}}\n\
            batch: {max_bytes: 5MiB}\nlimits: {max_line: 9MiB}\nadmin: {listen: 0.0.0.0:1}\nretry: {initial: 2m, budget: 500years}\n\
            discovery: {labels: [=x]}\nstart: {since: 999999d}\nstate_dir: ''\nhybrid: {deleted_hold_max_bytes: 1}\n\
            dead_letters: {max_bytes: 1, max_segments: 1}";
        let told = parse(text).unwrap_err();
        let printed = Config::default().to_yaml().unwrap();
        let root = tree::parse(&printed, &mut Vec::new()).unwrap().unwrap();
        assert!(told.lines().count() > 12, "{told}");
        for line in told.lines() {
            let field = line.split(' ').nth(1).unwrap();
            let known = &root.nearest(field).path;
            assert!(known == field || field.starts_with("loki.tenants.") || field == "start.since", "{line}");
        }
    }

    #[test]
    fn what_surely_is_a_mistake_is_refused_with_what_to_write() {
        for (text, words) in [
            ("docker: {host: \"tcp://a:b\"}", "give unix:///path/to/docker.sock or tcp://host:port"),
            (
                "admin: {listen: \"localhost:9080\"}",
                "\"localhost:9080\" is no IP address with a port, such as",
            ),
            ("lines: {drop: [\"\"]}", "lines.drop.0 is empty, and would drop every line"),
            (
                "loki: {basic_auth: {username: \"a:b\", password_file: /etc/hostname}}",
                "loki.basic_auth.username has a colon",
            ),
        ] {
            let told = parse(text).unwrap_err();
            assert!(told.contains(words) && told.lines().count() == 1, "{text}: {told}");
        }
    }

    #[test]
    fn who_wants_his_metrics_on_the_network_must_say_so() {
        assert!(parse("admin: {listen: \"[::]:9080\"}").is_err());
        assert!(parse("admin: {listen: \"[::]:9080\", allow_remote: true}").is_ok());
    }

    #[test]
    fn a_tenant_is_one_that_loki_takes_and_stands_there_once() {
        for (loki, words) in [
            (
                "tenant: a|b",
                "loki.tenant or loki.tenants.allow has \"a|b\", which is no name for Loki: write 1 to 150 of",
            ),
            ("tenant: ''", "loki.tenant or loki.tenants.allow has \"\""),
            (
                "tenants: {label: team, allow: [red, blue/x]}",
                "loki.tenant or loki.tenants.allow has \"blue/x\"",
            ),
            ("tenants: {label: team, allow: ['..']}", "loki.tenant or loki.tenants.allow has \"..\""),
            (
                "tenant: red, tenants: {label: team, allow: [red]}",
                "loki.tenants.allow names \"red\", which stands there twice",
            ),
            (
                "tenants: {label: team, allow: [red, red]}",
                "loki.tenants.allow names \"red\", which stands there twice",
            ),
            ("tenants: {label: '', allow: [red]}", "loki.tenants.label is empty: write the container label"),
            ("tenants: {label: team, allow: []}", "loki.tenants.allow has 0 names: write 1 to 1000"),
            ("tenants: {label: team}", "loki.tenants lacks `allow`"),
        ] {
            let told = parse(&format!("loki: {{{loki}}}")).unwrap_err();
            assert!(told.contains(words) && told.lines().count() == 1, "{loki}: {told}");
        }
        assert!(parse("loki: {tenant: ops, tenants: {label: team, allow: [red, blue]}}").is_ok());
    }

    #[test]
    fn what_is_too_large_for_the_program_is_refused_and_does_not_end_it_later() {
        let text = "docker: {max_connections: 18446744073709551615}\nlimits: {queue_lines: 18446744073709551616}\n\
            batch: {max_wait: 500years}\nretry: {max: 500years, budget: 0s}\nwindow: {max_future: 500years, probe_every: 500years}\nshutdown_deadline: 0s\nstate_dir: \"\"";
        insta::assert_snapshot!(parse(text).unwrap_err(), @r#"
        shipper.yaml:1:27: docker.max_connections is 18446744073709551615: it must be at most 1000000
        shipper.yaml:2:23: limits.queue_lines is "18446744073709551616": write a whole number, 0 or more
        shipper.yaml:3:19: batch.max_wait is longer than 100 years
        shipper.yaml:4:14: retry.max is longer than 100 years
        shipper.yaml:4:32: retry.budget is 0s: it must be longer
        shipper.yaml:5:22: window.max_future is longer than 100 years
        shipper.yaml:5:45: window.probe_every is longer than 100 years
        shipper.yaml:6:20: shutdown_deadline is 0s: it must be longer
        shipper.yaml:7:12: state_dir is empty: write a folder
        "#);
    }

    #[test]
    fn a_key_that_nobody_knows_is_refused_in_each_section() {
        for section in [
            "docker",
            "hybrid",
            "discovery",
            "labels",
            "lines",
            "loki",
            "batch",
            "window",
            "retry",
            "dead_letters",
            "limits",
            "metadata",
            "admin",
            "log",
            "start",
        ] {
            let error = parse(&format!("{section}: {{ no_such_key: 1 }}")).unwrap_err();
            assert!(error.contains("no_such_key"), "{section}: {error}");
        }
    }
}
