//! The machine's clocks, beside each other: whether it slept, and whether somebody set the time. What is measured goes by
//! the monotonic clock, which stands still while the machine sleeps and which nobody sets.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::clock::{self, Stopwatch};
use crate::result::Event;

/// What clocks may differ by between two looks and be in step: a time server moves the wall clock by half a millisecond a
/// second.
const IN_STEP: Duration = Duration::from_millis(500);
/// They are read one after the other, and a process may have to wait in between: so long at most, or it is no reading.
const AT_ONCE: Duration = Duration::from_millis(20);
/// How often they are read for one.
const TRIES: usize = 5;

/// All of them at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reading {
    /// Seconds by the clock that goes by all that is measured.
    monotonic: Duration,
    /// Since the machine was started, time asleep included.
    boot: Duration,
    wall: Timestamp,
}

/// What has become of the clocks between two looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Oddity {
    /// The machine slept.
    Slept(Duration),
    /// The wall clock went so much further than time did.
    Set(SignedDuration),
}

impl Reading {
    /// Now, as `stopwatch` has it; `None` where this process had to wait in between each time.
    pub(super) fn now(stopwatch: Stopwatch) -> Option<Self> {
        (0..TRIES).find_map(|_| {
            let monotonic = stopwatch.elapsed();
            let reading = Self { monotonic, boot: clock::since_boot(), wall: clock::now() };
            (stopwatch.elapsed().saturating_sub(monotonic) < AT_ONCE).then_some(reading)
        })
    }

    /// What was odd since an earlier reading.
    pub(super) fn since(self, earlier: Self) -> Vec<Oddity> {
        let awake = self.monotonic.saturating_sub(earlier.monotonic);
        let passed = self.boot.saturating_sub(earlier.boot);
        let slept = passed.saturating_sub(awake);
        let wall = self.wall.duration_since(earlier.wall);
        let set = wall.saturating_sub(SignedDuration::try_from(passed).unwrap_or_default());
        let slept = (slept > IN_STEP).then_some(Oddity::Slept(slept));
        let set = (set.unsigned_abs() > IN_STEP).then_some(Oddity::Set(set));
        slept.into_iter().chain(set).collect()
    }
}

impl Oddity {
    /// Its name among the events.
    pub(super) fn event(self) -> &'static str {
        match self {
            Self::Slept(_) => Event::SLEEP,
            Self::Set(_) => "clock",
        }
    }

    /// In words.
    pub(super) fn said(self) -> String {
        match self {
            Self::Slept(lasted) => format!("the machine slept for {:.0} s", lasted.as_secs_f64()),
            Self::Set(by) => format!("the wall clock jumped by {:+.1} s", by.as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Milliseconds by each clock.
    fn reading(monotonic: u64, boot: u64, wall: i64) -> Reading {
        Reading {
            monotonic: Duration::from_millis(monotonic),
            boot: Duration::from_millis(boot),
            wall: Timestamp::from_millisecond(wall).unwrap(),
        }
    }

    fn told(earlier: Reading, later: Reading) -> Vec<String> {
        later
            .since(earlier)
            .into_iter()
            .map(|oddity| format!("{}: {}", oddity.event(), oddity.said()))
            .collect()
    }

    #[test]
    fn clocks_that_go_together_are_nothing_to_tell_of_however_late_the_look() {
        let start = reading(5_000, 90_000, 1_000_000);
        assert_eq!(told(start, start), Vec::<String>::new());
        assert_eq!(told(start, reading(6_000, 91_003, 1_001_001)), Vec::<String>::new());
        assert_eq!(told(start, reading(99_000, 184_000, 1_094_047)), Vec::<String>::new());
    }

    #[test]
    fn a_sleep_is_told_by_its_length_and_is_no_jump_of_the_wall_clock() {
        let start = reading(5_000, 90_000, 1_000_000);
        assert_eq!(told(start, reading(6_000, 403_000, 1_313_000)), ["sleep: the machine slept for 312 s"]);
    }

    #[test]
    fn a_wall_clock_that_was_set_is_told_by_how_far() {
        let start = reading(5_000, 90_000, 10_000_000);
        assert_eq!(
            told(start, reading(6_000, 91_000, 6_401_000)),
            ["clock: the wall clock jumped by -3600.0 s"]
        );
        assert_eq!(
            told(start, reading(6_000, 91_000, 10_003_000)),
            ["clock: the wall clock jumped by +2.0 s"]
        );
        // After a night in which it was set as well.
        let both = told(start, reading(6_000, 28_891_000, 38_831_000));
        assert_eq!(both, ["sleep: the machine slept for 28800 s", "clock: the wall clock jumped by +30.0 s"]);
    }

    #[test]
    fn the_clocks_of_this_machine_go_together() {
        let watch = Stopwatch::start();
        let mut readings = std::iter::repeat_with(|| Reading::now(watch)).flatten();
        let (first, second) = (readings.next().unwrap(), readings.next().unwrap());
        assert!(
            second.monotonic >= first.monotonic && second.boot >= first.boot && second.boot > Duration::ZERO
        );
        assert_eq!(second.since(first), []);
    }
}
