//! The faults of the world: what happens to containers, logs, disks, the engine and the targets themselves.
//! Each ends as it was planned, or when the run ends, whatever ends it.

use std::fs::OpenOptions;
use std::io;
use std::path::PathBuf;

use futures_util::future::{join_all, try_join_all};
use tokio::sync::mpsc;

use super::{House, tell};
use crate::faults::World;
use crate::record::files::RecordError;
use crate::run::attach::Attached;
use crate::run::journal::Note;
use crate::run::order::RunError;
use crate::sample::sampler::Sampler;
use crate::world::engine::EngineError;

impl House<'_> {
    /// A fault begins; `running` are the containers that run.
    pub(super) async fn strike(&mut self, fault: World, running: Vec<String>) -> Result<(), RunError> {
        match fault {
            World::Pause | World::Truncate => {
                self.paused = running;
                self.of_paused(async |engine, id| engine.pause(id).await).await?;
            }
            World::DiskFull => {
                for disk in self.attached.iter().filter_map(Attached::disk) {
                    disk.fill()?;
                }
            }
            World::DockerRestart => {
                if let Some(engine) = &mut self.own_engine {
                    engine.down().await?;
                }
            }
            World::Kill => {
                let sampler = Sampler::default();
                try_join_all(self.attached.iter_mut().map(|attached| attached.kill(&sampler))).await?;
            }
        }
        Ok(())
    }

    /// A fault ends.
    pub(super) async fn relent(&mut self, fault: World, notes: &mpsc::Sender<Note>) -> Result<(), RunError> {
        if fault == World::Truncate {
            self.empty_logs()?;
        }
        self.undo().await?;
        if fault == World::Kill {
            join_all(self.attached.iter().map(Attached::start_again)).await;
            let why = "started again after it was killed, as planned".to_owned();
            tell(notes, Note::Back(self.attached.iter().filter_map(Attached::subject).collect(), why)).await;
        }
        Ok(())
    }

    /// Gives the world back as it was, but for targets that are down.
    pub(super) async fn undo(&mut self) -> Result<(), RunError> {
        for disk in self.attached.iter().filter_map(Attached::disk) {
            disk.free()?;
        }
        if let Some(engine) = &mut self.own_engine {
            engine.up().await?;
        }
        self.of_paused(async |engine, id| engine.unpause(id).await).await?;
        self.paused.clear();
        Ok(())
    }

    async fn of_paused(
        &self,
        act: impl AsyncFn(&crate::world::engine::Engine, &str) -> Result<(), EngineError>,
    ) -> Result<(), RunError> {
        try_join_all(self.paused.iter().map(|id| act(self.engine, id))).await?;
        Ok(())
    }

    /// Empties the logs in place, as somebody does whose disk is full.
    fn empty_logs(&self) -> Result<(), RunError> {
        for id in &self.paused {
            let log = PathBuf::from(&self.setting.containers_root).join(id).join(format!("{id}-json.log"));
            match OpenOptions::new().write(true).open(&log).and_then(|file| file.set_len(0)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(RecordError::io("empty", &log)(error).into());
                }
                _ => {}
            }
        }
        Ok(())
    }
}
