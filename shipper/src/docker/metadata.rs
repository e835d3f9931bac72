//! What inspections have told, kept so that each container is asked about once per life and not once
//! per line (post-mortem #5).
//!
//! Events say when an entry is wrong (rename) or useless (destroy); the age limit is the net below them,
//! for events that Docker loses. Lines in flight hold their container themselves, so an entry may go at
//! any time.
//!
//! That Docker could not tell anything is kept too: each listing brings such a container again, and it is not
//! asked about each time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::docker::known::Born;
use crate::metrics::Metrics;
use crate::record::{Container, ContainerId};

/// The bounds.
#[derive(Clone, Debug)]
pub struct Config {
    /// An entry older than this is asked for again.
    pub ttl: Duration,
    /// Beyond this many, the one that was not used for longest goes.
    pub entries_max: usize,
}

/// A container of which nothing could be learnt is asked about again after this long, then half as often each
/// time, down to once in [`Config::ttl`].
const UNKNOWN_MIN: Duration = Duration::from_secs(5);

/// What there is of a container.
#[derive(Debug)]
pub enum Found {
    /// What an inspection told.
    Known(Arc<Container>, Born),
    /// An inspection has failed of late.
    Unknown,
    /// Nothing that is fresh enough.
    Missing,
}

/// The cache.
#[derive(Debug)]
pub struct Cache {
    config: Config,
    entries: HashMap<ContainerId, Entry>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Entry {
    /// Unless the inspection has failed.
    told: Option<(Arc<Container>, Born)>,
    asked: Instant,
    valid_for: Duration,
    used: Instant,
}

impl Cache {
    /// An empty one.
    #[must_use]
    pub fn new(config: Config, metrics: Arc<Metrics>) -> Self {
        metrics.metadata_cache_capacity.set(i64::try_from(config.entries_max).unwrap_or(i64::MAX));
        Self { config, entries: HashMap::new(), metrics }
    }

    /// What is fresh enough; counts a hit or a miss.
    pub fn get(&mut self, id: &ContainerId, now: Instant) -> Found {
        let entry =
            self.entries.get_mut(id).filter(|entry| now.duration_since(entry.asked) < entry.valid_for);
        let Some(entry) = entry else {
            self.metrics.metadata_cache_misses.inc();
            return Found::Missing;
        };
        self.metrics.metadata_cache_hits.inc();
        entry.used = now;
        match &entry.told {
            Some((container, born)) => Found::Known(Arc::clone(container), *born),
            None => Found::Unknown,
        }
    }

    /// Keeps what an inspection told.
    pub fn put(&mut self, container: Arc<Container>, born: Born, now: Instant) {
        let id = container.id.clone();
        let (told, valid_for) = (Some((container, born)), self.config.ttl);
        self.insert(id, Entry { told, asked: now, valid_for, used: now });
    }

    /// Keeps that an inspection has failed.
    pub fn put_unknown(&mut self, id: &ContainerId, now: Instant) {
        let before = self.entries.get(id).filter(|entry| entry.told.is_none());
        let valid_for = before.map_or(UNKNOWN_MIN, |entry| entry.valid_for * 2).min(self.config.ttl);
        self.insert(id.clone(), Entry { told: None, asked: now, valid_for, used: now });
    }

    /// Nobody tells that one of which nothing is known was removed, but the next listing lacks it.
    pub fn keep_unknown(&mut self, listed: &HashSet<&ContainerId>) {
        self.entries.retain(|id, entry| entry.told.is_some() || listed.contains(id));
        self.show();
    }

    fn insert(&mut self, id: ContainerId, entry: Entry) {
        if self.config.entries_max == 0 {
            return;
        }
        if self.entries.len() >= self.config.entries_max && !self.entries.contains_key(&id) {
            self.evict();
        }
        self.entries.insert(id, entry);
        self.show();
    }

    /// Drops what is wrong now.
    pub fn remove(&mut self, id: &ContainerId) {
        self.entries.remove(id);
        self.show();
    }

    fn evict(&mut self) {
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(id, _)| id.clone());
        if let Some(id) = oldest {
            self.entries.remove(&id);
            self.metrics.metadata_cache_evictions.inc();
        }
    }

    fn show(&self) {
        self.metrics.metadata_cache_entries.set(i64::try_from(self.entries.len()).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn container(digit: u8) -> Arc<Container> {
        Arc::new(Container {
            id: ContainerId::parse(&format!("{digit:064x}")).unwrap(),
            name: String::new(),
            image: String::new(),
            labels: BTreeMap::new(),
            log_driver: String::new(),
            log_path: None,
            log_max_bytes: None,
            tty: false,
        })
    }

    #[test]
    fn an_entry_is_a_hit_until_it_is_too_old() {
        let metrics = Metrics::new();
        let config = Config { ttl: Duration::from_secs(10), entries_max: 4 };
        let mut cache = Cache::new(config, Arc::clone(&metrics));
        let (one, now) = (container(1), Instant::now());
        cache.put(Arc::clone(&one), Born::AfterUs, now);
        assert!(matches!(cache.get(&one.id, now + Duration::from_secs(9)), Found::Known(..)));
        assert!(matches!(cache.get(&one.id, now + Duration::from_secs(10)), Found::Missing));
        assert_eq!((metrics.metadata_cache_hits.get(), metrics.metadata_cache_misses.get()), (1, 1));
    }

    #[test]
    fn a_full_cache_lets_the_least_used_go() {
        let metrics = Metrics::new();
        let config = Config { ttl: Duration::from_secs(100), entries_max: 2 };
        let mut cache = Cache::new(config, Arc::clone(&metrics));
        let now = Instant::now();
        for digit in 1..=2 {
            cache.put(container(digit), Born::AfterUs, now + Duration::from_secs(digit.into()));
        }
        cache.get(&container(1).id, now + Duration::from_secs(3));
        cache.put(container(3), Born::AfterUs, now + Duration::from_secs(4));
        assert!(matches!(cache.get(&container(2).id, now + Duration::from_secs(5)), Found::Missing));
        assert!(matches!(cache.get(&container(1).id, now + Duration::from_secs(5)), Found::Known(..)));
        assert_eq!((metrics.metadata_cache_entries.get(), metrics.metadata_cache_evictions.get()), (2, 1));
    }

    #[test]
    fn what_docker_can_not_tell_is_asked_for_less_and_less_often_until_the_container_is_gone() {
        let metrics = Metrics::new();
        let config = Config { ttl: Duration::from_secs(60), entries_max: 4 };
        let mut cache = Cache::new(config, Arc::clone(&metrics));
        let id = container(1).id.clone();
        let (mut now, mut waits) = (Instant::now(), Vec::new());
        for _ in 0..6 {
            cache.put_unknown(&id, now);
            let since = now;
            while matches!(cache.get(&id, now), Found::Unknown) {
                now += Duration::from_secs(1);
            }
            waits.push((now - since).as_secs());
        }
        assert_eq!(waits, [5, 10, 20, 40, 60, 60]);
        cache.keep_unknown(&HashSet::from([&id]));
        assert_eq!(metrics.metadata_cache_entries.get(), 1);
        cache.put(container(2), Born::AfterUs, now);
        cache.keep_unknown(&HashSet::new());
        assert_eq!(metrics.metadata_cache_entries.get(), 1, "of the known ones events and listings tell");
    }
}
