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
//! | other bytes stand before the offset | somebody emptied it in place: go on in his copy, or begin again |
//!
//! A turn may be interrupted wherever it waits: what it has not handed on it reads again.

use std::io;
use std::sync::Arc;

use memchr::memchr;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::credit::Credit;
use crate::metrics::Metrics;
use crate::metrics::labels::SkipReason;
use crate::record::block::Block;
use crate::record::{Container, FileIdentity, Stream};
use crate::source::hybrid::files::{Folder, Form};
use crate::source::hybrid::identity;
use crate::source::hybrid::json_line::{self, Head};
use crate::source::hybrid::open::{Open, Read};
use crate::source::hybrid::rest;
use crate::source::join::{Fragment, Joiner};
use crate::source::position::Begin;
use crate::source::{Closed, LINE_BYTES_MAX, Outlet};

pub(super) mod held;
mod next;

/// What all tails share.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) folder: Folder,
    pub(super) outlet: Outlet,
    pub(super) metrics: Arc<Metrics>,
    pub(super) text: Vec<u8>,
    /// Places for archives: each one that is open takes memory.
    pub(super) archives: Arc<Semaphore>,
    /// When the shipper began, in nanoseconds since the epoch.
    pub(super) started_ns: i64,
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// There may be more at once.
    More,
    /// Nothing until something happens.
    Idle,
    /// An archive is to be read, and as many as may be are open.
    NoPlace,
}

/// About how much text is handed on at one go.
const BLOCK_TEXT_BYTES: usize = 48 << 10;
/// … with the line that goes beyond that: Docker's are at most 16 KiB.
const BLOCK_ROOM_BYTES: usize = BLOCK_TEXT_BYTES + (16 << 10);

/// One container's log.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) container: Arc<Container>,
    pub(super) credit: Credit,
    pub(super) life: Life,
    /// Whether it stands in the queue for a turn.
    pub(super) queued: bool,
    /// Where the next file is opened.
    begin: Begin,
    /// Generations that were read, oldest first.
    passed: Vec<FileIdentity>,
    open: Option<Open>,
    joiner: Joiner,
    /// Something was passed over, and nobody was told how far that is.
    untold: bool,
    /// Lines older than this are passed over.
    since_ns: Option<i64>,
    /// The time of the last line that was dealt with.
    time_ns: Option<i64>,
    /// Its log could not be read, and that was said.
    complained: bool,
    /// Since when there is no log though the container runs.
    missing_since: Option<Instant>,
}

/// What Docker says of the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Running,
    Stopped,
    Removed,
}

/// Why a turn ends early.
#[derive(Debug, thiserror::Error)]
enum Halt {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Closed(#[from] Closed),
}

impl Tail {
    pub(super) fn new(container: Arc<Container>, credit: Credit, begin: Begin) -> Self {
        Self {
            container,
            credit,
            life: Life::Running,
            queued: false,
            begin,
            passed: Vec::new(),
            open: None,
            joiner: Joiner::new(LINE_BYTES_MAX),
            untold: false,
            since_ns: None,
            time_ns: None,
            complained: false,
            missing_since: None,
        }
    }

    /// One bounded piece of work: at most `page` is read.
    pub(super) async fn turn(&mut self, desk: &mut Desk, page: &mut [u8]) -> Result<Turn, Closed> {
        match self.try_turn(desk, page).await {
            Ok(turn) => Ok(turn),
            Err(Halt::Closed(closed)) => Err(closed),
            Err(Halt::Io(error)) => {
                if !std::mem::replace(&mut self.complained, true) {
                    tracing::warn!(container = %self.container.id, %error, "its log can't be read");
                }
                self.close();
                Ok(Turn::Idle)
            }
        }
    }

    async fn try_turn(&mut self, desk: &mut Desk, page: &mut [u8]) -> Result<Turn, Halt> {
        if self.open.is_none()
            && let Some(turn) = self.open_first(desk)?
        {
            return Ok(turn);
        }
        self.tell(desk).await?;
        let Some(open) = &mut self.open else { return Ok(Turn::Idle) };
        let (lead, end) = match open.read(page)? {
            Read::Bytes { lead, end } => (lead, end),
            Read::OnItsWay => return Ok(Turn::More),
            Read::Replaced => return self.replaced(desk).map_err(Halt::Io),
        };
        let is_full = end == page.len();
        let page = page.get(..end).unwrap_or_default();
        let used = self.read_page(desk, lead, page).await?;
        match used {
            0 if is_full => Ok(self.skip_overlong(desk, lead, page)),
            0 => self.at_end(desk, end - lead).await,
            _ => Ok(Turn::More),
        }
    }

    /// Hands on the whole lines of a page, behind its `lead`, or as many as there is credit for; returns how
    /// many bytes they were.
    async fn read_page(&mut self, desk: &mut Desk, lead: usize, page: &[u8]) -> Result<usize, Closed> {
        let mut at = lead;
        while memchr(b'\n', page.get(at..).unwrap_or_default()).is_some() {
            let Desk { outlet, text, .. } = &mut *desk;
            let room = outlet.room(outlet.lines_max()).await?;
            // From here on nothing waits, so all of it happens or nothing.
            let Some(open) = &self.open else { break };
            let text_bytes = BLOCK_ROOM_BYTES.min(page.len() - at);
            let mut block = Block::new(self.container.clone(), open.identity, text_bytes);
            at = self.fill((outlet, text), &mut block, (page, at), room.lines());
            outlet.fill(room, block, &self.credit);
            if !self.credit.is_left() {
                break;
            }
        }
        self.tell(desk).await?;
        Ok(at - lead)
    }

    /// Reads lines of a page from `at` on until the block is full; returns how far it has come.
    fn fill(
        &mut self,
        (outlet, text): (&Outlet, &mut Vec<u8>),
        block: &mut Block,
        (page, mut at): (&[u8], usize),
        lines_max: usize,
    ) -> usize {
        let bytes_max = self.credit.left_bytes().min(BLOCK_TEXT_BYTES);
        while block.len() < lines_max
            && block.text_bytes() < bytes_max
            && let Some(rest) = page.get(at..)
            && let Some(length) = memchr(b'\n', rest)
            && let Some(line) = rest.get(..=length)
        {
            at += line.len();
            let tail_hash = identity::tail_hash(page.get(..at).unwrap_or_default());
            self.read_line((outlet, text), block, line, tail_hash);
        }
        at
    }

    /// Takes one line, or passes it over.
    fn read_line(
        &mut self,
        (outlet, text): (&Outlet, &mut Vec<u8>),
        block: &mut Block,
        line: &[u8],
        tail_hash: u64,
    ) {
        let json = line.strip_suffix(b"\n").unwrap_or(line);
        if self.pass_old(outlet, json, line.len(), tail_hash) {
            return;
        }
        let decoded = json_line::decode(json, text).ok();
        if let Some(head) = decoded
            && self.take_whole(text, block, head, (line.len(), tail_hash))
        {
            return;
        }
        let Some(open) = &mut self.open else { return };
        let was_handed_on = decoded.is_some_and(|head| open.is_ahead(head.stream));
        let is_wanted = |head: Head| self.since_ns.is_none_or(|since| head.time_ns >= since);
        let is_wanted = decoded.is_some_and(is_wanted) && !was_handed_on;
        let before = open.position(self.time_ns);
        open.pass(line.len(), tail_hash);
        self.time_ns = decoded.map(|head| head.time_ns).or(self.time_ns);
        let after = open.position(self.time_ns);
        let counted = std::mem::take(&mut open.overlong);
        if !counted && decoded.is_none_or(|head| head.torn) {
            outlet.corrupt(&self.container);
        }
        self.untold |= !is_wanted;
        let Some(Head { stream, time_ns, .. }) = decoded.filter(|_| !was_handed_on) else { return };
        let line = self.joiner.push(Fragment { stream, time_ns, text, before, after });
        match line {
            Some(mut line) if is_wanted => {
                if self.container.tty && line.text.ends_with('\r') {
                    line.text.pop();
                }
                outlet.add(block, &line);
                self.untold = false;
            }
            Some(_) => outlet.skipped(SkipReason::BeforeStart, 1),
            None => {}
        }
    }

    /// The common case: a whole line while none is open and nothing special is known of the file. Comes to what
    /// [`Joiner`] would make of it; says whether it was taken.
    fn take_whole(
        &mut self,
        text: &[u8],
        block: &mut Block,
        head: Head,
        (bytes, tail_hash): (usize, u64),
    ) -> bool {
        let Some(open) = &mut self.open else { return false };
        let is_plain = !head.torn && !open.overlong && open.ahead.is_none() && self.since_ns.is_none();
        let text = text.strip_suffix(b"\n").filter(|text| text.len() <= LINE_BYTES_MAX);
        let Some(text) = text.and_then(|text| str::from_utf8(text).ok()) else { return false };
        if !is_plain || !self.joiner.is_clear() {
            return false;
        }
        let text = if self.container.tty { text.strip_suffix('\r').unwrap_or(text) } else { text };
        open.pass(bytes, tail_hash);
        self.time_ns = Some(head.time_ns);
        block.push_of_file(head.stream, head.time_ns, text, (open.offset, tail_hash));
        self.untold = false;
        true
    }

    /// Passes over a line that is older than the start without decoding its text.
    fn pass_old(&mut self, outlet: &Outlet, json: &[u8], bytes: usize, tail_hash: u64) -> bool {
        let (Some(since_ns), Some(open)) = (self.since_ns, &mut self.open) else { return false };
        let old = json_line::tail(json).filter(|tail| tail.time_ns < since_ns);
        let Some(old) = old.filter(|_| !open.overlong && self.joiner.resume_before().is_none()) else {
            return false;
        };
        open.pass(bytes, tail_hash);
        self.time_ns = Some(old.time_ns);
        self.untold = true;
        if old.ends {
            outlet.skipped(SkipReason::BeforeStart, 1);
        }
        true
    }

    /// Says how far is passed over.
    async fn tell(&mut self, desk: &Desk) -> Result<(), Closed> {
        if let Some(open) = &self.open
            && self.untold
        {
            let position = self.joiner.safe(&open.position(self.time_ns));
            desk.outlet.passed(&self.container, position).await?;
            self.untold = false;
        }
        Ok(())
    }

    /// A page without a newline: no line that Docker writes is that long. But an entry may begin in it,
    /// behind zeros that a power cut left.
    fn skip_overlong(&mut self, desk: &Desk, lead: usize, page: &[u8]) -> Turn {
        let Some(open) = &mut self.open else { return Turn::Idle };
        let waste = page.get(lead..).map_or(0, json_line::before_last_entry);
        open.pass(waste, identity::tail_hash(page.get(..lead + waste).unwrap_or_default()));
        if !std::mem::replace(&mut open.overlong, true) {
            desk.outlet.corrupt(&self.container);
        }
        Turn::More
    }

    async fn at_end(&mut self, desk: &mut Desk, torn: usize) -> Result<Turn, Halt> {
        let Some(open) = &mut self.open else { return Ok(Turn::Idle) };
        open.torn = torn;
        if open.is_archive() {
            return self.succeed(desk).await;
        }
        let path = desk.folder.look(&self.container.id, 0, Form::Plain);
        if path.is_some_and(|seen| seen.inode == open.inode()) {
            open.moved = false;
            self.since_ns = None;
            if self.life != Life::Running {
                self.flush(desk).await?;
                self.close();
            }
            return Ok(Turn::Idle);
        }
        if !std::mem::replace(&mut open.moved, true) {
            return Ok(Turn::More);
        }
        self.succeed(desk).await
    }

    /// The container has stopped or its log is deleted: the rest of an open line never comes.
    async fn flush(&mut self, desk: &Desk) -> Result<(), Closed> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if self.joiner.is_open(stream) {
                let room = desk.outlet.room(1).await?;
                let mut block = Block::of_api(self.container.clone());
                if let Some(line) = self.joiner.finish(stream) {
                    desk.outlet.add(&mut block, &line);
                }
                desk.outlet.fill(room, block, &self.credit);
            }
        }
        Ok(())
    }

    /// Gives the file back, to go on there another time.
    pub(super) fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.begin = Begin::At(open.position(self.time_ns));
        }
    }

    /// Whether it holds an archive that it may not read on, and that can be opened again.
    pub(super) fn has_idle_archive(&self) -> bool {
        !self.credit.is_left()
            && self.open.as_ref().is_some_and(|open| open.is_archive() && matches!(open.deleted(), Ok(None)))
    }

    /// Whether changes must not wait: its log is small, or Docker is about to make it.
    pub(super) fn is_urgent(&self) -> bool {
        let is_awaited = self.open.is_none() && !self.complained;
        self.life == Life::Running && (is_awaited || rest::is_small(&self.container))
    }

    /// Whether it waits for its container to start again, with nothing open.
    pub(super) fn is_parked(&self) -> bool {
        self.life == Life::Stopped && self.open.is_none()
    }
}
