//! What the kernel refuses: inotify's limits, and files that are none.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use shipper::docker::known::{Born, Change};
use shipper::source::hybrid;
use shipper::source::position::{Resume, Start};

use crate::support::disk::{Disk, Source, settle, texts, until};

/// No tick within any test's life.
const NEVER: Duration = Duration::from_secs(3600);

async fn without_ticks(disk: &Disk) -> Source {
    let begin = (Born::AfterUs, Start::End, Resume::new());
    Source::start_with(disk, begin, NEVER, hybrid::Limits::default()).await
}

async fn follow(source: &Source, disk: &Disk) {
    let container = Arc::clone(&disk.container);
    source.tell(Change::Started { container, born: Born::AfterUs }).await;
}

#[tokio::test]
async fn an_overflow_of_the_kernels_queue_makes_everything_be_looked_at() {
    let mut quiet = Disk::new();
    let mut noisy = Disk::beneath(Arc::clone(&quiet.root), 1);
    let mut source = without_ticks(&noisy).await;
    follow(&source, &quiet).await;
    for disk in [&mut noisy, &mut quiet] {
        disk.lines(0..1);
        assert_eq!(source.texts(1).await, texts(0..1));
    }
    settle().await;
    let queue: usize =
        fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    // The kernel merges an event with an equal one before it: two files in turn give one each.
    let others = [1, 2].map(|number| noisy.folder().join(format!("other-{number}")));
    for _ in 0..=queue / 2 {
        for other in &others {
            fs::write(other, "x").unwrap();
        }
    }
    quiet.lines(1..2);
    assert_eq!(source.texts(1).await, texts(1..2));
    until(|| source.metrics.inotify_overflows.get() == 1).await;
}

#[tokio::test]
async fn a_change_that_inotify_does_not_tell_is_found_by_the_tick() {
    let mut disk = Disk::new();
    let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
    until(|| source.metrics.inotify_watches.get() == 1).await;
    // The folder is replaced: what happens in the new one, the watch does not see.
    fs::rename(disk.folder(), disk.root.path().join("moved")).unwrap();
    fs::create_dir(disk.folder()).unwrap();
    disk.lines(0..3);
    assert_eq!(source.texts(3).await, texts(0..3));
}

/// Tells a test's own process from the one that it runs itself in.
const WITHIN: &str = "FLATLINE_TEST_WITHIN";

/// Runs this very test once more, in a user namespace with a limit of its own, and asserts that it passes
/// there. Whether this is that run.
fn within(limit: &str, value: u32, test: &str) -> bool {
    if std::env::var_os(WITHIN).is_some() {
        return true;
    }
    let set = format!("echo {value} > /proc/sys/user/{limit} && exec \"$0\" \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", &set]);
    command.arg(std::env::current_exe().unwrap()).env(WITHIN, limit);
    let output = command.args(["--exact", &format!("hybrid::limits::{test}")]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{complained}");
    false
}

#[tokio::test]
async fn without_an_inotify_instance_logs_are_polled() {
    if !within("max_inotify_instances", 0, "without_an_inotify_instance_logs_are_polled") {
        return;
    }
    let mut disk = Disk::new();
    disk.lines(0..1);
    let mut source = without_ticks(&disk).await;
    assert_eq!(source.texts(1).await, texts(0..1));
    assert_eq!((source.metrics.inotify_watches.get(), source.metrics.polled_containers.get()), (0, 1));
    for number in 1..3 {
        settle().await;
        disk.lines(number..number + 1);
        assert_eq!(source.texts(1).await, texts(number..number + 1));
        disk.rotate();
    }
    source.tell(Change::Removed(disk.container.id.clone())).await;
    until(|| source.metrics.polled_containers.get() == 0).await;
}

#[tokio::test]
async fn when_watches_are_used_up_the_others_are_polled_until_one_is_given_back() {
    let own = "when_watches_are_used_up_the_others_are_polled_until_one_is_given_back";
    if !within("max_inotify_watches", 1, own) {
        return;
    }
    let mut disks = vec![Disk::new()];
    for number in 1..3 {
        disks.push(Disk::beneath(Arc::clone(&disks[0].root), number));
    }
    let mut source = Source::start(&disks[0], Born::AfterUs, Start::End, Resume::new()).await;
    for disk in &disks[1..] {
        follow(&source, disk).await;
    }
    until(|| source.metrics.polled_containers.get() == 2).await;
    for round in 0..2 {
        settle().await;
        for disk in &mut disks {
            disk.lines(round..round + 1);
            assert_eq!(source.texts(1).await, texts(round..round + 1));
        }
    }
    assert_eq!((source.metrics.inotify_watches.get(), source.metrics.inotify_failures.get()), (1, 2));
    source.tell(Change::Removed(disks[0].container.id.clone())).await;
    until(|| source.metrics.polled_containers.get() == 1 && source.metrics.inotify_watches.get() == 1).await;
}

#[tokio::test]
async fn what_is_no_regular_file_is_not_opened_and_the_log_is_read_once_it_is_there() {
    let mut disk = Disk::new();
    let make: [fn(&Disk); 4] = [
        |disk| mknodat(CWD, disk.log(), FileType::Fifo, Mode::RWXU, 0).unwrap(),
        |disk| {
            let null = rustix::fs::makedev(1, 3);
            mknodat(CWD, disk.log(), FileType::CharacterDevice, Mode::RWXU, null).unwrap();
        },
        |disk| fs::create_dir(disk.log()).unwrap(),
        |disk| symlink("/proc/self/environ", disk.log()).unwrap(),
    ];
    let mut source = Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await;
    for (round, make) in (0..).zip(make) {
        make(&disk);
        settle().await;
        assert_eq!(source.metrics.open_files.get(), 0);
        fs::remove_file(disk.log()).or_else(|_| fs::remove_dir(disk.log())).unwrap();
        disk.lines(round..round + 1);
        assert_eq!(source.texts(1).await, texts(round..round + 1));
        fs::remove_file(disk.log()).unwrap();
        until(|| source.metrics.open_files.get() == 0).await;
    }
}
