//! What containers may have on their way where no config says it.

use std::sync::Arc;

use shipper::metrics::Metrics;
use shipper::source::allowance::{Allowance, Limits};
use shipper::targets::Targets;
use shipper::tenants::Tenants;

/// So much for each container of the only tenant.
pub fn allowance(container_bytes: usize, metrics: &Arc<Metrics>) -> Allowance {
    let limits = Limits { bytes: container_bytes, bytes_per_s: None };
    Allowance::new(limits, Arc::new(Tenants::default()), Targets::default(), Arc::clone(metrics))
}
