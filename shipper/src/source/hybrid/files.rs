//! The log files of containers, as they lie in Docker's folder: `<id>/<id>-json.log`, and the older
//! generations `.1`, `.2` … that rotation leaves, or `.1.gz`, `.2.gz` … with `compress: true`.
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
/// So many generations may be missing in between: Docker renames them one by one while we look.
const HOLES_MAX: usize = 3;

/// Docker's folder of containers.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    handle: rustix::fd::OwnedFd,
}

/// A generation of a container's log: 0 is the one that Docker writes to, 1 the one before.
pub type Generation = u32;

/// How a generation is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it was written.
    Plain,
    /// Compressed by Docker when it was complete.
    Gzip,
}

/// A generation as it lies there now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which generation it is right now.
    pub generation: Generation,
    /// How it is kept.
    pub form: Form,
    /// Its device and inode.
    pub inode: (u64, u64),
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

    /// Whether a container's own folder is there.
    #[must_use]
    pub fn has(&self, id: &ContainerId) -> bool {
        let stat = rustix::fs::statat(&self.handle, id.as_str(), AtFlags::SYMLINK_NOFOLLOW);
        stat.is_ok_and(|stat| kind(&stat) == FileType::Directory)
    }

    /// Opens a generation of a container's log; `None` when there is none.
    ///
    /// # Errors
    /// When it can't be opened, is reached through a link, or is no regular file.
    pub fn log(&self, id: &ContainerId, generation: Generation, form: Form) -> io::Result<Option<File>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let name = name(id, generation, form);
        match rustix::fs::openat2(&self.handle, &name, flags, Mode::empty(), resolve) {
            Ok(handle) if kind(&rustix::fs::fstat(&handle)?) == FileType::RegularFile => {
                Ok(Some(File::from(handle)))
            }
            Ok(_) => Err(not_regular()),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// What lies at a generation's path now, if it is a regular file.
    #[must_use]
    pub fn look(&self, id: &ContainerId, generation: Generation, form: Form) -> Option<Seen> {
        let stat = self.stat(id, generation, form)?;
        let (inode, modified) = ((stat.st_dev, stat.st_ino), (stat.st_mtime, stat.st_mtime_nsec));
        (kind(&stat) == FileType::RegularFile).then_some(Seen { generation, form, inode, modified })
    }

    /// Refuses a pipe, a device, a folder or a link in place of the log that Docker writes to.
    ///
    /// # Errors
    /// When there is one.
    pub fn refuse_strangers(&self, id: &ContainerId) -> io::Result<()> {
        match self.stat(id, 0, Form::Plain) {
            Some(stat) if kind(&stat) != FileType::RegularFile => Err(not_regular()),
            Some(_) | None => Ok(()),
        }
    }

    /// All generations in the order in which they were written.
    ///
    /// They are looked for upwards, as Docker renames them: one that moves meanwhile is seen before its
    /// move or after it, or twice, but never missed. Of a generation that is being compressed both files
    /// are there, and only the plain one is complete.
    #[must_use]
    pub fn chain(&self, id: &ContainerId) -> Vec<Seen> {
        let mut chain: Vec<Seen> = Vec::new();
        let mut holes = 0;
        for generation in 0..GENERATIONS_MAX {
            let plain = self.look(id, generation, Form::Plain);
            let seen = plain.or_else(|| self.look(id, generation, Form::Gzip).filter(|_| generation > 0));
            match seen {
                Some(seen) => {
                    chain.retain(|other| other.inode != seen.inode);
                    chain.push(seen);
                    holes = 0;
                }
                None if holes == HOLES_MAX => break,
                None => holes += 1,
            }
        }
        chain.reverse();
        chain
    }

    fn stat(&self, id: &ContainerId, generation: Generation, form: Form) -> Option<rustix::fs::Stat> {
        rustix::fs::statat(&self.handle, name(id, generation, form), AtFlags::SYMLINK_NOFOLLOW).ok()
    }
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")
}

fn kind(stat: &rustix::fs::Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn name(id: &ContainerId, generation: Generation, form: Form) -> String {
    let id = id.as_str();
    let ending = if form == Form::Gzip { ".gz" } else { "" };
    match generation {
        0 => format!("{id}/{id}-json.log{ending}"),
        _ => format!("{id}/{id}-json.log.{generation}{ending}"),
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

    fn generations(folder: &Folder, id: &ContainerId) -> Vec<(Generation, Form)> {
        folder.chain(id).iter().map(|seen| (seen.generation, seen.form)).collect()
    }

    #[test]
    fn generations_come_in_the_order_in_which_they_were_written() {
        let (root, folder, id) = folder();
        for generation in 0..3 {
            fs::write(root.path().join(name(&id, generation, Form::Plain)), "x").unwrap();
        }
        assert_eq!(generations(&folder, &id), [2, 1, 0].map(|generation| (generation, Form::Plain)));
    }

    #[test]
    fn of_a_generation_that_is_being_compressed_the_plain_file_counts() {
        let (root, folder, id) = folder();
        for (generation, form) in
            [(0, Form::Plain), (1, Form::Plain), (1, Form::Gzip), (2, Form::Gzip), (4, Form::Gzip)]
        {
            fs::write(root.path().join(name(&id, generation, form)), "x").unwrap();
        }
        let expected = [(4, Form::Gzip), (2, Form::Gzip), (1, Form::Plain), (0, Form::Plain)];
        assert_eq!(generations(&folder, &id), expected);
    }

    #[test]
    fn a_file_that_is_seen_before_and_after_its_move_counts_once() {
        let (root, folder, id) = folder();
        let path = |generation| root.path().join(name(&id, generation, Form::Plain));
        fs::write(path(0), "x").unwrap();
        fs::hard_link(path(0), path(1)).unwrap();
        assert_eq!(generations(&folder, &id), [(1, Form::Plain)]);
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        let (root, folder, id) = folder();
        let path = root.path().join(name(&id, 0, Form::Plain));
        assert!(folder.log(&id, 0, Form::Plain).unwrap().is_none());
        let pipe: fn(&Path) = |path| {
            let mode = Mode::RUSR | Mode::WUSR;
            rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, mode, 0).unwrap();
        };
        let device: fn(&Path) = |path| {
            let null = rustix::fs::makedev(1, 3);
            rustix::fs::mknodat(rustix::fs::CWD, path, FileType::CharacterDevice, Mode::RUSR, null).unwrap();
        };
        let folder_there: fn(&Path) = |path| fs::create_dir(path).unwrap();
        let link: fn(&Path) = |path| symlink("/etc/hostname", path).unwrap();
        for make in [pipe, device, folder_there, link] {
            make(&path);
            assert!(folder.log(&id, 0, Form::Plain).is_err());
            assert!(folder.refuse_strangers(&id).is_err());
            assert_eq!(generations(&folder, &id), []);
            fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).unwrap();
        }
        fs::write(&path, "x").unwrap();
        folder.refuse_strangers(&id).unwrap();
    }

    #[test]
    fn a_link_in_place_of_the_container_is_refused() {
        let (root, folder, id) = folder();
        fs::remove_dir(root.path().join(id.as_str())).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join(format!("{}-json.log", id.as_str())), "x").unwrap();
        symlink(elsewhere.path(), root.path().join(id.as_str())).unwrap();
        assert!(folder.log(&id, 0, Form::Plain).is_err());
    }
}
