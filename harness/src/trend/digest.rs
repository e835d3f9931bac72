//! From a run's result to its digest: pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::growth::difference::reported;
use crate::result::{
    Audit, Count, Digest, Error, Ground, Manifest, Measure, Measured, Moment, Phase, RunResult, SCHEMA,
    TargetDigest, TargetResult, Verdict,
};
use crate::trend::ground;
use crate::units::Factor;

/// Stretches of the load between which a rate is measured: batch means, whose spread is the error of the whole.
/// Twenty leave each long against what a shipper's batches and garbage take, and give the error 19 degrees of freedom.
const BATCHES: usize = 20;
/// Fewer samples under load than this for each batch, and their spread is that of the sampling.
const SAMPLES_PER_BATCH: usize = 3;

/// Why a run has no digest.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// When it began.
    #[error("run.json says that it began at {0:?}, which is no time")]
    Started(String),
    /// What it was put through.
    #[error("run.json's scenario can't be read: {0}")]
    Scenario(String),
}

/// The digest.
///
/// # Errors
/// [`DigestError`] where `run.json` holds what no flatline writes.
pub fn digest(result: &RunResult) -> Result<Digest, DigestError> {
    let Manifest { run_id, started_at, ended, revision, engine, kernel, machine, .. } = &result.manifest;
    let started: Timestamp = started_at.parse().map_err(|_| DigestError::Started(started_at.clone()))?;
    let settings = ground::settings(&result.manifest.scenario_yaml).map_err(DigestError::Scenario)?;
    let targets = result.verdict.targets.iter();
    Ok(Digest {
        schema: SCHEMA,
        run_id: run_id.clone(),
        started_at: started,
        ended: ended.clone(),
        outcome: result.verdict.outcome,
        reason: result.verdict.reason.clone(),
        revision: revision.clone().or_else(|| of_the_build(&result.manifest)),
        ground: Ground {
            scenario: result.manifest.scenario.clone(),
            settings,
            compression: result.manifest.compression.as_ref().map_or(Factor::ONE, |by| by.times),
            engine: engine.clone(),
            kernel: kernel.clone(),
            machine: machine.clone(),
        },
        targets: targets.map(|(name, target)| (name.clone(), of_target(result, name, target))).collect(),
    })
}

/// Where nobody said what was tested, flatline's own commit stands for it: both are built together here.
fn of_the_build(manifest: &Manifest) -> Option<String> {
    Some(manifest.commit.clone()).filter(|commit| commit != "unknown" && !commit.is_empty())
}

fn of_target(result: &RunResult, name: &str, target: &TargetResult) -> TargetDigest {
    let mut figures = growths(target);
    figures.extend(rates(result, name));
    if let Some(latency) = target.latency {
        figures.insert(Measure::LatencyP50, Measured::exactly(latency.p50_s));
        figures.insert(Measure::LatencyP99, Measured::exactly(latency.p99_s));
    }
    let most = result.samples.moments(name).filter_map(|sample| sample.count(Count::RssBytes)).max();
    figures.extend(most.map(|bytes| (Measure::RssMax, Measured::exactly(bytes as f64))));
    figures.extend(target.audit.iter().flat_map(lines));
    figures.insert(Measure::Crashes, Measured::exactly(f64::from(target.stability.crashes)));
    TargetDigest {
        design: target.design.clone(),
        expect: target.expect,
        met: target.met,
        verdicts: target
            .resources
            .iter()
            .map(|(resource, found)| (*resource, found.judgement.verdict))
            .collect(),
        figures,
        lines_sent: target.audit.map(|audit| audit.sent),
    }
}

/// Growths with errors as wide as the intervals that were reported; none that can't be trusted.
fn growths(target: &TargetResult) -> BTreeMap<Measure, Measured> {
    let trusted = target.resources.iter().filter(|(_, found)| found.judgement.verdict != Verdict::Invalid);
    let growths = trusted.filter_map(|(resource, found)| {
        let growth = reported(found)?;
        let error = Error { standard: growth.error_per_min, degrees: growth.degrees };
        Some((Measure::growth(*resource), Measured { value: growth.per_min, error: Some(error) }))
    });
    growths.collect()
}

fn lines(audit: &Audit) -> [(Measure, Measured); 3] {
    let of = |measure, count: u64| (measure, Measured::exactly(count as f64));
    [
        of(Measure::Lost, audit.lost),
        of(Measure::Altered, audit.altered),
        of(Measure::Duplicated, audit.duplicated),
    ]
}

/// A stretch of the load: what passed in it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Batch {
    seconds: f64,
    lines: f64,
    cpu_s: f64,
}

/// What it did in a second of load, and what a line cost.
fn rates(result: &RunResult, name: &str) -> BTreeMap<Measure, Measured> {
    let load = result.manifest.phases.iter().filter(|phase| phase.name == "load");
    let Some(load) = load.max_by(|a, b| length(a).total_cmp(&length(b))) else { return BTreeMap::new() };
    let within = |sample: &Moment<'_>| (load.from_s..=load.to_s).contains(&sample.elapsed_s());
    let samples: Vec<Moment<'_>> = result.samples.moments(name).filter(within).collect();
    let batches = batches(&samples);
    let rates = [
        (Measure::LinesPerSecond, ratio(&batches, |batch| (batch.lines, batch.seconds))),
        (Measure::CpuPerMillionLines, ratio(&batches, |batch| (batch.cpu_s, batch.lines / 1e6))),
    ];
    rates.into_iter().filter_map(|(measure, found)| Some((measure, found?))).collect()
}

fn length(phase: &Phase) -> f64 {
    phase.to_s - phase.from_s
}

/// Stretches of as many samples each; what a restarted process counts from zero again is counted whole.
fn batches(samples: &[Moment<'_>]) -> Vec<Batch> {
    let each = (samples.len().saturating_sub(1) / BATCHES).max(SAMPLES_PER_BATCH);
    let steps: Vec<Batch> =
        samples.array_windows().filter_map(|[before, after]| step(*before, *after)).collect();
    let whole = steps.chunks_exact(each).map(|steps| {
        steps.iter().fold(Batch::default(), |sum, step| Batch {
            seconds: sum.seconds + step.seconds,
            lines: sum.lines + step.lines,
            cpu_s: sum.cpu_s + step.cpu_s,
        })
    });
    whole.collect()
}

fn step(before: Moment<'_>, after: Moment<'_>) -> Option<Batch> {
    let (first, last) = (before.count(Count::Accepted)?, after.count(Count::Accepted)?);
    let (spent, by_now) = (before.cpu_seconds()?, after.cpu_seconds()?);
    Some(Batch {
        seconds: after.elapsed_s() - before.elapsed_s(),
        lines: last.checked_sub(first).unwrap_or(last) as f64,
        cpu_s: if by_now < spent { by_now } else { by_now - spent },
    })
}

/// The ratio of two sums over the batches, with the error of a ratio estimate (Cochran, "Sampling Techniques", 1977,
/// section 6.3): what is left of each batch's numerator when the whole's ratio is taken out.
fn ratio(batches: &[Batch], of: impl Fn(&Batch) -> (f64, f64)) -> Option<Measured> {
    let parts: Vec<(f64, f64)> = batches.iter().map(of).collect();
    let sum = parts.iter().fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
    let value = sum.0 / sum.1;
    if parts.len() < 2 || !value.is_finite() {
        return None;
    }
    let degrees = (parts.len() - 1) as f64;
    let left: f64 = parts.iter().map(|(above, below)| (above - value * below).powi(2)).sum();
    let standard = (left / degrees * parts.len() as f64).sqrt() / sum.1.abs();
    Some(Measured { value, error: Some(Error { standard, degrees }) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn batch(seconds: f64, lines: f64, cpu_s: f64) -> Batch {
        Batch { seconds, lines, cpu_s }
    }

    #[test]
    fn a_rate_is_that_of_the_whole_and_its_error_that_of_the_parts() {
        let even = [batch(10.0, 100.0, 0.1); 8];
        let found = ratio(&even, |batch| (batch.lines, batch.seconds)).unwrap();
        assert_eq!(found, Measured { value: 10.0, error: Some(Error { standard: 0.0, degrees: 7.0 }) });
        let uneven = [batch(10.0, 90.0, 0.1), batch(10.0, 110.0, 0.1)];
        let found = ratio(&uneven, |batch| (batch.lines, batch.seconds)).unwrap();
        assert!((found.value - 10.0).abs() < 1e-12);
        // Two means of 9 and 11: their mean's error is 1.
        assert!((found.error.unwrap().standard - 1.0).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn without_lines_there_is_no_cost_of_a_line() {
        let idle = [batch(10.0, 0.0, 0.1); 8];
        assert_eq!(ratio(&idle, |batch| (batch.cpu_s, batch.lines)), None);
        assert_eq!(ratio(&idle[..1], |batch| (batch.cpu_s, batch.seconds)), None);
    }

    proptest! {
        #[test]
        fn the_error_of_a_rate_does_not_depend_on_its_unit(lines in proptest::collection::vec(1.0_f64..1e6, 3..30)) {
            let of = |scale: f64| {
                let batches: Vec<Batch> = lines.iter().map(|lines| batch(10.0, lines * scale, 0.0)).collect();
                ratio(&batches, |batch| (batch.lines, batch.seconds)).unwrap()
            };
            let (one, thousand) = (of(1.0), of(1000.0));
            let error = |found: Measured| found.error.unwrap().standard;
            prop_assert!((error(thousand) - 1000.0 * error(one)).abs() <= 1e-6 * error(thousand));
        }
    }
}
