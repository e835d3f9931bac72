//! The command line of the shipper: parse, load, build, run, exit code.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use shipper::app;
use shipper::clock::Clock;
use shipper::config::{Config, Log, LogFormat, LogLevel};
use shipper::operator;
use shipper::operator::ready::Readiness;
use tracing_subscriber::filter::LevelFilter;

/// How long a thread for file work stays when there is none.
const BLOCKING_THREADS_KEPT: Duration = Duration::from_secs(3600);
const LOST: u8 = 1;
const UNREADY: u8 = 1;
const USAGE: u8 = 2;
const ENVIRONMENT: u8 = 4;

/// Ships the logs of Docker containers to Grafana Loki and gives back everything it takes.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
A config may be empty: all settings have defaults, which `print-config` shows. The least that most need:

    design: hybrid            # tail json-file logs; or `pool`: Docker's API; or `auto`: what fits each driver
    start: end                # or `beginning`, or {since: 1h}
    state_dir: /var/lib/shipper
    loki: { url: \"http://127.0.0.1:3100\" }

While it runs, http://127.0.0.1:9080 has /metrics, /ready and /healthz. SIGTERM stops it: what was read is
delivered until `shutdown_deadline`; what is left is read again at the next start. SIGHUP reads the config again,
and keeps the old one if there is a mistake in it. Values may name variables of
the environment: ${NAME}, ${NAME:-default}; $$ is a dollar.

Exit codes: 0 ended in order, 1 broke or lost lines of removed containers, 2 wrong usage or config,
4 the surroundings failed (Docker, port, state_dir)."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Ship until a signal.
    Run(ConfigFile),
    /// Read the config and report every mistake; start nothing.
    Check(ConfigFile),
    /// Print the config with all defaults filled in.
    PrintConfig(ConfigFile),
    /// Ask the shipper that runs with this config whether it is ready, as a health check.
    #[command(
        after_help = "Exit codes: 0 it is; 1 it is not, and why is printed; 4 no shipper answers at admin.listen."
    )]
    Ready(ConfigFile),
    /// What Loki would not take, kept in state_dir.
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// Where a shipper would go on.
    #[command(subcommand)]
    Checkpoint(Checkpoint),
}

#[derive(Subcommand)]
enum DeadLetters {
    /// Say what there is, by reason and stream. Changes nothing; a shipper may run meanwhile.
    List {
        #[command(flatten)]
        file: ConfigFile,
        /// One JSON document.
        #[arg(long)]
        json: bool,
        /// Show so many lines too, the oldest segments first.
        #[arg(long, value_name = "N", default_value_t = 0)]
        lines: usize,
    },
    /// Send them to Loki again; what it takes is removed, what it refuses again stays. May be stopped at any
    /// moment and started again. A shipper may run meanwhile: the segment it writes is left to it.
    #[command(
        after_help = "Exit codes: 0 all was delivered, or it was stopped; 1 some lines were refused again, or can't be read."
    )]
    Replay {
        #[command(flatten)]
        file: ConfigFile,
        /// Only lines that are there for this reason, as `list` shows it.
        #[arg(long)]
        reason: Option<String>,
        /// Only say how many would be sent.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Subcommand)]
enum Checkpoint {
    /// Print version, age, and the position in each container's log. Changes nothing.
    Show {
        #[command(flatten)]
        file: ConfigFile,
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct ConfigFile {
    /// The YAML file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl Command {
    fn file(&self) -> &ConfigFile {
        match self {
            Self::Run(file) | Self::Check(file) | Self::PrintConfig(file) | Self::Ready(file) => file,
            Self::DeadLetters(DeadLetters::List { file, .. } | DeadLetters::Replay { file, .. }) => file,
            Self::Checkpoint(Checkpoint::Show { file, .. }) => file,
        }
    }
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let config = match Config::load(&command.file().config) {
        Ok(config) => config,
        Err(error) => return fail(&error.to_string(), USAGE),
    };
    let mut out = std::io::stdout();
    match command {
        Command::Run(file) => run(config, &file),
        Command::Check(file) => say(&format!("{}: ok\n", file.config.display())),
        Command::PrintConfig(_) => {
            config.to_yaml().map_or_else(|error| fail(&error, LOST), |yaml| say(&yaml))
        }
        Command::Ready(_) => ready(&config),
        Command::DeadLetters(DeadLetters::List { lines, json, .. }) => {
            told(operator::list::list(&config.state_dir, lines, json, &mut out))
        }
        Command::DeadLetters(DeadLetters::Replay { reason, dry_run, .. }) => replay(&config, reason, dry_run),
        Command::Checkpoint(Checkpoint::Show { json, .. }) => {
            told(operator::checkpoint::show(&config.state_dir, json, &Clock::system(), &mut out))
        }
    }
}

fn ready(config: &Config) -> ExitCode {
    match alone(operator::ready::ask(config.admin.listen)) {
        Ok(Readiness::Ready) => say("ready\n"),
        Ok(Readiness::Unready(reasons)) => fail(&format!("not ready: {reasons}"), UNREADY),
        Err(error) => fail(&error.to_string(), ENVIRONMENT),
    }
}

fn replay(config: &Config, reason: Option<String>, dry_run: bool) -> ExitCode {
    start_log(&config.log);
    let mut out = std::io::stdout();
    match alone(operator::replay::run(config, reason, dry_run, &mut out)) {
        Ok(tally) if tally.refused + tally.unreadable > 0 => ExitCode::from(LOST),
        ended => told(ended),
    }
}

/// On this thread: one request after the other has nothing to wait for but its answer.
fn alone<T, E: Into<operator::Error>>(
    task: impl Future<Output = Result<T, E>>,
) -> Result<T, operator::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(operator::Error::Runtime)?.block_on(task).map_err(Into::into)
}

fn told<T>(ended: Result<T, operator::Error>) -> ExitCode {
    match ended {
        Err(error) if !error.is_closed_output() => fail(&error.to_string(), ENVIRONMENT),
        Ok(_) | Err(_) => ExitCode::SUCCESS,
    }
}

fn run(config: Config, file: &ConfigFile) -> ExitCode {
    start_log(&config.log);
    // Files are written one after the other: one thread serves them. Kept, since threads that come and
    // go would make the process's thread count say nothing.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(1)
        .thread_keep_alive(BLOCKING_THREADS_KEPT)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("can't start the runtime: {error}"), ENVIRONMENT),
    };
    match runtime.block_on(app::run(config, || Config::load(&file.config))) {
        Ok(left) if left.gone_containers > 0 => fail(
            &format!("lines of {} removed containers could not be delivered", left.gone_containers),
            LOST,
        ),
        Ok(left) => {
            tracing::info!(unacknowledged = left.lines, "ended in order");
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error.to_string(), if error.is_environment() { ENVIRONMENT } else { LOST }),
    }
}

fn start_log(log: &Log) {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let colours = std::io::stderr().is_terminal();
    // A log that can't be written is no reason to end: who reads it may have gone, or its disk be full.
    let lines = tracing_subscriber::fmt()
        .log_internal_errors(false)
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(colours);
    match log.format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
}

fn say(text: &str) -> ExitCode {
    let mut out = std::io::stdout();
    told(out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(operator::Error::Output))
}

fn fail(text: &str, code: u8) -> ExitCode {
    drop(writeln!(std::io::stderr(), "shipper: {text}"));
    ExitCode::from(code)
}
