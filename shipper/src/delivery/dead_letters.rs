//! Lines that Loki will not take, kept on disk for people and for a later replay.
//!
//! What is written is synced before anybody commits its position. A disk that takes nothing loses
//! nothing: letters wait in memory, in order, and are tried again; delivery takes nothing new meanwhile.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::backoff::Backoff;
use crate::batch::Group;
use crate::complaint::Complaint;
use crate::loki::answer::words_kept;
use crate::metrics::Metrics;

pub mod letter;
pub mod reader;
pub mod folder;
mod segments;
pub mod survey;
pub mod journal;
pub mod settle;
pub mod index;
pub mod parcels;
pub mod replay;

use letter::Letter;
use segments::Segments;

/// `dead_letters:` in the config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What all segments together may hold. The oldest makes room.
    pub max_bytes: ByteSize,
    /// How many there may be: each start begins one.
    pub max_segments: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_bytes: ByteSize::mib(256), max_segments: 1000 }
    }
}

/// A folder of dead letters that can't be worked with.
#[derive(Debug, thiserror::Error)]
#[error("the dead letters in {path} can't be {attempt}: {source}")]
pub struct Error {
    attempt: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Why a line is here.
#[derive(Clone, Copy, Debug)]
pub struct Reason<'a> {
    /// A word: `too_old`, `refused`, `retry_queue_full` …
    pub reason: &'a str,
    /// Loki's status and words, if it was asked.
    pub answer: Option<(u16, &'a str)>,
}

/// The folder's name in `state_dir`.
pub const FOLDER: &str = "dead-letters";
/// Written and synced at once.
const PIECE_BYTES_MAX: u64 = 1 << 20;
/// While the disk takes nothing.
const RETRY_INITIAL: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Waiting {
    group: Group,
    tenant: Option<Arc<str>>,
    reason: String,
    answer: Option<(u16, String)>,
}

#[derive(Debug)]
struct Failing {
    backoff: Backoff,
    due: Instant,
}

/// The dead letters, open for writing.
#[derive(Debug)]
pub struct DeadLetters {
    segments: Segments,
    waiting: VecDeque<Waiting>,
    failing: Option<Failing>,
    complaint: Complaint,
    metrics: Arc<Metrics>,
}

impl DeadLetters {
    /// Opens the folder, making it if need be.
    ///
    /// # Errors
    /// When the folder can't be made or read.
    pub async fn open(dir: &Path, config: &Config, metrics: Arc<Metrics>) -> Result<Self, Error> {
        let segments = Segments::open(dir, config, metrics.clone()).await?;
        let (waiting, complaint) = (VecDeque::new(), Complaint::default());
        Ok(Self { segments, waiting, failing: None, complaint, metrics })
    }

    /// Takes a tenant's lines that are to be written by the next [`DeadLetters::flush`].
    pub fn put(&mut self, group: Group, tenant: Option<Arc<str>>, why: Reason<'_>) {
        let answer = why.answer.map(|(status, words)| (status, words_kept(words).to_owned()));
        self.waiting.push_back(Waiting { group, tenant, reason: why.reason.to_owned(), answer });
    }

    /// Writes what waits; says which lines are safely on disk now. While the disk takes nothing it is left
    /// alone until the next attempt is due.
    pub async fn flush(&mut self) -> Vec<Group> {
        let mut safe = Vec::new();
        while !self.waiting.is_empty() && self.retry_at().is_none_or(|due| due <= Instant::now()) {
            match self.write_piece().await {
                Ok(lines) => {
                    self.recovered();
                    self.metrics.dead_letters.inc_by(lines as u64);
                    safe.extend(take_first(&mut self.waiting, lines));
                }
                Err(error) => self.failed(&error),
            }
        }
        let waiting: usize = self.waiting.iter().map(|waiting| waiting.group.entries.len()).sum();
        self.metrics.dead_letters_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        safe
    }

    /// When the disk is tried again, if it takes nothing.
    #[must_use]
    pub fn retry_at(&self) -> Option<Instant> {
        self.failing.as_ref().map(|failing| failing.due)
    }

    /// The end is near: one more attempt at once.
    pub fn hurry(&mut self) {
        if let Some(failing) = &mut self.failing {
            failing.due = Instant::now();
        }
    }

    /// Shows what others have removed from the folder.
    pub async fn look_again(&mut self) {
        if let Err(error) = self.segments.look_again().await {
            tracing::debug!(%error, "the dead letters can't be looked at");
        }
    }

    /// How many lines were written.
    async fn write_piece(&mut self) -> Result<usize, Error> {
        let bytes_max =
            usize::try_from(self.segments.segment_max().min(PIECE_BYTES_MAX)).unwrap_or(usize::MAX);
        let (mut text, mut lines) = (String::new(), 0);
        'piece: for Waiting { group, tenant, reason, answer } in &self.waiting {
            let answer = answer.as_ref().map(|(status, words)| (*status, words.as_str()));
            for entry in &group.entries {
                let letter = Letter::of(group, entry, tenant.as_deref(), Reason { reason, answer });
                let letter = letter.and_then(|letter| letter.to_line());
                let letter = letter.map_err(|error| self.segments.error("written")(error.into()))?;
                if !text.is_empty() && text.len() + letter.len() > bytes_max {
                    break 'piece;
                }
                text.push_str(&letter);
                lines += 1;
            }
        }
        self.segments.append(text).await.map(|()| lines)
    }

    fn recovered(&mut self) {
        if self.failing.take().is_some() {
            tracing::info!("the dead letters can be written again");
            self.metrics.dead_letters_failing.set(0);
        }
    }

    fn failed(&mut self, error: &Error) {
        let now = Instant::now();
        let failing = self
            .failing
            .get_or_insert_with(|| Failing { backoff: Backoff::new(RETRY_INITIAL, RETRY_MAX), due: now });
        failing.due = now + failing.backoff.next_delay(None);
        self.metrics.dead_letters_failing.set(1);
        if let Some(withheld) = self.complaint.may_speak(now) {
            tracing::error!(%error, withheld, "delivery pauses until the dead letters can be written: free some space in state_dir");
        }
    }
}

/// The first `lines` of them.
fn take_first(waiting: &mut VecDeque<Waiting>, mut lines: usize) -> Vec<Group> {
    let mut taken = Vec::new();
    while lines > 0
        && let Some(first) = waiting.front_mut()
    {
        let mut group = first.group.like();
        group.entries = first.group.entries.drain(..lines.min(first.group.entries.len())).collect();
        lines -= group.entries.len();
        taken.push(group);
        if first.group.entries.is_empty() {
            waiting.pop_front();
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::group;
    use std::os::unix::fs::PermissionsExt;

    const WHY: Reason<'static> = Reason { reason: "refused", answer: Some((400, "too old\n")) };

    fn config(max_bytes: u64) -> Config {
        Config { max_bytes: ByteSize::b(max_bytes), ..Config::default() }
    }

    async fn open(dir: &Path, max_bytes: u64) -> DeadLetters {
        DeadLetters::open(dir, &config(max_bytes), Metrics::new()).await.unwrap()
    }

    async fn bury(letters: &mut DeadLetters, lines: &[(i64, &str)]) -> usize {
        letters.put(group(lines), None, WHY);
        letters.flush().await.iter().map(|group| group.entries.len()).sum()
    }

    fn files(dir: &Path) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    fn texts(dir: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for file in files(dir) {
            let bytes = std::fs::read(file).unwrap();
            let mut reader = reader::Reader::new(bytes.as_slice());
            while let Some((_, letter)) = reader.read_next().unwrap() {
                found.push(letter.unwrap().line);
            }
        }
        found
    }

    #[tokio::test]
    async fn letters_are_for_their_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("dead");
        let mut letters = open(&dir, 100_000).await;
        assert_eq!(bury(&mut letters, &[(7, "a\nb")]).await, 1);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&files(&dir)[0])), (0o700, 0o600));
        assert_eq!(texts(&dir), ["a\nb"]);
    }

    #[tokio::test]
    async fn the_folder_stays_within_its_bounds_and_the_oldest_go_first() {
        let dir = tempfile::tempdir().unwrap();
        let mut letters = open(dir.path(), 8000).await;
        for _ in 0..40 {
            assert_eq!(bury(&mut letters, &[(7, "line")]).await, 1);
            let bytes: u64 = files(dir.path()).iter().map(|file| file.metadata().unwrap().len()).sum();
            assert!(bytes <= 8000, "{bytes}");
            assert_eq!(letters.metrics.dead_letters_bytes.get(), i64::try_from(bytes).unwrap());
        }
        assert!(!folder::path(dir.path(), 1).exists());
        assert!(letters.metrics.dead_letters_segments_removed.get() > 0);
        assert_eq!(letters.metrics.dead_letters.get(), 40);
    }

    #[tokio::test]
    async fn starts_leave_a_bounded_number_of_segments() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { max_segments: 3, ..Config::default() };
        for start in 0..6 {
            let mut letters = DeadLetters::open(dir.path(), &config, Metrics::new()).await.unwrap();
            assert_eq!(bury(&mut letters, &[(7, &start.to_string())]).await, 1);
        }
        assert_eq!(texts(dir.path()), ["3", "4", "5"]);
    }

    #[tokio::test]
    async fn a_new_start_goes_on_in_a_new_segment_and_counts_the_old() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("0000000004.jsonl"), "{torn").unwrap();
        let mut letters = open(dir.path(), 100_000).await;
        assert_eq!(letters.metrics.dead_letters_bytes.get(), 5);
        assert_eq!(bury(&mut letters, &[(7, "a")]).await, 1);
        assert_eq!(files(dir.path()).last().unwrap().file_name().unwrap(), "0000000005.jsonl");
    }

    #[tokio::test]
    async fn a_group_larger_than_a_segment_is_spread() {
        let dir = tempfile::tempdir().unwrap();
        let mut letters = open(dir.path(), 16_000).await;
        assert_eq!(bury(&mut letters, &[(7, "line"); 20]).await, 20);
        assert!(files(dir.path()).len() > 2);
        assert!(files(dir.path()).iter().all(|file| file.metadata().unwrap().len() <= 2000));
    }

    #[tokio::test]
    async fn a_segment_that_somebody_removes_takes_no_letters_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut letters = open(dir.path(), 100_000).await;
        assert_eq!(bury(&mut letters, &[(7, "a")]).await, 1);
        std::fs::remove_file(&files(dir.path())[0]).unwrap();
        letters.look_again().await;
        assert_eq!(letters.metrics.dead_letters_bytes.get(), 0);
        assert_eq!(bury(&mut letters, &[(7, "b")]).await, 1);
        assert_eq!(texts(dir.path()), ["b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_not_be_written_waits_in_order_and_is_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let letters_dir = dir.path().join("dead");
        let mut letters = open(&letters_dir, 100_000).await;
        std::fs::remove_dir(&letters_dir).unwrap();
        assert_eq!(bury(&mut letters, &[(7, "a"), (8, "b")]).await, 0);
        let due = letters.retry_at().unwrap();
        std::fs::create_dir(&letters_dir).unwrap();
        assert_eq!(bury(&mut letters, &[(9, "c")]).await, 0, "the disk is left alone until then");
        assert_eq!(letters.metrics.dead_letters_failing.get(), 1);
        assert_eq!(letters.metrics.dead_letters_waiting.get(), 3);
        tokio::time::sleep_until(due).await;
        assert_eq!(letters.flush().await.len(), 2);
        assert_eq!(letters.retry_at(), None);
        assert_eq!(
            (letters.metrics.dead_letters_failing.get(), letters.metrics.dead_letters_waiting.get()),
            (0, 0)
        );
        assert_eq!(texts(&letters_dir), ["a", "b", "c"]);
    }
}
