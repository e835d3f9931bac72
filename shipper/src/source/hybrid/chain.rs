//! Which generation is read next.
//!
//! What a file is decides, never a time: a clock may be set back. Rotation deletes from the old end only,
//! so what follows the newest generation that was read is what is next; and if none of those is there any
//! more, all that is there is newer.

use std::io;

use crate::record::{Ahead, ContainerId, FileIdentity};
use crate::source::hybrid::content::Content;
use crate::source::hybrid::files::{Folder, Form, Seen};
use crate::source::hybrid::identity;

/// What a search came to.
#[derive(Debug)]
pub enum Search {
    /// Go on here.
    Found(Box<Found>),
    /// There is nothing (yet).
    Nothing,
    /// Rotation moved it meanwhile: look again.
    Moved,
}

/// A generation and a place in it.
#[derive(Debug)]
pub struct Found {
    /// The file.
    pub content: Content,
    /// Which one it is.
    pub identity: FileIdentity,
    /// Where to go on.
    pub offset: u64,
    /// The hash of what stands before that place, if it is known.
    pub tail_hash: Option<u64>,
    /// Which lines behind that place are not wanted.
    pub ahead: Option<Ahead>,
    /// The generation before it, if there is one.
    pub before: Option<FileIdentity>,
    /// Whether this is not what was looked for, and something may be missing.
    pub lost: bool,
}

/// A place in a file, as a checkpoint knows it.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Which file.
    pub identity: FileIdentity,
    /// Where in it.
    pub offset: u64,
    /// The hash of what stood before that place.
    pub tail_hash: Option<u64>,
    /// Which lines behind it are not wanted.
    pub ahead: Option<Ahead>,
}

/// The end of what the container has written so far.
///
/// # Errors
/// When it can't be read.
pub fn end(folder: &Folder, id: &ContainerId) -> io::Result<Search> {
    let chain = folder.chain(id);
    let Some(newest) = chain.iter().rposition(|seen| seen.generation == 0) else {
        return Ok(Search::Nothing);
    };
    let search = open(folder, id, &chain, newest)?;
    if let Search::Found(mut found) = search {
        let size = match &found.content {
            Content::Plain(file) => file.metadata()?.len(),
            Content::Archive { .. } => 0,
        };
        found.tail_hash = found.content.tail_hash(size)?;
        found.offset = size;
        return Ok(Search::Found(found));
    }
    Ok(search)
}

/// The time of a file's last change is that of the kernel's last tick, and some file systems keep whole seconds
/// only: a line may be younger by as much.
const MODIFIED_LAG_NS: i64 = 2_000_000_000;

/// The oldest generation with lines of this time or later.
///
/// # Errors
/// When it can't be read.
pub fn since(folder: &Folder, id: &ContainerId, since_ns: i64) -> io::Result<Search> {
    let chain = folder.chain(id);
    for (at, seen) in chain.iter().enumerate() {
        let last_ns = last_time_ns(folder, id, seen)?;
        if last_ns.is_none_or(|last_ns| last_ns.saturating_add(MODIFIED_LAG_NS) >= since_ns) {
            return open(folder, id, &chain, at);
        }
    }
    Ok(Search::Nothing)
}

/// When a generation was last written to.
fn last_time_ns(folder: &Folder, id: &ContainerId, seen: &Seen) -> io::Result<Option<i64>> {
    if seen.form == Form::Gzip
        && let Some(Content::Archive { archive, .. }) = Content::open(folder, id, seen)?
        && let Some(last_ns) = archive.last_time_ns()
    {
        return Ok(Some(last_ns));
    }
    let (seconds, nanos) = seen.modified;
    let nanos = i64::try_from(nanos).unwrap_or_default();
    Ok(seconds.checked_mul(1_000_000_000).and_then(|whole| whole.checked_add(nanos)))
}

/// The generation that follows those that were read (oldest first). `held` is the inode of the one that is
/// open: it can't be used again meanwhile, so it tells enough, also while the file is empty.
///
/// # Errors
/// When it can't be read.
pub fn behind(
    folder: &Folder,
    id: &ContainerId,
    passed: &[FileIdentity],
    held: Option<(u64, u64)>,
) -> io::Result<Search> {
    let chain = folder.chain(id);
    let mut next = 0;
    for (at, seen) in chain.iter().enumerate().rev() {
        let was_read = if held == Some(seen.inode) {
            true
        } else {
            let Some(content) = Content::open(folder, id, seen)? else { return Ok(Search::Moved) };
            let head = content.head()?;
            passed.iter().any(|known| was_taken_of(known, seen, &head))
        };
        if was_read {
            next = at + 1;
            break;
        }
    }
    open(folder, id, &chain, next)
}

fn was_taken_of(known: &FileIdentity, seen: &Seen, head: &[u8]) -> bool {
    known.head_len > 0 && identity::is_same(known, seen.inode, head)
}

/// Whether what `known` was taken of lies in the chain.
///
/// # Errors
/// When it can't be read.
pub fn holds(folder: &Folder, id: &ContainerId, known: &FileIdentity) -> io::Result<bool> {
    for seen in folder.chain(id) {
        if let Some(content) = Content::open(folder, id, &seen)?
            && was_taken_of(known, &seen, &content.head()?)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The file of a checkpoint, wherever rotation has put it: first by its inode, then by its content, since
/// compressing and copying give it another. If it is nowhere, what follows it is read from its beginning,
/// and something may be missing.
///
/// # Errors
/// When it can't be read.
pub fn resume(folder: &Folder, id: &ContainerId, place: &Place) -> io::Result<Search> {
    let chain = folder.chain(id);
    let known = &place.identity;
    let is_known = |seen: &Seen| seen.inode == (known.dev, known.ino);
    for by_inode in [true, false] {
        for (at, _) in chain.iter().enumerate().filter(|(_, seen)| is_known(seen) == by_inode) {
            if let Some(search) = at_place(folder, id, &chain, at, place)? {
                return Ok(search);
            }
        }
    }
    // Also where its inode is there with other content: emptied in place, or used again by a newer one, and
    // then those before that one were not read.
    let mut search = open(folder, id, &chain, 0)?;
    if let Search::Found(found) = &mut search {
        found.lost = true;
    }
    Ok(search)
}

/// The copy that somebody made before he emptied the file in place, if it lies in the chain.
///
/// # Errors
/// When it can't be read.
pub fn copy(folder: &Folder, id: &ContainerId, place: &Place) -> io::Result<Search> {
    let chain = folder.chain(id);
    let known = &place.identity;
    for (at, seen) in chain.iter().enumerate() {
        if seen.inode != (known.dev, known.ino)
            && let Some(search) = at_place(folder, id, &chain, at, place)?
        {
            return Ok(search);
        }
    }
    Ok(Search::Nothing)
}

/// Opens a generation at `place`, if that place is in it.
fn at_place(
    folder: &Folder,
    id: &ContainerId,
    chain: &[Seen],
    at: usize,
    place: &Place,
) -> io::Result<Option<Search>> {
    let mut search = open(folder, id, chain, at)?;
    let Search::Found(found) = &mut search else { return Ok(Some(search)) };
    let inode = (found.identity.dev, found.identity.ino);
    let same_head = identity::is_same(&place.identity, inode, &found.content.head()?);
    let same_tail = match &found.content {
        // Its tail is compared when the reading has come that far.
        Content::Archive { .. } => true,
        Content::Plain(_) => {
            let tail_hash = found.content.tail_hash(place.offset)?;
            tail_hash.is_some() && place.tail_hash.is_none_or(|known| tail_hash == Some(known))
        }
    };
    found.offset = place.offset;
    found.tail_hash = place.tail_hash;
    found.ahead = place.ahead;
    Ok((same_head && same_tail).then_some(search))
}

/// Opens a generation of the chain at its beginning.
fn open(folder: &Folder, id: &ContainerId, chain: &[Seen], at: usize) -> io::Result<Search> {
    let Some(seen) = chain.get(at) else { return Ok(Search::Nothing) };
    let Some(content) = Content::open(folder, id, seen)? else { return Ok(Search::Moved) };
    let before = match at.checked_sub(1).and_then(|before| chain.get(before)) {
        Some(before) => Content::open(folder, id, before)?.map(|content| content.identity()).transpose()?,
        None => None,
    };
    let identity = content.identity()?;
    let found = Found { content, identity, offset: 0, tail_hash: None, ahead: None, before, lost: false };
    Ok(Search::Found(Box::new(found)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_was_moved_between_the_look_and_the_opening_is_looked_for_again() {
        let root = tempfile::tempdir().unwrap();
        let id = ContainerId::parse(&"a".repeat(64)).unwrap();
        let log = root.path().join(id.as_str()).join(format!("{}-json.log", id.as_str()));
        fs::create_dir(log.parent().unwrap()).unwrap();
        fs::write(&log, "one").unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let chain = folder.chain(&id);
        assert!(matches!(open(&folder, &id, &chain, 0).unwrap(), Search::Found(_)));
        fs::rename(&log, log.with_extension("log.1")).unwrap();
        assert!(matches!(open(&folder, &id, &chain, 0).unwrap(), Search::Moved));
        fs::write(&log, "two").unwrap();
        assert!(matches!(open(&folder, &id, &chain, 0).unwrap(), Search::Moved));
    }
}
