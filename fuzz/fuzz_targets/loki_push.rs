//! The body of a push to the mock Loki, in each form that Loki reads.
#![no_main]

use flatline::loki::ingester::Ingester;
use flatline::loki::judge::judge;
use flatline::loki::limits::Limits;
use flatline::loki::push::{self, Headers, Version};
use libfuzzer_sys::fuzz_target;

const TYPES: [&str; 4] = ["application/json", "application/x-protobuf", "text/plain; charset=", ""];
const ENCODINGS: [&str; 5] = ["", "snappy", "gzip", "deflate", "br"];

fuzz_target!(|input: (u8, u8, bool, Vec<u8>)| {
    let (content_type, encoding, old, body) = input;
    let headers = Headers {
        content_type: TYPES[usize::from(content_type) % TYPES.len()],
        content_encoding: ENCODINGS[usize::from(encoding) % ENCODINGS.len()],
    };
    let version = if old { Version::V0 } else { Version::V1 };
    if let Ok(streams) = push::read(version, headers, &body) {
        let now = jiff::Timestamp::constant(1_800_000_000, 0);
        judge(&Limits::default(), &mut Ingester::default(), &streams, now);
    }
});
