//! What all trials of a bench share: the engine and its containers, folders, and the clock of patience.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::audit::ledger::Key;
use crate::audit::reconcile::Truth;
use crate::embedded::backlog::Backlog;
use crate::record::files::RecordError;
use crate::run::bench::BenchError;
use crate::sample::sampler::Sampler;
use crate::sample::usage;
use crate::scenario::bench::{CatchUp, LoadedBench};
use crate::units::Span;
use crate::world::container::ContainerSpec;
use crate::world::engine::Engine;
use crate::world::image::OWN_PROGRAM;
use crate::world::line::Stream;

/// Who delivers nothing more for so long has delivered all that it ever will.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
/// From line to line of a backlog in the lines' own time, so that all of it fits into the window.
const BACKLOG_LASTS_NS: i64 = 5 * 60 * 1_000_000_000;
/// A generator that writes its lines so many at a time, at one a second, has not written any before the bench is over.
const NEVER: &str = "--burst=1000000";
/// No log of a bench is rotated.
const LOG_BYTES_MAX: u64 = 1 << 40;

/// Everything that trials share.
pub(super) struct Bed<'a> {
    /// What is asked for.
    pub(super) bench: &'a LoadedBench,
    /// The engine.
    pub(super) engine: &'a Engine,
    /// Its process.
    pub(super) engine_pid: Option<u32>,
    /// Where it keeps the logs.
    pub(super) containers_root: String,
    /// The bench's id.
    pub(super) run_id: &'a str,
    /// For what nobody needs afterwards.
    pub(super) scratch: PathBuf,
    /// For the targets' configs and outputs.
    pub(super) logs: PathBuf,
    /// Reads metrics.
    pub(super) sampler: Sampler,
}

/// Logs that lie there.
#[derive(Clone, Debug, Default)]
pub(super) struct Laid {
    /// How many lines each source has.
    pub(super) truth: BTreeMap<Key, Truth>,
    /// All of them.
    pub(super) lines: u64,
    /// Bytes of all files.
    pub(super) bytes: u64,
}

impl Bed<'_> {
    /// What the sinks accept.
    pub(super) fn window(&self) -> Span {
        self.bench.scenario.window
    }

    /// A new, empty folder for counters.
    pub(super) fn truth_folder(&self) -> Result<PathBuf, BenchError> {
        let folder = self.scratch.join("truth");
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(RecordError::io("remove", &folder)(error).into());
            }
            _ => {}
        }
        fs::create_dir_all(&folder).map_err(RecordError::io("write", &folder))?;
        Ok(folder)
    }

    /// Starts containers that log nothing, each with a log that was written before.
    pub(super) async fn lay(&self, work: CatchUp, now_ns: i64) -> Result<Laid, BenchError> {
        let folder = self.truth_folder()?;
        let files = u64::from(work.files);
        let mut laid = Laid::default();
        for place in 0..files {
            // Those that do not part evenly are the first ones'.
            let lines = work.lines / files + u64::from(place < work.lines % files);
            let source = format!("b{:04}", place + 1);
            let id = self.engine.create(self.silent(&source, &folder)).await?;
            let path = Path::new(&self.containers_root).join(&id).join(format!("{id}-json.log"));
            let step_ns = BACKLOG_LASTS_NS / i64::try_from(lines.max(1)).unwrap_or(i64::MAX);
            let seed = self.bench.scenario.seed;
            let written = tokio::task::spawn_blocking({
                let (source, path) = (source.clone(), path.clone());
                move || {
                    let backlog = Backlog {
                        source: &source,
                        lines,
                        line_bytes: work.line_bytes,
                        text: work.text,
                        seed,
                        first_ns: now_ns - BACKLOG_LASTS_NS,
                        step_ns,
                    };
                    backlog.write(&path)
                }
            });
            let written = written.await.unwrap_or_else(|join| std::panic::resume_unwind(join.into_panic()));
            laid.bytes += written.map_err(RecordError::io("write", &path))?;
            laid.lines += lines;
            laid.truth.insert(
                Key { source, stream: Stream::Out },
                Truth { written: lines, out_of_window_before: 0 },
            );
            self.engine.start(&id).await?;
        }
        Ok(laid)
    }

    fn silent(&self, source: &str, truth: &Path) -> ContainerSpec {
        let arguments = [
            OWN_PROGRAM.to_owned(),
            "generate".to_owned(),
            format!("--source={source}"),
            "--rate=1".to_owned(),
            NEVER.to_owned(),
            format!("--truth={}", truth.join(source).display()),
        ];
        ContainerSpec {
            name: format!("flatline-{}-{source}", self.run_id),
            command: arguments.into(),
            mount: truth.display().to_string(),
            log_max_bytes: LOG_BYTES_MAX,
            log_max_files: 1,
        }
    }

    /// What the engine's process has used so far, seconds.
    pub(super) fn engine_cpu_seconds(&self) -> Option<f64> {
        self.engine_pid.and_then(|pid| usage::own(pid).ok())
    }
}
