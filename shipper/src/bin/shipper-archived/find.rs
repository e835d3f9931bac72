//! Opens the file that is to be read next.

use std::fs::File;
use std::io;
use std::path::Path;
use std::slice;

use shipper::record::{ContainerId, FileIdentity};
use shipper::source::hybrid::chain::{self, Search};
use shipper::source::hybrid::content::Content;
use shipper::source::hybrid::files::{Folder, Form};

use crate::start::Next;

/// A file, and where to go on in it.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) file: File,
    pub(crate) identity: FileIdentity,
    pub(crate) offset: u64,
}

/// What a search came to.
#[derive(Debug)]
pub(crate) enum Found {
    Place(Place),
    /// Compressed: this design can't read it, and goes on behind it.
    Compressed(FileIdentity),
    /// There is none yet, or rotation has just moved it: look again.
    Nothing,
}

/// Looks for it in Docker's folder of containers.
pub(crate) fn find(root: &Path, id: &ContainerId, next: &Next) -> io::Result<Found> {
    let folder = Folder::open(root)?;
    let search = match next {
        Next::AtPath(offset) => return at_path(&folder, id, *offset),
        Next::End => chain::end(&folder, id)?,
        Next::Since(since_ns) => chain::since(&folder, id, *since_ns)?,
        Next::Oldest => chain::behind(&folder, id, &[], None)?,
        Next::At(place) => chain::resume(&folder, id, place)?,
        Next::Behind(passed) => {
            // Of an empty file there is nothing but the inode to tell it by.
            let inode = (passed.head_len == 0).then_some((passed.dev, passed.ino));
            chain::behind(&folder, id, slice::from_ref(passed), inode)?
        }
    };
    let Search::Found(found) = search else { return Ok(Found::Nothing) };
    if found.lost {
        tracing::warn!(container = %id, "the file that was read last is gone: the oldest that is left is next");
    }
    let (identity, offset) = (found.identity, found.offset);
    Ok(match found.content {
        Content::Plain(file) => Found::Place(Place { file, identity, offset }),
        Content::Archive { .. } => {
            tracing::warn!(container = %id, "a compressed file is passed over");
            Found::Compressed(identity)
        }
    })
}

/// Whichever file it is: nobody asks (`path_keyed_offset`, and post-mortem #1).
fn at_path(folder: &Folder, id: &ContainerId, offset: u64) -> io::Result<Found> {
    let Some(file) = folder.log(id, 0, Form::Plain)? else { return Ok(Found::Nothing) };
    let offset = if file.metadata()?.len() < offset { 0 } else { offset };
    let identity = identity_of(&file)?;
    Ok(Found::Place(Place { file, identity, offset }))
}

/// As its head is now.
pub(crate) fn identity_of(file: &File) -> io::Result<FileIdentity> {
    Content::Plain(file.try_clone()?).identity()
}
