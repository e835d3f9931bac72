//! Containers that log at a rate, for trials that need such: started for one trial, stopped and removed after it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytesize::ByteSize;

use crate::audit::ledger::Key;
use crate::audit::reconcile::Truth;
use crate::run::bench::BenchError;
use crate::run::bench::bed::Bed;
use crate::run::truth::truth;
use crate::world::happened::Happened;
use crate::world::image::OWN_PROGRAM;
use crate::world::load::{Config, Load, Rotate, Setting};
use crate::world::tempo::Tempo;
use crate::world::truth::read_all;

/// What each container does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// How many containers.
    pub(super) containers: u32,
    /// Lines a second of all together.
    pub(super) lines_per_second: u32,
    /// Bytes of a line.
    pub(super) line_bytes: usize,
}

/// Containers that log.
pub(super) struct Logging<'a> {
    bed: &'a Bed<'a>,
    folder: PathBuf,
}

impl<'a> Logging<'a> {
    /// Starts them.
    pub(super) async fn start(bed: &'a Bed<'a>, rate: Rate) -> Result<Self, BenchError> {
        let folder = bed.truth_folder()?;
        let config = Config {
            count: usize::try_from(rate.containers).unwrap_or(usize::MAX),
            lines_per_second: (rate.lines_per_second / rate.containers.max(1)).max(1),
            burst: 1,
            line_bytes: rate.line_bytes,
            stderr_percent: 0,
            // No log of a bench is rotated.
            rotate: Rotate { max_size: ByteSize::tib(1), max_files: 1 },
            replay: None,
            churn: None,
        };
        let setting = Setting {
            run_id: bed.run_id.to_owned(),
            entrypoint: vec![OWN_PROGRAM.to_owned()],
            truth: folder.clone(),
            tempo: Some(Tempo::file(&folder)),
            replay: Vec::new(),
            seed: bed.bench.scenario.seed,
            happened: Arc::new(Happened::new(PathBuf::from(&bed.containers_root))),
        };
        let mut load = Load::new(bed.engine.clone(), config, setting);
        while load.start_one().await? {}
        Ok(Self { bed, folder })
    }

    /// From now on, within a second, so many times as fast.
    pub(super) fn tempo(&self, times: f64) -> Result<(), BenchError> {
        Ok(Tempo::times(times).set(&self.folder)?)
    }

    /// How many lines were written so far.
    pub(super) fn written(&self) -> Result<u64, BenchError> {
        Ok(read_all(&self.folder)?.values().map(|written| written.total()).sum())
    }

    /// Stops them; their logs stay. Answers with what each has written.
    pub(super) async fn stop(&self) -> Result<BTreeMap<Key, Truth>, BenchError> {
        self.bed.engine.stop_all().await?;
        Ok(truth(&BTreeMap::new(), &read_all(&self.folder)?))
    }

    /// Removes them with their logs.
    pub(super) async fn remove(self) -> Result<(), BenchError> {
        self.bed.engine.remove_containers().await?;
        Ok(())
    }
}
