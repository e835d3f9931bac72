//! One open log file, and the lines in it.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use memchr::memchr;
use shipper::metrics::Metrics;
use shipper::record::{FileIdentity, Position};
use shipper::source::hybrid::{identity, json_line};
use shipper::source::join::{Fragment, Line};

use crate::buffer::Buffer;
use crate::find::{Place, identity_of};
use crate::start::Key;

/// Docker cuts lines at 16 KiB, which JSON makes six times as long at most.
const ENTRY_BYTES_MAX: usize = 256 * 1024;

/// A file that counts in `shipper_open_files` until it is dropped, which closes it.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) file: File,
    metrics: Arc<Metrics>,
}

impl OpenFile {
    fn new(file: File, metrics: Arc<Metrics>) -> Self {
        metrics.open_files.inc();
        Self { file, metrics }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.metrics.open_files.dec();
    }
}

/// Which file is at `path` now; `None` when there is none, as in the middle of a rotation.
pub(crate) fn key_at(path: &Path) -> Option<Key> {
    path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// What stands in a log.
#[derive(Debug)]
pub(crate) enum Found {
    Line(Line),
    /// A line that holds no entry, up to here.
    Corrupt(Position),
    /// Nothing: here reading begins.
    Begin(Position),
}

/// A file that is read, chunk by chunk.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) file: OpenFile,
    /// Which file it is, by as much of its head as there was when it was read last.
    identity: FileIdentity,
    offset: u64,
    /// The beginning of an entry whose end is not written yet.
    pending: Vec<u8>,
    /// In an entry that is too long, until its end.
    skipping: bool,
}

impl Tail {
    pub(crate) fn new(place: Place, metrics: Arc<Metrics>) -> Self {
        let Place { file, identity, offset } = place;
        let file = OpenFile::new(file, metrics);
        Self { file, identity, offset, pending: Vec::new(), skipping: false }
    }

    pub(crate) fn key(&self) -> Key {
        (self.identity.dev, self.identity.ino)
    }

    /// Where to go on with the first entry that was not read.
    pub(crate) fn left_off(&self) -> (FileIdentity, u64) {
        (self.identity, self.offset - self.pending.len() as u64)
    }

    /// The same as a position.
    pub(crate) fn here(&self) -> Position {
        let (_, offset) = self.left_off();
        self.position(offset)
    }

    /// Reads one chunk; whether there may be more. An end of file is found as an empty chunk only.
    pub(crate) fn read(
        &mut self,
        chunk: &mut [u8],
        buffer: &mut Buffer,
        found: &mut Vec<Found>,
    ) -> io::Result<bool> {
        let read = self.file.file.read_at(chunk, self.offset)?;
        if read == 0 {
            return self.emptied(buffer);
        }
        if identity::may_grow(&self.identity) {
            self.identity = identity_of(&self.file.file)?;
        }
        let mut rest = chunk.get(..read).unwrap_or_default();
        while let Some((entry, behind)) = memchr(b'\n', rest).and_then(|end| rest.split_at_checked(end + 1)) {
            self.offset += entry.len() as u64;
            self.entry(entry, buffer, found);
            rest = behind;
        }
        self.offset += rest.len() as u64;
        self.pending.extend_from_slice(rest);
        if self.pending.len() > ENTRY_BYTES_MAX {
            self.pending.clear();
            self.skipping = true;
        }
        Ok(true)
    }

    /// Begins again if somebody has cut the file down below our place (`truncate`, `copytruncate`).
    fn emptied(&mut self, buffer: &mut Buffer) -> io::Result<bool> {
        let emptied = self.file.file.metadata()?.len() < self.offset;
        if emptied {
            self.offset = 0;
            self.pending.clear();
            self.skipping = false;
            self.identity = identity_of(&self.file.file)?;
            buffer.clear();
        }
        Ok(emptied)
    }

    /// One entry, its newline included; `offset` is just behind it.
    fn entry(&mut self, end: &[u8], buffer: &mut Buffer, found: &mut Vec<Found>) {
        let mut entry = std::mem::take(&mut self.pending);
        entry.extend_from_slice(end);
        let length = entry.len() as u64;
        let body = entry.strip_suffix(b"\n").unwrap_or(&entry);
        let mut text = Vec::new();
        let head =
            if std::mem::take(&mut self.skipping) { None } else { json_line::decode(body, &mut text).ok() };
        let after = self.position(self.offset);
        let Some(head) = head else { return found.push(Found::Corrupt(buffer.safe(&after))) };
        let fragment = Fragment {
            stream: head.stream,
            time_ns: head.time_ns,
            text: &text,
            before: self.position(self.offset.saturating_sub(length)),
            after,
        };
        found.extend(buffer.push(fragment).map(Found::Line));
    }

    fn position(&self, offset: u64) -> Position {
        Position::File { identity: self.identity, offset, tail_hash: None, ahead: None, time_ns: None }
    }
}
