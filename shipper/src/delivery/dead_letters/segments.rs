//! Writes segments of bounded size in a folder of bounded size: the oldest is removed to make room, and
//! counted. What was appended is synced.
//!
//! The open segment keeps its lock also while the disk takes nothing; what a write that failed has left in
//! it is cut off.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::folder::{self, Segment};
use super::{Config, Error};
use crate::files;
use crate::metrics::Metrics;

/// There are at least this many segments when the folder is full, so that little is lost at once.
const SEGMENTS_MIN: u64 = 8;
const SEGMENT_BYTES_MAX: u64 = 16 << 20;

/// The folder, open for writing.
#[derive(Debug)]
pub(super) struct Segments {
    dir: PathBuf,
    max_bytes: u64,
    max_segments: usize,
    /// As last listed; the open one's size is always right.
    list: Vec<Segment>,
    listed_at: Option<SystemTime>,
    open: Option<Open>,
    metrics: Arc<Metrics>,
}

/// A new start begins a new segment, so that a torn last line of an old one stays its last.
#[derive(Debug)]
struct Open {
    number: u64,
    /// So many are good.
    bytes: u64,
    file: File,
}

impl Segments {
    pub(super) async fn open(dir: &Path, config: &Config, metrics: Arc<Metrics>) -> Result<Self, Error> {
        let (max_bytes, max_segments) = (config.max_bytes.as_u64(), config.max_segments);
        let (list, open) = (Vec::new(), None);
        let mut segments =
            Self { dir: dir.to_owned(), max_bytes, max_segments, list, listed_at: None, open, metrics };
        let folder = segments.dir.clone();
        blocking(move || folder::make(&folder)).await.map_err(segments.error("made"))?;
        segments.look().await?;
        Ok(segments)
    }

    /// How much is best appended at once.
    pub(super) fn segment_max(&self) -> u64 {
        SEGMENT_BYTES_MAX.min(self.max_bytes / SEGMENTS_MIN)
    }

    /// Appends and syncs all of `text`, or nothing of it.
    pub(super) async fn append(&mut self, text: String) -> Result<(), Error> {
        let bytes = text.len() as u64;
        self.make_room(bytes).await?;
        let Some(open) = self.open.take() else {
            return Err(self.error("begun")(io::Error::other("none is open")));
        };
        let (open, written) = tokio::task::spawn_blocking(move || open.append(text.as_bytes()))
            .await
            .map_err(io::Error::other)
            .map_err(self.error("written"))?;
        if let Some(last) = self.list.iter_mut().find(|segment| segment.number == open.number) {
            last.bytes = open.bytes;
        }
        self.open = Some(open);
        self.show();
        written.map_err(self.error("written"))
    }

    /// Notes what others have removed; looks only if the folder has changed.
    pub(super) async fn look_again(&mut self) -> Result<(), Error> {
        let changed = std::fs::metadata(&self.dir).and_then(|folder| folder.modified()).ok();
        if changed == self.listed_at { Ok(()) } else { self.look().await }
    }

    async fn look(&mut self) -> Result<(), Error> {
        let dir = self.dir.clone();
        let listed = blocking(move || {
            let changed = std::fs::metadata(&dir).and_then(|folder| folder.modified()).ok();
            folder::list(&dir).map(|list| (changed, list))
        });
        (self.listed_at, self.list) = listed.await.map_err(self.error("listed"))?;
        self.show();
        Ok(())
    }

    async fn make_room(&mut self, bytes: u64) -> Result<(), Error> {
        let segment_max = self.segment_max();
        let stays = |open: &Open| {
            let there = open.file.metadata().is_ok_and(|file| file.nlink() > 0);
            there && (open.bytes == 0 || open.bytes + bytes <= segment_max)
        };
        let begins = !self.open.as_ref().is_some_and(stays);
        if begins {
            self.open = None;
        }
        if begins || self.is_over(bytes, begins) {
            self.look().await?;
        }
        while self.is_over(bytes, begins) && self.remove_oldest().await? {}
        if begins { self.begin().await } else { Ok(()) }
    }

    async fn begin(&mut self) -> Result<(), Error> {
        let (dir, last) = (self.dir.clone(), self.list.last().map_or(0, |last| last.number));
        let (number, file) =
            blocking(move || folder::begin(&dir, last)).await.map_err(self.error("begun"))?;
        self.list.push(Segment { number, bytes: 0 });
        self.open = Some(Open { number, bytes: 0, file });
        Ok(())
    }

    /// Whether there was one to remove.
    async fn remove_oldest(&mut self) -> Result<bool, Error> {
        let open = self.open.as_ref().map(|open| open.number);
        let Some(oldest) =
            self.list.first().map(|oldest| oldest.number).filter(|oldest| Some(*oldest) != open)
        else {
            return Ok(false);
        };
        let path = folder::path(&self.dir, oldest);
        blocking(move || files::remove(&path)).await.map_err(self.error("removed"))?;
        self.list.remove(0);
        self.metrics.dead_letters_segments_removed.inc();
        Ok(true)
    }

    fn is_over(&self, bytes: u64, begins: bool) -> bool {
        self.bytes() + bytes > self.max_bytes || self.list.len() + usize::from(begins) > self.max_segments
    }

    fn bytes(&self) -> u64 {
        self.list.iter().map(|segment| segment.bytes).sum()
    }

    fn show(&self) {
        self.metrics.dead_letters_bytes.set(i64::try_from(self.bytes()).unwrap_or(i64::MAX));
        self.metrics.dead_letters_segments.set(i64::try_from(self.list.len()).unwrap_or(i64::MAX));
    }

    pub(super) fn error(&self, attempt: &'static str) -> impl FnOnce(io::Error) -> Error + use<> {
        let path = self.dir.clone();
        move |source| Error { attempt, path, source }
    }
}

impl Open {
    fn append(mut self, text: &[u8]) -> (Self, io::Result<()>) {
        let written = self.write_synced(text);
        match &written {
            Ok(()) => self.bytes += text.len() as u64,
            // If even that fails, it is done before the next attempt.
            Err(_) => drop(self.file.set_len(self.bytes)),
        }
        (self, written)
    }

    fn write_synced(&mut self, text: &[u8]) -> io::Result<()> {
        if self.file.metadata()?.len() != self.bytes {
            self.file.set_len(self.bytes)?;
        }
        self.file.write_all(text)?;
        self.file.sync_data()
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
