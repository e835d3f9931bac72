//! What an operator does from the command line with a state folder or a shipper that runs. Texts for people, or one JSON document.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::delivery::dead_letters::FOLDER;

pub mod checkpoint;
pub mod list;
pub mod ready;
pub mod replay;

/// Why a command has failed, in words that say what to do next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or a folder.
    #[error("can't read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Nothing to look at: most likely the config names another folder than the shipper's.
    #[error("there is no state_dir at {0}: no shipper has run with this config yet")]
    NoState(PathBuf),
    /// What was printed was not taken.
    #[error("can't write to the output: {0}")]
    Output(#[from] std::io::Error),
    /// No checkpoint.
    #[error("there is no checkpoint at {0}: no shipper has run with this state_dir yet")]
    NoCheckpoint(PathBuf),
    /// Not a usable one.
    #[error("the checkpoint at {path} can't be used: {reason}")]
    UnusableCheckpoint {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: crate::delivery::checkpoint::Unusable,
    },
    /// A replay.
    #[error(transparent)]
    Replay(#[from] crate::delivery::dead_letters::replay::Error),
    /// No file descriptors, most likely.
    #[error("can't start the runtime: {0}")]
    Runtime(std::io::Error),
    /// A shipper that can't be asked.
    #[error(transparent)]
    Ready(#[from] ready::Error),
}

impl Error {
    /// Whether whoever read the output has gone (`| head`): no failure of ours.
    #[must_use]
    pub fn is_closed_output(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

/// The folder of the dead letters, if a shipper has run there.
fn letters_of(state_dir: &Path) -> Result<PathBuf, Error> {
    if !state_dir.is_dir() {
        return Err(Error::NoState(state_dir.to_owned()));
    }
    Ok(state_dir.join(FOLDER))
}

/// A time for people.
fn time(ns: i64) -> String {
    Timestamp::from_nanosecond(i128::from(ns)).map_or_else(|_| ns.to_string(), |time| format!("{time:.3}"))
}

/// How long ago, in whole seconds.
fn ago(ns: i64, now_ns: i64) -> String {
    let seconds = now_ns.saturating_sub(ns) / 1_000_000_000;
    match u64::try_from(seconds) {
        Ok(seconds) => format!("{} ago", humantime::format_duration(std::time::Duration::from_secs(seconds))),
        Err(_) => "in the future".to_owned(),
    }
}

/// Text of others for a terminal: what would move its cursor or colour it is spelled out.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_can_not_steer_the_terminal() {
        assert_eq!(printable("\u{1b}[31mred\u{7} é \"x\""), "\\u{1b}[31mred\\u{7} é \"x\"");
    }

    #[test]
    fn any_time_can_be_shown() {
        assert_eq!(time(1_500_000_000), "1970-01-01T00:00:01.500Z");
        for ns in [i64::MIN, 0, i64::MAX] {
            assert!(!time(ns).is_empty() && !ago(ns, 0).is_empty());
        }
        assert_eq!(ago(-61_000_000_000, 0), "1m 1s ago");
    }
}
