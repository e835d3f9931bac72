//! What is worked out when the page is asked for.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// Seconds since the checkpoint on disk was last known to hold all that is settled. It does not grow
/// while nothing changes, so an alert on it means that positions can't be saved.
#[derive(Clone, Debug)]
pub struct CheckpointAge(Arc<Mutex<Instant>>);

impl CheckpointAge {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let age = Self(Arc::new(Mutex::new(Instant::now())));
        registry.register_collector(Box::new(age.clone()));
        age
    }

    /// The checkpoint was written, or there was nothing new to write.
    pub fn up_to_date(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn seconds(&self) -> f64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed().as_secs_f64()
    }
}

impl Collector for CheckpointAge {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let age = ConstGauge::new(self.seconds());
        let help = "Seconds since the checkpoint held all that is settled";
        age.encode(encoder.encode_descriptor(
            "shipper_checkpoint_age_seconds",
            help,
            None,
            age.metric_type(),
        )?)
    }
}

/// `tokio_alive_tasks`: what the runtime itself counts, ours and those of libraries.
#[derive(Debug)]
pub(super) struct TokioTasks;

impl Collector for TokioTasks {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return Ok(()) };
        let alive = i64::try_from(runtime.metrics().num_alive_tasks()).unwrap_or(i64::MAX);
        let alive = ConstGauge::new(alive);
        let help = "Tasks alive in the tokio runtime";
        alive.encode(encoder.encode_descriptor("tokio_alive_tasks", help, None, alive.metric_type())?)
    }
}
