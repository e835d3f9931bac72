//! Containers that log at a set rate: what it costs to keep up with them, and how long lines take. With a plan of faults
//! in the sink, what those cost.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::sleep;

use crate::faults::Plan;
use crate::result::bench::Measure;
use crate::run::bench::bed::Bed;
use crate::run::bench::contender::{Contender, held};
use crate::run::bench::logging::{Logging, Rate};
use crate::run::bench::{BenchError, Outcome};
use crate::scenario::bench::Steady;
use crate::target::spec::Spec;

/// Whoever writes less than this share of what was planned had no time for it.
const KEPT: f64 = 0.95;

/// What was used and done up to a moment.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    age: Duration,
    cpu: Option<f64>,
    engine: Option<f64>,
    sink: Option<f64>,
    accepted: f64,
    written: f64,
}

/// One trial.
pub(super) async fn trial(
    bed: &Bed<'_>,
    spec: &Spec,
    (trial, work): (&str, &Steady),
) -> Result<Outcome, BenchError> {
    let plan = Plan { seed: bed.bench.scenario.seed, faults: work.faults.clone() };
    let mut contender = match Contender::start(bed, spec, (trial, plan)).await? {
        Ok(contender) => contender,
        Err(words) => return Ok(Outcome::failed(words)),
    };
    let Steady { containers, lines_per_second, line_bytes, .. } = *work;
    let logging = Logging::start(bed, Rate { containers, lines_per_second, line_bytes }).await?;
    sleep(work.warmup.0).await;
    contender.sink.begin();
    let before = mark(bed, &contender, &logging)?;
    sleep(work.length.0).await;
    let mut after = mark(bed, &contender, &logging)?;
    let measured = after;
    let truth = logging.stop().await?;
    let arrival = contender.arrival(&truth).await;
    if !work.faults.is_empty() {
        // What a fault has held up is paid for when it comes.
        after = mark(bed, &contender, &logging)?;
    }
    let mut figures = between(before, after);
    let mut put = |measure, value: Option<f64>| figures.extend(value.map(|value| (measure, value)));
    let latency = contender.sink.ledger().latencies.figures();
    put(Measure::LatencyP50Seconds, latency.map(|latency| latency.p50_s));
    put(Measure::LatencyP99Seconds, latency.map(|latency| latency.p99_s));
    put(Measure::LatencyMaxSeconds, latency.map(|latency| latency.max_s));
    put(Measure::Tasks, contender.tasks().await);
    contender.usage().iter().flat_map(held).for_each(|(measure, value)| put(measure, value));
    let audit = contender.end(&truth).await;
    logging.remove().await?;
    let mut outcome = Outcome::of(figures, Some(audit), arrival);
    let planned = f64::from(lines_per_second) * (measured.age - before.age).as_secs_f64();
    let written = measured.written - before.written;
    if written < planned * KEPT {
        let share = written / planned * 100.0;
        outcome.notes.push(format!("the containers wrote {share:.0} % of what was planned"));
    }
    Ok(outcome)
}

fn mark(bed: &Bed<'_>, contender: &Contender<'_>, logging: &Logging<'_>) -> Result<Mark, BenchError> {
    Ok(Mark {
        age: contender.sink.age(),
        cpu: contender.usage().map(|usage| usage.cpu_seconds),
        engine: bed.engine_cpu_seconds(),
        sink: contender.sink_seconds(),
        accepted: contender.sink.accepted() as f64,
        written: logging.written()? as f64,
    })
}

fn between(before: Mark, after: Mark) -> BTreeMap<Measure, f64> {
    let spent = |of: fn(&Mark) -> Option<f64>| Some(of(&after)? - of(&before)?);
    let seconds = after.age.saturating_sub(before.age).as_secs_f64();
    let lines = after.accepted - before.accepted;
    let (cpu, engine, sink) = (spent(|mark| mark.cpu), spent(|mark| mark.engine), spent(|mark| mark.sink));
    let figures = [
        (Measure::WallSeconds, Some(seconds)),
        (Measure::LinesPerSecond, Some(lines / seconds)),
        (Measure::CpuSeconds, cpu),
        (Measure::CpuSecondsPerMillionLines, cpu.map(|cpu| cpu / lines * 1e6)),
        (Measure::LinesPerCpuSecond, cpu.map(|cpu| lines / cpu)),
        (Measure::CpuShare, cpu.map(|cpu| cpu / seconds)),
        (Measure::SinkShare, sink.map(|busy| busy / seconds)),
        (Measure::EngineCpuSecondsPerMillionLines, engine.map(|cpu| cpu / lines * 1e6)),
    ];
    let there = figures.into_iter().filter_map(|(measure, value)| Some((measure, value?)));
    there.filter(|(_, value)| value.is_finite()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_what_lies_between_two_marks() {
        let before = Mark {
            age: Duration::from_secs(10),
            cpu: Some(1.0),
            engine: None,
            sink: Some(2.0),
            accepted: 500.0,
            written: 0.0,
        };
        let after = Mark { age: Duration::from_secs(15), cpu: Some(1.5), accepted: 50_500.0, ..before };
        let found = between(before, after);
        let expected = [
            (Measure::CpuSecondsPerMillionLines, 10.0),
            (Measure::LinesPerSecond, 10_000.0),
            (Measure::CpuShare, 0.1),
            (Measure::SinkShare, 0.0),
        ];
        for (measure, value) in expected {
            assert!((found[&measure] - value).abs() < 1e-9, "{measure:?}: {found:?}");
        }
        assert!(!found.contains_key(&Measure::EngineCpuSecondsPerMillionLines));
        let nothing = between(before, Mark { cpu: None, ..before });
        assert!(nothing.values().all(|value| value.is_finite()), "{nothing:?}");
    }
}
