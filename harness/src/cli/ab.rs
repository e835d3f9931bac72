//! `flatline ab` and `flatline run`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::UsageError;
use crate::result::Shard;
use crate::run::order::EngineChoice;
use crate::scenario::Overrides;
use crate::units::Factor;

pub(super) const EXAMPLES: &str = concat!(
    "\
Examples:
  flatline ab                                         the post-mortem's experiment, five minutes
  flatline ab --targets pool,archived                 two of its targets
  flatline ab --set phases.load=10m --set containers.count=16
  flatline ab --set phases.load=1h --compress 12      an hour's events in five minutes
  flatline ab --set phases.load=8h --fail-fast        all night, but no longer than until a leak is called
  flatline ab --serve                                 with the report to be seen in a browser all the while
  flatline ab --set targets.archived.settings.leak_handles=false
                                                      the same with one defect mended
  flatline ab --set 'faults=[{at: 30s, for: 10s, fault: {status: {code: 429}}}]'
                                                      with a fault; docs/faults.md has all of them

",
    exit_codes!()
);

pub(super) const RUN_EXAMPLES: &str = concat!(
    "\
Examples:
  flatline run scenarios/faults.yaml
  flatline run my.yaml --set phases.load=8h --fail-fast
  flatline run --resume reports/20261124T210835Z-my   after kill -9, a reboot or a full disk

`flatline ab --help` has more: the options are the same.

",
    exit_codes!()
);

/// The scenarios that ship.
const SHIPPED: &str = env!("FLATLINE_SCENARIOS");

/// What the command line changes in a scenario.
#[derive(Args, Debug)]
pub struct ChangesArgs {
    /// Only these targets of the scenario
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub targets: Vec<String>,
    /// Sets one value of the scenario, e.g. phases.load=10m (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Only the targets of shard I of N: 1/4 to 4/4 on four machines, then `flatline merge`
    ///
    /// Each shard puts its targets through the whole load, so they are judged as in one run. In an Indexed Job of Kubernetes,
    /// `job/4` takes the place from JOB_COMPLETION_INDEX.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Seed of everything that is drawn by chance
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Compresses time N times: 24 makes two hours of 48 [default: the scenario's `compress`, or 1]
    ///
    /// Every duration of the scenario and of the targets' settings is divided by it; the lines' rate and the limits are
    /// multiplied. As much happens, in less time: growth per event stays what it is, growth per minute is N times as
    /// high. What can't follow is said in the report.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub compress: Option<Factor>,
}

impl ChangesArgs {
    /// The changes.
    #[must_use]
    pub fn overrides(self) -> Overrides {
        let Self { targets, set, shard, seed, compress } = self;
        Overrides { set, seed, targets, shard, compress }
    }
}

/// Options of `flatline ab`.
#[derive(Args, Debug)]
pub struct AbArgs {
    /// The scenario [default: scenarios/quick.yaml, which is built in]
    pub scenario: Option<PathBuf>,
    /// How it runs
    #[command(flatten)]
    pub options: RunOptions,
}

/// Options of `flatline run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The scenario, a YAML file
    pub scenario: Option<PathBuf>,
    /// Goes on in this run directory, whose run was killed: by kill -9, a reboot, a full disk
    ///
    /// With the scenario and the options as they were; what the dead run left is removed first. The load that is still
    /// owed follows, then the drain. The gap is marked, and each stretch is judged by itself; lines of the stretches that
    /// were cut off are not accounted for, and the verdict says so.
    #[arg(long, value_name = "RUN_DIR", conflicts_with_all = ["scenario", "out", "targets", "shard", "set", "seed", "compress", "fail_fast", "engine", "revision"])]
    pub resume: Option<PathBuf>,
    /// How it runs
    #[command(flatten)]
    pub options: RunOptions,
}

impl RunArgs {
    /// Which scenario.
    ///
    /// # Errors
    /// [`UsageError`] where none is named.
    pub fn named(&self) -> Result<PathBuf, UsageError> {
        self.scenario.clone().ok_or_else(|| {
            let shipped: Vec<String> =
                SHIPPED.split_whitespace().map(|name| format!("scenarios/{name}")).collect();
            UsageError(format!(
                "name a scenario: a file of your own, or one that ships: {}",
                shipped.join(", ")
            ))
        })
    }
}

/// Where a CI says which commit it runs on: GitHub's, GitLab's.
const REVISIONS: [&str; 2] = ["GITHUB_SHA", "CI_COMMIT_SHA"];

impl RunOptions {
    /// The revision of what is tested, where somebody says.
    #[must_use]
    pub fn revision(&self) -> Option<String> {
        let said = || REVISIONS.iter().find_map(|variable| std::env::var(variable).ok());
        self.revision.clone().or_else(said).filter(|revision| !revision.is_empty())
    }
}

/// How a scenario runs: options of whatever runs one.
#[derive(Args, Debug)]
pub struct RunOptions {
    /// The run directory [default: reports/<time>-<scenario>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// What is changed in the scenario
    #[command(flatten)]
    pub changes: ChangesArgs,
    /// Ends the load as soon as a target that must be flat is called a leak
    ///
    /// Only for `fail`, never for `pass`; only where a count has risen by more than the target's file declares
    /// (`bounds`), and at looks that are fixed in advance, so that looking often raises no more false alarms. With
    /// controls alone the run is over when all that must leak was called. Then it drains, accounts and reports as ever.
    #[arg(long)]
    pub fail_fast: bool,
    /// The revision of what is tested, as `run.json` notes it [default: $GITHUB_SHA or $CI_COMMIT_SHA]
    #[arg(long, value_name = "REVISION")]
    pub revision: Option<String>,
    /// Holds the run against what is known (`flatline baseline set`): exit code 1 where it is worse, below any limit as well
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Adds the run to this history (`flatline history`) when it is over, however it ends
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// Who runs the containers
    #[arg(long, value_enum, default_value_t = EngineChoice::Auto)]
    pub engine: EngineChoice,
    /// How it is shown
    #[command(flatten)]
    pub shown: ShowOptions,
}

/// How a run is shown.
#[derive(Args, Debug)]
pub struct ShowOptions {
    /// Shows the report while the run goes on; prints where [without ADDRESS: any free port of the loopback]
    ///
    /// The page is drawn from the run directory when somebody looks, and costs nothing while nobody does. It says so
    /// when it is cut off: at the run's end, whose report lies in the run directory, or when the run is killed.
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = true, default_missing_value = "127.0.0.1:0")]
    pub serve: Option<std::net::SocketAddr>,
    /// Lets --serve listen where other machines reach it
    #[arg(long, requires = "serve")]
    pub expose: bool,
    /// Prints the verdict as one JSON document on standard output, and nothing else there
    #[arg(long)]
    pub json: bool,
}
