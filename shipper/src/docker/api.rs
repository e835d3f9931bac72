//! The requests that we make of the Docker Engine, and nothing else: `/version`, `/containers/json`,
//! `/containers/{id}/json`, `/events` through bollard, and the log stream of our own (`logs`). A socket
//! proxy needs to let only these through.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::{EventsOptions, ListContainersOptions};
use bollard::{API_DEFAULT_VERSION, Docker};
use bytesize::ByteSize;
use futures_util::{Stream, StreamExt};

use crate::docker::known::{Action, Event, Listed};
use crate::metrics::Metrics;
use crate::metrics::labels::Endpoint;
use crate::record::{Container, ContainerId};
use crate::stamp;

/// How long a short request may take. Not for streams: bollard applies it until the headers come, and
/// `/events` sends its headers at once.
const TIMEOUT_SECONDS: u64 = 60;

/// How long an Engine may take to tell its version: it only has to say it.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// Why Docker could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Neither a Unix socket nor plain HTTP.
    #[error("docker.host {0:?} is not understood: give unix:///path/to/docker.sock or tcp://host:port")]
    Host(String),
    /// There is no socket.
    #[error("there is no Docker socket at {0:?}: is Docker installed and running, and docker.host right?")]
    NoSocket(PathBuf),
    /// The socket is there and nobody listens.
    #[error("nobody answers at {0:?}: is the Docker daemon running?")]
    Refused(PathBuf),
    /// There is nobody at this address.
    #[error("nobody answers at {host}: {reason}; is docker.host right?")]
    Nobody {
        /// Where.
        host: String,
        /// The system's answer.
        reason: String,
    },
    /// The socket is not ours to use.
    #[error("no permission to use {0:?}: add this user to the group `docker`, or run as root")]
    Permission(PathBuf),
    /// Something answers that is no Docker Engine.
    #[error("what answers at {host} is not a Docker Engine: {reason}")]
    NotDocker {
        /// Where.
        host: String,
        /// What was wrong with its answer.
        reason: String,
    },
    /// No such container (any more).
    #[error("Docker knows no container {0}")]
    NoSuchContainer(ContainerId),
    /// Docker refused a request.
    #[error("Docker answered {status} to {request}: {message}")]
    Answer {
        /// Which request.
        request: &'static str,
        /// The HTTP status.
        status: u16,
        /// Docker's words.
        message: String,
    },
    /// The connection broke, or the answer could not be read.
    #[error("{request} failed: {reason}")]
    Broken {
        /// Which request.
        request: &'static str,
        /// Why.
        reason: String,
    },
}

/// Where Docker listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A Unix socket.
    Unix(PathBuf),
    /// Plain HTTP, `host:port`.
    Tcp(String),
}

impl Host {
    /// Reads `unix:///path`, `tcp://host:port` or `http://host:port`.
    ///
    /// # Errors
    /// [`ApiError::Host`] for anything else.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let unknown = || ApiError::Host(text.to_owned());
        if let Some(path) = text.strip_prefix("unix://") {
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(unknown()) };
        }
        let tcp = text.strip_prefix("tcp://").or_else(|| text.strip_prefix("http://")).ok_or_else(unknown)?;
        let tcp = tcp.trim_end_matches('/');
        // A password has no use here, and would be shown by `print-config`.
        let has_port =
            tcp.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if has_port && !tcp.contains(['/', '@']) { Ok(Self::Tcp(tcp.to_owned())) } else { Err(unknown()) }
    }
}

/// A Docker Engine whose version we have agreed on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Api {
    docker: Docker,
    host: Host,
    engine: Arc<str>,
    metrics: Arc<Metrics>,
}

impl Api {
    /// Connects and agrees on the API version: the newest that both sides know.
    ///
    /// # Errors
    /// [`ApiError`] tells a missing socket, a missing permission and a stranger apart.
    pub async fn connect(host: &str, metrics: Arc<Metrics>) -> Result<Self, ApiError> {
        let parsed = Host::parse(host)?;
        let docker = match &parsed {
            Host::Unix(path) => {
                knock(path).await?;
                Docker::connect_with_unix(&path.to_string_lossy(), TIMEOUT_SECONDS, API_DEFAULT_VERSION)
            }
            Host::Tcp(address) => {
                let nobody = |reason: String| ApiError::Nobody { host: host.to_owned(), reason };
                let knocked =
                    tokio::time::timeout(FIRST_ANSWER, tokio::net::TcpStream::connect(address)).await;
                knocked
                    .map_err(|_| nobody("no connection".to_owned()))?
                    .map_err(|error| nobody(error.to_string()))?;
                Docker::connect_with_http(host, TIMEOUT_SECONDS, API_DEFAULT_VERSION)
            }
        };
        let stranger = |error: bollard::errors::Error| ApiError::NotDocker {
            host: host.to_owned(),
            reason: chain(&error),
        };
        metrics.docker_requests.get_or_create(&Endpoint::Version).inc_by(2);
        let asked = async {
            let docker = docker?.negotiate_version().await?;
            let engine = docker.version().await?.version.unwrap_or_default();
            Ok((docker, engine))
        };
        let silent = |_elapsed| ApiError::NotDocker {
            host: host.to_owned(),
            reason: format!("it says nothing for {} s", FIRST_ANSWER.as_secs()),
        };
        let answered = tokio::time::timeout(FIRST_ANSWER, asked).await.map_err(silent)?;
        let (docker, engine) = answered.map_err(stranger)?;
        Ok(Self { docker, host: parsed, engine: engine.into(), metrics })
    }

    /// The Engine's own version.
    #[must_use]
    pub fn engine(&self) -> &str {
        &self.engine
    }

    /// Where it listens.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The agreed version, as it stands in paths.
    #[must_use]
    pub fn version(&self) -> String {
        self.docker.client_version().to_string()
    }

    /// Whether the engine's own readers find a log's file by its name and may lose track when it is rotated:
    /// until 23.0 (API 1.42), which rewrote them (moby, `daemon/logger/loggerutils/follow.go`).
    #[must_use]
    pub fn follows_by_name(&self) -> bool {
        let version = self.docker.client_version();
        (version.major_version, version.minor_version) < (1, 42)
    }

    pub(super) fn count(&self, endpoint: Endpoint) {
        self.metrics.docker_requests.get_or_create(&endpoint).inc();
    }

    /// All containers that bear `labels` (`key=value`), also those that have stopped.
    ///
    /// # Errors
    /// When Docker can't be asked.
    pub async fn list(&self, labels: &[String]) -> Result<Vec<Listed>, ApiError> {
        const REQUEST: &str = "GET /containers/json";
        self.count(Endpoint::List);
        let filters = HashMap::from([("label".to_owned(), labels.to_vec())]);
        let options = ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
        let listed = self.docker.list_containers(Some(options)).await;
        let listed = listed.map_err(|error| self.explain(REQUEST, None, error))?;
        Ok(listed.into_iter().filter_map(listed_container).collect())
    }

    /// What we may know of a container, and when it was made (nanoseconds since the epoch).
    ///
    /// # Errors
    /// [`ApiError::NoSuchContainer`] when it is gone.
    pub async fn inspect(&self, id: &ContainerId) -> Result<Inspected, ApiError> {
        const REQUEST: &str = "GET /containers/{id}/json";
        self.count(Endpoint::Inspect);
        let answer = self.docker.inspect_container(id.as_str(), None).await;
        let answer = answer.map_err(|error| self.explain(REQUEST, Some(id), error))?;
        Ok(allowed_fields(id, answer))
    }

    /// What happens to containers that bear `labels`, from `since_ns` on, until the connection ends.
    pub fn events(
        &self,
        labels: &[String],
        since_ns: i64,
    ) -> impl Stream<Item = Result<Event, ApiError>> + Send + Unpin + use<> {
        const REQUEST: &str = "GET /events";
        self.count(Endpoint::Events);
        let actions = ["start", "die", "stop", "destroy", "rename"].map(str::to_owned).to_vec();
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("event".to_owned(), actions),
            ("label".to_owned(), labels.to_vec()),
        ]);
        let options = EventsOptions {
            since: Some(seconds_and_nanos(since_ns)),
            filters: Some(filters),
            ..Default::default()
        };
        let api = self.clone();
        let events = self.docker.events(Some(options)).filter_map(move |event| {
            let event = match event {
                Ok(message) => event_of(message).map(Ok),
                Err(error) => Some(Err(api.explain(REQUEST, None, error))),
            };
            std::future::ready(event)
        });
        events.boxed()
    }

    fn explain(
        &self,
        request: &'static str,
        id: Option<&ContainerId>,
        error: bollard::errors::Error,
    ) -> ApiError {
        if let bollard::errors::Error::DockerResponseServerError { status_code, message } = error {
            return match (status_code, id) {
                (404, Some(id)) => ApiError::NoSuchContainer(id.clone()),
                (status, _) => ApiError::Answer { request, status, message },
            };
        }
        ApiError::Broken { request, reason: chain(&error) }
    }
}

/// What an inspection gave.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The container.
    pub container: Container,
    /// When it was made; `None` when Docker wrote no time that we can read.
    pub created_ns: Option<i64>,
}

/// `seconds.nanoseconds`, the finest form of time that the Engine's API takes. A time before the epoch
/// has no such form and is as good as the epoch.
pub(super) fn seconds_and_nanos(time_ns: i64) -> String {
    let time_ns = time_ns.max(0);
    format!("{}.{:09}", time_ns / 1_000_000_000, time_ns % 1_000_000_000)
}

/// Opens the socket once, because bollard's own error does not say what is wrong with it.
async fn knock(path: &std::path::Path) -> Result<(), ApiError> {
    tokio::net::UnixStream::connect(path).await.map(drop).map_err(|error| socket_error(path, &error))
}

/// What a failed connect to a socket means.
pub(super) fn socket_error(path: &std::path::Path, error: &io::Error) -> ApiError {
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::NOENT) => ApiError::NoSocket(path.to_owned()),
        Some(rustix::io::Errno::CONNREFUSED) => ApiError::Refused(path.to_owned()),
        Some(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => ApiError::Permission(path.to_owned()),
        _ => ApiError::NotDocker { host: path.display().to_string(), reason: error.to_string() },
    }
}

/// An error with its causes: the outermost alone often says only "client error".
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn listed_container(summary: bollard::models::ContainerSummary) -> Option<Listed> {
    use bollard::models::ContainerSummaryStateEnum as State;
    let id = ContainerId::parse(&summary.id?).ok()?;
    let running = matches!(summary.state, Some(State::RUNNING | State::PAUSED | State::RESTARTING));
    let name = summary.names.unwrap_or_default().into_iter().next().unwrap_or_default();
    Some(Listed { id, running, name: name.trim_start_matches('/').to_owned() })
}

fn event_of(message: bollard::models::EventMessage) -> Option<Event> {
    let action = match message.action?.as_str() {
        "start" => Action::Start,
        "die" | "stop" => Action::Stop,
        "destroy" => Action::Destroy,
        "rename" => Action::Rename,
        _ => return None,
    };
    let id = ContainerId::parse(&message.actor?.id?).ok()?;
    Some(Event { id, action, time_ns: message.time_nano.unwrap_or(0) })
}

/// `max-size`, of which Docker gives the daemon's default as well. Its units are decimal, `MiB` too; of what it understands
/// and we don't, the least is supposed.
fn max_bytes(options: &HashMap<String, String>) -> Option<u64> {
    let given = options.get("max-size")?.to_ascii_lowercase().replace('i', "");
    Some(given.trim().parse::<ByteSize>().map_or(0, |size| size.as_u64()))
}

/// Copies what is on the allow-list and drops the rest, which holds `Config.Env` and its secrets.
fn allowed_fields(id: &ContainerId, answer: bollard::models::ContainerInspectResponse) -> Inspected {
    let config = answer.config.unwrap_or_default();
    let log = answer.host_config.and_then(|host| host.log_config).unwrap_or_default();
    let created_ns = answer.created.and_then(|created| Some(stamp::parse(created.as_bytes())?.0));
    let container = Container {
        id: id.clone(),
        name: answer.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        image: config.image.unwrap_or_default(),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        log_max_bytes: log.config.as_ref().and_then(max_bytes),
        log_driver: log.typ.unwrap_or_default(),
        log_path: answer.log_path.filter(|path| !path.is_empty()).map(PathBuf::from),
        tty: config.tty.unwrap_or(false),
    };
    Inspected { container, created_ns }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::max_bytes;

    #[test]
    fn how_large_a_log_may_grow_is_never_taken_for_more_than_docker_does() {
        let read = |given: &str| max_bytes(&HashMap::from([("max-size".to_owned(), given.to_owned())]));
        for (given, bytes) in [
            ("10m", 10_000_000),
            ("10MB", 10_000_000),
            ("8MiB", 8_000_000),
            ("1g", 1_000_000_000),
            ("500k", 500_000),
            ("1.5 m", 1_500_000),
            ("1048576", 1_048_576),
            ("-1", 0),
            ("much", 0),
        ] {
            assert_eq!(read(given), Some(bytes), "{given}");
        }
        assert_eq!(max_bytes(&HashMap::new()), None);
    }
}
