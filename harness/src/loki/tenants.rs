//! What is known of each tenant: its bucket and its streams. Bounded, whatever is pushed and for how long.

use std::collections::HashMap;

use jiff::Timestamp;

use super::ingester::Ingester;
use super::limits::Limits;
use super::rate::{Bucket, Rate};

/// More tenants than any run has. Beyond them the one that was silent for longest is forgotten.
const TENANTS_MAX: usize = 1000;
/// What streams may take in memory. Beyond it the half that was not written to for longest is forgotten:
/// Loki would keep them, and what is lost with them is only how new their newest entry was.
const BYTES_MAX: usize = 128 << 20;

/// One tenant.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its streams.
    pub ingester: Ingester,
    bucket: Bucket,
    used_at: Timestamp,
}

/// All tenants that were heard of of late.
#[derive(Clone, Debug, Default)]
pub struct Tenants {
    tenants: HashMap<String, Tenant>,
    bytes: usize,
}

/// What a tenant may send in a second and at once. Loki's burst is a whole number.
#[must_use]
pub fn rate(limits: &Limits) -> Rate {
    const MB: f64 = 1_048_576.0;
    let (per_second, burst) = (limits.ingestion_rate_mb * MB, (limits.ingestion_burst_size_mb * MB).floor());
    Rate { per_second, burst }
}

impl Tenant {
    /// Takes bytes out of its bucket, or nothing.
    #[expect(clippy::cast_precision_loss, reason = "a push is far below 2^53 bytes")]
    pub fn take(&mut self, limits: &Limits, now: Timestamp, bytes: usize) -> bool {
        self.bucket.take(rate(limits), now, bytes as f64)
    }
}

impl Tenants {
    /// One tenant, for as long as `work` takes.
    pub fn with<T>(
        &mut self,
        name: &str,
        limits: &Limits,
        now: Timestamp,
        work: impl FnOnce(&mut Tenant) -> T,
    ) -> T {
        if !self.tenants.contains_key(name) && self.tenants.len() >= TENANTS_MAX {
            self.forget_the_most_silent();
        }
        let new = || Tenant {
            ingester: Ingester::default(),
            bucket: Bucket::full(rate(limits), now),
            used_at: now,
        };
        // Looked up first, since nearly always it is there and its name need not be copied.
        let (done, before, after) = if let Some(tenant) = self.tenants.get_mut(name) {
            measured(tenant, now, work)
        } else {
            measured(self.tenants.entry(name.to_owned()).or_insert_with(new), now, work)
        };
        self.bytes = self.bytes - before + after;
        if self.bytes > BYTES_MAX {
            self.forget_half();
        }
        done
    }

    /// Marks all streams as flushed.
    pub fn flush(&mut self, now: Timestamp) {
        self.tenants.values_mut().for_each(|tenant| tenant.ingester.flush(now));
    }

    fn forget_the_most_silent(&mut self) {
        let silent = self.tenants.iter().min_by_key(|(_, tenant)| tenant.used_at);
        if let Some(name) = silent.map(|(name, _)| name.clone()) {
            self.tenants.remove(&name);
            self.recount();
        }
    }

    fn forget_half(&mut self) {
        self.tenants.values_mut().for_each(|tenant| tenant.ingester.forget_half());
        self.recount();
    }

    fn recount(&mut self) {
        self.bytes = self.tenants.values().map(|tenant| tenant.ingester.bytes()).sum();
    }
}

fn measured<T>(
    tenant: &mut Tenant,
    now: Timestamp,
    work: impl FnOnce(&mut Tenant) -> T,
) -> (T, usize, usize) {
    let before = tenant.ingester.bytes();
    tenant.used_at = now;
    let done = work(tenant);
    (done, before, tenant.ingester.bytes())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::audit::ledger::Fate;
    use crate::loki::ingester::Terms;
    use crate::loki::labels::Labels;
    use crate::loki::limits::IngesterConfig;
    use crate::loki::push::{Entry, Stream};
    use crate::loki::weather::FAIR;

    #[test]
    fn the_rate_is_that_of_lokis_figures() {
        let limits = Limits { ingestion_rate_mb: 0.001, ingestion_burst_size_mb: 0.002, ..Limits::default() };
        assert_eq!(rate(&limits), Rate { per_second: 1048.576, burst: 2097.0 });
    }

    #[test]
    fn each_tenant_has_a_bucket_of_its_own() {
        let (limits, now) = (Limits::default(), Timestamp::UNIX_EPOCH);
        let mut tenants = Tenants::default();
        let mut take =
            |name: &str| tenants.with(name, &limits, now, |tenant| tenant.take(&limits, now, 4 << 20));
        assert_eq!((take("a"), take("a"), take("b")), (true, false, true));
    }

    /// What 48 hours of new tenants and streams amount to: the bounds hold, the newest are still known.
    #[test]
    fn tenants_and_streams_are_bounded() {
        let limits = Limits { max_global_streams_per_user: 0, ..Limits::default() };
        let config = IngesterConfig::default();
        let mut tenants = Tenants::default();
        // First ever new tenants, then ever new streams of one.
        for number in 0..63_000_u32 {
            let now = Timestamp::from_second(i64::from(number)).unwrap();
            let tenant = format!("t{}", number.min(3000));
            let labels = Labels::normal(vec![("a".to_owned(), format!("{number}{}", "x".repeat(2000)))]);
            let stream = Stream { labels, entries: vec![Entry::plain(now, Bytes::new())] };
            let terms = Terms { limits: &limits, config: &config, tenant: &tenant, now, weather: &FAIR };
            let refusal = tenants.with(&tenant, &limits, now, |tenant| {
                tenant.ingester.store(terms, &stream, &mut [Fate::Accepted])
            });
            assert_eq!(refusal, None);
        }
        assert_eq!(tenants.tenants.len(), TENANTS_MAX);
        assert!(tenants.bytes <= BYTES_MAX, "{}", tenants.bytes);
        let counted: usize = tenants.tenants.values().map(|tenant| tenant.ingester.bytes()).sum();
        assert_eq!(tenants.bytes, counted);
    }
}
