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
        let letters = Self { dir: dir.to_owned(), max_bytes, segments, open: None, metrics };
        letters.show_bytes();
        Ok(letters)
    }

    /// Writes the lines of one group and syncs them.
    ///
    /// # Errors
    /// When they are not safely on disk; some may be there all the same.
    pub async fn write(&mut self, group: &Group, why: Reason<'_>) -> Result<(), Error> {
        let text = group.entries.iter().map(|entry| letter(group, entry, why)).collect::<Result<Vec<_>, _>>();
        let text = text.map_err(|error| self.error("written", self.dir.clone(), error.into()))?.concat();
        self.append(text.as_bytes()).await?;
        self.metrics.dead_letters.inc_by(group.entries.len() as u64);
        Ok(())
    }

    async fn append(&mut self, text: &[u8]) -> Result<(), Error> {
        self.make_room(text.len() as u64).await?;
        let path = self.path(self.segments.last().map_or(0, |segment| segment.number));
        let file = match self.open.take() {
            Some(file) => file,
            None => open(&path).await.map_err(|source| self.error("opened", path.clone(), source))?,
        };
        // Kept open only if all went well: after a torn write the next one goes to a new segment.
        let file = write_synced(file, text).await.map_err(|source| self.error("written", path, source))?;
        self.open = Some(file);
        if let Some(segment) = self.segments.last_mut() {
            segment.bytes += text.len() as u64;
        }
        self.show_bytes();
        Ok(())
    }

    /// Begins a new segment when there is none open or it is full, and removes the oldest ones.
    async fn make_room(&mut self, bytes: u64) -> Result<(), Error> {
        let segment_max = SEGMENT_BYTES_MAX.min(self.max_bytes / SEGMENTS_MIN);
        let full = self.segments.last().is_none_or(|segment| segment.bytes + bytes > segment_max);
        if self.open.is_none() || full {
            self.open = None;
            let number = self.segments.last().map_or(1, |segment| segment.number + 1);
            self.segments.push(Segment { number, bytes: 0 });
        }
        while self.segments.len() > 1 && self.bytes() + bytes > self.max_bytes {
            let oldest = self.segments.remove(0).number;
            let oldest = self.path(oldest);
            fs::remove_file(&oldest)
                .await
                .or_else(missing_is_fine)
                .map_err(|e| self.error("removed", oldest, e))?;
            self.metrics.dead_letters_segments_removed.inc();
        }
        Ok(())
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
        if let Some(number) = number {
            found.push(Segment { number, bytes: entry.metadata().await?.len() });
        }
    }
    found.sort_by_key(|segment| segment.number);
    Ok(found)
}

async fn open(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path).await
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
}
