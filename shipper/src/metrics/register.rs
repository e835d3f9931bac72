//! How a metric comes to be: made, and registered under its name.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};

/// A metric without labels, or one whose labels come one by one.
pub(super) fn plain<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// … whose labels are a closed set: all of them are there at once.
pub(super) fn closed<S, M>(registry: &mut Registry, all: &[S], name: &str, help: &str) -> Family<S, M>
where
    S: Clone + std::hash::Hash + Eq,
    M: Default + Clone,
    Family<S, M>: Metric,
{
    let family = Family::<S, M>::default();
    for member in all {
        drop(family.get_or_create(member));
    }
    registry.register(name, help, family.clone());
    family
}

/// … of times.
pub(super) fn histogram(registry: &mut Registry, name: &str, help: &str) -> Histogram {
    // 1 ms to 32 s: the request's timeout is 30 s.
    let metric = Histogram::new(exponential_buckets(0.001, 2.0, 16));
    registry.register(name, help, metric.clone());
    metric
}
