//! From records to a scripted Loki: every answer, and that nothing is lost or counted twice.

use std::time::Duration;

use shipper::delivery::retry::{self, WhenFull};
use shipper::record::Item;
use wiremock::ResponseTemplate;

use crate::support::loki::{Loki, Scripted, refuse};
use crate::support::rig::{NOW, Rig, SECOND, committed, container, dead, metric, retry};

/// The law, at rest: nothing in flight, nothing over.
fn assert_at_rest(metrics: &shipper::metrics::Metrics) {
    assert_eq!((metrics.lines.in_flight(), metrics.lines.balance()), (0, 0), "{}", metrics.render().unwrap());
}

#[tokio::test]
async fn lines_arrive_and_their_positions_are_committed() {
    let dir = tempfile::tempdir().unwrap();
    let loki = Loki::start([]).await;
    let mut rig = Rig::start(dir.path(), &loki.url(), retry()).await;
    for number in 0..50 {
        rig.line(NOW + number, &format!("line {number}")).await;
    }
    let metrics = rig.metrics.clone();
    rig.end().await;
    assert_eq!(loki.stored(), (0..50).map(|number| format!("line {number}")).collect::<Vec<_>>());
    assert_eq!(committed(dir.path()).await, 50);
    assert_at_rest(&metrics);
    assert_eq!(metric(&metrics, "shipper_lines_delivered_total"), 50.0);
}

#[tokio::test]
async fn a_400_for_age_keeps_the_old_lines_and_counts_the_others_as_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let words = "entry for stream '{}' has timestamp too old: 2027-01-15T07:58:20Z, oldest acceptable timestamp is: 2027-01-15T07:59:00Z\n";
    let partial = Scripted {
        answer: ResponseTemplate::new(400).set_body_string(words),
        stores: |line| line == "young",
    };
    let loki = Loki::start([partial]).await;
    let mut rig = Rig::start(dir.path(), &loki.url(), retry()).await;
    rig.line(NOW - 100 * SECOND, "old").await;
    rig.line(NOW, "young").await;
    let metrics = rig.metrics.clone();
    rig.end().await;
    assert_eq!(loki.stored(), ["young"]);
    assert_eq!(dead(dir.path()), [("refused".to_owned(), "old".to_owned())]);
    assert_eq!(loki.bodies().len(), 1, "a 400 is never retried");
    assert_eq!(committed(dir.path()).await, 2);
    assert_at_rest(&metrics);
}

#[tokio::test]
async fn refusals_of_any_other_kind_keep_the_whole_batch() {
    for (status, body) in [(400, "stream '{}' has duplicate label name: 'x'\n"), (260, "ingestion blocked\n")]
    {
        let dir = tempfile::tempdir().unwrap();
        let loki = Loki::start([refuse(status, body)]).await;
        let mut rig = Rig::start(dir.path(), &loki.url(), retry()).await;
        rig.line(NOW, "a").await;
        let metrics = rig.metrics.clone();
        rig.end().await;
        assert_eq!(dead(dir.path()), [("refused".to_owned(), "a".to_owned())], "{status}");
        assert_eq!(metric(&metrics, "shipper_dead_letters_total"), 1.0);
        assert_at_rest(&metrics);
    }
}

#[tokio::test]
async fn a_failure_of_loki_is_retried_with_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let loki = Loki::start([refuse(500, "empty ring\n"), refuse(503, ""), refuse(408, "")]).await;
    let mut rig = Rig::start(dir.path(), &loki.url(), retry()).await;
    rig.line(NOW, "a").await;
    let metrics = rig.metrics.clone();
    rig.end().await;
    assert_eq!(loki.stored(), ["a"]);
    let bodies = loki.bodies();
    assert_eq!(bodies.len(), 4);
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    assert_eq!(metric(&metrics, "shipper_push_total{status=\"500\"}"), 1.0);
    assert_at_rest(&metrics);
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let dir = tempfile::tempdir().unwrap();
    let later = ResponseTemplate::new(429).insert_header("Retry-After", "1");
    let loki = Loki::start([Scripted { answer: later, stores: |_| false }]).await;
    let mut rig = Rig::start(dir.path(), &loki.url(), retry()).await;
    let started = tokio::time::Instant::now();
    rig.line(NOW, "a").await;
    rig.end().await;
    // Our own delay would have been 10 ms.
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(loki.stored(), ["a"]);
}

#[tokio::test]
async fn what_is_too_large_is_halved_until_it_fits_or_can_not_be_halved() {
    let dir = tempfile::tempdir().unwrap();
    let large = || {
        refuse(
            500,
            "rpc error: code = ResourceExhausted desc = grpc: received message larger than max (5 vs. 4)",
        )
    };
    let loki = Loki::start([large(), refuse(413, ""), refuse(413, "")]).await;
    let mut rig = Rig::start(dir.path(), &loki.url(), retry()).await;
    for text in ["a", "b", "c", "d"] {
        rig.line(NOW, text).await;
    }
    let metrics = rig.metrics.clone();
    rig.end().await;
    let mut all: Vec<String> =
        dead(dir.path()).into_iter().map(|(_, line)| line).chain(loki.stored()).collect();
    all.sort();
    assert_eq!(all, ["a", "b", "c", "d"]);
    assert_eq!(committed(dir.path()).await, 4);
    assert_at_rest(&metrics);
}

#[tokio::test]
async fn a_loki_that_refuses_us_holds_everything_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let loki = Loki::start((0..5).map(|_| refuse(401, "no org id\n"))).await;
    let slow = retry::Config { max: Duration::from_millis(200), ..retry() };
    let mut rig = Rig::start(dir.path(), &loki.url(), slow).await;
    rig.line(NOW, "a").await;
    rig.until("held", |metrics| metrics.loki_held.get() == 1).await;
    rig.line(NOW, "b").await;
    rig.until("let in", |metrics| metrics.lines.in_flight() == 0).await;
    assert_eq!(rig.metrics.loki_held.get(), 0);
    assert_eq!(loki.stored(), ["a", "b"]);
    assert_at_rest(&rig.metrics.clone());
    rig.end().await;
}

#[tokio::test]
async fn while_loki_is_away_the_source_waits_and_all_arrives_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    // A port that was free a moment ago: connections to it are refused.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap();
    drop(port);
    let small = retry::Config { max_items: 2, ..retry() };
    let mut rig = Rig::start(dir.path(), &format!("http://{address}"), small).await;
    // Five of these fill a batch; then the queues fill up, and the source is made to wait.
    let text = "x".repeat(200_000);
    let mut sent = 0;
    while tokio::time::timeout(Duration::from_millis(500), rig.line(NOW, &text)).await.is_ok() {
        sent += 1;
        assert!(sent < 200, "nothing made the source wait");
    }
    assert!(rig.metrics.retry_queue_items.get() <= 2);
    assert!(metric(&rig.metrics, "shipper_push_total{status=\"connection\"}") > 0.0);

    let listener = std::net::TcpListener::bind(address).unwrap();
    let server = wiremock::MockServer::builder().listener(listener).start().await;
    wiremock::Mock::given(wiremock::matchers::any())
        .respond_with(ResponseTemplate::new(204))
        .mount(&server)
        .await;
    rig.until("delivered", |metrics| metrics.lines.in_flight() == 0).await;
    assert_eq!(metric(&rig.metrics, "shipper_lines_delivered_total"), f64::from(sent));
    rig.end().await;
    assert_eq!(committed(dir.path()).await, sent);
}

#[tokio::test]
async fn a_full_queue_that_must_not_pause_gives_up_its_oldest_into_the_dead_letters() {
    let dir = tempfile::tempdir().unwrap();
    let loki = Loki::start((0..1000).map(|_| refuse(500, ""))).await;
    let minute = Duration::from_secs(60);
    let config =
        retry::Config { max_items: 1, initial: minute, max: minute, when_full: WhenFull::Oldest, ..retry() };
    let mut rig = Rig::start(dir.path(), &loki.url(), config).await;
    for (number, text) in ["a", "b", "c"].into_iter().enumerate() {
        rig.line(NOW, text).await;
        rig.until("tried", |metrics| metric(metrics, "shipper_push_total{status=\"500\"}") > number as f64)
            .await;
    }
    rig.until("evicted", |metrics| metrics.dead_letters.get() == 2).await;
    let given_up: Vec<String> = dead(dir.path()).into_iter().map(|(_, line)| line).collect();
    assert_eq!(given_up, ["a", "b"]);
    rig.shutdown.give_up.cancel();
    assert_eq!(rig.end().await.lines, 1);
    assert_eq!(committed(dir.path()).await, 2);
}

#[tokio::test]
async fn a_line_that_ages_while_it_waits_is_not_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let loki = Loki::start([refuse(500, "")]).await;
    let slow = retry::Config { initial: Duration::from_millis(200), max: Duration::from_secs(1), ..retry() };
    let mut rig = Rig::start(dir.path(), &loki.url(), slow).await;
    rig.line(NOW - 1000 * SECOND, "old").await;
    rig.line(NOW, "young").await;
    rig.until("waiting", |metrics| metrics.retry_queue_items.get() == 1).await;
    rig.clock.advance(Duration::from_secs(7 * 24 * 3600 - 500));
    let metrics = rig.metrics.clone();
    rig.end().await;
    assert_eq!(loki.stored(), ["young"]);
    assert_eq!(dead(dir.path()), [("too_old".to_owned(), "old".to_owned())]);
    assert_at_rest(&metrics);
}

#[tokio::test]
async fn a_container_that_is_gone_leaves_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let loki = Loki::start([]).await;
    let mut rig = Rig::start(dir.path(), &loki.url(), retry()).await;
    rig.line(NOW, "a").await;
    rig.until("committed", |metrics| metrics.checkpoint_entries.get() == 1).await;
    rig.item(Item::Gone(container().id.clone())).await;
    rig.until("forgotten", |metrics| metrics.checkpoint_entries.get() == 0).await;
    rig.end().await;
    assert_eq!(committed(dir.path()).await, 0);
}
