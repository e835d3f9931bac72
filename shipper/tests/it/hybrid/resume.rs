//! Which file is which: what a restart finds, and what is not to be mistaken.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, UNIX_EPOCH};

use shipper::docker::known::Born;
use shipper::record::{FileIdentity, Position};
use shipper::source::position::{Resume, Start};

use crate::support::disk::{Disk, Source, texts, until};

/// A head of more than a kilobyte that two files have in common.
fn same_head(disk: &mut Disk) {
    for number in 0..20 {
        disk.write_at("stdout", &format!("line {number}\n"), 1);
    }
}

#[tokio::test]
async fn a_log_that_regrew_past_the_offset_with_the_same_head_is_not_mistaken_after_a_restart() {
    let mut disk = Disk::new();
    same_head(&mut disk);
    disk.lines(20..30);
    let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
    let mut position = None;
    for _ in 0..25 {
        position = Some(source.line().await.position);
    }
    source.end().await;
    disk.empty();
    same_head(&mut disk);
    disk.lines(20..40);
    let mut source = Source::resume(&disk, position.unwrap()).await;
    assert_eq!(source.texts(40).await, texts(0..40));
    assert_eq!(source.metrics.resume_lost.get(), 1);
}

#[tokio::test]
async fn a_log_that_regrew_past_the_offset_with_the_same_head_is_not_mistaken_while_it_is_read() {
    let mut disk = Disk::new();
    same_head(&mut disk);
    disk.lines(20..30);
    let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
    assert_eq!(source.texts(30).await, texts(0..30));
    disk.empty();
    same_head(&mut disk);
    disk.lines(20..40);
    assert_eq!(source.texts(40).await, texts(0..40));
    assert_eq!(source.metrics.file_truncations.get(), 1);
}

#[tokio::test]
async fn what_was_not_read_of_a_log_that_is_copied_and_emptied_is_read_from_the_copy() {
    let mut disk = Disk::new();
    disk.lines(0..3);
    let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
    assert_eq!(source.texts(3).await, texts(0..3));
    for round in 1..4 {
        disk.lines(round * 10 - 7..round * 10);
        disk.copy_and_empty();
        disk.lines(round * 10..round * 10 + 3);
        assert_eq!(source.texts(10).await, texts(round * 10 - 7..round * 10 + 3));
    }
    assert_eq!(source.metrics.file_truncations.get(), 3);
    assert_eq!(source.metrics.resume_lost.get(), 0);
    assert!(source.end().await.is_empty());
}

#[tokio::test]
async fn a_log_that_was_copied_and_emptied_during_a_stop_is_gone_on_with_in_the_copy() {
    let mut disk = Disk::new();
    disk.lines(0..10);
    let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
    let mut position = None;
    for _ in 0..4 {
        position = Some(source.line().await.position);
    }
    source.end().await;
    disk.copy_and_empty();
    disk.lines(10..40);
    let mut source = Source::resume(&disk, position.unwrap()).await;
    assert_eq!(source.texts(36).await, texts(4..40));
    assert_eq!(source.metrics.resume_lost.get(), 0);
}

#[tokio::test]
async fn an_inode_that_is_used_again_does_not_hide_the_generations_before_it() {
    let mut disk = Disk::new();
    disk.lines(0..10);
    disk.rotate();
    disk.lines(10..20);
    // The file of the checkpoint was rotated away, and the newest one has got its inode.
    let inode = fs::metadata(disk.log()).unwrap();
    let identity = FileIdentity { dev: inode.dev(), ino: inode.ino(), head_len: 40, head_hash: 1 };
    let position = Position::File { identity, offset: 400, tail_hash: Some(1), ahead: None, time_ns: None };
    let mut source = Source::resume(&disk, position).await;
    assert_eq!(source.texts(20).await, texts(0..20));
    assert_eq!(source.metrics.resume_lost.get(), 1);
}

#[tokio::test]
async fn an_inode_that_is_used_again_is_another_file() {
    let mut disk = Disk::new();
    disk.lines(0..5);
    let inode = disk.inode();
    let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
    let mut position = None;
    for _ in 0..3 {
        position = Some(source.line().await.position);
    }
    source.end().await;
    fs::remove_file(disk.log()).unwrap();
    let mut others = Vec::new();
    disk.lines(5..30);
    // The file system gives the number away again sooner or later; ext4 does at once.
    while disk.inode() != inode && others.len() < 1000 {
        let other = disk.folder().join(others.len().to_string());
        fs::rename(disk.log(), &other).unwrap();
        fs::copy(&other, disk.log()).unwrap();
        others.push(other);
    }
    assert_eq!(disk.inode(), inode, "this file system never uses an inode's number again");
    let mut source = Source::resume(&disk, position.unwrap()).await;
    assert_eq!(source.texts(25).await, texts(5..30));
    assert_eq!(source.metrics.resume_lost.get(), 1);
    fs::remove_file(disk.log()).unwrap();
    until(|| source.metrics.open_files.get() == 0).await;
    disk.lines(30..60);
    assert_eq!(source.texts(30).await, texts(30..60));
    assert!(source.end().await.is_empty());
}

#[tokio::test]
async fn a_checkpoint_of_an_earlier_version_still_tells_the_place() {
    let mut disk = Disk::new();
    disk.lines(0..5);
    let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
    source.line().await;
    let Position::File { identity, offset, .. } = source.line().await.position else { panic!() };
    source.end().await;
    let old = serde_json::json!({"file": {"identity": identity, "offset": offset}});
    let mut source = Source::resume(&disk, serde_json::from_value(old).unwrap()).await;
    assert_eq!(source.texts(3).await, texts(2..5));
    assert_eq!(source.metrics.resume_lost.get(), 0);
}

#[tokio::test]
async fn older_generations_do_not_come_back_when_the_log_is_deleted_by_hand() {
    let mut disk = Disk::new();
    disk.lines(0..3);
    disk.rotate();
    disk.lines(3..6);
    let mut source = Source::start(&disk, Born::BeforeUs, Start::End, Resume::new()).await;
    source.next().await; // its place
    disk.lines(6..7);
    assert_eq!(source.texts(1).await, texts(6..7));
    fs::remove_file(disk.log()).unwrap();
    until(|| source.metrics.open_files.get() == 0).await;
    disk.lines(7..9);
    assert_eq!(source.texts(2).await, texts(7..9));
    assert!(source.end().await.is_empty());
}

#[tokio::test]
async fn a_clock_that_is_set_back_hides_no_generation() {
    let mut disk = Disk::new();
    disk.lines(0..3);
    let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
    assert_eq!(source.texts(3).await, texts(0..3));
    disk.rotate();
    for round in 1..4 {
        disk.write_at("stdout", &format!("line {}\n", 1 + 2 * round), 1000 - i64::from(round));
        disk.rotate();
        disk.write_at("stdout", &format!("line {}\n", 2 + 2 * round), 1000 - i64::from(round));
        let earlier = UNIX_EPOCH + Duration::from_secs(1000 - u64::from(round));
        for path in [disk.log(), disk.generation(1)] {
            fs::File::open(path).unwrap().set_modified(earlier).unwrap();
        }
        assert_eq!(source.texts(2).await, texts(1 + 2 * round..3 + 2 * round));
    }
    fs::remove_file(disk.log()).unwrap();
    disk.lines(9..10);
    fs::File::open(disk.log()).unwrap().set_modified(UNIX_EPOCH).unwrap();
    assert_eq!(source.texts(1).await, texts(9..10));
    assert!(source.end().await.is_empty());
}
