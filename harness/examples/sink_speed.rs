//! How many entries a second a sink takes, beside what only to decompress them costs.
//!
//!     cargo run --release -p flatline --example sink_speed
//!
//! Pushes of about 1 MB of snappy, made beforehand, go to a sink over one connection. `audit`: numbered lines of a
//! generator, each checked and entered into the books. `foreign`: lines that are nobody's, which are counted only.
//! Each is taken several times, in turns; medians and extremes are printed.
#![allow(
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "for a person to read; all lengths are constants"
)]

#[path = "support/push.rs"]
mod push;

use std::time::Instant;

use flatline::clock;
use flatline::loki::server::{Sink, SinkConfig};
use flatline::world::line::{Fields, Stream};

use self::push::{EntryAdapter, LINE_BYTES, PUSH_BYTES, StreamAdapter};

const ROUNDS: usize = 7;
const PUSHES: usize = 48;

/// A body and how many entries it has, from this number on.
fn body(first: u64, foreign: bool) -> (Vec<u8>, u64) {
    let (mut entries, mut raw, mut number) = (Vec::new(), 0, first);
    let now_ns = clock::now_ns();
    while raw < PUSH_BYTES {
        let fields = Fields { source: "c01", stream: Stream::Out, number, written_ns: now_ns };
        let mut entry = EntryAdapter::new(&fields, now_ns + i64::try_from(number).unwrap_or_default());
        if foreign {
            entry.line.replace_range(..1, "x");
        }
        raw += entry.line.len();
        entries.push(entry);
        number += 1;
    }
    let stream = StreamAdapter { labels: "{source=\"c01\"}".to_owned(), entries };
    (push::body(vec![stream]), number - first)
}

fn bodies(foreign: bool) -> (Vec<Vec<u8>>, u64) {
    let (mut bodies, mut entries) = (Vec::new(), 0);
    for _ in 0..PUSHES {
        let (body, count) = body(entries + 1, foreign);
        bodies.push(body);
        entries += count;
    }
    (bodies, entries)
}

#[expect(clippy::cast_precision_loss, reason = "some millions")]
fn per_second(entries: u64, began: Instant) -> f64 {
    entries as f64 / began.elapsed().as_secs_f64()
}

/// What the sink's core must do in any case.
fn decompress(bodies: &[Vec<u8>], entries: u64) -> f64 {
    let began = Instant::now();
    for body in bodies {
        let plain = snap::raw::Decoder::new().decompress_vec(body).unwrap_or_default();
        std::hint::black_box(plain);
    }
    per_second(entries, began)
}

async fn push_all(bodies: &[Vec<u8>], entries: u64) -> Result<f64, Box<dyn std::error::Error>> {
    let sink = Sink::start(
        None,
        SinkConfig::for_run(std::time::Duration::from_secs(3600), Default::default(), &Default::default()),
    )?;
    let (client, url) = (reqwest::Client::new(), format!("{}/loki/api/v1/push", sink.url()));
    let began = Instant::now();
    for body in bodies {
        let request = client.post(&url).header("Content-Type", "application/x-protobuf").body(body.clone());
        request.send().await?.error_for_status()?;
    }
    let speed = per_second(entries, began);
    assert_eq!(sink.counters().entries_accepted, entries, "all of it is stored");
    Ok(speed)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (audit, foreign) = (bodies(false), bodies(true));
    let mut speeds = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        speeds[0].push(decompress(&audit.0, audit.1));
        speeds[1].push(push_all(&foreign.0, foreign.1).await?);
        speeds[2].push(push_all(&audit.0, audit.1).await?);
    }
    let bytes: usize = audit.0.iter().map(Vec::len).sum();
    println!("{PUSHES} pushes of {} bytes, {} entries of {LINE_BYTES} bytes in all", bytes / PUSHES, audit.1);
    for (what, speeds) in ["decompress alone", "foreign", "audit"].into_iter().zip(&mut speeds) {
        speeds.sort_by(f64::total_cmp);
        let [least, middle, most] = [speeds[0], speeds[ROUNDS / 2], speeds[ROUNDS - 1]];
        println!("{what:>17}: {middle:>10.0} entries/s  [{least:.0}, {most:.0}]");
    }
    Ok(())
}
