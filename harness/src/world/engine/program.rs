//! Containers that run a target's program: started from an image of its own, told to end, asked how they did. Their logs
//! are read here alone: Docker keeps them in its `local` format, which nobody who tails `json-file` logs can ship.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::pin::pin;

use bollard::errors::Error as DockerError;
use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountBindOptions, ResourcesUlimits,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, KillContainerOptionsBuilder, LogsOptionsBuilder,
};
use futures_util::TryStreamExt;
use rustix::process::{getegid, geteuid, getgroups};

use super::{Access, Engine, EngineError, TARGET_LABEL, request, same_place};
use crate::orphans::RUN_VARIABLE;
use crate::result::Allowance;

const REPOSITORY: &str = "flatline-target";
/// What a container's log may come to on Docker's disk; it is taken from there when the container has ended.
const LOG_OPTIONS: [(&str, &str); 2] = [("max-size", "10m"), ("max-file", "2")];

/// An image of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramImage {
    /// Its name and tag.
    pub name: String,
    /// Its id on the engine.
    pub id: String,
}

/// How a program's container is started.
#[derive(Clone, Debug)]
pub struct ProgramSpec {
    /// Its name, unique on the engine.
    pub name: String,
    /// Name of its image.
    pub image: String,
    /// Its command line, the program's own path first.
    pub command: Vec<String>,
    /// Its environment, `NAME=value` each.
    pub environment: Vec<String>,
    /// What of the host is at the same path inside.
    pub mounts: Vec<(PathBuf, Access)>,
    /// What it may use.
    pub allowed: Allowance,
}

/// How a container has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Its program has, with this exit code, as Docker counts: 128 and the signal where one ended it.
    Program {
        /// The code.
        code: i64,
        /// Whether the kernel killed for want of memory in it (`State.OOMKilled`).
        out_of_memory: bool,
    },
    /// Somebody has removed it.
    Removed,
}

impl Engine {
    /// Imports a program's root file system; `number` tells it from the run's others.
    ///
    /// # Errors
    /// [`EngineError::Request`].
    pub async fn import_program(&self, tar: Vec<u8>, number: usize) -> Result<ProgramImage, EngineError> {
        let tag = format!("{}-{number}", self.run_id);
        let name = format!("{REPOSITORY}:{tag}");
        let failed = || request(&format!("import the image {name}"));
        self.import(tar, (REPOSITORY, &tag), TARGET_LABEL).await.map_err(failed())?;
        let image = self.docker.inspect_image(&name).await.map_err(failed())?;
        Ok(ProgramImage { id: image.id.unwrap_or_default(), name })
    }

    /// Creates a container for a program, and answers with its id. It is not started.
    ///
    /// # Errors
    /// [`EngineError::Request`], also where the engine would not keep one of its limits.
    pub async fn create_program(&self, spec: ProgramSpec) -> Result<String, EngineError> {
        let options = CreateContainerOptionsBuilder::new().name(&spec.name).build();
        let failed = || request(&format!("create the container {}", spec.name));
        let body = self.program_body(&spec);
        let created = self.docker.create_container(Some(options), body).await.map_err(failed())?;
        // What a kernel can't limit, Docker leaves out and warns: "Limitation discarded."
        match created.warnings.into_iter().find(|warning| warning.contains("iscarded")) {
            None => Ok(created.id),
            Some(message) => {
                self.remove(&created.id).await?;
                Err(failed()(DockerError::DockerResponseServerError { status_code: 201, message }))
            }
        }
    }

    /// On the host's network, where its sink and its admin page are, and as the user that the harness runs as.
    fn program_body(&self, spec: &ProgramSpec) -> ContainerCreateBody {
        let Allowance { fds, memory, cpus } = &spec.allowed;
        let memory = memory.map(|memory| i64::try_from(memory.as_u64()).unwrap_or(i64::MAX));
        let fds = fds.map(|fds| i64::try_from(fds).unwrap_or(i64::MAX));
        let nofile = |fds| {
            vec![ResourcesUlimits { name: Some("nofile".to_owned()), soft: Some(fds), hard: Some(fds) }]
        };
        let options = LOG_OPTIONS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let groups = getgroups().unwrap_or_default();
        let host_config = HostConfig {
            network_mode: Some("host".to_owned()),
            mounts: Some(spec.mounts.iter().map(|(path, access)| mount(path, *access)).collect()),
            log_config: Some(HostConfigLogConfig {
                typ: Some("local".to_owned()),
                config: Some(HashMap::from(options)),
            }),
            group_add: Some(groups.into_iter().map(|group| group.as_raw().to_string()).collect()),
            ulimits: fds.map(nofile),
            memory,
            // No swap: with that to go to it would grow slow and not end.
            memory_swap: memory,
            cpuset_cpus: cpus.clone(),
            ..HostConfig::default()
        };
        let of_run = format!("{RUN_VARIABLE}={}", self.run_id);
        ContainerCreateBody {
            image: Some(spec.image.clone()),
            entrypoint: Some(spec.command.clone()),
            labels: Some(HashMap::from([(TARGET_LABEL.to_owned(), self.run_id.clone())])),
            env: Some(spec.environment.iter().cloned().chain([of_run]).collect()),
            user: Some(format!("{}:{}", geteuid().as_raw(), getegid().as_raw())),
            host_config: Some(host_config),
            ..ContainerCreateBody::default()
        }
    }

    /// How a container has ended; `None` while it runs, or is about to.
    ///
    /// # Errors
    /// [`EngineError::Request`]: the engine does not answer.
    pub async fn exit_of(&self, id: &str) -> Result<Option<Exit>, EngineError> {
        let found = match self.docker.inspect_container(id, None::<InspectContainerOptions>).await {
            Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => {
                return Ok(Some(Exit::Removed));
            }
            found => found.map_err(request(&format!("look at the container {id}")))?,
        };
        let state = found.state.unwrap_or_default();
        // One that has ended says when; one that was created and never ran says the year 1.
        let has_ended = state.running != Some(true)
            && state.finished_at.is_some_and(|finished_at| !finished_at.starts_with("0001-"));
        Ok(has_ended.then(|| Exit::Program {
            code: state.exit_code.unwrap_or(-1),
            out_of_memory: state.oom_killed.unwrap_or(false),
        }))
    }

    /// Sends a container's program a signal, by its name. One that has ended or is gone needs none.
    ///
    /// # Errors
    /// [`EngineError::Request`].
    pub async fn signal(&self, id: &str, signal: &str) -> Result<(), EngineError> {
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        super::unless_gone(
            self.docker.kill_container(id, Some(options)).await,
            &format!("send {signal} to the container {id}"),
        )
    }

    /// Writes out what a container has said on its outputs: all that the engine still has, or the last so many lines.
    ///
    /// # Errors
    /// [`EngineError::Request`]; a writer that fails is told as one.
    pub async fn said_by(
        &self,
        id: &str,
        last: Option<usize>,
        to: &mut (impl Write + Send),
    ) -> Result<(), EngineError> {
        let tail = last.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&tail).build();
        let mut parts = pin!(self.docker.logs(id, Some(options)));
        let failed = || request(&format!("read the log of the container {id}"));
        while let Some(part) = parts.try_next().await.map_err(failed())? {
            to.write_all(&part.into_bytes()).map_err(|error| failed()(error.into()))?;
        }
        Ok(())
    }
}

/// What is read alone is mounted without what is mounted below it: among the containers' logs lie other containers'
/// mounts, which would stay in use by this one.
fn mount(path: &Path, access: Access) -> Mount {
    let non_recursive = Some(access == Access::Read);
    let bind_options = MountBindOptions { non_recursive, ..MountBindOptions::default() };
    Mount { bind_options: Some(bind_options), ..same_place(path.display().to_string(), access) }
}
