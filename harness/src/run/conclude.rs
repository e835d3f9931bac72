//! The end of a run: judges from what stands in the run directory, and draws the report.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::audit::reconcile::Unexplained;
use crate::record::files;
use crate::report;
use crate::result::{Audit, Manifest, RunResult, SCHEMA};
use crate::run::house::{Account, End};
use crate::run::judge::Case;
use crate::run::order::{Order, RunError};

/// `audit.json`: the figures of each target, and where to look for what nobody accounts for.
#[derive(Debug, Serialize)]
struct AuditFile<'a> {
    schema: u32,
    targets: BTreeMap<&'a str, AuditEntry>,
}

#[derive(Debug, Serialize)]
struct AuditEntry {
    #[serde(flatten)]
    audit: Audit,
    /// Lines that were changed on their way.
    altered: u64,
    /// Lines that arrived when there were too many sources or gaps for the sink's book: with any of them, some
    /// count as lost that arrived.
    unrecorded: u64,
    /// Lines that arrived behind a later one of the same output.
    out_of_order: u64,
    unaccounted: Vec<String>,
}

/// Judges, from what stands in the run directory, and draws the report.
pub(super) fn conclude(
    order: &Order,
    manifest: &Manifest,
    accounts: &[Account],
    end: End,
) -> Result<RunResult, RunError> {
    let out = &order.out;
    let samples = files::read_csv(&out.join(files::SAMPLES))?;
    let case = Case {
        samples: &samples,
        phases: &manifest.phases,
        limits: &manifest.limits,
        cut_short: end == End::CutShort,
    };
    let targets = accounts.iter().map(|account| {
        let (detached, lines) = (&account.detached, (account.audit, account.latency));
        (detached.spec.name.clone(), case.target(detached, lines))
    });
    let verdict = case.whole(targets.collect());
    files::write_json(&out.join(files::AUDIT), &audit_file(accounts))?;
    files::write_json(&out.join(files::VERDICT), &verdict)?;
    let result = files::read_run(out)?;
    report::write_all(out, &result)?;
    Ok(result)
}

fn unaccounted(unexplained: &Unexplained) -> String {
    let runs: Vec<String> =
        unexplained.first_runs.iter().map(|(first, last)| format!("{first}..={last}")).collect();
    let Unexplained { key, missing, .. } = unexplained;
    format!("{} {:?}: {missing} missing, first {}", key.source, key.stream, runs.join(", "))
}

fn audit_file(accounts: &[Account]) -> AuditFile<'_> {
    let entry = |account: &Account| AuditEntry {
        audit: account.audit,
        altered: account.altered,
        unrecorded: account.unrecorded,
        out_of_order: account.out_of_order,
        unaccounted: account.unexplained.iter().map(unaccounted).collect(),
    };
    let targets = accounts.iter().map(|account| (account.detached.spec.name.as_str(), entry(account)));
    AuditFile { schema: SCHEMA, targets: targets.collect() }
}
