//! What a source hands on, line by line, though it comes in blocks.

use std::collections::VecDeque;
use std::sync::Arc;

use shipper::record::block::Line;
use shipper::record::{Container, ContainerId, Item as Sent, Position, Stream};
use shipper::source::inlet::{Inlet, queue};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// As the library's, but for its lines.
#[derive(Debug)]
pub enum Item {
    Line(Record),
    Passed { position: Position },
    Gone(ContainerId),
}

/// One line; it is settled when this is dropped.
#[derive(Debug)]
pub struct Record {
    pub container: Arc<Container>,
    pub stream: Stream,
    pub time_ns: i64,
    pub line: String,
    pub position: Position,
    _unsettled: Line,
}

/// The end where items come out.
#[derive(Debug)]
pub struct Items {
    sent: mpsc::Receiver<Sent>,
    waiting: VecDeque<Item>,
    /// Of the lines that wait.
    room: Option<OwnedSemaphorePermit>,
}

/// A queue of so many lines.
pub fn items(lines: usize) -> (Inlet, Items) {
    let (inlet, sent) = queue(lines);
    (inlet, Items { sent, waiting: VecDeque::new(), room: None })
}

impl Items {
    pub async fn recv(&mut self) -> Option<Item> {
        if self.waiting.is_empty() {
            let sent = self.sent.recv().await?;
            self.take(sent);
        }
        self.next()
    }

    pub fn try_recv(&mut self) -> Option<Item> {
        if self.waiting.is_empty() {
            let sent = self.sent.try_recv().ok()?;
            self.take(sent);
        }
        self.next()
    }

    fn next(&mut self) -> Option<Item> {
        let next = self.waiting.pop_front();
        drop(self.room.as_mut().and_then(|room| room.split(1)));
        next
    }

    fn take(&mut self, sent: Sent) {
        match sent {
            Sent::Lines { block, room } => {
                self.waiting.extend(block.into_lines().map(Record::of).map(Item::Line));
                self.room = Some(room);
            }
            Sent::Passed { position, .. } => self.waiting.push_back(Item::Passed { position }),
            Sent::Gone(id) => self.waiting.push_back(Item::Gone(id)),
        }
    }
}

impl Record {
    fn of(line: Line) -> Self {
        let (container, text, position) = (line.container().clone(), line.to_string(), line.position());
        let (stream, time_ns) = (line.stream(), line.time_ns());
        Self { container, stream, time_ns, line: text, position, _unsettled: line }
    }
}
