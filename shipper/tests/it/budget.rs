//! What is tried for long, what a limit of Loki's refuses time and again, and connections that close.

use std::time::Duration;

use shipper::delivery::retry;
use shipper::record::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wiremock::ResponseTemplate;

use crate::support::loki::{Loki, refuse};
use crate::support::rig::{NOW, PATIENCE, Rig, committed, dead, letters, metric, retry};

const MINUTE: Duration = Duration::from_secs(60);

fn too_many(words: String) -> ResponseTemplate {
    ResponseTemplate::new(429).set_body_string(words)
}

/// A Loki whose rate is `limit` bytes a second, burst included.
async fn rated(limit: usize) -> Loki {
    Loki::by_rule(move |_, lines| {
        let bytes: usize = lines.iter().map(String::len).sum();
        let words = format!("ingestion rate limit exceeded for user test (limit: {limit} bytes/sec) while attempting to ingest '{}' lines totaling '{bytes}' bytes, reduce log volume\n", lines.len());
        (bytes > limit).then(|| too_many(words))
    })
    .await
}

#[tokio::test]
async fn a_batch_that_was_tried_for_its_budget_goes_to_the_dead_letters_with_lokis_last_words() {
    let dir = tempfile::tempdir().unwrap();
    let loki = Loki::start((0..1000).map(|_| refuse(503, "empty ring\n"))).await;
    let config = retry::Config { budget: Some(Duration::from_millis(100)), ..retry() };
    let mut rig = Rig::start(dir.path(), &loki.url(), config).await;
    rig.line(NOW, "a").await;
    rig.until("given up", |metrics| metrics.dead_letters.get() == 1).await;
    assert!(loki.bodies().len() > 2);
    rig.end().await;
    let letter = &letters(dir.path())[0];
    let of = |key: &str| letter[key].to_string();
    assert_eq!([of("reason"), of("status"), of("answer")], ["\"retry_budget\"", "503", "\"empty ring\""]);
    assert_eq!(committed(dir.path()).await, 1);
}

#[tokio::test]
async fn a_loki_that_lets_nobody_in_uses_up_no_budget() {
    let dir = tempfile::tempdir().unwrap();
    let loki = Loki::start((0..6).map(|_| refuse(401, "no org id\n"))).await;
    let config = retry::Config { budget: Some(Duration::from_millis(20)), initial: MINUTE / 600, ..retry() };
    let config = retry::Config { max: config.initial, ..config };
    let mut rig = Rig::start(dir.path(), &loki.url(), config).await;
    rig.line(NOW, "a").await;
    rig.until("delivered", |metrics| metrics.lines.in_flight() == 0).await;
    assert_eq!((loki.stored(), dead(dir.path())), (vec!["a".to_owned()], vec![]));
    rig.end().await;
}

#[tokio::test]
async fn a_push_above_the_rate_is_halved_until_it_passes() {
    let dir = tempfile::tempdir().unwrap();
    let loki = rated(3).await;
    let mut rig = Rig::start(dir.path(), &loki.url(), retry()).await;
    for text in ["aa", "bb", "cc", "dd"] {
        rig.line(NOW, text).await;
    }
    rig.end().await;
    let mut stored = loki.stored();
    stored.sort();
    assert_eq!(stored, ["aa", "bb", "cc", "dd"]);
    assert_eq!((dead(dir.path()), committed(dir.path()).await), (vec![], 4));
}

#[tokio::test]
async fn a_line_that_is_alone_above_the_rate_does_not_stand_in_the_way_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let loki = rated(3).await;
    let mut rig = Rig::start(dir.path(), &loki.url(), retry()).await;
    rig.line(NOW, "a").await;
    rig.line(NOW, "too much").await;
    rig.line(NOW, "b").await;
    rig.end().await;
    assert_eq!(dead(dir.path()), [("rate_limit".to_owned(), "too much".to_owned())]);
    let mut stored = loki.stored();
    stored.sort();
    assert_eq!(stored, ["a", "b"]);
    assert_eq!(committed(dir.path()).await, 3);
}

#[tokio::test]
async fn a_stream_that_can_not_begin_gives_up_its_own_lines_only() {
    let dir = tempfile::tempdir().unwrap();
    let loki = Loki::by_rule(|_, lines| {
        let words = "maximum active stream limit exceeded when trying to create stream {container=\"web\", job=\"docker\", service_name=\"web\", stream=\"stderr\"}, reduce the number of active streams (reduce labels or reduce label values), or contact your Loki administrator to see if the limit can be increased, user: 'test'\n";
        lines.iter().any(|line| line == "new").then(|| too_many(words.to_owned()))
    })
    .await;
    let mut rig = Rig::start(dir.path(), &loki.url(), retry()).await;
    rig.line_to(Stream::Stderr, NOW, "new").await;
    rig.line(NOW, "old").await;
    rig.end().await;
    assert_eq!(dead(dir.path()), [("stream_limit".to_owned(), "new".to_owned())]);
    assert_eq!((loki.stored(), committed(dir.path()).await), (vec!["old".to_owned()], 2));
}

/// Reads one push to its end.
async fn read_push(connection: &mut TcpStream) {
    let mut text = Vec::new();
    loop {
        let head = text.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        if let Some(head) = head {
            let words = String::from_utf8_lossy(&text[..head]).to_ascii_lowercase();
            let length = words.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
            if text.len() >= head + 4 + length.parse::<usize>().unwrap() {
                break;
            }
        }
        assert!(connection.read_buf(&mut text).await.unwrap() > 0, "the connection has ended");
    }
}

async fn accept(loki: &TcpListener) -> TcpStream {
    tokio::time::timeout(PATIENCE, loki.accept()).await.expect("nobody connects").unwrap().0
}

async fn answer(connection: &mut TcpStream) {
    connection.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
}

#[tokio::test]
async fn a_push_that_meets_a_closing_connection_is_sent_again_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let loki = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", loki.local_addr().unwrap());
    let slow = retry::Config { initial: 60 * MINUTE, max: 60 * MINUTE, ..retry() };
    let mut rig = Rig::start(dir.path(), &url, slow).await;
    rig.line(NOW, "a").await;
    let mut first = accept(&loki).await;
    read_push(&mut first).await;
    answer(&mut first).await;
    rig.until("delivered", |metrics| metrics.lines.in_flight() == 0).await;
    rig.line(NOW, "b").await;
    read_push(&mut first).await;
    drop(first);
    let mut second = accept(&loki).await;
    read_push(&mut second).await;
    answer(&mut second).await;
    rig.until("delivered", |metrics| metrics.lines.in_flight() == 0).await;

    rig.line(NOW, "c").await;
    read_push(&mut second).await;
    drop(second);
    let mut third = accept(&loki).await;
    read_push(&mut third).await;
    drop(third);
    rig.until("waiting", |metrics| metrics.retry_queue_items.get() == 1).await;
    assert_eq!(metric(&rig.metrics, "shipper_push_total{status=\"connection\"}"), 3.0);
    rig.shutdown.give_up.cancel();
    assert_eq!(rig.end().await.lines, 1);
}
