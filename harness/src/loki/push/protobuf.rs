//! The snappy-compressed protobuf form of a push (`logproto.PushRequest`).
//!
//! Lines are read as bytes where Loki says `string`: its decoder does not check UTF-8, stores such a line
//! and shows U+FFFD for what is none.

use bytes::Bytes;
use jiff::Timestamp;

use super::encoding::{DECODED_BYTES_MAX, EncodingError};
use super::wire::{Reader, WireError, low_half};
use super::{Entry, PushError, Raw, Room};
use crate::loki::forms::ZERO_TIME;

/// A copy of three bytes gives at most 64: a header that promises more than that lies.
const SNAPPY_EXPANSION_MAX: usize = 22;
/// The first second of the year 1 and that of the year 10000: times are between them.
const SECONDS: std::ops::Range<i64> = -62_135_596_800..253_402_300_800;

/// Reads a body.
pub(super) fn read(body: &[u8], room: &mut Room) -> Result<Vec<Raw>, PushError> {
    let bytes = unsnap(body)?;
    let mut reader = Reader::new(&bytes, "PushRequest");
    let mut streams = Vec::new();
    while let Some(tag) = reader.tag()? {
        match tag.field {
            1 => {
                room.streams(1)?;
                streams.push(stream(reader.message(tag, "Streams", "StreamAdapter")?, room)?);
            }
            // Says what was pushed, to Loki itself.
            2 => {
                reader.bytes(tag, "Format")?;
            }
            _ => reader.skip(tag)?,
        }
    }
    Ok(streams)
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

fn stream(mut reader: Reader<'_>, room: &mut Room) -> Result<Raw, PushError> {
    let mut stream = Raw { labels: String::new(), entries: Vec::new() };
    while let Some(tag) = reader.tag()? {
        match tag.field {
            1 => stream.labels = reader.text(tag, "Labels")?,
            2 => {
                room.entries(1)?;
                stream.entries.push(entry(reader.message(tag, "Entries", "EntryAdapter")?, room)?);
            }
            3 => {
                reader.value(tag, "Hash")?;
            }
            _ => reader.skip(tag)?,
        }
    }
    Ok(stream)
}

fn entry(mut reader: Reader<'_>, room: &mut Room) -> Result<Entry, PushError> {
    let mut entry = Entry::plain(ZERO_TIME, Bytes::new());
    while let Some(tag) = reader.tag()? {
        match tag.field {
            1 => entry.time = timestamp(reader.message(tag, "Timestamp", "Timestamp")?)?,
            2 => entry.line = reader.bytes(tag, "Line")?,
            3 => {
                room.pairs(1)?;
                entry.metadata.push(pair(reader.message(tag, "StructuredMetadata", "LabelPairAdapter")?)?);
            }
            // Only in Loki's answers; read, and forgotten.
            4 => {
                pair(reader.message(tag, "Parsed", "LabelPairAdapter")?)?;
            }
            _ => reader.skip(tag)?,
        }
    }
    Ok(entry)
}

fn pair(mut reader: Reader<'_>) -> Result<(String, String), WireError> {
    let mut pair = (String::new(), String::new());
    while let Some(tag) = reader.tag()? {
        match tag.field {
            1 => pair.0 = reader.text(tag, "Name")?,
            2 => pair.1 = reader.text(tag, "Value")?,
            _ => reader.skip(tag)?,
        }
    }
    Ok(pair)
}

/// `google.protobuf.Timestamp`.
fn timestamp(mut reader: Reader<'_>) -> Result<Timestamp, WireError> {
    let (mut seconds, mut nanos) = (0_i64, 0_i32);
    while let Some(tag) = reader.tag()? {
        match tag.field {
            1 => seconds = reader.value(tag, "Seconds")?.cast_signed(),
            2 => nanos = low_half(reader.value(tag, "Nanos")?),
            _ => reader.skip(tag)?,
        }
    }
    let why = if seconds < SECONDS.start {
        " before 0001-01-01"
    } else if seconds >= SECONDS.end {
        " after 10000-01-01"
    } else if !(0..1_000_000_000).contains(&nanos) {
        ": nanos not in range [0, 1e9)"
    } else {
        // The last hours of the year 9999 are none to jiff.
        return Ok(Timestamp::new(seconds, nanos).unwrap_or(Timestamp::MAX));
    };
    Err(WireError::Timestamp { seconds, nanos, why })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn snapped(raw: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(raw).unwrap()
    }

    fn read(body: &[u8]) -> Result<Vec<Raw>, PushError> {
        super::read(body, &mut Room::default())
    }

    fn fault(body: &[u8]) -> PushError {
        read(body).err().unwrap()
    }

    /// Written out by hand after Loki's `push.proto`, so that the decoder is not held by an encoder of its
    /// own: stream 1 { labels 1, entry 2 { timestamp 1 { 1, 2 }, line 2, metadata 3 { 1, 2 } } }.
    #[test]
    fn the_documented_bytes_are_read() {
        let mut raw = vec![0x0a, 31, 0x0a, 7];
        raw.extend_from_slice(b"{a=\"b\"}");
        raw.extend_from_slice(&[0x12, 20, 0x0a, 4, 0x08, 5, 0x10, 7, 0x12, 4]);
        raw.extend_from_slice(b"l\xffne");
        raw.extend_from_slice(&[0x1a, 6, 0x0a, 1, b'k', 0x12, 1, b'v']);
        let streams = read(&snapped(&raw)).unwrap();
        let [stream] = streams.as_slice() else { panic!("one stream") };
        assert_eq!(stream.labels, "{a=\"b\"}");
        assert_eq!(stream.entries[0].time, Timestamp::new(5, 7).unwrap());
        assert_eq!(stream.entries[0].line, &b"l\xffne"[..]);
        assert_eq!(stream.entries[0].metadata, [("k".to_owned(), "v".to_owned())]);
    }

    #[test]
    fn a_header_that_promises_too_much_is_corrupt_and_costs_no_memory() {
        let four_gib = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0];
        assert_eq!(fault(&four_gib), PushError::Snappy);
        assert_eq!(fault(b""), PushError::Snappy);
    }

    #[test]
    fn an_entry_without_a_time_has_gos_zero_time_and_an_empty_one_that_of_the_epoch() {
        let without = [0x0a, 5, 0x12, 3, 0x12, 1, b'x'];
        assert_eq!(read(&snapped(&without)).unwrap()[0].entries[0].time, ZERO_TIME);
        let empty = [0x0a, 4, 0x12, 2, 0x0a, 0];
        assert_eq!(read(&snapped(&empty)).unwrap()[0].entries[0].time, Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn a_time_in_milliseconds_is_refused_in_lokis_words() {
        let mut time = vec![0x08];
        time.extend_from_slice(&[0x80, 0xa0, 0x90, 0xdb, 0xaa, 0x34]);
        let raw = [&[0x0a, 11, 0x12, 9, 0x0a, 7][..], &time].concat();
        let words = fault(&snapped(&raw)).to_string();
        assert!(words.starts_with("timestamp: &types.Timestamp{Seconds: 1798171791360,"), "{words}");
        assert!(words.ends_with(",\nNanos: 0,\n} after 10000-01-01"), "{words}");
    }

    /// A few kilobytes that say two million entries, and as many pairs and streams: without a bound on them
    /// they would take hundreds of megabytes.
    #[test]
    fn a_bomb_of_empty_items_is_refused_with_413() {
        let nested = |tag: u8, inner: &[u8]| {
            let mut raw = vec![tag];
            let mut length = inner.len();
            while length > 0x7f {
                raw.push(length.to_le_bytes()[0] | 0x80);
                length >>= 7;
            }
            raw.push(length.to_le_bytes()[0]);
            raw.extend_from_slice(inner);
            raw
        };
        let entries = nested(0x0a, &[0x12, 0].repeat(2_000_000));
        let pairs = nested(0x0a, &nested(0x12, &[0x1a, 0].repeat(2_000_000)));
        let streams = [0x0a, 0].repeat(2_000_000);
        for bomb in [entries, pairs, streams] {
            let error = fault(&snapped(&bomb));
            assert!(matches!(error, PushError::TooMany(_)), "{error}");
            assert_eq!(error.status(), 413);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(raw in proptest::collection::vec(any::<u8>(), 0..80)) {
            read(&snapped(&raw)).ok();
        }

        #[test]
        fn a_push_cut_anywhere_is_refused_or_shorter(cut in 0usize..40) {
            let mut raw = vec![0x0a, 15, 0x0a, 7];
            raw.extend_from_slice(b"{a=\"b\"}\x12\x04\x12\x02ab\x0a\x09\x0a\x07{c=\"d\"}");
            let whole = read(&snapped(&raw)).unwrap().len();
            let cut = cut.min(raw.len());
            if let Ok(streams) = read(&snapped(&raw[..cut])) {
                prop_assert!(streams.len() <= whole);
            }
        }
    }
}
