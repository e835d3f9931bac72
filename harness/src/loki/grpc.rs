//! How large the message is that Loki's distributor sends to its ingester. Loki's own servers refuse one of
//! more than 4 MiB, also where both are one process. Pure.

use super::discard;
use super::labels::Labels;
use super::level;
use super::limits::Limits;
use super::metadata::LEVEL;
use super::push::{Entry, Stream};
use crate::audit::ledger::Fate;

/// Loki's hash of a stream is a number of 64 bits: ten bytes for every second one, fewer for the others.
const HASH_BYTES: usize = 1 + 10;
/// `format: "loki"`.
const FORMAT_BYTES: usize = 2 + 4;
/// More than what an entry's lengths, its time and a level found in its line take.
const HEAD_BYTES_MAX: usize = 96;
/// More than what the lengths of a pair of metadata take.
const PAIR_HEAD_BYTES_MAX: usize = 32;

/// The refusal of a push whose entries that go on are too much for one message.
#[must_use]
pub fn too_large(limits: &Limits, max: usize, streams: &[Stream], kept: &[Vec<Fate>]) -> Option<String> {
    let going_on = || streams.iter().zip(kept).filter(|(_, kept)| discard::any_accepted(kept));
    // By far the most pushes are so small that nothing need be measured.
    if going_on().map(|(stream, kept)| at_most(stream, kept)).sum::<usize>() <= max {
        return None;
    }
    let bytes = going_on().map(|(stream, kept)| field(stream_bytes(limits, stream, kept)));
    let bytes = bytes.sum::<usize>() + FORMAT_BYTES;
    (bytes > max).then(|| {
        format!(
            "rpc error: code = ResourceExhausted desc = grpc: received message larger than max ({bytes} vs. {max})"
        )
    })
}

/// Bytes of a whole push as it came, which Loki counts while it is under way.
#[must_use]
pub fn inflight_bytes(streams: &[Stream]) -> usize {
    let stream = |stream: &Stream| {
        let entries = stream.entries.iter().map(|entry| field(entry_bytes(entry, None)));
        field(field(stream.labels.to_string().len()) + HASH_BYTES + entries.sum::<usize>())
    };
    streams.iter().map(stream).sum::<usize>() + FORMAT_BYTES
}

/// What is kept of a stream.
fn kept_of<'a>(stream: &'a Stream, kept: &'a [Fate]) -> impl Iterator<Item = &'a Entry> {
    stream.entries.iter().zip(kept).filter(|(_, fate)| **fate == Fate::Accepted).map(|(entry, _)| entry)
}

/// No less than what a stream takes, without a look at its lines.
fn at_most(stream: &Stream, kept: &[Fate]) -> usize {
    let labels = stream.labels.bytes();
    let labels = 2 * labels + PAIR_HEAD_BYTES_MAX * (1 + stream.labels.iter().count());
    // A level may be taken from a label or from metadata: then it is as long as that.
    let level = level::of_labels(&stream.labels).map_or(0, str::len);
    let entry = |entry: &Entry| {
        let pair = |(name, value): &(String, String)| name.len() + 2 * value.len() + PAIR_HEAD_BYTES_MAX;
        HEAD_BYTES_MAX + level + entry.line.len() + entry.metadata.iter().map(pair).sum::<usize>()
    };
    labels + kept_of(stream, kept).map(entry).sum::<usize>()
}

fn stream_bytes(limits: &Limits, stream: &Stream, kept: &[Fate]) -> usize {
    let entry = |entry: &Entry| {
        let level = added_level(limits, &stream.labels, entry);
        field(entry_bytes(entry, level.as_deref()))
    };
    field(stream.labels.to_string().len()) + HASH_BYTES + kept_of(stream, kept).map(entry).sum::<usize>()
}

/// The level that Loki adds to an entry.
#[must_use]
pub fn added_level(limits: &Limits, labels: &Labels, entry: &Entry) -> Option<String> {
    let adds = limits.discover_log_levels && limits.allow_structured_metadata;
    if adds { level::detect(labels, entry) } else { None }
}

fn entry_bytes(entry: &Entry, level: Option<&str>) -> usize {
    let (seconds, nanos) = (entry.time.as_second(), entry.time.subsec_nanosecond());
    let time = number(seconds.cast_unsigned()) + number(i64::from(nanos).cast_unsigned());
    let pair = |name: &str, value: &str| field(text(name) + text(value));
    let metadata = entry.metadata.iter().map(|(name, value)| pair(name, value)).sum::<usize>();
    field(time) + text_of(entry.line.len()) + metadata + level.map_or(0, |level| pair(LEVEL, level))
}

/// A field of so many bytes, with its tag and its length.
fn field(bytes: usize) -> usize {
    1 + varint(bytes as u64) + bytes
}

fn text(text: &str) -> usize {
    text_of(text.len())
}

/// A text, which is left out where it is empty.
fn text_of(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { field(bytes) }
}

/// A number, which is left out where it is 0.
fn number(value: u64) -> usize {
    if value == 0 { 0 } else { 1 + varint(value) }
}

fn varint(value: u64) -> usize {
    let bits = u64::BITS - value.leading_zeros();
    (bits.div_ceil(7) as usize).max(1)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;

    use super::*;
    use crate::loki::labels::parse;

    const MAX: usize = 4 << 20;

    fn push(lines: usize, line_bytes: usize) -> (Vec<Stream>, Vec<Vec<Fate>>) {
        let time = Timestamp::constant(1_795_523_511, 900_000_000);
        let entry = Entry::plain(time, Bytes::from(vec![b'z'; line_bytes]));
        // As long as the labels of the recorded push must have been.
        let labels = parse(r#"{case="def-4m", run="6b059112", service_name="unknown_service"}"#).unwrap();
        (vec![Stream { labels, entries: vec![entry; lines] }], vec![vec![Fate::Accepted; lines]])
    }

    fn refused(push: &(Vec<Stream>, Vec<Vec<Fate>>)) -> Option<String> {
        too_large(&Limits::default(), MAX, &push.0, &push.1)
    }

    /// 43 lines of 100 kB came to 4302194 bytes at a real Loki.
    #[test]
    fn the_message_is_as_large_as_lokis_was() {
        assert_eq!(
            refused(&push(43, 100_000)).unwrap(),
            "rpc error: code = ResourceExhausted desc = grpc: received message larger than max (4302194 vs. 4194304)"
        );
    }

    #[test]
    fn what_is_refused_by_the_distributor_weighs_nothing() {
        let mut push = push(43, 100_000);
        push.1[0][..2].fill(discard::TOO_OLD);
        assert_eq!(refused(&push), None);
    }

    #[test]
    fn the_rough_measure_is_never_below_the_exact_one() {
        let (mut streams, kept) = push(3, 1);
        streams[0].labels = parse(r#"{a="\\\\\\\\", level="a long level"}"#).unwrap();
        streams[0].entries[0].metadata = vec![("k".to_owned(), "v".to_owned()); 9];
        let exact = field(stream_bytes(&Limits::default(), &streams[0], &kept[0])) + FORMAT_BYTES;
        assert!(at_most(&streams[0], &kept[0]) >= exact);
    }
}
