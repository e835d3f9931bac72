//! The end, also while Loki is down: within the deadline, and nothing is lost by it.

use std::time::Duration;

use shipper::metrics::Metrics;
use shipper::record::Item;

use crate::support::loki::{Loki, refuse};
use crate::support::rig::{NOW, Rig, committed, container, dead, named, retry};
use crate::support::sink::{Act, Sink};

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
async fn lines_of_a_removed_container_that_could_not_be_delivered_become_dead_letters() {
    for act in [Act::Refuse("503 Service Unavailable", &[], ""), Act::Hang] {
        let dir = tempfile::tempdir().unwrap();
        let down = Sink::start();
        down.mood(act);
        let mut rig = Rig::start(dir.path(), &down.url(), retry()).await;
        let stays = named('e', "stays");
        rig.line(NOW, "nobody can read this again").await;
        rig.line_of(&stays, NOW, "this is read again").await;
        rig.item(Item::Gone(container().id.clone())).await;
        let tried = |metrics: &Metrics| metrics.retry_queue_items.get() + metrics.push_in_flight.get() > 0;
        rig.until("tried", |metrics| tried(metrics) && metrics.lines.in_flight() == 2).await;
        // Whatever waits for its first turn when the end comes is not forgotten.
        rig.line_of(&stays, NOW, "nor was this ever sent").await;
        let left = rig.give_up().await;
        assert_eq!((left.lines, left.gone_containers), (2, 0));
        let expected = ("given_up".to_owned(), "nobody can read this again".to_owned());
        assert_eq!(dead(dir.path()), [expected]);
        assert_eq!(committed(dir.path()).await, 0);
    }
}
