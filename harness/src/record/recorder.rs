//! Writes a run directory while the run goes on. Every row is flushed, so that nothing but the row
//! under way is lost by a kill.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::record::files::{self, RecordError};
use crate::record::table::Table;
use crate::result::{Event, Kinds, Manifest, Sample};

/// A run directory being written.
#[derive(Debug)]
pub struct Recorder {
    folder: PathBuf,
    samples: Table,
    events: Table,
    tasks: Table,
    threads: Table,
    fds: Table,
    watches: Table,
    memory: Table,
    /// Held as long as it writes: nobody else may.
    _lock: File,
}

impl Recorder {
    /// Makes the folder, which must not hold a run yet, and its files.
    ///
    /// # Errors
    /// [`RecordError::Io`] that names what could not be made.
    pub fn create(folder: &Path) -> Result<Self, RecordError> {
        fs::create_dir_all(folder).map_err(RecordError::io("write", folder))?;
        Self::with_tables(folder, |name| Table::create(&folder.join(name)))
    }

    /// Goes on with the files of a run that was killed. Rows that it had not written whole are cut; answers with how
    /// many bytes those were.
    ///
    /// # Errors
    /// [`RecordError`]: somebody else writes there, or a file can't be used.
    pub fn open(folder: &Path) -> Result<(Self, u64), RecordError> {
        let mut cut = 0;
        let recorder = Self::with_tables(folder, |name| {
            let (table, bytes) = Table::open(&folder.join(name))?;
            cut += bytes;
            Ok(table)
        })?;
        Ok((recorder, cut))
    }

    fn with_tables(
        folder: &Path,
        mut table: impl FnMut(&str) -> Result<Table, RecordError>,
    ) -> Result<Self, RecordError> {
        let lock = lock(folder).map_err(RecordError::io("write", folder))?;
        Ok(Self {
            folder: folder.to_owned(),
            samples: table(files::SAMPLES)?,
            events: table(files::EVENTS)?,
            tasks: table(files::TASKS)?,
            threads: table(files::THREADS)?,
            fds: table(files::FDS)?,
            watches: table(files::WATCHES)?,
            memory: table(files::MEMORY)?,
            _lock: lock,
        })
    }

    /// Where it writes.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes `run.json` anew.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn manifest(&self, manifest: &Manifest) -> Result<(), RecordError> {
        files::write_json(&self.folder.join(files::RUN), manifest)
    }

    /// Appends rows of `samples.csv`.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn samples(&mut self, rows: &[Sample]) -> Result<(), RecordError> {
        self.samples.append(rows)
    }

    /// Appends a row of `events.csv`.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn event(&mut self, event: &Event) -> Result<(), RecordError> {
        self.events.append(std::slice::from_ref(event))
    }

    /// Appends rows of the files by kind.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn kinds(&mut self, kinds: &Kinds) -> Result<(), RecordError> {
        let Kinds { tasks, threads, fds, watches, memory } = kinds;
        self.tasks.append(tasks)?;
        self.threads.append(threads)?;
        self.fds.append(fds)?;
        self.watches.append(watches)?;
        self.memory.append(memory)
    }
}

/// Whether somebody writes there now.
#[must_use]
pub fn is_written(folder: &Path) -> bool {
    lock(folder).is_err_and(|error| error.kind() == ErrorKind::ResourceBusy)
}

/// Of the folder itself, which no child inherits and which ends with the process, however that ends. Where the file
/// system knows no locks there is none.
fn lock(folder: &Path) -> io::Result<File> {
    let lock = File::open(folder)?;
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => {
            Err(io::Error::new(ErrorKind::ResourceBusy, "another flatline is writing there"))
        }
        Ok(()) | Err(TryLockError::Error(_)) => Ok(lock),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{KindCount, Listing, Listings, MappedBytes};

    fn event(detail: &str) -> Event {
        Event { elapsed_s: 1.25, target: String::new(), event: "churn".into(), detail: detail.into() }
    }

    #[test]
    fn a_row_is_readable_as_soon_as_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::create(folder.path()).unwrap();
        recorder.event(&event("restart c01, \"quoted\"")).unwrap();
        let rows: Vec<Event> = files::read_csv(&folder.path().join(files::EVENTS)).unwrap();
        assert_eq!(rows, [event("restart c01, \"quoted\"")]);
    }

    #[test]
    fn what_is_written_by_kind_is_read_back_by_kind() {
        let folder = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::create(folder.path()).unwrap();
        let row =
            |kind: &str, count| KindCount { elapsed_s: 2.5, target: "pool".into(), kind: kind.into(), count };
        let kinds = Kinds {
            tasks: vec![row("retry", 4)],
            threads: vec![row("worker-*", 2)],
            fds: vec![row("file /a, \"b\"", 1), row("pipe", 3)],
            watches: vec![row("inotify", 8)],
            memory: vec![MappedBytes {
                elapsed_s: 2.5,
                target: "pool".into(),
                kind: "heap".into(),
                bytes: 8192,
                resident_bytes: None,
            }],
        };
        recorder.kinds(&kinds).unwrap();
        let read = files::read_kinds(folder.path()).unwrap();
        let Kinds { tasks, threads, fds, watches, memory } = kinds;
        assert_eq!(read.tasks, tasks.into_iter().collect());
        assert_eq!(read.threads, threads.into_iter().collect());
        assert_eq!(read.fds, fds.into_iter().collect());
        assert_eq!(read.watches, watches.into_iter().collect());
        assert_eq!(read.memory, memory.iter().map(|row| row.counted(row.bytes)).collect());
        assert_eq!(read.resident, Listing::default());
        let text = fs::read_to_string(folder.path().join(files::TASKS)).unwrap();
        assert_eq!(text, "elapsed_s,target,kind,count\n2.5,pool,retry,4\n");
        // As older folders are.
        fs::remove_file(folder.path().join(files::MEMORY)).unwrap();
        let older = files::read_kinds(folder.path()).unwrap();
        assert_eq!(older, Listings { memory: Listing::default(), ..read });
    }

    #[test]
    fn a_killed_run_is_gone_on_with_and_by_one_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::create(folder.path()).unwrap();
        recorder.event(&event("first")).unwrap();
        assert!(is_written(folder.path()));
        let message = Recorder::open(folder.path()).unwrap_err().to_string();
        assert!(message.contains("another flatline"), "{message}");
        drop(recorder);
        assert!(!is_written(folder.path()));
        let torn = folder.path().join(files::SAMPLES);
        fs::write(&torn, "elapsed_s,target\n2.5,pool\n3.").unwrap();
        fs::remove_file(folder.path().join(files::MEMORY)).unwrap();
        let (mut recorder, cut) = Recorder::open(folder.path()).unwrap();
        assert_eq!(cut, 2);
        recorder.event(&event("second")).unwrap();
        let rows: Vec<Event> = files::read_csv(&folder.path().join(files::EVENTS)).unwrap();
        assert_eq!(rows, [event("first"), event("second")]);
    }

    #[test]
    fn a_folder_that_holds_a_run_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        drop(Recorder::create(folder.path()).unwrap());
        let message = Recorder::create(folder.path()).unwrap_err().to_string();
        assert!(message.contains("samples.csv") && message.contains("--out DIR"), "{message}");
    }
}
