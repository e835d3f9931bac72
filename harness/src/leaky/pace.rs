//! How many a leaking process should hold at a moment: pure.

use std::time::Duration;

use clap::ValueEnum;

/// What a pace is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Per {
    /// So many a minute, on a clock that never stops
    Minute,
    /// So many for each POST to /event
    Event,
}

/// What becomes of what has grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// It grows for ever
    Leak,
    /// It grows to --height and stays there, as a pool that opens
    Warmup,
    /// It grows to --height, is given back at once, and grows again
    Sawtooth,
}

/// So many of each.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Each<T> {
    /// File descriptors.
    pub fds: T,
    /// Threads.
    pub threads: T,
    /// Asynchronous tasks.
    pub tasks: T,
}

/// What to hold, and when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// So many more of each, per minute or per event; not negative.
    pub paces: Each<f64>,
    /// Of which.
    pub per: Per,
    /// What becomes of them.
    pub shape: Shape,
    /// Where a warm-up ends and a sawtooth falls; above zero.
    pub height: u32,
}

impl Plan {
    /// How many to hold at this time since the start, after so many events.
    #[must_use]
    pub fn wanted(&self, elapsed: Duration, events: u64) -> Each<usize> {
        let periods = match self.per {
            Per::Minute => elapsed.as_secs_f64() / 60.0,
            Per::Event => events as f64,
        };
        let wanted = |pace: f64| self.shaped(whole(pace * periods));
        let Each { fds, threads, tasks } = self.paces;
        Each { fds: wanted(fds), threads: wanted(threads), tasks: wanted(tasks) }
    }

    fn shaped(&self, grown: usize) -> usize {
        let height = usize::try_from(self.height.max(1)).unwrap_or(usize::MAX);
        match self.shape {
            Shape::Leak => grown,
            Shape::Warmup => grown.min(height),
            Shape::Sawtooth => grown % height,
        }
    }
}

/// Whole units: half a descriptor is none.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates")]
fn whole(units: f64) -> usize {
    units.floor() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(per: Per, shape: Shape) -> Plan {
        Plan { paces: Each { fds: 30.0, threads: 0.0, tasks: 0.5 }, per, shape, height: 20 }
    }

    fn after(plan: &Plan, seconds: u64, events: u64) -> (usize, usize, usize) {
        let Each { fds, threads, tasks } = plan.wanted(Duration::from_secs(seconds), events);
        (fds, threads, tasks)
    }

    #[test]
    fn a_leak_follows_the_clock_and_no_other_resource_grows() {
        let plan = plan(Per::Minute, Shape::Leak);
        assert_eq!(after(&plan, 0, 99), (0, 0, 0));
        assert_eq!(after(&plan, 90, 99), (45, 0, 0));
        assert_eq!(after(&plan, 3600, 0), (1800, 0, 30));
    }

    #[test]
    fn a_leak_per_event_follows_the_events_alone() {
        let plan = plan(Per::Event, Shape::Leak);
        assert_eq!(after(&plan, 3600, 0), (0, 0, 0));
        assert_eq!(after(&plan, 0, 5), (150, 0, 2));
    }

    #[test]
    fn a_warm_up_stays_at_its_height_and_a_sawtooth_falls_from_it() {
        let heights =
            |shape| [0, 38, 40, 42, 3600].map(|second| after(&plan(Per::Minute, shape), second, 0).0);
        assert_eq!(heights(Shape::Warmup), [0, 19, 20, 20, 20]);
        assert_eq!(heights(Shape::Sawtooth), [0, 19, 0, 1, 0]);
    }
}
