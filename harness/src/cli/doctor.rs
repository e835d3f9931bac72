//! `flatline doctor`.

use std::path::PathBuf;

use clap::Args;

use super::ChangesArgs;
use crate::run::order::EngineChoice;

pub(super) const DOCTOR_HELP: &str = "\
Exit codes:
  0  a run is possible
  2  bad usage or scenario
  4  something is missing without which there can be none";

/// Options of `flatline doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// The scenario that is to be run [default: scenarios/quick.yaml, which is built in]
    pub scenario: Option<PathBuf>,
    /// Where its run directory is to be
    #[arg(long, value_name = "DIR", default_value = "reports")]
    pub out: PathBuf,
    /// What is changed in the scenario
    #[command(flatten)]
    pub changes: ChangesArgs,
    /// Who is to run the containers
    #[arg(long, value_enum, default_value_t = EngineChoice::Auto)]
    pub engine: EngineChoice,
    /// Prints the findings as one JSON document
    #[arg(long)]
    pub json: bool,
}
