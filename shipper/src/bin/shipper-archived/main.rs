//! The hybrid design as it failed (see the post-mortem), each of its five defects a switch. A control for
//! leak tests: a harness that does not see this one leak proves nothing about others. Three more switches,
//! off by default, lose or damage lines: a control for what accounts for lines.
//!
//! A binary of its own, so that the shipper contains none of it. What is healthy and pure it takes from
//! the library: decoding, joining, labels, encoding, discovery.
//!
//! The modules stand in the order in which data flows; each uses only those above it.

mod quiet;
mod config;
mod engine;
mod books;
mod keeper;
mod monitor;
mod start;
mod find;
mod buffer;
mod tail;
mod watch;
mod batch;
mod log;
mod reader;
mod lane;
mod item;
mod storm;
mod queue;
mod sender;
mod app;
#[cfg(test)]
mod tests;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use config::Config;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The log shipper that failed, kept as a control for leak tests. Not for production.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Each defect can be switched off in the config:

    defects: { replay_history: true, unbounded_retry: true, no_timestamp_check: true, leak_handles: true,
               no_metadata_cache: true }

These lose or damage lines, and are off unless they are switched on; the first two change nothing while
replay_history is on, or without a state_dir:

    defects: { commit_on_read: false, path_keyed_offset: false, mixed_streams: false }

Exit codes: 0 ended in order, 1 broke, 2 wrong usage or config, 4 the surroundings failed (Docker, port)."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Ships until SIGTERM or SIGINT.
    Run(File),
    /// Reads the config and says what is wrong with it.
    Check(File),
}

#[derive(Args)]
struct File {
    /// The config, in YAML.
    #[arg(long)]
    config: PathBuf,
}

/// For a look-up of Loki's name that is under way: nothing else can hold up the end.
const GRACE: Duration = Duration::from_secs(1);
const BROKE: u8 = 1;
const USAGE: u8 = 2;
const ENVIRONMENT: u8 = 4;

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let (Command::Run(file) | Command::Check(file)) = &command;
    let config = match Config::load(&file.config) {
        Ok(config) => config,
        Err(error) => return fail(&error, USAGE),
    };
    let result = match command {
        Command::Run(_) => run(config),
        Command::Check(_) => Ok(()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, if error.is_environment() { ENVIRONMENT } else { BROKE }),
    }
}

fn run(config: Config) -> Result<(), app::Error> {
    start_log();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        app::run(config, stop).await
    });
    tracing::info!("ended: what was pending is given up");
    runtime.shutdown_timeout(GRACE);
    ended
}

fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let (to, ansi) = (std::io::stderr, std::io::stderr().is_terminal());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(to).with_ansi(ansi).init();
}

#[expect(clippy::print_stderr, reason = "there may be no log yet, and this is for a person")]
fn fail(error: &dyn std::error::Error, code: u8) -> ExitCode {
    eprintln!("shipper-archived: {error}");
    ExitCode::from(code)
}
