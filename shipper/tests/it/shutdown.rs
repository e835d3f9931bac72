//! The end, also while Loki is down: within the deadline, and nothing is lost by it.

use std::time::Duration;

use shipper::record::Item;

use crate::support::loki::{Loki, refuse};
use crate::support::rig::{NOW, Rig, committed, container, retry};

#[tokio::test]
async fn an_end_while_loki_is_down_leaves_lines_for_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let down = Loki::start((0..100_000).map(|_| refuse(503, ""))).await;
    let mut rig = Rig::start(dir.path(), &down.url(), retry()).await;
    for number in 1..=3 {
        rig.line(NOW, &format!("line {number}")).await;
    }
    let left = rig.give_up().await;
    assert_eq!((left.lines, left.gone_containers), (3, 0));
    assert_eq!(committed(dir.path()).await, 0);

    // The next start reads from there on.
    let up = Loki::start([]).await;
    let mut rig = Rig::start(dir.path(), &up.url(), retry()).await;
    for number in committed(dir.path()).await + 1..=4 {
        rig.line(NOW, &format!("line {number}")).await;
    }
    rig.end().await;
    assert_eq!(up.stored(), ["line 1", "line 2", "line 3", "line 4"]);
    assert_eq!(committed(dir.path()).await, 4);
}

#[tokio::test]
async fn a_stop_gives_waiting_batches_one_more_attempt_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let loki = Loki::start([refuse(503, "")]).await;
    let hour = Duration::from_secs(3600);
    let patient = shipper::delivery::retry::Config { initial: hour, max: hour, ..retry() };
    let mut rig = Rig::start(dir.path(), &loki.url(), patient).await;
    rig.line(NOW, "a").await;
    rig.until("waiting", |metrics| metrics.retry_queue_items.get() == 1).await;
    rig.shutdown.stop.cancel();
    assert_eq!(rig.end().await.lines, 0);
    assert_eq!(loki.stored(), ["a"]);
}

#[tokio::test]
async fn lines_of_a_removed_container_that_could_not_be_delivered_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let down = Loki::start((0..100_000).map(|_| refuse(503, ""))).await;
    let mut rig = Rig::start(dir.path(), &down.url(), retry()).await;
    rig.line(NOW, "a").await;
    rig.until("tried", |metrics| metrics.retry_queue_items.get() == 1).await;
    rig.item(Item::Gone(container().id.clone())).await;
    // The next line takes the same way: once it waits too, the end of the container was heard.
    rig.line(NOW, "b").await;
    rig.until("both waiting", |metrics| metrics.retry_queue_items.get() == 2).await;
    rig.shutdown.give_up.cancel();
    assert_eq!(rig.end().await.gone_containers, 1);
}
