//! A refused batch that waits for another attempt.

use std::sync::Arc;

use shipper::batch::Group;
use shipper::metrics::Metrics;

/// Counts in `shipper_retry_queue_items` until it is dropped.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) groups: Vec<Group>,
    metrics: Arc<Metrics>,
}

impl Item {
    pub(crate) fn new(groups: Vec<Group>, metrics: &Arc<Metrics>) -> Self {
        metrics.retry_queue_items.inc();
        Self { groups, metrics: Arc::clone(metrics) }
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        self.metrics.retry_queue_items.dec();
    }
}
