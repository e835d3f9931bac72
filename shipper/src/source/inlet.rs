//! The queue before the pipeline, bounded in lines, however many of them come in one block.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::record::Item;
use crate::record::block::Block;

/// The end where items go in. Cheap to clone; clones share the bound.
#[derive(Clone, Debug)]
pub struct Inlet {
    items: mpsc::Sender<Item>,
    room: Arc<Semaphore>,
    lines_max: usize,
}

/// The pipeline is gone: there is nobody to read for.
#[derive(Debug, thiserror::Error)]
#[error("the pipeline has ended, so there is nobody to read for")]
pub struct Closed;

/// A queue that holds up to `lines` lines; at least one.
#[must_use]
pub fn queue(lines: usize) -> (Inlet, mpsc::Receiver<Item>) {
    let lines_max = lines.max(1);
    let (items, out) = mpsc::channel(lines_max);
    (Inlet { items, room: Arc::new(Semaphore::new(lines_max)), lines_max }, out)
}

impl Inlet {
    /// How many lines the queue holds.
    #[must_use]
    pub fn lines_max(&self) -> usize {
        self.lines_max
    }

    /// Waits for room for so many lines, or for as many as there can be. Who waits here may be interrupted:
    /// nothing has happened yet.
    ///
    /// # Errors
    /// When nobody takes items any more.
    pub async fn room(&self, lines: usize) -> Result<Room<'_>, Closed> {
        let place = self.items.reserve().await.map_err(|_closed| Closed)?;
        let lines = u32::try_from(lines.min(self.lines_max)).unwrap_or(u32::MAX);
        let lines = tokio::select! {
            lines = self.room.clone().acquire_many_owned(lines) => lines.map_err(|_closed| Closed)?,
            () = self.items.closed() => return Err(Closed),
        };
        Ok(Room { place, lines })
    }

    /// Sends what is no line.
    ///
    /// # Errors
    /// When nobody takes items any more.
    pub async fn send(&self, item: Item) -> Result<(), Closed> {
        self.items.send(item).await.map_err(|_closed| Closed)
    }
}

/// Room for one block; given back when it is dropped unused.
#[derive(Debug)]
pub struct Room<'a> {
    place: mpsc::Permit<'a, Item>,
    lines: OwnedSemaphorePermit,
}

impl Room<'_> {
    /// For how many lines.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.lines.num_permits()
    }

    /// Sends a block of no more lines than that, and gives the rest of the room back. A larger one passes too:
    /// it has been read.
    pub fn fill(mut self, block: Block) {
        let taken = self.lines.split(block.len().min(self.lines.num_permits()));
        if let Some(room) = taken {
            self.place.send(Item::Lines { block, room });
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::batch::tests::container;
    use crate::record::{Position, Stream};

    fn block(lines: usize) -> Block {
        let mut block = Block::of_api(container());
        for _ in 0..lines {
            block.push(Stream::Stdout, 1, "a", Position::Api { time_ns: 1, seen: 1 });
        }
        block
    }

    #[tokio::test]
    async fn it_holds_so_many_lines_in_however_many_blocks() {
        let (inlet, mut out) = queue(5);
        inlet.room(9).await.unwrap().fill(block(3));
        let room = inlet.room(2).await.unwrap();
        assert_eq!((room.lines(), inlet.room(1).now_or_never().is_some()), (2, false));
        room.fill(block(1));
        inlet.room(1).await.unwrap().fill(block(1));
        assert!(inlet.room(1).now_or_never().is_none());
        let Some(Item::Lines { room, .. }) = out.recv().await else { panic!() };
        drop(room);
        drop(inlet.room(3).await.unwrap());
        assert_eq!(inlet.room(9).now_or_never().map(|_| ()), None, "two are still there");
        drop(out);
        assert!(inlet.room(1).await.is_err());
    }

    #[tokio::test]
    async fn who_waits_for_room_hears_that_nobody_takes_lines_any_more() {
        let (inlet, out) = queue(1);
        inlet.room(1).await.unwrap().fill(block(1));
        let (waited, ()) = tokio::join!(inlet.room(1), async { drop(out) });
        assert!(waited.is_err());
    }
}
