//! What was seen moment by moment: the rows of `samples.csv` and `events.csv`.

use serde::{Deserialize, Serialize};

/// One moment of one target: a row of `samples.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds since the run's start, from a monotonic clock.
    pub elapsed_s: f64,
    /// The target's name; `flatline` is the harness itself.
    pub target: String,
    /// Threads; empty where they could not be read.
    pub threads: Option<u64>,
    /// Asynchronous tasks alive, from the target's metrics; empty where it has none.
    pub tasks: Option<u64>,
    /// Open file descriptors.
    pub fds: Option<u64>,
    /// Resident memory, bytes.
    pub rss_bytes: Option<u64>,
    /// Memory of its control group that can't be given back, bytes; empty where its memory is not limited.
    #[serde(default)]
    pub anon_bytes: Option<u64>,
    /// CPU time used since the process's start, user and system, seconds.
    pub cpu_seconds: Option<f64>,
    /// Pushes that the target's sink has answered so far.
    pub pushes: Option<u64>,
    /// Entries that the target's sink has accepted so far.
    pub accepted: Option<u64>,
    /// Entries that the target's sink has refused so far.
    pub rejected: Option<u64>,
    /// Pushes that the target's sink has refused so far, each counted once however often it was sent again.
    #[serde(default)]
    pub rejected_pushes: Option<u64>,
    /// Pushes so far that had been refused before, byte for byte.
    #[serde(default)]
    pub repeated_pushes: Option<u64>,
    /// Connections that the target's sink has taken so far.
    #[serde(default)]
    pub connections: Option<u64>,
    /// Connections that are open at the target's sink; for the harness, at all sinks, whose ends are descriptors of its
    /// own.
    #[serde(default)]
    pub open_connections: Option<u64>,
    /// Starts of containers so far, new ones and restarts.
    #[serde(default)]
    pub starts: Option<u64>,
    /// Restarts of containers so far.
    #[serde(default)]
    pub restarts: Option<u64>,
    /// Rotations of containers' logs that were seen so far; empty where the logs can't be looked at.
    #[serde(default)]
    pub rotations: Option<u64>,
    /// Items that wait in the target's retry queue, by its own metric.
    #[serde(default)]
    pub queue: Option<u64>,
    /// Requests to the engine so far, by the target's own metric.
    #[serde(default)]
    pub docker_requests: Option<u64>,
    /// Lines that the target has read so far, by its own metric.
    #[serde(default)]
    pub lines_read: Option<u64>,
}

impl Sample {
    /// A moment at which nothing could be read.
    #[must_use]
    pub fn unread(elapsed_s: f64, target: &str) -> Self {
        Self {
            elapsed_s,
            target: target.to_owned(),
            threads: None,
            tasks: None,
            fds: None,
            rss_bytes: None,
            anon_bytes: None,
            cpu_seconds: None,
            pushes: None,
            accepted: None,
            rejected: None,
            rejected_pushes: None,
            repeated_pushes: None,
            connections: None,
            open_connections: None,
            starts: None,
            restarts: None,
            rotations: None,
            queue: None,
            docker_requests: None,
            lines_read: None,
        }
    }
}

/// Something that happened: a row of `events.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Seconds since the run's start.
    pub elapsed_s: f64,
    /// The target that it concerns; empty for all.
    pub target: String,
    /// `phase`, `churn`, `fault`, `fault_end` (of the fault that began last on the same target), `restart`,
    /// `crash`, `end`; `gap`, nobody looked, as the run had been killed; `sleep` and `clock`, the machine slept or its wall
    /// clock was set; `fail_fast`, a leak that was called at a look under load, or who is not looked at; `unreadable`,
    /// what of a watched process can't be read.
    pub event: String,
    /// What exactly.
    pub detail: String,
}

impl Event {
    /// The target was started again: its counts begin anew.
    pub const RESTART: &str = "restart";
    /// The target ended unasked: how, and what it said last.
    pub const CRASH: &str = "crash";
    /// The machine slept: nobody looked, and no time passed for those that are looked at.
    pub const SLEEP: &str = "sleep";
}
