//! A target's dead letters, read line by line into the audit's book.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::audit::ledger::Ledger;
use crate::target::spec::DeadLetters;

/// A letter holds a log line, escaped, and a few words.
const LETTER_BYTES_MAX: u64 = 16 << 20;

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Lines of the run's generators.
    pub(super) letters: u64,
    /// Anything else: what is no JSON, has no such field, or holds another line.
    pub(super) others: u64,
}

/// Enters every letter. A folder that is not there holds none.
///
/// # Errors
/// The folder or a file can't be read; which one, and why.
pub(super) fn enter(ledger: &mut Ledger, letters: &DeadLetters) -> Result<Found, (PathBuf, io::Error)> {
    let folder = Path::new(&letters.folder);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::default()),
        entries => entries.map_err(|error| (folder.to_owned(), error))?,
    };
    let mut found = Found::default();
    for entry in entries {
        let entry = entry.map_err(|error| (folder.to_owned(), error))?;
        let path = entry.path();
        // Whoever reads a pipe or a device waits for ever; a link may lead to one.
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && path.to_string_lossy().ends_with(&letters.ending) {
            read(&path, ledger, &letters.field, &mut found).map_err(|error| (path.clone(), error))?;
        }
    }
    Ok(found)
}

/// What is strange about them, in words; `counted` is how many the target says there are.
pub(super) fn doubts(found: Result<Found, (PathBuf, io::Error)>, counted: u64) -> Vec<String> {
    let Found { letters, others } = match found {
        Ok(found) => found,
        Err((path, error)) => {
            return vec![format!("its dead letters can't be read: {}: {error}", path.display())];
        }
    };
    let strange = (others > 0).then(|| format!("{others} of its dead letters hold no line of the run"));
    let missing = (letters + others < counted)
        .then(|| format!("it counts {counted} dead letters, and {} are there", letters + others));
    strange.into_iter().chain(missing).collect()
}

fn read(path: &Path, ledger: &mut Ledger, field: &str, found: &mut Found) -> io::Result<()> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut letter = Vec::new();
    loop {
        letter.clear();
        if reader.by_ref().take(LETTER_BYTES_MAX).read_until(b'\n', &mut letter)? == 0 {
            return Ok(());
        }
        let parsed: Option<Value> = serde_json::from_slice(&letter).ok();
        let line = parsed.as_ref().and_then(|letter| letter.get(field)?.as_str());
        let count = if line.is_some_and(|line| ledger.dead_letter(line)) {
            &mut found.letters
        } else {
            &mut found.others
        };
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::ledger::Key;
    use crate::world::line::{Fields, Stream, write};

    #[test]
    fn each_letter_is_entered_and_what_is_none_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let letters = DeadLetters {
            folder: folder.path().join("dead").display().to_string(),
            ending: ".jsonl".into(),
            field: "line".into(),
        };
        let mut ledger = Ledger::default();
        assert_eq!(enter(&mut ledger, &letters).unwrap(), Found::default());
        let letter = |number| {
            let mut line = String::new();
            write(&mut line, &Fields { source: "a", stream: Stream::Out, number, written_ns: 5 }, 1, 120);
            serde_json::json!({"v": 1, "line": line}).to_string()
        };
        fs::create_dir(&letters.folder).unwrap();
        let text = format!("{}\n{}\n{{\"line\": \"other\"}}\n{{\"torn", letter(4), letter(7));
        fs::write(folder.path().join("dead/1.jsonl"), text).unwrap();
        fs::write(folder.path().join("dead/replay.lock"), letter(9)).unwrap();
        fs::create_dir(folder.path().join("dead/folder.jsonl")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.path().join("dead/zero.jsonl")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, folder.path().join("dead/pipe.jsonl"), 0o600.into()).unwrap();
        assert_eq!(enter(&mut ledger, &letters).unwrap(), Found { letters: 2, others: 2 });
        let sequence = ledger.sequence(&Key { source: "a".into(), stream: Stream::Out }).unwrap();
        assert_eq!(sequence.dead_lettered.runs().collect::<Vec<_>>(), [(4, 4), (7, 7)]);
        let said = doubts(enter(&mut ledger, &letters), 5).join("; ");
        assert_eq!(
            said,
            "2 of its dead letters hold no line of the run; it counts 5 dead letters, and 4 are there"
        );
        let file =
            DeadLetters { folder: folder.path().join("dead/1.jsonl").display().to_string(), ..letters };
        let said = doubts(enter(&mut ledger, &file), 0).join("; ");
        assert!(said.contains("can't be read") && said.contains("1.jsonl"), "{said}");
    }
}
