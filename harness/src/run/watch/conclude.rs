//! The end of a watch: judges from the files on disk, by the code of `flatline analyze`, and names what leaks.

use crate::growth::SAMPLES_MIN;
use crate::growth::warmup::Warmup;
use crate::record::files::{self, write_json};
use crate::report::recorded::Recorded;
use crate::result::{Judgement, Resource, Verdict};
use crate::run::analyze::{Analysis, Question, analyze};
use crate::run::attribution;
use crate::run::watch::{Order, WatchError};

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

/// Judges what stands in the folder, draws it and writes the verdicts beside it. Answers them, and which kind of what
/// leaks.
pub(super) fn conclude(
    order: &Order,
    seen: &Seen,
    question: Question,
) -> Result<(Analysis, Option<String>), WatchError> {
    let mut recorded = Recorded::default();
    let mut analysis = analyze(&order.out.join(files::SAMPLES), &question, Some(&mut recorded))?;
    let life_s = longest_s(&question.known.starts_s, seen.length_s);
    for judgement in analysis.targets.values_mut().flat_map(std::collections::BTreeMap::values_mut) {
        let advice = advice(judgement, (life_s, order.every.as_secs_f64()), &question, seen.is_gone);
        judgement.reason.push_str(&advice);
    }
    recorded.write(&order.out.join(PLOT), &format!("{}, watched", seen.name))?;
    write_json(&order.out.join(RESULT), &analysis)?;
    let leaks = leaks(order, seen.name, &analysis)?;
    Ok((analysis, leaks))
}

fn leaks(order: &Order, name: &str, analysis: &Analysis) -> Result<Option<String>, WatchError> {
    let Some(judgements) = analysis.targets.get(name) else { return Ok(None) };
    let kinds = files::read_kinds(&order.out)?;
    let found: Vec<_> = Resource::ALL
        .into_iter()
        .filter_map(|resource| {
            let line = analysis.lines.get(&(name.to_owned(), resource.key().to_owned()))?;
            let stretch = (line.from_s, line.to_s);
            let kinds = attribution::growths(kinds.of(resource), (name, &[]), stretch, stretch);
            Some((resource, judgements.get(resource.key())?, kinds))
        })
        .collect();
    let found = found
        .iter()
        .map(|(resource, judgement, kinds)| (*resource, *judgement, kinds.as_slice(), [].as_slice()));
    Ok(attribution::sentence(name, found))
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
