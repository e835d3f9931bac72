//! Lines that Loki will not take, kept on disk as JSON lines for people and for a later replay.
//!
//! Segments of bounded size in a folder of bounded size: the oldest is removed to make room, and
//! counted. What is written is synced before anybody commits its position.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use tokio::fs;
use tokio::io::AsyncWriteExt;

use crate::batch::{Entry, Group};
use crate::metrics::Metrics;

/// `dead_letters:` in the config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What all segments together may hold.
    pub max_bytes: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_bytes: ByteSize::mib(256) }
    }
}

/// A dead letter that could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("the dead letters at {path} can't be {attempt}: {source}")]
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

#[derive(Serialize)]
struct Letter<'a> {
    time_ns: i64,
    labels: &'a str,
    container_id: &'a str,
    line: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<&'a str>,
}

/// What of Loki's words is kept with each line.
const WORDS_BYTES_MAX: usize = 1024;
/// There are at least this many segments when the folder is full, so that little is lost at once.
const SEGMENTS_MIN: u64 = 8;
const SEGMENT_BYTES_MAX: u64 = 16 << 20;
/// Each start begins a new segment: a shipper that is restarted often must not fill the folder with files.
const SEGMENTS_MAX: usize = 1000;
/// Our names have ten digits; a file with a larger number is not ours.
const NUMBER_MAX: u64 = 9_999_999_999;
const SUFFIX: &str = ".jsonl";

#[derive(Debug)]
struct Segment {
    number: u64,
    bytes: u64,
}

/// The folder of dead letters, open for writing.
#[derive(Debug)]
pub struct DeadLetters {
    dir: PathBuf,
    max_bytes: u64,
    segments: Vec<Segment>,
    /// Whether the last segment is of this run.
    begun: bool,
    open: Option<fs::File>,
    metrics: Arc<Metrics>,
}

impl DeadLetters {
    /// Opens the folder, making it if need be. A new start begins a new segment, so that a torn last
    /// line of the old one stays the last.
    ///
    /// # Errors
    /// When the folder can't be made or read.
    pub async fn open(dir: &Path, config: &Config, metrics: Arc<Metrics>) -> Result<Self, Error> {
        let failed = |attempt| move |source| Error { attempt, path: dir.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).await.map_err(failed("made"))?;
        let segments = list(dir).await.map_err(failed("listed"))?;
        let max_bytes = config.max_bytes.as_u64();
        let letters = Self { dir: dir.to_owned(), max_bytes, segments, begun: false, open: None, metrics };
        letters.show_bytes();
        Ok(letters)
    }

    /// Writes the lines of one group and syncs them.
    ///
    /// # Errors
    /// When they are not safely on disk; some may be there all the same.
    pub async fn write(&mut self, group: &Group, why: Reason<'_>) -> Result<(), Error> {
        let segment_max = usize::try_from(self.segment_max()).unwrap_or(usize::MAX);
        let mut text = String::new();
        for entry in &group.entries {
            let letter = letter(group, entry, why);
            let letter = letter.map_err(|error| self.error("written", self.dir.clone(), error.into()))?;
            if !text.is_empty() && text.len() + letter.len() > segment_max {
                self.append(std::mem::take(&mut text).as_bytes()).await?;
            }
            text.push_str(&letter);
        }
        self.append(text.as_bytes()).await?;
        self.metrics.dead_letters.inc_by(group.entries.len() as u64);
        Ok(())
    }

    async fn append(&mut self, text: &[u8]) -> Result<(), Error> {
        self.make_room(text.len() as u64).await?;
        let (number, bytes) = self.segments.last().map_or((0, 0), |last| (last.number, last.bytes));
        let path = self.path(number);
        let file = match self.open.take() {
            Some(file) => file,
            None => open(&path, bytes).await.map_err(|source| self.error("opened", path.clone(), source))?,
        };
        // Kept open only if all went well: what a torn write has left is cut off at the next opening.
        let file = write_synced(file, text).await.map_err(|source| self.error("written", path, source))?;
        self.open = Some(file);
        if let Some(segment) = self.segments.last_mut() {
            segment.bytes += text.len() as u64;
        }
        self.show_bytes();
        Ok(())
    }

    /// Begins a new segment when this run has none or it is full, and removes the oldest ones. A disk that
    /// takes nothing costs no new segment: the last one is tried again.
    async fn make_room(&mut self, bytes: u64) -> Result<(), Error> {
        let segment_max = self.segment_max();
        let full = |last: &Segment| last.bytes > 0 && last.bytes + bytes > segment_max;
        if !self.begun || self.segments.last().is_some_and(full) {
            self.open = None;
            let number = self.segments.last().map_or(1, |segment| segment.number + 1);
            self.segments.push(Segment { number, bytes: 0 });
            self.begun = true;
        }
        while self.segments.len() > 1
            && (self.bytes() + bytes > self.max_bytes || self.segments.len() > SEGMENTS_MAX)
        {
            let Some(oldest) = self.segments.first().map(|oldest| self.path(oldest.number)) else { break };
            let removed = fs::remove_file(&oldest).await.or_else(missing_is_fine);
            removed.map_err(|source| self.error("removed", oldest, source))?;
            self.segments.remove(0);
            self.metrics.dead_letters_segments_removed.inc();
        }
        Ok(())
    }

    fn segment_max(&self) -> u64 {
        SEGMENT_BYTES_MAX.min(self.max_bytes / SEGMENTS_MIN)
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    fn show_bytes(&self) {
        self.metrics.dead_letters_bytes.set(i64::try_from(self.bytes()).unwrap_or(i64::MAX));
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:010}{SUFFIX}"))
    }

    fn error(&self, attempt: &'static str, path: PathBuf, source: io::Error) -> Error {
        Error { attempt, path, source }
    }
}

fn letter(group: &Group, entry: &Entry, why: Reason<'_>) -> Result<String, serde_json::Error> {
    let words = why.answer.map(|(_, words)| words.trim_end());
    let letter = Letter {
        time_ns: entry.clamped_from_ns.unwrap_or(entry.time_ns),
        labels: &group.labels.text,
        container_id: group.container.id.as_str(),
        line: &entry.line,
        reason: why.reason,
        status: why.answer.map(|(status, _)| status),
        answer: words.map(|words| words.get(..words.floor_char_boundary(WORDS_BYTES_MAX)).unwrap_or(words)),
    };
    serde_json::to_string(&letter).map(|line| line + "\n")
}

async fn list(dir: &Path) -> io::Result<Vec<Segment>> {
    let mut found = Vec::new();
    let mut entries = fs::read_dir(dir).await?;
    while let Some(entry) = entries.next_entry().await? {
        let name = entry.file_name();
        let number =
            name.to_str().and_then(|name| name.strip_suffix(SUFFIX)).and_then(|number| number.parse().ok());
        if let Some(number) = number.filter(|number| *number < NUMBER_MAX) {
            found.push(Segment { number, bytes: entry.metadata().await?.len() });
        }
    }
    found.sort_by_key(|segment| segment.number);
    Ok(found)
}

/// Opens a segment of which `bytes` are good.
async fn open(path: &Path, bytes: u64) -> io::Result<fs::File> {
    let file = fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path).await?;
    if file.metadata().await?.len() > bytes {
        file.set_len(bytes).await?;
    }
    Ok(file)
}

async fn write_synced(mut file: fs::File, text: &[u8]) -> io::Result<fs::File> {
    file.write_all(text).await?;
    file.flush().await?;
    file.sync_data().await?;
    Ok(file)
}

fn missing_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::group;
    use std::os::unix::fs::PermissionsExt;

    const WHY: Reason<'static> = Reason { reason: "refused", answer: Some((400, "too old\n")) };

    fn config(max_bytes: u64) -> Config {
        Config { max_bytes: ByteSize::b(max_bytes) }
    }

    fn files(dir: &Path) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    #[tokio::test]
    async fn a_letter_keeps_the_line_and_lokis_words_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("dead");
        let mut letters = DeadLetters::open(&dir, &config(100_000), Metrics::new()).await.unwrap();
        letters.write(&group(&[(7, "a\nb")]), WHY).await.unwrap();
        let file = &files(&dir)[0];
        insta::assert_snapshot!(std::fs::read_to_string(file).unwrap(), @r#"{"time_ns":7,"labels":"{container=\"web\", job=\"docker\", stream=\"stdout\"}","container_id":"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc","line":"a\nb","reason":"refused","status":400,"answer":"too old"}"#);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(file)), (0o700, 0o600));
    }

    #[tokio::test]
    async fn the_folder_stays_within_its_bound_and_the_oldest_go_first() {
        let dir = tempfile::tempdir().unwrap();
        let metrics = Metrics::new();
        let mut letters = DeadLetters::open(dir.path(), &config(4000), metrics.clone()).await.unwrap();
        for _ in 0..40 {
            letters.write(&group(&[(7, "line")]), WHY).await.unwrap();
            let bytes: u64 = files(dir.path()).iter().map(|file| file.metadata().unwrap().len()).sum();
            assert!(bytes <= 4000, "{bytes}");
        }
        assert!(!dir.path().join("0000000001.jsonl").exists());
        assert!(metrics.dead_letters_segments_removed.get() > 0);
        assert_eq!(metrics.dead_letters.get(), 40);
    }

    #[tokio::test]
    async fn a_new_start_goes_on_in_a_new_segment_and_counts_the_old() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("0000000004.jsonl"), "{torn").unwrap();
        let metrics = Metrics::new();
        let mut letters = DeadLetters::open(dir.path(), &config(100_000), metrics.clone()).await.unwrap();
        assert_eq!(metrics.dead_letters_bytes.get(), 5);
        letters.write(&group(&[(7, "a")]), WHY).await.unwrap();
        assert_eq!(files(dir.path()).last().unwrap().file_name().unwrap(), "0000000005.jsonl");
    }

    #[tokio::test]
    async fn a_disk_that_takes_nothing_costs_no_new_files_and_the_next_letter_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut letters = DeadLetters::open(dir.path(), &config(100_000), Metrics::new()).await.unwrap();
        let first = dir.path().join("0000000001.jsonl");
        std::fs::create_dir(&first).unwrap();
        for _ in 0..20 {
            assert!(letters.write(&group(&[(7, "a")]), WHY).await.is_err());
        }
        assert_eq!(letters.segments.len(), 1);
        std::fs::remove_dir(&first).unwrap();
        std::fs::write(&first, "{torn").unwrap();
        letters.write(&group(&[(7, "a")]), WHY).await.unwrap();
        assert!(std::fs::read_to_string(&first).unwrap().starts_with("{\"time_ns\":7,"));
    }

    #[tokio::test]
    async fn a_group_larger_than_a_segment_is_spread_and_old_starts_leave_a_bounded_number_of_files() {
        let dir = tempfile::tempdir().unwrap();
        for number in 1..=SEGMENTS_MAX {
            std::fs::write(dir.path().join(format!("{number:010}.jsonl")), "").unwrap();
        }
        std::fs::write(dir.path().join(format!("{}.jsonl", u64::MAX)), "").unwrap();
        let mut letters = DeadLetters::open(dir.path(), &config(4000), Metrics::new()).await.unwrap();
        letters.write(&group(&[(7, "line"); 10]), WHY).await.unwrap();
        assert!(letters.segments.iter().all(|segment| segment.bytes <= 500));
        assert_eq!(letters.segments.len(), SEGMENTS_MAX);
        assert!(letters.bytes() <= 4000);
    }
}
