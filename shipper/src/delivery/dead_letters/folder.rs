//! The folder of dead letters: which files in it are segments, and how a new one begins.
//!
//! Whoever writes a segment holds a lock on it (`flock`), which the kernel takes back when that process
//! ends; so a replay knows which one is still being written.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::files;

/// Our names have ten digits; a file with a larger number is not ours.
const NUMBER_MAX: u64 = 9_999_999_999;
const SUFFIX: &str = ".jsonl";
/// Somebody else may make a segment at the same moment.
const NUMBERS_TRIED_MAX: u64 = 100;

/// A file of letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its name; segments are numbered in the order in which they were begun.
    pub number: u64,
    /// Its size.
    pub bytes: u64,
}

/// Makes the folder, for its owner only.
///
/// # Errors
/// When it can't be made, or is another's.
pub fn make(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    refuse_link(dir)?;
    if dir.metadata()?.permissions().mode() & 0o077 != 0 {
        std::fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Who can put a link in the folder's place must not make us write, or remove, elsewhere.
fn refuse_link(dir: &Path) -> io::Result<()> {
    if dir.symlink_metadata()?.is_symlink() {
        return Err(io::Error::other("it is a link: give state_dir a folder of its own"));
    }
    Ok(())
}

/// Where a segment is.
#[must_use]
pub fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}{SUFFIX}"))
}

/// All segments, the oldest first. A folder that is not there has none, and a link is refused.
///
/// # Errors
/// When it can't be read.
pub fn list(dir: &Path) -> io::Result<Vec<Segment>> {
    match refuse_link(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        regular => regular?,
    }
    let entries = std::fs::read_dir(dir)?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Some(number) = entry.file_name().to_str().and_then(number) else { continue };
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => found.push(Segment { number, bytes: metadata.len() }),
            Ok(_) => {}
            // Removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_by_key(|segment| segment.number);
    Ok(found)
}

fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let number = digits.parse().ok().filter(|number| *number < NUMBER_MAX)?;
    (digits == format!("{number:010}")).then_some(number)
}

/// Begins the segment after `last`, locked by whoever holds the file.
///
/// # Errors
/// When it can't be made and locked.
pub fn begin(dir: &Path, last: u64) -> io::Result<(u64, File)> {
    for number in last + 1..=last + NUMBERS_TRIED_MAX {
        match files::create(&path(dir, number)) {
            // Between its making and its locking a replay may have found it, empty, and removed it.
            Ok(file) if files::lock_now(&file)? && file.metadata()?.nlink() > 0 => {
                files::sync(dir)?;
                return Ok((number, file));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other(format!("the names after {last:010}{SUFFIX} are taken")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_strangers_are_no_segments() {
        let dir = tempfile::tempdir().unwrap();
        let other = dir.path().join("other");
        std::fs::write(&other, "x").unwrap();
        std::os::unix::fs::symlink(&other, path(dir.path(), 1)).unwrap();
        std::fs::create_dir(path(dir.path(), 2)).unwrap();
        std::fs::write(dir.path().join("7.jsonl"), "").unwrap();
        std::fs::write(dir.path().join(format!("{}.jsonl", u64::MAX)), "").unwrap();
        std::fs::write(path(dir.path(), 3), "abc").unwrap();
        assert_eq!(list(dir.path()).unwrap(), [Segment { number: 3, bytes: 3 }]);
        assert!(files::open(&path(dir.path(), 1)).is_err());
        assert!(files::open(&path(dir.path(), 2)).is_err());
        assert!(files::lock(&path(dir.path(), 1)).is_err());
        assert_eq!(std::fs::read_to_string(other).unwrap(), "x");
    }

    #[test]
    fn a_segment_is_in_use_as_long_as_its_writer_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(path(dir.path(), 5), "").unwrap();
        let (number, writer) = begin(dir.path(), 4).unwrap();
        assert_eq!(number, 6);
        let reader = files::open(&path(dir.path(), 6)).unwrap();
        assert!(files::is_in_use(&reader).unwrap());
        drop(writer);
        assert!(!files::is_in_use(&reader).unwrap());
    }

    #[test]
    fn a_folder_that_others_could_read_is_closed_to_them() {
        let dir = tempfile::tempdir().unwrap();
        let letters = dir.path().join("dead");
        std::fs::create_dir(&letters).unwrap();
        std::fs::set_permissions(&letters, Permissions::from_mode(0o755)).unwrap();
        make(&letters).unwrap();
        assert_eq!(letters.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }
}
