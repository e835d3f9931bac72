//! Pushes as a shipper sends them: numbered lines of a generator, in snappy protobuf.

use flatline::world::line::{Fields, write};
use prost::Message;

/// How long a line is.
pub(crate) const LINE_BYTES: usize = 200;
/// So many bytes of lines go into one push. Lines' padding hardly compresses.
pub(crate) const PUSH_BYTES: usize = 1_000_000;

/// Loki's `logproto.PushRequest`, as far as it is needed here.
#[derive(Message)]
struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    streams: Vec<StreamAdapter>,
}

/// Some entries of one stream.
#[derive(Message)]
pub(crate) struct StreamAdapter {
    #[prost(string, tag = "1")]
    pub(crate) labels: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) entries: Vec<EntryAdapter>,
}

/// A line and its time.
#[derive(Clone, Message)]
pub(crate) struct EntryAdapter {
    #[prost(message, tag = "1")]
    timestamp: Option<Time>,
    #[prost(string, tag = "2")]
    pub(crate) line: String,
}

#[derive(Clone, Copy, Message)]
struct Time {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl EntryAdapter {
    /// A line as the generator writes it, at a time in nanoseconds.
    pub(crate) fn new(fields: &Fields<'_>, ns: i64) -> Self {
        let mut line = String::with_capacity(LINE_BYTES);
        write(&mut line, fields, 7, LINE_BYTES);
        let (seconds, nanos) = (ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000));
        Self { timestamp: Some(Time { seconds, nanos: i32::try_from(nanos).unwrap_or_default() }), line }
    }
}

/// The body of a push.
pub(crate) fn body(streams: Vec<StreamAdapter>) -> Vec<u8> {
    let plain = PushRequest { streams }.encode_to_vec();
    snap::raw::Encoder::new().compress_vec(&plain).unwrap_or_default()
}
