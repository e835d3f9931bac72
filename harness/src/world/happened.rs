//! What has happened to the containers of a run so far, in counts: what a leak may follow.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Counts since the run's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Containers that were started, new or again.
    pub starts: u64,
    /// Those of them that were started again.
    pub restarts: u64,
    /// Rotations of their logs that were seen; `None` where no log could be looked at.
    pub rotations: Option<u64>,
}

/// Keeps count; whoever starts and ends containers tells it.
#[derive(Debug)]
pub struct Happened {
    containers_root: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    starts: u64,
    restarts: u64,
    rotations: u64,
    any_seen: bool,
    is_unreadable: bool,
    /// The log of each container that runs, as it was seen last.
    logs: BTreeMap<String, Option<Log>>,
}

/// Which file a log is, and how long.
#[derive(Clone, Copy, Debug)]
struct Log {
    device: u64,
    inode: u64,
    bytes: u64,
}

impl Happened {
    /// Nothing yet; the engine keeps its containers' logs in `containers_root`.
    #[must_use]
    pub fn new(containers_root: PathBuf) -> Self {
        Self { containers_root, state: Mutex::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Each change is one step: a panic in between leaves it as it is.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new container was started.
    pub fn started(&self, id: &str) {
        let mut state = self.state();
        state.starts += 1;
        state.logs.insert(id.to_owned(), None);
    }

    /// A container was started again.
    pub fn restarted(&self) {
        let mut state = self.state();
        state.starts += 1;
        state.restarts += 1;
    }

    /// A container writes no more.
    pub fn ended(&self, id: &str) {
        self.state().logs.remove(id);
    }

    /// Looks at the logs and answers with all counts. Between two looks a log rotates once or not at all, as far as
    /// can be seen: it is another file then, or a shorter one.
    pub fn counts(&self) -> Counts {
        let mut state = self.state();
        let State { rotations, any_seen, is_unreadable, logs, .. } = &mut *state;
        for (id, seen) in logs {
            let path = self.containers_root.join(id).join(format!("{id}-json.log"));
            match fs::metadata(path) {
                Ok(now) => {
                    let now = Log { device: now.dev(), inode: now.ino(), bytes: now.len() };
                    *rotations += u64::from(seen.is_some_and(|seen| now.is_rotated(seen)));
                    *seen = Some(now);
                    *any_seen = true;
                }
                // Not written yet, or just being rotated.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(_) => *is_unreadable = true,
            }
        }
        Counts {
            starts: state.starts,
            restarts: state.restarts,
            rotations: (state.any_seen && !state.is_unreadable).then_some(state.rotations),
        }
    }
}

impl Log {
    fn is_rotated(self, before: Self) -> bool {
        (self.device, self.inode) != (before.device, before.inode) || self.bytes < before.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_and_restarts_are_told_apart() {
        let happened = Happened::new(PathBuf::from("/nowhere"));
        happened.started("a");
        happened.started("b");
        happened.restarted();
        assert_eq!(happened.counts(), Counts { starts: 3, restarts: 1, rotations: None });
    }

    #[test]
    fn a_log_that_is_another_file_or_shorter_was_rotated_and_one_that_grows_or_is_gone_was_not() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("a")).unwrap();
        let log = root.path().join("a/a-json.log");
        let happened = Happened::new(root.path().to_owned());
        happened.started("a");
        let rotations = |text: &str| {
            fs::write(&log, text).unwrap();
            happened.counts().rotations.unwrap()
        };
        assert_eq!(happened.counts().rotations, None, "there is no log yet");
        assert_eq!((rotations("one"), rotations("one two")), (0, 0));
        assert_eq!(rotations("on"), 1, "emptied in place");
        fs::rename(&log, root.path().join("a/a-json.log.1")).unwrap();
        assert_eq!(happened.counts().rotations, Some(1), "between two names");
        assert_eq!((rotations("one two three"), rotations("one two three four")), (2, 2), "another file");
        happened.ended("a");
        assert_eq!(rotations(""), 2, "of one that has ended nothing is counted");
    }

    #[test]
    fn logs_that_may_not_be_looked_at_have_no_count() {
        let root = tempfile::tempdir().unwrap();
        // A file where a folder should be: not there is another matter.
        fs::write(root.path().join("a"), "").unwrap();
        let happened = Happened::new(root.path().to_owned());
        happened.started("a");
        assert_eq!(happened.counts().rotations, None);
    }
}
