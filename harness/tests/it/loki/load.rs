//! The sink under load: nothing is lost, nothing is kept.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use flatline::audit::ledger::Key;
use flatline::clock;
use flatline::loki::server::{Sink, SinkConfig, SinkError};
use flatline::world::line::{Fields, Stream, write};
use reqwest::Client;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A push of numbered lines.
fn push(source: &str, numbers: std::ops::RangeInclusive<u64>, line_bytes: usize) -> String {
    let values: Vec<[String; 2]> = numbers
        .map(|number| {
            let mut line = String::new();
            write(&mut line, &Fields { source, stream: Stream::Out, number, written_ns: 1 }, 7, line_bytes);
            [clock::now_ns().to_string(), line]
        })
        .collect();
    serde_json::json!({"streams": [{"stream": {"source": source}, "values": values}]}).to_string()
}

async fn send(client: &Client, url: &str, body: String) -> u16 {
    let request = client.post(format!("{url}/loki/api/v1/push")).header("Content-Type", "application/json");
    request.body(body).send().await.unwrap().status().as_u16()
}

fn rss_bytes() -> u64 {
    let process = procfs::process::Process::myself().unwrap();
    process.statm().unwrap().resident * procfs::page_size()
}

/// wiremock keeps each matched request until its mock is taken down. Eight clients push 512 MiB at once,
/// while the mock is renewed some sixty times: no push may meet no mock, and nothing may be kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_bounded_and_no_push_is_missed_while_wiremock_is_made_to_forget() {
    const CLIENTS: u64 = 8;
    const PUSHES: u64 = 64;
    let sink = Sink::start(None, SinkConfig::default()).await.unwrap();
    let before = rss_bytes();
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let url = sink.url();
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
    let grown_mib = rss_bytes().saturating_sub(before) >> 20;
    assert_eq!(sink.counters().pushes_by_status, [(204, CLIENTS * PUSHES), (400, CLIENTS * PUSHES)].into());
    for (_, sequence) in sink.ledger().sequences() {
        assert_eq!(sequence.accepted.runs().collect::<Vec<_>>(), [(1, PUSHES)]);
    }
    assert!(grown_mib < 256, "grown by {grown_mib} MiB");
}

#[tokio::test]
async fn doubled_and_missing_lines_stand_in_the_ledger() {
    let sink = Sink::start(None, SinkConfig::default()).await.unwrap();
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
    let error = Sink::start(Some(address), SinkConfig::default()).await.err().unwrap();
    assert!(matches!(error, SinkError::Listen { address: named, .. } if named == address), "{error}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

/// Also after renewals, whose parts hold on to each other while the sink lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_sink_no_longer_listens() {
    let sink = Sink::start(None, SinkConfig::default()).await.unwrap();
    let (client, url) = (Client::new(), sink.url());
    for _ in 0..20 {
        assert_eq!(send(&client, &url, "x".repeat(1 << 20)).await, 400);
    }
    drop(sink);
    let address = url.strip_prefix("http://").unwrap();
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    timeout(Duration::from_secs(20), refused).await.unwrap();
}
