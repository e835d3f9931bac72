//! A folder like Docker's, whose files a test writes, and the hybrid source on it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flate2::{Compression, GzBuilder};
use shipper::clock::Clock;
use shipper::docker::known::{Born, Change};
use shipper::metrics::Metrics;
use shipper::record::{Container, ContainerId, Position};
use shipper::source::position::{Resume, Start};
use shipper::source::{Inputs, hybrid};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::allowance::allowance;
use super::items::{Item, Items, Record, items};
use super::rig::{NOW, SECOND};

/// A limit that no working machine reaches.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// One container's log in a folder like Docker's.
pub struct Disk {
    pub root: Arc<tempfile::TempDir>,
    pub container: Arc<Container>,
    written: i64,
}

impl Disk {
    pub fn new() -> Self {
        Self::beneath(Arc::new(tempfile::tempdir().unwrap()), 0xab)
    }

    /// Another container in the same folder.
    pub fn beneath(root: Arc<tempfile::TempDir>, number: u8) -> Self {
        let id = ContainerId::parse(&format!("{number:02x}").repeat(32)).unwrap();
        fs::create_dir(root.path().join(id.as_str())).unwrap();
        let container = Arc::new(Container {
            id,
            name: "one".into(),
            image: String::new(),
            labels: [].into(),
            log_driver: "json-file".into(),
            log_path: None,
            log_max_bytes: Some(64 << 10),
            tty: false,
        });
        Self { root, container, written: 0 }
    }

    /// Its log is never rotated, as far as Docker says: changes may wait.
    pub fn roomy(mut self) -> Self {
        Arc::make_mut(&mut self.container).log_max_bytes = None;
        self
    }

    /// The container bears this label.
    pub fn labelled(mut self, key: &str, value: &str) -> Self {
        Arc::make_mut(&mut self.container).labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Fills the log with numbered lines of about 1,000 bytes, all of one time.
    pub fn fill(&self, name: &str, lines: usize) {
        let text = "x".repeat(1000);
        let line = |number| entry("stdout", &format!("{name} {number} {text}\n"), NOW / SECOND);
        self.raw((0..lines).map(line).collect::<String>().as_bytes());
    }

    pub fn folder(&self) -> PathBuf {
        self.root.path().join(self.container.id.as_str())
    }

    pub fn log(&self) -> PathBuf {
        self.folder().join(format!("{}-json.log", self.container.id.as_str()))
    }

    pub fn generation(&self, generation: u32) -> PathBuf {
        match generation {
            0 => self.log(),
            _ => self.folder().join(format!("{}-json.log.{generation}", self.container.id.as_str())),
        }
    }

    pub fn archive(&self, generation: u32) -> PathBuf {
        self.folder().join(format!("{}-json.log.{generation}.gz", self.container.id.as_str()))
    }

    pub fn size(&self) -> u64 {
        fs::metadata(self.log()).unwrap().len()
    }

    pub fn inode(&self) -> u64 {
        fs::metadata(self.log()).unwrap().ino()
    }

    pub fn raw(&self, bytes: &[u8]) {
        OpenOptions::new().append(true).create(true).open(self.log()).unwrap().write_all(bytes).unwrap();
    }

    pub fn write_at(&mut self, stream: &str, text: &str, second: i64) {
        self.raw(entry(stream, text, second).as_bytes());
    }

    pub fn write(&mut self, stream: &str, text: &str) {
        self.written += 1;
        self.write_at(stream, text, self.written);
    }

    /// Lines with their numbers.
    pub fn lines(&mut self, range: std::ops::Range<u32>) {
        for number in range {
            self.write("stdout", &format!("line {number}\n"));
        }
    }

    /// As Docker rotates with `max-file=3`.
    pub fn rotate(&self) {
        self.rotate_within(3);
    }

    /// As Docker rotates, compressed generations too.
    pub fn rotate_within(&self, max_file: u32) {
        for generation in (0..max_file - 1).rev() {
            let moves = [
                (self.generation(generation), self.generation(generation + 1)),
                (self.archive(generation), self.archive(generation + 1)),
            ];
            for (from, to) in moves.into_iter().filter(|(from, _)| from.exists()) {
                fs::rename(from, to).unwrap();
            }
        }
        File::create(self.log()).unwrap();
    }

    /// What Docker does with a complete generation in the background, as far as the plain file's end.
    pub fn write_archive(&self, generation: u32) {
        let content = fs::read(self.generation(generation)).unwrap();
        let last = content.windows(6).rposition(|bytes| bytes == b"time\":").map(|at| &content[at + 7..]);
        let last = last.map(|rest| rest.split(|byte| *byte == b'"').next().unwrap()).unwrap_or_default();
        let extra = format!("{{\"lastTime\":\"{}\"}}", String::from_utf8_lossy(last));
        let file = File::create(self.archive(generation)).unwrap();
        let mut encoder = GzBuilder::new().extra(extra).write(file, Compression::fast());
        encoder.write_all(&content).unwrap();
        encoder.finish().unwrap();
    }

    /// As Docker compresses.
    pub fn compress(&self, generation: u32) {
        self.write_archive(generation);
        fs::remove_file(self.generation(generation)).unwrap();
    }

    /// As Docker rotates with `compress: true`, when it is done.
    pub fn rotate_and_compress(&self, max_file: u32) {
        self.rotate_within(max_file);
        self.compress(1);
    }

    /// Emptied in place, as by `truncate -s0`.
    pub fn empty(&self) {
        OpenOptions::new().write(true).open(self.log()).unwrap().set_len(0).unwrap();
    }

    /// As logrotate does with `copytruncate`.
    pub fn copy_and_empty(&self) {
        fs::copy(self.log(), self.generation(1)).unwrap();
        self.empty();
    }
}

/// A line as Docker writes it.
pub fn entry(stream: &str, text: &str, second: i64) -> String {
    let text = serde_json::to_string(text).unwrap();
    let time = jiff::Timestamp::from_second(second).unwrap();
    format!("{{\"log\":{text},\"stream\":\"{stream}\",\"time\":\"{time}\"}}\n")
}

/// A running source.
pub struct Source {
    changes: mpsc::Sender<Change>,
    pub items: Items,
    pub metrics: Arc<Metrics>,
    pub stop: CancellationToken,
    pub task: JoinHandle<Result<(), hybrid::Error>>,
}

impl Source {
    pub async fn start(disk: &Disk, born: Born, start: Start, resume: Resume) -> Self {
        let limits = hybrid::Limits::default();
        Self::start_with(disk, (born, start, resume), Duration::from_millis(500), limits).await
    }

    pub async fn start_with(
        disk: &Disk,
        (born, start, resume): (Born, Start, Resume),
        reconcile: Duration,
        limits: hybrid::Limits,
    ) -> Self {
        let (changes, received) = mpsc::channel(64);
        let (out, items) = items(4);
        let (metrics, stop) = (Metrics::new(), CancellationToken::new());
        let config = hybrid::Config { containers_root: disk.root.path().to_owned(), reconcile, limits };
        let inputs = Inputs {
            changes: received,
            resume,
            start,
            started_ns: 1_000_000_000_000,
            clock: Clock::system(),
            out,
            allowance: allowance(4 << 20, &metrics),
            metrics: Arc::clone(&metrics),
            stop: stop.clone(),
        };
        #[expect(clippy::disallowed_methods, reason = "its handle is kept and awaited")]
        let task = tokio::spawn(hybrid::run(config, inputs));
        let source = Self { changes, items, metrics, stop, task };
        source.tell(Change::Started { container: Arc::clone(&disk.container), born }).await;
        source
    }

    /// Goes on behind `position`, as after a restart.
    pub async fn resume(disk: &Disk, position: Position) -> Self {
        let resume = Resume::from([(disk.container.id.clone(), position)]);
        Self::start(disk, Born::BeforeUs, Start::End, resume).await
    }

    pub async fn tell(&self, change: Change) {
        self.changes.send(change).await.unwrap();
    }

    pub async fn next(&mut self) -> Item {
        let item = tokio::time::timeout(PATIENCE, self.items.recv()).await;
        item.expect("the source has nothing more to say").expect("the source has ended")
    }

    pub async fn line(&mut self) -> Record {
        loop {
            match self.next().await {
                Item::Line(record) => return record,
                Item::Passed { .. } => {}
                Item::Gone(_) => panic!("the container is gone before its last line"),
            }
        }
    }

    pub async fn texts(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        while texts.len() < count {
            texts.push(self.line().await.line);
        }
        texts
    }

    /// Stops it; what it had still to say.
    pub async fn end(mut self) -> Vec<Item> {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
        let mut rest = Vec::new();
        while let Some(item) = self.items.recv().await {
            rest.push(item);
        }
        rest
    }

    /// Stops it and goes on behind the last of `count` further lines.
    pub async fn restart_behind(mut self, disk: &Disk, count: usize) -> Self {
        let mut position = None;
        for _ in 0..count {
            position = Some(self.line().await.position);
        }
        self.end().await;
        Self::resume(disk, position.unwrap()).await
    }

    /// How many stretches were passed over for this reason.
    pub fn skipped(&self, reason: &str) -> u64 {
        let page = self.metrics.render().unwrap();
        let name = format!("shipper_lines_skipped_total{{reason=\"{reason}\"}} ");
        page.lines().find_map(|line| line.strip_prefix(name.as_str())).unwrap().parse().unwrap()
    }
}

/// What `lines` writes.
pub fn texts(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| format!("line {number}")).collect()
}

pub async fn until(holds: impl Fn() -> bool) {
    let reached = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.expect("it never comes to hold");
}

/// Lets the source take what the kernel has told so far. No test fails for want of it, but some prove more.
pub async fn settle() {
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
