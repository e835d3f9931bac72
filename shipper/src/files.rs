//! Files on which much depends: those that the shipper keeps, for its owner only and without following a
//! link, and those that the config names. Nothing but regular files is opened.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock};

/// Opens a file of ours that is there, for reading. No link is followed.
///
/// # Errors
/// When it can't be had, or is no regular file.
pub fn open(path: &Path) -> io::Result<File> {
    regular(path, OFlags::NOFOLLOW)
}

/// All of a file that the config names; it may be reached through links.
///
/// # Errors
/// When it can't be read, is no regular file, is no text, or is longer than `bytes_max`.
pub fn read_named(path: &Path, bytes_max: u64) -> io::Result<String> {
    let mut text = String::new();
    regular(path, OFlags::empty())?.take(bytes_max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("it is longer than {bytes_max} bytes")));
    }
    Ok(text)
}

/// Makes a file that is not there yet, for its owner only.
///
/// # Errors
/// When it can't be made.
pub fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).read(true).create_new(true).mode(0o600).custom_flags(flags(OFlags::NOFOLLOW));
    options.open(path)
}

/// Makes a file, or empties it if it is there, for its owner only.
///
/// # Errors
/// When it can't be made.
pub fn create_anew(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let flags = flags(OFlags::NOFOLLOW | OFlags::NONBLOCK);
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(flags).open(path)
}

/// Whether somebody writes it. Those who ask do not disturb each other.
///
/// # Errors
/// When that can't be told.
pub fn is_in_use(file: &File) -> io::Result<bool> {
    let free = locked(file, FlockOperation::NonBlockingLockShared)?;
    if free {
        flock(file, FlockOperation::Unlock)?;
    }
    Ok(!free)
}

/// Lets only one process hold `path`, which is made if need be; `None` while another has it. The lock is
/// held as long as the file.
///
/// # Errors
/// When it can't be opened.
pub fn lock(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK))
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    Ok(lock_now(&file)?.then_some(file))
}

/// Locks an open file, if nobody else has.
///
/// # Errors
/// When that can't be told.
pub fn lock_now(file: &File) -> io::Result<bool> {
    locked(file, FlockOperation::NonBlockingLockExclusive)
}

fn locked(file: &File, how: FlockOperation) -> io::Result<bool> {
    match flock(file, how) {
        Ok(()) => Ok(true),
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Removes a file; that it is gone already is fine.
///
/// # Errors
/// When it stays.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes names that came and went last.
///
/// # Errors
/// When the disk fails.
pub fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn flags(flags: OFlags) -> i32 {
    flags.bits().cast_signed()
}

/// A pipe in a file's place must not hold us up, so it is opened without waiting and asked what it is.
fn regular(path: &Path, links: OFlags) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(flags(links | OFlags::NONBLOCK)).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file")) }
}
