use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::loki::labels::parse;
use crate::loki::limits::ShardStreams;
use crate::loki::weather::FAIR;

const NOW: i64 = 1_795_523_511;

fn at(second: i64) -> Timestamp {
    Timestamp::new(second, 0).unwrap()
}

fn stream(labels: &str, ages_s: &[i64]) -> Stream {
    let entries = ages_s.iter().map(|age| Entry::plain(at(NOW - age), Bytes::new())).collect();
    Stream { labels: parse(labels).unwrap(), entries }
}

/// A loki of these limits at this second.
struct Set {
    limits: Limits,
    config: IngesterConfig,
    ingester: Ingester,
    now: i64,
}

fn set(limits: Limits) -> Set {
    Set { limits, config: IngesterConfig::default(), ingester: Ingester::default(), now: NOW }
}

impl Set {
    fn store(&mut self, stream: &Stream) -> (Vec<bool>, Option<Refusal>) {
        let Self { limits, config, ingester, now } = self;
        let terms = Terms { limits, config, tenant: "fake", now: at(*now), weather: &FAIR };
        let mut fates = vec![Fate::Accepted; stream.entries.len()];
        let refusal = ingester.store(terms, stream, &mut fates);
        (fates.iter().map(|fate| *fate == Fate::Accepted).collect(), refusal)
    }

    fn ages(&mut self, labels: &str, ages_s: &[i64]) -> (Vec<bool>, Option<Refusal>) {
        self.store(&stream(labels, ages_s))
    }

    /// Lines of 100 bytes, no two of them alike.
    fn lines(&mut self, count: usize) -> (Vec<bool>, Option<Refusal>) {
        let entry = |number| Entry::plain(at(NOW - 10), Bytes::from(format!("{number:0100}")));
        let labels = parse("{a=\"b\"}").unwrap();
        self.store(&Stream { labels, entries: (0..count).map(entry).collect() })
    }
}

fn slow(enabled: bool) -> Limits {
    Limits {
        per_stream_rate_limit: 100,
        per_stream_rate_limit_burst: 250,
        shard_streams: ShardStreams { enabled, ..ShardStreams::default() },
        ..Limits::default()
    }
}

#[test]
fn an_hour_behind_is_accepted_and_a_second_more_is_not() {
    let (kept, refusal) = set(Limits::default()).ages("{a=\"b\"}", &[10, 3610, 3611]);
    assert_eq!(kept, [true, true, false]);
    insta::assert_snapshot!(refusal.unwrap().text, @r#"
    entry with timestamp 2026-11-24 11:31:40 +0000 UTC ignored, reason: 'entry too far behind, entry timestamp is: 2026-11-24T11:31:40Z, oldest acceptable timestamp is: 2026-11-24T11:31:41Z',
    user 'fake', total ignored: 1 out of 3 for stream: {a="b"}
    "#);
}

#[test]
fn ascending_order_passes_and_another_stream_is_not_concerned() {
    let mut loki = set(Limits::default());
    assert_eq!(loki.ages("{a=\"1\"}", &[9000, 5000, 10]), (vec![true; 3], None));
    assert_eq!(loki.ages("{a=\"2\"}", &[9000]).1, None);
    assert_eq!(loki.ages("{a=\"1\"}", &[9000]).0, [false], "the newest entry is remembered");
}

#[test]
fn ten_entries_are_listed_and_all_are_counted() {
    let mut ages = vec![10];
    ages.extend(5000..5015);
    let (_, refusal) = set(Limits::default()).ages("{a=\"b\"}", &ages);
    let text = refusal.unwrap().text;
    assert_eq!(text.matches("ignored, reason").count(), 10);
    assert!(text.contains("total ignored: 15 out of 16 for stream: {a="), "{text}");
}

#[test]
fn a_stream_that_was_idle_for_long_or_flushed_is_forgotten() {
    for is_flushed in [false, true] {
        let mut loki = set(Limits::default());
        loki.config.chunk_idle_period = Duration::from_secs(if is_flushed { 999 } else { 60 });
        loki.config.flush_check_period = Duration::from_secs(60);
        loki.ages("{a=\"b\"}", &[10]);
        if is_flushed {
            loki.ingester.flush(at(NOW));
        }
        loki.now = NOW + 59;
        assert!(loki.ages("{a=\"b\"}", &[9000]).1.is_some(), "not yet");
        loki.ages("{a=\"b\"}", &[10]);
        if is_flushed {
            loki.ingester.flush(at(NOW + 59));
        }
        loki.now = NOW + 59 + 61;
        assert_eq!(loki.ages("{a=\"b\"}", &[9000]).1, None);
    }
}

#[test]
fn a_stream_that_was_written_to_since_it_was_flushed_is_still_known() {
    let mut loki = set(Limits::default());
    loki.ages("{a=\"b\"}", &[10]);
    loki.ingester.flush(at(NOW));
    loki.now = NOW + 10;
    loki.ages("{a=\"b\"}", &[10]);
    loki.now = NOW + 600;
    assert!(loki.ages("{a=\"b\"}", &[9000]).1.is_some());
}

#[test]
fn a_stream_beyond_the_limit_is_refused_and_those_known_go_on() {
    let mut loki = set(Limits { max_global_streams_per_user: 1, ..Limits::default() });
    assert_eq!(loki.ages("{a=\"1\"}", &[10]).1, None);
    let (kept, refusal) = loki.ages("{a=\"2\"}", &[10]);
    assert_eq!((refusal.unwrap().status, kept), (429, vec![false]));
    assert_eq!(loki.ages("{a=\"1\"}", &[9]).1, None);
    loki.now += 3600;
    assert_eq!(loki.ages("{a=\"2\"}", &[9]).1, None, "the idle one makes room");
}

#[test]
fn without_a_limit_on_streams_half_of_them_can_be_forgotten() {
    let mut loki = set(Limits { max_global_streams_per_user: 0, ..Limits::default() });
    for number in 0..6000 {
        loki.now = NOW + number;
        assert_eq!(loki.ages(&format!("{{a=\"{number}\"}}"), &[10]).1, None);
    }
    let before = loki.ingester.bytes();
    loki.ingester.forget_half();
    assert!(loki.ingester.bytes() <= before / 2 + STREAM_BYTES, "{} of {before}", loki.ingester.bytes());
    assert!(loki.ages("{a=\"5999\"}", &[9000]).1.is_some(), "the newer ones are still known");
}

#[test]
fn a_stream_beyond_its_rate_is_refused_as_a_whole_where_streams_are_split() {
    let mut loki = set(slow(true));
    let (kept, refusal) = loki.lines(3);
    assert_eq!(kept, [false; 3]);
    let Refusal { status, text } = refusal.unwrap();
    assert_eq!((status, text.matches("totaling 100B").count()), (429, 3));
    assert!(text.contains("(limit: 100B/sec)") && text.contains("total ignored: 3 out of 3"), "{text}");
    assert_eq!(loki.lines(2), (vec![true; 2], None), "what was refused has cost nothing");
}

#[test]
fn without_splitting_it_is_taken_as_far_as_its_rate_goes() {
    let mut loki = set(slow(false));
    assert_eq!(loki.lines(4).0, [true, true, false, false]);
    loki.now += 2;
    assert_eq!(loki.lines(4).0, [true, true, false, false]);
}

#[test]
fn an_entry_that_comes_again_costs_nothing() {
    let mut loki = set(slow(false));
    let same = |count| {
        let entry = Entry::plain(at(NOW), Bytes::from("x".repeat(200)));
        Stream { labels: parse("{a=\"b\"}").unwrap(), entries: vec![entry; count] }
    };
    assert_eq!(loki.store(&same(5)), (vec![true; 5], None));
    assert_eq!(loki.store(&same(5)), (vec![true; 5], None));
    let mut other = same(1);
    other.entries[0].metadata = vec![("a".to_owned(), "b".to_owned())];
    assert_eq!(loki.store(&other).0, [false], "with other metadata it is another entry");
}

/// As a real Loki splits it: into as many parts as its pace asks for, each with a rate of its own.
#[test]
fn a_stream_that_is_known_to_be_fast_has_room_for_more() {
    let mut limits = Limits { per_stream_rate_limit: 10, ..slow(true) };
    limits.shard_streams.desired_rate = 100;
    let mut loki = set(limits);
    assert_eq!(loki.lines(2).1, None);
    loki.now += 1;
    assert_eq!(loki.lines(5).1, None, "seven parts of a hundred bytes");
}
