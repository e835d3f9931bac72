//! Which file is which: device, inode, and a fingerprint of the head; and which place in it: a hash of
//! the bytes before it. Pure.
//!
//! The inode alone is used again by the next file; the path is moved along at each rotation. The head
//! of a json-file log holds a time of nanoseconds, so its first kilobyte is as good as unique. While the
//! file is shorter than that, the fingerprint covers what there is and grows with it. So does the end of
//! each line hold a time: who finds other bytes before a place than were there has another file before him.

use crate::record::FileIdentity;

/// How much of a head is looked at.
pub const HEAD_BYTES: usize = 1024;
/// How much is looked at before a place.
pub const TAIL_BYTES: usize = 64;

/// The identity of a file with this device, inode and head.
#[must_use]
pub fn of((dev, ino): (u64, u64), head: &[u8]) -> FileIdentity {
    let head = head.get(..HEAD_BYTES).unwrap_or(head);
    FileIdentity { dev, ino, head_len: head.len() as u64, head_hash: hash(head) }
}

/// Whether a fingerprint still covers less than it could.
#[must_use]
pub fn may_grow(known: &FileIdentity) -> bool {
    known.head_len < HEAD_BYTES as u64
}

/// Whether a file whose first bytes are `head` can be the file that `known` was taken of, as far as its
/// inode is the same. An empty head goes on as anything.
#[must_use]
pub fn continues(known: &FileIdentity, head: &[u8]) -> bool {
    covered(known, head).is_some_and(|covered| hash(covered) == known.head_hash)
}

/// Whether a file with another inode holds what `known` was taken of: a copy, or a compressed one. Empty
/// heads say nothing, and neither do the zero bytes that a power cut leaves.
#[must_use]
pub fn is_content_of(known: &FileIdentity, head: &[u8]) -> bool {
    continues(known, head)
        && covered(known, head).is_some_and(|covered| covered.iter().any(|byte| *byte != 0))
}

fn covered<'a>(known: &FileIdentity, head: &'a [u8]) -> Option<&'a [u8]> {
    usize::try_from(known.head_len).ok().and_then(|bytes| head.get(..bytes))
}

/// How many bytes before `offset` tell that it is still the same place.
#[must_use]
pub fn tail_len(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(TAIL_BYTES).min(TAIL_BYTES)
}

/// A hash of the last bytes of `before`, which ends at a place.
#[must_use]
pub fn tail_hash(before: &[u8]) -> u64 {
    hash(before.get(before.len().saturating_sub(TAIL_BYTES)..).unwrap_or_default())
}

/// FNV-1a with 64 bits: written to checkpoints, so it must be the same in every build.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hash_is_the_published_fnv_1a() {
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_fingerprint_grows_to_a_kilobyte() {
        let short = of((1, 2), b"one line");
        assert_eq!((short.head_len, may_grow(&short)), (8, true));
        let long = of((1, 2), &[b'x'; 2000]);
        assert_eq!((long.head_len, may_grow(&long)), (1024, false));
    }

    #[test]
    fn neither_an_empty_head_nor_zero_bytes_tell_one_content_from_another() {
        for head in [b"".as_slice(), &[0; 100]] {
            let known = of((1, 2), head);
            assert!(continues(&known, &[0; 200]));
            assert!(!is_content_of(&known, &[0; 200]));
        }
        assert!(is_content_of(&of((1, 2), b"line"), b"line and more"));
    }

    proptest! {
        #[test]
        fn only_a_head_that_goes_on_matches(head in prop::collection::vec(any::<u8>(), 1..64), more in prop::collection::vec(any::<u8>(), 0..64), flipped in any::<prop::sample::Index>()) {
            let known = of((1, 1), &head);
            let mut longer = [head.clone(), more].concat();
            prop_assert!(continues(&known, &longer));
            prop_assert!(!continues(&known, &head[..head.len() - 1]));
            longer[flipped.index(head.len())] ^= 1;
            prop_assert!(!continues(&known, &longer));
        }

        #[test]
        fn a_place_is_told_by_the_64_bytes_before_it(before in prop::collection::vec(any::<u8>(), 1..200), flipped in any::<prop::sample::Index>()) {
            let known = tail_hash(&before);
            let looked_at = tail_len(before.len() as u64);
            prop_assert_eq!(tail_hash(&before[before.len() - looked_at..]), known);
            let mut other = before.clone();
            let at = before.len() - looked_at + flipped.index(looked_at);
            other[at] ^= 1;
            prop_assert_ne!(tail_hash(&other), known);
        }
    }
}
