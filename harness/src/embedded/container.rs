//! A container as the engine knows it: what it was made of, and how it is now. Pure, but for the lock.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard::models::{ContainerCreateBody, HostConfig, RestartPolicy};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::log_place::LogPlace;
use super::options::{self, Rotation};
use crate::clock;

/// What it is made of.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) image: String,
    pub(super) image_id: String,
    /// Entry point and command together.
    pub(super) command: Vec<String>,
    pub(super) entrypoint: Vec<String>,
    pub(super) cmd: Vec<String>,
    pub(super) env: Vec<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) tty: bool,
    pub(super) stop_signal: String,
    pub(super) network_mode: String,
    pub(super) log_driver: String,
    pub(super) log_options: BTreeMap<String, String>,
    pub(super) restarts: Restarts,
    /// Folders of the host, each at its own path.
    pub(super) mounts: Vec<String>,
    /// Where it begins.
    pub(super) working_dir: String,
    /// What was asked for and is not done.
    pub(super) ignored: Vec<&'static str>,
}

/// Whether it is started again when it ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Restarts {
    /// As it was given: `no`, `always`, `unless-stopped`, `on-failure`, or nothing.
    pub(super) name: String,
    /// So often at most, after failures; without end for 0.
    pub(super) most: u64,
}

impl Restarts {
    fn of(policy: Option<RestartPolicy>) -> Self {
        let Some(policy) = policy else { return Self::default() };
        let most = policy.maximum_retry_count.and_then(|most| u64::try_from(most).ok()).unwrap_or(0);
        Self { name: policy.name.map(|name| name.to_string()).unwrap_or_default(), most }
    }

    /// Whether a life that ended so, the `count`-th after the first, is followed by another.
    pub(super) fn again(&self, exit_code: i32, count: u64) -> bool {
        match self.name.as_str() {
            "always" | "unless-stopped" => true,
            "on-failure" => exit_code != 0 && (self.most == 0 || count < self.most),
            _ => false,
        }
    }
}

/// What this engine has no means for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfit(pub(super) String);

impl Spec {
    /// Reads what a client wants.
    ///
    /// # Errors
    /// It wants what this engine can't do, which is said.
    pub(super) fn new(body: ContainerCreateBody, image_id: String) -> Result<Self, Unfit> {
        let host = body.host_config.unwrap_or_default();
        let (mounts, ignored) = (mounts(&host)?, ignored(&host));
        let log = host.log_config.unwrap_or_default();
        let driver = log.typ.filter(|driver| !driver.is_empty()).unwrap_or_else(|| "json-file".to_owned());
        if driver != "json-file" && driver != "none" {
            return Err(Unfit(format!(
                "the embedded engine has no log driver {driver}: it has json-file and none"
            )));
        }
        if body.user.as_ref().is_some_and(|user| !user.is_empty()) {
            return Err(Unfit(
                "the embedded engine runs every container as its own user: leave User out".to_owned(),
            ));
        }
        let (entrypoint, cmd) = (body.entrypoint.unwrap_or_default(), body.cmd.unwrap_or_default());
        let command: Vec<String> = entrypoint.iter().chain(&cmd).cloned().collect();
        if command.is_empty() {
            return Err(Unfit("no command specified".to_owned()));
        }
        Ok(Self {
            image: body.image.unwrap_or_default(),
            image_id,
            command,
            entrypoint,
            cmd,
            env: body.env.unwrap_or_default(),
            labels: body.labels.unwrap_or_default().into_iter().collect(),
            tty: body.tty.unwrap_or(false),
            stop_signal: body
                .stop_signal
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| "SIGTERM".to_owned()),
            network_mode: host
                .network_mode
                .filter(|mode| !mode.is_empty())
                .unwrap_or_else(|| "default".to_owned()),
            log_driver: driver,
            log_options: log.config.unwrap_or_default().into_iter().collect(),
            restarts: Restarts::of(host.restart_policy),
            mounts,
            working_dir: body
                .working_dir
                .filter(|folder| !folder.is_empty())
                .unwrap_or_else(|| "/".to_owned()),
            ignored,
        })
    }

    /// How its log is rotated.
    ///
    /// # Errors
    /// In Docker's words.
    pub(super) fn rotation(&self) -> Result<Rotation, Unfit> {
        options::rotation(&self.log_options).map_err(Unfit)
    }
}

/// Folders that are mounted, each at its own path.
fn mounts(host: &HostConfig) -> Result<Vec<String>, Unfit> {
    let binds = host.binds.iter().flatten().map(|bind| {
        let mut parts = bind.split(':');
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
    });
    let mounts = host.mounts.iter().flatten();
    let mounts = mounts.map(|mount| {
        (mount.source.as_deref().unwrap_or_default(), mount.target.as_deref().unwrap_or_default())
    });
    let at_its_own_path = |(source, target): (&str, &str)| {
        if source == target {
            return Ok(source.to_owned());
        }
        Err(Unfit(format!(
            "the embedded engine runs plain processes: a folder can be mounted at its own path alone, \
             and {source} is wanted at {target}"
        )))
    };
    binds.chain(mounts).map(at_its_own_path).collect()
}

/// Limits that are set and not kept.
fn ignored(host: &HostConfig) -> Vec<&'static str> {
    let limits = [
        ("Memory", host.memory.is_some_and(|bytes| bytes > 0)),
        ("NanoCpus", host.nano_cpus.is_some_and(|cpus| cpus > 0)),
        ("CpusetCpus", host.cpuset_cpus.as_ref().is_some_and(|cpus| !cpus.is_empty())),
        ("PidsLimit", host.pids_limit.is_some_and(|most| most > 0)),
        ("Ulimits", host.ulimits.as_ref().is_some_and(|limits| !limits.is_empty())),
    ];
    limits.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect()
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Created,
    Running,
    Restarting,
    Exited,
}

/// All that changes.
#[derive(Debug)]
pub(super) struct State {
    pub(super) name: String,
    pub(super) status: Status,
    pub(super) paused: bool,
    pub(super) pid: Option<u32>,
    pub(super) exit_code: i32,
    pub(super) started: Option<Timestamp>,
    pub(super) finished: Option<Timestamp>,
    pub(super) restarts: u64,
    /// Somebody has asked it to end: it is not started again.
    pub(super) stopping: bool,
    pub(super) reins: Reins,
}

/// How its present life is led.
#[derive(Clone, Debug, Default)]
pub(super) enum Reins {
    /// There is none.
    #[default]
    None,
    /// A process of its own.
    Process,
    /// A task of this process: asked to end, ended at once, frozen.
    Shared { end: CancellationToken, kill: CancellationToken, frozen: watch::Sender<bool> },
}

/// A container.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) id: String,
    pub(super) spec: Spec,
    pub(super) created: Timestamp,
    pub(super) folder: PathBuf,
    pub(super) log: Arc<LogPlace>,
    /// Whether it runs: whoever waits for its end or follows its log looks here.
    pub(super) alive: watch::Sender<bool>,
    /// Given up by who removes it.
    pub(super) removed: CancellationToken,
    state: Mutex<State>,
}

impl Container {
    pub(super) fn new(id: String, name: String, (spec, rotation): (Spec, Rotation), folder: PathBuf) -> Self {
        let log = LogPlace::new(folder.join(format!("{id}-json.log")), rotation);
        let state = State {
            name,
            status: Status::Created,
            paused: false,
            pid: None,
            exit_code: 0,
            started: None,
            finished: None,
            restarts: 0,
            stopping: false,
            reins: Reins::None,
        };
        Self {
            id,
            spec,
            created: clock::now(),
            folder,
            log: Arc::new(log),
            alive: watch::Sender::new(false),
            removed: CancellationToken::new(),
            state: Mutex::new(state),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As the shell is shown it.
    pub(super) fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_has_no_means_for_is_said() {
        let body = |text: &str| serde_json::from_str::<ContainerCreateBody>(text).unwrap();
        let said = |text: &str| Spec::new(body(text), String::new()).unwrap_err().0;
        assert!(said(r#"{"Cmd":["a"],"HostConfig":{"LogConfig":{"Type":"journald"}}}"#).contains("journald"));
        assert!(said(r#"{"Cmd":["a"],"HostConfig":{"Binds":["/a:/b:ro"]}}"#).contains("/a is wanted at /b"));
        assert!(said(r#"{"Cmd":["a"],"User":"nobody"}"#).contains("User"));
        let limited =
            Spec::new(body(r#"{"Cmd":["a"],"HostConfig":{"Memory":1000000,"NanoCpus":0}}"#), String::new());
        assert_eq!(limited.unwrap().ignored, ["Memory"]);
        assert!(said(r#"{"Image":"i"}"#).contains("no command"));
        let spec = Spec::new(
            body(r#"{"Entrypoint":["a"],"Cmd":["b"],"HostConfig":{"Binds":["/a:/a:ro"]}}"#),
            String::new(),
        );
        assert_eq!(spec.unwrap().command, ["a", "b"]);
    }

    #[test]
    fn it_is_started_again_as_its_policy_says() {
        let policy = |name: &str, most| Restarts { name: name.to_owned(), most };
        assert!(policy("always", 0).again(0, 1000));
        let twice = policy("on-failure", 2);
        assert_eq!([twice.again(1, 1), twice.again(1, 2), twice.again(0, 0)], [true, false, false]);
        assert!(!Restarts::of(None).again(1, 0));
    }
}
