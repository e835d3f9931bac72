//! What flows from a source to the sink: lines of one container, and where they were read.
//!
//! Sources make [`Item`]s, the pipeline turns them into batches, delivery settles them. Items of one
//! container travel in the order in which they were read, so that its checkpoint can follow the
//! contiguous prefix of what is settled.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

pub mod block;

use block::Block;

/// A full Docker container id: 64 lower-case hexadecimal digits. Checked once, at the border, because
/// the id becomes part of a path on disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(Arc<str>);

/// The id that was refused.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no container id (64 lower-case hexadecimal digits)")]
pub struct InvalidContainerId(String);

impl ContainerId {
    /// Checks `id`.
    ///
    /// # Errors
    /// [`InvalidContainerId`] unless it is 64 lower-case hexadecimal digits.
    pub fn parse(id: &str) -> Result<Self, InvalidContainerId> {
        let valid = id.len() == 64 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if valid { Ok(Self(id.into())) } else { Err(InvalidContainerId(id.to_owned())) }
    }

    /// All 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits, as `docker ps` prints them.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl TryFrom<String> for ContainerId {
    type Error = InvalidContainerId;
    fn try_from(id: String) -> Result<Self, Self::Error> {
        Self::parse(&id)
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

/// What is known of a container, as far as log lines need it. Made from an allow-list of Docker's
/// fields: `Config.Env` may hold secrets and never gets in here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its full id.
    pub id: ContainerId,
    /// Its name without the leading slash.
    pub name: String,
    /// The image's name as given at its start.
    pub image: String,
    /// All of its labels (which of them become Loki labels is decided in `labels`).
    pub labels: BTreeMap<String, String>,
    /// Docker's logging driver, e.g. `json-file`.
    pub log_driver: String,
    /// Where the json-file driver writes, if that is the driver.
    pub log_path: Option<PathBuf>,
    /// At which size Docker begins the next generation of its log; `None` where it never does.
    pub log_max_bytes: Option<u64>,
    /// Whether it has a terminal: then its log stream comes without frames.
    pub tty: bool,
}

/// Which output a line was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The name Docker gives it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Which generation of a log file an offset belongs to. Never the path: Docker renames `x.log` to
/// `x.log.1` and makes a new `x.log`; and never the inode alone: inodes are used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileIdentity {
    /// The device's number.
    pub dev: u64,
    /// The inode's number on that device.
    pub ino: u64,
    /// How many bytes of the head the fingerprint covers (at most 1,024; less while the file is short).
    pub head_len: u64,
    /// A hash of those bytes.
    pub head_hash: u64,
}

/// Where a source goes on once everything up to here is settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// `hybrid`: just behind this line in its file.
    File {
        /// Which file.
        identity: FileIdentity,
        /// The byte after the line's last.
        offset: u64,
        /// A hash of the up to 64 bytes before the offset: whoever empties the file in place and lets it
        /// grow past the offset does not get past this. Not known in checkpoints of earlier versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tail_hash: Option<u64>,
        /// Lines of one stream that were handed on though they stand behind the offset.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ahead: Option<Ahead>,
        /// The time of the line before the offset, in nanoseconds since the epoch: where `pool` goes on when it
        /// takes over. Not known in checkpoints of earlier versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time_ns: Option<i64>,
    },
    /// `pool`: at this line, as Docker's log API can be asked for (`since`).
    Api {
        /// The line's time in nanoseconds since the epoch.
        time_ns: i64,
        /// How many lines of this very nanosecond were seen, this one included: `since` is inclusive,
        /// so that many are passed over after a reconnect.
        seen: u32,
    },
}

/// While a line of one stream is open, the offset stays where it began; lines of the other stream are
/// handed on meanwhile, and need not be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ahead {
    /// Of which stream.
    pub stream: Stream,
    /// What begins before this offset was handed on.
    pub until: u64,
    /// In which file that is, if it may be a later one: rotation does not wait for a line to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileIdentity>,
}

impl Position {
    /// This place, where a line is open; what `stream` has before `until` was handed on. Known of files only.
    #[must_use]
    pub fn with_ahead(&self, stream: Stream, until: &Self) -> Self {
        let (
            Self::File { identity, offset, tail_hash, time_ns, .. },
            Self::File { identity: there, offset: until, ahead, .. },
        ) = (self, until)
        else {
            return self.clone();
        };
        // Who has not come as far as he had before a restart is still as far ahead as then.
        let mut ahead = ahead.unwrap_or(Ahead { stream, until: *until, file: None });
        if identity != there {
            ahead.file = ahead.file.or(Some(*there)); // or the same, which has grown meanwhile
        }
        Self::File {
            identity: *identity,
            offset: *offset,
            tail_hash: *tail_hash,
            ahead: Some(ahead),
            time_ns: *time_ns,
        }
    }
}

/// What a source sends down the pipeline.
#[derive(Debug)]
pub enum Item {
    /// Lines to deliver.
    Lines {
        /// All of one container.
        block: Block,
        /// Their places in the queue, given back with this.
        room: OwnedSemaphorePermit,
    },
    /// A stretch that holds no line to deliver and that the source has counted itself (torn JSON, say);
    /// its position still counts.
    Passed {
        /// Whose log.
        container: Arc<Container>,
        /// Just behind the stretch.
        position: Position,
    },
    /// The container is gone from Docker and its last line was sent: its checkpoint may go once all of
    /// its lines are settled.
    Gone(ContainerId),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by chance: an inode's number is given away again while a line is open over two rotations.
    #[test]
    fn what_is_ahead_in_a_file_that_got_the_same_inode_is_ahead_in_that_file() {
        let at = |head_hash, offset, ahead| {
            let identity = FileIdentity { dev: 1, ino: 2, head_len: 3, head_hash };
            Position::File { identity, offset, tail_hash: None, ahead, time_ns: None }
        };
        let Position::File { identity: later, .. } = at(5, 0, None) else { panic!() };
        let (stream, until) = (Stream::Stderr, 30);
        let elsewhere = Some(Ahead { stream, until, file: Some(later) });
        assert_eq!(at(4, 10, None).with_ahead(stream, &at(5, until, None)), at(4, 10, elsewhere));
        let here = Some(Ahead { stream, until, file: None });
        assert_eq!(at(4, 10, None).with_ahead(stream, &at(4, until, None)), at(4, 10, here));
        assert_eq!(at(4, 10, None).with_ahead(stream, &at(4, 20, here)), at(4, 10, here));
    }
}
