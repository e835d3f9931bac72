//! A run directory as a result, whatever became of the run: as it was judged at its end, or, where it was killed or
//! still goes on, judged now, from what stands in its files so far.

use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

use crate::environment;
use crate::orphans;
use crate::record::files::{self, RecordError};
use crate::result::{Event, Manifest, RunResult, Stability, Unasked};
use crate::run::judge::{Case, Party};
use crate::run::segments;
use crate::sample::process::Limits;

/// Reads and, where nobody did, judges. Nothing is written.
///
/// # Errors
/// [`RecordError`] for the first file that is missing or damaged.
pub fn read(folder: &Path) -> Result<RunResult, RecordError> {
    match files::read_run(folder) {
        Err(RecordError::NotJudged { path }) => {
            // Where there is no run at all, what is missing first is the verdict.
            let manifest = files::read_manifest(folder).ok().filter(|manifest| !manifest.terms.is_empty());
            judged(folder, manifest.ok_or(RecordError::NotJudged { path })?)
        }
        read => read,
    }
}

fn judged(folder: &Path, mut manifest: Manifest) -> Result<RunResult, RecordError> {
    let events: Vec<Event> = files::read_csv(&folder.join(files::EVENTS))?;
    // The two large ones, side by side.
    let (samples, kinds) = thread::scope(|scope| {
        let kinds = scope.spawn(|| files::read_kinds(folder));
        let samples = files::read_samples(folder);
        (samples, kinds.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    let (samples, kinds) = (samples?, kinds?);
    manifest.phases = segments::phases(&manifest, &events, samples.last_s());
    if manifest.ended == Manifest::RUNNING && !orphans::is_live(&manifest.run_id) {
        manifest.ended = segments::ended(&manifest, &environment::boot_id());
    }
    let case = Case {
        samples: &samples,
        events: &events,
        kinds: &kinds,
        phases: &manifest.phases,
        limits: &manifest.limits,
        segments: &manifest.segments,
        cut_short: true,
        stopped_early: None,
        missing: &manifest.missing_targets,
    };
    let seen = manifest.terms.iter().filter(|(name, _)| samples.of(name).is_some());
    let targets = seen.map(|(name, terms)| {
        let stability = stability(&events, name);
        // Of those that it was not given by the run nobody knows by now.
        let limits = Limits { open_files: terms.resources.fds, ..Limits::default() };
        let party = Party { name, terms, limits, stability: &stability, lines: (None, None) };
        (name.clone(), case.target(&party))
    });
    let verdict = case.whole(targets.collect());
    Ok(RunResult { manifest, verdict, samples, events, against: files::read_against(folder)? })
}

fn stability(events: &[Event], target: &str) -> Stability {
    let crashes = || events.iter().filter(|event| event.target == target && event.event == Event::CRASH);
    let unasked = crashes().take(Stability::KEPT).map(|crash| Unasked {
        at_s: crash.elapsed_s,
        how: crash.detail.clone(),
        out_of_memory: false,
        last_log_lines: Vec::new(),
    });
    Stability {
        crashes: u32::try_from(crashes().count()).unwrap_or(u32::MAX),
        unasked: unasked.collect(),
        ..Stability::default()
    }
}
