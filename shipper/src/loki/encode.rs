//! A push in Loki's two encodings. Pure, and the same bytes for the same lines each time: a retry is
//! encoded anew instead of being kept, and Loki still sees it as a repetition.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::protobuf;
use super::push::{Stream, streams};
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

    /// The request's body, where nothing more is to be encoded.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn encode(self, groups: &[Group]) -> Result<Bytes, Error> {
        Encoder::new(self).encode(groups)
    }
}

/// Writes one push after the other, in the same room.
pub struct Encoder {
    encoding: Encoding,
    plain: Vec<u8>,
    packed: Vec<u8>,
    snappy: snap::raw::Encoder,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("encoding", &self.encoding).finish_non_exhaustive()
    }
}

impl Encoder {
    /// Has written nothing yet.
    #[must_use]
    pub fn new(encoding: Encoding) -> Self {
        Self { encoding, plain: Vec::new(), packed: Vec::new(), snappy: snap::raw::Encoder::new() }
    }

    /// The request's body.
    ///
    /// # Errors
    /// Not in practice: a push stays far below what snappy and JSON can hold.
    pub fn encode(&mut self, groups: &[Group]) -> Result<Bytes, Error> {
        let streams = streams(groups);
        if self.encoding == Encoding::Json {
            let streams = streams.into_iter().map(JsonStream).collect();
            return Ok(serde_json::to_vec(&JsonPush { streams })?.into());
        }
        self.plain.clear();
        protobuf::write(&streams, &mut self.plain);
        let room = snap::raw::max_compress_len(self.plain.len());
        if self.packed.len() < room {
            self.packed.resize(room, 0);
        }
        let bytes = self.snappy.compress(&self.plain, &mut self.packed)?;
        Ok(Bytes::copy_from_slice(self.packed.get(..bytes).unwrap_or_default()))
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
        (entry.time_ns.to_string(), &*entry.line, metadata).serialize(to)
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
        insta::assert_snapshot!(String::from_utf8(body.to_vec()).unwrap(), @r#"{"streams":[{"stream":{"container":"web","job":"docker","stream":"stdout"},"values":[["1763980800123456789","a\"b",{"container_id":"cccccccccccc"}],["2","",{"container_id":"cccccccccccc","original_timestamp":"-5"}]]}]}"#);
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
        let of =
            |stream: &Stream<'_>| stream.entries.iter().map(|(entry, _)| entry.line.to_string()).collect();
        let lines: Vec<Vec<String>> = streams(&groups).iter().map(of).collect();
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

    proptest! {
        #[test]
        fn the_cost_is_an_upper_bound_of_the_encoded_size(
            lines in proptest::collection::vec((any::<i64>(), ".{0,300}"), 1..20),
        ) {
            let lines: Vec<(i64, &str)> = lines.iter().map(|(time, line)| (*time, line.as_str())).collect();
            let mut group = group(&lines);
            group.entries.iter_mut().for_each(|entry| entry.clamped_from_ns = Some(i64::MIN));
            let mut written = Vec::new();
            protobuf::write(&streams(std::slice::from_ref(&group)), &mut written);
            prop_assert!(written.len() <= cost_bytes(&[group]) + 16);
        }
    }
}
