//! A run directory read again, for its report: what was decided, or, where no end of the run was recorded (it was
//! killed, or goes on), a judgement of what stands there until now.
//!
//! The same code judges that a run ends with. The lines of such a run are accounted for by nobody: the books of its
//! sinks were in the memory of the process that is gone.

use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

use crate::record::files::{self, RecordError};
use crate::result::{Event, Manifest, Phase, RunResult, Sample, Stability};
use crate::run::judge::Case;
use crate::sample::process::Limits;

/// Reads all that a report is drawn from. Nothing is written.
///
/// # Errors
/// [`RecordError`] for the first file that is missing or damaged.
pub fn reopen(folder: &Path) -> Result<RunResult, RecordError> {
    let has = |name: &str| folder.join(name).exists();
    if has(files::VERDICT) || !has(files::RUN) {
        return files::read_run(folder);
    }
    let manifest = files::read_manifest(folder)?;
    // An older flatline did not write down what to judge.
    if manifest.roles.is_empty() { files::read_run(folder) } else { judge(folder, manifest) }
}

fn judge(folder: &Path, mut manifest: Manifest) -> Result<RunResult, RecordError> {
    let events: Vec<Event> = files::read_csv(&folder.join(files::EVENTS))?;
    // The two large ones, side by side.
    let (samples, kinds) = thread::scope(|scope| {
        let kinds = scope.spawn(|| files::read_kinds(folder));
        let samples: Result<Vec<Sample>, _> = files::read_csv(&folder.join(files::SAMPLES));
        (samples, kinds.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    let (samples, kinds) = (samples?, kinds?);
    if manifest.phases.is_empty() {
        let last_sample = samples.last().map_or(0.0, |sample| sample.elapsed_s);
        let last_event = events.last().map_or(0.0, |event| event.elapsed_s);
        manifest.phases = phases(&events, last_sample.max(last_event));
    }
    if manifest.ended == RUNNING {
        manifest.ended = "no end was recorded: it was killed, or goes on".to_owned();
    }
    let case = Case {
        samples: &samples,
        events: &events,
        kinds: &kinds,
        phases: &manifest.phases,
        limits: &manifest.limits,
        cut_short: true,
        stopped_early: None,
    };
    // Without a sample nobody was attached: there is nothing to judge.
    let attached = manifest.roles.iter().filter(|(name, _)| samples.iter().any(|it| it.target == **name));
    let targets = attached.map(|(name, role)| {
        let result = case.target_of((name, role, Limits::default()), (None, None), stability(&events, name));
        (name.clone(), result)
    });
    let mut verdict = case.whole(targets.collect());
    verdict.unfinished = true;
    Ok(RunResult { manifest, verdict, samples, events })
}

/// What `run.json` says of a run before its end.
pub(super) const RUNNING: &str = "running";

/// The phases by their events; the last one lasts until the last sign of life.
fn phases(events: &[Event], last_s: f64) -> Vec<Phase> {
    let starts: Vec<&Event> = events.iter().filter(|event| event.event == "phase").collect();
    let ends = starts.iter().skip(1).map(|event| event.elapsed_s).chain([last_s]);
    let phase =
        |(start, to_s): (&&Event, f64)| Phase { name: start.detail.clone(), from_s: start.elapsed_s, to_s };
    starts.iter().zip(ends).map(phase).collect()
}

fn stability(events: &[Event], target: &str) -> Stability {
    let crashes = events.iter().filter(|event| event.event == "crash" && event.target == target).count();
    Stability {
        crashes: u32::try_from(crashes).unwrap_or(u32::MAX),
        ended: "its end was not recorded".to_owned(),
        last_log_lines: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_told_by_their_events_and_the_last_ends_with_the_last_sign_of_life() {
        let event = |elapsed_s: f64, event: &str, detail: &str| Event {
            elapsed_s,
            target: String::new(),
            event: event.to_owned(),
            detail: detail.to_owned(),
        };
        let events =
            [event(0.5, "phase", "warmup"), event(7.0, "churn", "restart c01"), event(30.0, "phase", "load")];
        let found = phases(&events, 42.0);
        let spans: Vec<_> = found.iter().map(|it| (it.name.as_str(), it.from_s, it.to_s)).collect();
        assert_eq!(spans, [("warmup", 0.5, 30.0), ("load", 30.0, 42.0)]);
        assert!(phases(&[], 42.0).is_empty());
    }
}
