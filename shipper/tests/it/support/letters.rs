//! The lines in a shipper's dead letters.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A reader that goes on where it was. A process that was killed may have left a torn last line in each
/// file; a line counts once it is whole.
pub(crate) struct Letters {
    dir: PathBuf,
    read: BTreeMap<PathBuf, u64>,
}

impl Letters {
    /// Of the shipper with this state folder.
    pub(crate) fn of(state: &Path) -> Self {
        Self { dir: state.join("dead-letters"), read: BTreeMap::new() }
    }

    /// The lines that have come since the last time.
    pub(crate) fn news(&mut self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return Vec::new() };
        let files = entries.map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            files.filter(|file| file.extension().is_some_and(|ending| ending == "jsonl")).collect();
        files.sort();
        files.into_iter().flat_map(|file| self.news_of(file)).collect()
    }

    fn news_of(&mut self, path: PathBuf) -> Vec<String> {
        let file = File::open(&path).unwrap();
        let from = self.read.entry(path).or_default();
        let length = file.metadata().unwrap().len();
        let mut bytes = vec![0; usize::try_from(length.saturating_sub(*from)).unwrap()];
        file.read_exact_at(&mut bytes, *from).unwrap();
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        *from += whole as u64;
        let lines = bytes[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let text = |line: &[u8]| {
            let letter: serde_json::Value = serde_json::from_slice(line).unwrap();
            letter["line"].as_str().unwrap().to_owned()
        };
        lines.map(text).collect()
    }
}
