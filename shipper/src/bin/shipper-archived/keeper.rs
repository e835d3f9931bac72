//! Positions that outlive the process: the contiguous prefix of what is settled of each container, saved as
//! the shipper saves its own.
//!
//! | `path_keyed_offset` | what is kept of a place |
//! | --- | --- |
//! | on | the offset, by the path that the container's id makes: which file it was is forgotten |
//! | off | the offset, and the file's device, inode and head |

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shipper::delivery::checkpoint::{Checkpoint, Error, Lock, Store};
use shipper::ledger::{Commit, Ledger, Settled};
use shipper::metrics::Metrics;
use shipper::record::{ContainerId, FileIdentity, Position};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::quiet::Quiet;

/// Saved at most this often.
const INTERVAL: Duration = Duration::from_secs(1);
/// No file has this identity: a head of one byte has another hash.
const FORGOTTEN: FileIdentity = FileIdentity { dev: 0, ino: 0, head_len: 1, head_hash: 0 };

/// The one task that writes to `state_dir`.
#[derive(Debug)]
pub(crate) struct Keeper {
    store: Store,
    _lock: Lock,
    checkpoint: Checkpoint,
    ledger: Ledger,
    path_keyed_offset: bool,
    unsaved: bool,
    metrics: Arc<Metrics>,
    complaints: Quiet,
}

impl Keeper {
    /// Takes the folder for this process, and reads what an earlier one has left there.
    pub(crate) async fn open(
        folder: &Path,
        now_ns: i64,
        path_keyed_offset: bool,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Error> {
        let store = Store::open(folder).await?;
        let lock = store.lock()?;
        let checkpoint = store.load(now_ns).await?;
        Ok(Self {
            store,
            _lock: lock,
            checkpoint,
            ledger: Ledger::default(),
            path_keyed_offset,
            // So that the time of a first run is on disk before anything else happens.
            unsaved: true,
            metrics,
            complaints: Quiet::default(),
        })
    }

    /// As it is now.
    pub(crate) fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Saves what is settled until nobody is left who could settle anything.
    pub(crate) async fn run(mut self, mut settled: mpsc::Receiver<Settled>) {
        let mut tick = interval(INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                settled = settled.recv() => match settled {
                    Some(settled) => self.note(settled),
                    None => break,
                },
                _ = tick.tick() => self.save().await,
            }
        }
        self.save().await;
    }

    fn note(&mut self, settled: Settled) {
        let container = settled.container.clone();
        match self.ledger.settle(settled) {
            Some(Commit::Position(position)) => {
                let kept = if self.path_keyed_offset { by_path(position) } else { position };
                self.checkpoint.containers.insert(container, kept);
            }
            Some(Commit::Remove) => self.remove(&container),
            None => return,
        }
        self.unsaved = true;
    }

    fn remove(&mut self, container: &ContainerId) {
        self.checkpoint.containers.remove(container);
    }

    /// What can't be saved now is with the next attempt.
    async fn save(&mut self) {
        if !self.unsaved {
            self.metrics.checkpoint_age.up_to_date();
            return;
        }
        if let Err(error) = self.store.save(&self.checkpoint).await {
            self.metrics.checkpoint_failures.inc();
            if let Some(suppressed) = self.complaints.speak() {
                tracing::error!(%error, suppressed, "positions are not saved");
            }
            return;
        }
        self.unsaved = false;
        self.metrics.checkpoint_age.up_to_date();
        let entries = self.checkpoint.containers.len();
        self.metrics.checkpoint_entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
    }
}

/// The offset alone.
fn by_path(position: Position) -> Position {
    match position {
        Position::File { offset, .. } => {
            Position::File { identity: FORGOTTEN, offset, tail_hash: None, ahead: None, time_ns: None }
        }
        Position::Api { .. } => position,
    }
}

#[cfg(test)]
mod tests {
    use shipper::delivery::checkpoint::{self, Positions};
    use shipper::ledger::{Numbering, What};

    use super::*;

    const IDENTITY: FileIdentity = FileIdentity { dev: 1, ino: 2, head_len: 3, head_hash: 4 };

    fn at(identity: FileIdentity, offset: u64) -> Position {
        Position::File { identity, offset, tail_hash: None, ahead: None, time_ns: None }
    }

    fn id() -> ContainerId {
        ContainerId::parse(&"a".repeat(64)).unwrap()
    }

    /// Settles these of five lines, each ten bytes long, and ends it.
    async fn kept(path_keyed_offset: bool, settled: &[usize], gone: bool) -> Positions {
        let folder = tempfile::tempdir().unwrap();
        let keeper = Keeper::open(folder.path(), 7, path_keyed_offset, Metrics::new()).await.unwrap();
        let (tell, told) = mpsc::channel(8);
        let mut numbers = Numbering::new(1);
        let tickets: Vec<_> = (0..5).map(|_| numbers.take()).collect();
        for line in settled {
            let what = What::Read(at(IDENTITY, 10 * (*line as u64 + 1)));
            tell.send(Settled { ticket: tickets[*line], container: id(), what }).await.unwrap();
        }
        if gone {
            tell.send(Settled { ticket: numbers.take(), container: id(), what: What::Gone }).await.unwrap();
        }
        drop(tell);
        keeper.run(told).await;
        let saved = checkpoint::read(&checkpoint::path(folder.path())).unwrap().unwrap().unwrap();
        assert_eq!(saved.since_ns, 7);
        saved.containers
    }

    #[tokio::test]
    async fn a_position_never_passes_a_line_that_is_not_settled() {
        assert_eq!(kept(false, &[1, 2], false).await, Positions::new());
        assert_eq!(kept(false, &[2, 0, 1, 4], false).await, [(id(), at(IDENTITY, 30))].into());
    }

    #[tokio::test]
    async fn what_is_gone_is_forgotten_once_all_of_it_is_settled() {
        assert_eq!(kept(false, &[0, 1, 2, 3], true).await, [(id(), at(IDENTITY, 40))].into());
        assert_eq!(kept(false, &[0, 1, 2, 3, 4], true).await, Positions::new());
    }

    #[tokio::test]
    async fn by_path_nothing_is_kept_of_which_file_it_was() {
        assert_eq!(kept(true, &[0], false).await, [(id(), at(FORGOTTEN, 10))].into());
    }

    #[tokio::test]
    async fn a_state_folder_has_one_shipper_at_a_time_and_the_next_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let first = Keeper::open(folder.path(), 7, false, Metrics::new()).await.unwrap();
        assert!(Keeper::open(folder.path(), 8, false, Metrics::new()).await.is_err());
        let (tell, told) = mpsc::channel(1);
        drop(tell);
        first.run(told).await;
        let second = Keeper::open(folder.path(), 9, false, Metrics::new()).await.unwrap();
        assert_eq!(second.checkpoint(), &Checkpoint::new(7));
    }
}
