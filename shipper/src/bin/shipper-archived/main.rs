//! The hybrid design as it failed (see the post-mortem), each of its five defects a switch. A control for
//! leak tests: a harness that does not see this one leak proves nothing about others.
//!
//! A binary of its own, so that the shipper contains none of it. What is healthy and pure it takes from
//! the library: decoding, joining, labels, encoding, discovery.
//!
//! The modules stand in the order in which data flows; each uses only those above it.

mod quiet;
mod config;
mod engine;
mod monitor;
mod start;
mod tail;
mod watch;
mod batch;
mod reader;
mod lane;
mod item;
mod storm;
mod queue;
mod sender;
mod app;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use config::Config;
use shipper::shutdown::{Shutdown, Signals};
use tracing_subscriber::EnvFilter;

/// The log shipper that failed, kept as a control for leak tests. Not for production.
#[derive(Parser)]
#[command(version)]
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

/// From the first signal to the end, whatever is pending.
const GRACE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let (file, command): (File, fn(Config) -> anyhow::Result<()>) = match Cli::parse().command {
        Command::Run(file) => (file, run),
        Command::Check(file) => (file, |_| Ok(())),
    };
    let config = match Config::load(&file.config) {
        Ok(config) => config,
        Err(error) => return complain(&error.into(), ExitCode::from(2)),
    };
    command(config).map_or_else(|error| complain(&error, ExitCode::FAILURE), |()| ExitCode::SUCCESS)
}

fn run(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let (signals, shutdown) = (Signals::install()?, Shutdown::default());
        tokio::select! {
            ended = app::run(config, shutdown.stop.clone()) => ended,
            () = signals.conduct(shutdown.clone(), GRACE) => Ok(()),
        }
    });
    runtime.shutdown_timeout(GRACE / 2);
    ended
}

fn complain(error: &anyhow::Error, code: ExitCode) -> ExitCode {
    tracing::error!("{error:#}");
    code
}
