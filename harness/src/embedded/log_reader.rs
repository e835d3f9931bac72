//! `GET /containers/{id}/logs`: what stands in the files of a log, and what is written to them later, as frames of
//! Docker's stream.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, watch};

use super::entry::{self, Entry};
use super::log_place::{LogPlace, Open};
use crate::clock;
use crate::world::line::Stream;

/// What is read of a file at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Some thirty years.
const FOREVER: Duration = Duration::from_secs(1_000_000_000);

/// What is asked of a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    /// Inclusive.
    pub(super) since: Option<Timestamp>,
    /// Inclusive.
    pub(super) until: Option<Timestamp>,
    /// The last so many entries.
    pub(super) tail: Option<usize>,
    pub(super) timestamps: bool,
    pub(super) follow: bool,
    /// A terminal has one output, and no frames.
    pub(super) tty: bool,
}

impl Wanted {
    /// What a client gets of a line of the file: nothing of one that it does not want, or that is not whole.
    fn frame(&self, line: &[u8]) -> Frame {
        let Some(entry) = Entry::parse(line) else { return Frame::Skipped };
        if self.until.is_some_and(|until| entry.time > until) {
            return Frame::Over;
        }
        let is_wanted = match entry.stream {
            Stream::Out => self.stdout,
            Stream::Err => self.stderr,
        };
        if !is_wanted || self.since.is_some_and(|since| entry.time < since) {
            return Frame::Skipped;
        }
        Frame::Sent(framed(&entry, self.timestamps, self.tty))
    }
}

#[derive(Debug)]
enum Frame {
    Sent(Bytes),
    Skipped,
    /// Nothing later is wanted.
    Over,
}

/// Docker's frame: which output, three zeros, the length in four bytes (big-endian), the text.
fn framed(entry: &Entry, timestamps: bool, tty: bool) -> Bytes {
    let time = if timestamps { format!("{} ", entry::fixed(entry.time)) } else { String::new() };
    let length = u32::try_from(time.len() + entry.text.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(8 + time.len() + entry.text.len());
    if !tty {
        let output = match entry.stream {
            Stream::Out => 1,
            Stream::Err => 2,
        };
        frame.extend_from_slice(&[output, 0, 0, 0]);
        frame.extend_from_slice(&length.to_be_bytes());
    }
    frame.extend_from_slice(time.as_bytes());
    frame.extend_from_slice(&entry.text);
    frame.into()
}

/// Sends what is asked for until there is no more: the end of the log, or of the container's life where it is
/// followed. `alive` says whether the container runs.
///
/// # Errors
/// A file can't be read.
pub(super) async fn send(
    place: Arc<LogPlace>,
    mut alive: watch::Receiver<bool>,
    wanted: Wanted,
    out: mpsc::Sender<Bytes>,
) -> io::Result<()> {
    let mut mark = place.mark.subscribe();
    let (past, sender) = (Arc::clone(&place), out.clone());
    let past = tokio::task::spawn_blocking(move || history(&past, wanted, &sender)).await;
    let past = past.unwrap_or_else(|join| std::panic::resume_unwind(join.into_panic()))?;
    let Some((file, generation)) = past.filter(|_| wanted.follow) else { return Ok(()) };
    let file = tokio::fs::File::from_std(file);
    let mut follower = Follower { place, wanted, out, file, generation, rest: Vec::new() };
    let left =
        wanted.until.map_or(FOREVER, |until| Duration::try_from(until - clock::now()).unwrap_or_default());
    let deadline = tokio::time::sleep(left);
    tokio::pin!(deadline);
    loop {
        // First whether it lives, then what there is to read: what was written before its end is read after it.
        let lives = *alive.borrow_and_update();
        let newest = mark.borrow_and_update().generation;
        if follower.read(newest).await? == Next::Over || !lives {
            return Ok(());
        }
        tokio::select! {
            _ = mark.changed() => {}
            _ = alive.changed() => {}
            () = follower.out.closed() => return Ok(()),
            () = &mut deadline => return Ok(()),
        }
    }
}

/// Sends what the files hold. Answers with the last of them, read to its last whole line, where there may be more.
fn history(place: &LogPlace, wanted: Wanted, out: &mpsc::Sender<Bytes>) -> io::Result<Option<(File, u64)>> {
    let (files, generation) = place.files()?;
    let mut kept = VecDeque::new();
    let mut line = Vec::new();
    let mut whole = 0;
    for open in &files {
        let mut reader = open.reader()?;
        whole = 0;
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 || !line.ends_with(b"\n") {
                break;
            }
            whole += line.len() as u64;
            if let Some(last) = wanted.tail {
                kept.push_back(line.clone());
                if kept.len() > last {
                    kept.pop_front();
                }
            } else if pass_on(&wanted, &line, out) == Next::Over {
                return Ok(None);
            }
        }
    }
    for line in &kept {
        if pass_on(&wanted, line, out) == Next::Over {
            return Ok(None);
        }
    }
    let Some(Open { mut file, .. }) = files.into_iter().last() else { return Ok(None) };
    file.seek(SeekFrom::Start(whole))?;
    Ok(Some((file, generation)))
}

fn pass_on(wanted: &Wanted, line: &[u8], out: &mpsc::Sender<Bytes>) -> Next {
    match wanted.frame(line) {
        Frame::Sent(frame) => match out.blocking_send(frame) {
            Ok(()) => Next::More,
            Err(_gone) => Next::Over,
        },
        Frame::Skipped => Next::More,
        Frame::Over => Next::Over,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    More,
    /// The client has gone, or has all that it asked for.
    Over,
}

/// Reads on where the history ended.
struct Follower {
    place: Arc<LogPlace>,
    wanted: Wanted,
    out: mpsc::Sender<Bytes>,
    file: tokio::fs::File,
    /// Which file this is.
    generation: u64,
    /// The beginning of a line.
    rest: Vec<u8>,
}

impl Follower {
    /// Reads to the end of the newest file.
    async fn read(&mut self, newest: u64) -> io::Result<Next> {
        loop {
            if self.read_file().await? == Next::Over {
                return Ok(Next::Over);
            }
            if self.generation >= newest {
                return Ok(Next::More);
            }
            let (place, wanted) = (Arc::clone(&self.place), self.generation + 1);
            let (open, generation) = place.generation(wanted)?;
            self.rest.clear();
            self.generation = generation;
            if open.packed {
                let mut text = Vec::new();
                open.reader()?.read_to_end(&mut text)?;
                if self.take(&text).await == Next::Over {
                    return Ok(Next::Over);
                }
            } else {
                self.file = tokio::fs::File::from_std(open.file);
            }
        }
    }

    async fn read_file(&mut self) -> io::Result<Next> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = self.file.read(&mut chunk).await?;
            let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else {
                return Ok(Next::More);
            };
            if self.take(bytes).await == Next::Over {
                return Ok(Next::Over);
            }
        }
    }

    async fn take(&mut self, bytes: &[u8]) -> Next {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(piece);
            if !self.rest.ends_with(b"\n") {
                continue;
            }
            let frame = self.wanted.frame(&self.rest);
            self.rest.clear();
            match frame {
                Frame::Sent(frame) => {
                    if self.out.send(frame).await.is_err() {
                        return Next::Over;
                    }
                }
                Frame::Skipped => {}
                Frame::Over => return Next::Over,
            }
        }
        Next::More
    }
}
