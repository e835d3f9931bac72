//! `flatline compare`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::matters::MattersArgs;
use crate::cli::printing::{Forms, PrintingArgs};
use crate::cli::told::{Told, code_of_direction};
use crate::report;
use crate::result::contrast::Contrast;
use crate::run::against::{self, Across};

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
    /// What matters
    #[command(flatten)]
    pub matters: MattersArgs,
    /// How it is shown
    #[command(flatten)]
    pub printing: PrintingArgs,
}

const FORMS: Forms<Contrast> = Forms {
    text: report::contrast::terminal,
    markdown: report::contrast::markdown,
    page: report::contrast::page,
    files: report::contrast::write_all,
};

impl CompareArgs {
    /// Compares.
    ///
    /// # Errors
    /// Where the runs can't be read or compared, or a file can't be written.
    pub fn carry_out(&self) -> anyhow::Result<Told> {
        let matters = self.matters.chosen()?;
        let (baseline, candidate) = (
            against::read_each(&self.baseline, against::read)?,
            against::read_each(&self.candidate, against::read)?,
        );
        let across = if self.across_environments { Across::Told } else { Across::Refused };
        let found = against::set_against(&baseline, &candidate, &matters, across)?;
        self.printing.told(&found, FORMS, code_of_direction(found.direction))
    }
}
