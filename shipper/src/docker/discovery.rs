//! Follows which containers there are, and tells the sources.
//!
//! Hears Docker's events while it lists, so that nothing falls between the two; lists again from time to
//! time, because Docker loses events silently (see `known`, which decides). Ends only when told to: a
//! Docker that goes away is waited for.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::complaint::Complaint;
use crate::docker::api::{Api, ApiError};
use crate::docker::known::{Born, Change, Event, Known, Listed, Step};
use crate::docker::metadata::{self, Cache, Found};
use crate::metrics::Metrics;
use crate::metrics::labels::TaskKind;
use crate::record::{Container, ContainerId};

const BACKOFF_MIN: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A stream of events that lasted so long was a good one: it is asked for again at once when it is cut. What ends
/// sooner is asked for less and less often.
const HEALTHY: Duration = Duration::from_secs(5);
/// Events that are kept while a listing is under way; the rest waits in the socket.
const HEARD_MAX: usize = 1024;

/// Which containers, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// `key=value` or `key`: only containers that bear all of these. Empty: all but ourselves.
    pub labels: Vec<String>,
    /// None that bears one of these.
    pub exclude: Vec<String>,
    /// When the shipper began, in nanoseconds since the epoch.
    pub started_ns: i64,
    /// When its first run did: what is younger is new to us, though born while we were down.
    pub first_started_ns: i64,
    /// Containers of which an earlier run has left a position. Those that Docker no longer has are told as
    /// removed, once: no event will name them.
    pub remembered: BTreeSet<ContainerId>,
    /// How often the whole list is compared.
    pub reconcile: Duration,
    /// The cache of inspections.
    pub metadata: metadata::Config,
}

/// Why discovery can't go on.
#[derive(Debug, thiserror::Error)]
#[error("the source has ended, so there is nobody to tell about containers")]
pub struct Closed;

/// Tells `out` about containers until `stop`.
///
/// # Errors
/// [`Closed`] when nobody listens any more.
pub async fn run(
    api: Api,
    config: Config,
    metrics: Arc<Metrics>,
    out: mpsc::Sender<Change>,
    stop: CancellationToken,
) -> Result<(), Closed> {
    let _alive = metrics.task(TaskKind::Discovery);
    let discovery = Discovery {
        known: Known::default(),
        cache: Cache::new(config.metadata.clone(), Arc::clone(&metrics)),
        ourselves: std::fs::read_to_string("/proc/self/mountinfo").ok().and_then(|mounts| own_id(&mounts)),
        heard_ns: config.started_ns,
        first_listing: None,
        complaint: Complaint::default(),
        api,
        config,
        metrics,
        out,
    };
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        Err(closed) = discovery.follow() => Err(closed),
    }
}

struct Discovery {
    api: Api,
    config: Config,
    metrics: Arc<Metrics>,
    out: mpsc::Sender<Change>,
    known: Known,
    cache: Cache,
    ourselves: Option<ContainerId>,
    heard_ns: i64,
    /// Those of the first listing that are still there: whatever is not among them is younger than we are.
    first_listing: Option<HashSet<ContainerId>>,
    complaint: Complaint,
}

/// Why one connection's life ended.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    #[error("Docker closed the stream of events")]
    EventsEnded,
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Closed(#[from] Closed),
}

impl Discovery {
    async fn follow(mut self) -> Result<std::convert::Infallible, Closed> {
        let mut backoff = BACKOFF_MIN;
        loop {
            let began = Instant::now();
            let Err(interruption) = self.follow_once().await;
            self.metrics.docker_connected.set(0);
            if let Interruption::Closed(closed) = interruption {
                return Err(closed);
            }
            if began.elapsed() > HEALTHY {
                backoff = BACKOFF_MIN;
            }
            tracing::warn!(%interruption, retry_in = ?backoff, "lost touch with Docker");
            sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    async fn follow_once(&mut self) -> Result<std::convert::Infallible, Interruption> {
        // Inclusive: the last one comes again and changes nothing. Older ones would: a start that was
        // followed by a stop.
        let mut events = self.api.events(&self.config.labels, self.heard_ns);
        loop {
            self.reconcile(&mut events).await?;
            self.metrics.docker_connected.set(1);
            let again = sleep(self.config.reconcile);
            tokio::pin!(again);
            loop {
                tokio::select! {
                    event = events.next() => {
                        let event = event.ok_or(Interruption::EventsEnded)??;
                        self.hear(&event).await?;
                    }
                    () = &mut again => break,
                }
            }
        }
    }

    /// Lists while it hears, then merges both. Polling the events first is what subscribes to them.
    async fn reconcile(
        &mut self,
        events: &mut (impl Stream<Item = Result<Event, ApiError>> + Unpin),
    ) -> Result<(), Interruption> {
        let (listing, heard) = {
            let listing = self.api.list(&self.config.labels);
            tokio::pin!(listing);
            let mut heard = Vec::new();
            loop {
                tokio::select! {
                    biased;
                    event = events.next(), if heard.len() < HEARD_MAX => {
                        heard.push(event.ok_or(Interruption::EventsEnded)??);
                    }
                    listing = &mut listing => break (listing?, heard),
                }
            }
        };
        let listing: Vec<Listed> =
            listing.into_iter().filter(|row| Some(&row.id) != self.ourselves.as_ref()).collect();
        self.forget_removed().await?;
        if self.first_listing.is_none() {
            tracing::info!(found = listing.len(), "Docker has told which containers there are");
            self.first_listing = Some(listing.iter().map(|row| row.id.clone()).collect());
        }
        self.cache.keep_unknown(&listing.iter().map(|row| &row.id).collect());
        let steps = self.known.compare(&listing);
        self.carry_out(steps).await?;
        for event in heard {
            self.hear(&event).await?;
        }
        Ok(())
    }

    /// Tells which containers were removed while the shipper was down. Without the filter, since the
    /// labels in the config may be others now: what they leave out keeps its position.
    async fn forget_removed(&mut self) -> Result<(), Interruption> {
        if self.config.remembered.is_empty() {
            return Ok(());
        }
        let listing = self.api.list(&[]).await?;
        let there: HashSet<&ContainerId> = listing.iter().map(|row| &row.id).collect();
        let remembered = std::mem::take(&mut self.config.remembered);
        for id in remembered.into_iter().filter(|id| !there.contains(id)) {
            tracing::debug!(container = %id, "it was removed while the shipper was down");
            self.out.send(Change::Removed(id)).await.map_err(|_closed| Closed)?;
        }
        Ok(())
    }

    async fn hear(&mut self, event: &Event) -> Result<(), Closed> {
        self.heard_ns = self.heard_ns.max(event.time_ns);
        if Some(&event.id) == self.ourselves.as_ref() {
            return Ok(());
        }
        let steps = self.known.hear(event);
        self.carry_out(steps).await
    }

    async fn carry_out(&mut self, steps: Vec<Step>) -> Result<(), Closed> {
        for step in steps {
            let change = match step {
                Step::Start(id) => match self.look(&id).await {
                    Some((container, _)) if self.is_excluded(&container) => {
                        self.metrics.containers_excluded.inc();
                        tracing::debug!(container = %id, name = container.name, "left out for its labels");
                        None
                    }
                    found => found.map(|(container, born)| Change::Started { container, born }),
                },
                Step::Rename(id) => {
                    self.cache.remove(&id);
                    self.look(&id).await.map(|(container, _)| Change::Renamed(container))
                }
                Step::Stop(id) => Some(Change::Stopped(id)),
                Step::Remove(id) => {
                    self.cache.remove(&id);
                    if let Some(first) = &mut self.first_listing {
                        first.remove(&id);
                    }
                    Some(Change::Removed(id))
                }
            };
            if let Some(change) = change {
                log(&change);
                self.out.send(change).await.map_err(|_closed| Closed)?;
            }
        }
        self.metrics.containers.set(i64::try_from(self.known.len()).unwrap_or(i64::MAX));
        Ok(())
    }

    /// Docker can't be asked for those that do not bear a label.
    fn is_excluded(&self, container: &Container) -> bool {
        self.config.exclude.iter().any(|label| match label.split_once('=') {
            Some((key, value)) => container.labels.get(key).is_some_and(|found| found == value),
            None => container.labels.contains_key(label),
        })
    }

    /// What the cache or Docker knows of it. If Docker knows nothing, it is forgotten here too, and the
    /// next listing brings it again if that was a mistake.
    async fn look(&mut self, id: &ContainerId) -> Option<(Arc<Container>, Born)> {
        match self.cache.get(id, Instant::now()) {
            Found::Known(container, born) => return Some((container, born)),
            Found::Unknown => {
                self.known.forget(id);
                return None;
            }
            Found::Missing => {}
        }
        match self.api.inspect(id).await {
            Ok(inspected) => {
                let container = Arc::new(inspected.container);
                // Not by its time alone: a clock that was set back would make it older than us.
                let is_new = self.first_listing.as_ref().is_some_and(|first| !first.contains(id));
                let by_time = Born::of(inspected.created_ns, self.config.first_started_ns);
                let born = if is_new { Born::AfterUs } else { by_time };
                self.known.name(&container);
                self.cache.put(Arc::clone(&container), born, Instant::now());
                Some((container, born))
            }
            Err(error) => {
                if let Some(withheld) = self.complaint.may_speak(Instant::now()) {
                    tracing::warn!(container = %id, %error, withheld, "nothing could be learnt about a container");
                }
                self.known.forget(id);
                if !matches!(error, ApiError::NoSuchContainer(_)) {
                    self.cache.put_unknown(id, Instant::now());
                }
                None
            }
        }
    }
}

fn log(change: &Change) {
    match change {
        Change::Started { container, born } => {
            tracing::debug!(container = %container.id, name = container.name, ?born, "followed");
        }
        Change::Stopped(id) => tracing::debug!(container = %id, "stopped: its log is read to the end"),
        Change::Renamed(container) => {
            tracing::debug!(container = %container.id, name = container.name, "renamed");
        }
        Change::Removed(id) => tracing::debug!(container = %id, "removed: done with it"),
    }
}

/// The id of the container that we run in ourselves, if we do: Docker mounts files from the container's
/// folder into it. To ship our own messages would feed each refusal of Loki's back to Loki.
fn own_id(mountinfo: &str) -> Option<ContainerId> {
    let hostname = mountinfo.lines().find(|line| line.contains(" /etc/hostname "))?;
    let (_, path) = hostname.split_once("/containers/")?;
    ContainerId::parse(path.split('/').next()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_know_ourselves_by_the_hostname_that_docker_mounts() {
        let id = "0123456789abcdef".repeat(4);
        let mounts = format!(
            "1 2 0:1 / / rw - overlay overlay rw\n\
             3 1 8:1 /var/lib/docker/containers/{id}/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n"
        );
        assert_eq!(own_id(&mounts).unwrap().as_str(), id);
        assert_eq!(own_id("3 1 8:1 / /etc/hostname rw - ext4 /dev/sda1 rw\n"), None);
    }
}
