//! How many connections of the pool are open, as `/metrics` has it.

use prometheus_client::metrics::gauge::Gauge;

use crate::metrics::Metrics;

/// A connection, counted for as long as it is open.
pub(super) struct Connected(Gauge);

impl Connected {
    pub(super) fn new(metrics: &Metrics) -> Self {
        metrics.docker_connections_in_use.inc();
        Self(metrics.docker_connections_in_use.clone())
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}
