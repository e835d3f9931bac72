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

/// Whether a file with this inode and these first bytes is what `known` was taken of, or holds the same: a
/// copy, or a compressed one. An empty head goes on as anything in its own file; in another it says nothing,
/// and neither do the zero bytes that a power cut leaves.
#[must_use]
pub fn is_same(known: &FileIdentity, inode: (u64, u64), head: &[u8]) -> bool {
    let tells = || covered(known, head).is_some_and(|covered| covered.iter().any(|byte| *byte != 0));
    continues(known, head) && (inode == (known.dev, known.ino) || tells())
}

fn continues(known: &FileIdentity, head: &[u8]) -> bool {
    covered(known, head).is_some_and(|covered| hash(covered) == known.head_hash)
}

fn covered<'a>(known: &FileIdentity, head: &'a [u8]) -> Option<&'a [u8]> {
    usize::try_from(known.head_len).ok().and_then(|bytes| head.get(..bytes))
}

/// How many bytes before `offset` tell that it is still the same place.
#[must_use]
pub fn tail_len(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(TAIL_BYTES).min(TAIL_BYTES)
}

/// A hash of the last bytes of `before`, which ends at a place. There is one for each line, so it takes the
/// steps of [`hash`] eight bytes at a time.
#[must_use]
pub fn tail_hash(before: &[u8]) -> u64 {
    let tail = before.get(before.len().saturating_sub(TAIL_BYTES)..).unwrap_or_default();
    let (words, rest) = tail.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    words.chain(rest.iter().copied().map(u64::from)).fold(FNV_BASIS, fnv_step)
}

/// FNV-1a with 64 bits: written to checkpoints, so it must be the same in every build.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().copied().map(u64::from).fold(FNV_BASIS, fnv_step)
}

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

fn fnv_step(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(0x0100_0000_01b3)
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

    /// Checkpoints hold it: it must be the same in every build.
    #[test]
    fn the_hash_of_a_tail_stays_what_it_is() {
        let bytes: Vec<u8> = (0..100).collect();
        let hashes = [0, 7, 64, 100].map(|length| tail_hash(&bytes[..length]));
        let published = [0xcbf2_9ce4_8422_2325, 9_519_443_742_921_688_584];
        assert_eq!(hashes, [published, [6_082_632_073_057_624_421, 7_896_161_861_449_767_333]].concat()[..]);
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
            assert!(is_same(&known, (1, 2), &[0; 200]));
            assert!(!is_same(&known, (1, 3), &[0; 200]));
        }
        assert!(is_same(&of((1, 2), b"line"), (1, 3), b"line and more"));
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
