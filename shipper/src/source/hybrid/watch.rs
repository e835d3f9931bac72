//! Wakes the source when a log changes: one inotify instance for the process, one watch per container.
//!
//! The watch is on the container's folder, not on the file. It names no inode, so there is nothing to
//! re-arm at a rotation and nothing to forget at a deletion (post-mortem #4); the kernel tells of all
//! generations through it. Where a folder can't be watched (`max_user_watches`, `max_user_instances`) its
//! log is polled, and watching it is tried again from time to time.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchDescriptor, WatchMask, Watches};

use crate::metrics::Metrics;
use crate::record::ContainerId;

/// Room for some hundred events with their names.
const BUFFER_BYTES: usize = 16 << 10;

/// What a wake-up says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Something in this container's folder.
    Changed(ContainerId),
    /// The kernel dropped events: anything may have changed.
    Everything,
}

/// The instance and its watches.
pub struct Watch {
    kernel: Option<Kernel>,
    containers: HashMap<WatchDescriptor, ContainerId>,
    descriptors: HashMap<ContainerId, (WatchDescriptor, PathBuf)>,
    /// Folders that can't be watched.
    polled: HashMap<ContainerId, PathBuf>,
    metrics: Arc<Metrics>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("descriptors", &self.descriptors).finish_non_exhaustive()
    }
}

impl Watch {
    /// An instance without watches. If the kernel gives none, all is left to the tick, which is counted.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let kernel = match Kernel::new() {
            Ok(kernel) => Some(kernel),
            Err(error) => {
                tracing::warn!(%error, "no inotify instance (fs.inotify.max_user_instances?): logs are polled");
                None
            }
        };
        let (containers, descriptors) = (HashMap::new(), HashMap::new());
        Self { kernel, containers, descriptors, polled: HashMap::new(), metrics }
    }

    /// Watches a container's folder. Add it before the first look at the files, or a change between the
    /// two goes unseen until the next tick.
    pub fn add(&mut self, id: &ContainerId, folder: &Path) {
        if self.descriptors.contains_key(id) {
            return;
        }
        if let Err(error) = self.try_add(id, folder)
            && self.polled.insert(id.clone(), folder.to_owned()).is_none()
        {
            self.metrics.inotify_failures.inc();
            self.complain(id, &error);
        }
        self.show();
    }

    fn try_add(&mut self, id: &ContainerId, folder: &Path) -> io::Result<()> {
        let mask = WatchMask::MODIFY
            | WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MOVED_FROM
            | WatchMask::MOVED_TO
            | WatchMask::ONLYDIR
            | WatchMask::DONT_FOLLOW;
        let kernel = self.kernel.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        let descriptor = kernel.watches()?.add(folder, mask)?;
        self.containers.insert(descriptor.clone(), id.clone());
        self.descriptors.insert(id.clone(), (descriptor, folder.to_owned()));
        self.polled.remove(id);
        Ok(())
    }

    /// The first one tells how to help all of them.
    fn complain(&self, id: &ContainerId, error: &io::Error) {
        if self.polled.len() == 1 {
            tracing::warn!(container = %id, %error, "a log is polled, not watched (fs.inotify.max_user_watches?)");
        } else {
            tracing::debug!(container = %id, %error, "the log is polled, not watched");
        }
    }

    /// Whose logs are polled.
    pub fn polled(&self) -> impl Iterator<Item = &ContainerId> {
        self.polled.keys()
    }

    /// Tries to watch what is polled: somebody may have given something back.
    pub fn retry(&mut self) {
        if !self.polled.is_empty() && self.kernel.is_none() {
            self.kernel = Kernel::new().ok();
        }
        for (id, folder) in self.polled.clone() {
            if let Err(error) = self.try_add(&id, &folder) {
                tracing::trace!(container = %id, %error, "the log is still polled");
            }
        }
        self.show();
    }

    /// Gives a container's watch back.
    pub fn remove(&mut self, id: &ContainerId) {
        self.polled.remove(id);
        self.show();
        let Some((descriptor, _)) = self.descriptors.remove(id) else { return };
        self.containers.remove(&descriptor);
        if let Some(Ok(mut watches)) = self.kernel.as_ref().map(Kernel::watches)
            && let Err(error) = watches.remove(descriptor)
        {
            // The kernel has given it back itself when the folder was deleted.
            tracing::trace!(container = %id, %error, "the watch was gone already");
        }
        self.show();
    }

    /// Waits for the next wake-up; for ever when there is no instance. Nothing is lost when it is dropped.
    pub async fn next(&mut self) -> Signal {
        loop {
            if let Some(signal) = self.try_next() {
                return signal;
            }
            let Some(kernel) = &mut self.kernel else {
                return std::future::pending().await;
            };
            if let Err(error) = kernel.wait().await {
                return self.give_up(&error);
            }
        }
    }

    /// A wake-up that is there already.
    pub fn try_next(&mut self) -> Option<Signal> {
        loop {
            let event = match self.kernel.as_mut()?.event() {
                Ok(event) => event?,
                Err(error) => return Some(self.give_up(&error)),
            };
            if let Some(signal) = self.read(event) {
                return Some(signal);
            }
        }
    }

    /// Until the next wait events wake nobody.
    pub fn rest(&mut self) {
        if let Some(Err(error)) = self.kernel.as_mut().map(Kernel::rest) {
            // Nobody waits for what it has to say, and all are polled from now on.
            self.give_up(&error);
        }
    }

    fn read(&mut self, (descriptor, mask): Event) -> Option<Signal> {
        if mask.contains(EventMask::Q_OVERFLOW) {
            self.metrics.inotify_overflows.inc();
            return Some(Signal::Everything);
        }
        let id = self.containers.get(&descriptor)?.clone();
        if mask.contains(EventMask::IGNORED) {
            self.containers.remove(&descriptor);
            self.descriptors.remove(&id);
            self.show();
        }
        Some(Signal::Changed(id))
    }

    fn give_up(&mut self, error: &io::Error) -> Signal {
        tracing::warn!(%error, "inotify failed: logs are polled from now on");
        self.metrics.inotify_failures.inc();
        self.kernel = None;
        self.containers.clear();
        self.polled.extend(self.descriptors.drain().map(|(id, (_, folder))| (id, folder)));
        self.show();
        Signal::Everything
    }

    fn show(&self) {
        self.metrics.inotify_watches.set(i64::try_from(self.descriptors.len()).unwrap_or(i64::MAX));
        self.metrics.polled_containers.set(i64::try_from(self.polled.len()).unwrap_or(i64::MAX));
    }
}

/// Whose folder, and what happened there.
type Event = (WatchDescriptor, EventMask);

/// One inotify instance.
struct Kernel {
    instance: Instance,
    /// Read, and not told yet.
    events: VecDeque<Event>,
    buffer: Vec<u8>,
}

enum Instance {
    /// Each event wakes the runtime, read or not.
    Heard(EventStream<Vec<u8>>),
    /// Events wait in the kernel.
    Unheard(Inotify),
    /// It could not be heard, and is no more.
    Gone,
}

impl Kernel {
    fn new() -> io::Result<Self> {
        let instance = Instance::Unheard(Inotify::init()?);
        Ok(Self { instance, events: VecDeque::new(), buffer: vec![0; BUFFER_BYTES] })
    }

    fn watches(&self) -> io::Result<Watches> {
        match &self.instance {
            Instance::Heard(stream) => Ok(stream.watches()),
            Instance::Unheard(inotify) => Ok(inotify.watches()),
            Instance::Gone => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The next event that is there.
    fn event(&mut self) -> io::Result<Option<Event>> {
        if let Some(event) = self.events.pop_front() {
            return Ok(Some(event));
        }
        match &mut self.instance {
            Instance::Heard(stream) => stream.next().now_or_never().map(read).transpose(),
            Instance::Unheard(inotify) => match inotify.read_events(&mut self.buffer) {
                Ok(events) => {
                    self.events.extend(events.map(|event| (event.wd, event.mask)));
                    Ok(self.events.pop_front())
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                Err(error) => Err(error),
            },
            Instance::Gone => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Waits for an event, where there was none.
    async fn wait(&mut self) -> io::Result<()> {
        if let Instance::Unheard(_) = &self.instance
            && let Instance::Unheard(inotify) = std::mem::replace(&mut self.instance, Instance::Gone)
        {
            self.instance = Instance::Heard(inotify.into_event_stream(vec![0; BUFFER_BYTES])?);
        }
        if let Instance::Heard(stream) = &mut self.instance {
            self.events.push_back(read(stream.next().await)?);
        }
        Ok(())
    }

    fn rest(&mut self) -> io::Result<()> {
        while let Instance::Heard(stream) = &mut self.instance {
            // It has a buffer of its own, which must not go with it.
            if let Some(event) = stream.next().now_or_never() {
                self.events.push_back(read(event)?);
            } else if let Instance::Heard(stream) = std::mem::replace(&mut self.instance, Instance::Gone) {
                self.instance = Instance::Unheard(stream.into_inotify());
            }
        }
        Ok(())
    }
}

fn read(event: Option<io::Result<EventOwned>>) -> io::Result<Event> {
    let event = event.ok_or(io::ErrorKind::UnexpectedEof)??;
    Ok((event.wd, event.mask))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn every_generation_wakes_through_one_watch_that_goes_with_the_container() {
        let (root, metrics) = (tempfile::tempdir().unwrap(), Metrics::new());
        let id = ContainerId::parse(&"a".repeat(64)).unwrap();
        let mut watch = Watch::new(Arc::clone(&metrics));
        watch.add(&id, root.path());
        watch.add(&id, root.path());
        assert_eq!(metrics.inotify_watches.get(), 1);
        for name in ["x.log", "x.log.1"] {
            fs::write(root.path().join(name), "x").unwrap();
            assert_eq!(watch.next().await, Signal::Changed(id.clone()));
            while watch.try_next().is_some() {}
        }
        watch.remove(&id);
        assert_eq!(metrics.inotify_watches.get(), 0);
        fs::write(root.path().join("x.log"), "y").unwrap();
        assert_eq!(watch.try_next(), None);
    }

    #[tokio::test]
    async fn what_changes_before_and_within_a_rest_is_told_behind_it() {
        let metrics = Metrics::new();
        let mut watch = Watch::new(Arc::clone(&metrics));
        let roots = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let ids = ["a", "b", "c"].map(|letter| ContainerId::parse(&letter.repeat(64)).unwrap());
        for (id, root) in ids.iter().zip(&roots) {
            watch.add(id, root.path());
        }
        let change = |at: usize| fs::create_dir(roots[at].path().join("x")).unwrap();
        let told = |id: &ContainerId| Signal::Changed(id.clone());
        for _ in 0..2 {
            assert_eq!(watch.next().now_or_never(), None, "from now on events wake it");
            change(0);
            change(1);
            assert_eq!(watch.next().await, told(&ids[0]));
            watch.rest();
            change(2);
            assert_eq!([watch.try_next(), watch.try_next()], [Some(told(&ids[1])), Some(told(&ids[2]))]);
            assert_eq!(watch.try_next(), None);
            roots.iter().for_each(|root| fs::remove_dir(root.path().join("x")).unwrap());
            while watch.try_next().is_some() {}
        }
    }

    #[tokio::test]
    async fn a_folder_that_is_deleted_gives_its_watch_back() {
        let (root, metrics) = (tempfile::tempdir().unwrap(), Metrics::new());
        let id = ContainerId::parse(&"a".repeat(64)).unwrap();
        let mut watch = Watch::new(Arc::clone(&metrics));
        watch.add(&id, root.path());
        root.close().unwrap();
        assert_eq!(watch.next().await, Signal::Changed(id.clone()));
        assert_eq!(metrics.inotify_watches.get(), 0);
        watch.remove(&id);
    }

    #[tokio::test]
    async fn a_folder_that_can_not_be_watched_is_counted_once_polled_and_tried_again() {
        let (root, metrics) = (tempfile::tempdir().unwrap(), Metrics::new());
        let id = ContainerId::parse(&"a".repeat(64)).unwrap();
        let mut watch = Watch::new(Arc::clone(&metrics));
        let folder = root.path().join("late");
        for _ in 0..2 {
            watch.add(&id, &folder);
            watch.retry();
            assert_eq!((metrics.inotify_watches.get(), metrics.inotify_failures.get()), (0, 1));
            assert_eq!(watch.polled().collect::<Vec<_>>(), [&id]);
        }
        fs::create_dir(&folder).unwrap();
        watch.retry();
        assert_eq!((metrics.inotify_watches.get(), metrics.polled_containers.get()), (1, 0));
        fs::write(folder.join("x.log"), "x").unwrap();
        assert_eq!(watch.next().await, Signal::Changed(id));
    }
}
