//! The generation at hand, and how far it is read.

use std::io;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::metrics::Metrics;
use crate::record::{Ahead, FileIdentity, Position, Stream};
use crate::source::hybrid::chain::{Found, Place};
use crate::source::hybrid::content::Content;
use crate::source::hybrid::identity;

/// An open generation; it counts as an open file until it is dropped.
#[derive(Debug)]
pub(super) struct Open {
    content: Content,
    pub(super) identity: FileIdentity,
    /// Everything before is handed on or passed over.
    pub(super) offset: u64,
    /// The hash of what stands before the offset.
    tail_hash: Option<u64>,
    /// Lines behind the offset that were handed on before a restart.
    pub(super) ahead: Option<Ahead>,
    /// The line at `offset` is too long to be one: nothing counts until its newline.
    pub(super) overlong: bool,
    /// Its path leads elsewhere, and it was seen to before the last read.
    pub(super) moved: bool,
    /// Since when it is known to be deleted.
    pub(super) deleted_since: Option<Instant>,
    /// How much stands behind the offset that is no whole line.
    pub(super) torn: usize,
    _archive: Option<OwnedSemaphorePermit>,
    metrics: Arc<Metrics>,
}

/// What a read came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// So many bytes, of which the first `lead` stand before the offset.
    Bytes { lead: usize, end: usize },
    /// An archive that is not there yet: ask again.
    OnItsWay,
    /// What stood before the offset is not there any more.
    Replaced,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.metrics.open_files.dec();
    }
}

impl Open {
    pub(super) fn new(found: Found, archive: Option<OwnedSemaphorePermit>, metrics: &Arc<Metrics>) -> Self {
        metrics.open_files.inc();
        Self {
            content: found.content,
            identity: found.identity,
            offset: found.offset,
            tail_hash: found.tail_hash,
            ahead: found.ahead,
            overlong: false,
            moved: false,
            deleted_since: None,
            torn: 0,
            _archive: archive,
            metrics: Arc::clone(metrics),
        }
    }

    pub(super) fn inode(&self) -> (u64, u64) {
        (self.identity.dev, self.identity.ino)
    }

    pub(super) fn is_archive(&self) -> bool {
        matches!(self.content, Content::Archive { .. })
    }

    pub(super) fn place(&self) -> Place {
        let Self { identity, offset, tail_hash, ahead, .. } = *self;
        Place { identity, offset, tail_hash, ahead }
    }

    /// The place at its offset; the line before that bears this time.
    pub(super) fn position(&self, time_ns: Option<i64>) -> Position {
        let Self { identity, offset, tail_hash, ahead, .. } = *self;
        Position::File { identity, offset, tail_hash, ahead, time_ns }
    }

    /// Whether the line at the offset was handed on before a restart.
    pub(super) fn is_ahead(&self, stream: Stream) -> bool {
        self.ahead.is_some_and(|ahead| ahead.stream == stream && self.is_before(&ahead))
    }

    /// The next `bytes` are dealt with; `tail_hash` is of what stands before the new offset.
    pub(super) fn pass(&mut self, bytes: usize, tail_hash: u64) {
        self.offset += bytes as u64;
        self.tail_hash = Some(tail_hash);
        self.ahead = self.ahead.filter(|ahead| self.is_before(ahead));
    }

    fn is_before(&self, ahead: &Ahead) -> bool {
        ahead.file.is_some() || self.offset < ahead.until
    }

    /// Fills `page` with what stands around the offset, and sees whether it is still what it was.
    pub(super) fn read(&mut self, page: &mut [u8]) -> io::Result<Read> {
        let lead = identity::tail_len(self.offset);
        let Some(end) = self.content.read_at(page, self.offset - lead as u64)? else {
            return Ok(Read::OnItsWay);
        };
        let Some(before) = page.get(..lead).filter(|_| end >= lead) else { return Ok(Read::Replaced) };
        let tail_hash = identity::tail_hash(before);
        if self.tail_hash.is_some_and(|known| known != tail_hash) {
            return Ok(Read::Replaced);
        }
        self.tail_hash = Some(tail_hash);
        if self.offset == 0 || identity::may_grow(&self.identity) {
            self.identity = self.content.identity()?;
        }
        Ok(Read::Bytes { lead, end })
    }

    /// Begins again: the file was emptied in place.
    pub(super) fn rewind(&mut self) {
        (self.offset, self.tail_hash, self.ahead) = (0, None, None);
        (self.overlong, self.torn) = (false, 0);
    }

    /// Takes over what is known to be ahead in this generation or in later ones.
    pub(super) fn inherit(&mut self, ahead: Ahead) -> io::Result<()> {
        let is_here = match &ahead.file {
            Some(file) => identity::is_same(file, self.inode(), &self.content.head()?),
            None => true,
        };
        self.ahead = Some(if is_here { Ahead { file: None, ..ahead } } else { ahead });
        self.ahead = self.ahead.filter(|ahead| self.is_before(ahead));
        Ok(())
    }

    /// Why an archive ended early, if it did.
    pub(super) fn broken(&self) -> Option<&io::Error> {
        self.content.broken()
    }

    /// Its size on disk if it has no name any more.
    pub(super) fn deleted(&self) -> io::Result<Option<u64>> {
        self.content.deleted()
    }
}
