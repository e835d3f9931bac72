//! What inspections have told, kept so that each container is asked about once per life and not once
//! per line (post-mortem #5).
//!
//! Events say when an entry is wrong (rename) or useless (destroy); the age limit is the net below them,
//! for events that Docker loses. Lines in flight hold their container themselves, so an entry may go at
//! any time.

use std::collections::HashMap;
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

/// The cache.
#[derive(Debug)]
pub struct Cache {
    config: Config,
    entries: HashMap<ContainerId, Entry>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Entry {
    container: Arc<Container>,
    born: Born,
    asked: Instant,
    used: Instant,
}

impl Cache {
    /// An empty one.
    #[must_use]
    pub fn new(config: Config, metrics: Arc<Metrics>) -> Self {
        metrics.metadata_cache_capacity.set(i64::try_from(config.entries_max).unwrap_or(i64::MAX));
        Self { config, entries: HashMap::new(), metrics }
    }

    /// What is known and fresh enough; counts a hit or a miss.
    pub fn get(&mut self, id: &ContainerId, now: Instant) -> Option<(Arc<Container>, Born)> {
        let ttl = self.config.ttl;
        let entry = self.entries.get_mut(id).filter(|entry| now.duration_since(entry.asked) < ttl);
        let Some(entry) = entry else {
            self.metrics.metadata_cache_misses.inc();
            return None;
        };
        self.metrics.metadata_cache_hits.inc();
        entry.used = now;
        Some((Arc::clone(&entry.container), entry.born))
    }

    /// Keeps what an inspection told.
    pub fn put(&mut self, container: Arc<Container>, born: Born, now: Instant) {
        if self.config.entries_max == 0 {
            return;
        }
        if self.entries.len() >= self.config.entries_max && !self.entries.contains_key(&container.id) {
            self.evict();
        }
        self.entries.insert(container.id.clone(), Entry { container, born, asked: now, used: now });
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
        assert!(cache.get(&one.id, now + Duration::from_secs(9)).is_some());
        assert!(cache.get(&one.id, now + Duration::from_secs(10)).is_none());
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
        assert!(cache.get(&container(2).id, now + Duration::from_secs(5)).is_none());
        assert!(cache.get(&container(1).id, now + Duration::from_secs(5)).is_some());
        assert_eq!((metrics.metadata_cache_entries.get(), metrics.metadata_cache_evictions.get()), (2, 1));
    }
}
