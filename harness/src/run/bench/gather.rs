//! From trials to what is told of them: pure.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::estimate::estimate;
use crate::result::Audit;
use crate::result::bench::{BenchCase, CaseResult, CaseVersus, Measure, Trial, WorkKind};

/// From here on the sink may have been what limits.
const BUSY: f64 = 0.9;
/// So many words of trouble are kept of each target and case.
const TROUBLES_MAX: usize = 5;

/// What one case comes to. `targets` are those that were to do it, in order.
#[must_use]
pub(super) fn case(
    (name, work, about): (&str, WorkKind, String),
    targets: &[String],
    trials: &[Trial],
) -> BenchCase {
    let of = |target: &String| -> Vec<&Trial> {
        trials.iter().filter(|trial| trial.case == name && trial.target == *target).collect()
    };
    let results: IndexMap<String, CaseResult> =
        targets.iter().map(|target| (target.clone(), result(&of(target)))).collect();
    let versus = targets.split_first().map_or_else(Vec::new, |(first, others)| {
        let first = (first, of(first));
        others.iter().flat_map(|other| versus(work, &first, &(other, of(other)))).collect()
    });
    BenchCase { name: name.to_owned(), work, about, targets: results, versus }
}

fn result(trials: &[&Trial]) -> CaseResult {
    let mut values: BTreeMap<Measure, Vec<f64>> = BTreeMap::new();
    for (measure, value) in trials.iter().flat_map(|trial| &trial.figures) {
        values.entry(*measure).or_default().push(*value);
    }
    let is_busy =
        |trial: &&&Trial| trial.figures.get(&Measure::SinkShare).is_some_and(|share| *share >= BUSY);
    let audits = trials.iter().filter_map(|trial| trial.audit);
    CaseResult {
        trials: count(trials.iter().filter(|trial| trial.troubles.is_empty()).count()),
        sink_busy: count(trials.iter().filter(is_busy).count()),
        figures: values.iter().filter_map(|(measure, values)| Some((*measure, estimate(values)?))).collect(),
        audit: audits.fold(Audit::default(), sum),
        troubles: distinct(trials.iter().flat_map(|trial| &trial.troubles)),
        notes: distinct(trials.iter().flat_map(|trial| &trial.notes)),
    }
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn distinct<'a>(all: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for words in all {
        if kept.len() < TROUBLES_MAX && !kept.contains(words) {
            kept.push(words.clone());
        }
    }
    kept
}

fn sum(a: Audit, b: Audit) -> Audit {
    Audit {
        sent: a.sent + b.sent,
        delivered: a.delivered + b.delivered,
        duplicated: a.duplicated + b.duplicated,
        out_of_order: a.out_of_order + b.out_of_order,
        altered: a.altered + b.altered,
        altered_copies: a.altered_copies + b.altered_copies,
        rejected: a.rejected + b.rejected,
        skipped: a.skipped + b.skipped,
        dropped: a.dropped + b.dropped,
        dead_lettered: a.dead_lettered + b.dead_lettered,
        in_flight: a.in_flight + b.in_flight,
        lost: a.lost + b.lost,
    }
}

/// By what targets are compared in a sort of work.
fn compared(work: WorkKind) -> &'static [Measure] {
    match work {
        WorkKind::CatchUp => {
            &[Measure::CpuSecondsPerMillionLines, Measure::LinesPerSecond, Measure::RssPeakBytes]
        }
        WorkKind::StartUp => &[Measure::FirstLineSeconds],
        WorkKind::Steady | WorkKind::Trouble => {
            &[Measure::CpuSecondsPerMillionLines, Measure::LatencyP99Seconds, Measure::RssPeakBytes]
        }
        WorkKind::Idle => &[Measure::CpuShare, Measure::RssBytes],
        WorkKind::HighestRate => &[Measure::RateHeldPerSecond],
    }
}

/// Repeat by repeat, since the two trials of one repeat lie next to each other in time.
fn versus(
    work: WorkKind,
    (target, own): &(&String, Vec<&Trial>),
    (base, theirs): &(&String, Vec<&Trial>),
) -> Vec<CaseVersus> {
    let ratio = |measure: Measure| {
        let pair = |trial: &&Trial| {
            let other = theirs.iter().find(|other| other.repeat == trial.repeat)?;
            let (own, other) = (trial.figures.get(&measure)?, other.figures.get(&measure)?);
            Some(if measure.is_cost() { other / own } else { own / other })
        };
        estimate(&own.iter().filter_map(pair).collect::<Vec<_>>())
    };
    let of = |measure: &Measure| {
        let times_better = ratio(*measure)?;
        Some(CaseVersus { target: (*target).clone(), base: (*base).clone(), measure: *measure, times_better })
    };
    compared(work).iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(target: &str, repeat: u32, cpu: f64, sink: f64) -> Trial {
        Trial {
            case: "c".to_owned(),
            target: target.to_owned(),
            repeat,
            figures: BTreeMap::from([
                (Measure::CpuSecondsPerMillionLines, cpu),
                (Measure::LinesPerSecond, 100.0 / cpu),
                (Measure::SinkShare, sink),
            ]),
            audit: Some(Audit { sent: 10, delivered: 9, lost: 1, ..Audit::default() }),
            troubles: Vec::new(),
            notes: vec!["same".to_owned()],
        }
    }

    fn case_of(trials: &[Trial]) -> BenchCase {
        let targets = ["a".to_owned(), "b".to_owned()];
        case(("c", WorkKind::CatchUp, "about".to_owned()), &targets, trials)
    }

    #[test]
    fn a_case_has_medians_sums_of_lines_and_what_was_said_once() {
        let trials = [trial("a", 0, 1.0, 0.5), trial("a", 1, 3.0, 0.95), trial("a", 2, 2.0, 0.91)];
        let found = case_of(&trials);
        let a = &found.targets["a"];
        assert_eq!((a.trials, a.sink_busy, a.notes.len()), (3, 2, 1));
        assert!((a.figures[&Measure::CpuSecondsPerMillionLines].median - 2.0).abs() < 1e-9);
        assert_eq!((a.audit.sent, a.audit.delivered, a.audit.lost), (30, 27, 3));
        assert_eq!(found.targets["b"], CaseResult::default());
        assert_eq!(found.versus, []);
    }

    #[test]
    fn targets_are_compared_repeat_by_repeat_and_above_one_is_better() {
        // Twice as dear each time, whatever else changes from repeat to repeat.
        let mut trials = Vec::new();
        for (repeat, cpu) in [1.0, 5.0, 2.0].into_iter().enumerate() {
            let repeat = u32::try_from(repeat).unwrap();
            trials.push(trial("a", repeat, cpu, 0.1));
            trials.push(trial("b", repeat, 2.0 * cpu, 0.1));
        }
        trials.push(trial("a", 3, 1.0, 0.1));
        let found = case_of(&trials).versus;
        for versus in &found {
            let better = &versus.times_better;
            assert_eq!((better.median, better.low, better.high, better.values.len()), (2.0, 2.0, 2.0, 3));
            assert_eq!((versus.target.as_str(), versus.base.as_str()), ("a", "b"));
        }
        assert_eq!(found.len(), 2, "memory was not measured");
    }

    #[test]
    fn a_trial_that_failed_is_none_and_is_told() {
        let mut failed = trial("a", 0, 1.0, 0.1);
        failed.troubles.push("it ended".to_owned());
        let found = case_of(&[failed]);
        assert_eq!((found.targets["a"].trials, found.targets["a"].troubles.len()), (0, 1));
    }
}
