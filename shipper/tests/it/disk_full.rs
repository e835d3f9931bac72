//! A disk that takes nothing, for the dead letters and for the checkpoint: a real one, mounted small.

use std::path::Path;
use std::time::Duration;

use shipper::delivery::retry;
use wiremock::ResponseTemplate;

use crate::support::loki::{Loki, Scripted, refuse};
use crate::support::rig::{NOW, Rig, committed, dead, metric, retry as short};
use crate::support::small_disk::SmallDisk;

/// Some of these fill a segment's last page on the disk, and a batch.
fn long(number: u32) -> String {
    format!("{number:03} {}", "x".repeat(20_000))
}

fn dropped(rig: &Rig) -> f64 {
    metric(&rig.metrics, "shipper_lines_dropped_total")
}

/// Sends until nobody takes any more; how many were taken.
async fn send_until_it_waits(rig: &mut Rig, first: u32) -> u32 {
    let mut sent = 0;
    while tokio::time::timeout(Duration::from_millis(500), rig.line(NOW, &long(first + sent))).await.is_ok() {
        sent += 1;
        assert!(sent < 2000, "nothing made the source wait");
    }
    sent
}

async fn loki_that_refuses_all() -> Loki {
    Loki::start((0..10_000).map(|_| refuse(400, "stream '{}' has duplicate label name: 'x'\n"))).await
}

#[tokio::test]
async fn dead_letters_on_a_full_disk_make_the_source_wait_and_all_are_kept_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(&dir.path().join("dead"));
    let loki = loki_that_refuses_all().await;
    let mut rig = Rig::start(dir.path(), &loki.url(), short()).await;
    rig.line(NOW, "000").await;
    rig.until("the first is kept", |metrics| metrics.checkpoint_entries.get() == 1).await;
    disk.fill();
    rig.line(NOW, &long(1)).await;
    rig.until("the disk is full", |metrics| metrics.dead_letters_failing.get() == 1).await;
    let pushes = loki.bodies().len();
    rig.line(NOW, "002").await;
    assert_eq!(rig.metrics.dead_letters_waiting.get(), 1);
    assert_eq!((rig.metrics.dead_letters.get(), dropped(&rig)), (1, 0.0));
    assert_eq!(loki.bodies().len(), pushes, "nothing new is taken");
    assert_eq!(committed(dir.path()).await, 1, "nothing that is not kept is committed");

    disk.free();
    rig.until("kept", |metrics| metrics.dead_letters.get() == 3).await;
    assert_eq!((rig.metrics.dead_letters_failing.get(), rig.metrics.dead_letters_waiting.get()), (0, 0));
    let metrics = rig.metrics.clone();
    rig.end().await;
    let kept: Vec<String> = dead(dir.path()).into_iter().map(|(_, line)| line).collect();
    assert_eq!(kept, ["000".to_owned(), long(1), "002".to_owned()], "each once, in order");
    assert_eq!(committed(dir.path()).await, 3);
    assert_eq!((metrics.lines.in_flight(), metrics.lines.balance()), (0, 0));
}

#[tokio::test]
async fn while_the_disk_is_full_memory_stays_within_the_bounds_of_the_queues() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(&dir.path().join("dead"));
    let loki = loki_that_refuses_all().await;
    for when_full in [retry::WhenFull::Pause, retry::WhenFull::Oldest] {
        let config = retry::Config { when_full, ..short() };
        let mut rig = Rig::start(dir.path(), &loki.url(), config).await;
        disk.fill();
        rig.line(NOW, &long(0)).await;
        rig.until("the disk is full", |metrics| metrics.dead_letters_failing.get() == 1).await;
        send_until_it_waits(&mut rig, 1).await;
        assert_eq!(dropped(&rig), 0.0);
        rig.shutdown.give_up.cancel();
        drop(rig);
        disk.free();
    }
}

#[tokio::test]
async fn a_stop_while_the_disk_is_full_leaves_the_lines_for_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(&dir.path().join("dead"));
    let loki = loki_that_refuses_all().await;
    let mut rig = Rig::start(dir.path(), &loki.url(), short()).await;
    disk.fill();
    for number in 1..=3 {
        rig.line(NOW, &format!("line {number}")).await;
    }
    rig.until("the disk is full", |metrics| metrics.dead_letters_failing.get() == 1).await;
    let left = rig.give_up().await;
    assert_eq!((left.lines, left.gone_containers), (3, 0));
    assert_eq!(committed(dir.path()).await, 0);

    disk.free();
    let mut rig = Rig::start(dir.path(), &loki.url(), short()).await;
    for number in committed(dir.path()).await + 1..=3 {
        rig.line(NOW, &format!("line {number}")).await;
    }
    rig.end().await;
    let kept: Vec<String> = dead_letters_only(dir.path());
    assert_eq!(kept, ["line 1", "line 2", "line 3"]);
    assert_eq!(committed(dir.path()).await, 3);
}

fn dead_letters_only(dir: &Path) -> Vec<String> {
    dead(dir).into_iter().map(|(_, line)| line).collect()
}

#[tokio::test]
async fn dead_letters_on_a_disk_that_went_read_only_wait_too() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(&dir.path().join("dead"));
    let loki = loki_that_refuses_all().await;
    let mut rig = Rig::start(dir.path(), &loki.url(), short()).await;
    disk.set_read_only(true);
    rig.line(NOW, "a").await;
    rig.until("nothing can be written", |metrics| metrics.dead_letters_failing.get() == 1).await;
    assert_eq!((rig.metrics.dead_letters.get(), dropped(&rig)), (0, 0.0));
    disk.set_read_only(false);
    rig.end().await;
    assert_eq!(dead_letters_only(dir.path()), ["a"]);
}

#[tokio::test]
async fn what_is_refused_when_nothing_more_comes_waits_too() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(&dir.path().join("dead"));
    let answer = ResponseTemplate::new(400).set_body_string("no word").set_delay(Duration::from_millis(300));
    let loki = Loki::start([Scripted { answer, stores: |_| false }]).await;
    let mut rig = Rig::start(dir.path(), &loki.url(), short()).await;
    disk.set_read_only(true);
    rig.line(NOW, "a").await;
    let metrics = rig.metrics.clone();
    let (left, ()) = tokio::join!(rig.end(), async {
        while metrics.dead_letters_failing.get() == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        disk.set_read_only(false);
    });
    assert_eq!((left.lines, dead_letters_only(dir.path())), (0, vec!["a".to_owned()]));
}

#[tokio::test]
async fn a_checkpoint_that_can_not_be_saved_holds_nothing_up_and_is_saved_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(dir.path());
    let loki = Loki::start([]).await;
    let mut rig = Rig::start(dir.path(), &loki.url(), short()).await;
    rig.line(NOW, "1").await;
    rig.until("saved", |metrics| metrics.checkpoint_entries.get() == 1).await;
    for broken in [SmallDisk::fill, |disk: &SmallDisk| disk.set_read_only(true)] {
        broken(&disk);
        let before = rig.metrics.checkpoint_failures.get();
        rig.line(NOW, "more").await;
        rig.until("not saved", |metrics| metrics.checkpoint_failures.get() > before).await;
        assert_eq!(rig.metrics.checkpoint_failing.get(), 1);
        let saved = committed(dir.path()).await;
        rig.line(NOW, "and more").await;
        rig.until("delivered", |metrics| metrics.lines.in_flight() == 0).await;
        assert_eq!(committed(dir.path()).await, saved, "the old one is still there");
        disk.set_read_only(false);
        std::fs::remove_file(dir.path().join("ballast")).unwrap_or_default();
        rig.until("saved again", |metrics| metrics.checkpoint_failing.get() == 0).await;
    }
    rig.end().await;
    assert_eq!(loki.stored().len(), 5);
    assert_eq!(committed(dir.path()).await, 5);
}
