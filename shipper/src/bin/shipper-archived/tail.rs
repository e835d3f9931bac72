//! One open log file, and the lines in it.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use memchr::memchr;
use shipper::metrics::Metrics;
use shipper::record::{FileIdentity, Position};
use shipper::source::LINE_BYTES_MAX;
use shipper::source::hybrid::json_line;
use shipper::source::join::{Fragment, Joiner, Line};

use crate::start::Key;

/// Docker cuts lines at 16 KiB, which JSON makes six times as long at most.
const ENTRY_BYTES_MAX: usize = 256 * 1024;

/// A file that counts in `shipper_open_files` until it is dropped, which closes it.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) file: File,
    pub(crate) key: Key,
    metrics: Arc<Metrics>,
}

impl OpenFile {
    /// Opens it; the second value is its size.
    pub(crate) fn open(path: &Path, metrics: Arc<Metrics>) -> io::Result<(Self, u64)> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        metrics.open_files.inc();
        Ok((Self { file, key: (metadata.dev(), metadata.ino()), metrics }, metadata.len()))
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
    /// A line that holds no entry.
    Corrupt,
}

/// A file that is read, chunk by chunk.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) file: OpenFile,
    offset: u64,
    /// The beginning of an entry whose end is not written yet.
    pending: Vec<u8>,
    /// In an entry that is too long, until its end.
    skipping: bool,
    joiner: Joiner,
}

impl Tail {
    pub(crate) fn new(file: OpenFile, offset: u64) -> Self {
        let joiner = Joiner::new(LINE_BYTES_MAX);
        Self { file, offset, pending: Vec::new(), skipping: false, joiner }
    }

    /// Where to go on with the first line that was not handed out.
    pub(crate) fn left_off(&self) -> (Key, u64) {
        (self.file.key, self.offset - self.pending.len() as u64)
    }

    /// Reads one chunk; whether there may be more. An end of file is found as an empty chunk only.
    pub(crate) fn read(&mut self, chunk: &mut [u8], found: &mut Vec<Found>) -> io::Result<bool> {
        let read = self.file.file.read_at(chunk, self.offset)?;
        if read == 0 {
            return self.emptied();
        }
        let mut rest = chunk.get(..read).unwrap_or_default();
        while let Some((entry, behind)) = memchr(b'\n', rest).and_then(|end| rest.split_at_checked(end + 1)) {
            self.offset += entry.len() as u64;
            self.entry(entry, found);
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

    /// Lines whose last fragment never came.
    pub(crate) fn finish(&mut self, found: &mut Vec<Found>) {
        use shipper::record::Stream;
        let open =
            [Stream::Stdout, Stream::Stderr].into_iter().filter_map(|stream| self.joiner.finish(stream));
        found.extend(open.map(Found::Line));
    }

    /// Begins again if somebody has cut the file down below our place (`truncate`, `copytruncate`).
    fn emptied(&mut self) -> io::Result<bool> {
        let emptied = self.file.file.metadata()?.len() < self.offset;
        if emptied {
            self.offset = 0;
            self.pending.clear();
            self.skipping = false;
            self.joiner.clear();
        }
        Ok(emptied)
    }

    /// One entry, its newline included; `offset` is just behind it.
    fn entry(&mut self, end: &[u8], found: &mut Vec<Found>) {
        let mut entry = std::mem::take(&mut self.pending);
        entry.extend_from_slice(end);
        let length = entry.len() as u64;
        let body = entry.strip_suffix(b"\n").unwrap_or(&entry);
        let mut text = Vec::new();
        let head =
            if std::mem::take(&mut self.skipping) { None } else { json_line::decode(body, &mut text).ok() };
        let Some(head) = head else { return found.push(Found::Corrupt) };
        let fragment = Fragment {
            stream: head.stream,
            time_ns: head.time_ns,
            text: &text,
            before: self.position(self.offset.saturating_sub(length)),
            after: self.position(self.offset),
        };
        found.extend(self.joiner.push(fragment).map(Found::Line));
    }

    /// Kept in memory only, for this very inode: no fingerprint is needed.
    fn position(&self, offset: u64) -> Position {
        let (dev, ino) = self.file.key;
        let identity = FileIdentity { dev, ino, head_len: 0, head_hash: 0 };
        Position::File { identity, offset, tail_hash: None, ahead: None, time_ns: None }
    }
}
