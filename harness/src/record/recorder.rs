//! Writes a run directory while the run goes on. Every row is flushed, so that nothing but the row
//! under way is lost by a kill.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::record::files::{self, RecordError};
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
}

#[derive(Debug)]
struct Table {
    path: PathBuf,
    writer: csv::Writer<File>,
}

impl Recorder {
    /// Makes the folder, which must not hold a run yet, and its files.
    ///
    /// # Errors
    /// [`RecordError::Io`] that names what could not be made.
    pub fn create(folder: &Path) -> Result<Self, RecordError> {
        fs::create_dir_all(folder).map_err(RecordError::io("write", folder))?;
        let table = |name: &str| Table::create(&folder.join(name));
        Ok(Self {
            folder: folder.to_owned(),
            samples: table(files::SAMPLES)?,
            events: table(files::EVENTS)?,
            tasks: table(files::TASKS)?,
            threads: table(files::THREADS)?,
            fds: table(files::FDS)?,
            watches: table(files::WATCHES)?,
            memory: table(files::MEMORY)?,
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

impl Table {
    fn create(path: &Path) -> Result<Self, RecordError> {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        let file = file.map_err(RecordError::io("write", path))?;
        Ok(Self { path: path.to_owned(), writer: csv::Writer::from_writer(file) })
    }

    fn append<T: Serialize>(&mut self, rows: &[T]) -> Result<(), RecordError> {
        for row in rows {
            self.writer.serialize(row).map_err(|error| self.failed(error.into()))?;
        }
        self.writer.flush().map_err(|error| self.failed(error))
    }

    fn failed(&self, source: std::io::Error) -> RecordError {
        RecordError::Io { what: "write", path: self.path.clone(), source }
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
    fn a_folder_that_holds_a_run_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        drop(Recorder::create(folder.path()).unwrap());
        let message = Recorder::create(folder.path()).unwrap_err().to_string();
        assert!(message.contains("samples.csv") && message.contains("--out DIR"), "{message}");
    }
}
