//! `flatline baseline`: what is known to be good.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::cli::exit;
use crate::cli::told::Told;
use crate::record::baselines::{self, Baselines};
use crate::result::Outcome;
use crate::run::against;

pub(super) const BASELINE_HELP: &str = "\
Examples:
  flatline baseline set reports/20261129T123508Z-nightly       this run is what is known of its scenario, on this machine
  flatline baseline set reports/2026112*-nightly               several runs: then also memory and latency can be judged
  flatline run scenarios/nightly.yaml --baseline reports/baselines.json
  flatline baseline show

There is one known state for each scenario (with its settings) on each class of machine (processor, cores, memory). A run
that is held against it (`--baseline`) says so in its report, and ends with exit code 1 where it is worse for sure and by what
matters, though each growth still is below its limit.";

/// Where known states are kept.
const FILE: &str = "reports/baselines.json";

/// Options of `flatline baseline`.
#[derive(Args, Debug)]
pub struct BaselineArgs {
    /// What is done.
    #[command(subcommand)]
    pub action: Action,
}

/// What is done with known states.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Makes runs the known state of their scenario and machine; what was known of these before is forgotten
    Set {
        /// The run directories
        #[arg(required = true)]
        run_dirs: Vec<PathBuf>,
        /// The file of the known states
        #[arg(long, value_name = "FILE", default_value = FILE)]
        file: PathBuf,
    },
    /// Says what is known
    Show {
        /// The file of the known states
        #[arg(long, value_name = "FILE", default_value = FILE)]
        file: PathBuf,
        /// Prints it as one JSON document
        #[arg(long)]
        json: bool,
    },
}

impl BaselineArgs {
    /// Does it.
    ///
    /// # Errors
    /// Where a file can't be read or written.
    pub fn carry_out(&self) -> anyhow::Result<Told> {
        match &self.action {
            Action::Set { run_dirs, file } => set(run_dirs, file),
            Action::Show { file, json } => {
                let known = baselines::read(file)?;
                let printed = if *json { serde_json::to_string_pretty(&known)? } else { listed(&known) };
                Ok(Told { printed, said: Vec::new(), code: exit::MET })
            }
        }
    }
}

fn set(run_dirs: &[PathBuf], file: &Path) -> anyhow::Result<Told> {
    let runs = against::read_each(run_dirs, against::read_ended)?;
    // It may be meant: a state that is known is not always a good one.
    let doubtful = runs.iter().filter(|run| run.outcome != Outcome::Met);
    let said = doubtful
        .map(|run| format!("flatline: run {} has not met every expectation: {}", run.run_id, run.reason));
    let said: Vec<String> = said.collect();
    let mut known = if file.exists() { baselines::read(file)? } else { Baselines::default() };
    known.set(runs);
    baselines::write(file, &known)?;
    Ok(Told { printed: listed(&known), said, code: exit::MET })
}

fn listed(known: &Baselines) -> String {
    let lines = known.known.iter().filter_map(|known| {
        let first = known.runs.first()?;
        let ids: Vec<&str> = known.runs.iter().map(|run| run.run_id.as_str()).collect();
        let ground = &first.ground;
        Some(format!(
            "{} on {} ({}): {}",
            ground.scenario,
            ground.machine_class(),
            ground.engine_kind(),
            ids.join(", ")
        ))
    });
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() { "nothing is known yet".to_owned() } else { lines.join("\n") }
}
