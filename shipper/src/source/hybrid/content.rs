//! What stands in a generation, plain or compressed.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use crate::record::{ContainerId, FileIdentity};
use crate::source::hybrid::archive::Archive;
use crate::source::hybrid::files::{Folder, Form, Seen};
use crate::source::hybrid::identity;

/// An open generation.
#[derive(Debug)]
pub enum Content {
    /// As Docker writes it.
    Plain(File),
    /// As Docker leaves it.
    Archive {
        /// Its own device and inode.
        inode: (u64, u64),
        /// Its first bytes.
        head: Vec<u8>,
        /// The rest.
        archive: Box<Archive>,
    },
}

impl Content {
    /// Opens a generation, if it still is the file that was seen: rotation may have moved it.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn open(folder: &Folder, id: &ContainerId, seen: &Seen) -> io::Result<Option<Self>> {
        let Some(file) = folder.log(id, seen.generation, seen.form)? else { return Ok(None) };
        let metadata = file.metadata()?;
        let inode = (metadata.dev(), metadata.ino());
        if inode != seen.inode {
            return Ok(None);
        }
        if seen.form == Form::Plain {
            return Ok(Some(Self::Plain(file)));
        }
        let mut archive = Box::new(Archive::open(file)?);
        let mut head = vec![0; identity::HEAD_BYTES];
        let bytes = archive.read_at(&mut head, 0)?.unwrap_or_default();
        head.truncate(bytes);
        Ok(Some(Self::Archive { inode, head, archive }))
    }

    /// Which file it is, as it is now.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn identity(&self) -> io::Result<FileIdentity> {
        match self {
            Self::Plain(file) => {
                let metadata = file.metadata()?;
                Ok(identity::of((metadata.dev(), metadata.ino()), &self.head()?))
            }
            Self::Archive { inode, head, .. } => Ok(identity::of(*inode, head)),
        }
    }

    /// Its first bytes.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn head(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain(file) => {
                let mut head = vec![0; identity::HEAD_BYTES];
                let bytes = read_plain(file, &mut head, 0)?;
                head.truncate(bytes);
                Ok(head)
            }
            Self::Archive { head, .. } => Ok(head.clone()),
        }
    }

    /// Fills `page` with what stands at `at`, as far as there is anything; `None` when an archive must be
    /// asked again.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn read_at(&mut self, page: &mut [u8], at: u64) -> io::Result<Option<usize>> {
        match self {
            Self::Plain(file) => read_plain(file, page, at).map(Some),
            Self::Archive { archive, .. } => archive.read_at(page, at),
        }
    }

    /// The hash of what stands before `offset`; `None` if so much is not there, or it is compressed and
    /// far to go.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn tail_hash(&self, offset: u64) -> io::Result<Option<u64>> {
        let Self::Plain(file) = self else { return Ok(None) };
        let mut tail = vec![0; identity::tail_len(offset)];
        let begin = offset - tail.len() as u64;
        let bytes = read_plain(file, &mut tail, begin)?;
        Ok((bytes == tail.len()).then(|| identity::tail_hash(&tail)))
    }

    /// Why an archive ended early, if it did.
    #[must_use]
    pub fn broken(&self) -> Option<&io::Error> {
        match self {
            Self::Plain(_) => None,
            Self::Archive { archive, .. } => archive.broken(),
        }
    }

    /// Its size on disk once it has no name any more: only our hold on it keeps that space.
    ///
    /// # Errors
    /// When the file can't be asked.
    pub fn deleted(&self) -> io::Result<Option<u64>> {
        match self {
            Self::Plain(file) => {
                let metadata = file.metadata()?;
                Ok((metadata.nlink() == 0).then(|| metadata.size()))
            }
            Self::Archive { archive, .. } => archive.deleted(),
        }
    }
}

/// A read from a regular file is short at its end only.
fn read_plain(file: &File, page: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(page, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}
