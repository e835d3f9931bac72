//! From batches to Loki: asks the monitor who the container is, pushes, and hands on what was refused.

use std::sync::Arc;

use shipper::batch::{Entry, Group, lines};
use shipper::metrics::labels::TaskKind;
use shipper::record::Stream;
use shipper::record::block::Line;
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use crate::batch::{Batch, Numbered};
use crate::config::Defects;
use crate::lane::{Lane, accepted};
use crate::monitor::{Cache, Metadata};
use crate::queue::Queue;
use crate::storm::Storm;

/// The one task that sends first attempts.
#[derive(Debug)]
pub(crate) struct Sender {
    lane: Arc<Lane>,
    cache: Cache,
    refused: Refused,
}

/// What becomes of a refused batch.
#[derive(Debug)]
enum Refused {
    Storm(Storm),
    Queue(Queue),
}

impl Sender {
    pub(crate) fn new(lane: Arc<Lane>, defects: Defects) -> Self {
        let refused = if defects.unbounded_retry {
            Refused::Storm(Storm::new(Arc::clone(&lane)))
        } else {
            Refused::Queue(Queue::new(Arc::clone(&lane)))
        };
        let cache = if defects.no_metadata_cache { Cache::Absent } else { Cache::Kept };
        Self { lane, cache, refused }
    }

    /// Sends until the reader has ended.
    pub(crate) async fn run(mut self, mut batches: mpsc::Receiver<Batch>) {
        let _alive = self.lane.metrics.task(TaskKind::Delivery);
        loop {
            let batch = tokio::select! {
                () = self.refused.due() => None,
                batch = batches.recv() => match batch {
                    Some(batch) => Some(batch),
                    None => return,
                },
            };
            match batch {
                Some(batch) => self.send(batch).await,
                // Not inside of the select: the next batch would cut the attempt short.
                None => self.refused.attempt().await,
            }
        }
    }

    async fn send(&mut self, batch: Batch) {
        let metadata = batch.monitor.metadata(self.cache).await;
        let groups = grouped(&metadata, batch.lines);
        let result = self.lane.push(&groups).await;
        if !accepted(&result) {
            self.lane.complain(&result);
        }
        match &mut self.refused {
            Refused::Queue(queue) => queue.first_attempt(groups, &result).await,
            Refused::Storm(_) if accepted(&result) => {
                self.lane.metrics.lines.delivered(lines(&groups));
                self.lane.books.done(&groups).await;
            }
            Refused::Storm(storm) => storm.add(groups),
        }
    }
}

impl Refused {
    /// Waits until there is something to do. Cancel safe.
    async fn due(&mut self) {
        match self {
            Self::Storm(storm) => storm.got_through().await,
            Self::Queue(queue) => match queue.due() {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            },
        }
    }

    async fn attempt(&mut self) {
        match self {
            // Its tasks see to themselves.
            Self::Storm(_) => {}
            Self::Queue(queue) => queue.attempt().await,
        }
    }
}

/// Lines in the order of the file, by output.
fn grouped(metadata: &Metadata, lines: Vec<Numbered>) -> Vec<Group> {
    let group =
        |stream| Group::new(Arc::clone(&metadata.container), Arc::clone(metadata.labels(stream)), Vec::new());
    let (mut stdout, mut stderr) = (group(Stream::Stdout), group(Stream::Stderr));
    for Numbered { ticket, line } in lines {
        let (time_ns, stream) = (line.time_ns, line.stream);
        let container = Arc::clone(&metadata.container);
        let line = Line::alone(container, stream, time_ns, &line.text, line.position);
        let entry = Entry { time_ns, clamped_from_ns: None, line, ticket };
        match stream {
            Stream::Stdout => stdout.entries.push(entry),
            Stream::Stderr => stderr.entries.push(entry),
        }
    }
    [stdout, stderr].into_iter().filter(|group| !group.entries.is_empty()).collect()
}
