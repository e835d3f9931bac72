//! The Docker Engine: images and containers of one run, all labelled, all removed by label.

use std::collections::HashMap;
use std::path::PathBuf;

use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, InspectContainerOptions,
    ListContainersOptionsBuilder, StopContainerOptionsBuilder,
};
use futures_util::TryStreamExt;
use futures_util::future::join_all;

use crate::orphans::RUN_VARIABLE;
use crate::world::container::ContainerSpec;
use crate::world::image::Image;

pub mod program;
mod removal;

/// Every container and image of the load carries this label; its value is the run's id. By it the targets find what they
/// ship.
pub const RUN_LABEL: &str = "flatline.run";
/// Every container and image of a target carries this one, and not the other: nobody is to ship what a target says.
pub const TARGET_LABEL: &str = "flatline.target";
/// How the embedded engine names itself, so that nobody takes it for Docker.
pub const EMBEDDED: &str = "Flatline embedded engine";
const REPOSITORY: &str = "flatline-generator";

/// Why the engine did not do as told.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No engine answers.
    #[error(
        "no Docker Engine answers at {host}: {why}\n  \
         Start it (`systemctl start docker`), or name another one with DOCKER_HOST=unix:///path/to/docker.sock."
    )]
    Unreachable {
        /// Where it was looked for.
        host: String,
        /// What the attempt said.
        why: String,
    },
    /// The socket is there, but not for this user.
    #[error(
        "permission denied at {host}: this user may not talk to the Docker Engine\n  \
         Add the user to the socket's group (`sudo usermod -aG docker $USER`, then log in again), run as root, or do \
         without Docker (--engine embedded)."
    )]
    Denied {
        /// Whose socket.
        host: String,
    },
    /// A request failed.
    #[error("the Docker Engine could not {what}: {source}")]
    Request {
        /// What was asked.
        what: String,
        /// Its answer.
        source: DockerError,
    },
}

impl EngineError {
    /// Whether what was asked for is gone, or is being removed.
    #[must_use]
    pub fn is_of_what_is_gone(&self) -> bool {
        matches!(
            self,
            Self::Request {
                source: DockerError::DockerResponseServerError { status_code: 404 | 409, .. },
                ..
            }
        )
    }
}

/// A connection to the engine on behalf of one run.
#[derive(Clone, Debug)]
pub struct Engine {
    docker: Docker,
    host: String,
    version: String,
    is_embedded: bool,
    run_id: String,
}

/// Docker's own place for it.
const SOCKET: &str = "/var/run/docker.sock";

/// The address of the engine: `DOCKER_HOST`, or Docker's default socket.
#[must_use]
pub fn default_host() -> String {
    let named = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
    named.unwrap_or_else(|| format!("unix://{SOCKET}"))
}

/// Whether there is Docker at this address, be it running or not: it is named, or its socket is there.
#[must_use]
pub fn is_there(host: &str) -> bool {
    host != format!("unix://{SOCKET}") || std::path::Path::new(SOCKET).exists()
}

impl Engine {
    /// Connects to the engine at `host`, agreeing on an API version.
    ///
    /// # Errors
    /// [`EngineError::Unreachable`] or [`EngineError::Denied`], with what to do next.
    pub async fn connect(host: &str, run_id: &str) -> Result<Self, EngineError> {
        let unreachable = |why: DockerError| explain(host, &why);
        let docker = Docker::connect_with_host(host).map_err(unreachable)?;
        let docker = docker.negotiate_version().await.map_err(unreachable)?;
        let version = docker.version().await.map_err(unreachable)?;
        let is_embedded = version.platform.is_some_and(|platform| platform.name == EMBEDDED);
        let version = format!(
            "{} {} (API {})",
            if is_embedded { "embedded" } else { "docker" },
            version.version.unwrap_or_else(|| "unknown".to_owned()),
            docker.client_version()
        );
        Ok(Self { docker, host: host.to_owned(), version, is_embedded, run_id: run_id.to_owned() })
    }

    /// The engine's version for people.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether it is the embedded one, whose containers are plain processes.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.is_embedded
    }

    /// Where it listens.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its socket on this machine; none where it listens elsewhere.
    #[must_use]
    pub fn socket(&self) -> Option<PathBuf> {
        self.host.strip_prefix("unix://").map(PathBuf::from)
    }

    /// The process id of a container's first process, on the engine's machine; `None` where the container does not run.
    ///
    /// # Errors
    /// [`EngineError::Request`]: there is no such container, or the engine does not answer.
    pub async fn main_process(&self, name: &str) -> Result<Option<u32>, EngineError> {
        let found = self.docker.inspect_container(name, None::<InspectContainerOptions>).await;
        let state = found.map_err(request(&format!("look at the container {name}")))?.state;
        // Docker says 0 of one that does not run.
        let pid = state.and_then(|state| state.pid).and_then(|pid| u32::try_from(pid).ok());
        Ok(pid.filter(|pid| *pid > 0))
    }

    /// Imports the generator's image under a tag of this run.
    ///
    /// # Errors
    /// [`EngineError::Request`].
    pub async fn import_image(&self, image: Image) -> Result<(), EngineError> {
        let name = (REPOSITORY, self.run_id.as_str());
        self.import(image.tar, name, RUN_LABEL).await.map_err(request("import the generator's image"))
    }

    /// Imports a root file system as an image of this repository and tag, labelled with the run's id.
    async fn import(
        &self,
        tar: Vec<u8>,
        (repository, tag): (&str, &str),
        label: &str,
    ) -> Result<(), DockerError> {
        let options = CreateImageOptionsBuilder::new()
            .from_src("-")
            .repo(repository)
            .tag(tag)
            .changes(vec![format!("LABEL {label}={}", self.run_id)])
            .build();
        let body = bollard::body_full(tar.into());
        let answers: Result<Vec<_>, _> =
            self.docker.create_image(Some(options), Some(body), None).try_collect().await;
        answers.map(drop)
    }

    /// Creates and starts a container, and answers with its id.
    ///
    /// # Errors
    /// [`EngineError::Request`].
    pub async fn start_new(&self, spec: ContainerSpec) -> Result<String, EngineError> {
        let id = self.create(spec).await?;
        self.start(&id).await?;
        Ok(id)
    }

    /// Creates a container, and answers with its id.
    ///
    /// # Errors
    /// [`EngineError::Request`].
    pub async fn create(&self, spec: ContainerSpec) -> Result<String, EngineError> {
        let options = CreateContainerOptionsBuilder::new().name(&spec.name).build();
        let name = spec.name.clone();
        let body = self.container_body(spec);
        let created = self.docker.create_container(Some(options), body).await;
        Ok(created.map_err(request(&format!("create the container {name}")))?.id)
    }

    /// No network and no name but its own: the generator writes to its outputs and to nothing else.
    fn container_body(&self, spec: ContainerSpec) -> ContainerCreateBody {
        let log_config = HashMap::from([
            ("max-size".to_owned(), spec.log_max_bytes.to_string()),
            ("max-file".to_owned(), spec.log_max_files.to_string()),
        ]);
        let host_config = HostConfig {
            network_mode: Some("none".to_owned()),
            mounts: Some(vec![same_place(spec.mount, Access::Write)]),
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                config: Some(log_config),
            }),
            ..HostConfig::default()
        };
        ContainerCreateBody {
            image: Some(format!("{REPOSITORY}:{}", self.run_id)),
            entrypoint: Some(spec.command),
            labels: Some(HashMap::from([(RUN_LABEL.to_owned(), self.run_id.clone())])),
            env: Some(vec![format!("{RUN_VARIABLE}={}", self.run_id)]),
            host_config: Some(host_config),
            ..ContainerCreateBody::default()
        }
    }

    /// Starts a container that exists.
    ///
    /// # Errors
    /// [`EngineError::Request`].
    pub async fn start(&self, id: &str) -> Result<(), EngineError> {
        let started = self.docker.start_container(id, None).await;
        started.map_err(request(&format!("start the container {id}")))
    }

    /// Stops a container: SIGTERM, and SIGKILL after a grace of five seconds.
    ///
    /// # Errors
    /// [`EngineError::Request`].
    pub async fn stop(&self, id: &str) -> Result<(), EngineError> {
        self.stop_within_grace(id).await.map_err(request(&format!("stop the container {id}")))
    }

    /// Freezes a container.
    ///
    /// # Errors
    /// [`EngineError::Request`].
    pub async fn pause(&self, id: &str) -> Result<(), EngineError> {
        unless_gone(self.docker.pause_container(id).await, &format!("pause the container {id}"))
    }

    /// Lets a frozen container go on.
    ///
    /// # Errors
    /// [`EngineError::Request`].
    pub async fn unpause(&self, id: &str) -> Result<(), EngineError> {
        match self.docker.unpause_container(id).await {
            // Somebody else has let it go on.
            Err(DockerError::DockerResponseServerError { message, .. })
                if message.contains("is not paused") =>
            {
                Ok(())
            }
            result => unless_gone(result, &format!("unpause the container {id}")),
        }
    }

    async fn stop_unless_gone(&self, id: &str) -> Result<(), EngineError> {
        unless_gone(self.stop_within_grace(id).await, &format!("stop the container {id}"))
    }

    async fn stop_within_grace(&self, id: &str) -> Result<(), DockerError> {
        let options = StopContainerOptionsBuilder::new().t(5).build();
        self.docker.stop_container(id, Some(options)).await
    }

    /// Stops every container of this run, all at once; their logs stay readable.
    ///
    /// # Errors
    /// [`EngineError::Request`] of the first that would not stop; the others are stopped.
    pub async fn stop_all(&self) -> Result<(), EngineError> {
        let ids = labelled(&self.docker, &self.label()).await?;
        let stops = join_all(ids.iter().map(|id| self.stop_unless_gone(id))).await;
        stops.into_iter().collect()
    }

    /// `key=value` of the label that this run's containers carry.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{RUN_LABEL}={}", self.run_id)
    }

    /// Where the engine keeps the logs of its containers.
    ///
    /// # Errors
    /// [`EngineError::Request`].
    pub async fn containers_root(&self) -> Result<String, EngineError> {
        let info = self.docker.info().await.map_err(request("say where it keeps its files"))?;
        Ok(format!("{}/containers", info.docker_root_dir.as_deref().unwrap_or("/var/lib/docker")))
    }
}

/// What may be done in there with what is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It may be read.
    Read,
    /// It may be written as well.
    Write,
}

/// A mount and not a bind, whose one text `from:to` can't name a folder with a colon.
fn same_place(path: String, access: Access) -> Mount {
    Mount {
        source: Some(path.clone()),
        target: Some(path),
        typ: Some(MountType::BIND),
        read_only: Some(access == Access::Read),
        ..Mount::default()
    }
}

async fn labelled(docker: &Docker, label: &str) -> Result<Vec<String>, EngineError> {
    let filter = HashMap::from([("label", vec![label])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filter).build();
    let containers = docker.list_containers(Some(options)).await.map_err(request("list containers"))?;
    Ok(containers.into_iter().filter_map(|container| container.id).collect())
}

/// Gone already, or being removed by somebody else: both are what was wanted.
fn unless_gone(result: Result<(), DockerError>, what: &str) -> Result<(), EngineError> {
    match result {
        Err(DockerError::DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(()),
        result => result.map_err(request(what)),
    }
}

fn request(what: &str) -> impl FnOnce(DockerError) -> EngineError + use<> {
    let what = what.to_owned();
    move |source| EngineError::Request { what, source }
}

fn explain(host: &str, error: &DockerError) -> EngineError {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    let mut why = error.to_string();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::PermissionDenied
        {
            return EngineError::Denied { host: host.to_owned() };
        }
        why = cause.to_string();
        source = cause.source();
    }
    EngineError::Unreachable { host: host.to_owned(), why }
}
