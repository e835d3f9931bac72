//! The highest rate that a target holds without falling behind: one process, and rates that rise until it does.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::sleep;

use crate::faults::Plan;
use crate::result::bench::Measure;
use crate::run::bench::bed::Bed;
use crate::run::bench::climb::Climb;
use crate::run::bench::contender::{Contender, held};
use crate::run::bench::logging::{Logging, Rate};
use crate::run::bench::{BenchError, Outcome};
use crate::scenario::bench::HighestRate;
use crate::target::spec::Spec;

/// The generators look at their tempo once a second.
const HEARD_WITHIN: Duration = Duration::from_millis(1_300);
/// Generators that write less than this share of a rate can't write any more.
const KEPT: f64 = 0.9;
/// A target that has fallen behind is given so long to deliver the rest before the next rate.
const CATCHES_UP_WITHIN: Duration = Duration::from_secs(30);
const BEAT: Duration = Duration::from_millis(100);

/// The best rate so far.
#[derive(Clone, Copy, Debug)]
struct Best {
    per_second: f64,
    cpu_share: Option<f64>,
}

/// How a rate was borne.
#[derive(Clone, Copy, Debug)]
enum Borne {
    Held(Best),
    Behind,
    /// The containers wrote no faster.
    NotWritten(Best),
}

/// One trial.
pub(super) async fn trial(
    bed: &Bed<'_>,
    spec: &Spec,
    (trial, work): (&str, HighestRate),
) -> Result<Outcome, BenchError> {
    let mut contender = match Contender::start(bed, spec, (trial, Plan::default())).await? {
        Ok(contender) => contender,
        Err(words) => return Ok(Outcome::failed(words)),
    };
    let rate = Rate { containers: work.containers, lines_per_second: work.from, line_bytes: work.line_bytes };
    let logging = Logging::start(bed, rate).await?;
    let (mut climb, mut best, mut notes) =
        (Climb::new(work.from.into(), work.to.into(), work.refine), None::<Best>, Vec::new());
    while let Some(rate) = climb.next() {
        if contender.ended().is_some() {
            break;
        }
        match probe(&contender, &logging, work, rate).await? {
            Borne::Held(held) => {
                best = Some(held);
                climb.tried(true);
                if rate >= f64::from(work.to) {
                    notes.push("no higher rate was tried".to_owned());
                }
            }
            Borne::Behind => {
                climb.tried(false);
                rest(&contender, &logging).await?;
            }
            Borne::NotWritten(held) => {
                best = best.filter(|best| best.per_second >= held.per_second).or(Some(held));
                notes.push("the containers could write no more".to_owned());
                climb.is_the_end();
            }
        }
    }
    let truth = logging.stop().await?;
    let arrival = contender.arrival(&truth).await;
    let mut figures = BTreeMap::new();
    let mut put = |measure, value: Option<f64>| figures.extend(value.map(|value| (measure, value)));
    put(Measure::RateHeldPerSecond, best.map(|best| best.per_second));
    put(Measure::CpuShare, best.and_then(|best| best.cpu_share));
    contender.usage().iter().flat_map(held).for_each(|(measure, value)| put(measure, value));
    let audit = contender.end(&truth).await;
    logging.remove().await?;
    let mut outcome = Outcome::of(figures, Some(audit), arrival);
    if best.is_none() {
        notes.push("it fell behind at every rate that was tried".to_owned());
    }
    outcome.notes = notes;
    Ok(outcome)
}

async fn probe(
    contender: &Contender<'_>,
    logging: &Logging<'_>,
    work: HighestRate,
    rate: f64,
) -> Result<Borne, BenchError> {
    logging.tempo(rate / f64::from(work.from))?;
    sleep(HEARD_WITHIN).await;
    let (age, before, cpu) = (contender.sink.age(), logging.written()?, contender.usage());
    sleep(work.hold.0).await;
    let (written, seconds) = (logging.written()?, contender.sink.age().saturating_sub(age).as_secs_f64());
    let after = contender.usage();
    let behind = written.saturating_sub(contender.sink.accepted()) as f64;
    let per_second = written.saturating_sub(before) as f64 / seconds;
    let used = cpu.zip(after).map(|(before, after)| after.cpu_seconds - before.cpu_seconds);
    let held = Best { per_second, cpu_share: used.map(|used| used / seconds) };
    Ok(match behind <= per_second * work.behind.as_secs_f64() {
        false => Borne::Behind,
        true if per_second < rate * KEPT => Borne::NotWritten(held),
        true => Borne::Held(held),
    })
}

/// Nothing is written until it has caught up.
async fn rest(contender: &Contender<'_>, logging: &Logging<'_>) -> Result<(), BenchError> {
    logging.tempo(0.0)?;
    sleep(HEARD_WITHIN).await;
    let until = contender.sink.age() + CATCHES_UP_WITHIN;
    while contender.sink.accepted() < logging.written()? && contender.sink.age() < until {
        sleep(BEAT).await;
    }
    Ok(())
}
