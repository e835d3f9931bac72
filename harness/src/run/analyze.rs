//! `flatline analyze`: a verdict on any recorded series.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::growth::lives::judge_lives;
use crate::growth::verdict::{Explained, Judged, LIMIT_PER_MIN, Settings};
use crate::growth::warmup::Warmup;
use crate::report::recorded::Recorded;
use crate::result::{FittedLine, Judgement, Resource, SCHEMA, Verdict};
use crate::run::table::{Bounds, Column, Table, TableError};

/// What is judged, and how.
#[derive(Clone, Debug)]
pub struct Question {
    /// Columns and how much each may grow per minute; where there are none, those of `tasks`, `threads`
    /// and `fds` that the file has, by the post-mortem's bar.
    pub limits: BTreeMap<String, f64>,
    /// Columns and how far each may rise and be no leak, because queues, pools and caches fill.
    pub bounds: BTreeMap<String, f64>,
    /// What to cut from the start.
    pub warmup: Warmup,
    /// What is known of the process beside its samples.
    pub known: Known,
}

/// What a file of samples does not say of the process.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// When it was started again, in order, seconds on the samples' clock: each life is judged by itself.
    pub starts_s: Vec<f64>,
    /// The process's own limits by column, to say when one is reached.
    pub process_limits: BTreeMap<String, u64>,
}

/// What was found: `analyze --json` prints it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Analysis {
    /// [`SCHEMA`].
    pub schema: u32,
    /// By target, then by column.
    pub targets: BTreeMap<String, BTreeMap<String, Judgement>>,
    /// The line through the judged samples, for those that could be judged.
    #[serde(skip)]
    pub lines: BTreeMap<(String, String), FittedLine>,
}

/// Judges the series of a CSV file, and keeps for a plot what it needs, if there is to be one.
///
/// # Errors
/// [`TableError`]: it can't be read, lacks a column, or is no table.
pub fn analyze(
    path: &Path,
    question: &Question,
    mut plot: Option<&mut Recorded>,
) -> Result<Analysis, TableError> {
    let table = Table::open(path, Bounds::default())?;
    let limits = limits(path, &table, question)?;
    if let Some(column) = question.bounds.keys().find(|column| !limits.contains_key(*column)) {
        table.needs(column)?;
        let why = format!("`{column}` has a bound but no limit, so it is not judged: add --limit {column}=2");
        return Err(TableError::Unfit { path: path.to_owned(), why });
    }
    let wanted: Vec<String> = limits.keys().cloned().collect();
    let mut analysis = Analysis { schema: SCHEMA, targets: BTreeMap::new(), lines: BTreeMap::new() };
    for (target, columns) in table.series(&wanted)? {
        let mut judgements = BTreeMap::new();
        for ((name, limit), column) in limits.iter().zip(columns) {
            let bound = question.bounds.get(name);
            let settings = Settings {
                limit_per_min: *limit,
                warmup: question.warmup,
                process_limit: question.known.process_limits.get(name).copied(),
                explained: bound.map_or(Explained::Assumed, |rise| Explained::Declared(*rise)),
            };
            let judged = judged(&column, &question.known.starts_s, &settings);
            if let Some(plot) = plot.as_deref_mut() {
                plot.add(name, &target, &column.points, &judged);
            }
            if let Some(line) = judged.line {
                analysis.lines.insert((target.clone(), name.clone()), line);
            }
            judgements.insert(name.clone(), judged.judgement);
        }
        analysis.targets.insert(target, judgements);
    }
    Ok(analysis)
}

fn judged(column: &Column, starts_s: &[f64], settings: &Settings) -> Judged {
    let Some(fault) = &column.fault else { return judge_lives(&column.points, starts_s, settings) };
    let judgement = Judgement {
        growth_per_min: None,
        ci_low: None,
        ci_high: None,
        limit_per_min: settings.limit_per_min,
        verdict: Verdict::Invalid,
        floor_per_min: None,
        reason: fault.clone(),
        warmup_s: 0.0,
        decided_at_s: None,
    };
    Judged { judgement, line: None, growth: None }
}

fn limits(path: &Path, table: &Table, question: &Question) -> Result<BTreeMap<String, f64>, TableError> {
    if !question.limits.is_empty() {
        return Ok(question.limits.clone());
    }
    let known = Resource::ALL.map(Resource::key);
    let found = table.columns().iter().filter(|name| known.contains(&name.as_str()));
    let limits: BTreeMap<String, f64> = found.map(|name| (name.clone(), LIMIT_PER_MIN)).collect();
    if limits.is_empty() {
        table.needs("elapsed_s")?;
        let why = format!(
            "it has none of the columns {}; name one with --limit COLUMN=PER_MINUTE",
            known.join(", ")
        );
        return Err(TableError::Unfit { path: path.to_owned(), why });
    }
    Ok(limits)
}

impl Analysis {
    /// The worst that was found.
    #[must_use]
    pub fn worst(&self) -> Verdict {
        let all = || self.targets.values().flat_map(BTreeMap::values).map(|judgement| judgement.verdict);
        let order = [Verdict::Fail, Verdict::Invalid, Verdict::Inconclusive];
        order.into_iter().find(|verdict| all().any(|found| found == *verdict)).unwrap_or(Verdict::Pass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn analysed(rows: impl Iterator<Item = String>, limits: &[(&str, f64)]) -> Result<Analysis, TableError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("night.csv");
        let text = std::iter::once("elapsed_s,target,fds,load\n".to_owned()).chain(rows).collect::<String>();
        std::fs::write(&path, text).unwrap();
        let limits = limits.iter().map(|(name, limit)| ((*name).to_owned(), *limit)).collect();
        let (bounds, warmup) = (BTreeMap::new(), Warmup::AtLeast { seconds: 0.0 });
        analyze(&path, &Question { limits, bounds, warmup, known: Known::default() }, None)
    }

    fn leak(per_min: u32) -> impl Iterator<Item = String> {
        (0..200_u32).map(move |second| format!("{second},a,{},0\n", 20 + second * per_min / 60))
    }

    #[test]
    fn a_leak_fails_and_a_flat_series_passes() {
        assert_eq!(analysed(leak(43), &[]).unwrap().worst(), Verdict::Fail);
        let flat = analysed(leak(0), &[]).unwrap();
        assert_eq!((flat.worst(), flat.targets["a"].len()), (Verdict::Pass, 1));
    }

    #[test]
    fn a_limit_of_ones_own_decides() {
        assert_eq!(analysed(leak(43), &[("fds", 100.0)]).unwrap().worst(), Verdict::Pass);
    }

    #[test]
    fn no_rows_and_no_numbers_are_invalid_and_never_a_pass() {
        assert_eq!(analysed(std::iter::empty(), &[]).unwrap().worst(), Verdict::Invalid);
        let text = (0..100_u32).map(|second| format!("{second},a,many,0\n"));
        assert_eq!(analysed(text, &[]).unwrap().worst(), Verdict::Invalid);
    }

    #[test]
    fn a_column_that_is_not_there_is_an_error() {
        assert!(analysed(leak(0), &[("tasks", 2.0)]).unwrap_err().to_string().contains("`tasks`"));
    }
}
