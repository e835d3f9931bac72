//! A shipper of Docker container logs to Grafana Loki.
//!
//! The modules stand in the order in which data flows; each uses only those above it.

pub mod clock;
pub mod stamp;
pub mod record;
pub mod metrics;
pub mod docker;
pub mod source;
