//! Going on with a run that was killed: what its directory must hold for it, and how it is taken up.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{self, Stopwatch};
use crate::environment;
use crate::orphans;
use crate::record::files::{self, RecordError};
use crate::record::recorder::{Recorder, is_written};
use crate::report;
use crate::result::{Event, Manifest, Phase, SCHEMA, Sample};
use crate::run::order::{Earlier, EngineChoice, Order, RunError};
use crate::run::progress::{Progress, Show};
use crate::run::segments::{self, Now};
use crate::scenario::Loaded;

/// Longer than any run, gaps and all: ten years.
const ELAPSED_MAX_S: f64 = 10.0 * 366.0 * 24.0 * 3600.0;

/// `order.json`: what was asked of the run, whatever becomes of the files and the command line that it was read from.
#[derive(Debug, Serialize, Deserialize)]
struct Recorded {
    schema: u32,
    loaded: Loaded,
    docker_host: String,
    fail_fast: bool,
}

/// Why a run can't go on.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// There is none.
    #[error("{} holds no run: there is no {} in it; `flatline run SCENARIO` begins one", .0.display(), files::RUN)]
    NoRun(PathBuf),
    /// It was begun by an older flatline.
    #[error(
        "the run in {} can't go on: there is no {} in it, as it was begun by an older flatline\n  \
         `flatline report` judges what it measured.",
        .0.display(), files::ORDER
    )]
    NotRecorded(PathBuf),
    /// It goes on already.
    #[error("the run in {} is still alive: process {process}", folder.display())]
    Alive {
        /// Where.
        folder: PathBuf,
        /// Which process it is.
        process: String,
    },
    /// It has come to its end.
    #[error("the run in {} is over ({ended}): there is nothing to go on with", folder.display())]
    Over {
        /// Where.
        folder: PathBuf,
        /// How it ended.
        ended: String,
    },
    /// Its directory.
    #[error("{0}\n  Nothing was changed in the folder: put that right, or begin another run.")]
    Record(#[from] RecordError),
}

impl ResumeError {
    /// Whether this is no run to go on with; else its directory can't be used.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Record(_))
    }
}

/// Writes down what is needed to go on.
pub(super) fn note(order: &Order) -> Result<(), RecordError> {
    let recorded = Recorded {
        schema: SCHEMA,
        loaded: order.loaded.clone(),
        docker_host: order.docker_host.clone(),
        fail_fast: order.fail_fast,
    };
    files::write_json(&order.out.join(files::ORDER), &recorded)
}

/// The order to go on with the run in a folder, under an id that is this process's.
///
/// # Errors
/// [`ResumeError`].
pub fn order(folder: &Path, run_id: String, show: Show) -> Result<Order, ResumeError> {
    let is_there = |name: &str| folder.join(name).is_file();
    if !is_there(files::RUN) {
        return Err(ResumeError::NoRun(folder.to_owned()));
    }
    let manifest = files::read_manifest(folder)?;
    let boot_id = environment::boot_id();
    let same_life = manifest.segments.last().is_none_or(|segment| segment.boot_id == boot_id);
    if is_written(folder) || (same_life && orphans::is_live(&manifest.run_id)) {
        let process = orphans::process_of(&manifest.run_id);
        let process = process.map_or_else(|| "unknown".to_owned(), |process| process.to_string());
        return Err(ResumeError::Alive { folder: folder.to_owned(), process });
    }
    if ["finished", "stopped early"].contains(&manifest.ended.as_str()) {
        return Err(ResumeError::Over { folder: folder.to_owned(), ended: manifest.ended });
    }
    if !is_there(files::ORDER) {
        return Err(ResumeError::NotRecorded(folder.to_owned()));
    }
    let recorded: Recorded = files::read_versioned(&folder.join(files::ORDER))?;
    // What can't be judged is no reason to go on for two days.
    files::check_kinds(folder)?;
    let events: Vec<Event> = files::read_csv(&folder.join(files::EVENTS))?;
    let seen = last_sample(folder)?;
    let last_event_s = events.last().map_or(0.0, |event| event.elapsed_s);
    let last_s = seen.elapsed_s.max(last_event_s);
    let is_embedded = manifest.engine.starts_with("embedded ");
    Ok(Order {
        loaded: recorded.loaded,
        run_id,
        out: folder.to_owned(),
        engine: if is_embedded { EngineChoice::Embedded } else { EngineChoice::Docker },
        docker_host: recorded.docker_host,
        command: manifest.command.clone(),
        // Its run.json has it.
        revision: None,
        fail_fast: recorded.fail_fast,
        show,
        missing: Vec::new(),
        earlier: Some(Earlier {
            phases: segments::phases(&manifest, &events, last_s),
            ended: segments::ended(&manifest, &boot_id),
            last_s,
            containers_started: seen.containers_started.max(manifest.containers_started),
            manifest,
        }),
    })
}

/// What the samples of a run come to.
#[derive(Debug, Default)]
struct Seen {
    elapsed_s: f64,
    containers_started: u64,
}

/// Row by row: of two days there are many.
fn last_sample(folder: &Path) -> Result<Seen, RecordError> {
    let path = folder.join(files::SAMPLES);
    let mut seen = Seen::default();
    if !path.exists() {
        return Ok(seen);
    }
    let (mut in_segment, mut in_earlier) = (0, 0);
    let mut impossible = None;
    files::each_row(&path, |sample: Sample| {
        if !(0.0..=ELAPSED_MAX_S).contains(&sample.elapsed_s) {
            impossible.get_or_insert(sample.elapsed_s);
        }
        seen.elapsed_s = seen.elapsed_s.max(sample.elapsed_s);
        let Some(starts) = sample.starts else { return };
        let new = starts - sample.restarts.unwrap_or(0).min(starts);
        if new < in_segment {
            // Each segment counts anew.
            in_earlier += in_segment;
        }
        in_segment = new;
    })?;
    if let Some(elapsed_s) = impossible {
        return Err(RecordError::Damaged { path, why: format!("no run lasts {elapsed_s:e} seconds") });
    }
    seen.containers_started = in_earlier + in_segment;
    Ok(seen)
}

/// A run that begins or goes on: its files, its `run.json`, and the axis of time that it goes along.
pub(super) struct Begun {
    pub(super) recorder: Recorder,
    pub(super) manifest: Manifest,
    pub(super) stopwatch: Stopwatch,
}

/// Opens the files, marks the gap, and takes away what was said of a run that had not come to its end.
pub(super) fn take_up(order: &Order, earlier: &Earlier) -> Result<Begun, RunError> {
    let (mut recorder, cut) = Recorder::open(&order.out)?;
    let now = now();
    let mut manifest = earlier.manifest.clone();
    let last_s = earlier.last_s;
    let gap_s = manifest.segments.last().map_or(0.0, |segment| segments::gap_s(segment, last_s, &now));
    let from_s = last_s + gap_s;
    if let Some(segment) = manifest.segments.last_mut() {
        segment.to_s = last_s.max(segment.from_s);
        segment.ended.clone_from(&earlier.ended);
    }
    set_aside(order, manifest.segments.len())?;
    manifest.phases.clone_from(&earlier.phases);
    manifest.phases.push(Phase { name: Phase::GAP.to_owned(), from_s: last_s, to_s: from_s });
    manifest.segments.push(now.segment(&order.run_id, from_s));
    manifest.run_id.clone_from(&order.run_id);
    manifest.containers_started = earlier.containers_started;
    manifest.ended = Manifest::RUNNING.to_owned();
    recorder.manifest(&manifest)?;
    let detail = said(earlier, gap_s, cut);
    Progress::new(order.show, &[]).say(&format!("the run goes on: {detail}"));
    recorder.event(&Event {
        elapsed_s: from_s,
        target: String::new(),
        event: Phase::GAP.to_owned(),
        detail,
    })?;
    let stopwatch = Stopwatch::going_on_from(Duration::try_from_secs_f64(from_s).unwrap_or_default());
    Ok(Begun { recorder, manifest, stopwatch })
}

fn said(earlier: &Earlier, gap_s: f64, cut: u64) -> String {
    let torn = if cut > 0 { format!("; {cut} bytes of torn rows were cut") } else { String::new() };
    let ended = earlier.ended.lines().next().unwrap_or_default();
    format!("{ended} at {:.1} s, nothing was seen for {gap_s:.1} s{torn}", earlier.last_s)
}

/// The moment it is.
pub(super) fn now() -> Now {
    let boot_s = clock::since_boot().as_secs_f64();
    Now { wall: clock::now(), boot_id: environment::boot_id(), boot_s }
}

/// A verdict on what was seen until then would be taken for that of the whole. The audit is kept under another name: what
/// it accounts for nobody will account for again.
fn set_aside(order: &Order, segment: usize) -> Result<(), RecordError> {
    let audit = order.out.join(files::AUDIT);
    let aside = order.out.join(format!("audit-{segment}.json"));
    let failed = |path: &Path, done: io::Result<()>| match done {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(RecordError::io("write", path)(error)),
        _ => Ok(()),
    };
    failed(&aside, fs::rename(&audit, &aside))?;
    [files::VERDICT, report::PAGE].into_iter().try_for_each(|name| {
        let path = order.out.join(name);
        failed(&path, fs::remove_file(&path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::KindCount;

    #[test]
    fn what_can_not_be_judged_in_the_end_is_told_in_the_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let recorder = Recorder::create(folder.path()).unwrap();
        drop(recorder);
        let path = folder.path().join(files::SAMPLES);
        assert_eq!(last_sample(folder.path()).unwrap().elapsed_s.to_bits(), 0.0_f64.to_bits());
        let mut rows = csv::Writer::from_path(&path).unwrap();
        for elapsed_s in [1.5, 2.5, 3.5] {
            rows.serialize(Sample::unread(elapsed_s, "pool")).unwrap();
        }
        drop(rows);
        let whole = fs::read_to_string(&path).unwrap();
        assert!((last_sample(folder.path()).unwrap().elapsed_s - 3.5).abs() < 1e-9);
        for (from, to, words) in [
            ("2.5,", "oops,", "line: 3"),
            ("2.5,pool", "2.5", "line: 3"),
            ("2.5,", "inf,", "no run lasts inf seconds"),
            ("2.5,", "NaN,", "no run lasts NaN seconds"),
            ("2.5,", "1e300,", "no run lasts 1e300 seconds"),
        ] {
            fs::write(&path, whole.replace(from, to)).unwrap();
            let error = ResumeError::from(last_sample(folder.path()).unwrap_err());
            let message = error.to_string();
            assert!(
                message.contains("samples.csv is damaged: ") && message.contains(words),
                "{to}: {message}"
            );
            assert!(message.contains("Nothing was changed") && !error.is_refusal(), "{message}");
        }
        let row = KindCount { elapsed_s: 1.0, target: "pool".into(), kind: "pipe".into(), count: 1 };
        let mut kinds = csv::Writer::from_path(folder.path().join(files::FDS)).unwrap();
        (0..3).for_each(|_| kinds.serialize(&row).unwrap());
        drop(kinds);
        files::check_kinds(folder.path()).unwrap();
        let fds = folder.path().join(files::FDS);
        let text = fs::read_to_string(&fds).unwrap();
        fs::write(&fds, text.replacen("pipe,1", "pipe,many", 1)).unwrap();
        let message = files::check_kinds(folder.path()).unwrap_err().to_string();
        assert!(message.contains("fds.csv is damaged") && message.contains("line: 2"), "{message}");
    }
}
