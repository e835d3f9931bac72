//! Counts by kind: which sort of descriptor, thread or task there is, which grew, and which did not come back.

use serde::{Deserialize, Serialize};

use super::{EventGrowth, is_zero};

/// What there is of one kind at one moment: a row of `fds.csv`, `threads.csv`, `tasks.csv` or `watches.csv`.
///
/// A kind that has no row at a moment at which its target has others had none then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KindCount {
    /// Seconds since the run's start.
    pub elapsed_s: f64,
    /// The target's name; `flatline` is the harness itself.
    pub target: String,
    /// Of descriptors the sort and the place (`inotify`, `socket to 127.0.0.1:3100 established`, `deleted file
    /// /var/log/*.log`), of threads the name, of tasks the labels of their metric.
    pub kind: String,
    /// How many.
    pub count: u64,
}

/// Rows of every file by kind, in order of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kinds {
    /// `tasks.csv`.
    pub tasks: Vec<KindCount>,
    /// `threads.csv`.
    pub threads: Vec<KindCount>,
    /// `fds.csv`.
    pub fds: Vec<KindCount>,
    /// `watches.csv`: inotify watches, which are no descriptors and have a limit of their own.
    pub watches: Vec<KindCount>,
    /// `memory.csv`.
    pub memory: Vec<MappedBytes>,
}

/// How much of one class is mapped at one moment: a row of `memory.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MappedBytes {
    /// Seconds since the run's start.
    pub elapsed_s: f64,
    /// The target's name.
    pub target: String,
    /// `heap`, `stack`, `thread stack`, `anonymous`, `reserved` (addresses that may not be touched), or the sort and the
    /// pattern of what is mapped (`file /usr/lib/libc.so.*`, `deleted file …`, `shared memory …`).
    pub kind: String,
    /// Bytes of address space.
    pub bytes: u64,
    /// Bytes of it in memory; empty where nobody asked for them.
    pub resident_bytes: Option<u64>,
}

impl MappedBytes {
    /// As a count of its class.
    #[must_use]
    pub fn counted(&self, count: u64) -> KindCount {
        KindCount { elapsed_s: self.elapsed_s, target: self.target.clone(), kind: self.kind.clone(), count }
    }
}

impl Kinds {
    /// Puts the rows of others behind these.
    pub fn append(&mut self, mut others: Self) {
        self.tasks.append(&mut others.tasks);
        self.threads.append(&mut others.threads);
        self.fds.append(&mut others.fds);
        self.watches.append(&mut others.watches);
        self.memory.append(&mut others.memory);
    }
}

/// One kind of a resource over the load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KindGrowth {
    /// As in the files by kind; `other` for all those that are not named.
    pub kind: String,
    /// Count when the load began.
    pub first: u64,
    /// Count when the load ended.
    pub last: u64,
    /// Largest count in between.
    pub worst: u64,
    /// Slope over the judged stretch, per minute; `None` where it was listed too seldom.
    pub growth_per_min: Option<f64>,
    /// Lower end of its 90 % interval, per minute.
    pub ci_low: Option<f64>,
    /// Upper end of its 90 % interval, per minute.
    pub ci_high: Option<f64>,
    /// Whether the interval excludes zero.
    pub significant: bool,
    /// Its part of the growth of all kinds together, 1 for all of it; `None` where it does not grow for sure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// The same growth set against each event; empty where it does not grow for sure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventGrowth>,
}

/// The kinds of everything that a process holds, those that changed most first. Of memory the counts are bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KindGrowths {
    /// Of descriptors.
    pub fds: Vec<KindGrowth>,
    /// Of threads.
    pub threads: Vec<KindGrowth>,
    /// Of tasks.
    pub tasks: Vec<KindGrowth>,
    /// Of inotify watches.
    pub watches: Vec<KindGrowth>,
    /// Of mapped memory, by class.
    pub memory: Vec<KindGrowth>,
}

/// A kind of which there is more at the end of the drain than there was before the load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptKind {
    /// As in the files by kind.
    pub kind: String,
    /// Count while idle, before the load.
    pub idle: u64,
    /// Count at the end of the drain.
    pub drained: u64,
}

impl KeptKind {
    /// How many did not come back.
    #[must_use]
    pub fn more(&self) -> u64 {
        self.drained.saturating_sub(self.idle)
    }
}

/// What the sampling missed: how far the files can be trusted to be whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// Beats of the sampling that were left out, as the look before them took too long.
    pub beats: u64,
    /// Processes that could not be listed by kind when it was their turn: gone, or not ours to look at.
    pub listings: u64,
    /// How often the machine slept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub sleeps: u64,
    /// How often its wall clock was set.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub clock_jumps: u64,
}

impl std::ops::AddAssign for Missed {
    fn add_assign(&mut self, other: Self) {
        self.beats += other.beats;
        self.listings += other.listings;
        self.sleeps += other.sleeps;
        self.clock_jumps += other.clock_jumps;
    }
}
