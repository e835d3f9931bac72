//! Where a container's log lies: the names of its files, how far it has been written, and each file once, while they
//! change their names.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flate2::read::MultiGzDecoder;
use tokio::sync::watch;

use super::options::Rotation;

/// What is read of a file at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// How far a log has been written: whoever follows it waits for this to change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// How often a new file was begun.
    pub(super) generation: u64,
    /// Bytes of the file that is written to.
    pub(super) bytes: u64,
}

/// Where a container's log lies, and how far it has been written.
#[derive(Debug)]
pub(super) struct LogPlace {
    pub(super) path: PathBuf,
    pub(super) rotation: Rotation,
    pub(super) mark: watch::Sender<Mark>,
    /// Held while files change their names.
    names: Mutex<()>,
}

impl LogPlace {
    /// Nothing is written yet.
    pub(super) fn new(path: PathBuf, rotation: Rotation) -> Self {
        Self { path, rotation, mark: watch::Sender::default(), names: Mutex::new(()) }
    }

    pub(super) fn names(&self) -> MutexGuard<'_, ()> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every file that there is, the oldest first, and which generation the last of them is.
    pub(super) fn files(&self) -> io::Result<(Vec<Open>, u64)> {
        let _names = self.names();
        let mut files = Vec::new();
        for age in (1..self.rotation.max_files).rev() {
            files.extend(self.open_rotated(age)?);
        }
        match File::open(&self.path) {
            Ok(file) => files.push(Open { file, packed: false }),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok((files, self.mark.borrow().generation))
    }

    /// One that is being packed is there in both forms, and whole in the plain one.
    fn open_rotated(&self, age: u32) -> io::Result<Option<Open>> {
        for packed in [false, true] {
            match File::open(rotated(&self.path, age, packed)) {
                Ok(file) => return Ok(Some(Open { file, packed })),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The file of a generation; of a later one where it is gone.
    pub(super) fn generation(&self, wanted: u64) -> io::Result<(Open, u64)> {
        let _names = self.names();
        let newest = self.mark.borrow().generation;
        for generation in wanted..newest {
            let age = u32::try_from(newest - generation).unwrap_or(u32::MAX);
            if age < self.rotation.max_files
                && let Some(open) = self.open_rotated(age)?
            {
                return Ok((open, generation));
            }
        }
        Ok((Open { file: File::open(&self.path)?, packed: false }, newest))
    }
}

/// A file of a log.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) file: File,
    pub(super) packed: bool,
}

impl Open {
    /// Reads it from its beginning.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn reader(&self) -> io::Result<Box<dyn BufRead + Send>> {
        let file = self.file.try_clone()?;
        Ok(if self.packed {
            Box::new(BufReader::new(MultiGzDecoder::new(file)))
        } else {
            Box::new(BufReader::with_capacity(CHUNK_BYTES, file))
        })
    }
}

/// `…-json.log.3`, `…-json.log.3.gz`.
pub(super) fn rotated(path: &Path, age: u32, packed: bool) -> PathBuf {
    let ending = if packed { ".gz" } else { "" };
    PathBuf::from(format!("{}.{age}{ending}", path.display()))
}
