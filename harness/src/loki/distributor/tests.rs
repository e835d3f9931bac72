use std::time::Duration;

use jiff::tz::Offset;

use super::*;
use crate::loki::labels::parse;
use crate::loki::weather::FAIR;

const NOW: Timestamp = Timestamp::constant(1_795_523_511, 900_000_000);
const HOUR_NS: i64 = 3_600_000_000_000;
const GRACE_NS: i64 = 600_000_000_000;

fn stream(entries: &[(i64, usize)]) -> Stream {
    let entry = |&(age_ns, length): &(i64, usize)| {
        let time = Timestamp::from_nanosecond(NOW.as_nanosecond() - i128::from(age_ns)).unwrap();
        Entry::plain(time, Bytes::from(vec![b'x'; length]))
    };
    labelled("{a=\"b\", service_name=\"s\"}", entries.iter().map(entry).collect())
}

fn labelled(labels: &str, entries: Vec<Entry>) -> Stream {
    Stream { labels: parse(labels).unwrap(), entries }
}

fn terms<'a>(limits: &'a Limits, zone: &'a TimeZone) -> Terms<'a> {
    Terms { limits, tenant: "fake", now: NOW, zone, entry_zone: zone, weather: &FAIR }
}

fn checked(limits: &Limits, mut stream: Stream) -> (Vec<bool>, String, Stream) {
    let mut findings = Findings::default();
    let fates = check(terms(limits, &TimeZone::UTC), &mut stream, &mut findings).unwrap();
    let kept = fates.iter().map(|fate| *fate == Fate::Accepted).collect();
    (kept, findings.faults.text().unwrap_or_default(), stream)
}

fn one_hour() -> Limits {
    Limits { reject_old_samples_max_age: Duration::from_hours(1), ..Limits::default() }
}

#[test]
fn both_edges_of_the_window_are_inside_to_the_nanosecond() {
    let edges = stream(&[(HOUR_NS, 1), (HOUR_NS + 1, 1), (-GRACE_NS, 1), (-GRACE_NS - 1, 1)]);
    assert_eq!(checked(&one_hour(), edges).0, [true, false, true, false]);
}

#[test]
fn a_window_may_be_off_and_a_backfill_has_none() {
    let limits = Limits { reject_old_samples: false, ..one_hour() };
    assert_eq!(checked(&limits, stream(&[(HOUR_NS * 999, 1), (-GRACE_NS - 1, 1)])).0, [true, false]);
    let backfill =
        Stream { labels: parse("{__backfill__=\"true\"}").unwrap(), ..stream(&[(HOUR_NS * 2, 1)]) };
    assert_eq!(checked(&one_hour(), backfill).0, [true]);
}

#[test]
fn an_entry_has_one_fault_and_the_first_check_names_it() {
    let limits = Limits { max_line_size: 5, ..one_hour() };
    let entries = stream(&[(HOUR_NS + 1, 6), (1, 6), (-GRACE_NS - 1, 6)]);
    insta::assert_snapshot!(checked(&limits, entries).1, @r#"1 errors like: entry for stream '{a="b", service_name="s"}' has timestamp too old: 2026-11-24T11:31:51Z, oldest acceptable timestamp is: 2026-11-24T11:31:51Z; 1 errors like: max entry size '5' bytes exceeded for stream '{a="b", service_name="s"}' while adding an entry with length '6' bytes; 1 errors like: entry for stream '{a="b", service_name="s"}' has timestamp too new: 2026-11-24T12:41:51Z"#);
}

#[test]
fn times_are_told_in_their_zones() {
    let (amsterdam, limits) = (TimeZone::fixed(Offset::constant(1)), one_hour());
    let terms = Terms { entry_zone: &TimeZone::UTC, ..terms(&limits, &amsterdam) };
    let mut findings = Findings::default();
    check(terms, &mut stream(&[(HOUR_NS + 1, 1)]), &mut findings).unwrap();
    let text = findings.faults.text().unwrap();
    assert!(text.ends_with("11:31:51Z, oldest acceptable timestamp is: 2026-11-24T12:31:51+01:00"), "{text}");
}

#[test]
fn a_line_of_just_the_limit_is_accepted_and_without_a_limit_any() {
    let limits = Limits { max_line_size: 5, ..one_hour() };
    assert_eq!(checked(&limits, stream(&[(1, 5), (1, 6)])).0, [true, false]);
    let limits = Limits { max_line_size: 0, ..one_hour() };
    assert_eq!(checked(&limits, stream(&[(1, 300_000)])).0, [true]);
}

#[test]
fn a_line_beyond_the_limit_is_cut_and_marked_where_loki_is_told_so() {
    let limits = Limits {
        max_line_size: 5,
        max_line_size_truncate: true,
        max_line_size_truncate_identifier: "..".to_owned(),
        ..one_hour()
    };
    let (kept, _, stream) = checked(&limits, stream(&[(1, 6), (1, 5)]));
    assert_eq!(kept, [true, true]);
    assert_eq!((&stream.entries[0].line[..], &stream.entries[1].line[..]), (&b"xxx.."[..], &b"xxxxx"[..]));
}

#[test]
fn faults_of_one_second_share_a_text() {
    let old = stream(&[(HOUR_NS + 1, 1), (HOUR_NS + 2, 1)]);
    assert!(checked(&one_hour(), old).1.starts_with("2 errors like: entry for stream"));
}

#[test]
fn a_stream_with_bad_labels_is_one_fault_whatever_its_entries() {
    let limits = Limits { max_label_names_per_series: 0, ..one_hour() };
    let (kept, text, _) = checked(&limits, stream(&[(1, 1), (HOUR_NS * 2, 1)]));
    assert_eq!(kept, [false, false]);
    assert_eq!(text, "entry for stream '{a=\"b\", service_name=\"s\"}' has 1 label names; limit 0");
}

#[test]
fn a_stream_without_entries_has_no_faults() {
    let limits = Limits { max_label_names_per_series: 0, ..one_hour() };
    assert_eq!(checked(&limits, stream(&[])).1, "");
}

#[test]
fn labels_that_must_be_there_are_named_in_the_order_of_the_config() {
    let enforced = |names: &[&str]| Limits {
        enforced_labels: names.iter().map(|name| (*name).to_owned()).collect(),
        ..one_hour()
    };
    assert_eq!(checked(&enforced(&["a"]), stream(&[(1, 1)])).1, "");
    assert_eq!(
        checked(&enforced(&["z", "a", "team", "z"]), stream(&[(1, 1)])).1,
        "missing required labels 'z,team' for user 'fake' for stream '{a=\"b\", service_name=\"s\"}' (policy: '')"
    );
}

#[test]
fn structured_metadata_is_refused_by_size_then_by_count_and_is_normalised_when_taken() {
    let entry = |names: &[&str]| {
        let mut entry = Entry::plain(NOW, Bytes::new());
        entry.metadata = names.iter().map(|name| ((*name).to_owned(), "1234567".to_owned())).collect();
        labelled("{a=\"b\"}", vec![entry])
    };
    let limits =
        Limits { max_structured_metadata_size: 17, max_structured_metadata_entries_count: 1, ..one_hour() };
    assert_eq!(
        checked(&limits, entry(&["a", "b"])).1,
        "stream '{a=\"b\"}' has too many structured metadata labels: '2', limit: '1'. Please see \
         `limits_config.max_structured_metadata_entries_count` or contact your Loki administrator to increase it"
    );
    assert!(checked(&limits, entry(&["aaa", "bbb"])).1.contains("too large: '20' bytes, limit: '17' bytes."));
    let (kept, _, stream) = checked(&limits, entry(&["trace.id"]));
    assert_eq!((kept, stream.entries[0].metadata[0].0.as_str()), (vec![true], "trace_id"));
    let mut findings = Findings::default();
    assert_eq!(check(terms(&limits, &TimeZone::UTC), &mut entry(&[""]), &mut findings), Err(EmptyName));
}

#[test]
fn a_blocked_tenant_keeps_nothing_until_the_block_ends() {
    let until = |moment: Timestamp| Limits { block_ingestion_until: Some(moment), ..one_hour() };
    let limits = until(NOW + Duration::from_secs(1));
    let mut findings = Findings::default();
    let kept = check(terms(&limits, &TimeZone::UTC), &mut stream(&[(1, 1)]), &mut findings).unwrap();
    assert_eq!((kept, findings.is_blocked), (vec![discard::BLOCKED], true));
    assert_eq!(blocked(&limits, "t").unwrap().0, 260);
    assert_eq!(blocked(&Limits { block_ingestion_status_code: 200, ..limits }, "t"), None);
    assert_eq!(checked(&until(NOW), stream(&[(1, 1)])).0, [true]);
}

#[test]
fn doubled_times_are_moved_behind_each_other_but_not_doubled_lines() {
    let limits = Limits { increment_duplicate_timestamp: true, ..one_hour() };
    let entries = |lines: &[&'static str]| {
        let entry = |line: &&'static str| Entry::plain(NOW, Bytes::from_static(line.as_bytes()));
        labelled("{a=\"b\"}", lines.iter().map(entry).collect())
    };
    let moved = |lines: &[&'static str]| -> Vec<i128> {
        let entries = checked(&limits, entries(lines)).2.entries;
        entries.iter().map(|entry| entry.time.as_nanosecond() - NOW.as_nanosecond()).collect()
    };
    assert_eq!(moved(&["1", "2", "3"]), [0, 1, 2]);
    assert_eq!(moved(&["1", "1", "3"]), [0, 0, 1]);
    assert_eq!(checked(&one_hour(), entries(&["1", "2"])).2.entries[1].time, NOW);
}
