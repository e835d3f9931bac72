//! Which file is which: device, inode, and a fingerprint of the head.
//!
//! The inode alone is used again by the next file; the path is moved along at each rotation. The head
//! of a json-file log holds a time of nanoseconds, so its first kilobyte is as good as unique. While the
//! file is shorter than that, the fingerprint covers what there is and grows with it.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use crate::record::FileIdentity;

/// How much of a head is looked at.
const HEAD_BYTES: usize = 1024;

/// The identity of an open file as it is now.
///
/// # Errors
/// When it can't be read.
pub fn of(file: &File) -> io::Result<FileIdentity> {
    let metadata = file.metadata()?;
    let head = read_head(file, HEAD_BYTES)?;
    let head_len = u64::try_from(head.len()).unwrap_or(u64::MAX);
    Ok(FileIdentity { dev: metadata.dev(), ino: metadata.ino(), head_len, head_hash: hash(&head) })
}

/// Whether `file` is the one that `known` was taken of: the same inode, and its head begins as it did.
///
/// # Errors
/// When it can't be read.
pub fn is(file: &File, known: &FileIdentity) -> io::Result<bool> {
    let metadata = file.metadata()?;
    if (metadata.dev(), metadata.ino()) != (known.dev, known.ino) {
        return Ok(false);
    }
    let head = read_head(file, usize::try_from(known.head_len).unwrap_or(HEAD_BYTES).min(HEAD_BYTES))?;
    Ok(continues(known, &head))
}

/// Whether a fingerprint still covers less than it could.
#[must_use]
pub fn may_grow(known: &FileIdentity) -> bool {
    known.head_len < HEAD_BYTES as u64
}

/// Whether a file whose first bytes are `head` can be the file that `known` was taken of.
fn continues(known: &FileIdentity, head: &[u8]) -> bool {
    let covered = usize::try_from(known.head_len).ok().and_then(|bytes| head.get(..bytes));
    covered.is_some_and(|covered| hash(covered) == known.head_hash)
}

fn read_head(file: &File, bytes: usize) -> io::Result<Vec<u8>> {
    let mut head = vec![0; bytes];
    let mut filled = 0;
    while let Some(room) = head.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read_at(room, filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    head.truncate(filled);
    Ok(head)
}

/// FNV-1a with 64 bits: written to checkpoints, so it must be the same in every build.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hash_is_the_published_fnv_1a() {
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_file_that_grows_stays_itself_and_one_that_is_rewritten_does_not() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"one line").unwrap();
        let known = of(&file).unwrap();
        assert_eq!(known.head_len, 8);
        assert!(may_grow(&known));
        file.write_all(&[b'x'; 2000]).unwrap();
        assert!(is(&file, &known).unwrap());
        assert!(!may_grow(&of(&file).unwrap()));
        file.set_len(0).unwrap();
        file.write_at(b"another head", 0).unwrap();
        assert!(!is(&file, &known).unwrap());
    }

    proptest! {
        #[test]
        fn only_a_head_that_goes_on_matches(head in prop::collection::vec(any::<u8>(), 1..64), more in prop::collection::vec(any::<u8>(), 0..64), flipped in any::<prop::sample::Index>()) {
            let known = FileIdentity { dev: 1, ino: 1, head_len: head.len() as u64, head_hash: hash(&head) };
            let mut longer = [head.clone(), more].concat();
            prop_assert!(continues(&known, &longer));
            prop_assert!(!continues(&known, &head[..head.len() - 1]));
            longer[flipped.index(head.len())] ^= 1;
            prop_assert!(!continues(&known, &longer));
        }
    }
}
