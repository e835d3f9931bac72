//! Where the reading of a log begins, and which of its files is next. Pure: this is where post-mortem #1 is.
//!
//! | | first look | goes on after a stop | goes on after a rotation |
//! | --- | --- | --- | --- |
//! | `replay_history` | first line of what is at the path | the same | the same |
//! | `path_keyed_offset` | what is at the path, at the offset that is kept for the path | the same | first line of what is at the path |
//! | neither | the file that was read last, wherever it is now, and the place in it | the same | the file behind it |

use shipper::record::{FileIdentity, Position};
use shipper::source::hybrid::chain::Place;

use crate::config::Defects;

/// Which file: device and inode.
pub(crate) type Key = (u64, u64);

/// What is opened next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Next {
    /// Whatever is at the path now, at this offset; at its first line, if it is shorter than that.
    AtPath(u64),
    /// Whatever is at the path now, behind all that is in it: history that nobody asked for.
    End,
    /// The first line of this time or later, in nanoseconds since the epoch: so much history was asked for.
    Since(i64),
    /// The oldest file that there is: all of them are ours.
    Oldest,
    /// This very file, wherever rotation has put it.
    At(Place),
    /// The file behind this one.
    Behind(FileIdentity),
}

/// For a container that is seen for the first time. `saved` is what an earlier process left, and `history`
/// whether it was there before the first of them; then lines from `since_ns` on are wanted, if that is known.
pub(crate) fn first(
    defects: Defects,
    saved: Option<&Position>,
    history: bool,
    since_ns: Option<i64>,
) -> Next {
    match saved {
        // As the hybrid design did it: each open is a new file to it, and a new file has no offset.
        _ if defects.replay_history => Next::AtPath(0),
        Some(Position::File { offset, .. }) if defects.path_keyed_offset => Next::AtPath(*offset),
        Some(Position::File { identity, offset, tail_hash, .. }) => {
            Next::At(Place { identity: *identity, offset: *offset, tail_hash: *tail_hash, ahead: None })
        }
        _ if history => since_ns.map_or(Next::End, Next::Since),
        _ if defects.path_keyed_offset => Next::AtPath(0),
        _ => Next::Oldest,
    }
}

/// Once a file was read up to `offset` and is given up.
pub(crate) fn after(defects: Defects, identity: FileIdentity, offset: u64, rotated: bool) -> Next {
    match rotated {
        _ if defects.replay_history => Next::AtPath(0),
        true if defects.path_keyed_offset => Next::AtPath(0),
        false if defects.path_keyed_offset => Next::AtPath(offset),
        true => Next::Behind(identity),
        false => Next::At(Place { identity, offset, tail_hash: None, ahead: None }),
    }
}

/// Whether a container that runs no more has lines there that were not read.
pub(crate) fn is_owed(next: &Next) -> bool {
    matches!(next, Next::Behind(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Defects = Defects {
        replay_history: false,
        unbounded_retry: false,
        no_timestamp_check: false,
        leak_handles: false,
        no_metadata_cache: false,
        commit_on_read: false,
        path_keyed_offset: false,
        mixed_streams: false,
    };
    const REPLAY: Defects = Defects { replay_history: true, ..NONE };
    const BY_PATH: Defects = Defects { path_keyed_offset: true, ..NONE };
    const FILE: FileIdentity = FileIdentity { dev: 1, ino: 7, head_len: 3, head_hash: 4 };
    const SAVED: Position =
        Position::File { identity: FILE, offset: 60, tail_hash: None, ahead: None, time_ns: None };

    #[test]
    fn with_replay_each_open_begins_with_the_first_line() {
        for defects in [REPLAY, Defects { path_keyed_offset: true, ..REPLAY }] {
            assert!(matches!(first(defects, None, true, None), Next::AtPath(0)));
            assert!(matches!(first(defects, Some(&SAVED), true, None), Next::AtPath(0)));
            assert!(matches!(after(defects, FILE, 60, false), Next::AtPath(0)));
            assert!(matches!(after(defects, FILE, 60, true), Next::AtPath(0)));
        }
    }

    #[test]
    fn without_it_history_is_passed_over_and_what_is_new_is_read_whole() {
        assert!(matches!(first(NONE, None, true, Some(5)), Next::Since(5)));
        assert!(matches!(first(NONE, None, true, None), Next::End));
        assert!(matches!(first(NONE, None, false, None), Next::Oldest));
        assert!(matches!(first(BY_PATH, None, true, None), Next::End));
        assert!(matches!(first(BY_PATH, None, false, None), Next::AtPath(0)));
    }

    #[test]
    fn it_goes_on_where_it_was_and_then_with_the_file_behind() {
        let was_there = |next| matches!(next, Next::At(Place { identity: FILE, offset: 60, .. }));
        assert!(was_there(first(NONE, Some(&SAVED), true, None)));
        assert!(was_there(after(NONE, FILE, 60, false)));
        let behind = after(NONE, FILE, 60, true);
        assert!(matches!(behind, Next::Behind(FILE)));
        assert!(is_owed(&behind) && !is_owed(&after(NONE, FILE, 60, false)));
    }

    #[test]
    fn by_path_whatever_is_there_gets_the_offset() {
        assert!(matches!(first(BY_PATH, Some(&SAVED), true, None), Next::AtPath(60)));
        assert!(matches!(after(BY_PATH, FILE, 60, false), Next::AtPath(60)));
        assert!(matches!(after(BY_PATH, FILE, 60, true), Next::AtPath(0)));
    }
}
