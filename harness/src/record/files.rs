//! Names in a run directory, and reading them back.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::result::contrast::Contrast;
use crate::result::{
    KindCount, Listing, Listings, Manifest, MappedBytes, RunResult, SCHEMA, Sample, Samples, VerdictFile,
};

/// What ran, where, and how it ended.
pub const RUN: &str = "run.json";
/// A row for each target and second.
pub const SAMPLES: &str = "samples.csv";
/// What happened.
pub const EVENTS: &str = "events.csv";
/// Descriptors by sort and place.
pub const FDS: &str = "fds.csv";
/// Threads by name.
pub const THREADS: &str = "threads.csv";
/// Tasks by the labels of their metric.
pub const TASKS: &str = "tasks.csv";
/// Inotify watches.
pub const WATCHES: &str = "watches.csv";
/// Mappings by class.
pub const MEMORY: &str = "memory.csv";
/// Every line accounted for, by target.
pub const AUDIT: &str = "audit.json";
/// What is needed to go on with the run.
pub const ORDER: &str = "order.json";
/// What was decided.
pub const VERDICT: &str = "verdict.json";

/// How the run stands against what is known.
pub const AGAINST: &str = "against.json";

/// A file is read so many bytes at a time.
const READ_BYTES: usize = 64 * 1024;

/// A file of a run directory can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Reading or writing failed.
    #[error("can't {what} {path}: {source}{}", advice(.what, .source))]
    Io {
        /// `read` or `write`.
        what: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The run was killed before it was judged by a flatline that did not write down by what; or this is no run directory.
    #[error(
        "can't read {path}: it is not there\n  \
         A run writes it at its end; what was measured until a kill is in the CSV files beside it."
    )]
    NotJudged {
        /// The file that is missing.
        path: PathBuf,
    },
    /// It is there, but not what it should be.
    #[error("{path} is damaged: {why}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

fn advice(what: &str, error: &io::Error) -> String {
    let place = match what {
        "read" => return String::new(),
        READ_KNOWN if error.kind() == io::ErrorKind::NotFound => {
            return "\n  `flatline baseline set RUN_DIR… --file FILE` makes one.".to_owned();
        }
        READ_KNOWN => return String::new(),
        KEEP_KNOWN => "--file FILE",
        ADD_TO => "--file FILE (of a run with --history FILE)",
        _ => "--out DIR",
    };
    let exists = if place == "--out DIR" {
        "Choose a new place with PLACE; a run never writes over another."
    } else {
        "Part of the path is a file; choose another place with PLACE."
    };
    let advice = [
        (io::ErrorKind::StorageFull, "Free some space, or choose another place with PLACE."),
        (io::ErrorKind::PermissionDenied, "Choose a place that you may write to with PLACE."),
        (io::ErrorKind::ReadOnlyFilesystem, "Choose a place that you may write to with PLACE."),
        (io::ErrorKind::NotFound, "No folder can be made there; choose another place with PLACE."),
        (io::ErrorKind::IsADirectory, "It is a folder; name a file with PLACE."),
        (io::ErrorKind::NotADirectory, "Part of the path is a file; choose another place with PLACE."),
        (io::ErrorKind::AlreadyExists, exists),
    ];
    let fitting = advice.into_iter().find(|(kind, _)| *kind == error.kind());
    fitting.map_or(String::new(), |(_, advice)| format!("\n  {}", advice.replace("PLACE", place)))
}

impl RecordError {
    /// For `map_err`.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { what, path: path.clone(), source }
    }
}

/// What is done with a history, and with known states: the advice depends on it.
pub(super) const ADD_TO: &str = "add to";
pub(super) const READ_KNOWN: &str = "read known states from";
pub(super) const KEEP_KNOWN: &str = "keep known states in";

/// Writes JSON so that a reader sees the old file or the new one, and never half of one.
///
/// # Errors
/// [`RecordError::Io`].
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), RecordError> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|error| RecordError::Damaged { path: path.to_owned(), why: error.to_string() })?;
    text.push(b'\n');
    let temporary = path.with_extension("tmp");
    // On the disk before it takes the old one's place: after a power cut there is one of the two.
    let on_disk = |text: &[u8]| {
        let mut file = fs::File::create(&temporary)?;
        file.write_all(text)?;
        file.sync_all()
    };
    let written = on_disk(&text).and_then(|()| fs::rename(&temporary, path));
    written.map_err(|error| {
        // Half a file helps nobody; on a full disk it also takes the last room.
        fs::remove_file(&temporary).unwrap_or_default();
        RecordError::io("write", path)(error)
    })
}

/// Reads JSON.
///
/// # Errors
/// [`RecordError`] where it can't be read or does not fit.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, RecordError> {
    let text = fs::read(path).map_err(RecordError::io("read", path))?;
    serde_json::from_slice(&text)
        .map_err(|error| RecordError::Damaged { path: path.to_owned(), why: error.to_string() })
}

/// Reads the rows of a CSV file. The last one may be torn by a kill, or be under way, and is then left out; a damaged
/// one in the middle is an error.
///
/// # Errors
/// [`RecordError`].
pub fn read_csv<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, RecordError> {
    let mut rows = Vec::new();
    each_row(path, |row| rows.push(row))?;
    Ok(rows)
}

/// The same row by row: the files of two days would not fit into memory.
///
/// # Errors
/// [`RecordError`].
pub fn each_row<T: DeserializeOwned>(path: &Path, mut take: impl FnMut(T)) -> Result<(), RecordError> {
    let mut file = File::open(path).map_err(RecordError::io("read", path))?;
    let whole = whole_bytes(&mut file).map_err(RecordError::io("read", path))?;
    let rows = BufReader::with_capacity(READ_BYTES, file).take(whole);
    let mut torn: Option<csv::Error> = None;
    for row in csv::Reader::from_reader(rows).deserialize() {
        if let Some(error) = torn {
            return Err(RecordError::Damaged { path: path.to_owned(), why: error.to_string() });
        }
        match row {
            Ok(row) => take(row),
            Err(error) => torn = Some(error),
        }
    }
    Ok(())
}

/// Up to where a file has whole rows. One without its line feed may look whole, and have lost the last digits of its
/// last number. The file is then read from its beginning.
fn whole_bytes(file: &mut File) -> io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut part = Vec::new();
    while end > 0 {
        let from = end.saturating_sub(READ_BYTES as u64);
        file.seek(SeekFrom::Start(from))?;
        part.clear();
        file.take(end - from).read_to_end(&mut part)?;
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            end = from + at as u64 + 1;
            break;
        }
        end = from;
    }
    file.rewind()?;
    Ok(end)
}

/// Reads `samples.csv`.
///
/// # Errors
/// [`RecordError`].
pub fn read_samples(folder: &Path) -> Result<Samples, RecordError> {
    let mut samples = Samples::default();
    each_row(&folder.join(SAMPLES), |row: Sample| samples.push(&row))?;
    Ok(samples)
}

/// Reads the files by kind.
///
/// # Errors
/// [`RecordError`] for the first file that is missing or damaged. Older folders have none of memory.
pub fn read_kinds(folder: &Path) -> Result<Listings, RecordError> {
    let of = |name: &str| {
        let mut listing = Listing::default();
        each_row(&folder.join(name), |row: KindCount| listing.push(&row))?;
        Ok::<_, RecordError>(listing)
    };
    let (mut memory, mut resident) = (Listing::default(), Listing::default());
    let path = folder.join(MEMORY);
    if path.exists() {
        each_row(&path, |row: MappedBytes| {
            memory.push(&row.counted(row.bytes));
            row.resident_bytes.iter().for_each(|bytes| resident.push(&row.counted(*bytes)));
        })?;
    }
    let (tasks, threads, fds, watches) = (of(TASKS)?, of(THREADS)?, of(FDS)?, of(WATCHES)?);
    Ok(Listings { tasks, threads, fds, watches, memory, resident })
}

/// Whether the rows by kind can be read, in the files that there are.
///
/// # Errors
/// [`RecordError`] for the first file that is damaged.
pub fn check_kinds(folder: &Path) -> Result<(), RecordError> {
    let there = |name: &&str| folder.join(name).exists();
    let counted = [TASKS, THREADS, FDS, WATCHES].into_iter().filter(there);
    let mapped = [MEMORY].into_iter().filter(there);
    counted.map(|name| folder.join(name)).try_for_each(|path| each_row(&path, |_: KindCount| ()))?;
    mapped.map(|name| folder.join(name)).try_for_each(|path| each_row(&path, |_: MappedBytes| ()))
}

/// Reads all that a report is drawn from.
///
/// # Errors
/// [`RecordError`] for the first file that is missing or damaged.
pub fn read_run(folder: &Path) -> Result<RunResult, RecordError> {
    let path = folder.join(VERDICT);
    if !path.exists() {
        return Err(RecordError::NotJudged { path });
    }
    let verdict: VerdictFile = read_versioned(&path)?;
    Ok(RunResult {
        manifest: read_manifest(folder)?,
        verdict,
        samples: read_samples(folder)?,
        events: read_csv(&folder.join(EVENTS))?,
        against: read_against(folder)?,
    })
}

/// Reads how the run stands against what is known, where it was held against that.
///
/// # Errors
/// [`RecordError`] where the file is damaged.
pub fn read_against(folder: &Path) -> Result<Option<Contrast>, RecordError> {
    let path = folder.join(AGAINST);
    if path.exists() { read_versioned(&path).map(Some) } else { Ok(None) }
}

/// Reads `run.json`.
///
/// # Errors
/// [`RecordError`].
pub fn read_manifest(folder: &Path) -> Result<Manifest, RecordError> {
    read_versioned(&folder.join(RUN))
}

/// Reads JSON that says which schema it has: one of another schema is told as that, and not by the field that is missing.
///
/// # Errors
/// [`RecordError`].
pub fn read_versioned<T: DeserializeOwned>(path: &Path) -> Result<T, RecordError> {
    #[derive(Deserialize)]
    struct Versioned {
        schema: u32,
    }
    let Versioned { schema } = read_json(path)?;
    if schema == SCHEMA {
        return read_json(path);
    }
    let why = format!("its schema is {schema}, and this flatline reads {SCHEMA}: use the one that wrote it");
    Err(RecordError::Damaged { path: path.to_owned(), why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::Event;

    #[test]
    fn a_torn_last_row_is_left_out_and_a_torn_middle_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(EVENTS);
        let good = "elapsed_s,target,event,detail\n1.5,,phase,load\n2.5,,churn,restart c01\n";
        fs::write(&path, format!("{good}3.5,,ph")).unwrap();
        assert_eq!(read_csv::<Event>(&path).unwrap().len(), 2);
        fs::write(&path, format!("{good}3.5,,phase,dr")).unwrap();
        assert_eq!(read_csv::<Event>(&path).unwrap().len(), 2, "it looks whole");
        fs::write(&path, "elapsed_s,tar").unwrap();
        assert_eq!(read_csv::<Event>(&path).unwrap(), []);
        fs::write(&path, good.replace("1.5,,phase,load", "1.5,")).unwrap();
        assert!(matches!(read_csv::<Event>(&path), Err(RecordError::Damaged { .. })));
    }

    #[test]
    fn another_schema_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(RUN), "{\"schema\": 2, \"name\": \"of another shape\"}").unwrap();
        let message = read_manifest(folder.path()).unwrap_err().to_string();
        assert!(message.contains("schema is 2") && message.contains("reads 1"), "{message}");
    }

    #[test]
    fn a_run_that_was_killed_before_its_verdict_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let message = read_run(folder.path()).unwrap_err().to_string();
        assert!(message.contains("verdict.json") && message.contains("at its end"), "{message}");
    }

    #[test]
    fn a_file_that_can_not_be_read_is_no_reason_to_choose_another_out() {
        let error = RecordError::io("read", Path::new("/x"))(io::Error::from(io::ErrorKind::NotADirectory));
        assert!(!error.to_string().contains("--out"), "{error}");
    }

    #[test]
    fn a_folder_that_may_not_be_written_is_named_with_advice() {
        let error = RecordError::io("write", Path::new("/x"))(io::Error::from(io::ErrorKind::StorageFull));
        insta::assert_snapshot!(error, @r"
        can't write /x: no storage space
          Free some space, or choose another place with --out DIR.
        ");
    }
}
