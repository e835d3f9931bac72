//! The snappy-compressed protobuf form of a push (`logproto.PushRequest`), read by our own declarations.
//!
//! Lines and labels are declared as bytes where Loki says `string`: its decoder does not check UTF-8,
//! stores such a line and shows U+FFFD for what is none.

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message;

use super::encoding::{DECODED_BYTES_MAX, EncodingError};
use super::{Entry, PushError, Stream};
use crate::loki::forms::ZERO_TIME;
use crate::loki::labels;

#[derive(Clone, PartialEq, Message)]
struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    streams: Vec<StreamAdapter>,
}

#[derive(Clone, PartialEq, Message)]
struct StreamAdapter {
    #[prost(bytes = "bytes", tag = "1")]
    labels: Bytes,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<EntryAdapter>,
}

#[derive(Clone, PartialEq, Message)]
struct EntryAdapter {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<Time>,
    #[prost(bytes = "bytes", tag = "2")]
    line: Bytes,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Message)]
struct Time {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// A copy of three bytes gives at most 64: a header that promises more than that lies.
const SNAPPY_EXPANSION_MAX: usize = 22;

/// Reads a body.
///
/// # Errors
/// [`PushError`], in Loki's words.
pub(super) fn read(body: &[u8]) -> Result<Vec<Stream>, PushError> {
    let raw = unsnap(body)?;
    let request = PushRequest::decode(raw).map_err(|error| PushError::Protobuf(words(&error)))?;
    request.streams.into_iter().map(stream).collect()
}

fn unsnap(body: &[u8]) -> Result<Bytes, PushError> {
    let promised = snap::raw::decompress_len(body).map_err(|_| PushError::Snappy)?;
    if body.is_empty() || promised > body.len().saturating_mul(SNAPPY_EXPANSION_MAX) {
        return Err(PushError::Snappy);
    }
    if promised > DECODED_BYTES_MAX {
        return Err(EncodingError::TooLarge { bytes: promised, max: DECODED_BYTES_MAX }.into());
    }
    let raw = snap::raw::Decoder::new().decompress_vec(body).map_err(|_| PushError::Snappy)?;
    Ok(Bytes::from(raw))
}

/// Go's decoder says `unexpected EOF` for whatever ends too early, by far the most frequent fault.
fn words(error: &prost::DecodeError) -> String {
    let own = error.to_string();
    if own.contains("underflow") || own.contains("varint") {
        return "unexpected EOF".to_owned();
    }
    format!("proto: {own}")
}

fn stream(stream: StreamAdapter) -> Result<Stream, PushError> {
    let labels = labels::parse(&String::from_utf8_lossy(&stream.labels))?;
    let entries = stream.entries.into_iter().map(entry).collect::<Result<_, _>>()?;
    Ok(Stream { labels, entries })
}

fn entry(entry: EntryAdapter) -> Result<Entry, PushError> {
    let time = entry.timestamp.map_or(Ok(ZERO_TIME), |time| Timestamp::new(time.seconds, time.nanos));
    let time = time.map_err(|error| PushError::Protobuf(format!("timestamp: {error}")))?;
    Ok(Entry { time, line: entry.line })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapped(raw: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(raw).unwrap()
    }

    /// Written out by hand after Loki's `push.proto`, so that the declarations above are not held by
    /// themselves: stream 1 { labels 1, entry 2 { timestamp 1 { 1, 2 }, line 2 } }.
    #[test]
    fn the_documented_bytes_are_read() {
        let mut raw = vec![0x0a, 23, 0x0a, 7];
        raw.extend_from_slice(b"{a=\"b\"}");
        raw.extend_from_slice(&[0x12, 12, 0x0a, 4, 0x08, 5, 0x10, 7, 0x12, 4]);
        raw.extend_from_slice(b"l\xffne");
        let streams = read(&snapped(&raw)).unwrap();
        let [stream] = streams.as_slice() else { panic!("{streams:?}") };
        assert_eq!(stream.labels.get("a"), Some("b"));
        assert_eq!(stream.entries[0].time, Timestamp::new(5, 7).unwrap());
        assert_eq!(stream.entries[0].line, &b"l\xffne"[..]);
    }

    #[test]
    fn a_header_that_promises_too_much_is_corrupt_and_costs_no_memory() {
        let four_gib = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0];
        assert_eq!(read(&four_gib), Err(PushError::Snappy));
        assert_eq!(read(b""), Err(PushError::Snappy));
    }

    #[test]
    fn an_entry_without_a_time_has_gos_zero_time() {
        let raw = [0x0a, 5, 0x12, 3, 0x12, 1, b'x'];
        assert_eq!(read(&snapped(&raw)).unwrap()[0].entries[0].time, ZERO_TIME);
    }
}
