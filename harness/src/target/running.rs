//! A target that runs, as a process or in a container: the same is done with either.

use std::time::Duration;

use crate::target::container::Container;
use crate::target::ended::Ended;
use crate::target::process::{Place, Process, ProcessError};
use crate::target::spec::Ready;
use crate::world::memory_group::MemoryGroup;

/// One life of a target.
#[derive(Debug)]
pub enum Running {
    /// A process of this machine.
    Process(Process),
    /// A container of the run's engine.
    Container(Container),
}

impl Running {
    /// The process id of its program, on this machine.
    #[must_use]
    pub fn pid(&self) -> u32 {
        match self {
            Self::Process(process) => process.pid(),
            Self::Container(container) => container.pid(),
        }
    }

    /// What counts its memory, where the engine has made that.
    #[must_use]
    pub fn memory(&self) -> Option<&MemoryGroup> {
        match self {
            Self::Process(_) => None,
            Self::Container(container) => container.memory(),
        }
    }

    /// Waits until it says that it collects.
    ///
    /// # Errors
    /// [`ProcessError::EndedEarly`] or [`ProcessError::NotReady`], with the end of its log.
    pub async fn wait_ready(&mut self, ready: &Ready, place: &Place) -> Result<(), ProcessError> {
        match self {
            Self::Process(process) => process.wait_ready(ready).await,
            Self::Container(container) => container.wait_ready(ready, place).await,
        }
    }

    /// How it ended, if it has: then all that it said is in its log.
    pub fn ended(&mut self) -> Option<Ended> {
        match self {
            Self::Process(process) => process.ended(),
            Self::Container(container) => container.ended(),
        }
    }

    /// SIGTERM, then SIGKILL where it has not ended within `grace`.
    pub async fn stop(self, grace: Duration) -> Ended {
        match self {
            Self::Process(process) => process.stop(grace).await,
            Self::Container(container) => container.stop(grace).await,
        }
    }

    /// SIGKILL, as planned. Answers where it had ended before, unasked.
    ///
    /// # Errors
    /// [`ProcessError::Engine`]: it may still run.
    pub async fn kill(self) -> Result<Option<Ended>, ProcessError> {
        match self {
            Self::Process(process) => Ok(process.kill().await),
            Self::Container(container) => container.kill().await,
        }
    }
}
