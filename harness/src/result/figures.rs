//! What a target does beside growing: how much waits in it, what is refused, what it asks and reads.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Count, Moment};

/// A figure of a target's activity, from its start to the end of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Items that wait in its retry queue at the end.
    Queue,
    /// Pushes that its sink refused, per minute; one that comes again is no other one.
    RejectedPushes,
    /// Requests to the engine, per minute.
    DockerRequests,
    /// Lines read, per minute.
    LinesRead,
}

impl Figure {
    /// All of them, in the order in which reports show them.
    pub const ALL: [Self; 4] = [Self::Queue, Self::RejectedPushes, Self::DockerRequests, Self::LinesRead];

    /// Its key in files.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::RejectedPushes => "rejected_pushes",
            Self::DockerRequests => "docker_requests",
            Self::LinesRead => "lines_read",
        }
    }

    /// The head of its column.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Queue => "Retry queue",
            Self::RejectedPushes => "Rejected pushes/min",
            Self::DockerRequests => "Requests to Docker/min",
            Self::LinesRead => "Lines read/min",
        }
    }

    /// Whether it is so many a minute.
    #[must_use]
    pub fn is_rate(self) -> bool {
        self != Self::Queue
    }

    /// The column that it comes from.
    #[must_use]
    pub fn count(self) -> Count {
        match self {
            Self::Queue => Count::Queue,
            Self::RejectedPushes => Count::RejectedPushes,
            Self::DockerRequests => Count::DockerRequests,
            Self::LinesRead => Count::LinesRead,
        }
    }

    /// Its value over these samples; `None` where it was not sampled, or but once.
    #[must_use]
    pub fn value<'a>(self, samples: impl Iterator<Item = Moment<'a>>) -> Option<f64> {
        let count = self.count();
        let mut seen = samples.filter_map(|sample| Some((sample.elapsed_s(), sample.count(count)?)));
        let (from_s, first) = seen.next()?;
        // What it did before the first look counts as well.
        let (mut to_s, mut last, mut more) = (from_s, first, first);
        for (at_s, count) in seen {
            // A process that was started again counts from zero.
            more += count.checked_sub(last).unwrap_or(count);
            (to_s, last) = (at_s, count);
        }
        let minutes = (to_s - from_s) / 60.0;
        if self.is_rate() { (minutes > 0.0).then(|| more as f64 / minutes) } else { Some(last as f64) }
    }
}

/// What a figure is held to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bar {
    /// It must be more than this: what a control must show.
    Above(f64),
    /// It must be less than this.
    Below(f64),
}

impl Bar {
    /// Whether a value is on its right side.
    #[must_use]
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::Above(bar) => value > bar,
            Self::Below(bar) => value < bar,
        }
    }

    /// In words, without the figure.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Self::Above(bar) => format!("must be above {bar}"),
            Self::Below(bar) => format!("must be below {bar}"),
        }
    }
}

/// A figure of one target, and what it is held to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FigureResult {
    /// The figure; `None` where it is held to something and was not sampled.
    pub value: Option<f64>,
    /// What it is held to, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bar: Option<Bar>,
}

impl FigureResult {
    /// Whether it is as it must be; `None` where it must be nothing.
    #[must_use]
    pub fn holds(&self) -> Option<bool> {
        Some(self.value.is_some_and(|value| self.bar.is_some_and(|bar| bar.holds(value))))
            .filter(|_| self.bar.is_some())
    }

    /// Whether it was seen to be above what it must be below.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        matches!((self.bar, self.value), (Some(Bar::Below(bar)), Some(value)) if value >= bar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{Sample, Samples};

    #[test]
    fn a_figure_is_a_level_or_a_rate_over_all_lives_of_a_process() {
        let rows = [(0, 5), (30, 65), (60, 125), (90, 10), (120, 70)];
        let samples: Samples = rows
            .into_iter()
            .map(|(second, count): (u32, u64)| Sample {
                queue: Some(count),
                lines_read: Some(count),
                ..Sample::unread(f64::from(second), "t")
            })
            .collect();
        let value = |figure: Figure| figure.value(samples.moments("t"));
        assert_eq!(value(Figure::Queue), Some(70.0));
        assert_eq!(value(Figure::LinesRead), Some((5.0 + 60.0 + 60.0 + 10.0 + 60.0) / 2.0));
        assert_eq!(value(Figure::DockerRequests), None, "nobody counts them");
    }

    #[test]
    fn a_bar_holds_on_one_side_and_what_was_not_seen_holds_nothing() {
        let held = |value, bar| FigureResult { value, bar };
        let (above, below) = (Some(Bar::Above(9.0)), Some(Bar::Below(9.0)));
        assert_eq!(held(Some(10.0), above).holds(), Some(true));
        assert_eq!(held(Some(9.0), above).holds(), Some(false));
        assert_eq!(held(Some(8.0), below).holds(), Some(true));
        assert_eq!((held(None, below).holds(), held(None, above).holds()), (Some(false), Some(false)));
        assert_eq!(held(Some(8.0), None).holds(), None);
        let passed =
            [held(Some(9.0), below), held(Some(8.0), below), held(Some(8.0), above), held(None, below)];
        assert_eq!(passed.map(|held| held.is_passed()), [true, false, false, false]);
    }
}
