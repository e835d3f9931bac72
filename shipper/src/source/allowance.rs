//! What each container may have on its way: within a bound of its own, while its tenant's gate is open.

use std::sync::Arc;

use crate::credit::{Credit, Gate};
use crate::metrics::Metrics;
use crate::metrics::labels::Tenant;
use crate::record::Container;
use crate::tenants::{NotAllowed, PerLane, Tenants};

/// Cheap to clone; clones have the same gates.
#[derive(Clone, Debug)]
pub struct Allowance {
    container_bytes: usize,
    tenants: Arc<Tenants>,
    gates: PerLane<Gate>,
    metrics: Arc<Metrics>,
}

impl Allowance {
    /// `container_bytes` for each container; all gates are open.
    #[must_use]
    pub fn new(tenants: Arc<Tenants>, container_bytes: usize, metrics: Arc<Metrics>) -> Self {
        metrics.container_bytes_limit.set(i64::try_from(container_bytes).unwrap_or(i64::MAX));
        let gates =
            tenants.lanes(|_, name| Gate::new(metrics.tenant_bytes.get_or_create_owned(&Tenant::of(name))));
        Self { container_bytes, tenants, gates, metrics }
    }

    /// For whoever opens and closes them.
    #[must_use]
    pub fn gates(&self) -> &PerLane<Gate> {
        &self.gates
    }

    /// The credit of one more container.
    #[must_use]
    pub fn credit(&self, container: &Container) -> Credit {
        let lane = self.tenants.lane_of(container).unwrap_or_else(|NotAllowed(name)| {
            self.metrics.tenants_not_allowed.inc();
            let name: String = name.chars().take(100).collect();
            tracing::warn!(
                container = container.name,
                tenant = name,
                "this container's label names a tenant that loki.tenants.allow does not: its lines go to loki.tenant"
            );
            self.tenants.own_lane()
        });
        Credit::new(self.container_bytes, self.gates[lane].clone(), Arc::clone(&self.metrics))
    }
}
