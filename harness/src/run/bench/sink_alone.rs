//! How many lines a second the sink takes when a loop pushes into it that has nothing else to do: no target can be seen
//! to deliver more.

use std::time::Duration;

use futures_util::future::join_all;
use prost::Message;

use crate::clock;
use crate::loki::config::Said;
use crate::loki::server::{Sink, SinkConfig};
use crate::result::bench::SinkAlone;
use crate::run::bench::BenchError;
use crate::world::line::{self, Fields, Stream};

const LINE_BYTES: usize = 200;
const LINES_PER_PUSH: u64 = 2_000;
const PUSHES: u64 = 100;
/// At once, as shippers do.
const CONNECTIONS: usize = 2;

/// As Loki's `push.proto` has it.
#[derive(Clone, PartialEq, Message)]
struct Push {
    #[prost(message, repeated, tag = "1")]
    streams: Vec<PushStream>,
}

#[derive(Clone, PartialEq, Message)]
struct PushStream {
    #[prost(string, tag = "1")]
    labels: String,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<PushEntry>,
}

#[derive(Clone, PartialEq, Message)]
struct PushEntry {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<PushTime>,
    #[prost(string, tag = "2")]
    line: String,
}

#[derive(Clone, PartialEq, Message)]
struct PushTime {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// Measures it; `None` where the sink did not take all of it.
pub(super) async fn measure(window: Duration) -> Result<Option<SinkAlone>, BenchError> {
    let sink =
        Sink::start(None, SinkConfig::for_run(window, crate::faults::Plan::default(), &Said::default()))?;
    let bodies: Vec<Vec<u8>> = (0..PUSHES).filter_map(body).collect();
    let url = format!("{}/loki/api/v1/push", sink.url());
    let client = reqwest::Client::new();
    let share = bodies.len().div_ceil(CONNECTIONS).max(1);
    let began = clock::Stopwatch::start();
    let (client, url) = (&client, &url);
    let pushers = bodies.chunks(share).map(|bodies| async move {
        for body in bodies {
            let push = client.post(url).header("content-type", "application/x-protobuf").body(body.clone());
            // What was not taken is seen in the sink's count.
            drop(push.send().await);
        }
    });
    join_all(pushers).await;
    let seconds = began.elapsed_s();
    let lines = PUSHES * LINES_PER_PUSH;
    let is_whole = sink.accepted() == lines && seconds > 0.0;
    Ok(is_whole
        .then(|| SinkAlone { lines_per_second: lines as f64 / seconds, line_bytes: LINE_BYTES as u64 }))
}

/// One push of its own source, compressed.
fn body(push: u64) -> Option<Vec<u8>> {
    let now_ns = clock::now_ns();
    let source = format!("s{push:04}");
    let entries = (1..=LINES_PER_PUSH).map(|number| {
        let mut line = String::new();
        let fields = Fields { source: &source, stream: Stream::Out, number, written_ns: now_ns };
        line::write(&mut line, &fields, push, LINE_BYTES);
        let (seconds, nanos) = (now_ns / 1_000_000_000, now_ns % 1_000_000_000);
        let timestamp = PushTime { seconds, nanos: i32::try_from(nanos).unwrap_or(0) };
        PushEntry { timestamp: Some(timestamp), line }
    });
    let labels = format!("{{job=\"docker\", container=\"{source}\", stream=\"stdout\"}}");
    let push = Push { streams: vec![PushStream { labels, entries: entries.collect() }] };
    snap::raw::Encoder::new().compress_vec(&push.encode_to_vec()).ok()
}
