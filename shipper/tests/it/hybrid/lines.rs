//! What a log may hold beside whole lines.

use std::sync::Arc;
use std::time::Duration;

use shipper::docker::known::{Born, Change};
use shipper::record::Stream;
use shipper::source::LINE_BYTES_MAX;
use shipper::source::join::TRUNCATION_MARK;
use shipper::source::position::{Resume, Start};

use crate::support::disk::{Disk, Source, texts};
use crate::support::items::Item;

/// Docker cuts a line into fragments of this size.
const FRAGMENT: usize = 16 << 10;

async fn from_the_beginning(disk: &Disk) -> Source {
    Source::start(disk, Born::AfterUs, Start::End, Resume::new()).await
}

/// As Docker writes a line of any length.
fn write_long(disk: &mut Disk, stream: &str, line: &str) {
    let line = format!("{line}\n");
    let mut rest = line.as_str();
    while !rest.is_empty() {
        let (fragment, next) = rest.split_at(rest.len().min(FRAGMENT));
        disk.write(stream, fragment);
        rest = next;
    }
}

#[tokio::test]
async fn a_line_of_16_kib_and_one_of_a_byte_more_are_whole() {
    let mut disk = Disk::new();
    let lines = [FRAGMENT - 1, FRAGMENT, FRAGMENT + 1, 2 * FRAGMENT].map(|bytes| "x".repeat(bytes));
    for line in &lines {
        write_long(&mut disk, "stdout", line);
    }
    let mut source = from_the_beginning(&disk).await;
    assert!(source.texts(4).await == lines, "a line is not what was written");
    assert_eq!(source.metrics.lines_truncated.get(), 0);
}

#[tokio::test]
async fn a_line_of_5_mib_is_cut_at_the_cap_and_marked_and_the_next_one_is_whole() {
    let mut disk = Disk::new();
    write_long(&mut disk, "stdout", &"x".repeat(5 << 20));
    disk.lines(0..1);
    let mut source = from_the_beginning(&disk).await;
    let long = source.line().await.line;
    assert!(long == "x".repeat(LINE_BYTES_MAX) + TRUNCATION_MARK, "{} bytes", long.len());
    assert_eq!(source.texts(1).await, texts(0..1));
    assert_eq!(source.metrics.lines_truncated.get(), 1);
}

#[tokio::test]
async fn a_zero_block_longer_than_any_line_is_counted_once_and_the_entry_behind_it_is_read() {
    // The source reads 256 KiB at a time: the entry may end in the page in which it begins, or in the next.
    for zeros in [1, 4096, 300 << 10, 1 << 20].into_iter().chain((1..20).map(|part| (256 << 10) - part * 20))
    {
        let mut disk = Disk::new();
        disk.lines(0..2);
        disk.raw(br#"{"log":"torn by a power cut"#);
        disk.raw(&vec![0; zeros]);
        disk.lines(2..4);
        let mut source = from_the_beginning(&disk).await;
        assert_eq!(source.texts(4).await, texts(0..4), "{zeros}");
        assert_eq!(source.skipped("corrupt"), 1, "{zeros}");
        assert_eq!(source.metrics.lines.balance(), 0);
    }
}

#[tokio::test]
async fn a_torn_line_that_is_never_completed_is_counted_once_whatever_comes_behind_it() {
    let torn = br#"{"log":"torn","stream":"std"#;
    // Docker goes on behind it in the same file …
    let mut disk = Disk::new();
    disk.lines(0..1);
    disk.raw(torn);
    let mut source = from_the_beginning(&disk).await;
    assert_eq!(source.texts(1).await, texts(0..1));
    source.tell(Change::Stopped(disk.container.id.clone())).await;
    source.tell(Change::Started { container: Arc::clone(&disk.container), born: Born::AfterUs }).await;
    disk.lines(1..2);
    assert_eq!(source.texts(1).await, texts(1..2));
    assert_eq!(source.skipped("corrupt"), 1);
    // … or in the next.
    disk.raw(torn);
    disk.rotate();
    disk.lines(2..3);
    assert_eq!(source.texts(1).await, texts(2..3));
    assert_eq!(source.skipped("corrupt"), 2);
    // … or with a line of its own.
    disk.raw(torn);
    disk.raw(b"\n");
    disk.lines(3..4);
    assert_eq!(source.texts(1).await, texts(3..4));
    assert_eq!(source.skipped("corrupt"), 3);
    assert_eq!(source.metrics.lines.in_flight(), 4);
    assert_eq!(source.metrics.lines.balance(), 0);
}

#[tokio::test]
async fn an_entry_without_text_is_no_line() {
    let mut disk = Disk::new();
    disk.raw(b"{\"stream\":\"stdout\",\"time\":\"1970-01-01T00:00:01Z\"}\n");
    disk.lines(0..1);
    disk.raw(b"{\"stream\":\"stdout\",\"time\":\"1970-01-01T00:00:02Z\"}\n");
    let mut source = from_the_beginning(&disk).await;
    assert_eq!(source.texts(1).await, texts(0..1));
    source.tell(Change::Removed(disk.container.id.clone())).await;
    while !matches!(source.next().await, Item::Gone(_)) {}
    assert_eq!(source.metrics.lines.in_flight(), 1);
}

#[tokio::test]
async fn the_only_line_of_a_container_comes_with_or_without_its_newline() {
    for text in ["line 0\n", "line 0"] {
        let mut disk = Disk::new();
        disk.write("stdout", text);
        let mut source = from_the_beginning(&disk).await;
        source.tell(Change::Stopped(disk.container.id.clone())).await;
        assert_eq!(source.texts(1).await, texts(0..1));
        let position = {
            disk.write("stdout", "line 1\n");
            source
                .tell(Change::Started { container: Arc::clone(&disk.container), born: Born::AfterUs })
                .await;
            source.line().await.position
        };
        source.end().await;
        let source = Source::resume(&disk, position).await;
        assert!(source.end().await.is_empty());
    }
}

#[tokio::test]
async fn fragments_of_both_streams_interleave_and_do_not_mix() {
    let mut disk = Disk::new();
    for number in 0..20 {
        disk.write("stdout", &format!("out {number} "));
        disk.write("stderr", &format!("err {number} "));
        disk.write("stdout", "goes on ");
        disk.write("stderr", "ends\n");
        disk.write("stderr", &format!("whole {number}\n"));
        disk.write("stdout", "ends\n");
    }
    let mut source = from_the_beginning(&disk).await;
    for number in 0..20 {
        let lines = [source.line().await, source.line().await, source.line().await];
        let expected = [
            (Stream::Stderr, format!("err {number} ends")),
            (Stream::Stderr, format!("whole {number}")),
            (Stream::Stdout, format!("out {number} goes on ends")),
        ];
        assert_eq!(lines.map(|line| (line.stream, line.line)), expected);
    }
}

#[tokio::test]
async fn a_line_that_was_handed_on_while_the_other_stream_had_one_open_is_not_repeated_after_a_restart() {
    let mut disk = Disk::new();
    for (stream, text) in [
        ("stdout", "a long "),
        ("stderr", "line 0\n"),
        ("stderr", "line 1\n"),
        ("stderr", "begins "),
        ("stdout", "one\n"),
        ("stderr", "and ends\n"),
        ("stdout", "line 2\n"),
    ] {
        disk.write(stream, text);
    }
    let all = ["line 0", "line 1", "a long one", "begins and ends", "line 2"];
    for settled in 1..all.len() {
        for rotated in [false, true] {
            let mut source = from_the_beginning(&disk).await;
            for restarts in 1..=settled {
                source = source.restart_behind(&disk, 1).await;
                if rotated && restarts == settled {
                    disk.rotate_within(20);
                }
            }
            assert_eq!(source.texts(all.len() - settled).await, all[settled..]);
            assert!(source.end().await.is_empty());
        }
    }
}

#[tokio::test]
async fn what_is_older_than_the_start_is_passed_over_and_each_line_counted_once() {
    let mut disk = Disk::new();
    for (second, text) in
        [(900, "old\n"), (901, "old, in "), (901, "three "), (901, "parts\n"), (902, "old \\n")]
    {
        disk.write_at("stdout", text, second);
    }
    disk.write_at("stdout", " and ended\n", 902);
    disk.write_at("stderr", "line 0\n", 990);
    disk.write_at("stdout", "old, but late\n", 903);
    disk.write_at("stdout", "line 1\n", 991);
    let start = Start::Since(Duration::from_secs(60));
    let mut source = Source::start(&disk, Born::BeforeUs, start, Resume::new()).await;
    assert_eq!(source.texts(2).await, texts(0..2));
    assert_eq!(source.skipped("before_start"), 4);
    assert_eq!(source.metrics.lines.balance(), 0);
}

#[tokio::test]
async fn a_terminals_carriage_return_is_no_part_of_a_line() {
    let mut disk = Disk::new();
    Arc::get_mut(&mut disk.container).unwrap().tty = true;
    disk.write("stdout", "line 0\r\n");
    disk.write("stdout", "line 1\r\n");
    let mut source = from_the_beginning(&disk).await;
    assert_eq!(source.texts(2).await, texts(0..2));
}
