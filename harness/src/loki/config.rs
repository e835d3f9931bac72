//! Loki's config file, as far as this mock keeps it: the keys, their places and their forms are Loki's.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_saphyr::{MessageFormatter, UserMessageFormatter};

use super::limits::{
    DistributorConfig, DistributorFile, IngesterConfig, IngesterFile, Limits, LimitsFile, ServerConfig,
    ServerFile,
};
use crate::faults::Plan;
use crate::units::{Factor, Span};

/// A config is a page of text.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// How this Loki is set up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Whether a push must name its tenant. Off where the file does not say: most clients name none.
    pub auth_enabled: bool,
    /// The limits of every tenant that has none of its own.
    pub limits_config: Limits,
    /// The limits of single tenants.
    pub overrides: BTreeMap<String, Limits>,
    /// What concerns streams.
    pub ingester: IngesterConfig,
    /// What concerns pushes as a whole.
    pub distributor: DistributorConfig,
    /// What concerns messages within Loki.
    pub server: ServerConfig,
}

impl Config {
    /// The same in time that is compressed: times are divided, rates multiplied. What is refused as too old is the
    /// run's own window, which is compressed where it is said, unless a tenant has another one.
    #[must_use]
    pub fn compressed(mut self, by: Factor) -> Self {
        let shorten = |time: &mut Duration| *time = by.shorten(Span(*time)).0;
        let window = self.limits_config.reject_old_samples_max_age;
        for limits in std::iter::once(&mut self.limits_config).chain(self.overrides.values_mut()) {
            shorten(&mut limits.creation_grace_period);
            if limits.reject_old_samples_max_age != window {
                shorten(&mut limits.reject_old_samples_max_age);
            }
            limits.ingestion_rate_mb *= by.get();
            limits.per_stream_rate_limit = faster(limits.per_stream_rate_limit, by);
            limits.shard_streams.desired_rate = faster(limits.shard_streams.desired_rate, by);
        }
        let IngesterConfig { max_chunk_age, chunk_idle_period, flush_check_period, .. } = &mut self.ingester;
        [max_chunk_age, chunk_idle_period, flush_check_period].into_iter().for_each(shorten);
        self
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn faster(per_second: usize, by: Factor) -> usize {
    (per_second as f64 * by.get()) as usize
}

/// What a scenario says of its sinks, in Loki's own keys. The window is not among them: it has a field of its own.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct Said {
    file: ConfigFile,
    text: Value,
}

impl Said {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.text.is_null()
    }

    /// Laid over what stands beneath.
    #[must_use]
    pub fn over(&self, beneath: &Config) -> Config {
        self.file.clone().over(beneath)
    }
}

impl TryFrom<Value> for Said {
    type Error = String;

    fn try_from(text: Value) -> Result<Self, String> {
        if text.pointer("/limits_config/reject_old_samples_max_age").is_some() {
            return Err(
                "limits_config.reject_old_samples_max_age: the scenario says it as `window`".to_owned()
            );
        }
        let file =
            Option::<ConfigFile>::deserialize(&text).map_err(|error| format!("Loki's config: {error}"))?;
        Ok(Self { file: file.unwrap_or_default(), text })
    }
}

impl From<Said> for Value {
    fn from(said: Said) -> Self {
        said.text
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ConfigFile {
    auth_enabled: Option<bool>,
    limits_config: Option<LimitsFile>,
    overrides: Option<BTreeMap<String, Option<LimitsFile>>>,
    ingester: Option<IngesterFile>,
    distributor: Option<DistributorFile>,
    server: Option<ServerFile>,
}

impl ConfigFile {
    fn over(self, beneath: &Config) -> Config {
        let limits_config = self.limits_config.unwrap_or_default().over(&beneath.limits_config);
        let overrides = self.overrides.unwrap_or_default().into_iter();
        let of_tenant = |said: Option<LimitsFile>| said.unwrap_or_default().over(&limits_config);
        Config {
            auth_enabled: self.auth_enabled.unwrap_or(beneath.auth_enabled),
            overrides: overrides.map(|(tenant, said)| (tenant, of_tenant(said))).collect(),
            ingester: self.ingester.unwrap_or_default().over(&beneath.ingester),
            distributor: self.distributor.unwrap_or_default().over(&beneath.distributor),
            server: self.server.unwrap_or_default().over(&beneath.server),
            limits_config,
        }
    }
}

/// Why a config is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It can't be read.
    #[error("can't read {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It does not parse: the message names file, line, column and field.
    #[error("{path}:{why}")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        why: String,
    },
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError`]: it can't be read, or says what this mock does not know.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            read_bounded(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|why| ConfigError::Parse { path: path.to_owned(), why })
    }

    /// Reads a text; says where it is wrong, and how.
    ///
    /// # Errors
    /// Line, column and what is wrong there.
    pub fn parse(text: &str) -> Result<Self, String> {
        read::<ConfigFile>(text).map(|file| file.over(&Self::default()))
    }

    /// Sets the window of all tenants that have none of their own.
    pub fn set_max_age(&mut self, max_age: Duration) {
        let beneath = std::mem::replace(&mut self.limits_config.reject_old_samples_max_age, max_age);
        let without_own = self.overrides.values_mut().filter(|own| own.reject_old_samples_max_age == beneath);
        without_own.for_each(|limits| limits.reject_old_samples_max_age = max_age);
    }

    /// The limits of one tenant.
    #[must_use]
    pub fn limits_of(&self, tenant: &str) -> &Limits {
        self.overrides.get(tenant).unwrap_or(&self.limits_config)
    }
}

/// Reads a plan of faults: `seed` and `faults`.
///
/// # Errors
/// [`ConfigError`]: it can't be read, or makes no sense.
pub fn load_faults(path: &Path) -> Result<Plan, ConfigError> {
    let wrong = |why| ConfigError::Parse { path: path.to_owned(), why };
    let text = read_bounded(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let plan: Plan = read(&text).map_err(wrong)?;
    let of_the_world =
        plan.faults.iter().enumerate().filter(|(_, timed)| timed.fault.of_the_world().is_some());
    let of_the_world = of_the_world.map(|(place, timed)| {
        format!("faults[{place}].fault: {} happens in a run, not in a sink alone", timed.fault.words())
    });
    let mistakes: Vec<String> = plan.mistakes().into_iter().chain(of_the_world).collect();
    match mistakes.as_slice() {
        [] => Ok(plan),
        mistakes => Err(wrong(format!(" {}", mistakes.join("; ")))),
    }
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_saphyr::from_str(text).map_err(|error| {
        let at = error.location().map_or_else(String::new, |at| format!("{}:{}", at.line(), at.column()));
        format!("{at}: {}", UserMessageFormatter.format_message(error.without_snippet()))
    })
}

/// A device or a huge file given by mistake must not fill the memory.
fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("it is longer than 1 MiB, so it is no config"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tenants_overrides_lie_over_the_limits_of_all() {
        let config = Config::parse(
            "auth_enabled: true\nlimits_config: {reject_old_samples_max_age: 1h, max_line_size: 1KB}\n\
             overrides:\n  short:\n    max_line_size: 100B\ningester: {max_chunk_age: 1h}\n\
             server: {grpc_server_max_recv_msg_size: 1048576}\ndistributor: {max_inflight_bytes: 10}\n",
        )
        .unwrap();
        let (short, other) = (config.limits_of("short"), config.limits_of("other"));
        assert_eq!((short.max_line_size, other.max_line_size), (100, 1024));
        assert_eq!(short.reject_old_samples_max_age, Duration::from_hours(1), "it keeps what it leaves out");
        assert_eq!(config.ingester.max_chunk_age, Duration::from_hours(1));
        assert_eq!(config.ingester.chunk_idle_period, Duration::from_mins(30));
        assert_eq!(config.server.grpc_server_max_recv_msg_size, 1 << 20);
        assert_eq!(config.distributor.max_inflight_bytes, 10);
    }

    #[test]
    fn what_is_not_known_is_refused_with_its_place_and_its_name() {
        for (text, at, word) in [
            ("auth_enabled: false\nlimits_config:\n  reject_old: 1h\n", "3:", "reject_old"),
            ("overrides:\n  a:\n    max_line_size: 1 apple\n", "3:", "1 apple"),
            ("overrides:\n  a:\n    shard_streams:\n      on: true\n", "4:", "on"),
            ("limits_config:\n  max_line_size_truncate: 7\n", "2:", "boolean"),
            ("storage: {}\n", "1:", "storage"),
            ("limits_config:\n  creation_grace_period: soon\n", "2:", "soon"),
            ("limits_config:\n  block_ingestion_until: soon\n", "2:", "soon"),
        ] {
            let why = Config::parse(text).unwrap_err();
            assert!(why.starts_with(at) && why.contains(word), "{text}: {why}");
        }
    }

    #[test]
    fn a_window_that_is_set_holds_for_all_but_who_has_an_own() {
        let mut config =
            Config::parse("overrides: {a: {max_line_size: 1KB}, b: {reject_old_samples_max_age: 2h}}")
                .unwrap();
        config.set_max_age(Duration::from_hours(1));
        let hours = |tenant| config.limits_of(tenant).reject_old_samples_max_age.as_secs() / 3600;
        assert_eq!((hours("a"), hours("b"), hours("c")), (1, 2, 1));
    }

    #[test]
    fn an_empty_file_is_lokis_defaults() {
        assert_eq!(Config::parse(""), Ok(Config::default()));
        assert_eq!(Config::parse("limits_config:\ningester:\noverrides:\n"), Ok(Config::default()));
        assert!(Config::parse("overrides: {a: }").unwrap().overrides.contains_key("a"));
    }

    #[test]
    fn times_are_divided_and_rates_are_multiplied_where_time_is_compressed() {
        let said = json!({
            "limits_config": {"per_stream_rate_limit": "1MB", "creation_grace_period": "1h"},
            "overrides": {"own": {"reject_old_samples_max_age": "24h"}, "none": {}},
            "ingester": {"max_chunk_age": "12h"}
        });
        let window = Duration::from_mins(10);
        let limits_config = Limits { reject_old_samples_max_age: window, ..Limits::default() };
        let beneath = Config { limits_config, ..Config::default() };
        let config = Said::try_from(said).unwrap().over(&beneath).compressed("12".parse().unwrap());
        let (limits, of) = (&config.limits_config, &config.overrides);
        assert_eq!(
            (limits.per_stream_rate_limit, limits.ingestion_burst_size_mb.to_string()),
            (12 << 20, "6".into())
        );
        assert_eq!(limits.ingestion_rate_mb.to_string(), "48");
        assert_eq!(
            (limits.creation_grace_period, limits.reject_old_samples_max_age),
            (Duration::from_mins(5), window)
        );
        assert_eq!(of["own"].reject_old_samples_max_age, Duration::from_hours(2));
        assert_eq!(of["none"].reject_old_samples_max_age, window);
        assert_eq!(config.ingester.max_chunk_age, Duration::from_hours(1));
        assert_eq!(config.ingester.chunk_idle_period, Duration::from_secs(150));
    }
}
