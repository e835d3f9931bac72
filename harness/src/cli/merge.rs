//! `flatline merge`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::exit::code;
use crate::cli::told::Told;
use crate::report;
use crate::run::merge;

pub(super) const MERGE_HELP: &str = concat!(
    "\
Examples:
  flatline run scenarios/ablation.yaml --shard 1/4 --out shards/1     on the first of four machines
  flatline merge shards/* --out reports/ablation                      where all four directories are

  flatline run scenarios/pr.yaml --seed 7 --out seeds/7               and so on, for each seed
  flatline merge seeds/* --out reports/seeds                          the targets are named with their seeds

Each target stays judged by the samples of its own run; nothing is pooled. The clocks are moved so that all loads begin at
one moment. What comes out is a run directory: `flatline report`, `compare` and `history` take it.

",
    exit_codes!()
);

/// Options of `flatline merge`.
#[derive(Args, Debug)]
pub struct MergeArgs {
    /// The run directories
    #[arg(value_name = "RUN_DIR", required = true)]
    pub runs: Vec<PathBuf>,
    /// The run directory that is made
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Prints verdict.json instead of words
    #[arg(long)]
    pub json: bool,
}

impl MergeArgs {
    /// Joins them.
    ///
    /// # Errors
    /// [`MergeError`](merge::MergeError).
    pub fn carry_out(&self) -> anyhow::Result<Told> {
        let command: Vec<String> = std::env::args().collect();
        let result = merge::merge(&self.runs, &self.out, &command)?;
        let printed = if self.json {
            serde_json::to_string_pretty(&result.verdict)?
        } else {
            report::terminal(&result)
        };
        let said = vec![format!("report: {}", self.out.join(report::PAGE).display())];
        Ok(Told { printed, said, code: code(result.verdict.outcome) })
    }
}
