//! The config file: composes what the components need, and reports every mistake at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::delivery::{dead_letters, retry};
use crate::loki::client;
use crate::source::hybrid;
use crate::{admin, batch, pipeline, units, window};

pub mod start;
mod check;

pub use start::Start;

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
    /// Its form.
    #[error("{path}: {reason}")]
    Form {
        /// Which file.
        path: PathBuf,
        /// What, and in which line and column.
        reason: String,
    },
    /// Its meaning.
    #[error("{}: {}", path.display(), mistakes.join(&format!("\n{}: ", path.display())))]
    Meaning {
        /// Which file.
        path: PathBuf,
        /// All of them.
        mistakes: Vec<String>,
    },
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// The first mistake of form, or all mistakes of meaning.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let config = Self::parse(&text).map_err(|reason| Error::Form { path: path.to_owned(), reason })?;
        let mistakes = config.mistakes();
        if mistakes.is_empty() { Ok(config) } else { Err(Error::Meaning { path: path.to_owned(), mistakes }) }
    }

    /// An empty file is a config: all defaults.
    fn parse(text: &str) -> Result<Self, String> {
        let nothing = text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
        if nothing {
            Ok(Self::default())
        } else {
            serde_saphyr::from_str(text).map_err(|error| place_first(&error))
        }
    }

    /// The whole config with its defaults filled in, as a file that can be read again.
    ///
    /// # Errors
    /// Not in practice.
    pub fn to_yaml(&self) -> Result<String, String> {
        serde_saphyr::to_string(self).map_err(|error| error.to_string())
    }
}

/// `line 2 column 3: …`, then the lines around it.
fn place_first(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("error: ").map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn the_documented_config_is_the_default() {
        assert_eq!(Config::parse(DESIGN).unwrap(), Config::default());
        assert_eq!(Config::parse("# nothing\n\n").unwrap(), Config::default());
        assert_eq!(Config::default().mistakes(), Vec::<String>::new());
    }

    #[test]
    fn what_is_printed_can_be_read_again() {
        let retry = retry::Config { budget: Some(Duration::from_secs(60)), ..retry::Config::default() };
        let config = Config { start: Start::Since(Duration::from_secs(5400)), retry, ..Config::default() };
        assert_eq!(Config::parse(&config.to_yaml().unwrap()).unwrap(), config);
    }

    #[test]
    fn a_start_may_be_a_word_or_a_mapping() {
        let start = |text: &str| Config::parse(text).map(|config| config.start);
        let hour = Start::Since(Duration::from_secs(3600));
        assert_eq!(start("start: beginning"), Ok(Start::Beginning));
        assert_eq!(start("start: {since: 1h}"), Ok(hour));
        assert_eq!(start("start: \"since: 1h\""), Ok(hour));
        let error = start("design: pool\nstart: middle").unwrap_err();
        assert!(
            error.starts_with("line 2 column 8: \"middle\" is no start: write `end`, `beginning` or"),
            "{error}"
        );
    }

    #[test]
    fn a_mistake_of_form_has_its_line_and_field() {
        let error = |text: &str| Config::parse(text).unwrap_err();
        insta::assert_snapshot!(error("loki:\n  uri: x"), @r"
        line 2 column 3: unknown field `uri`, expected one of url, tenant, tenants, encoding, gzip, basic_auth, bearer_token_file, tls
         --> <input>:2:3
          |
        1 | loki:
        2 |   uri: x
          |   ^ unknown field `uri`, expected one of url, tenant, tenants, encoding, gzip, basic_auth, bearer_token_file, tls
        ");
        insta::assert_snapshot!(error("design: both"), @r"
        line 1 column 9: unknown variant `both`, expected one of pool, hybrid, auto
         --> <input>:1:9
          |
        1 | design: both
          |         ^ unknown variant `both`, expected one of pool, hybrid, auto
        ");
        insta::assert_snapshot!(error("batch: {max_wait: 10}"), @r#"
        line 1 column 19: "10" is no duration: time unit needed, for example 10sec or 10ms (write `10s`, `5m`, `7d`)
         --> <input>:1:19
          |
        1 | batch: {max_wait: 10}
          |                   ^ "10" is no duration: time unit needed, for example 10sec or 10ms (write `10s`, `5m`, `7d`)
        "#);
    }

    #[test]
    fn all_mistakes_of_meaning_are_told_at_once() {
        let text = "docker: {host: docker, max_connections: 0}\nloki: {url: ftp://loki}\n\
            batch: {max_bytes: 5MiB}\nadmin: {listen: 0.0.0.0:1}\nretry: {initial: 2m}\ndiscovery: {labels: [=x]}";
        insta::assert_snapshot!(Config::parse(text).unwrap().mistakes().join("\n"), @r#"
        loki.url has the scheme "ftp"; write http://host:3100 or https://host
        docker.max_connections is 0: it must be at least 1
        docker.host "docker" is not understood: give unix:///path/to/docker.sock or tcp://host:port
        admin.listen 0.0.0.0:1 is no loopback address; the metrics page is for this machine only: write 127.0.0.1 and put a proxy before it
        discovery.labels has "=x": write key=value
        batch.max_bytes 5.0 MiB is over 3.5 MiB: Loki takes 4 MiB in all
        limits.container_bytes 4.0 MiB is less than two batches (batch.max_bytes is 5.0 MiB): a container could not fill one while another is under way
        retry.initial is longer than retry.max
        "#);
    }

    #[test]
    fn a_tenant_is_one_that_loki_takes_and_stands_there_once() {
        let mistakes =
            |loki: &str| Config::parse(&format!("loki: {{{loki}}}")).unwrap().mistakes().join("\n");
        for (loki, words) in [
            (
                "tenant: a|b",
                "the tenant \"a|b\" (loki.tenant, loki.tenants.allow) is none for Loki: write 1 to 150 of",
            ),
            ("tenant: ''", "the tenant \"\" "),
            ("tenants: {label: team, allow: [red, blue/x]}", "the tenant \"blue/x\" "),
            ("tenants: {label: team, allow: ['..']}", "the tenant \"..\" "),
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
        ] {
            assert!(mistakes(loki).starts_with(words), "{loki}: {}", mistakes(loki));
        }
        assert_eq!(mistakes("tenant: ops, tenants: {label: team, allow: [red, blue]}"), "");
    }

    #[test]
    fn what_is_too_large_for_the_program_is_refused_and_does_not_end_it_later() {
        let text = "docker: {max_connections: 18446744073709551615}\nlimits: {queue_lines: 18446744073709551615}\n\
            batch: {max_wait: 500years}\nretry: {max: 500years, budget: 0s}\nwindow: {max_future: 500years, max_streams: 0, probe_every: 500years}\nshutdown_deadline: 0s\nstate_dir: \"\"";
        insta::assert_snapshot!(Config::parse(text).unwrap().mistakes().join("\n"), @r"
        docker.max_connections is 18446744073709551615: it must be at most 1000000
        limits.queue_lines is 18446744073709551615: it must be at most 1000000
        batch.max_wait is longer than 100 years
        window.probe_every is longer than 100 years
        window.max_streams is 0: it must be at least 1
        retry.max is longer than 100 years
        retry.budget is 0s: it must be longer
        window.max_future is longer than 100 years
        shutdown_deadline is 0s: it must be longer
        state_dir is empty: write a folder
        ");
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_at_each_level() {
        for text in
            ["design: pool\ndesign: hybrid", "loki: {tenant: a, tenant: b}", "start: {since: 1h, since: 2h}"]
        {
            assert!(Config::parse(text).is_err(), "{text}");
        }
        for section in [
            "docker",
            "hybrid",
            "discovery",
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
            let error = Config::parse(&format!("{section}: {{ no_such_key: 1 }}")).unwrap_err();
            assert!(error.contains("no_such_key"), "{section}: {error}");
        }
    }
}
