//! `logproto.PushRequest` by hand (`pkg/push/push.proto` of Loki, the fields that a client sends): one look for the
//! lengths, which stand before what they measure, and one to write, straight from the lines. A general encoder would
//! want each text in a message of its own first. Pure.

use super::push::{CLAMPED_FROM, CONTAINER_ID, Stream};
use crate::batch::Entry;
use crate::labels::Labels;

/// What a field's first byte says of its form: bytes with their length before them.
const BYTES: u8 = 2;
/// A number.
const VARINT: u8 = 0;
/// More than what stands before a line's text can take: three lengths and two numbers.
const HEAD_BYTES_MAX: usize = 64;

/// Appends a push of these streams to `out`.
pub(super) fn write(streams: &[Stream<'_>], out: &mut Vec<u8>) {
    let mut metadata = Metadata::default();
    for Stream { labels, entries } in streams {
        let labels = labels.text.as_bytes();
        let bytes =
            |(entry, labels): &(&Entry, &Labels)| field_bytes(entry_bytes(entry, metadata.of(labels)));
        let bytes: usize = entries.iter().map(bytes).sum();
        put_key(out, 1, BYTES);
        put_varint(out, (field_bytes(labels.len()) + bytes) as u64);
        put_bytes(out, 1, labels);
        for (entry, labels) in entries {
            put_entry(out, entry, metadata.of(labels));
        }
    }
}

/// The metadata that all lines of a container share, as it stands in each entry.
#[derive(Default)]
struct Metadata {
    container_id: String,
    encoded: Vec<u8>,
}

impl Metadata {
    /// Most lines have that of the line before.
    fn of(&mut self, labels: &Labels) -> &[u8] {
        if self.encoded.is_empty() || self.container_id != labels.container_id {
            labels.container_id.clone_into(&mut self.container_id);
            self.encoded.clear();
            put_pair(&mut self.encoded, CONTAINER_ID, &labels.container_id);
        }
        &self.encoded
    }
}

fn put_entry(out: &mut Vec<u8>, entry: &Entry, metadata: &[u8]) {
    let (seconds, nanos) = seconds_and_nanos(entry.time_ns);
    let mut head = Head::default();
    head.key(2, BYTES);
    head.varint(entry_bytes(entry, metadata) as u64);
    head.key(1, BYTES);
    head.varint(time_bytes(entry.time_ns) as u64);
    if seconds != 0 {
        head.key(1, VARINT);
        head.varint(seconds);
    }
    if nanos != 0 {
        head.key(2, VARINT);
        head.varint(nanos);
    }
    let text: &str = &entry.line;
    if !text.is_empty() {
        head.key(2, BYTES);
        head.varint(text.len() as u64);
    }
    out.extend_from_slice(head.bytes());
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(metadata);
    if let Some(own) = entry.clamped_from_ns {
        put_pair(out, CLAMPED_FROM, &own.to_string());
    }
}

fn entry_bytes(entry: &Entry, metadata: &[u8]) -> usize {
    let text = entry.line.text_bytes();
    let clamped = entry.clamped_from_ns.map_or(0, |own| pair_bytes(CLAMPED_FROM, &own.to_string()));
    let text = if text == 0 { 0 } else { field_bytes(text) };
    field_bytes(time_bytes(entry.time_ns)) + text + metadata.len() + clamped
}

fn time_bytes(time_ns: i64) -> usize {
    let (seconds, nanos) = seconds_and_nanos(time_ns);
    [seconds, nanos].into_iter().filter(|number| *number != 0).map(|number| 1 + varint_bytes(number)).sum()
}

/// As `google.protobuf.Timestamp` has them: the nanoseconds are never below 0. A negative number takes ten bytes.
fn seconds_and_nanos(time_ns: i64) -> (u64, u64) {
    const SECOND_NS: i64 = 1_000_000_000;
    (time_ns.div_euclid(SECOND_NS).cast_unsigned(), time_ns.rem_euclid(SECOND_NS).cast_unsigned())
}

fn put_pair(out: &mut Vec<u8>, name: &str, value: &str) {
    put_key(out, 3, BYTES);
    put_varint(out, (field_bytes(name.len()) + field_bytes(value.len())) as u64);
    put_bytes(out, 1, name.as_bytes());
    put_bytes(out, 2, value.as_bytes());
}

fn pair_bytes(name: &str, value: &str) -> usize {
    field_bytes(field_bytes(name.len()) + field_bytes(value.len()))
}

fn put_bytes(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    put_key(out, number, BYTES);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_key(out: &mut Vec<u8>, number: u8, form: u8) {
    out.push(number << 3 | form);
}

fn put_varint(out: &mut Vec<u8>, value: u64) {
    let mut head = Head::default();
    head.varint(value);
    out.extend_from_slice(head.bytes());
}

/// A field of so many bytes, with what stands before them.
fn field_bytes(bytes: usize) -> usize {
    1 + varint_bytes(bytes as u64) + bytes
}

/// Seven bits to a byte.
fn varint_bytes(value: u64) -> usize {
    let bits = u64::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// A few bytes on the way, so that the push grows once for all of them.
struct Head {
    bytes: [u8; HEAD_BYTES_MAX],
    length: usize,
}

impl Default for Head {
    fn default() -> Self {
        Self { bytes: [0; HEAD_BYTES_MAX], length: 0 }
    }
}

impl Head {
    fn key(&mut self, number: u8, form: u8) {
        self.byte(number << 3 | form);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.byte(value.to_le_bytes()[0]);
    }

    fn byte(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::batch::{Group, tests::group};
    use crate::loki::push::streams;

    /// The same messages as a general encoder has them.
    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct PushRequest {
        #[prost(message, repeated, tag = "1")]
        pub(crate) streams: Vec<StreamAdapter>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct StreamAdapter {
        #[prost(string, tag = "1")]
        pub(crate) labels: String,
        #[prost(message, repeated, tag = "2")]
        pub(crate) entries: Vec<EntryAdapter>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct EntryAdapter {
        #[prost(message, optional, tag = "1")]
        timestamp: Option<Timestamp>,
        #[prost(string, tag = "2")]
        pub(crate) line: String,
        #[prost(message, repeated, tag = "3")]
        structured_metadata: Vec<LabelPairAdapter>,
    }

    #[derive(Clone, Copy, PartialEq, Message)]
    struct Timestamp {
        #[prost(int64, tag = "1")]
        seconds: i64,
        #[prost(int32, tag = "2")]
        nanos: i32,
    }

    #[derive(Clone, PartialEq, Message)]
    struct LabelPairAdapter {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(string, tag = "2")]
        value: String,
    }

    /// Lines, each with its time and perhaps another before it was clamped; a stream; a container.
    type Made = (Vec<(i64, String, Option<i64>)>, String, usize);

    fn adapted(entry: &Entry, labels: &Labels) -> EntryAdapter {
        let pair = |name: &str, value: String| LabelPairAdapter { name: name.to_owned(), value };
        let mut structured_metadata = vec![pair(CONTAINER_ID, labels.container_id.clone())];
        structured_metadata.extend(entry.clamped_from_ns.map(|own| pair(CLAMPED_FROM, own.to_string())));
        let seconds = entry.time_ns.div_euclid(1_000_000_000);
        let nanos = i32::try_from(entry.time_ns.rem_euclid(1_000_000_000)).unwrap();
        let timestamp = Some(Timestamp { seconds, nanos });
        EntryAdapter { timestamp, line: entry.line.to_string(), structured_metadata }
    }

    fn by_prost(groups: &[Group]) -> Vec<u8> {
        let entries = |stream: &Stream<'_>| {
            stream.entries.iter().map(|(entry, labels)| adapted(entry, labels)).collect()
        };
        let streams = streams(groups);
        let streams = streams
            .iter()
            .map(|stream| StreamAdapter { labels: stream.labels.text.clone(), entries: entries(stream) });
        PushRequest { streams: streams.collect() }.encode_to_vec()
    }

    #[test]
    fn a_time_before_the_epoch_has_positive_nanoseconds() {
        assert_eq!(seconds_and_nanos(-1), (u64::MAX, 999_999_999));
    }

    #[test]
    fn the_largest_head_fits() {
        let mut head = Head::default();
        (0..6).for_each(|_| head.varint(u64::MAX));
        assert_eq!(head.bytes().len(), 60);
        assert!(
            head.bytes().len() + 4 <= HEAD_BYTES_MAX,
            "more than put_entry writes: five of them are lengths"
        );
    }

    proptest! {
        #[test]
        fn by_hand_and_by_prost_it_is_the_same(
            groups in prop::collection::vec(
                (
                    prop::collection::vec((any::<i64>(), ".{0,200}", prop::option::of(any::<i64>())), 1..8),
                    "[ab]",
                    0..2_usize,
                ),
                0..6,
            ),
        ) {
            let made = |(lines, labels, id): &Made| {
                let texts: Vec<(i64, &str)> = lines.iter().map(|(time, line, _)| (*time, line.as_str())).collect();
                let mut group = group(&texts);
                for (entry, (_, _, own)) in group.entries.iter_mut().zip(lines) {
                    entry.clamped_from_ns = *own;
                }
                let of = std::sync::Arc::make_mut(&mut group.labels);
                of.text = format!("{{a=\"{labels}\"}}");
                of.container_id = ["0a", "0b"][*id].to_owned();
                group
            };
            let groups: Vec<Group> = groups.iter().map(made).collect();
            let mut by_hand = Vec::new();
            write(&streams(&groups), &mut by_hand);
            prop_assert_eq!(by_hand, by_prost(&groups));
        }
    }
}
