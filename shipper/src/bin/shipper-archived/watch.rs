//! The one inotify instance: a watch for each log file, counted by its handles.
//!
//! The kernel keys watches by inode: a file that is opened twice has one watch, and two handles here.
//! Without inotify, or beyond its limits, logs are still read, by the reader's tick.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use futures_util::StreamExt;
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchDescriptor, WatchMask, Watches};
use shipper::metrics::Metrics;
use shipper::record::ContainerId;

use crate::quiet::Quiet;

/// Room for some hundred events of watches on files, which carry no names.
const BUFFER_BYTES: usize = 16 * 1024;

/// What a watched file is known by.
pub(crate) type Watch = WatchDescriptor;

/// Follows files.
#[derive(Debug)]
pub(crate) struct Watcher {
    kernel: Option<(Watches, EventStream<Vec<u8>>)>,
    handles: HashMap<Watch, Handles>,
    metrics: Arc<Metrics>,
    complaints: Quiet,
}

#[derive(Debug)]
struct Handles {
    container: ContainerId,
    count: usize,
}

/// What the kernel tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// A file of this container was written to, renamed or unlinked: look at it.
    Changed(ContainerId),
    /// Of a file that nobody follows any more.
    Nothing,
    /// The kernel has let go of the file: its last name and its last descriptor are gone.
    Deleted(Watch),
    /// Events were lost: look at everything.
    Everything,
}

impl Watcher {
    /// Takes an inotify instance; where there is none, all is left to the tick.
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        let kernel = match connect() {
            Ok(kernel) => Some(kernel),
            Err(error) => {
                tracing::warn!(%error, "no inotify: logs are looked at by the clock");
                None
            }
        };
        Self { kernel, handles: HashMap::new(), metrics, complaints: Quiet::default() }
    }

    /// Watches an open file. `None` when the kernel refuses: the tick looks at it then.
    pub(crate) fn add(&mut self, file: &File, container: &ContainerId) -> Option<Watch> {
        let (watches, _) = self.kernel.as_mut()?;
        let mask = WatchMask::MODIFY | WatchMask::ATTRIB | WatchMask::MOVE_SELF | WatchMask::DELETE_SELF;
        // By descriptor, not by path: between open and here the path may have become another file's.
        match watches.add(format!("/proc/self/fd/{}", file.as_raw_fd()), mask) {
            Ok(watch) => {
                let first = || Handles { container: container.clone(), count: 0 };
                self.handles.entry(watch.clone()).or_insert_with(first).count += 1;
                self.count();
                Some(watch)
            }
            Err(error) => {
                if let Some(suppressed) = self.complaints.speak() {
                    tracing::warn!(%error, suppressed, "a log can't be watched: it is looked at by the clock");
                }
                None
            }
        }
    }

    /// Gives one handle back; the last one ends the watch. Before its file is closed: after that the
    /// kernel may have ended it by itself.
    pub(crate) fn release(&mut self, watch: &Watch) {
        let Some(handles) = self.handles.get_mut(watch) else { return };
        handles.count -= 1;
        if handles.count == 0 {
            self.handles.remove(watch);
            self.count();
            let ended = self.kernel.as_mut().map_or(Ok(()), |(watches, _)| watches.remove(watch.clone()));
            if let Err(error) = ended {
                tracing::debug!(%error, "the watch had ended by itself");
            }
        }
    }

    /// The next event. Never comes where there is no inotify. Cancel safe.
    pub(crate) async fn next(&mut self) -> Told {
        let Some((_, events)) = &mut self.kernel else { return std::future::pending().await };
        match events.next().await {
            Some(Ok(event)) => self.told(event),
            Some(Err(error)) => self.lost(&error),
            None => self.lost(&io::Error::from(io::ErrorKind::UnexpectedEof)),
        }
    }

    fn told(&mut self, event: EventOwned) -> Told {
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            self.metrics.inotify_overflows.inc();
            return Told::Everything;
        }
        if event.mask.intersects(EventMask::DELETE_SELF | EventMask::IGNORED) {
            self.handles.remove(&event.wd);
            self.count();
            return Told::Deleted(event.wd);
        }
        let handles = self.handles.get(&event.wd);
        handles.map_or(Told::Nothing, |handles| Told::Changed(handles.container.clone()))
    }

    fn lost(&mut self, error: &io::Error) -> Told {
        tracing::warn!(%error, "inotify failed: logs are looked at by the clock from now on");
        self.kernel = None;
        self.handles.clear();
        self.count();
        Told::Everything
    }

    fn count(&self) {
        self.metrics.inotify_watches.set(i64::try_from(self.handles.len()).unwrap_or(i64::MAX));
    }
}

fn connect() -> io::Result<(Watches, EventStream<Vec<u8>>)> {
    let inotify = Inotify::init()?;
    Ok((inotify.watches(), inotify.into_event_stream(vec![0; BUFFER_BYTES])?))
}
