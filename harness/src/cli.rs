//! The command line, typed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand};

use crate::growth::warmup::Warmup;
use crate::run::analyze::{Known, Question};
use crate::scenario::schema;
use crate::units::Span;
use crate::world::generate::{self, LINE_BYTES_MAX, RATE_MAX};

pub use ab::{AbArgs, ChangesArgs, RunArgs, RunOptions, ShowOptions};
pub use baseline::BaselineArgs;
pub use bench::BenchArgs;
pub use compare::CompareArgs;
pub use confine::ConfineArgs;
pub use doctor::DoctorArgs;
pub use engine::{EngineArgs, generator};
pub use history::HistoryArgs;
pub use merge::MergeArgs;
pub use mock_loki::MockLokiArgs;
pub use report::ReportArgs;
pub use selftest::{LeakArgs, SelftestArgs, sample_every};
pub use watch::WatchArgs;

/// Told with several commands, in one place.
macro_rules! exit_codes {
    () => {
        "\
Exit codes:
  0  every expectation met
  1  a target leaked, lost lines or missed a limit; a line that it counts as dropped is not lost
  2  bad usage or scenario
  3  not decided, or a control did not leak, or lose a line, as it must
  4  the environment failed (engine, port, disk)"
    };
}

mod ab;
mod baseline;
mod bench;
mod compare;
mod confine;
mod doctor;
mod engine;
pub mod exit;
mod history;
mod matters;
mod merge;
mod mock_loki;
mod printing;
mod report;
mod selftest;
pub mod told;
mod watch;

const EXIT_CODES: &str = exit_codes!();

/// Leak-regression soak tests and A/B comparisons for log shippers, on real containers.
#[derive(Debug, Parser)]
#[command(name = "flatline", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What flatline does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs targets side by side on the same containers and writes a report
    ///
    /// Starts containers that log numbered lines, rotate their logs, and come and go; gives each target
    /// a mock Loki of its own; samples tasks, threads and file descriptors; judges their growth; accounts
    /// for every line. Everything that it started is gone afterwards, also after Ctrl-C.
    #[command(after_help = EXIT_CODES, after_long_help = ab::EXAMPLES)]
    Ab(AbArgs),
    /// Runs any scenario, as `flatline ab` does
    #[command(after_help = EXIT_CODES, after_long_help = ab::RUN_EXAMPLES)]
    Run(RunArgs),
    /// Measures targets side by side: throughput, cost, latency, idle cost, start-up, the highest rate they hold
    ///
    /// Every target does the same work over and over, in turn with the others, into a mock Loki of its own that accounts
    /// for every line. Without a scenario it does the one that is built in, by the shippers that ship and by those others
    /// that are installed.
    #[command(after_long_help = bench::BENCH_HELP)]
    Bench(BenchArgs),
    /// Gives a verdict on any recorded series: a CSV file with a column elapsed_s
    ///
    /// A column `target` tells series apart. Without --limit the columns tasks, threads and fds are judged,
    /// each by a limit of 2 per minute. What can't be trusted is `invalid`, with the line that says why.
    #[command(after_help = EXIT_CODES, after_long_help = ANALYZE_HELP)]
    Analyze(AnalyzeArgs),
    /// Gives a verdict on any running process: does it leak file descriptors, threads, tasks, memory?
    #[command(after_long_help = watch::WATCH_HELP, override_usage = watch::USAGE)]
    Watch(Box<WatchArgs>),
    /// Draws the report of a run directory again from its raw files
    ///
    /// Page, pictures, summary, JUnit, benchmark and metrics: the same files give the same bytes. A run of which no end was
    /// recorded (it was killed, or goes on) is judged from what stands there until now; what became of its lines is then
    /// not known.
    #[command(after_long_help = report::REPORT_HELP)]
    Report(ReportArgs),
    /// Holds a run against another: is the candidate worse than the baseline?
    ///
    /// Growth, throughput, latency, cost and lines side by side, each with an interval where there is one; whether a
    /// difference is sure apart from whether it matters; and what it comes to. Runs that were killed are judged from what
    /// stands there. Runs of different environments are refused.
    #[command(after_long_help = compare::COMPARE_HELP)]
    Compare(CompareArgs),
    /// Shows nights in a row: what changed when, with which commits, and which nights did not run
    #[command(after_long_help = history::HISTORY_HELP)]
    History(Box<HistoryArgs>),
    /// Sets what is known to be good: runs are held against it before any limit is reached
    #[command(after_long_help = baseline::BASELINE_HELP)]
    Baseline(BaselineArgs),
    /// Joins runs of one load into one report: shards of a run that was spread over machines, or several seeds
    #[command(after_long_help = merge::MERGE_HELP)]
    Merge(MergeArgs),
    /// Removes what a killed run has left: containers, images, processes, control groups, small disks, engines of its own
    ///
    /// A run does so at its start with what died where it runs; with FLATLINE_SWEEP=off in its environment it does not.
    Clean,
    /// Says what this machine lacks for a run, each with what to do, and how much a run writes
    #[command(after_help = doctor::DOCTOR_HELP)]
    Doctor(DoctorArgs),
    /// Runs the mock Loki alone
    ///
    /// Prints `listening on http://…` first, and on SIGINT or SIGTERM a summary of what it was sent.
    /// It answers as a real Loki does, with Loki's defaults or what a config file says.
    #[command(after_long_help = mock_loki::MOCK_LOKI_HELP)]
    MockLoki(MockLokiArgs),
    /// Judges the judge: does it find what leaks, and only that?
    ///
    /// Starts processes that leak on purpose, and some that only seem to; samples and judges them as a run does; says
    /// which verdict was expected and which was given. Takes two minutes.
    #[command(after_long_help = selftest::SELFTEST_HELP)]
    Selftest(SelftestArgs),
    /// Leaks on purpose: a process to try a judge on
    #[command(after_long_help = selftest::LEAK_HELP)]
    Leak(LeakArgs),
    /// Runs the embedded engine alone: the part of Docker's API that log shippers use, where there is no Docker
    #[command(after_long_help = engine::ENGINE_HELP)]
    Engine(EngineArgs),
    /// Prints the JSON Schema of scenarios, for editors
    ///
    /// An editor that knows it completes fields, shows what each is and marks what is wrong. With it in a file,
    /// `# yaml-language-server: $schema=flatline.schema.json` as a scenario's first line does so in most editors.
    Schema {
        /// Of what
        #[arg(value_enum, default_value_t = schema::Of::Scenario)]
        of: schema::Of,
    },
    /// Takes limits upon itself and becomes another program: how a target is started within its `resources`
    #[command(hide = true)]
    Confine(ConfineArgs),
    /// Writes numbered lines to standard output and standard error: what runs in the containers
    Generate(GenerateArgs),
}

const ANALYZE_HELP: &str = concat!(
    "\
The file is comma-separated, in UTF-8. Its first line names the columns: elapsed_s, seconds on a clock that never
runs backwards; target, if there are several; and any columns of counts:

  elapsed_s,target,fds
  0,api,41
  1,api,42

One can be recorded of any process, here once a second:

  echo elapsed_s,fds > fds.csv
  while [ -d /proc/$PID ]; do echo $SECONDS,$(ls /proc/$PID/fd | wc -l) >> fds.csv; sleep 1; done

Examples:
  flatline analyze fds.csv                            at most 2 more a minute, the warm-up found
  flatline analyze fds.csv --plot fds.png             with a picture
  flatline analyze night.csv --limit fds=0.5 --limit 'open sockets=1' --warmup 10m
  flatline analyze fds.csv --bound fds=60             its pools may fill by 60, which is no leak
  zcat night.csv.gz | flatline analyze /dev/stdin --json

Each column is said to grow by so much a minute, with a 90 % interval; `pass` where the whole interval lies below
the limit, `fail` above it, else `inconclusive`. The floor is the slowest leak that the samples could have shown.
`decided_at_s` is when a run would have stopped on a `fail`: at looks fixed in advance, once the count has risen by more
than its --bound, or, without one, by more than its limit allows in a quarter of an hour.

",
    exit_codes!()
);

/// A command line that can't be carried out as it stands.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Whether whoever reaches this address is meant to.
///
/// # Errors
/// [`UsageError`] where other machines do and nobody said that they may.
pub fn reachable(listen: std::net::SocketAddr, expose: bool) -> Result<(), UsageError> {
    if listen.ip().is_loopback() || expose {
        return Ok(());
    }
    Err(UsageError(format!("{listen} can be reached by other machines; add --expose where that is meant")))
}

/// Options of `flatline analyze`.
#[derive(Args, Debug)]
pub struct AnalyzeArgs {
    /// The CSV file; /dev/stdin reads from a pipe
    pub file: PathBuf,
    /// How to judge
    #[command(flatten)]
    pub judging: JudgingArgs,
    /// Draws the series with their fitted lines and limits
    #[arg(long, value_name = "FILE.png", value_parser = picture)]
    pub plot: Option<PathBuf>,
    /// Prints the verdicts as one JSON document on standard output, and nothing else there
    #[arg(long)]
    pub json: bool,
}

/// How counts are judged: options of whatever judges recorded series.
#[derive(Args, Debug)]
pub struct JudgingArgs {
    /// Growth per minute that a column is allowed, e.g. fds=2 (repeatable) [default: 2 of fds, threads and tasks]
    #[arg(long, value_name = "COLUMN=PER_MINUTE", value_parser = limit)]
    pub limit: Vec<(String, f64)>,
    /// How far a column may rise and be no leak, as queues, pools and caches fill, e.g. fds=60 (repeatable)
    #[arg(long, value_name = "COLUMN=COUNT", value_parser = bound)]
    pub bound: Vec<(String, f64)>,
    /// What to cut from the start: so much exactly, or what has not settled yet
    #[arg(long, value_name = "DURATION|auto", default_value = "auto", value_parser = warmup)]
    pub warmup: Warmup,
}

impl JudgingArgs {
    /// What is asked of a series of which nothing else is known.
    ///
    /// # Errors
    /// [`UsageError`] where an option names a column twice.
    pub fn question(self) -> Result<Question, UsageError> {
        Ok(Question {
            limits: each_once("--limit", self.limit)?,
            bounds: each_once("--bound", self.bound)?,
            warmup: self.warmup,
            known: Known::default(),
        })
    }
}

fn each_once(option: &str, named: Vec<(String, f64)>) -> Result<BTreeMap<String, f64>, UsageError> {
    let mut columns = BTreeMap::new();
    for (column, value) in named {
        if let Some(before) = columns.insert(column.clone(), value) {
            let why = format!("{option} names {column} twice, with {before} and {value}: which is meant?");
            return Err(UsageError(why));
        }
    }
    Ok(columns)
}

fn limit(text: &str) -> Result<(String, f64), String> {
    // The last one: a column's name may have such a sign, a number has none.
    let (column, limit) = text.rsplit_once('=').ok_or("write COLUMN=PER_MINUTE, e.g. fds=2")?;
    let limit: f64 = limit.parse().map_err(|_| format!("{limit:?} is no number"))?;
    let positive = limit.is_finite() && limit > 0.0;
    if positive { Ok((column.to_owned(), limit)) } else { Err("the limit must be above zero".to_owned()) }
}

fn bound(text: &str) -> Result<(String, f64), String> {
    let (column, rise) = text.rsplit_once('=').ok_or("write COLUMN=COUNT, e.g. fds=60")?;
    let rise: f64 = rise.parse().map_err(|_| format!("{rise:?} is no number"))?;
    let fit = rise.is_finite() && rise >= 0.0;
    if fit { Ok((column.to_owned(), rise)) } else { Err("the bound must be zero or above".to_owned()) }
}

fn picture(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let is_png = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("png"));
    if is_png { Ok(path) } else { Err("a picture is a PNG: name it FILE.png".to_owned()) }
}

fn warmup(text: &str) -> Result<Warmup, String> {
    match text {
        "auto" => Ok(Warmup::AtLeast { seconds: 0.0 }),
        text => {
            let span: Span = text.parse().map_err(|error: crate::units::InvalidSpan| error.to_string())?;
            Ok(Warmup::Fixed { seconds: span.as_secs_f64() })
        }
    }
}

/// Options of `flatline generate`.
#[derive(Args, Debug)]
pub struct GenerateArgs {
    /// Name of this source, unique in the run, without blanks
    #[arg(long, value_parser = source)]
    pub source: String,
    /// Lines a second
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=i64::from(RATE_MAX)))]
    pub rate: u32,
    /// Bytes of each line, newline left out
    #[arg(long, default_value_t = 200, value_parser = RangedU64ValueParser::<usize>::new().range(1..=LINE_BYTES_MAX as u64))]
    pub line_bytes: usize,
    /// How many of them are written one right after the other, before a pause that keeps the pace
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(RATE_MAX)))]
    pub burst: u32,
    /// How many lines of a hundred go to standard error
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub stderr_percent: u32,
    /// Seed of the padding
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The counter file: goes on where it ends, notes what was written
    #[arg(long)]
    pub truth: PathBuf,
    /// Ends after so many lines [default: at SIGTERM]
    #[arg(long)]
    pub lines: Option<u64>,
    /// The file of what the rate is multiplied by, in millionths, read anew once a second [default: it stays]
    #[arg(long, value_name = "FILE")]
    pub tempo: Option<PathBuf>,
    /// The texts of the lines, as a run makes them ready of real logs [default: padding]
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
}

impl GenerateArgs {
    /// What they ask for.
    #[must_use]
    pub fn config(self) -> generate::Config {
        generate::Config {
            source: self.source,
            rate: self.rate,
            burst: self.burst,
            line_bytes: self.line_bytes,
            stderr_percent: self.stderr_percent,
            seed: self.seed,
            truth: self.truth,
            lines: self.lines,
            tempo: self.tempo,
            replay: self.replay,
        }
    }
}

fn source(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(char::is_whitespace) {
        return Err("a name without blanks is needed".to_owned());
    }
    Ok(text.to_owned())
}
