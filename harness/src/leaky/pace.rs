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

/// So many of each class.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Each<T> {
    /// Open files.
    pub fds: T,
    /// Sockets with a peer.
    pub sockets: T,
    /// Pipes, each with both of its ends.
    pub pipes: T,
    /// Inotify instances.
    pub inotify: T,
    /// Watches of one more inotify instance.
    pub watches: T,
    /// Threads.
    pub threads: T,
    /// Asynchronous tasks.
    pub tasks: T,
    /// Mappings of memory.
    pub maps: T,
    /// Mebibytes of memory, written to.
    pub memory: T,
}

impl<T> Each<T> {
    /// Something else of each.
    pub fn map<U>(self, of: impl Fn(T) -> U) -> Each<U> {
        let Self { fds, sockets, pipes, inotify, watches, threads, tasks, maps, memory } = self;
        Each {
            fds: of(fds),
            sockets: of(sockets),
            pipes: of(pipes),
            inotify: of(inotify),
            watches: of(watches),
            threads: of(threads),
            tasks: of(tasks),
            maps: of(maps),
            memory: of(memory),
        }
    }

    /// Each with its name on the command line.
    pub fn named(&mut self) -> [(&'static str, &mut T); 9] {
        let Self { fds, sockets, pipes, inotify, watches, threads, tasks, maps, memory } = self;
        [
            ("fds", fds),
            ("sockets", sockets),
            ("pipes", pipes),
            ("inotify", inotify),
            ("watches", watches),
            ("threads", threads),
            ("tasks", tasks),
            ("maps", maps),
            ("memory", memory),
        ]
    }
}

/// What to hold, and when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// So many of each from the start on, whatever becomes of the rest.
    pub held: Each<usize>,
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
        let mut wanted = self.paces.map(|pace| self.shaped(whole(pace * periods)));
        let mut held = self.held;
        for ((_, wanted), (_, held)) in wanted.named().into_iter().zip(held.named()) {
            *wanted += *held;
        }
        wanted
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
        let paces = Each { fds: 30.0, tasks: 0.5, ..Each::default() };
        Plan { held: Each::default(), paces, per, shape, height: 20 }
    }

    fn after(plan: &Plan, seconds: u64, events: u64) -> (usize, usize, usize) {
        let Each { fds, threads, tasks, .. } = plan.wanted(Duration::from_secs(seconds), events);
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

    #[test]
    fn what_is_held_from_the_start_is_no_part_of_what_becomes_of_the_rest() {
        let held = Each { fds: 100, maps: 3, ..Each::default() };
        let plan = Plan { held, ..plan(Per::Minute, Shape::Sawtooth) };
        assert_eq!([0, 38, 40].map(|second| after(&plan, second, 0).0), [100, 119, 100]);
        assert_eq!(plan.wanted(Duration::from_secs(60), 0).maps, 3);
    }
}
