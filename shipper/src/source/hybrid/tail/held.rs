//! Deleted files that are still being read. Our hold on them keeps their disk space, so what nobody takes
//! for long is given up, counted and named.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::metrics::Metrics;
use crate::record::{ContainerId, Position};
use crate::source::hybrid::tail::Tail;
use crate::source::position::Begin;
use crate::units;

/// `hybrid:` in the config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Disk space of all deleted log files together that are still being read.
    pub deleted_hold_max_bytes: ByteSize,
    /// For how long a deleted log file may be read.
    #[serde(with = "units")]
    pub deleted_hold_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { deleted_hold_max_bytes: ByteSize::gib(1), deleted_hold_max: Duration::from_secs(600) }
    }
}

/// Gives up what is over the limits, the largest first; whose log that was. A file that was found deleted
/// just now is not among them: most are read to their end at once.
pub(in crate::source::hybrid) fn enforce(
    limits: &Limits,
    tails: &mut HashMap<ContainerId, Tail>,
    metrics: &Metrics,
) -> Vec<ContainerId> {
    let now = Instant::now();
    let mut held: Vec<_> = tails.values_mut().filter_map(|tail| tail.held(now).ok().flatten()).collect();
    held.sort_by_key(|held| held.bytes);
    let mut bytes: u64 = held.iter().map(|held| held.bytes).sum();
    let mut given_up = Vec::new();
    for held in held.into_iter().rev() {
        let age = now.duration_since(held.since);
        let too_much = bytes > limits.deleted_hold_max_bytes.as_u64() && !age.is_zero();
        if !too_much && age <= limits.deleted_hold_max {
            continue;
        }
        if let Some(tail) = tails.get_mut(&held.id) {
            tail.give_up(held.bytes, metrics);
            bytes -= held.bytes;
            given_up.push(held.id);
        }
    }
    metrics.deleted_bytes_held.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    given_up
}

struct Held {
    id: ContainerId,
    bytes: u64,
    since: Instant,
}

impl Tail {
    fn held(&mut self, now: Instant) -> io::Result<Option<Held>> {
        let Some(open) = &mut self.open else { return Ok(None) };
        let Some(bytes) = open.deleted()? else { return Ok(None) };
        let since = *open.deleted_since.get_or_insert(now);
        Ok(Some(Held { id: self.container.id.clone(), bytes, since }))
    }

    fn give_up(&mut self, size: u64, metrics: &Metrics) {
        let Some(open) = self.open.take() else { return };
        let settled = match self.joiner.resume_before() {
            Some(Position::File { identity, offset, .. }) if identity.ino == open.identity.ino => *offset,
            Some(_) | None => open.offset,
        };
        let bytes = size.saturating_sub(settled);
        metrics.deleted_bytes_given_up.inc_by(bytes);
        tracing::error!(
            container = %self.container.id,
            bytes,
            "its log was deleted and nobody takes its lines: what was not read of it is given up for its disk space"
        );
        self.joiner.clear();
        self.pass(open.identity);
        self.begin = Begin::Beginning;
    }
}
