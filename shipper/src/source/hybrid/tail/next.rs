//! From one generation to the next.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::record::{Ahead, Container, FileIdentity, Position};
use crate::source::hybrid::chain::{self, Found, Place, Search};
use crate::source::hybrid::content::Content;
use crate::source::hybrid::open::Open;
use crate::source::hybrid::tail::{Desk, Halt, Life, Tail, Turn};
use crate::source::position::Begin;

/// How many generations that were read are remembered, for the day when the newest of them is deleted.
const PASSED_MAX: usize = 4;
/// Longer than Docker takes to make the log of a container that starts.
const MISSING_MAX: Duration = Duration::from_secs(4);

impl Tail {
    /// Opens a file if there is one; otherwise says what the turn has come to.
    pub(super) fn open_first(&mut self, desk: &mut Desk) -> io::Result<Option<Turn>> {
        let (folder, id) = (&desk.folder, &self.container.id);
        let search = match &self.begin {
            Begin::At(Position::File { identity, offset, tail_hash, ahead, time_ns }) => {
                let (identity, offset) = (*identity, *offset);
                self.time_ns = *time_ns;
                let place = Place { identity, offset, tail_hash: *tail_hash, ahead: *ahead };
                chain::resume(folder, id, &place)?
            }
            Begin::End => {
                self.time_ns = Some(desk.started_ns);
                chain::end(folder, id)?
            }
            Begin::Since(since_ns) => {
                self.time_ns = Some(*since_ns);
                self.since_ns = Some(*since_ns);
                chain::since(folder, id, *since_ns)?
            }
            Begin::Beginning | Begin::At(Position::Api { .. }) => {
                chain::behind(folder, id, &self.passed, None)?
            }
        };
        let at_end = self.begin == Begin::End;
        match search {
            Search::Moved => return Ok(Some(Turn::More)),
            Search::Nothing => {
                folder.refuse_strangers(id)?;
                self.miss();
                if at_end {
                    self.begin = Begin::Beginning; // what appears later is new, all of it
                }
                return Ok(Some(Turn::Idle));
            }
            Search::Found(found) => {
                let (before, lost) = (found.before, found.lost);
                let ahead = still_ahead(desk, &self.container, found.ahead)?;
                let Some(mut open) = admit(desk, *found) else { return Ok(Some(Turn::NoPlace)) };
                if let Some(ahead) = ahead {
                    open.inherit(ahead)?;
                }
                if lost {
                    desk.metrics.resume_lost.inc();
                    self.joiner.clear();
                }
                self.open = Some(open);
                self.missing_since = None;
                if let Some(before) = before {
                    self.pass(before);
                }
            }
        }
        self.untold |= at_end;
        self.begin = Begin::Beginning;
        Ok(None)
    }

    /// There is no log. Docker makes it when the container starts, so that is so for a moment only.
    fn miss(&mut self) {
        if self.life != Life::Running {
            self.missing_since = None;
            return;
        }
        let since = *self.missing_since.get_or_insert_with(Instant::now);
        if since.elapsed() > MISSING_MAX && !std::mem::replace(&mut self.complained, true) {
            let (id, name) = (&self.container.id, &self.container.name);
            tracing::warn!(
                container = %id, name,
                "its log is not there, was it deleted by hand? What it writes can't be read until it starts again"
            );
        }
    }

    /// Its file is read to its end and is no longer the one that Docker writes to: what comes behind it?
    pub(super) async fn succeed(&mut self, desk: &mut Desk) -> Result<Turn, Halt> {
        let Some(open) = &self.open else { return Ok(Turn::Idle) };
        // It may lie there under another inode already: compressed.
        let read: Vec<_> = self.passed.iter().copied().chain([open.identity]).collect();
        match chain::behind(&desk.folder, &self.container.id, &read, Some(open.inode()))? {
            Search::Moved => return Ok(Turn::More),
            Search::Found(found) => {
                let Some(mut next) = admit(desk, *found) else { return Ok(Turn::NoPlace) };
                if let Some(ahead) = still_ahead(desk, &self.container, open.ahead)? {
                    next.inherit(ahead)?;
                }
                self.leave(desk);
                self.open = Some(next);
                return Ok(Turn::More);
            }
            Search::Nothing => {}
        }
        let deleted = open.deleted()?.is_some();
        if !deleted && self.life == Life::Running {
            return Ok(Turn::Idle); // Docker is between rename and create
        }
        self.flush(desk).await?;
        if deleted {
            self.leave(desk);
        } else {
            self.close();
        }
        Ok(Turn::Idle)
    }

    /// Gives the file back for good: it is read to its end.
    fn leave(&mut self, desk: &Desk) {
        let Some(open) = self.open.take() else { return };
        if let Some(error) = open.broken() {
            desk.metrics.archives_broken.inc();
            tracing::warn!(container = %self.container.id, %error, "a compressed log is damaged: its rest is passed over");
        }
        if (open.torn > 0 || open.broken().is_some()) && !open.overlong {
            desk.outlet.corrupt(&self.container);
        }
        self.pass(open.identity);
        self.begin = Begin::Beginning;
    }

    pub(super) fn pass(&mut self, identity: FileIdentity) {
        if self.passed.len() == PASSED_MAX {
            self.passed.remove(0);
        }
        self.passed.push(identity);
    }

    /// Other bytes stand before the offset than were read there.
    pub(super) fn replaced(&mut self, desk: &mut Desk) -> io::Result<Turn> {
        let Some(open) = &mut self.open else { return Ok(Turn::Idle) };
        if open.is_archive() {
            return Ok(self.not_the_archive(desk));
        }
        match chain::copy(&desk.folder, &self.container.id, &open.place())? {
            Search::Moved => return Ok(Turn::More),
            Search::Found(found) => {
                let Some(next) = admit(desk, *found) else { return Ok(Turn::NoPlace) };
                self.open = Some(next);
            }
            Search::Nothing => {
                self.joiner.clear();
                open.rewind();
            }
        }
        desk.metrics.file_truncations.inc();
        tracing::info!(container = %self.container.id, "its log was emptied in place");
        Ok(Turn::More)
    }

    /// The head was that of the checkpoint's file, what stands at its offset is not: damaged, or another.
    fn not_the_archive(&mut self, desk: &Desk) -> Turn {
        desk.metrics.resume_lost.inc();
        let damaged = self.open.as_ref().is_some_and(|open| open.broken().is_some());
        if damaged {
            self.leave(desk);
        } else {
            self.open = None;
            self.begin = Begin::Beginning;
        }
        Turn::More
    }
}

/// What is ahead in a later generation, as long as that is there: or lines would be left out for ever.
fn still_ahead(desk: &Desk, container: &Container, ahead: Option<Ahead>) -> io::Result<Option<Ahead>> {
    match ahead {
        Some(Ahead { file: Some(file), .. }) if !chain::holds(&desk.folder, &container.id, &file)? => {
            Ok(None)
        }
        ahead => Ok(ahead),
    }
}

/// Opens what was found, if it is plain or there is a place for an archive.
fn admit(desk: &Desk, found: Found) -> Option<Open> {
    let archive = match &found.content {
        Content::Plain(_) => None,
        Content::Archive { .. } => Some(Arc::clone(&desk.archives).try_acquire_owned().ok()?),
    };
    Some(Open::new(found, archive, &desk.metrics))
}
