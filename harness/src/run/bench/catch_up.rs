//! A backlog on disk, read to its end: how long it takes, what it costs, whether every line arrives.

use std::collections::BTreeMap;

use crate::faults::Plan;
use crate::result::bench::Measure;
use crate::run::bench::bed::{Bed, Laid};
use crate::run::bench::contender::{Arrival, Contender, held};
use crate::run::bench::{BenchError, Outcome};
use crate::target::spec::Spec;

/// One trial.
pub(super) async fn trial(
    bed: &Bed<'_>,
    spec: &Spec,
    (trial, laid): (&str, &Laid),
) -> Result<Outcome, BenchError> {
    let engine_before = bed.engine_cpu_seconds();
    let mut contender = match Contender::start(bed, spec, (trial, Plan::default())).await? {
        Ok(contender) => contender,
        Err(words) => return Ok(Outcome::failed(words)),
    };
    let arrival = contender.arrival(&laid.truth).await;
    let (usage, engine_after) = (contender.usage(), bed.engine_cpu_seconds());
    let tasks = contender.tasks().await;
    let sink_seconds = contender.sink_seconds();
    let accepted = contender.sink.accepted();
    let mut figures = BTreeMap::new();
    let mut put = |measure, value: Option<f64>| {
        figures.extend(value.filter(|value| value.is_finite()).map(|value| (measure, value)));
    };
    put(Measure::ReadySeconds, Some(contender.ready.as_secs_f64()));
    let moments = contender.first_and_last();
    put(Measure::FirstLineSeconds, moments.map(|(first, _)| first.as_secs_f64()));
    // Of who did not read it to its end these say nothing.
    if arrival == Arrival::Whole {
        let (lines, wall) = (laid.lines as f64, moments.map(|(_, last)| last.as_secs_f64()));
        let cpu = usage.map(|usage| usage.cpu_seconds);
        put(Measure::WallSeconds, wall);
        put(Measure::LinesPerSecond, wall.map(|wall| lines / wall));
        put(Measure::LogBytesPerSecond, wall.map(|wall| laid.bytes as f64 / wall));
        put(Measure::CpuSeconds, cpu);
        put(Measure::CpuSecondsPerMillionLines, cpu.map(|cpu| cpu / lines * 1e6));
        put(Measure::LinesPerCpuSecond, cpu.map(|cpu| lines / cpu));
        put(Measure::CpuShare, cpu.zip(wall).map(|(cpu, wall)| cpu / wall));
        put(Measure::SinkShare, sink_seconds.zip(wall).map(|(busy, wall)| busy / wall));
        let engine = engine_before.zip(engine_after).map(|(before, after)| after - before);
        put(Measure::EngineCpuSecondsPerMillionLines, engine.map(|cpu| cpu / lines * 1e6));
        put(Measure::WireBytesPerLine, Some(contender.sink.body_bytes() as f64 / accepted as f64));
        let pushes = contender.sink.counters().pushes;
        put(Measure::PushesPerMillionLines, Some(pushes as f64 / accepted as f64 * 1e6));
    }
    usage.iter().flat_map(held).for_each(|(measure, value)| put(measure, value));
    put(Measure::Tasks, tasks);
    let audit = contender.end(&laid.truth).await;
    Ok(Outcome::of(figures, Some(audit), arrival))
}
