//! The command line of `flatline bench`.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::clock;
use crate::result::bench::WorkKind;
use crate::run::bench::Order;
use crate::run::progress::Show;
use crate::scenario::ScenarioError;
use crate::scenario::bench::{self, BenchOverrides};

/// Options of `flatline bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// The scenario, of a bench's own form [default: scenarios/bench/default.yaml, which is built in]
    pub scenario: Option<PathBuf>,
    /// The folder for results [default: reports/<time>-<scenario>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Only these targets, in this order; the others are compared with the first
    ///
    /// Also such as the scenario does not name, if a file of theirs lies beside its others: scenarios/targets/NAME.yaml. One
    /// whose program is not there is told, the others are measured, and the exit code is 4.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub targets: Vec<String>,
    /// Only these sorts of work
    #[arg(long, value_name = "SORTS", value_delimiter = ',', value_enum)]
    pub only: Vec<WorkKind>,
    /// How often each case is repeated for each target
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeats: Option<u32>,
    /// Ends within two minutes for two targets: smaller work, fewer repeats, some cases left out
    #[arg(long)]
    pub quick: bool,
    /// Sets one value of the scenario, e.g. targets.hybrid.settings.encoding=json (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Seed of everything that is drawn by chance
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Prints the result as one JSON document on standard output, and nothing else there
    #[arg(long)]
    pub json: bool,
}

impl BenchArgs {
    /// What to do, in a run of this id that began at a time that is written so.
    ///
    /// # Errors
    /// [`ScenarioError`], with all that is wrong with the scenario.
    pub fn order(self, stamp: &str, run_id: String) -> Result<Order, ScenarioError> {
        let overrides = BenchOverrides {
            set: self.set,
            seed: self.seed,
            repeats: self.repeats,
            targets: self.targets,
            only: self.only,
            quick: self.quick,
        };
        let loaded = bench::load(self.scenario.as_deref(), &overrides)?;
        let default_out = || Path::new("reports").join(format!("{stamp}-{}", loaded.scenario.name));
        Ok(Order {
            run_id,
            out: self.out.unwrap_or_else(default_out),
            command: std::env::args().collect(),
            started_at: clock::wall_rfc3339(),
            show: Show::Progress,
            loaded,
        })
    }
}

pub(super) const BENCH_HELP: &str = "\
What is measured is the target's own processor time, to the nanosecond, beside the clock: on a machine with few cores
the sink and the engine take part of the clock's time, and none of the target's. Trials go A B B A. Each figure is the
median of the repeats; its interval is made of two of the values (of five: the least and the greatest, 94 % sure).

Sorts of work, for --only:
  catch-up      read a backlog of logs on disk to its end: one file, many files; short lines, long ones, escapes
  start-up      from the start of the process to ready, and to the first line accepted
  steady        keep up with a set rate: processor time a million lines, memory, latency from written to accepted
  trouble       the same while the sink refuses, or is gone for a while
  idle          containers that log nothing: processor time, memory, threads, descriptors, tasks
  highest-rate  the highest rate that is held without falling behind

Examples:
  flatline bench                                      everything, by all that are installed; an hour or so
  flatline bench --quick                              a look, in two minutes
  flatline bench --targets hybrid,syslog-ng --only catch-up
  flatline bench --targets hybrid,vector --only steady --repeats 9
  flatline bench my.yaml --json > bench.json

Results lie in the folder: bench.json, trials.jsonl (a line each), bench.png, the targets' configs and outputs.
docs/bench.md says what each figure is, and how a target is added.

Exit codes:
  0  every target did all its work and lost no line
  1  a target lost or altered lines
  2  bad usage or scenario
  3  stopped before its time
  4  the environment failed, or a target that was asked for is not installed, or would not do its work";
