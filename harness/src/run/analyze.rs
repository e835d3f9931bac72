//! `flatline analyze`: a verdict on any recorded series.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use crate::growth::verdict::{Settings, judge};
use crate::growth::warmup::Warmup;
use crate::record::files::RecordError;
use crate::result::{Judgement, Resource, SCHEMA, Verdict};
use crate::run::table;

/// Growth per minute that is allowed where no limit is given: the post-mortem's bar.
const LIMIT_PER_MIN: f64 = 2.0;

/// What is judged, and how.
#[derive(Clone, Debug)]
pub struct Question {
    /// Columns and how much each may grow per minute; where there are none, those of `tasks`, `threads`
    /// and `fds` that the file has, by the post-mortem's bar.
    pub limits: BTreeMap<String, f64>,
    /// What to cut from the start.
    pub warmup: Warmup,
}

/// What was found: `analyze --json` prints it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Analysis {
    /// [`SCHEMA`].
    pub schema: u32,
    /// By target, then by column.
    pub targets: BTreeMap<String, BTreeMap<String, Judgement>>,
}

/// Judges the series of a CSV file.
///
/// # Errors
/// [`RecordError`]: it can't be read, or lacks a column.
pub fn analyze(path: &Path, question: &Question) -> Result<Analysis, RecordError> {
    let limits = limits(path, question)?;
    let wanted: Vec<String> = limits.keys().cloned().collect();
    let mut series = table::read(path, &wanted)?;
    if series.is_empty() {
        // Not a row: that is said of each column, and never taken for a pass.
        series.insert(String::new(), BTreeMap::new());
    }
    let targets = series.into_iter().map(|(target, counts)| {
        let judgements = limits.iter().map(|(column, limit)| {
            let points = counts.get(column).map_or(&[][..], Vec::as_slice);
            let settings = Settings {
                limit_per_min: *limit,
                warmup: question.warmup,
                process_limit: None,
                explained_rise: None,
            };
            (column.clone(), judge(points, &settings).judgement)
        });
        (target, judgements.collect())
    });
    Ok(Analysis { schema: SCHEMA, targets: targets.collect() })
}

fn limits(path: &Path, question: &Question) -> Result<BTreeMap<String, f64>, RecordError> {
    if !question.limits.is_empty() {
        return Ok(question.limits.clone());
    }
    let known = Resource::ALL.map(Resource::key);
    let found = table::columns(path)?.into_iter().filter(|name| known.contains(&name.as_str()));
    let limits: BTreeMap<String, f64> = found.map(|name| (name, LIMIT_PER_MIN)).collect();
    if limits.is_empty() {
        let why = format!(
            "it has none of the columns {}; name one with --limit COLUMN=PER_MINUTE",
            known.join(", ")
        );
        return Err(RecordError::Damaged { path: path.to_owned(), why });
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

    /// A table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut out = format!("{:<12} {:<10} {:<13} {}", "target", "column", "verdict", "why");
        for (target, judgements) in &self.targets {
            for (column, judgement) in judgements {
                let verdict = judgement.verdict.word();
                // Writing into a String can't fail.
                write!(out, "\n{target:<12} {column:<10} {verdict:<13} {}", judgement.reason)
                    .unwrap_or_default();
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn analysed(rows: impl Iterator<Item = String>, limits: &[(&str, f64)]) -> Result<Analysis, RecordError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("night.csv");
        let text = std::iter::once("elapsed_s,target,fds,load\n".to_owned()).chain(rows).collect::<String>();
        std::fs::write(&path, text).unwrap();
        let limits = limits.iter().map(|(name, limit)| ((*name).to_owned(), *limit)).collect();
        analyze(&path, &Question { limits, warmup: Warmup::AtLeast { seconds: 0.0 } })
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
