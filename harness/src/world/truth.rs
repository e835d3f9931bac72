//! What a generator has really written: two counters in a file of its own, which the harness can read
//! at any moment and which survive the container, whatever kills it.
//!
//! The file is sixteen bytes: lines written to standard output, then to standard error, each a
//! little-endian `u64`. It is written after the lines, so it never claims a line that was not written.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Lines written by one source, by output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// To standard output.
    pub stdout: u64,
    /// To standard error.
    pub stderr: u64,
}

impl Written {
    /// Both together.
    #[must_use]
    pub fn total(self) -> u64 {
        self.stdout + self.stderr
    }
}

/// A truth file can't be used.
#[derive(Debug, thiserror::Error)]
#[error("can't use the generator's counter file {path}: {source}")]
pub struct TruthError {
    path: PathBuf,
    source: io::Error,
}

/// The generator's end: goes on where an earlier life of the container ended.
#[derive(Debug)]
pub struct TruthFile {
    path: PathBuf,
    file: File,
}

impl TruthFile {
    /// Opens or makes the file, and reads what was written so far.
    ///
    /// # Errors
    /// [`TruthError`] where the file can't be opened or read.
    pub fn open(path: &Path) -> Result<(Self, Written), TruthError> {
        let failed = |source| TruthError { path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(failed)?;
        let written = read_counters(&file).map_err(failed)?;
        Ok((Self { path: path.to_owned(), file }, written))
    }

    /// Notes what was written.
    ///
    /// # Errors
    /// [`TruthError`] where the file can't be written.
    pub fn note(&self, written: Written) -> Result<(), TruthError> {
        let mut bytes = [0; 16];
        let (stdout, stderr) = bytes.split_at_mut(8);
        stdout.copy_from_slice(&written.stdout.to_le_bytes());
        stderr.copy_from_slice(&written.stderr.to_le_bytes());
        let result = self.file.write_all_at(&bytes, 0);
        result.map_err(|source| TruthError { path: self.path.clone(), source })
    }
}

/// Reads the counters of every source that has a file in `folder`, by the source's name.
///
/// # Errors
/// [`TruthError`] where the folder or a file can't be read.
pub fn read_all(folder: &Path) -> Result<BTreeMap<String, Written>, TruthError> {
    let failed = |source| TruthError { path: folder.to_owned(), source };
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        // The tempo, and what is replayed: no source's name begins like theirs.
        if path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with('.')) {
            continue;
        }
        let failed = |source| TruthError { path: path.clone(), source };
        let written = File::open(&path).and_then(|file| read_counters(&file)).map_err(failed)?;
        if let Some(source) = path.file_name().and_then(|name| name.to_str()) {
            all.insert(source.to_owned(), written);
        }
    }
    Ok(all)
}

/// A new file is empty: nothing written yet.
fn read_counters(file: &File) -> io::Result<Written> {
    let counter = |offset| {
        let mut bytes = [0; 8];
        match file.read_exact_at(&mut bytes, offset) {
            Ok(()) => Ok(u64::from_le_bytes(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            Err(error) => Err(error),
        }
    };
    Ok(Written { stdout: counter(0)?, stderr: counter(8)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::tempo::Tempo;

    #[test]
    fn a_second_life_goes_on_where_the_first_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c01");
        let (file, before) = TruthFile::open(&path).unwrap();
        assert_eq!(before, Written::default());
        let written = Written { stdout: 300, stderr: 7 };
        file.note(written).unwrap();
        assert_eq!(TruthFile::open(&path).unwrap().1, written);
        assert_eq!(read_all(folder.path()).unwrap(), BTreeMap::from([("c01".to_owned(), written)]));
    }

    #[test]
    fn the_tempo_beside_the_counters_is_none() {
        let folder = tempfile::tempdir().unwrap();
        Tempo::times(0.5).set(folder.path()).unwrap();
        assert_eq!(read_all(folder.path()).unwrap(), BTreeMap::new());
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let message = read_all(Path::new("/nowhere/truth")).unwrap_err().to_string();
        assert!(message.contains("/nowhere/truth"), "{message}");
    }
}
