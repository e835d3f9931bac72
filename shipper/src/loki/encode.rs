//! A push in Loki's two encodings. Pure, and the same bytes for the same lines each time: a retry is
//! encoded anew instead of being kept, and Loki still sees it as a repetition.

use std::borrow::Cow;
use std::collections::HashMap;

use prost::Message;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::batch::{Entry, Group};
use crate::labels::Labels;

/// `loki.encoding` in the config.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// `logproto.PushRequest` in a raw snappy block: smaller and cheaper on both sides.
    #[default]
    Protobuf,
    /// For people, and for gateways that look inside.
    Json,
}

impl Encoding {
    /// What the request's `Content-Type` says.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    /// The request's body.
    ///
    /// # Errors
    /// Not in practice: a push stays far below what snappy and JSON can hold.
    pub fn encode(self, groups: &[Group]) -> Result<Vec<u8>, Error> {
        match self {
            Self::Protobuf => Ok(snap::raw::Encoder::new().compress_vec(&protobuf(groups))?),
            Self::Json => Ok(serde_json::to_vec(&JsonPush {
                streams: streams(groups).into_iter().map(JsonStream).collect(),
            })?),
        }
    }
}

/// A push that can't be encoded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too large for a snappy block (4 GiB).
    #[error("the push can't be compressed: {0}")]
    Snappy(#[from] snap::Error),
    /// No JSON.
    #[error("the push can't be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The name under which a clamped line keeps its own time.
pub const CLAMPED_FROM: &str = "original_timestamp";
/// The name under which a line keeps its container.
pub const CONTAINER_ID: &str = "container_id";

// `pkg/push/push.proto` of Loki, the fields that a client sends.

#[derive(Clone, PartialEq, Message)]
struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    streams: Vec<StreamAdapter>,
}

#[derive(Clone, PartialEq, Message)]
struct StreamAdapter {
    #[prost(string, tag = "1")]
    labels: String,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<EntryAdapter>,
}

#[derive(Clone, PartialEq, Message)]
struct EntryAdapter {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<Timestamp>,
    #[prost(string, tag = "2")]
    line: String,
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

/// One of Loki's streams: containers with the same labels share it. Its lines stand in the order of time,
/// because Loki measures each against the newest before it.
struct Stream<'a> {
    labels: &'a Labels,
    entries: Vec<(&'a Entry, &'a Labels)>,
}

fn streams(groups: &[Group]) -> Vec<Stream<'_>> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut streams: Vec<Stream<'_>> = Vec::new();
    for group in groups {
        let entries = group.entries.iter().map(|entry| (entry, &*group.labels));
        let place = *places.entry(&group.labels.text).or_insert(streams.len());
        match streams.get_mut(place) {
            None => streams.push(Stream { labels: &group.labels, entries: entries.collect() }),
            Some(stream) => {
                stream.entries.extend(entries);
                stream.entries.sort_by_key(|(entry, _)| entry.time_ns);
            }
        }
    }
    streams
}

fn protobuf(groups: &[Group]) -> Vec<u8> {
    PushRequest { streams: streams(groups).iter().map(adapted_stream).collect() }.encode_to_vec()
}

fn adapted_stream(stream: &Stream<'_>) -> StreamAdapter {
    let entries = stream.entries.iter().map(|(entry, labels)| adapted(entry, labels)).collect();
    StreamAdapter { labels: stream.labels.text.clone(), entries }
}

fn adapted(entry: &Entry, labels: &Labels) -> EntryAdapter {
    let pair = |name: &str, value: String| LabelPairAdapter { name: name.to_owned(), value };
    let mut structured_metadata = vec![pair(CONTAINER_ID, labels.container_id.clone())];
    structured_metadata.extend(entry.clamped_from_ns.map(|own| pair(CLAMPED_FROM, own.to_string())));
    EntryAdapter { timestamp: Some(timestamp(entry.time_ns)), line: entry.line.clone(), structured_metadata }
}

fn timestamp(time_ns: i64) -> Timestamp {
    const SECOND_NS: i64 = 1_000_000_000;
    let nanos = i32::try_from(time_ns.rem_euclid(SECOND_NS)).unwrap_or(0);
    Timestamp { seconds: time_ns.div_euclid(SECOND_NS), nanos }
}

#[derive(Serialize)]
struct JsonPush<'a> {
    streams: Vec<JsonStream<'a>>,
}

struct JsonStream<'a>(Stream<'a>);

impl Serialize for JsonStream<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(2))?;
        map.serialize_entry("stream", &Pairs(&self.0.labels.pairs))?;
        let values = self.0.entries.iter().map(|(entry, labels)| JsonEntry(entry, labels));
        let values = values.collect::<Vec<_>>();
        map.serialize_entry("values", &values)?;
        map.end()
    }
}

struct Pairs<'a>(&'a [(Cow<'static, str>, String)]);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

struct JsonEntry<'a>(&'a Entry, &'a Labels);

impl Serialize for JsonEntry<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self(entry, labels) = self;
        let own_time = entry.clamped_from_ns.map(|own| own.to_string());
        let metadata = JsonMetadata { container_id: &labels.container_id, original_timestamp: own_time };
        (entry.time_ns.to_string(), &entry.line, metadata).serialize(to)
    }
}

#[derive(Serialize)]
struct JsonMetadata<'a> {
    container_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_timestamp: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{cost_bytes, tests::group};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn two_lines() -> Group {
        let mut group = group(&[(1_763_980_800_123_456_789, "a\"b"), (2, "")]);
        group.entries[1].clamped_from_ns = Some(-5);
        group
    }

    #[test]
    fn json_is_what_loki_documents() {
        let body = Encoding::Json.encode(&[two_lines()]).unwrap();
        insta::assert_snapshot!(String::from_utf8(body).unwrap(), @r#"{"streams":[{"stream":{"container":"web","job":"docker","stream":"stdout"},"values":[["1763980800123456789","a\"b",{"container_id":"cccccccccccc"}],["2","",{"container_id":"cccccccccccc","original_timestamp":"-5"}]]}]}"#);
    }

    /// Written by hand from `push.proto`, so that a wrong tag can't be right on both sides.
    #[test]
    fn protobuf_is_what_loki_documents() {
        let labels = br#"{container="web", job="docker", stream="stdout"}"#;
        let metadata = b"\x0a\x0ccontainer_id\x12\x0ccccccccccccc";
        let mut entry = b"\x0a\x02\x08\x01\x12\x02hi".to_vec();
        entry.extend([0x1a, u8::try_from(metadata.len()).unwrap()]);
        entry.extend(metadata);
        let mut stream = vec![0x0a, u8::try_from(labels.len()).unwrap()];
        stream.extend(labels);
        stream.extend([0x12, u8::try_from(entry.len()).unwrap()]);
        stream.extend(entry);
        let mut push = vec![0x0a, u8::try_from(stream.len()).unwrap()];
        push.extend(stream);
        let body = Encoding::Protobuf.encode(&[group(&[(1_000_000_000, "hi")])]).unwrap();
        assert_eq!(snap::raw::Decoder::new().decompress_vec(&body).unwrap(), push);
    }

    #[test]
    fn lines_of_two_containers_with_the_same_labels_are_one_stream_in_the_order_of_time() {
        let (first, second) = (group(&[(10, "a"), (30, "c")]), group(&[(20, "b")]));
        let mut other = group(&[(5, "other")]);
        Arc::make_mut(&mut other.labels).text = "{other=\"stream\"}".to_owned();
        let groups = [first, other, second];
        let of = |stream: &StreamAdapter| stream.entries.iter().map(|entry| entry.line.clone()).collect();
        let push = PushRequest::decode(protobuf(&groups).as_slice()).unwrap();
        let lines: Vec<Vec<String>> = push.streams.iter().map(of).collect();
        assert_eq!(lines, [vec!["a", "b", "c"], vec!["other"]]);
        let json: serde_json::Value =
            serde_json::from_slice(&Encoding::Json.encode(&groups).unwrap()).unwrap();
        let lines: Vec<&str> = json["streams"][0]["values"]
            .as_array()
            .unwrap()
            .iter()
            .map(|value| value[1].as_str().unwrap())
            .collect();
        assert_eq!(lines, ["a", "b", "c"]);
    }

    #[test]
    fn a_time_before_the_epoch_has_positive_nanoseconds() {
        assert_eq!(timestamp(-1), Timestamp { seconds: -1, nanos: 999_999_999 });
    }

    proptest! {
        #[test]
        fn the_cost_is_an_upper_bound_of_the_encoded_size(
            lines in proptest::collection::vec((any::<i64>(), ".{0,300}"), 1..20),
        ) {
            let lines: Vec<(i64, &str)> = lines.iter().map(|(time, line)| (*time, line.as_str())).collect();
            let mut group = group(&lines);
            group.entries.iter_mut().for_each(|entry| entry.clamped_from_ns = Some(i64::MIN));
            prop_assert!(protobuf(std::slice::from_ref(&group)).len() <= cost_bytes(&[group]) + 16);
        }
    }
}
