//! The log files of containers, as they lie in Docker's folder: `<id>/<id>-json.log`, and the older
//! generations `.1`, `.2` … that rotation leaves.
//!
//! Paths come from ids only, which are 64 hexadecimal digits, and are opened beneath the folder without
//! following any link: who can write there must not make us read another file.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::record::ContainerId;

/// Docker's `max-file` is rarely above 10; what lies beyond this is not looked for.
const GENERATIONS_MAX: u32 = 100;

/// Docker's folder of containers.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    handle: rustix::fd::OwnedFd,
}

/// A generation of a container's log: 0 is the one that Docker writes to, 1 the one before.
pub type Generation = u32;

/// What tells one file from another, and an older one from a newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which generation it is right now.
    pub generation: Generation,
    /// Its device.
    pub dev: u64,
    /// Its inode.
    pub ino: u64,
    /// When it was last written to, as seconds and nanoseconds.
    pub modified: (i64, u64),
}

impl Folder {
    /// Opens the folder itself; this one may be reached through links.
    ///
    /// # Errors
    /// When it is not there or not ours to read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self { path: path.to_owned(), handle })
    }

    /// A container's own folder: what is watched.
    #[must_use]
    pub fn of(&self, id: &ContainerId) -> PathBuf {
        self.path.join(id.as_str())
    }

    /// Opens a generation of a container's log; `None` when there is none.
    ///
    /// # Errors
    /// When it can't be opened, is reached through a link, or is no regular file.
    pub fn log(&self, id: &ContainerId, generation: Generation) -> io::Result<Option<File>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let name = name(id, generation);
        match rustix::fs::openat2(&self.handle, &name, flags, Mode::empty(), resolve) {
            Ok(handle) if kind(&rustix::fs::fstat(&handle)?) == FileType::RegularFile => {
                Ok(Some(File::from(handle)))
            }
            Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// What lies at a generation's path now.
    #[must_use]
    pub fn look(&self, id: &ContainerId, generation: Generation) -> Option<Seen> {
        let stat = rustix::fs::statat(&self.handle, name(id, generation), AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let modified = (stat.st_mtime, stat.st_mtime_nsec);
        Some(Seen { generation, dev: stat.st_dev, ino: stat.st_ino, modified })
    }

    /// All generations in the order in which they were written. Compressed ones are not among them.
    #[must_use]
    pub fn chain(&self, id: &ContainerId) -> Vec<Seen> {
        let older = (1..GENERATIONS_MAX).map_while(|generation| self.look(id, generation));
        let mut chain: Vec<Seen> = self.look(id, 0).into_iter().chain(older).collect();
        chain.reverse();
        chain
    }
}

fn kind(stat: &rustix::fs::Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn name(id: &ContainerId, generation: Generation) -> String {
    let id = id.as_str();
    match generation {
        0 => format!("{id}/{id}-json.log"),
        _ => format!("{id}/{id}-json.log.{generation}"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder() -> (tempfile::TempDir, Folder, ContainerId) {
        let root = tempfile::tempdir().unwrap();
        let id = ContainerId::parse(&"a".repeat(64)).unwrap();
        fs::create_dir(root.path().join(id.as_str())).unwrap();
        let folder = Folder::open(root.path()).unwrap();
        (root, folder, id)
    }

    #[test]
    fn generations_come_in_the_order_in_which_they_were_written() {
        let (root, folder, id) = folder();
        for generation in 0..3 {
            fs::write(root.path().join(name(&id, generation)), "x").unwrap();
        }
        let chain: Vec<_> = folder.chain(&id).iter().map(|seen| seen.generation).collect();
        assert_eq!(chain, [2, 1, 0]);
    }

    #[test]
    fn a_link_or_a_folder_in_place_of_the_log_is_refused() {
        let (root, folder, id) = folder();
        let path = root.path().join(name(&id, 0));
        assert!(folder.log(&id, 0).unwrap().is_none());
        symlink("/etc/hostname", &path).unwrap();
        assert!(folder.log(&id, 0).is_err());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(folder.log(&id, 0).is_err());
    }

    #[test]
    fn a_link_in_place_of_the_container_is_refused() {
        let (root, folder, id) = folder();
        fs::remove_dir(root.path().join(id.as_str())).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join(format!("{}-json.log", id.as_str())), "x").unwrap();
        symlink(elsewhere.path(), root.path().join(id.as_str())).unwrap();
        assert!(folder.log(&id, 0).is_err());
    }
}
