//! Containers that log nothing any more: what it costs to wait for them.

use std::collections::BTreeMap;

use tokio::time::sleep;

use crate::faults::Plan;
use crate::result::bench::Measure;
use crate::run::bench::bed::{Bed, Laid};
use crate::run::bench::contender::{Arrival, Contender, held};
use crate::run::bench::{BenchError, Outcome};
use crate::scenario::bench::Idle;
use crate::target::spec::Spec;

/// Lines that each container has logged before, so that whoever reads files has opened them all.
pub(super) const LINES_BEFORE: u64 = 5;

/// One trial.
pub(super) async fn trial(
    bed: &Bed<'_>,
    spec: &Spec,
    (trial, work, laid): (&str, Idle, &Laid),
) -> Result<Outcome, BenchError> {
    let mut contender = match Contender::start(bed, spec, (trial, Plan::default())).await? {
        Ok(contender) => contender,
        Err(words) => return Ok(Outcome::failed(words)),
    };
    let arrival = if laid.lines > 0 { contender.arrival(&laid.truth).await } else { Arrival::Whole };
    sleep(work.settle.0).await;
    let (age, before) = (contender.sink.age(), contender.usage());
    sleep(work.length.0).await;
    let (length, after) = (contender.sink.age().saturating_sub(age), contender.usage());
    let mut figures = BTreeMap::new();
    let mut put = |measure, value: Option<f64>| figures.extend(value.map(|value| (measure, value)));
    let cpu = before.zip(after).map(|(before, after)| after.cpu_seconds - before.cpu_seconds);
    put(Measure::CpuShare, cpu.map(|cpu| cpu / length.as_secs_f64()));
    after.iter().flat_map(held).for_each(|(measure, value)| put(measure, value));
    put(Measure::Tasks, contender.tasks().await);
    let audit = contender.end(&laid.truth).await;
    Ok(Outcome::of(figures, (laid.lines > 0).then_some(audit), arrival))
}
