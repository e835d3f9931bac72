//! One push, judged whole: distributor, then ingester, then the one answer that Loki gives for both.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::config::Config;
use super::discard;
use super::distributor::{self, Findings};
use super::grpc;
use super::ingester::{self, Refusal};
use super::limits::Limits;
use super::metadata::entry_bytes;
use super::push::{Push, Stream};
use super::tenants::{self, Tenant, Tenants};
use super::weather::Weather;
use crate::audit::ledger::Fate;

/// Who judges, and when.
#[derive(Clone, Copy, Debug)]
pub struct Court<'a> {
    /// How this Loki is set up.
    pub config: &'a Config,
    /// Whose push it is.
    pub tenant: &'a str,
    /// The server's time.
    pub now: Timestamp,
    /// The server's zone.
    pub zone: &'a TimeZone,
    /// What is planned to go wrong.
    pub weather: &'a Weather<'a>,
}

/// What becomes of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// `None` is 204, which says nothing of entries that were dropped in an earlier stream.
    pub refusal: Option<Refusal>,
    /// For each stream and each of its entries: whether it is stored, or why not.
    pub fates: Vec<Vec<Fate>>,
}

impl Judged {
    fn nothing(push: &Push, fate: Fate, status: u16, text: impl Into<String>) -> Self {
        let fates = push.streams.iter().map(|stream| vec![fate; stream.entries.len()]).collect();
        Self { refusal: Some(Refusal { status, text: text.into() }), fates }
    }

    /// What had gone on is refused all the same.
    fn refused_late(mut fates: Vec<Vec<Fate>>, fate: Fate, status: u16, text: String) -> Self {
        let gone_on = fates.iter_mut().flatten().filter(|fate| **fate == Fate::Accepted);
        gone_on.for_each(|gone_on| *gone_on = fate);
        Self { refusal: Some(Refusal { status, text }), fates }
    }
}

/// Judges a push, alters what Loki alters, and remembers what it stores. An error of the ingester replaces
/// those of the distributor, and of the ingester's errors only the last stream's is kept: both are Loki's
/// ways.
pub fn judge(court: Court<'_>, tenants: &mut Tenants, push: &mut Push) -> Judged {
    let Court { config, tenant, now, zone, weather } = court;
    let inflight_max = config.distributor.max_inflight_bytes;
    if inflight_max != 0 && grpc::inflight_bytes(&push.streams) > inflight_max {
        return Judged::nothing(
            push,
            discard::WHOLE_PUSH,
            503,
            "The server cannot accept more requests at this time.",
        );
    }
    let limits = config.limits_of(tenant);
    let entry_zone = if push.has_local_times { zone } else { &TimeZone::UTC };
    let terms = distributor::Terms { limits, tenant, now, zone, entry_zone, weather };
    let (mut findings, mut fates) = (Findings::default(), Vec::with_capacity(push.streams.len()));
    for stream in &mut push.streams {
        match distributor::check(terms, stream, &mut findings) {
            Ok(of_stream) => fates.push(of_stream),
            Err(error) => return Judged::nothing(push, discard::WHOLE_PUSH, 500, error.to_string()),
        }
    }
    let own = own_refusal(limits, tenant, &findings);
    let (lines, bytes) = surviving(&push.streams, &fates);
    if lines == 0 {
        return Judged { refusal: own, fates };
    }
    tenants.with(tenant, limits, now, |state| {
        if !state.take(limits, now, bytes) {
            let text = too_fast(limits, tenant, lines, bytes);
            return Judged::refused_late(fates, discard::RATE_LIMITED, 429, text);
        }
        let message_max = config.server.grpc_server_max_recv_msg_size;
        if let Some(text) = grpc::too_large(limits, message_max, &push.streams, &fates) {
            return Judged::refused_late(fates, discard::WHOLE_PUSH, 500, text);
        }
        let terms = ingester::Terms { limits, config: &config.ingester, tenant, now, weather };
        let refusal = store(terms, state, &push.streams, &mut fates);
        Judged { refusal: refusal.or(own), fates }
    })
}

fn store(
    terms: ingester::Terms<'_>,
    state: &mut Tenant,
    streams: &[Stream],
    fates: &mut [Vec<Fate>],
) -> Option<Refusal> {
    let mut refusal = None;
    for (stream, fates) in streams.iter().zip(fates) {
        if discard::any_accepted(fates) {
            refusal = state.ingester.store(terms, stream, fates);
        }
    }
    refusal
}

/// The distributor's own answer: faults come before the block.
fn own_refusal(limits: &Limits, tenant: &str, findings: &Findings) -> Option<Refusal> {
    let faults = findings.faults.text().map(|text| Refusal { status: 400, text });
    let blocked = || distributor::blocked(limits, tenant).filter(|_| findings.is_blocked);
    faults.or_else(|| blocked().map(|(status, text)| Refusal { status, text }))
}

/// Lines and bytes that go on.
fn surviving(streams: &[Stream], fates: &[Vec<Fate>]) -> (usize, usize) {
    let entries = streams.iter().zip(fates).flat_map(|(stream, fates)| stream.entries.iter().zip(fates));
    let going_on = entries.filter(|(_, fate)| **fate == Fate::Accepted);
    going_on.fold((0, 0), |(lines, bytes), (entry, _)| (lines + 1, bytes + entry_bytes(entry)))
}

fn too_fast(limits: &Limits, tenant: &str, lines: usize, bytes: usize) -> String {
    let limit = tenants::rate(limits).per_second.floor();
    format!(
        "ingestion rate limit exceeded for user {tenant} (limit: {limit} bytes/sec) while attempting to ingest \
         '{lines}' lines totaling '{bytes}' bytes, reduce log volume or contact your Loki administrator to see \
         if the limit can be increased"
    )
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::loki::labels::parse;
    use crate::loki::push::Entry;
    use crate::loki::weather::FAIR;

    const NOW: i64 = 1_795_523_511;
    const TOO_OLD: i64 = 8 * 24 * 3600;

    fn stream(labels: &str, ages_s: &[i64]) -> Stream {
        let time = |age: &i64| Timestamp::new(NOW - age, 0).unwrap();
        let entries = ages_s.iter().map(|age| Entry::plain(time(age), Bytes::from("0123456789"))).collect();
        Stream { labels: parse(labels).unwrap(), entries }
    }

    fn judged_with(config: &str, streams: Vec<Stream>) -> Judged {
        let court = Court {
            config: &Config::parse(config).unwrap(),
            tenant: "t",
            now: Timestamp::new(NOW, 0).unwrap(),
            zone: &TimeZone::UTC,
            weather: &FAIR,
        };
        judge(court, &mut Tenants::default(), &mut Push { streams, has_local_times: false })
    }

    fn judged(streams: Vec<Stream>) -> Judged {
        judged_with("", streams)
    }

    fn stored(judged: &Judged) -> Vec<Vec<bool>> {
        let of = |fates: &Vec<Fate>| fates.iter().map(|fate| *fate == Fate::Accepted).collect();
        judged.fates.iter().map(of).collect()
    }

    fn status(judged: &Judged) -> Option<u16> {
        judged.refusal.as_ref().map(|refusal| refusal.status)
    }

    #[test]
    fn what_is_good_is_stored_beside_what_is_refused() {
        let judged = judged(vec![stream("{a=\"1\"}", &[10, TOO_OLD, 9])]);
        assert_eq!(judged.fates, [[Fate::Accepted, discard::TOO_OLD, Fate::Accepted]]);
        assert_eq!(status(&judged), Some(400));
    }

    #[test]
    fn a_clean_last_stream_hides_what_an_earlier_one_lost() {
        let judged = judged(vec![stream("{a=\"1\"}", &[10, 5000]), stream("{a=\"2\"}", &[10])]);
        assert_eq!((status(&judged), stored(&judged)), (None, vec![vec![true, false], vec![true]]));
    }

    #[test]
    fn a_last_stream_that_the_distributor_dropped_does_not_hide_it() {
        let judged = judged(vec![stream("{a=\"1\"}", &[10, 5000]), stream("{a=\"2\"}", &[TOO_OLD])]);
        assert!(judged.refusal.unwrap().text.contains("too far behind"));
    }

    #[test]
    fn the_ingesters_words_replace_the_distributors() {
        let judged = judged(vec![stream("{a=\"1\"}", &[10, 5000, TOO_OLD])]);
        let text = judged.refusal.unwrap().text;
        assert!(text.contains("total ignored: 1 out of 2") && !text.contains("too old"), "{text}");
    }

    /// 0.00002 MB are 20 bytes: two lines.
    #[test]
    fn the_rate_takes_all_or_nothing_of_what_survives_and_hides_what_does_not() {
        let slow = "limits_config: {ingestion_rate_mb: 1, ingestion_burst_size_mb: 0.00002}";
        let two = judged_with(slow, vec![stream("{a=\"1\"}", &[10, TOO_OLD]), stream("{a=\"2\"}", &[10])]);
        assert_eq!((status(&two), stored(&two)), (Some(400), vec![vec![true, false], vec![true]]));
        let three = judged_with(slow, vec![stream("{a=\"1\"}", &[10, TOO_OLD, 11, 12])]);
        let late = discard::RATE_LIMITED;
        assert_eq!(three.fates, [[late, discard::TOO_OLD, late, late]]);
        let Refusal { status: code, text } = three.refusal.unwrap();
        assert_eq!(code, 429);
        assert!(
            text.contains("(limit: 1048576 bytes/sec)") && text.contains("'3' lines totaling '30' bytes")
        );
        let none = judged_with(slow, vec![stream("{a=\"1\"}", &[TOO_OLD; 4])]);
        assert_eq!(status(&none), Some(400), "where nothing is left the rate is not asked");
    }

    #[test]
    fn a_message_that_is_too_large_is_refused_whole_with_500() {
        let judged = judged_with(
            "server: {grpc_server_max_recv_msg_size: 200}",
            vec![stream("{a=\"1\"}", &[10; 4]), stream("{a=\"2\"}", &[10, TOO_OLD])],
        );
        assert_eq!(status(&judged), Some(500));
        assert!(!stored(&judged).concat().contains(&true));
    }

    #[test]
    fn a_fault_comes_before_the_block_and_a_silent_block_is_204() {
        let block =
            "limits_config: {block_ingestion_until: \"2099-01-01T00:00:00Z\", max_label_value_length: 3}";
        let blocked = judged_with(block, vec![stream("{a=\"1\"}", &[10])]);
        assert_eq!((status(&blocked), blocked.fates), (Some(260), vec![vec![discard::BLOCKED]]));
        let both = judged_with(block, vec![stream("{a=\"1\"}", &[10]), stream("{a=\"long\"}", &[10])]);
        assert_eq!(status(&both), Some(400));
        let silent = format!("{}, block_ingestion_status_code: 200}}", block.trim_end_matches('}'));
        assert_eq!(status(&judged_with(&silent, vec![stream("{a=\"1\"}", &[10])])), None);
    }

    #[test]
    fn a_push_above_what_may_be_under_way_is_told_to_come_again() {
        let judged = judged_with("distributor: {max_inflight_bytes: 10}", vec![stream("{a=\"1\"}", &[10])]);
        assert_eq!((status(&judged), stored(&judged)), (Some(503), vec![vec![false]]));
    }
}
