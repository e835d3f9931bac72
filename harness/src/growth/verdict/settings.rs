//! How to judge: the limit, the warm-up, and what explains a rise.

use crate::growth::warmup::Warmup;

/// A rise that the limit allows in so many minutes is not called a leak before the series' end, where nobody says what
/// is. By the limit of 2 that is 30: 10 a minute are past it after three minutes.
const ASSUMED_MIN: f64 = 15.0;

/// How to judge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Growth per minute that is still allowed.
    pub limit_per_min: f64,
    /// What to cut from the start.
    pub warmup: Warmup,
    /// The process's own limit on the count, if there is one: to say when it is reached.
    pub process_limit: Option<u64>,
    /// How far the count may rise above where it began and be no leak.
    pub explained: Explained,
}

impl Settings {
    /// A limit and nothing else: the warm-up is found, and nothing is known of the process.
    #[must_use]
    pub fn by_limit(limit_per_min: f64) -> Self {
        Self {
            limit_per_min,
            warmup: Warmup::AtLeast { seconds: 0.0 },
            process_limit: None,
            explained: Explained::Unknown,
        }
    }
}

impl Settings {
    /// A rise that is allowed over a whole series of so many minutes, whatever its pace: the longer the series, the
    /// nearer to no growth at all.
    #[must_use]
    pub fn by_rise(rise: f64, minutes: f64) -> Self {
        let limit = rise / minutes.max(1.0);
        // As a sentence can say it: two digits, upwards.
        let unit = 10_f64.powf(1.0 - limit.log10().floor());
        Self { explained: Explained::Declared(rise), ..Self::by_limit((limit * unit).ceil() / unit) }
    }
}

/// How far a count may rise above where it began because queues, pools and caches fill. A queue that fills and a leak
/// look the same until the queue is full.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Explained {
    /// Nobody says, and nothing is assumed: what fails is decided at the end of the series.
    Unknown,
    /// Nobody says. The verdict does not ask; its moment does: a fail is early from the rise on that the limit itself
    /// allows in a quarter of an hour.
    Assumed,
    /// The target's declared bounds: no rise within them is called a leak.
    Declared(f64),
}

impl Explained {
    /// Above which rise a fail may be early; `None`: it never is.
    pub(super) fn early_rise(self, limit_per_min: f64) -> Option<f64> {
        match self {
            Self::Unknown => None,
            Self::Assumed => Some(ASSUMED_MIN * limit_per_min),
            Self::Declared(rise) => Some(rise),
        }
    }
}
