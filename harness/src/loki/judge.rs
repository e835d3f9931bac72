//! One push, judged whole: distributor, then ingester, then the one answer that Loki gives for both.

use jiff::Timestamp;

use super::ingester::{Ingester, Refusal};
use super::limits::{self, Faults, Limits};
use super::push::Stream;

/// What becomes of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// `None` is 204, which says nothing of entries that were dropped in an earlier stream.
    pub refusal: Option<Refusal>,
    /// For each stream and each of its entries: whether it is stored.
    pub stored: Vec<Vec<bool>>,
}

/// Judges a push and remembers what it stores. An error of the ingester replaces those of the
/// distributor, and of the ingester's errors only the last stream's is kept: both are Loki's ways.
pub fn judge(limits: &Limits, ingester: &mut Ingester, streams: &[Stream], now: Timestamp) -> Judged {
    let mut faults = Faults::default();
    let mut stored: Vec<Vec<bool>> =
        streams.iter().map(|stream| limits::check(limits, stream, now, &mut faults)).collect();
    let mut ingester_refusal = None;
    for (stream, kept) in streams.iter().zip(&mut stored) {
        if kept.contains(&true) {
            ingester_refusal = ingester.store(limits, stream, kept, now);
        }
    }
    let distributor_refusal = || faults.text().map(|text| Refusal { status: 400, text });
    Judged { refusal: ingester_refusal.or_else(distributor_refusal), stored }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::loki::labels::parse;
    use crate::loki::push::Entry;

    const NOW: i64 = 1_795_523_511;
    const TOO_OLD: i64 = 8 * 24 * 3600;

    fn stream(labels: &str, ages_s: &[i64]) -> Stream {
        let time = |age: &i64| Timestamp::new(NOW - age, 0).unwrap();
        let entries = ages_s.iter().map(|age| Entry { time: time(age), line: Bytes::new() }).collect();
        Stream { labels: parse(labels).unwrap(), entries }
    }

    fn judged(streams: &[Stream]) -> Judged {
        judge(&Limits::default(), &mut Ingester::default(), streams, Timestamp::new(NOW, 0).unwrap())
    }

    #[test]
    fn what_is_good_is_stored_beside_what_is_refused() {
        let judged = judged(&[stream("{a=\"1\"}", &[10, TOO_OLD, 9])]);
        assert_eq!(judged.stored, [[true, false, true]]);
        assert_eq!(judged.refusal.map(|refusal| refusal.status), Some(400));
    }

    #[test]
    fn a_clean_last_stream_hides_what_an_earlier_one_lost() {
        let judged = judged(&[stream("{a=\"1\"}", &[10, 5000]), stream("{a=\"2\"}", &[10])]);
        assert_eq!(judged, Judged { refusal: None, stored: vec![vec![true, false], vec![true]] });
    }

    #[test]
    fn the_ingesters_words_replace_the_distributors() {
        let judged = judged(&[stream("{a=\"1\"}", &[10, 5000, TOO_OLD])]);
        let text = judged.refusal.unwrap().text;
        assert!(text.contains("total ignored: 1 out of 2") && !text.contains("too old"), "{text}");
    }
}
