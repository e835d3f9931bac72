//! `shipper checkpoint show`: where a shipper would go on. Writes nothing, and makes no folder.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::{Error, ago, time};
use crate::clock::{self, Clock};
use crate::delivery::checkpoint::{self, Checkpoint};
use crate::record::Position;

#[derive(Serialize)]
struct Shown<'a> {
    path: &'a Path,
    version: u32,
    saved_ns: i64,
    age_seconds: i64,
    #[serde(flatten)]
    checkpoint: &'a Checkpoint,
}

/// Prints the checkpoint of `state_dir`.
///
/// # Errors
/// When there is none, or it can't be used.
pub fn show(state_dir: &Path, json: bool, clock: &Clock, out: &mut impl Write) -> Result<(), Error> {
    let path = checkpoint::path(state_dir);
    let failed = |source| Error::Read { path: path.clone(), source };
    let found = checkpoint::read(&path).map_err(failed)?.ok_or_else(|| Error::NoCheckpoint(path.clone()))?;
    let checkpoint = found.map_err(|reason| Error::UnusableCheckpoint { path: path.clone(), reason })?;
    let saved = std::fs::metadata(&path).and_then(|file| file.modified()).map_err(failed)?;
    let (saved_ns, now_ns) = (clock::since_epoch_ns(saved), clock.now_ns());
    if json {
        let age_seconds = now_ns.saturating_sub(saved_ns) / 1_000_000_000;
        let shown = Shown {
            path: &path,
            version: checkpoint::VERSION,
            saved_ns,
            age_seconds,
            checkpoint: &checkpoint,
        };
        let text = serde_json::to_string_pretty(&shown).map_err(std::io::Error::from)?;
        return Ok(writeln!(out, "{text}")?);
    }
    writeln!(out, "{}: version {}", path.display(), checkpoint::VERSION)?;
    writeln!(out, "saved      {} ({})", time(saved_ns), ago(saved_ns, now_ns))?;
    writeln!(out, "first run  {} ({})", time(checkpoint.since_ns), ago(checkpoint.since_ns, now_ns))?;
    writeln!(out, "containers {}", checkpoint.containers.len())?;
    for (container, position) in &checkpoint.containers {
        writeln!(out, "  {container}  {}", describe(position, now_ns))?;
    }
    Ok(())
}

fn describe(position: &Position, now_ns: i64) -> String {
    match position {
        Position::File { identity, offset, .. } => {
            format!("byte {offset} of the log file with device {} and inode {}", identity.dev, identity.ino)
        }
        Position::Api { time_ns, seen } => {
            format!("line {seen} of {} ({})", time(*time_ns), ago(*time_ns, now_ns))
        }
    }
}
