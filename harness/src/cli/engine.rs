//! `flatline engine`, and what its containers may run within it.

use std::path::PathBuf;

use clap::{Args, Parser};

use super::{Cli, Command};
use crate::world::generate;
use crate::world::image::OWN_PROGRAM;

/// Options of `flatline engine`.
#[derive(Args, Debug)]
pub struct EngineArgs {
    /// The socket that is made, and removed at the end
    #[arg(long, value_name = "SOCKET", default_value = "flatline-engine.sock", value_parser = socket)]
    pub listen: PathBuf,
    /// The folder of the containers' logs, laid out as Docker's /var/lib/docker
    #[arg(long, value_name = "DIR", default_value = "flatline-engine")]
    pub root: PathBuf,
}

fn socket(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix://").unwrap_or(text);
    if path.contains("://") {
        return Err("a Unix socket is needed: /path/to/engine.sock".to_owned());
    }
    Ok(PathBuf::from(path))
}

pub(super) const ENGINE_HELP: &str = "\
Containers are plain processes of this machine: no image, no namespace, no network of their own. Their output is written
as Docker's json-file driver writes it. The `docker` command lists, inspects and follows them:

  flatline engine --listen /tmp/engine.sock &
  DOCKER_HOST=unix:///tmp/engine.sock docker ps

SIGINT or SIGTERM ends it and every container; their logs stay in the folder.";

/// What a command line of a container generates, where it is this program's generator.
#[must_use]
pub fn generator(command: &[String]) -> Option<generate::Config> {
    let is_own = command.first().is_some_and(|first| first == OWN_PROGRAM);
    let parsed = Cli::try_parse_from(command.iter().filter(|_| is_own)).ok()?;
    if let Command::Generate(arguments) = parsed.command { Some(arguments.config()) } else { None }
}
