//! Deleted files: read to their end, but not held for ever.

use std::fs;
use std::time::Duration;

use bytesize::ByteSize;
use shipper::docker::known::{Born, Change};
use shipper::source::hybrid;
use shipper::source::position::{Resume, Start};

use crate::support::disk::{Disk, Source, texts, until};
use crate::support::items::Item;

const TICK: Duration = Duration::from_millis(20);

async fn held_up(disk: &Disk, limits: hybrid::Limits) -> Source {
    let source = Source::start_with(disk, (Born::AfterUs, Start::End, Resume::new()), TICK, limits).await;
    // Nobody takes its lines: the channel is full soon, and the file stays open.
    until(|| source.metrics.open_files.get() == 1 && source.metrics.queue_lines.get() == 4).await;
    source
}

#[tokio::test]
async fn a_deleted_log_that_nobody_takes_is_held_within_the_limits_and_read_to_its_end() {
    let mut disk = Disk::new();
    disk.lines(0..100);
    let mut source = held_up(&disk, hybrid::Limits::default()).await;
    let bytes = i64::try_from(disk.size()).unwrap();
    fs::remove_file(disk.log()).unwrap();
    disk.lines(100..110);
    until(|| source.metrics.deleted_bytes_held.get() == bytes).await;
    assert_eq!(source.texts(110).await, texts(0..110));
    until(|| source.metrics.deleted_bytes_held.get() == 0).await;
    assert_eq!(source.metrics.deleted_bytes_given_up.get(), 0);
}

#[tokio::test]
async fn a_deleted_log_that_nobody_takes_for_too_long_is_given_up_and_counted() {
    let mut disk = Disk::new();
    disk.lines(0..100);
    let limits = hybrid::Limits { deleted_hold_max: Duration::from_millis(50), ..Default::default() };
    given_up(disk, limits).await;
}

#[tokio::test]
async fn deleted_logs_that_take_too_much_disk_are_given_up_and_counted() {
    let mut disk = Disk::new();
    disk.lines(0..100);
    let limits = hybrid::Limits { deleted_hold_max_bytes: ByteSize(1000), ..Default::default() };
    given_up(disk, limits).await;
}

async fn given_up(mut disk: Disk, limits: hybrid::Limits) {
    let mut source = held_up(&disk, limits).await;
    let bytes = disk.size();
    fs::remove_file(disk.log()).unwrap();
    until(|| source.metrics.deleted_bytes_given_up.get() > 0).await;
    assert_eq!((source.metrics.open_files.get(), source.metrics.deleted_bytes_held.get()), (0, 0));
    disk.lines(100..103);
    let mut lines = source.texts(7).await;
    assert_eq!(lines.split_off(4), texts(100..103));
    assert_eq!(lines, texts(0..4));
    let read = bytes / 100 * 4;
    let given_up = source.metrics.deleted_bytes_given_up.get();
    assert!(given_up < bytes - read * 9 / 10 && given_up > bytes - read * 11 / 10, "{given_up} of {bytes}");
    assert_eq!(source.metrics.lines.balance(), 0);
}

#[tokio::test]
async fn a_removed_container_whose_lines_nobody_takes_is_given_up_and_leaves() {
    let mut disk = Disk::new();
    disk.lines(0..100);
    let limits = hybrid::Limits { deleted_hold_max: Duration::from_millis(50), ..Default::default() };
    let mut source = held_up(&disk, limits).await;
    fs::remove_dir_all(disk.folder()).unwrap();
    source.tell(Change::Removed(disk.container.id.clone())).await;
    until(|| source.metrics.open_files.get() == 0).await;
    assert_eq!(source.texts(4).await, texts(0..4));
    assert!(matches!(source.next().await, Item::Gone(id) if id == disk.container.id));
    assert!(source.end().await.is_empty());
}
