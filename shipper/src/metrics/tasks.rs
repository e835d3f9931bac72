//! Counts a task for as long as it lives, however it ends.

use prometheus_client::metrics::gauge::Gauge;

/// One living task in `shipper_tasks_alive{kind}`; dropping it counts the task down, also when the task
/// panics or is aborted.
#[derive(Debug)]
pub struct TaskGuard(Gauge);

impl TaskGuard {
    pub(super) fn new(alive: Gauge) -> Self {
        alive.inc();
        Self(alive)
    }
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
