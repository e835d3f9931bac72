//! Design B on real files: whatever happens to them, each line comes once and in order, and everything
//! that was taken is given back.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shipper::docker::known::{Born, Change};
use shipper::metrics::Metrics;
use shipper::record::{Position, Stream};
use shipper::source::position::{Resume, Start};

use crate::support::disk::{Disk, Source, texts, until};
use crate::support::items::Item;

mod archives;
mod chunks;
mod deleted;
mod limits;
mod lines;
mod resume;

#[tokio::test]
async fn a_new_container_is_read_from_its_first_line_and_followed() {
    let mut disk = Disk::new();
    disk.write("stdout", "line 0\n");
    let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
    let first = source.line().await;
    assert_eq!((first.line.as_str(), first.stream, first.time_ns), ("line 0", Stream::Stdout, 1_000_000_000));
    disk.write("stderr", "line 1\n");
    assert_eq!(source.line().await.stream, Stream::Stderr);
}

#[tokio::test]
async fn history_is_not_replayed_and_the_place_is_told_at_once() {
    let mut disk = Disk::new();
    disk.write("stdout", "history\n");
    let mut source = Source::start(&disk, Born::BeforeUs, Start::End, Resume::new()).await;
    let Item::Passed { position: Position::File { offset, .. }, .. } = source.next().await else { panic!() };
    assert_eq!(offset, fs::metadata(disk.log()).unwrap().len());
    disk.write("stdout", "line 0\n");
    assert_eq!(source.texts(1).await, texts(0..1));
}

#[tokio::test]
async fn a_start_in_the_past_passes_over_what_is_older_and_counts_it() {
    let mut disk = Disk::new();
    disk.write_at("stdout", "too old\n", 900);
    disk.write_at("stdout", "line 0\n", 990);
    let start = Start::Since(Duration::from_secs(60));
    let mut source = Source::start(&disk, Born::BeforeUs, start, Resume::new()).await;
    assert_eq!(source.texts(1).await, texts(0..1));
    let page = source.metrics.render().unwrap();
    assert!(page.contains("shipper_lines_skipped_total{reason=\"before_start\"} 1\n"), "{page}");
    assert_eq!(source.metrics.lines.balance(), 0);
}

#[tokio::test]
async fn several_rotations_between_two_reads_lose_and_repeat_nothing() {
    let mut disk = Disk::new();
    disk.write("stdout", "line 0\n");
    let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
    assert_eq!(source.texts(1).await, texts(0..1));
    // This test and the source share one thread: the source sees nothing until the next await.
    for round in 0..2 {
        disk.write("stdout", &format!("line {}\n", 1 + 2 * round));
        disk.rotate();
        disk.write("stdout", &format!("line {}\n", 2 + 2 * round));
    }
    assert_eq!(source.texts(4).await, texts(1..5));
    disk.write("stdout", "line 5\n");
    assert_eq!(source.texts(1).await, texts(5..6));
    assert_eq!(source.metrics.open_files.get(), 1);
}

#[tokio::test]
async fn what_happens_to_a_log_while_changes_wait_is_read_behind_it() {
    let mut disk = Disk::new().roomy();
    disk.write("stdout", "line 0\n");
    let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
    assert_eq!(source.texts(1).await, texts(0..1));
    for round in 0..3 {
        disk.write("stdout", &format!("line {}\n", 1 + 4 * round));
        disk.rotate();
        disk.write("stdout", &format!("line {}\n", 2 + 4 * round));
        assert_eq!(source.texts(2).await, texts(1 + 4 * round..3 + 4 * round));
        disk.write("stdout", &format!("line {}\n", 3 + 4 * round));
        disk.copy_and_empty();
        disk.write("stdout", &format!("line {}\n", 4 + 4 * round));
        assert_eq!(source.texts(2).await, texts(3 + 4 * round..5 + 4 * round));
    }
}

#[tokio::test]
async fn a_log_that_is_unlinked_and_made_anew_is_drained_and_followed() {
    let mut disk = Disk::new();
    disk.write("stdout", "line 0\n");
    let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
    assert_eq!(source.texts(1).await, texts(0..1));
    for round in 0..20 {
        disk.write("stdout", &format!("line {}\n", 1 + 2 * round));
        fs::remove_file(disk.log()).unwrap(); // `max-file=1`
        disk.write("stdout", &format!("line {}\n", 2 + 2 * round));
        assert_eq!(source.texts(2).await, texts(1 + 2 * round..3 + 2 * round));
    }
    let deleted = open_under(disk.root.path()).into_iter().filter(|path| path.ends_with("(deleted)")).count();
    assert_eq!(deleted, 0);
}

#[tokio::test]
async fn a_log_that_is_emptied_in_place_is_read_anew_also_when_it_outgrew_the_old_offset() {
    let mut disk = Disk::new();
    disk.write("stdout", "line 0\n");
    let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
    assert_eq!(source.texts(1).await, texts(0..1));
    for (lines, from) in [(1, 1), (30, 2)] {
        OpenOptions::new().write(true).open(disk.log()).unwrap().set_len(0).unwrap();
        for number in from..from + lines {
            disk.write("stdout", &format!("line {number}\n"));
        }
        assert_eq!(source.texts(usize::try_from(lines).unwrap()).await, texts(from..from + lines));
    }
    assert_eq!(source.metrics.file_truncations.get(), 2);
}

#[tokio::test]
async fn fragments_join_per_stream_and_across_a_rotation() {
    let mut disk = Disk::new();
    disk.write("stdout", "out-a ");
    disk.write("stderr", "err-a ");
    let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
    disk.rotate();
    disk.write("stderr", "err-b\n");
    disk.write("stdout", "out-b\n");
    assert_eq!(source.texts(2).await, ["err-a err-b", "out-a out-b"]);
}

#[tokio::test]
async fn a_corrupt_stretch_is_counted_and_reading_goes_on() {
    let mut disk = Disk::new();
    disk.write("stdout", "line 0\n");
    disk.raw(&[0; 4096]);
    disk.raw(b"\nnot json\n");
    disk.raw(&vec![b'x'; 600 << 10]); // longer than any line can be
    disk.raw(b"\n");
    disk.write("stdout", "line 1\n");
    let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
    assert_eq!(source.texts(2).await, texts(0..2));
    let page = source.metrics.render().unwrap();
    assert!(page.contains("shipper_lines_skipped_total{reason=\"corrupt\"} 3\n"), "{page}");
    assert_eq!(source.metrics.lines.balance(), 0);
}

#[tokio::test]
async fn a_line_that_is_written_in_pieces_comes_when_it_is_whole() {
    let mut disk = Disk::new();
    let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
    disk.raw(br#"{"log":"line 0\n","stream":"std"#);
    tokio::task::yield_now().await;
    disk.raw(b"out\",\"time\":\"2026-11-24T14:38:18.12Z\"}\n");
    disk.write("stdout", "line 1\n");
    assert_eq!(source.texts(2).await, texts(0..2));
}

#[tokio::test]
async fn a_restart_goes_on_behind_the_last_settled_line_wherever_rotation_put_it() {
    let mut disk = Disk::new();
    for number in 0..50 {
        disk.write("stdout", &format!("line {number}\n"));
    }
    for settled in [0u32, 17, 48] {
        let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
        let mut position = None;
        for _ in 0..=settled {
            position = Some(source.line().await.position);
        }
        source.end().await;
        if settled == 17 {
            disk.rotate();
            disk.write("stdout", "line 50\n");
            disk.rotate();
            disk.write("stdout", "line 51\n");
        }
        let resume = Resume::from([(disk.container.id.clone(), position.unwrap())]);
        let mut source = Source::start(&disk, Born::BeforeUs, Start::End, resume).await;
        let last = if settled == 0 { 50 } else { 52 };
        let count = usize::try_from(last - settled - 1).unwrap();
        assert_eq!(source.texts(count).await, texts(settled + 1..last));
        assert_eq!(source.metrics.resume_lost.get(), 0);
        assert!(source.end().await.is_empty());
    }
}

#[tokio::test]
async fn a_checkpoint_whose_file_is_gone_is_counted_and_the_rest_is_read() {
    let mut disk = Disk::new();
    disk.write("stdout", "lost\n");
    let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
    let position = source.line().await.position;
    source.end().await;
    let held = fs::File::open(disk.log()).unwrap(); // or the new file may get the same inode
    fs::remove_file(disk.log()).unwrap();
    disk.write("stdout", "line 0\n");
    let resume = Resume::from([(disk.container.id.clone(), position)]);
    let mut source = Source::start(&disk, Born::BeforeUs, Start::End, resume).await;
    assert_eq!(source.texts(1).await, texts(0..1));
    assert_eq!(source.metrics.resume_lost.get(), 1);
    drop(held);
}

#[tokio::test]
async fn a_stopped_container_gives_its_file_back_and_goes_on_where_it_was() {
    let mut disk = Disk::new();
    disk.write("stdout", "line 0\n");
    disk.write("stdout", "line 1");
    let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
    source.tell(Change::Stopped(disk.container.id.clone())).await;
    assert_eq!(source.texts(2).await, texts(0..2));
    given_back(&source.metrics).await;
    assert_eq!(open_under(disk.root.path()).len(), 1, "the folder itself");
    disk.write("stdout", "line 2\n");
    source.tell(Change::Started { container: Arc::clone(&disk.container), born: Born::AfterUs }).await;
    assert_eq!(source.texts(1).await, texts(2..3));
}

#[tokio::test]
async fn a_removed_container_is_drained_and_everything_is_given_back() {
    let mut disk = Disk::new();
    disk.write("stdout", "line 0\n");
    let folder = fs::metadata(disk.folder()).unwrap().ino();
    let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
    assert_eq!(source.texts(1).await, texts(0..1));
    given(&source.metrics).await;
    assert_eq!((open_under(disk.root.path()).len(), watches_on(folder)), (2, 1));
    for number in 1..9 {
        disk.write("stdout", &format!("line {number}\n"));
    }
    fs::remove_dir_all(disk.folder()).unwrap();
    source.tell(Change::Removed(disk.container.id.clone())).await;
    assert_eq!(source.texts(8).await, texts(1..9));
    assert!(matches!(source.next().await, Item::Gone(id) if id == disk.container.id));
    assert_eq!((open_under(disk.root.path()).len(), watches_on(folder)), (1, 0));
    assert_eq!((source.metrics.open_files.get(), source.metrics.inotify_watches.get()), (0, 0));
    assert!(source.end().await.is_empty());
    assert_eq!(open_under(disk.root.path()).len(), 0);
}

/// Waits until no file is open and no folder watched.
async fn given_back(metrics: &Metrics) {
    until(|| metrics.open_files.get() == 0 && metrics.inotify_watches.get() == 0).await;
}

async fn given(metrics: &Metrics) {
    until(|| metrics.open_files.get() == 1 && metrics.inotify_watches.get() == 1).await;
}

/// What this process holds open beneath `root`.
fn open_under(root: &Path) -> Vec<String> {
    let links =
        fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    let root = root.to_str().unwrap().to_owned();
    links.map(|path| path.to_string_lossy().into_owned()).filter(|path| path.starts_with(&root)).collect()
}

/// How many inotify watches this process has on the inode.
fn watches_on(ino: u64) -> usize {
    let infos = fs::read_dir("/proc/self/fdinfo").unwrap();
    let infos = infos.filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok());
    infos.map(|info| info.matches(&format!(" ino:{ino:x} ")).count()).sum()
}
