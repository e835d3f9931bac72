//! From the recording of a request's body to its bytes, with the times of now.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "encoders take numbers apart byte by byte; the figures are those of the recordings"
)]

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use jiff::Timestamp;
use serde_json::Value;

use super::Case;
use super::times::{expand, shift};

/// The body as it would be sent now; times that are written out in it are those of `began`.
pub(super) fn body(case: &Case, now: Timestamp, began: Timestamp) -> Vec<u8> {
    let recorded = &case.request["body"];
    if let Some(streams) = recorded["protobuf_streams"].as_array() {
        return protobuf(streams, now);
    }
    if recorded["base64"].is_object() {
        return too_long_json(recorded["base64"]["length"].as_u64().unwrap() as usize);
    }
    if let Some(text) = recorded["base64"].as_str() {
        let bytes = from_base64(text);
        return match case.name.as_str() {
            "invalid_utf8_line_pb" => with_time(&bytes, now),
            // The recording announces more bytes than it sends; here they are sent, since the answer does
            // not come before them.
            "content_length_over_100MiB_pb" => vec![b'0'; (100 << 20) + 1],
            _ => bytes,
        };
    }
    let template = &recorded["text_template"];
    let template = template.as_str().map_or_else(|| rebuilt(&case.name, template), str::to_owned);
    let text = expand(&shift(&template, began), now);
    match recorded["encoding"].as_str() {
        None => text.into_bytes(),
        Some("gzip") => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        }
        Some(deflate) => {
            assert!(deflate.starts_with("raw deflate"), "{deflate}");
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        }
    }
}

/// A body of which the recording holds the length and both ends.
fn rebuilt(name: &str, recorded: &Value) -> String {
    let (head, tail) = (recorded["head"].as_str().unwrap(), recorded["tail"].as_str().unwrap());
    let (start, _) = head.split_once("\"values\": [").unwrap();
    let lines = |ages: std::ops::RangeInclusive<u32>, line: &dyn Fn(u32) -> String| {
        let newest_last = ages.rev().map(|age| format!("[\"{{{{ns age_s={age}}}}}\", \"{}\"]", line(age)));
        newest_last.collect::<Vec<_>>().join(", ")
    };
    let values = match name {
        "structured_metadata_too_large" => {
            format!("[\"{{{{ns age_s=10}}}}\", \"x\", {{\"k\": \"{}\"}}]", "v".repeat(70_000))
        }
        "rate_limited_default_burst" => lines(6..=75, &|_| "z".repeat(100_000)),
        "stream_rate_limited_15_over" => lines(31..=60, &|age| format!("{:02}{}", 60 - age, "a".repeat(298))),
        other => panic!("{other}: the recording holds a part of the body only"),
    };
    let text = format!("{start}\"values\": [{values}]}}]}}");
    let as_recorded = text.starts_with(head) && text.ends_with(tail);
    assert!(as_recorded && text.len() as u64 == recorded["length"].as_u64().unwrap(), "{name}");
    text
}

fn too_long_json(length: usize) -> Vec<u8> {
    let (start, end) = (r#"{"streams":[{"stream":{"a":"b"},"values":[["1",""#, r#""]]}]}"#);
    let line = "x".repeat(length - start.len() - end.len());
    [start, &line, end].concat().into_bytes()
}

/// Puts now into a push whose only time has five bytes of seconds.
fn with_time(body: &[u8], now: Timestamp) -> Vec<u8> {
    let mut raw = snap::raw::Decoder::new().decompress_vec(body).unwrap();
    let is_time = |bytes: &[u8]| bytes[0] == 0x0a && bytes[2] == 0x08 && bytes[8] == 0x10;
    let at = raw.windows(9).position(is_time).unwrap() + 3;
    let mut seconds = Vec::new();
    varint(&mut seconds, now.as_second() as u64 - 1);
    raw[at..at + 5].copy_from_slice(&seconds);
    snap::raw::Encoder::new().compress_vec(&raw).unwrap()
}

/// A field of bytes: its tag, its length, its bytes.
fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![tag << 3 | 2];
    varint(&mut out, bytes.len() as u64);
    out.extend_from_slice(bytes);
    out
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Written by hand, so that it owes nothing to the decoder under test.
fn protobuf(streams: &[Value], now: Timestamp) -> Vec<u8> {
    let mut request = Vec::new();
    for stream in streams {
        let mut inner = field(1, stream["labels"].as_str().unwrap().as_bytes());
        for entry in stream["entries"].as_array().unwrap() {
            let age_ns = (entry["age_s"].as_f64().unwrap() * 1e9) as i128;
            let time = now.as_nanosecond() - age_ns + i128::from(entry["plus_ns"].as_i64().unwrap_or(0));
            let mut timestamp = vec![0x08];
            varint(&mut timestamp, (time / 1_000_000_000) as u64);
            timestamp.push(0x10);
            varint(&mut timestamp, (time % 1_000_000_000) as u64);
            let mut bytes = field(1, &timestamp);
            bytes.extend(field(2, entry["line"].as_str().unwrap().as_bytes()));
            for (name, value) in entry["sm"].as_object().into_iter().flatten() {
                let pair = [field(1, name.as_bytes()), field(2, value.as_str().unwrap().as_bytes())].concat();
                bytes.extend(field(3, &pair));
            }
            inner.extend(field(2, &bytes));
        }
        request.extend(field(1, &inner));
    }
    snap::raw::Encoder::new().compress_vec(&request).unwrap()
}

fn from_base64(text: &str) -> Vec<u8> {
    const SIGNS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        let value = SIGNS.iter().position(|sign| *sign == byte).unwrap();
        bits = bits << 6 | value as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}
