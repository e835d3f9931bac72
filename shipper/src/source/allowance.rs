//! What each container may have on its way: within a bound of its own, while its tenant's gate is open.

use std::sync::Arc;

use tokio::time::Instant;

use crate::credit::{Credit, Gate};
use crate::metrics::Metrics;
use crate::metrics::labels::Tenant;
use crate::pace::Pace;
use crate::record::Container;
use crate::targets::Targets;
use crate::tenants::{NotAllowed, PerLane, Tenants};

/// Of each container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What it may have on its way.
    pub bytes: usize,
    /// How much of it may be read in a second, in the long run.
    pub bytes_per_s: Option<u64>,
}

/// Cheap to clone; clones have the same gates.
#[derive(Clone, Debug)]
pub struct Allowance {
    limits: Limits,
    tenants: Arc<Tenants>,
    names: PerLane<Option<String>>,
    gates: PerLane<Gate>,
    targets: Targets,
    metrics: Arc<Metrics>,
}

impl Allowance {
    /// So much for each container; all gates are open. Whoever is given credit is among `targets`.
    #[must_use]
    pub fn new(limits: Limits, tenants: Arc<Tenants>, targets: Targets, metrics: Arc<Metrics>) -> Self {
        metrics.container_bytes_limit.set(i64::try_from(limits.bytes).unwrap_or(i64::MAX));
        let gates =
            tenants.lanes(|_, name| Gate::new(metrics.tenant_bytes.get_or_create_owned(&Tenant::of(name))));
        let names = tenants.lanes(|_, name| name.map(str::to_owned));
        Self { limits, tenants, names, gates, targets, metrics }
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
        let Limits { bytes, bytes_per_s } = self.limits;
        let pace = bytes_per_s.map(|bytes_per_s| Pace::new(bytes_per_s, Instant::now()));
        let credit = Credit::new(bytes, self.gates[lane].clone(), pace, Arc::clone(&self.metrics));
        self.targets.follow(container, self.names[lane].as_deref(), &credit);
        credit
    }

    /// A container has another name; its credit is the same.
    pub fn renamed(&self, container: &Container) {
        self.targets.rename(container);
    }
}
