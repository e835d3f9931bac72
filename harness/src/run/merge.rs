//! Several runs of one load, each with targets of its own, joined into one run directory: shards of a run that was spread
//! over machines, or the same with several seeds. Each target stays judged by the samples of its own run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::orphans;
use crate::record::files::{self, RecordError};
use crate::record::recorder::Recorder;
use crate::report::{self, ReportError};
use crate::result::{Event, KindCount, Kinds, Manifest, MappedBytes, RunResult, SCHEMA, Sample, Shard};
use crate::run::so_far;
use crate::trend::ground;

mod joined;

use joined::Moved;

/// The files by kind, and which rows of [`Kinds`] they hold.
type KindFile = (&'static str, fn(&mut Kinds) -> &mut Vec<KindCount>);

const KIND_FILES: [KindFile; 4] = [
    (files::TASKS, |kinds| &mut kinds.tasks),
    (files::THREADS, |kinds| &mut kinds.threads),
    (files::FDS, |kinds| &mut kinds.fds),
    (files::WATCHES, |kinds| &mut kinds.watches),
];

/// Why runs can't be joined.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// None is named.
    #[error("name the run directories to be merged")]
    Nothing,
    /// A run directory.
    #[error("{source}\n  Of {}: name run directories, as `flatline run --shard I/N` leaves them.", run.display())]
    Record {
        /// Which one.
        run: PathBuf,
        /// What is wrong with it.
        source: RecordError,
    },
    /// It goes on.
    #[error("the run in {} still goes on: wait for its end", .0.display())]
    Running(PathBuf),
    /// It is none of the runs themselves.
    #[error("{} was merged itself: name the runs that it was merged from, with the others", .0.display())]
    Merged(PathBuf),
    /// It is named twice.
    #[error("{} and {} hold the same run, {run_id}", first.display(), second.display())]
    Twice {
        /// Where it is.
        first: PathBuf,
        /// Where it is as well.
        second: PathBuf,
        /// Which run.
        run_id: String,
    },
    /// They are no runs of one load.
    #[error(
        "{} and {} can't be merged, they differ: {}\n  \
         Only runs of one scenario are, with targets or seeds of their own; `flatline compare` holds others against each other.",
        first.display(), other.display(), listed(facts)
    )]
    Differ {
        /// The first run.
        first: PathBuf,
        /// One that differs.
        other: PathBuf,
        /// In what: the fact, and what it is in each.
        facts: Vec<[String; 3]>,
    },
    /// What is to be written.
    #[error(transparent)]
    Write(#[from] RecordError),
    /// What is to be drawn.
    #[error(transparent)]
    Report(#[from] ReportError),
}

impl MergeError {
    /// Whether the runs are none to be joined; else a directory can't be used.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Nothing | Self::Running(_) | Self::Merged(_) | Self::Twice { .. } | Self::Differ { .. }
        )
    }
}

fn listed(facts: &[[String; 3]]) -> String {
    facts.iter().map(|[what, one, other]| format!("\n    {what}: {one} and {other}")).collect()
}

/// Joins the runs in these folders, at least one, into `out`, which must not hold a run yet.
///
/// # Errors
/// [`MergeError`]; where the runs can't be joined nothing is written.
pub fn merge(runs: &[PathBuf], out: &Path, command: &[String]) -> Result<RunResult, MergeError> {
    let mut parts = Vec::new();
    for run in runs {
        let result = so_far::read(run).map_err(|source| MergeError::Record { run: run.clone(), source })?;
        let manifest = &result.manifest;
        if manifest.ended == Manifest::RUNNING && orphans::is_live(&manifest.run_id) {
            return Err(MergeError::Running(run.clone()));
        }
        if !manifest.parts.is_empty() {
            return Err(MergeError::Merged(run.clone()));
        }
        parts.push(result);
    }
    check(runs, &parts)?;
    let moved = joined::moved(&parts);
    let Some(manifest) = joined::manifest(&parts, &moved, command) else { return Err(MergeError::Nothing) };
    let mut recorder = Recorder::create(out)?;
    let rows = |run: &Path, source| MergeError::Record { run: run.to_owned(), source };
    let (mut samples, mut kinds): (Vec<Sample>, _) = (Vec::new(), Kinds::default());
    for (run, moved) in runs.iter().zip(&moved) {
        let read: Vec<Sample> =
            files::read_csv(&run.join(files::SAMPLES)).map_err(|source| rows(run, source))?;
        samples.extend(read.into_iter().map(|sample| moved.sample(sample)));
        read_kinds(run, moved, &mut kinds).map_err(|source| rows(run, source))?;
    }
    samples.sort_by(|a, b| a.elapsed_s.total_cmp(&b.elapsed_s));
    recorder.samples(&samples)?;
    drop(samples);
    recorder.kinds(&kinds)?;
    drop(kinds);
    let events: Vec<Event> = joined::events(&parts, &moved);
    events.iter().try_for_each(|event| recorder.event(event))?;
    recorder.manifest(&manifest)?;
    files::write_json(&out.join(files::VERDICT), &joined::verdict(&parts, &moved))?;
    files::write_json(&out.join(files::AUDIT), &audits(runs, &moved)?)?;
    let result = files::read_run(out)?;
    report::write_all(out, &result)?;
    Ok(result)
}

/// In order of time, as every reader expects them.
fn read_kinds(run: &Path, moved: &Moved, kinds: &mut Kinds) -> Result<(), RecordError> {
    for (name, of) in KIND_FILES {
        let path = run.join(name);
        if path.exists() {
            let rows: Vec<KindCount> = files::read_csv(&path)?;
            let all = of(kinds);
            all.extend(rows.into_iter().map(|row| moved.kind(row)));
            all.sort_by(|a, b| a.elapsed_s.total_cmp(&b.elapsed_s));
        }
    }
    let path = run.join(files::MEMORY);
    if path.exists() {
        let rows: Vec<MappedBytes> = files::read_csv(&path)?;
        kinds.memory.extend(rows.into_iter().map(|row| moved.mapped(row)));
        kinds.memory.sort_by(|a, b| a.elapsed_s.total_cmp(&b.elapsed_s));
    }
    Ok(())
}

/// What became of each line, target by target; a run that was killed accounts for none.
fn audits(runs: &[PathBuf], moved: &[Moved]) -> Result<Value, MergeError> {
    let mut targets = Map::new();
    for (run, moved) in runs.iter().zip(moved) {
        let path = run.join(files::AUDIT);
        if !path.exists() {
            continue;
        }
        let audit: Value =
            files::read_json(&path).map_err(|source| MergeError::Record { run: run.clone(), source })?;
        let found = audit.get("targets").and_then(Value::as_object).into_iter().flatten();
        targets.extend(found.map(|(name, entry)| (moved.name(name), entry.clone())));
    }
    Ok(serde_json::json!({ "schema": SCHEMA, "targets": targets }))
}

/// That they are different runs of one load, by one flatline.
fn check(runs: &[PathBuf], parts: &[RunResult]) -> Result<(), MergeError> {
    let mut all = runs.iter().zip(parts.iter().map(|part| &part.manifest));
    let Some((first, leading)) = all.next() else { return Ok(()) };
    let known = facts(leading);
    let mut seen = BTreeMap::from([(&leading.run_id, first)]);
    for (other, manifest) in all {
        if let Some(first) = seen.insert(&manifest.run_id, other) {
            let (first, second) = (first.clone(), other.clone());
            return Err(MergeError::Twice { first, second, run_id: manifest.run_id.clone() });
        }
        let mut facts = differing(&known, &facts(manifest));
        facts.extend(shared_otherwise(leading.shard, manifest.shard));
        if !facts.is_empty() {
            return Err(MergeError::Differ { first: first.clone(), other: other.clone(), facts });
        }
    }
    Ok(())
}

/// Shards of another count have other targets: some would be there twice, and others not at all.
fn shared_otherwise(one: Option<Shard>, other: Option<Shard>) -> Option<[String; 3]> {
    let (one, other) = (one?, other?);
    (one.count() != other.count()).then(|| ["shard".to_owned(), one.to_string(), other.to_string()])
}

/// What must be the same: the load, the limits, and who measured.
fn facts(manifest: &Manifest) -> BTreeMap<String, String> {
    let mut facts = ground::settings(&manifest.scenario_yaml).unwrap_or_default();
    facts.insert("scenario".to_owned(), manifest.scenario.clone());
    let built = format!("{} at {}", manifest.version, manifest.commit);
    facts.insert("flatline".to_owned(), built);
    facts.extend(manifest.revision.iter().map(|revision| ("revision".to_owned(), revision.clone())));
    let limits = manifest
        .limits
        .iter()
        .map(|(resource, limit)| (format!("limits.{}", resource.key()), limit.to_string()));
    facts.extend(limits);
    facts
}

fn differing(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> Vec<[String; 3]> {
    let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let in_each = |key: &String| {
        let of = |facts: &BTreeMap<String, String>| {
            facts.get(key).cloned().unwrap_or_else(|| "not set".to_owned())
        };
        [key.clone(), of(one), of(other)]
    };
    keys.into_iter().map(in_each).filter(|[_, one, other]| one != other).collect()
}
