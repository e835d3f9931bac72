//! The end of a watch: judges from the files on disk, by the code of `flatline analyze`, and names what leaks.

use std::collections::BTreeMap;
use std::path::Path;

use crate::growth::SAMPLES_MIN;
use crate::growth::verdict::Judged;
use crate::growth::warmup::Warmup;
use crate::record::files::{self, write_json};
use crate::report::recorded::Recorded;
use crate::result::{Judgement, KindGrowths, Listings, Resource, SCHEMA, Verdict};
use crate::run::analyze::{Analysis, Question, analyze};
use crate::run::attribution;
use crate::run::watch::columns::{RSS, WATCHES};
use crate::run::watch::kinds::{self, Memory};
use crate::run::watch::{Found, Order, WatchError};

/// Name of the file that holds the verdicts.
pub const RESULT: &str = "watch.json";
/// Name of the picture.
pub const PLOT: &str = "watch.png";

/// What was watched.
pub(super) struct Seen<'a> {
    /// The process's name.
    pub(super) name: &'a str,
    /// From the first look to the end, seconds.
    pub(super) length_s: f64,
    /// Whether the process has ended by itself, so that more of it can't be seen.
    pub(super) is_gone: bool,
}

/// Judges what stands in the folder, draws it and writes what was found beside it.
pub(super) fn conclude(order: &Order, seen: &Seen, question: &Question) -> Result<Found, WatchError> {
    let mut recorded = Recorded::default();
    let samples = order.out.join(files::SAMPLES);
    let mut analysis = of_samples(&samples, question, &mut recorded)?;
    let rows = files::read_kinds(&order.out)?;
    let watches = kinds::watches(&rows.watches.sums(seen.name), question, seen.length_s);
    if let Some((points, judged)) = &watches {
        recorded.add(WATCHES, seen.name, points, judged);
        let key = (seen.name.to_owned(), WATCHES.to_owned());
        analysis.lines.extend(judged.line.map(|line| (key, line)));
        let judgements = analysis.targets.entry(seen.name.to_owned()).or_default();
        judgements.insert(WATCHES.to_owned(), judged.judgement.clone());
    }
    let life_s = longest_s(&question.known.starts_s, seen.length_s);
    for judgement in analysis.targets.values_mut().flat_map(BTreeMap::values_mut) {
        let advice = advice(judgement, (life_s, order.every.as_secs_f64()), question, seen.is_gone);
        judgement.reason.push_str(&advice);
    }
    recorded.write(&order.out.join(PLOT), &format!("{}, watched", seen.name))?;
    let line_of = |column: &str| analysis.lines.get(&(seen.name.to_owned(), column.to_owned())).copied();
    let kinds = kinds::growths(&rows, seen.name, line_of);
    let mut leaks: Vec<String> = leaks(seen.name, &analysis, &kinds).into_iter().collect();
    leaks.extend(watches.and_then(|(_, judged)| kinds::watches_leak(seen.name, &judged)));
    leaks.extend(memory(&samples, seen, (&rows, &analysis), question)?);
    let found = Found { analysis, leaks, kinds };
    write_json(&order.out.join(RESULT), &found)?;
    Ok(found)
}

/// The verdicts on what stands in `samples.csv`.
fn of_samples(samples: &Path, question: &Question, recorded: &mut Recorded) -> Result<Analysis, WatchError> {
    let mut of_samples = question.clone();
    of_samples.limits.remove(WATCHES);
    of_samples.bounds.remove(WATCHES);
    if of_samples.limits.is_empty() {
        return Ok(Analysis { schema: SCHEMA, targets: BTreeMap::new(), lines: BTreeMap::new() });
    }
    Ok(analyze(samples, &of_samples, Some(recorded))?)
}

fn leaks(name: &str, analysis: &Analysis, kinds: &KindGrowths) -> Option<String> {
    let judgements = analysis.targets.get(name)?;
    let found = Resource::ALL.into_iter().filter_map(|resource| {
        let growths = match resource {
            Resource::Tasks => &kinds.tasks,
            Resource::Threads => &kinds.threads,
            Resource::Fds => &kinds.fds,
        };
        Some((resource, judgements.get(resource.key())?, growths.as_slice(), [].as_slice()))
    });
    attribution::sentence(name, found)
}

/// Which memory grows.
fn memory(
    samples: &Path,
    seen: &Seen,
    (rows, analysis): (&Listings, &Analysis),
    question: &Question,
) -> Result<Option<String>, WatchError> {
    let judgements = analysis.targets.get(seen.name);
    let threads = judgements.and_then(|of| of.get(Resource::Threads.key()));
    let memory = Memory {
        rows,
        name: seen.name,
        length_s: seen.length_s,
        threads_leak: threads.is_some_and(|threads| threads.verdict == Verdict::Fail),
        starts_s: &question.known.starts_s,
    };
    let limits = BTreeMap::from([(RSS.to_owned(), memory.floor_per_min())]);
    let resident = Question { limits, bounds: BTreeMap::new(), ..question.clone() };
    let mut resident = analyze(samples, &resident, None)?;
    let judgement = resident.targets.remove(seen.name).and_then(|mut of| of.remove(RSS));
    let line = resident.lines.remove(&(seen.name.to_owned(), RSS.to_owned()));
    let resident = judgement.map(|judgement| Judged { judgement, line, growth: None });
    Ok(memory.grows(resident.as_ref()))
}

/// What it takes for a verdict, where there were too few samples for any.
fn advice(
    judgement: &Judgement,
    (life_s, every_s): (f64, f64),
    question: &Question,
    is_gone: bool,
) -> String {
    let (Warmup::Fixed { seconds } | Warmup::AtLeast { seconds }) = question.warmup;
    match more_s(life_s, every_s, judgement.warmup_s.max(seconds)) {
        Some(more_s) if judgement.verdict == Verdict::Invalid && is_gone => {
            format!("; the process ended {more_s:.0} s too early: sample it more often (--every)")
        }
        Some(more_s) if judgement.verdict == Verdict::Invalid => {
            format!("; watch it for {more_s:.0} s more at least")
        }
        _ => String::new(),
    }
}

/// Seconds more than the life that was seen, where that is too short for enough samples.
fn more_s(life_s: f64, every_s: f64, warmup_s: f64) -> Option<f64> {
    let more_s = warmup_s + SAMPLES_MIN as f64 * every_s - life_s;
    (more_s > 0.0).then(|| more_s.ceil())
}

/// The longest of the lives that the moments of restart make of a series that ended at `end_s`.
fn longest_s(starts_s: &[f64], end_s: f64) -> f64 {
    let begins = std::iter::once(0.0).chain(starts_s.iter().copied());
    let ends = starts_s.iter().copied().chain(std::iter::once(end_s));
    begins.zip(ends).map(|(begin, end)| end - begin).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_short_a_watch_says_how_much_longer_it_takes() {
        assert_eq!(more_s(12.0, 1.0, 0.0), Some(18.0));
        assert_eq!(more_s(12.0, 1.0, 60.0), Some(78.0));
        assert_eq!(more_s(5.9, 0.2, 0.0), Some(1.0));
        assert_eq!(more_s(60.0, 1.0, 0.0), None);
        assert!((longest_s(&[], 7.0) - 7.0).abs() < 1e-9);
        assert!((longest_s(&[2.0, 9.0], 11.0) - 7.0).abs() < 1e-9);
    }
}
