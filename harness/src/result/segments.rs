//! The stretches of a run: its phases, and the segments of one that was killed and went on.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A stretch of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// `start`, `history`, `warmup`, `load`, `drain`; [`Phase::GAP`] between two segments.
    pub name: String,
    /// Its start, seconds since the run's start.
    pub from_s: f64,
    /// Its end.
    pub to_s: f64,
}

impl Phase {
    /// Nobody looked: the run had been killed and had not gone on yet.
    pub const GAP: &str = "gap";
}

/// A stretch of the run between two deaths of flatline: from its containers to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Its containers' label, with the process id of the flatline that ran it.
    pub run_id: String,
    /// When it began, RFC 3339 in UTC.
    pub started_at: Timestamp,
    /// Which life of the machine it ran in.
    pub boot_id: String,
    /// When it began by that life's clock, seconds since the machine was started.
    pub boot_s: f64,
    /// Its start, seconds since the run's start.
    pub from_s: f64,
    /// Its end; its start while it goes on.
    pub to_s: f64,
    /// How it ended, in the words of [`Manifest::ended`](super::Manifest::ended), and `killed` or `machine restarted`.
    pub ended: String,
}

/// Lines that no audit covers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unaccounted {
    /// They were written from here on, seconds since the run's start.
    pub from_s: f64,
    /// Up to here.
    pub to_s: f64,
    /// Why nobody can account for them.
    pub why: String,
}
