//! The config of the archived design: one file, with a switch for each defect.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use shipper::config::Discovery;
use shipper::docker::api::Host;
use shipper::{admin, loki, units};

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(default)]
    pub(crate) docker: Docker,
    #[serde(default)]
    pub(crate) discovery: Discovery,
    /// Where positions are kept for the next process; in memory only without it. Not used with
    /// `replay_history`: who reads each log from its first line needs none.
    #[serde(default)]
    pub(crate) state_dir: Option<PathBuf>,
    #[serde(default)]
    pub(crate) start: Start,
    pub(crate) loki: loki::client::Config,
    #[serde(default)]
    pub(crate) batch: Batch,
    #[serde(default)]
    pub(crate) window: Window,
    pub(crate) admin: admin::Config,
    #[serde(default)]
    pub(crate) defects: Defects,
}

/// Where Docker listens and where it keeps its logs.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Docker {
    pub(crate) host: String,
    pub(crate) containers_root: PathBuf,
}

impl Default for Docker {
    fn default() -> Self {
        Self {
            host: "unix:///var/run/docker.sock".to_owned(),
            containers_root: "/var/lib/docker/containers".into(),
        }
    }
}

/// How much is read of what containers wrote before the first start; asked only where `replay_history` is off.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Start {
    /// The lines of this last stretch of time.
    #[serde(with = "units")]
    pub(crate) since: Duration,
}

/// When the lines of one container are sent.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Batch {
    pub(crate) max_lines: usize,
    #[serde(with = "units")]
    pub(crate) max_wait: Duration,
}

impl Default for Batch {
    fn default() -> Self {
        Self { max_lines: 50, max_wait: Duration::from_secs(1) }
    }
}

/// What Loki takes; asked only where `no_timestamp_check` is off.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Window {
    #[serde(with = "units")]
    pub(crate) max_age: Duration,
}

impl Default for Window {
    fn default() -> Self {
        Self { max_age: Duration::from_secs(7 * 86_400) }
    }
}

/// What is wrong with it. The post-mortem's five defects, in its order, are on unless switched off; the
/// three that lose or damage lines are off unless switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Defects {
    /// #1: each open of a log reads it from its first line.
    pub(crate) replay_history: bool,
    /// #2: each refused batch becomes a task that tries for ever.
    pub(crate) unbounded_retry: bool,
    /// #3: lines are sent without a look at their time.
    pub(crate) no_timestamp_check: bool,
    /// #4: a log is given back only when the kernel reports its end, which it never does.
    pub(crate) leak_handles: bool,
    /// #5: Docker is asked about the container for each batch.
    pub(crate) no_metadata_cache: bool,
    /// Lines are settled when they are read, not when they are delivered.
    pub(crate) commit_on_read: bool,
    /// Positions are kept by path, whichever file is there.
    pub(crate) path_keyed_offset: bool,
    /// The fragments of long lines of both streams go into one buffer.
    pub(crate) mixed_streams: bool,
}

impl Default for Defects {
    fn default() -> Self {
        Self {
            replay_history: true,
            unbounded_retry: true,
            no_timestamp_check: true,
            leak_handles: true,
            no_metadata_cache: true,
            commit_on_read: false,
            path_keyed_offset: false,
            mixed_streams: false,
        }
    }
}

impl Defects {
    /// The names of those that are on.
    pub(crate) fn active(self) -> Vec<&'static str> {
        let all = [
            (self.replay_history, "replay_history"),
            (self.unbounded_retry, "unbounded_retry"),
            (self.no_timestamp_check, "no_timestamp_check"),
            (self.leak_handles, "leak_handles"),
            (self.no_metadata_cache, "no_metadata_cache"),
            (self.commit_on_read, "commit_on_read"),
            (self.path_keyed_offset, "path_keyed_offset"),
            (self.mixed_streams, "mixed_streams"),
        ];
        all.into_iter().filter_map(|(on, name)| on.then_some(name)).collect()
    }
}

/// Why a config can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("can't read {path:?}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path:?} is no config: {source}")]
    Parse { path: PathBuf, source: Box<serde_saphyr::Error> },
    #[error("{path:?}: {problem}")]
    Value { path: PathBuf, problem: String },
}

impl Config {
    /// Reads and checks a file.
    pub(crate) fn load(path: &Path) -> Result<Self, Error> {
        let read = |source| Error::Read { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(read)?;
        let parse = |source| Error::Parse { path: path.to_owned(), source: Box::new(source) };
        let config: Self = serde_saphyr::from_str(&text).map_err(parse)?;
        config.check().map_err(|problem| Error::Value { path: path.to_owned(), problem })?;
        Ok(config)
    }

    /// Where positions are kept, if they outlive the process.
    pub(crate) fn positions_dir(&self) -> Option<&Path> {
        self.state_dir.as_deref().filter(|_| !self.defects.replay_history)
    }

    fn check(&self) -> Result<(), String> {
        Host::parse(&self.docker.host).map_err(|error| error.to_string())?;
        self.loki.push_url().map_err(|error| error.to_string())?;
        if self.batch.max_lines == 0 {
            return Err("batch.max_lines is 0: a batch holds at least one line".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the harness writes it.
    const TEMPLATE: &str = r#"
docker: { host: "unix:///var/run/docker.sock", containers_root: "/var/lib/docker/containers" }
discovery: { labels: ["flatline.run=abc"] }
start: { since: 15s }
state_dir: "/path"
loki: { url: "http://127.0.0.1:1234", encoding: protobuf }
batch: { max_lines: 50, max_wait: 1s }
window: { max_age: 12s }
admin: { listen: "127.0.0.1:1235" }
defects:
  replay_history: true
  unbounded_retry: true
  no_timestamp_check: true
  leak_handles: true
  no_metadata_cache: true
  commit_on_read: false
  path_keyed_offset: false
  mixed_streams: false
"#;

    fn load(text: &str) -> Result<Config, Error> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Config::load(file.path())
    }

    #[test]
    fn the_template_of_the_harness_is_read() {
        let config = load(TEMPLATE).unwrap();
        assert_eq!(config.defects, Defects::default());
        assert_eq!(config.window.max_age, Duration::from_secs(12));
        assert_eq!(config.discovery.labels, ["flatline.run=abc"]);
        assert_eq!(config.state_dir, Some("/path".into()));
        assert_eq!(config.start.since, Duration::from_secs(15));
    }

    #[test]
    fn the_five_defects_are_on_until_they_are_switched_off_and_the_other_three_off() {
        let least = "loki: { url: 'http://127.0.0.1:1' }\nadmin: { listen: '127.0.0.1:0' }\n";
        let five =
            ["replay_history", "unbounded_retry", "no_timestamp_check", "leak_handles", "no_metadata_cache"];
        assert_eq!(load(least).unwrap().defects.active(), five);
        let one_off = load(&format!("{least}defects: {{ leak_handles: false }}\n")).unwrap();
        let left = ["replay_history", "unbounded_retry", "no_timestamp_check", "no_metadata_cache"];
        assert_eq!(one_off.defects.active(), left);
        for name in ["commit_on_read", "path_keyed_offset", "mixed_streams"] {
            let one_more = load(&format!("{least}defects: {{ {name}: true }}\n")).unwrap();
            assert_eq!(one_more.defects.active(), [&five[..], &[name]].concat());
        }
    }

    #[test]
    fn a_wrong_field_or_value_is_refused() {
        let misspelt = TEMPLATE.replace("leak_handles", "leak_handle");
        assert!(load(&misspelt).unwrap_err().to_string().contains("leak_handle"));
        let empty = TEMPLATE.replace("max_lines: 50", "max_lines: 0");
        assert!(load(&empty).unwrap_err().to_string().contains("batch.max_lines"));
        let ftp = TEMPLATE.replace("http://127", "ftp://127");
        assert!(load(&ftp).unwrap_err().to_string().contains("ftp"));
    }
}
