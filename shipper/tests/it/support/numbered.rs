//! Containers that write numbered lines to both outputs, as many as they are told, and note each pair.
//!
//! What was written is known from the container alone: behind each pair of lines (one to standard output,
//! one to standard error, of the same number) it adds a byte to a file of its own, one file for each of
//! its lives. So whatever ends it, that many pairs were written, and at most one more.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use shipper::record::ContainerId;

use crate::support::engine::{Engine, Made, Running};
use crate::support::program::until;

/// Where the folder lies in the container.
const INSIDE: &str = "/numbered";

/// One such container. Its folder outlives it.
pub(crate) struct Numbered {
    pub(crate) running: Running,
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    orders: File,
    ordered: Option<Ordered>,
}

struct Ordered {
    lives: usize,
    until: u64,
}

impl Numbered {
    /// Makes and starts it. `folder` may hold others too, `name` is its own.
    pub(crate) async fn start(engine: &Engine, folder: &Path, name: &str, made: Made) -> Self {
        let path = folder.join(format!("{name}.orders"));
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        // Open on both ends, so that neither side's coming and going means anything to the other.
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        let orders = options.open(path).unwrap();
        let made = Made { folder: Some((folder.to_owned(), INSIDE)), ..made };
        let running = engine.make(&script(name), made).await;
        engine.start(&running).await;
        Self { running, name: name.to_owned(), folder: folder.to_owned(), orders, ordered: None }
    }

    pub(crate) fn id(&self) -> &ContainerId {
        &self.running.id
    }

    /// Has it write that many pairs more. One order at a time: false while the last one is not carried
    /// out, unless the container has been started again since, which may have ended it.
    pub(crate) fn order(&mut self, pairs: u64) -> bool {
        let written = written(&self.folder, &self.name);
        let (lives, so_far) = (written.len(), written.values().sum::<u64>());
        if self.ordered.as_ref().is_some_and(|order| order.lives == lives && so_far < order.until) {
            return false;
        }
        self.ordered = Some(Ordered { lives, until: so_far + pairs });
        self.orders.write_all(format!("{pairs}\n").as_bytes()).unwrap();
        true
    }

    /// Has it write that many pairs more, and waits until it has.
    pub(crate) async fn write(&mut self, pairs: u64) {
        assert!(self.order(pairs));
        self.idle().await;
    }

    /// Waits until it has carried out the last order.
    pub(crate) async fn idle(&self) {
        until(&format!("{} is idle", self.name), || self.is_idle()).await;
    }

    /// Whether it has carried out the last order.
    pub(crate) fn is_idle(&self) -> bool {
        self.ordered.as_ref().is_none_or(|order| self.pairs() >= order.until)
    }

    /// Pairs that it has written in all its lives.
    pub(crate) fn pairs(&self) -> u64 {
        written(&self.folder, &self.name).values().sum()
    }
}

/// Pairs in each of its lives.
fn written(folder: &Path, name: &str) -> BTreeMap<u64, u64> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let lives = entries.filter_map(|entry| {
        let life = entry.file_name().to_str()?.strip_prefix(name)?.strip_prefix(".life")?.parse().ok()?;
        Some((life, entry.metadata().unwrap().len()))
    });
    lives.collect()
}

/// The lines that these containers have surely written, and the ones that they may have written besides.
pub(crate) fn all_lines(folder: &Path, names: &[String]) -> (Vec<String>, Vec<String>) {
    let (mut sure, mut perhaps) = (Vec::new(), Vec::new());
    for name in names {
        for (life, pairs) in written(folder, name) {
            sure.extend((1..=pairs).flat_map(|number| pair(name, life, number)));
            perhaps.extend(pair(name, life, pairs + 1));
        }
    }
    (sure, perhaps)
}

/// The last pair that it has written in its last life.
pub(crate) fn last_pair(writer: &Numbered) -> [String; 2] {
    let (life, pairs) = written(&writer.folder, &writer.name).pop_last().expect("it has written");
    pair(&writer.name, life, pairs)
}

fn pair(name: &str, life: u64, number: u64) -> [String; 2] {
    ["out", "err"].map(|output| format!("{name} life {life} {output} {number} {PADDING}"))
}

/// Whose line it is.
pub(crate) fn author(line: &str) -> &str {
    line.split(' ').next().unwrap()
}

/// So that a few hundred lines fill a log file.
const PADDING: &str = "................................................................";
/// What a line takes in a json-file log, at most.
pub(crate) const LOGGED_BYTES_MAX: u64 = 180;

fn script(name: &str) -> String {
    format!(
        "cd {INSIDE}; echo >> {name}.lives; life=0; while read -r _; do life=$((life+1)); done < {name}.lives; \
         exec 3>>{name}.life$life 4<>{name}.orders; i=0; \
         while read -r n <&4; do while [ $n -gt 0 ]; do i=$((i+1)); n=$((n-1)); \
         echo \"{name} life $life out $i {PADDING}\"; echo \"{name} life $life err $i {PADDING}\" >&2; \
         echo >&3; done; done"
    )
}
