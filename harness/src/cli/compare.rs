//! `flatline compare`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::told::{Told, code_of_direction};
use crate::report;
use crate::result::{Digest, Sort};
use crate::run::against::{self, Across, AgainstError};
use crate::trend::contrast::Matters;

pub(super) const COMPARE_HELP: &str = "\
Examples:
  flatline compare reports/before reports/after
  flatline compare reports/before reports/after --out reports/comparison   page, picture, Markdown and JSON
  flatline compare reports/before reports/after --format markdown >> $GITHUB_STEP_SUMMARY
  flatline compare reports/n1,reports/n2,reports/n3 reports/after          a baseline of several runs
  flatline compare reports/before reports/after --matters growth=0.01 --matters cpu=5%

Of growth, lines per second and CPU each run knows its own error. What has none within a run (a peak of memory, a quantile
of latency) is called worse only against several runs: three or more of each side, or five of the baseline, show how much
it varies.

--matters sets the smallest difference that matters: growth in counts per minute (of a run whose time is compressed, of
the time that it stands for), throughput, latency, cpu, memory and duplicates in percent.

Exit codes:
  0  no difference that matters, or better
  1  worse than the baseline
  2  bad usage, or environments that differ without --across-environments
  3  can't tell
  4  a run directory can't be read";

/// Options of `flatline compare`.
#[derive(Args, Debug)]
pub struct CompareArgs {
    /// What is known to be good: a run directory, or several with commas between
    #[arg(value_name = "BASELINE", required = true, num_args = 1, value_delimiter = ',')]
    pub baseline: Vec<PathBuf>,
    /// What is held against it: a run directory, or several with commas between
    #[arg(value_name = "CANDIDATE", required = true, num_args = 1, value_delimiter = ',')]
    pub candidate: Vec<PathBuf>,
    /// Compares though the environments differ (scenario, machine, engine, kernel, compression), and names what differs
    #[arg(long)]
    pub across_environments: bool,
    /// What matters and how it is shown
    #[command(flatten)]
    pub shown: ContrastArgs,
}

/// What of a comparison matters, and how it is shown.
#[derive(Args, Debug)]
pub struct ContrastArgs {
    /// The smallest difference that matters, e.g. growth=0.01 or cpu=5% (repeatable)
    #[arg(long, value_name = "SORT=VALUE", value_parser = matters)]
    pub matters: Vec<(Sort, f64)>,
    /// Writes compare.html, compare.md, compare.png and compare.json into this folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
}

/// How a comparison is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a terminal
    Text,
    /// One JSON document
    Json,
    /// For a comment
    Markdown,
    /// A page that asks nobody for anything
    Html,
}

impl ContrastArgs {
    fn matters(&self) -> Matters {
        let mut matters = Matters::default();
        self.matters.iter().for_each(|(sort, value)| matters.set(*sort, *value));
        matters
    }
}

impl CompareArgs {
    /// Compares.
    ///
    /// # Errors
    /// Where the runs can't be read or compared, or a file can't be written.
    pub fn carry_out(&self) -> anyhow::Result<Told> {
        let read = |runs: &[PathBuf]| {
            runs.iter().map(|run| against::read(run)).collect::<Result<Vec<Digest>, AgainstError>>()
        };
        let (baseline, candidate) = (read(&self.baseline)?, read(&self.candidate)?);
        let across = if self.across_environments { Across::Told } else { Across::Refused };
        let found = against::set_against(&baseline, &candidate, &self.shown.matters(), across)?;
        let format = if self.shown.json { Format::Json } else { self.shown.format };
        let printed = match format {
            Format::Text => report::contrast::terminal(&found),
            Format::Json => serde_json::to_string_pretty(&found)?,
            Format::Markdown => report::contrast::markdown(&found),
            Format::Html => report::contrast::page(&found)?,
        };
        let written =
            self.shown.out.as_ref().map(|out| report::contrast::write_all(out, &found)).transpose()?;
        let said = written.unwrap_or_default().iter().map(|path| path.display().to_string()).collect();
        Ok(Told { printed, said, code: code_of_direction(found.direction) })
    }
}

/// Reads what matters of one sort.
pub(super) fn matters(text: &str) -> Result<(Sort, f64), String> {
    let settable = || Sort::ALL.into_iter().filter(|sort| !sort.is_counted());
    let names = || settable().map(Sort::key).collect::<Vec<_>>().join(", ");
    let (key, value) = text.split_once('=').ok_or("write SORT=VALUE, e.g. growth=0.01 or cpu=5%")?;
    let sort = settable().find(|sort| sort.key() == key).ok_or(format!("{key:?} is none of {}", names()))?;
    let (number, scale) = match (value.strip_suffix('%'), sort) {
        (None, Sort::Growth) => (value, 1.0),
        (Some(_), Sort::Growth) => {
            return Err(
                "growth is about zero, of which a share means nothing: write counts per minute".to_owned()
            );
        }
        (Some(number), _) => (number, 0.01),
        (None, _) => return Err(format!("write {key} in percent, e.g. {key}=10%")),
    };
    let number: f64 = number.trim().parse().map_err(|_| format!("{number:?} is no number"))?;
    let fit = number.is_finite() && number > 0.0;
    if fit { Ok((sort, number * scale)) } else { Err("what matters must be above zero".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_is_read_in_its_unit() {
        assert_eq!(matters("growth=0.01"), Ok((Sort::Growth, 0.01)));
        assert_eq!(matters("cpu=5%"), Ok((Sort::Cpu, 0.05)));
        for (text, says) in [
            ("growth", "SORT=VALUE"),
            ("growth=5%", "counts per minute"),
            ("cpu=5", "in percent"),
            ("cpu=x%", "no number"),
            ("cpu=0%", "above zero"),
            ("lost=1", "none of growth, throughput, latency, cpu, memory, duplicates"),
        ] {
            let error = matters(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
