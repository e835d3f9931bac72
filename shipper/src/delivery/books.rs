//! What is settled, and on disk: the ledger, the dead letters and the checkpoint, which all lanes share.

use std::sync::Arc;

use tokio::time::Instant;

use super::checkpoint::{self, Checkpoint, Store};
use super::dead_letters::{DeadLetters, Reason};
use crate::batch::Group;
use crate::complaint::Complaint;
use crate::ledger::{Commit, Ledger, Settled, What};
use crate::metrics::Metrics;
use crate::record::ContainerId;

/// Owned by the one task that delivers, so that none of it needs a lock.
#[derive(Debug)]
pub struct Books {
    dead_letters: DeadLetters,
    store: Store,
    checkpoint: Checkpoint,
    metrics: Arc<Metrics>,
    ledger: Ledger,
    unsaved: bool,
    about_disk: Complaint,
}

impl Books {
    /// Nothing is settled yet; `checkpoint` is as it was at the start.
    #[must_use]
    pub fn new(
        dead_letters: DeadLetters,
        (store, checkpoint): (Store, Checkpoint),
        metrics: Arc<Metrics>,
    ) -> Self {
        let (ledger, about_disk) = (Ledger::default(), Complaint::default());
        // Unsaved, so that the time of a first run is on disk before anything else happens.
        Self { dead_letters, store, checkpoint, metrics, ledger, unsaved: true, about_disk }
    }

    /// When the disk is tried again, if it takes no dead letters: until then nothing new is sent, since it
    /// might end there.
    #[must_use]
    pub fn disk_retry_at(&self) -> Option<Instant> {
        self.dead_letters.retry_at()
    }

    /// How many containers are gone from Docker while some of their lines are not settled.
    #[must_use]
    pub fn gone_unsettled(&self) -> usize {
        self.ledger.gone_unsettled()
    }

    /// Whether these lines are of a container that is gone, so that nobody can read them again.
    #[must_use]
    pub fn is_gone(&self, group: &Group) -> bool {
        group.entries.first().is_some_and(|entry| self.ledger.is_gone(entry.ticket))
    }

    /// The end is near: the disk gets one more attempt at once.
    pub fn hurry(&mut self) {
        self.dead_letters.hurry();
    }

    /// Lines for the dead letters of their tenant; settled once they are on disk.
    pub async fn bury(&mut self, tenant: Option<&Arc<str>>, groups: Vec<Group>, why: Reason<'_>) {
        for group in groups {
            self.dead_letters.put(group, tenant.cloned(), why);
        }
        self.settle_buried().await;
    }

    /// Settles the dead letters that are on disk. Those that the disk does not take wait, and nothing new is
    /// taken until it does.
    pub async fn settle_buried(&mut self) {
        for group in self.dead_letters.flush().await {
            self.metrics.lines.dead_lettered(group.entries.len() as u64);
            self.settle_group(&group);
        }
    }

    /// In runs of lines that were read one after the other; of one group's commits only the last counts.
    pub fn settle_group(&mut self, group: &Group) {
        let ledger = &mut self.ledger;
        let runs = group.entries.chunk_by(|before, entry| entry.ticket.follows(before.ticket));
        let commits = runs.filter_map(|run| {
            let (first, last) = (run.first()?, run.last()?);
            ledger.settle_run(first.ticket, run.len() as u64, What::Read(last.line.position()))
        });
        if let Some(commit) = commits.last() {
            self.commit(&group.container.id.clone(), commit);
        }
    }

    /// Settles what was no line to deliver.
    pub fn settle(&mut self, settled: Settled) {
        let container = settled.container.clone();
        if let Some(commit) = self.ledger.settle(settled) {
            self.commit(&container, commit);
        }
    }

    fn commit(&mut self, container: &ContainerId, commit: Commit) {
        match commit {
            Commit::Position(position) => {
                self.checkpoint.containers.insert(container.clone(), position);
            }
            Commit::Remove => {
                self.checkpoint.containers.remove(container);
            }
        }
        self.unsaved = true;
    }

    /// What is done every second: the checkpoint is saved if it has changed, and the folder of the dead
    /// letters looked at.
    pub async fn tick(&mut self) {
        if let Err(error) = self.save().await
            && let Some(withheld) = self.about_disk.may_speak(Instant::now())
        {
            tracing::error!(%error, withheld, "state_dir");
        }
        self.dead_letters.look_again().await;
    }

    /// Saves the checkpoint if it has changed.
    ///
    /// # Errors
    /// When the disk does not take it; it is the old one then.
    pub async fn save(&mut self) -> Result<(), checkpoint::Error> {
        let metrics = &self.metrics;
        if self.unsaved
            && let Err(error) = self.store.save(&self.checkpoint).await
        {
            metrics.checkpoint_failures.inc();
            metrics.checkpoint_failing.set(1);
            return Err(error);
        }
        self.unsaved = false;
        metrics.checkpoint_failing.set(0);
        metrics.checkpoint_age.up_to_date();
        let entries = self.checkpoint.containers.len();
        metrics.checkpoint_entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
        Ok(())
    }
}
