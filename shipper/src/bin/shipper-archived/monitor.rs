//! The monitor of one container: who it is, and a connection of its own to ask Docker about it.
//!
//! It lives as long as anything that was opened for its container, because those hold it (post-mortem #4).

use std::sync::Arc;

use shipper::labels::Labels;
use shipper::record::{Container, ContainerId, Stream};
use tokio::sync::Mutex;

use crate::engine::{Connection, Engine, nameless};
use crate::quiet::Quiet;

/// Shared by its container's log files and by the batches that are under way.
#[derive(Debug)]
pub(crate) struct Monitor {
    pub(crate) id: ContainerId,
    engine: Engine,
    asked: Mutex<Asked>,
}

#[derive(Debug, Default)]
struct Asked {
    connection: Option<Connection>,
    last: Option<Arc<Metadata>>,
    complaints: Quiet,
}

/// What a batch needs to know of its container.
#[derive(Debug)]
pub(crate) struct Metadata {
    pub(crate) container: Arc<Container>,
    stdout: Arc<Labels>,
    stderr: Arc<Labels>,
}

impl Metadata {
    fn of(container: Container) -> Self {
        Self {
            stdout: Labels::of(&container, Stream::Stdout),
            stderr: Labels::of(&container, Stream::Stderr),
            container: Arc::new(container),
        }
    }

    /// The labels of one output.
    pub(crate) fn labels(&self, stream: Stream) -> &Arc<Labels> {
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
    }
}

/// Whether an answer of Docker's is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cache {
    /// One inspection serves the container's life.
    Kept,
    /// Each batch asks anew (post-mortem #5).
    Absent,
}

impl Monitor {
    pub(crate) fn new(id: ContainerId, engine: Engine) -> Arc<Self> {
        Arc::new(Self { id, engine, asked: Mutex::default() })
    }

    /// What is known of the container now. Where Docker does not answer, what it said last, or the id.
    pub(crate) async fn metadata(&self, cache: Cache) -> Arc<Metadata> {
        let mut asked = self.asked.lock().await;
        if let (Cache::Kept, Some(known)) = (cache, &asked.last) {
            return Arc::clone(known);
        }
        match self.engine.inspect(&mut asked.connection, &self.id).await {
            Ok(container) => Arc::clone(asked.last.insert(Arc::new(Metadata::of(container)))),
            Err(error) => {
                if let Some(suppressed) = asked.complaints.speak() {
                    tracing::warn!(container = %self.id, %error, suppressed, "no metadata: the last known is used");
                }
                let unknown = || Arc::new(Metadata::of(nameless(&self.id)));
                asked.last.clone().unwrap_or_else(unknown)
            }
        }
    }

    /// Its name has changed: the next batch asks again.
    pub(crate) async fn forget(&self) {
        self.asked.lock().await.last = None;
    }
}
