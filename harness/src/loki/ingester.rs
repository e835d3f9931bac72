//! Loki's ingester: the newest entry of each stream, and what is refused for it. No I/O.
//!
//! It takes part of a stream: entries too far behind are left out, the others are stored. Of several
//! streams of one push, only the last one's error comes back: a push can lose lines behind a 204.

mod refusals;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;

use self::refusals::{Reason, Refused};
use super::discard;
use super::distributor::earlier;
use super::labels::Labels;
use super::limits::{IngesterConfig, Limits};
use super::metadata::entry_bytes;
use super::push::{Entry, Stream};
use super::rate::{Bucket, Pace, Rate};
use super::weather::Weather;
use crate::audit::ledger::Fate;

/// What a stream takes in memory beside its labels.
const STREAM_BYTES: usize = 400;

/// A refusal: what the whole push is answered with, unless a later stream's answer replaces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Loki's words.
    pub text: String,
}

/// What holds for one push.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The tenant's limits.
    pub limits: &'a Limits,
    /// What holds for all tenants.
    pub config: &'a IngesterConfig,
    /// Whose push it is.
    pub tenant: &'a str,
    /// The server's time.
    pub now: Timestamp,
    /// What is planned to go wrong.
    pub weather: &'a Weather<'a>,
}

/// What is known of one stream.
#[derive(Clone, Copy, Debug)]
struct Known {
    newest: Option<Timestamp>,
    written_at: Timestamp,
    flushed_at: Option<Timestamp>,
    last: Option<Last>,
    bucket: Bucket,
    parts: u32,
    pace: Pace,
}

/// The last entry of a stream: it is stored once if it comes again, and costs nothing then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Last {
    time: Timestamp,
    bytes: usize,
    hash: u64,
}

impl Last {
    fn of(entry: &Entry) -> Self {
        let mut hasher = DefaultHasher::new();
        (&entry.line, &entry.metadata).hash(&mut hasher);
        Self { time: entry.time, bytes: entry.line.len(), hash: hasher.finish() }
    }

    fn is(&self, entry: &Entry) -> bool {
        self.time == entry.time && self.bytes == entry.line.len() && *self == Self::of(entry)
    }
}

impl Known {
    fn new(terms: Terms<'_>) -> Self {
        Self {
            newest: None,
            written_at: terms.now,
            flushed_at: None,
            last: None,
            bucket: Bucket::full(part(terms.limits), terms.now),
            parts: 1,
            pace: Pace::default(),
        }
    }

    fn is_forgotten(&self, terms: Terms<'_>) -> bool {
        let is_idle = self.written_at < earlier(terms.now, terms.config.chunk_idle_period);
        let is_gone = |flushed_at| flushed_at <= earlier(terms.now, terms.config.flush_check_period);
        is_idle || self.flushed_at.is_some_and(is_gone)
    }

    /// Loki splits a stream that comes too fast once it knows how fast: each part has a bucket of its own.
    fn rate(&mut self, terms: Terms<'_>, bytes: usize) -> Rate {
        let (one, desired) = (part(terms.limits), terms.limits.shard_streams.desired_rate as u64);
        let pace = self.pace.per_second(terms.now);
        let parts = if !terms.limits.shard_streams.enabled || desired == 0 || pace == 0 {
            1
        } else {
            u32::try_from((pace + bytes as u64).div_ceil(desired)).unwrap_or(u32::MAX).max(1)
        };
        self.bucket.add(f64::from(parts.saturating_sub(self.parts)) * one.burst);
        self.parts = parts;
        Rate { per_second: one.per_second * f64::from(parts), burst: one.burst * f64::from(parts) }
    }
}

/// The rate of one stream, or of one part of it.
#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
fn part(limits: &Limits) -> Rate {
    let (per_second, burst) = (limits.per_stream_rate_limit, limits.per_stream_rate_limit_burst);
    Rate { per_second: per_second as f64, burst: burst as f64 }
}

/// All streams of one tenant that were written to of late.
#[derive(Clone, Debug, Default)]
pub struct Ingester {
    streams: HashMap<Labels, Known>,
    bytes: usize,
}

impl Ingester {
    /// Stores what is accepted so far of a stream, but for what it refuses itself; says why.
    pub fn store(&mut self, terms: Terms<'_>, stream: &Stream, fates: &mut [Fate]) -> Option<Refusal> {
        if !discard::any_accepted(fates) {
            return None;
        }
        if !self.streams.contains_key(&stream.labels) {
            if !self.has_room(terms) {
                refuse_all(fates, discard::STREAM_LIMIT);
                return Some(refusals::too_many_streams(&stream.labels, terms.tenant));
            }
            self.bytes += bytes_of(&stream.labels);
            self.streams.insert(stream.labels.clone(), Known::new(terms));
        }
        // It is there: looked at, or inserted, above.
        let known = self.streams.get_mut(&stream.labels)?;
        if known.is_forgotten(terms) {
            *known = Known::new(terms);
        }
        known.written_at = terms.now;
        known.flushed_at = None;
        let refused = if terms.limits.shard_streams.enabled {
            whole(known, terms, stream, fates)
        } else {
            entry_by_entry(known, terms, stream, fates)
        };
        refused.refusal(terms.tenant, &stream.labels)
    }

    /// What all its streams take in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Marks all streams as flushed.
    pub fn flush(&mut self, now: Timestamp) {
        self.streams.values_mut().for_each(|known| known.flushed_at = Some(now));
    }

    /// Forgets the half that was not written to for longer.
    pub fn forget_half(&mut self) {
        let mut times: Vec<Timestamp> = self.streams.values().map(|known| known.written_at).collect();
        let middle = times.len() / 2;
        if times.is_empty() {
            return;
        }
        let (_, &mut limit, _) = times.select_nth_unstable(middle);
        self.retain(|known| known.written_at > limit);
    }

    /// Whether one more stream may be known. Forgets idle ones only when there is no room, so that the
    /// way of an ordinary push does not walk over all streams.
    fn has_room(&mut self, terms: Terms<'_>) -> bool {
        let max = terms.limits.max_global_streams_per_user;
        if max == 0 || self.streams.len() < max {
            return true;
        }
        self.retain(|known| !known.is_forgotten(terms));
        self.streams.len() < max
    }

    fn retain(&mut self, stays: impl Fn(&Known) -> bool) {
        self.streams.retain(|_, known| stays(known));
        self.bytes = self.streams.keys().map(bytes_of).sum();
    }
}

fn bytes_of(labels: &Labels) -> usize {
    STREAM_BYTES + labels.bytes() + labels.iter().count() * size_of::<(String, String)>()
}

/// One walk over the entries of one stream, in the order in which they were sent: each one is measured
/// against the newest before it.
struct Walk {
    newest: Option<Timestamp>,
    behind: std::time::Duration,
}

impl Walk {
    fn of(known: &Known, terms: Terms<'_>) -> Self {
        let newest = known.newest.map(|newest| terms.weather.by_their_clock(newest));
        Self { newest, behind: terms.config.max_chunk_age / 2 }
    }

    /// The newest of all, by the sink's own clock.
    fn newest(&self, terms: Terms<'_>) -> Option<Timestamp> {
        self.newest.map(|newest| terms.weather.by_own_clock(newest))
    }

    /// The oldest time that is accepted now, where this one is older.
    fn too_far_behind(&self, time: Timestamp) -> Option<Timestamp> {
        self.newest.map(|newest| earlier(newest, self.behind)).filter(|&oldest| time < oldest)
    }
}

/// Entries that are still to be stored, with their places. What repeats the entry before it counts as
/// stored and is passed over.
fn new_ones<'stream>(
    last: Option<Last>,
    stream: &'stream Stream,
    fates: &[Fate],
) -> impl Iterator<Item = (usize, &'stream Entry)> {
    let mut before: Option<&Entry> = None;
    let reached = stream.entries.iter().zip(fates).enumerate();
    let reached = reached.filter(|(_, (_, fate))| **fate == Fate::Accepted);
    reached.filter_map(move |(place, (entry, _))| {
        let repeats = match before {
            Some(before) => before == entry,
            None => last.is_some_and(|last| last.is(entry)),
        };
        before = Some(entry);
        (!repeats).then_some((place, entry))
    })
}

fn refuse(fates: &mut [Fate], place: usize, why: Fate) {
    if let Some(fate) = fates.get_mut(place) {
        *fate = why;
    }
}

fn refuse_all(fates: &mut [Fate], why: Fate) {
    fates.iter_mut().filter(|fate| **fate == Fate::Accepted).for_each(|fate| *fate = why);
}

/// With `shard_streams` a stream beyond its rate is refused as a whole.
#[expect(clippy::cast_precision_loss, reason = "a push is far below 2^53 bytes")]
fn whole(known: &mut Known, terms: Terms<'_>, stream: &Stream, fates: &mut [Fate]) -> Refused {
    let mut refused = Refused::of(fates);
    let (mut walk, mut bytes, mut last) = (Walk::of(known, terms), 0, None);
    let mut behind = Vec::new();
    for (place, entry) in new_ones(known.last, stream, fates) {
        if let Some(oldest) = walk.too_far_behind(entry.time) {
            refused.add(entry.time, Reason::TooFarBehind { oldest });
            behind.push(place);
            continue;
        }
        bytes += entry_bytes(entry);
        last = Some(entry);
        walk.newest = walk.newest.max(Some(entry.time));
    }
    let rate = known.rate(terms, bytes);
    known.pace.count(terms.now, bytes as u64);
    if !known.bucket.take(rate, terms.now, bytes as f64) {
        let limit = terms.limits.per_stream_rate_limit;
        let mut refused = Refused::of(fates);
        let late = |place: usize| behind.binary_search(&place).is_ok();
        for (_, entry) in new_ones(known.last, stream, fates).filter(|(place, _)| !late(*place)) {
            refused.add(entry.time, Reason::TooFast { limit, bytes: entry_bytes(entry) });
        }
        refuse_all(fates, discard::STREAM_RATE_LIMITED);
        return refused;
    }
    for place in behind {
        refuse(fates, place, discard::TOO_FAR_BEHIND);
    }
    known.newest = walk.newest(terms);
    known.last = last.map(Last::of).or(known.last);
    refused
}

/// Without it a stream is taken until its rate is reached.
#[expect(clippy::cast_precision_loss, reason = "an entry is far below 2^53 bytes")]
fn entry_by_entry(known: &mut Known, terms: Terms<'_>, stream: &Stream, fates: &mut [Fate]) -> Refused {
    let mut refused = Refused::of(fates);
    let (mut walk, mut last) = (Walk::of(known, terms), None);
    let (rate, limit) = (known.rate(terms, 0), terms.limits.per_stream_rate_limit);
    let mut places = Vec::new();
    for (place, entry) in new_ones(known.last, stream, fates) {
        let bytes = entry_bytes(entry);
        let reason = if !known.bucket.take(rate, terms.now, bytes as f64) {
            Reason::TooFast { limit, bytes }
        } else if let Some(oldest) = walk.too_far_behind(entry.time) {
            Reason::TooFarBehind { oldest }
        } else {
            last = Some(entry);
            walk.newest = walk.newest.max(Some(entry.time));
            continue;
        };
        refused.add(entry.time, reason);
        places.push((place, reason.fate()));
    }
    for (place, fate) in places {
        refuse(fates, place, fate);
    }
    known.newest = walk.newest(terms);
    known.last = last.map(Last::of).or(known.last);
    refused
}

#[cfg(test)]
mod tests;
