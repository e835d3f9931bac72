//! Containers whose logs a source can't read: named once each, counted while they are there, and never asked
//! for again.

use std::collections::HashSet;
use std::sync::Arc;

use crate::metrics::Metrics;
use crate::record::{Container, ContainerId};

/// The driver that throws everything away.
pub(super) const NO_DRIVER: &str = "none";

/// No more than there are containers.
#[derive(Debug)]
pub(super) struct Unreadable {
    ids: HashSet<ContainerId>,
    metrics: Arc<Metrics>,
}

impl Unreadable {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { ids: HashSet::new(), metrics }
    }

    /// Names it, with what is to be done about it.
    pub(super) fn note(&mut self, container: &Container, advice: &str) {
        if self.ids.insert(container.id.clone()) {
            self.metrics.containers_unreadable.inc();
            let Container { id, name, log_driver, .. } = container;
            tracing::warn!(container = %id, name, driver = log_driver, "its log can't be read: {advice}");
        }
    }

    pub(super) fn contains(&self, id: &ContainerId) -> bool {
        self.ids.contains(id)
    }

    /// It is gone.
    pub(super) fn forget(&mut self, id: &ContainerId) {
        if self.ids.remove(id) {
            self.metrics.containers_unreadable.dec();
        }
    }
}

impl Drop for Unreadable {
    fn drop(&mut self) {
        self.metrics.containers_unreadable.dec_by(i64::try_from(self.ids.len()).unwrap_or(i64::MAX));
    }
}
