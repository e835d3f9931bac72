//! The end of a run: judges from what stands in the run directory, and draws the report.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::audit::reconcile::Unexplained;
use crate::loki::weather::Tampered;
use crate::record::files;
use crate::report;
use crate::result::{Audit, Manifest, RunResult, SCHEMA, SequenceAudit, StoppedEarly, is_zero};
use crate::run::attach::Detached;
use crate::run::house::{Account, End};
use crate::run::judge::{Case, Party};
use crate::run::order::{Order, RunError};

/// `audit.json`: the figures of each target, and where to look for what nobody accounts for.
#[derive(Debug, Serialize)]
struct AuditFile<'a> {
    schema: u32,
    targets: BTreeMap<&'a str, AuditEntry<'a>>,
}

#[derive(Debug, Serialize)]
struct AuditEntry<'a> {
    #[serde(flatten)]
    audit: Audit,
    /// `rejected` by Loki's reason.
    rejected_by: &'a BTreeMap<&'static str, u64>,
    /// `skipped` by the target's own reasons, as far as it counts them.
    skipped_by: &'a BTreeMap<String, u64>,
    /// `dropped` by the target's own reasons.
    dropped_by: &'a BTreeMap<String, u64>,
    /// What the plan of faults did to lines on their way.
    #[serde(skip_serializing_if = "Tampered::is_nothing")]
    tampered: Tampered,
    /// Lines that arrived when there were too many sources or gaps for the sink's book: with any of them, some
    /// count as lost that arrived.
    #[serde(skip_serializing_if = "is_zero")]
    unrecorded: u64,
    /// Lines that arrived and that nobody wrote, by the generators' count.
    #[serde(skip_serializing_if = "is_zero")]
    never_written: u64,
    /// Lines that arrived and are none of the run's.
    #[serde(skip_serializing_if = "is_zero")]
    foreign: u64,
    /// What the target says and the sink does not.
    disagreements: &'a [String],
    unaccounted: Vec<String>,
    /// Each output of each container.
    sequences: &'a [SequenceAudit],
}

/// Judges, from what stands in the run directory, and draws the report.
pub(super) fn conclude(
    order: &Order,
    manifest: &Manifest,
    accounts: &[Account],
    (end, stopped_early): (End, Option<&StoppedEarly>),
) -> Result<RunResult, RunError> {
    let out = &order.out;
    let samples = files::read_samples(out)?;
    let events = files::read_csv(&out.join(files::EVENTS))?;
    let kinds = files::read_kinds(out)?;
    let case = Case {
        samples: &samples,
        events: &events,
        kinds: &kinds,
        phases: &manifest.phases,
        limits: &manifest.limits,
        segments: &manifest.segments,
        cut_short: end == End::CutShort,
        stopped_early,
        missing: &manifest.missing_targets,
    };
    let targets = accounts.iter().map(|account| {
        let Detached { spec, limits, stability, .. } = &account.detached;
        let party = Party {
            name: &spec.name,
            terms: &spec.terms(),
            limits: *limits,
            stability,
            lines: (Some(account.reconciled.audit), account.latency),
        };
        (spec.name.clone(), case.target(&party))
    });
    let verdict = case.whole(targets.collect());
    files::write_json(&out.join(files::AUDIT), &audit_file(accounts))?;
    files::write_json(&out.join(files::VERDICT), &verdict)?;
    // They are read again to be drawn: of two days they would not fit twice.
    drop((samples, kinds));
    let result = files::read_run(out)?;
    report::write_all(out, &result)?;
    Ok(result)
}

fn unaccounted(unexplained: &Unexplained) -> String {
    let runs: Vec<String> =
        unexplained.first_runs.iter().map(|(first, last)| format!("{first}..={last}")).collect();
    let Unexplained { key, missing, .. } = unexplained;
    format!("{} {}: {missing} missing, first {}", key.source, key.stream.output(), runs.join(", "))
}

fn audit_file(accounts: &[Account]) -> AuditFile<'_> {
    let targets = accounts.iter().map(|account| {
        let Account { detached, reconciled, tampered, .. } = account;
        let entry = AuditEntry {
            audit: reconciled.audit,
            rejected_by: &reconciled.rejected_by,
            skipped_by: &detached.said.skipped_by,
            dropped_by: &detached.said.dropped_by,
            tampered: *tampered,
            unrecorded: reconciled.unrecorded,
            never_written: reconciled.never_written,
            foreign: reconciled.foreign,
            disagreements: &reconciled.disagreements,
            unaccounted: reconciled.unexplained.iter().map(unaccounted).collect(),
            sequences: &reconciled.sequences,
        };
        (detached.spec.name.as_str(), entry)
    });
    AuditFile { schema: SCHEMA, targets: targets.collect() }
}
