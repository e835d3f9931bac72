//! Loki's ingester: the newest entry of each stream, and what is refused for it. No I/O.
//!
//! It takes part of a stream: entries too far behind are left out, the others are stored. Of several
//! streams of one push, only the last one's error comes back: a push can lose lines behind a 204.

use std::collections::HashMap;
use std::fmt::Write;

use jiff::Timestamp;

use super::forms::{go_time, rfc3339};
use super::labels::Labels;
use super::limits::{Limits, earlier};
use super::push::Stream;

/// Loki's `ingester.max-ignored-stream-errors`.
const ENTRIES_LISTED_MAX: usize = 10;
/// The only tenant, where `auth_enabled` is off.
const TENANT: &str = "fake";

/// A refusal: what the whole push is answered with, unless a later stream's answer replaces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Loki's words.
    pub text: String,
}

/// What is known of one stream.
#[derive(Clone, Copy, Debug)]
struct Known {
    newest: Timestamp,
    written_at: Timestamp,
}

/// All streams that were written to of late.
#[derive(Clone, Debug, Default)]
pub struct Ingester {
    streams: HashMap<Labels, Known>,
}

impl Ingester {
    /// Stores what `kept` marks of a stream and unmarks what is refused; says why.
    pub fn store(
        &mut self,
        limits: &Limits,
        stream: &Stream,
        kept: &mut [bool],
        now: Timestamp,
    ) -> Option<Refusal> {
        if !kept.contains(&true) {
            return None;
        }
        let forgotten_before = earlier(now, limits.chunk_idle_period);
        let known = self.streams.get(&stream.labels).filter(|known| known.written_at >= forgotten_before);
        if known.is_none() && !self.has_room(limits, &stream.labels, forgotten_before) {
            kept.fill(false);
            return Some(too_many_streams(&stream.labels));
        }
        let known = self.streams.get(&stream.labels).filter(|known| known.written_at >= forgotten_before);
        let mut pass = Pass { newest: known.map(|known| known.newest), ..Pass::default() };
        for (entry, kept) in stream.entries.iter().zip(kept.iter_mut()).filter(|(_, kept)| **kept) {
            *kept = pass.take(limits, entry.time);
        }
        if let Some(newest) = pass.newest {
            self.streams.insert(stream.labels.clone(), Known { newest, written_at: now });
        }
        pass.refusal(&stream.labels)
    }

    /// Whether one more stream may be known. Forgets idle ones only when there is no room, so that the
    /// way of an ordinary push does not walk over all streams.
    fn has_room(&mut self, limits: &Limits, labels: &Labels, forgotten_before: Timestamp) -> bool {
        if self.streams.len() >= limits.max_global_streams_per_user && !self.streams.contains_key(labels) {
            self.streams.retain(|_, known| known.written_at >= forgotten_before);
        }
        self.streams.len() < limits.max_global_streams_per_user || self.streams.contains_key(labels)
    }
}

fn too_many_streams(labels: &Labels) -> Refusal {
    let text = format!(
        "maximum active stream limit exceeded when trying to create stream {labels}, reduce the number of \
         active streams (reduce labels or reduce label values), or contact your Loki administrator to see if \
         the limit can be increased, user: '{TENANT}'"
    );
    Refusal { status: 429, text }
}

/// One walk over the entries of one stream, in the order in which they were sent: each one is measured
/// against the newest before it.
#[derive(Default)]
struct Pass {
    newest: Option<Timestamp>,
    taken: usize,
    refused: usize,
    listed: String,
}

impl Pass {
    fn take(&mut self, limits: &Limits, time: Timestamp) -> bool {
        let oldest = self.newest.map(|newest| earlier(newest, limits.max_chunk_age / 2));
        if let Some(oldest) = oldest.filter(|&oldest| time < oldest) {
            self.refuse(time, oldest);
            return false;
        }
        self.taken += 1;
        self.newest = self.newest.max(Some(time));
        true
    }

    fn refuse(&mut self, time: Timestamp, oldest: Timestamp) {
        self.refused += 1;
        if self.refused > ENTRIES_LISTED_MAX {
            return;
        }
        let (full, time, oldest) = (go_time(time), rfc3339(time), rfc3339(oldest));
        // Writing into a String can't fail.
        writeln!(
            self.listed,
            "entry with timestamp {full} ignored, reason: 'entry too far behind, entry timestamp is: {time}, \
             oldest acceptable timestamp is: {oldest}',"
        )
        .unwrap_or_default();
    }

    fn refusal(self, labels: &Labels) -> Option<Refusal> {
        let Self { taken, refused, mut listed, .. } = self;
        if refused == 0 {
            return None;
        }
        let reached = taken + refused;
        write!(listed, "user '{TENANT}', total ignored: {refused} out of {reached} for stream: {labels}")
            .unwrap_or_default();
        Some(Refusal { status: 400, text: listed })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::loki::labels::parse;
    use crate::loki::push::Entry;

    const NOW: i64 = 1_795_523_511;

    fn at(second: i64) -> Timestamp {
        Timestamp::new(second, 0).unwrap()
    }

    fn stream(labels: &str, ages_s: &[i64]) -> Stream {
        let entries = ages_s.iter().map(|age| Entry { time: at(NOW - age), line: Bytes::new() }).collect();
        Stream { labels: parse(labels).unwrap(), entries }
    }

    fn store(ingester: &mut Ingester, labels: &str, ages_s: &[i64]) -> (Vec<bool>, Option<Refusal>) {
        let stream = stream(labels, ages_s);
        let mut kept = vec![true; ages_s.len()];
        let refusal = ingester.store(&Limits::default(), &stream, &mut kept, at(NOW));
        (kept, refusal)
    }

    #[test]
    fn an_hour_behind_is_accepted_and_a_second_more_is_not() {
        let mut ingester = Ingester::default();
        let (kept, refusal) = store(&mut ingester, "{a=\"b\"}", &[10, 3610, 3611]);
        assert_eq!(kept, [true, true, false]);
        insta::assert_snapshot!(refusal.unwrap().text, @r#"
        entry with timestamp 2026-11-24 11:31:40 +0000 UTC ignored, reason: 'entry too far behind, entry timestamp is: 2026-11-24T11:31:40Z, oldest acceptable timestamp is: 2026-11-24T11:31:41Z',
        user 'fake', total ignored: 1 out of 3 for stream: {a="b", service_name="unknown_service"}
        "#);
    }

    #[test]
    fn ascending_order_passes_and_another_stream_is_not_concerned() {
        let mut ingester = Ingester::default();
        assert_eq!(store(&mut ingester, "{a=\"1\"}", &[9000, 5000, 10]), (vec![true; 3], None));
        assert_eq!(store(&mut ingester, "{a=\"2\"}", &[9000]).1, None);
        assert_eq!(store(&mut ingester, "{a=\"1\"}", &[9000]).0, [false], "the newest entry is remembered");
    }

    #[test]
    fn ten_entries_are_listed_and_all_are_counted() {
        let mut ages = vec![10];
        ages.extend([5000; 15]);
        let (_, refusal) = store(&mut Ingester::default(), "{a=\"b\"}", &ages);
        let text = refusal.unwrap().text;
        assert_eq!(text.matches("ignored, reason").count(), 10);
        assert!(text.contains("total ignored: 15 out of 16 for stream: {a="), "{text}");
    }

    #[test]
    fn a_stream_that_was_idle_for_long_is_forgotten() {
        let mut ingester = Ingester::default();
        store(&mut ingester, "{a=\"b\"}", &[10]);
        let limits = Limits { chunk_idle_period: Duration::from_secs(60), ..Limits::default() };
        let late = stream("{a=\"b\"}", &[9000]);
        assert_eq!(ingester.store(&limits, &late, &mut [true], at(NOW + 61)), None);
    }

    #[test]
    fn a_stream_beyond_the_limit_is_refused_and_those_known_go_on() {
        let limits = Limits { max_global_streams_per_user: 1, ..Limits::default() };
        let mut ingester = Ingester::default();
        let mut kept = [true];
        assert_eq!(ingester.store(&limits, &stream("{a=\"1\"}", &[10]), &mut kept, at(NOW)), None);
        let refusal = ingester.store(&limits, &stream("{a=\"2\"}", &[10]), &mut kept, at(NOW));
        assert_eq!((refusal.unwrap().status, kept), (429, [false]));
        assert_eq!(ingester.store(&limits, &stream("{a=\"1\"}", &[9]), &mut [true], at(NOW)), None);
    }
}
