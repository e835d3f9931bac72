//! Who says of a line that a restart may pass over it, and when.
//!
//! | `commit_on_read` | a line is settled |
//! | --- | --- |
//! | on | as soon as it was read: what waits or is under way when the process is killed is lost |
//! | off | once Loki has taken it, or it was refused for good, dropped or skipped, which is counted |

use shipper::batch::Group;
use shipper::ledger::{Settled, Ticket, What};
use shipper::record::{ContainerId, Position};
use tokio::sync::mpsc;

/// The way to the one who keeps positions, if there is one. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Books {
    keeper: Option<mpsc::Sender<Settled>>,
    commit_on_read: bool,
}

impl Books {
    /// Tells `keeper`.
    pub(crate) fn new(keeper: mpsc::Sender<Settled>, commit_on_read: bool) -> Self {
        Self { keeper: Some(keeper), commit_on_read }
    }

    /// Positions are kept in memory only, by the reader.
    pub(crate) fn absent() -> Self {
        Self { keeper: None, commit_on_read: false }
    }

    /// A line was read; it waits to be sent.
    pub(crate) async fn read(&self, ticket: Ticket, container: &ContainerId, position: &Position) {
        if self.commit_on_read {
            self.tell(ticket, container, What::Read(position.clone())).await;
        }
    }

    /// Nothing is left to do for these lines.
    pub(crate) async fn done(&self, groups: &[Group]) {
        if self.commit_on_read {
            return; // these were settled when they were read
        }
        for group in groups {
            for entry in &group.entries {
                self.tell(entry.ticket, &group.container.id, What::Read(entry.line.position())).await;
            }
        }
    }

    /// There is no line up to here that is to be sent.
    pub(crate) async fn passed(&self, ticket: Ticket, container: &ContainerId, position: Position) {
        self.tell(ticket, container, What::Read(position)).await;
    }

    /// The container is gone, and all that it wrote was read.
    pub(crate) async fn gone(&self, ticket: Ticket, container: &ContainerId) {
        self.tell(ticket, container, What::Gone).await;
    }

    async fn tell(&self, ticket: Ticket, container: &ContainerId, what: What) {
        let Some(keeper) = &self.keeper else { return };
        let settled = Settled { ticket, container: container.clone(), what };
        if keeper.send(settled).await.is_err() {
            tracing::debug!("the keeper of positions has ended: so will the program");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shipper::batch::Entry;
    use shipper::labels::Labels;
    use shipper::ledger::Numbering;
    use shipper::record::block::Line;
    use shipper::record::{FileIdentity, Stream};

    use super::*;
    use crate::engine::nameless;

    fn position() -> Position {
        let identity = FileIdentity { dev: 1, ino: 2, head_len: 0, head_hash: 0 };
        Position::File { identity, offset: 9, tail_hash: None, ahead: None, time_ns: None }
    }

    #[tokio::test]
    async fn a_line_is_settled_once_either_when_it_is_done_or_with_the_defect_when_it_is_read() {
        for (commit_on_read, after_read) in [(false, 0), (true, 1)] {
            let (tell, mut told) = mpsc::channel(8);
            let books = Books::new(tell, commit_on_read);
            let container = Arc::new(nameless(&ContainerId::parse(&"a".repeat(64)).unwrap()));
            let ticket = Numbering::new(1).take();
            books.read(ticket, &container.id, &position()).await;
            assert_eq!(told.len(), after_read, "commit_on_read: {commit_on_read}");
            let line = Line::alone(Arc::clone(&container), Stream::Stdout, 1, "line", position());
            let entry = Entry { time_ns: 1, clamped_from_ns: None, line, ticket };
            let labels = Labels::of(&container, Stream::Stdout);
            books.done(&[Group::new(Arc::clone(&container), labels, vec![entry])]).await;
            let settled = told.recv().await.unwrap();
            assert_eq!((settled.ticket, settled.what), (ticket, What::Read(position())));
            assert!(told.is_empty());
        }
    }
}
