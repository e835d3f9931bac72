//! Reads one container's log through all of its generations.
//!
//! What is read stands in the file, not in memory: a tail keeps an offset, and a line that is not whole
//! yet is read again with its rest. The file at hand is read to its end before the next one is opened,
//! whatever became of its name in the meantime:
//!
//! | at the end of what there is | and then |
//! | --- | --- |
//! | its path still leads to it | wait; close it if the container has stopped |
//! | its path leads elsewhere, or nowhere | read once more, since Docker may have written before it renamed |
//! | … and there was nothing more | go on with the next newer generation |
//! | … and there is none, but it lies in the chain | wait: Docker is between rename and create |
//! | … and it is deleted | close it, for an open deleted file holds its disk space |
//! | it shrank, or its head changed | somebody emptied it in place: begin again |

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

use memchr::memchr;

use crate::metrics::Metrics;
use crate::metrics::labels::SkipReason;
use crate::record::{Container, FileIdentity, Position, Stream};
use crate::source::hybrid::files::{Folder, Seen};
use crate::source::hybrid::identity;
use crate::source::hybrid::json_line::{self, Head};
use crate::source::join::{Fragment, Joiner};
use crate::source::position::Begin;
use crate::source::{Closed, LINE_BYTES_MAX, Outlet};

/// What all tails share.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) folder: Folder,
    pub(super) outlet: Outlet,
    pub(super) metrics: Arc<Metrics>,
    /// How much one turn reads of one container; its length is also the longest line that is decoded.
    pub(super) page: Vec<u8>,
    pub(super) text: Vec<u8>,
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// There may be more at once.
    More,
    /// Nothing until something happens.
    Idle,
}

/// One container's log.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) container: Arc<Container>,
    pub(super) life: Life,
    /// Whether it stands in the queue for a turn.
    pub(super) queued: bool,
    /// Where the next file is opened.
    begin: Begin,
    /// Generations last written before this were read already.
    newer_than: Option<(i64, u64)>,
    open: Option<Open>,
    joiner: Joiner,
    /// Lines older than this are passed over.
    since_ns: Option<i64>,
    /// Its log could not be read, and that was said.
    complained: bool,
}

/// What Docker says of the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Running,
    Stopped,
    Removed,
}

#[derive(Debug)]
struct Open {
    file: File,
    identity: FileIdentity,
    /// Everything before is handed on or passed over.
    offset: u64,
    /// The line at `offset` is too long to be one: nothing counts until its newline.
    overlong: bool,
    /// Its path leads elsewhere, and it was seen to before the last read.
    moved: bool,
}

impl Open {
    fn new(file: File, offset: u64, metrics: &Metrics) -> io::Result<Self> {
        let identity = identity::of(&file)?;
        metrics.open_files.inc();
        Ok(Self { file, identity, offset, overlong: false, moved: false })
    }

    fn position(&self) -> Position {
        Position::File { identity: self.identity, offset: self.offset }
    }
}

impl Tail {
    pub(super) fn new(container: Arc<Container>, begin: Begin) -> Self {
        Self {
            container,
            life: Life::Running,
            queued: false,
            begin,
            newer_than: None,
            open: None,
            joiner: Joiner::new(LINE_BYTES_MAX),
            since_ns: None,
            complained: false,
        }
    }

    /// One bounded piece of work.
    pub(super) async fn turn(&mut self, desk: &mut Desk) -> Result<Turn, Closed> {
        match self.try_turn(desk).await {
            Ok(turn) => turn,
            Err(error) => {
                if !std::mem::replace(&mut self.complained, true) {
                    tracing::warn!(container = %self.container.id, %error, "its log can't be read");
                }
                self.close(desk);
                Ok(Turn::Idle)
            }
        }
    }

    async fn try_turn(&mut self, desk: &mut Desk) -> io::Result<Result<Turn, Closed>> {
        if self.open.is_none() && !self.open_first(desk)? {
            return Ok(Ok(Turn::Idle));
        }
        let Some(open) = &mut self.open else { return Ok(Ok(Turn::Idle)) };
        if matches!(self.begin, Begin::End) {
            self.begin = Begin::Beginning;
            let position = open.position();
            return Ok(desk.outlet.passed(&self.container, position).await.map(|()| Turn::More));
        }
        refresh_identity(open, &mut self.joiner, &desk.metrics)?;
        let mut page = std::mem::take(&mut desk.page);
        let read = open.file.read_at(&mut page, open.offset);
        let outcome = match read {
            Ok(bytes) => {
                let handed_on = self.read_page(desk, page.get(..bytes).unwrap_or_default()).await;
                Ok((bytes == page.len(), handed_on))
            }
            Err(error) => Err(error),
        };
        desk.page = page;
        match outcome? {
            (true, Ok(0)) => Ok(Ok(self.skip_overlong(desk))),
            (false, Ok(0)) => self.at_end(desk).await,
            (_, Ok(_)) => Ok(Ok(Turn::More)),
            (_, Err(closed)) => Ok(Err(closed)),
        }
    }

    /// Hands on the whole lines of a page; returns how many bytes they were.
    async fn read_page(&mut self, desk: &mut Desk, page: &[u8]) -> Result<usize, Closed> {
        let mut rest = page;
        let mut passed_over = false;
        while let Some(end) = memchr(b'\n', rest) {
            let (line, next) = rest.split_at_checked(end + 1).unwrap_or((rest, &[]));
            rest = next;
            passed_over = self.read_line(desk, line).await?;
        }
        if passed_over && let Some(open) = &self.open {
            let position = self.joiner.resume_before().cloned().unwrap_or_else(|| open.position());
            desk.outlet.passed(&self.container, position).await?;
        }
        Ok(page.len() - rest.len())
    }

    /// Hands on one line, or passes it over and says so.
    async fn read_line(&mut self, desk: &mut Desk, line: &[u8]) -> Result<bool, Closed> {
        let Some(open) = &mut self.open else { return Ok(false) };
        let before = open.position();
        open.offset += line.len() as u64;
        let after = open.position();
        let json = line.strip_suffix(b"\n").unwrap_or(line);
        let decoded = if std::mem::take(&mut open.overlong) {
            None // counted when it was found too long
        } else {
            let head = json_line::decode(json, &mut desk.text).ok();
            if head.is_none_or(|head| head.torn) {
                desk.outlet.skipped(SkipReason::Corrupt, 1);
            }
            head
        };
        let Some(Head { stream, time_ns, .. }) = decoded else { return Ok(true) };
        let line = self.joiner.push(Fragment { stream, time_ns, text: &desk.text, before, after });
        let Some(mut line) = line else { return Ok(false) };
        if self.since_ns.is_some_and(|since| line.time_ns < since) {
            desk.outlet.skipped(SkipReason::BeforeStart, 1);
            return Ok(true);
        }
        if self.container.tty && line.text.ends_with('\r') {
            line.text.pop();
        }
        desk.outlet.line(&self.container, line).await.map(|()| false)
    }

    /// A page without a newline: no line that Docker writes is that long.
    fn skip_overlong(&mut self, desk: &Desk) -> Turn {
        if let Some(open) = &mut self.open {
            open.offset += desk.page.len() as u64;
            if !std::mem::replace(&mut open.overlong, true) {
                desk.outlet.skipped(SkipReason::Corrupt, 1);
            }
        }
        Turn::More
    }

    async fn at_end(&mut self, desk: &mut Desk) -> io::Result<Result<Turn, Closed>> {
        let Some(open) = &mut self.open else { return Ok(Ok(Turn::Idle)) };
        let ours = (open.identity.dev, open.identity.ino);
        let path_is_ours =
            desk.folder.look(&self.container.id, 0).is_some_and(|seen| (seen.dev, seen.ino) == ours);
        if path_is_ours {
            open.moved = false;
            self.since_ns = None;
            if self.life == Life::Running {
                return Ok(Ok(Turn::Idle));
            }
            let flushed = self.flush(desk).await;
            self.close(desk);
            return Ok(flushed.map(|()| Turn::Idle));
        }
        if !std::mem::replace(&mut open.moved, true) {
            return Ok(Ok(Turn::More));
        }
        self.succeed(desk).await
    }

    /// The file at hand is read to its end for good: on to the next.
    async fn succeed(&mut self, desk: &mut Desk) -> io::Result<Result<Turn, Closed>> {
        let Some(open) = &self.open else { return Ok(Ok(Turn::Idle)) };
        let metadata = open.file.metadata()?;
        let ours = (open.identity.dev, open.identity.ino);
        let modified = (metadata.mtime(), u64::try_from(metadata.mtime_nsec()).unwrap_or(0));
        let torn = metadata.size() > open.offset;
        let chain = desk.folder.chain(&self.container.id);
        let next = successor(&chain, ours, modified);
        let deleted = metadata.nlink() == 0;
        if next.is_none() && !deleted && self.life == Life::Running {
            return Ok(Ok(Turn::Idle)); // Docker is between rename and create
        }
        if torn {
            desk.outlet.skipped(SkipReason::Corrupt, 1);
        }
        let file = match next {
            Some(seen) => open_seen(desk, &self.container, seen)?,
            None => None,
        };
        if next.is_some() && file.is_none() {
            return Ok(Ok(Turn::More)); // rotated again between look and open: look again
        }
        self.close(desk);
        if deleted || file.is_some() {
            self.begin = Begin::Beginning;
            self.newer_than = Some(modified);
        }
        if let Some(file) = file {
            self.open = Some(Open::new(file, 0, &desk.metrics)?);
            return Ok(Ok(Turn::More));
        }
        Ok(self.flush(desk).await.map(|()| Turn::Idle))
    }

    /// The container has stopped or its log is deleted: the rest of an open line never comes.
    async fn flush(&mut self, desk: &Desk) -> Result<(), Closed> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if let Some(line) = self.joiner.finish(stream) {
                desk.outlet.line(&self.container, line).await?;
            }
        }
        Ok(())
    }

    /// Gives the file back.
    pub(super) fn close(&mut self, desk: &Desk) {
        if let Some(open) = self.open.take() {
            self.begin = Begin::At(open.position());
            desk.metrics.open_files.dec();
        }
    }

    /// Whether it waits for its container to start again, with nothing open.
    pub(super) fn is_parked(&self) -> bool {
        self.life == Life::Stopped && self.open.is_none()
    }

    fn open_first(&mut self, desk: &Desk) -> io::Result<bool> {
        let id = &self.container.id;
        let found = match &self.begin {
            Begin::At(position) => resume(desk, &self.container, position)?,
            Begin::End => {
                let file = desk.folder.log(id, 0)?;
                file.map(|file| Ok::<_, io::Error>((file.metadata()?.size(), file))).transpose()?
            }
            Begin::Since(since_ns) => {
                self.since_ns = Some(*since_ns);
                let since =
                    (since_ns.div_euclid(1_000_000_000), since_ns.rem_euclid(1_000_000_000).unsigned_abs());
                open_oldest(desk, &self.container, Some(since))?.map(|file| (0, file))
            }
            Begin::Beginning => open_oldest(desk, &self.container, self.newer_than)?.map(|file| (0, file)),
        };
        let at_end = self.begin == Begin::End;
        match found {
            Some((offset, file)) => self.open = Some(Open::new(file, offset, &desk.metrics)?),
            // What appears later is new, all of it.
            None if at_end => self.begin = Begin::Beginning,
            None => {}
        }
        if self.open.is_some() && !at_end {
            self.begin = Begin::Beginning;
        }
        Ok(self.open.is_some())
    }
}

/// Sees whether the file is still what it was, and lets its fingerprint grow with it.
fn refresh_identity(open: &mut Open, joiner: &mut Joiner, metrics: &Metrics) -> io::Result<()> {
    let emptied = open.file.metadata()?.size() < open.offset || !identity::is(&open.file, &open.identity)?;
    if emptied {
        metrics.file_truncations.inc();
        joiner.clear();
        open.offset = 0;
        open.overlong = false;
    }
    if emptied || identity::may_grow(&open.identity) {
        open.identity = identity::of(&open.file)?;
    }
    Ok(())
}

/// The generation that follows ours in a chain (oldest first). If ours is in it, its neighbour; if ours
/// was deleted, the oldest that was written to after ours.
fn successor(chain: &[Seen], ours: (u64, u64), modified: (i64, u64)) -> Option<Seen> {
    match chain.iter().position(|seen| (seen.dev, seen.ino) == ours) {
        Some(at) => chain.get(at + 1).copied(),
        None => chain.iter().find(|seen| seen.modified >= modified).copied(),
    }
}

/// Opens a generation, if it still is the file that was seen: rotation may have moved it.
fn open_seen(desk: &Desk, container: &Container, seen: Seen) -> io::Result<Option<File>> {
    let Some(file) = desk.folder.log(&container.id, seen.generation)? else { return Ok(None) };
    let metadata = file.metadata()?;
    Ok(((metadata.dev(), metadata.ino()) == (seen.dev, seen.ino)).then_some(file))
}

/// Opens the oldest generation that was written to at or after `since`.
fn open_oldest(desk: &Desk, container: &Container, since: Option<(i64, u64)>) -> io::Result<Option<File>> {
    let chain = desk.folder.chain(&container.id);
    match chain.iter().find(|seen| since.is_none_or(|since| seen.modified >= since)) {
        Some(seen) => open_seen(desk, container, *seen),
        None => Ok(None),
    }
}

/// Finds the file of a checkpoint, wherever rotation has put it. If it is nowhere, what follows it is
/// read from its beginning, and the loss is counted.
fn resume(desk: &Desk, container: &Container, position: &Position) -> io::Result<Option<(u64, File)>> {
    if let Position::File { identity: known, offset } = position {
        let chain = desk.folder.chain(&container.id);
        for seen in chain.iter().filter(|seen| (seen.dev, seen.ino) == (known.dev, known.ino)) {
            let Some(file) = open_seen(desk, container, *seen)? else { continue };
            if identity::is(&file, known)? {
                return Ok(Some((*offset, file)));
            }
            // The same inode with another head: emptied in place, or used again. It is the newest.
            desk.metrics.resume_lost.inc();
            return Ok(Some((0, file)));
        }
    }
    let oldest = open_oldest(desk, container, None)?;
    if oldest.is_some() {
        desk.metrics.resume_lost.inc();
    }
    Ok(oldest.map(|file| (0, file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(generation: u32, ino: u64, modified: i64) -> Seen {
        Seen { generation, dev: 1, ino, modified: (modified, 0) }
    }

    #[test]
    fn the_next_newer_generation_follows_however_often_it_was_rotated() {
        let chain = [seen(2, 10, 1), seen(1, 11, 2), seen(0, 12, 3)];
        assert_eq!(successor(&chain, (1, 10), (1, 0)), Some(chain[1]));
        assert_eq!(successor(&chain, (1, 11), (2, 0)), Some(chain[2]));
        assert_eq!(successor(&chain, (1, 12), (3, 0)), None);
    }

    #[test]
    fn behind_a_deleted_file_comes_the_oldest_that_was_written_after_it() {
        let chain = [seen(1, 11, 2), seen(0, 12, 5)];
        assert_eq!(successor(&chain, (1, 9), (3, 0)), Some(chain[1]));
        assert_eq!(successor(&chain, (1, 9), (1, 0)), Some(chain[0]));
        assert_eq!(successor(&chain, (1, 9), (6, 0)), None);
    }
}
