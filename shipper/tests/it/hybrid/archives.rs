//! Generations that Docker has compressed.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use shipper::docker::known::{Born, Change};
use shipper::source::position::{Resume, Start};

use crate::support::disk::{Disk, Source, texts};

#[tokio::test]
async fn what_was_missed_in_three_rotations_with_compression_is_read_from_the_archives() {
    for settled in [1, 7, 10] {
        let mut disk = Disk::new();
        disk.lines(0..10);
        let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
        let mut position = None;
        for _ in 0..settled {
            position = Some(source.line().await.position);
        }
        source.end().await;
        for round in 1..4 {
            disk.rotate_and_compress(5);
            disk.lines(round * 10..round * 10 + 10);
        }
        assert!(disk.archive(3).exists());
        let mut source = Source::resume(&disk, position.unwrap()).await;
        let first = u32::try_from(settled).unwrap();
        assert_eq!(source.texts(40 - settled).await, texts(first..40));
        assert_eq!((source.metrics.resume_lost.get(), source.metrics.archives_broken.get()), (0, 0));
        disk.lines(40..41);
        assert_eq!(source.texts(1).await, texts(40..41));
        assert_eq!(source.metrics.open_files.get(), 1);
        assert!(source.end().await.is_empty());
    }
}

#[tokio::test]
async fn a_restart_in_the_midst_of_an_archive_goes_on_there() {
    let mut disk = Disk::new();
    disk.lines(0..300);
    disk.rotate_and_compress(5);
    disk.lines(300..310);
    let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
    for settled in [1, 100, 150, 50] {
        source = source.restart_behind(&disk, settled).await;
        disk.rotate_and_compress(9); // it has another name each time
    }
    assert_eq!(source.texts(9).await, texts(301..310));
    assert_eq!(source.metrics.resume_lost.get(), 0);
    assert!(source.end().await.is_empty());
}

#[tokio::test]
async fn a_rotation_that_is_compressed_meanwhile_is_not_read_twice() {
    let mut disk = Disk::new();
    disk.lines(0..3);
    let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
    assert_eq!(source.texts(3).await, texts(0..3));
    for round in 1..10 {
        // This test and the source share one thread: the source sees nothing until the next await.
        disk.lines(round * 10 - 7..round * 10);
        disk.rotate_and_compress(4);
        disk.lines(round * 10..round * 10 + 3);
        assert_eq!(source.texts(10).await, texts(round * 10 - 7..round * 10 + 3));
    }
    assert!(source.end().await.is_empty());
}

#[tokio::test]
async fn several_rotations_with_compression_between_two_reads_lose_and_repeat_nothing() {
    for max_file in [9, 5] {
        let mut disk = Disk::new();
        disk.lines(0..3);
        let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
        assert_eq!(source.texts(3).await, texts(0..3));
        for round in 1..5 {
            disk.rotate_and_compress(max_file);
            disk.lines(round * 3..round * 3 + 3);
        }
        // With `max-file=5` what the source holds open has no name any more.
        assert_eq!(source.texts(12).await, texts(3..15));
        assert!(source.end().await.is_empty());
    }
}

#[tokio::test]
async fn of_a_generation_that_is_still_being_compressed_the_plain_file_is_read() {
    let mut disk = Disk::new();
    disk.lines(0..3);
    let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
    let mut position = None;
    for _ in 0..2 {
        position = Some(source.line().await.position);
    }
    source.end().await;
    disk.rotate_within(4);
    disk.write_archive(1);
    let half = fs::read(disk.archive(1)).unwrap();
    fs::write(disk.archive(1), &half[..half.len() / 2]).unwrap();
    disk.lines(3..6);
    let mut source = Source::resume(&disk, position.unwrap()).await;
    assert_eq!(source.texts(2).await, texts(2..4));
    disk.compress(1);
    assert_eq!(source.texts(2).await, texts(4..6));
    assert_eq!(source.metrics.archives_broken.get(), 0);
    assert!(source.end().await.is_empty());
}

#[tokio::test]
async fn a_start_at_the_beginning_reads_archives_too_and_a_start_in_the_past_only_those_that_reach_it() {
    let mut disk = Disk::new();
    for (number, second) in [(0, 800), (1, 900), (2, 950), (3, 990)] {
        disk.write_at("stdout", &format!("line {number}\n"), second);
        disk.rotate_and_compress(9);
    }
    disk.write_at("stdout", "line 4\n", 999);
    let mut source = Source::start(&disk, Born::BeforeUs, Start::Beginning, Resume::new()).await;
    assert_eq!(source.texts(5).await, texts(0..5));
    source.end().await;

    fs::write(disk.archive(4), "damaged, but too old to be looked at").unwrap();
    fs::File::open(disk.archive(4)).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let start = Start::Since(Duration::from_secs(55));
    let mut source = Source::start(&disk, Born::BeforeUs, start, Resume::new()).await;
    assert_eq!(source.texts(3).await, texts(2..5));
    assert_eq!((source.skipped("before_start"), source.skipped("corrupt")), (0, 0));
}

#[tokio::test]
async fn a_damaged_archive_is_counted_and_passed_over_behind_what_it_still_holds() {
    let mut disk = Disk::new();
    disk.lines(0..4000);
    disk.rotate_and_compress(5);
    let whole = fs::read(disk.archive(1)).unwrap();
    disk.lines(4000..4002);
    for damaged in [b"no archive at all".as_slice(), &[], &whole[..whole.len() / 2]] {
        fs::write(disk.archive(1), damaged).unwrap();
        let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line| line != "line 4001") {
            lines.push(source.line().await.line);
        }
        let before = u32::try_from(lines.len() - 2).unwrap();
        assert_eq!(lines, [texts(0..before), texts(4000..4002)].concat());
        assert_eq!(before > 1000, damaged.len() > 1000);
        assert_eq!((source.metrics.archives_broken.get(), source.skipped("corrupt")), (1, 1));
        assert_eq!(source.metrics.lines.balance(), 0);
        source.end().await;
    }
}

#[tokio::test]
async fn a_checkpoint_in_the_lost_half_of_a_damaged_archive_repeats_nothing() {
    let mut disk = Disk::new();
    disk.lines(0..4000);
    let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
    let mut position = None;
    for _ in 0..3900 {
        position = Some(source.line().await.position);
    }
    source.end().await;
    disk.rotate_and_compress(5);
    let whole = fs::read(disk.archive(1)).unwrap();
    fs::write(disk.archive(1), &whole[..whole.len() / 2]).unwrap();
    disk.lines(4000..4002);
    let mut source = Source::resume(&disk, position.unwrap()).await;
    assert_eq!(source.texts(2).await, texts(4000..4002));
    assert_eq!((source.metrics.resume_lost.get(), source.metrics.archives_broken.get()), (1, 1));
}

#[tokio::test]
async fn more_archives_than_may_be_open_at_once_are_read_in_turn() {
    let mut disks = vec![Disk::new()];
    for number in 0..40 {
        disks.push(Disk::beneath(Arc::clone(&disks[0].root), number));
    }
    for disk in &mut disks {
        disk.lines(0..3000);
        disk.rotate_and_compress(3);
        disk.lines(3000..3001);
    }
    let mut source = Source::start(&disks[0], Born::AfterUs, Start::End, Resume::new()).await;
    for disk in &disks[1..] {
        let container = Arc::clone(&disk.container);
        source.tell(Change::Started { container, born: Born::AfterUs }).await;
    }
    let mut next = std::collections::HashMap::new();
    let mut open_max = 0;
    for _ in 0..disks.len() * 3001 {
        let record = source.line().await;
        let next = next.entry(record.container.id.clone()).or_insert(0);
        assert_eq!(record.line, format!("line {next}"));
        *next += 1;
        open_max = open_max.max(source.metrics.open_files.get());
    }
    assert_eq!(source.metrics.open_files.get(), 41);
    assert!(source.end().await.is_empty());
}
