//! The sink under load: nothing is lost, nothing is kept.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use flatline::audit::ledger::Key;
use flatline::clock;
use flatline::faults::Plan;
use flatline::loki::config::Said;
use flatline::loki::server::{Sink, SinkConfig, SinkError};
use flatline::world::line::{Fields, Stream, write};
use reqwest::Client;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::program::Program;

/// A push of numbered lines.
fn push(source: &str, numbers: std::ops::RangeInclusive<u64>, line_bytes: usize) -> String {
    push_at(source, numbers, line_bytes, |_| clock::now_ns())
}

/// The same, at times of their own.
fn push_at(
    source: &str,
    numbers: impl Iterator<Item = u64>,
    line_bytes: usize,
    ns: impl Fn(u64) -> i64,
) -> String {
    let values: Vec<[String; 2]> = numbers
        .map(|number| {
            let mut line = String::new();
            write(&mut line, &Fields { source, stream: Stream::Out, number, written_ns: 1 }, 7, line_bytes);
            [ns(number).to_string(), line]
        })
        .collect();
    serde_json::json!({"streams": [{"stream": {"source": source}, "values": values}]}).to_string()
}

async fn send(client: &Client, url: &str, body: String) -> u16 {
    let request = client.post(format!("{url}/loki/api/v1/push")).header("Content-Type", "application/json");
    request.body(body).send().await.unwrap().status().as_u16()
}

/// Eight clients push 512 MiB at once: all of it is answered, and nothing of it kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_bounded_and_no_push_is_missed_under_load() {
    const CLIENTS: u64 = 8;
    const PUSHES: u64 = 64;
    let loki = Program::start(&[]);
    let before = loki.rss_bytes();
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let url = loki.url.clone();
        clients.spawn(async move {
            let (http, source) = (Client::new(), format!("c{client}"));
            for number in 1..=PUSHES {
                assert_eq!(send(&http, &url, push(&source, number..=number, 100)).await, 204);
                // Refused at its first byte, but kept like any other.
                assert_eq!(send(&http, &url, "x".repeat(1 << 20)).await, 400);
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    let grown_mib = loki.rss_bytes().saturating_sub(before) >> 20;
    let summary = loki.stop();
    assert_eq!(summary["pushes_by_status"], json!({"204": CLIENTS * PUSHES, "400": CLIENTS * PUSHES}));
    assert_eq!(summary["lines_delivered"], CLIENTS * PUSHES);
    assert_eq!(summary["lines_out_of_order"], 0);
    assert!(grown_mib < 256, "grown by {grown_mib} MiB");
}

/// What is kept of lines are their gaps, and of containers that are gone a run or two: a quarter of a million lines,
/// 125 containers one after the other, and of each thousand lines of an output one refused, one missing, one late.
#[tokio::test]
async fn what_is_kept_grows_with_gaps_and_containers_and_not_with_lines() {
    const CONTAINERS: u64 = 125;
    const LINES: u64 = 2000;
    let sink =
        Sink::start(None, SinkConfig::for_run(Duration::from_secs(3600), Plan::default(), &Said::default()))
            .unwrap();
    let client = Client::new();
    for container in 1..=CONTAINERS {
        let source = format!("c{container}");
        let number = |place: u64| (0..LINES / 1000).map(move |thousand| thousand * 1000 + place);
        let (late, missing): (Vec<u64>, Vec<u64>) = (number(300).collect(), number(600).collect());
        let in_time = (1..=LINES).filter(|line| !late.contains(line) && !missing.contains(line));
        let body = push_at(&source, in_time.chain(late.clone()), 100, |line| {
            let hours = if line % 1000 == 900 { 2 } else { 0 };
            clock::now_ns() - hours * 3600 * 1_000_000_000
        });
        assert_eq!(send(&client, &sink.url(), body).await, 400, "some are too old");
    }
    let ledger = sink.ledger();
    let per_container = LINES / 1000;
    for (key, sequence) in ledger.sequences() {
        let gaps: Vec<(u64, u64)> = sequence.accepted.gaps_within(1, LINES);
        assert_eq!(gaps, [(600, 600), (900, 900), (1600, 1600), (1900, 1900)], "{key:?}");
        assert_eq!(
            (sequence.runs_count() as u64, sequence.out_of_order),
            (3 * per_container + 1, 2),
            "{key:?}"
        );
    }
    let summary = sink.summary();
    assert_eq!((summary.sequences, summary.lines_unrecorded), (CONTAINERS, 0));
    assert_eq!(summary.counters.entries_refused, CONTAINERS * per_container);
    assert_eq!(summary.lines_delivered, CONTAINERS * (LINES - 2 * per_container));
}

/// Each of them would take gigabytes if it were read as it says.
#[tokio::test]
async fn bombs_and_broken_bodies_are_refused_with_bounded_memory_and_the_sink_lives() {
    let loki = Program::start(&[]);
    let before = loki.rss_bytes();
    let (client, url) = (Client::new(), format!("{}/loki/api/v1/push", loki.url));
    let gzip = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let snap = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes).unwrap();
    let zeros = vec![0; 64 << 20];
    let values = format!("{{\"streams\":[{{\"values\":[{}[]]}}]}}", "[],".repeat(4_000_000));
    for (content_type, encoding, body, status) in [
        ("application/json", "gzip", gzip(&zeros).repeat(40), 413),
        ("application/json", "gzip", gzip(values.as_bytes()), 413),
        ("application/json", "", b"[".repeat(1 << 20), 400),
        ("application/json", "", b"{\"streams\":".repeat(1 << 18), 400),
        ("application/x-protobuf", "", snap(&[0x0a, 0].repeat(30 << 20)), 413),
        ("application/x-protobuf", "", snap(&[0x0a, 0].repeat(1 << 20))[..1000].to_vec(), 400),
        ("application/x-protobuf", "", b"\xff\xff\xff\xff\x0f\0\0\0".to_vec(), 400),
        ("application/x-protobuf", "gzip", gzip(&zeros).repeat(40), 413),
    ] {
        let request = client.post(&url).header("Content-Type", content_type);
        let request =
            if encoding.is_empty() { request } else { request.header("Content-Encoding", encoding) };
        let answer = request.body(body).send().await.unwrap();
        let (got, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert_eq!(got, status, "{content_type} {encoding}: {text}");
    }
    let grown_mib = loki.peak_rss_bytes().saturating_sub(before) >> 20;
    assert_eq!(send(&client, &loki.url, push("c1", 1..=1, 100)).await, 204);
    assert_eq!(loki.stop()["lines_delivered"], 1);
    assert!(grown_mib < 1024, "grown by {grown_mib} MiB");
}

#[tokio::test]
async fn doubled_and_missing_lines_stand_in_the_ledger() {
    let sink = Sink::start(None, SinkConfig::default()).unwrap();
    let client = Client::new();
    for numbers in [1..=10, 5..=8, 12..=12] {
        assert_eq!(send(&client, &sink.url(), push("c01", numbers, 100)).await, 204);
    }
    let key = Key { source: "c01".to_owned(), stream: Stream::Out };
    let ledger = sink.ledger();
    let sequence = ledger.sequence(&key).unwrap();
    assert_eq!((sequence.duplicated, sequence.accepted.gaps_within(1, 12)), (4, vec![(11, 11)]));
    let summary = sink.summary();
    assert_eq!((summary.lines_delivered, summary.lines_duplicated, summary.sequences), (11, 4, 1));
    assert_eq!((summary.counters.pushes, summary.counters.entries_accepted), (3, 15));
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = taken.local_addr().unwrap();
    let error = Sink::start(Some(address), SinkConfig::default()).err().unwrap();
    assert!(matches!(error, SinkError::Listen { address: named, .. } if named == address), "{error}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

/// Also after renewals, whose parts hold on to each other while the sink lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_sink_no_longer_listens() {
    let sink = Sink::start(None, SinkConfig::default()).unwrap();
    let (client, url) = (Client::new(), sink.url());
    for _ in 0..20 {
        assert_eq!(send(&client, &url, "x".repeat(1 << 20)).await, 400);
    }
    drop(sink);
    let address = url.strip_prefix("http://").unwrap();
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    timeout(Duration::from_secs(20), refused).await.unwrap();
}

#[tokio::test]
async fn a_sink_that_is_stopping_says_so_and_takes_no_push() {
    let sink = Sink::start(None, SinkConfig::default()).unwrap();
    let client = Client::new();
    sink.stop();
    let ready = client.get(format!("{}/ready", sink.url())).send().await.unwrap();
    assert_eq!(ready.status(), 503);
    assert_eq!(ready.text().await.unwrap(), "Application is stopping\n");
    assert_eq!(send(&client, &sink.url(), push("c01", 1..=1, 100)).await, 500);
    assert_eq!(sink.summary().lines_delivered, 0);
}
