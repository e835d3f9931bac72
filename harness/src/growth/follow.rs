//! Which event a count's growth follows: pure.
//!
//! Two questions are asked. How much grows per event: the ratio of two slopes, with the error of the count's own
//! slope. And whether the count rises *when* the event happens. A leak's unit is never given back, so it shows as a
//! rise; each sample's rise is set against the number of events about it, beside a constant for what comes by the
//! clock. An event is followed when
//!
//! - its multiple is above zero at 1 in 1,000, with an error that holds for autocorrelated residuals ([`slope`]);
//! - it accounts for half of the growth or more;
//! - beside no other event it explains far less than that one, or nothing beyond chance;
//! - and it does not itself come by the clock: what keeps an even pace can't be told from time.
//!
//! Several may be left that can't be told from each other. A count of which more than a tenth of what it gains is given
//! back follows nothing that could be said: what is taken with an event and given back soon looks the same.

use crate::growth::slope::{self, Growth, about_mean, alone, centred, coefficient, side_by_side, without};
use crate::growth::{Point, SAMPLES_MIN, quality};

/// With fewer events there is no figure for one.
const EVENTS_MIN: f64 = 10.0;
/// Rises and events are taken together over so many samples: a unit shows a sample before its event, as they are
/// looked at one after the other, or one or two behind it.
const WITHIN: usize = 3;
/// Chance that an event is taken to have to do with rises that it has nothing to do with.
const ALPHA: f64 = 0.001;
/// What part of the growth an event must account for.
const CARRIES: f64 = 0.5;
/// Of two events the one explains far more of the rises if its multiple is so many times as sure as the other's.
const SURER: f64 = 3.0;
/// What part of its growth a count may have given back.
const FALLS_MAX: f64 = 0.1;
/// A ratio is taken from so many points at most, and rises are looked at in so many at the end: an hour's samples say
/// as much as two days'.
const POINTS_MAX: usize = 4096;
/// Events that are never further than this apart from an even pace, counting from the earliest to the latest, come by
/// the clock.
const CLOCK: f64 = 2.0;

/// A count's growth and one event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Followed {
    /// How often it happened.
    pub events: f64,
    /// Growth per event, with its error.
    pub per_event: Growth,
    /// Whether the count grows when it happens; where several have it, they can't be told apart.
    pub follows: bool,
}

/// For each event, given by how often it had happened at each of the points: how much grows with it, or `None` where it
/// happened too seldom.
#[must_use]
pub fn follow(points: &[Point], events: &[Vec<f64>]) -> Vec<Option<Followed>> {
    let quantum = quality::quantum(points, 1.0);
    let per_event: Vec<Option<(f64, Growth)>> =
        events.iter().map(|counts| ratio(points, counts, quantum)).collect();
    let happened = |place: usize| per_event.get(place).copied().flatten();
    let candidates: Vec<Candidate> = events
        .iter()
        .enumerate()
        .filter(|(place, _)| happened(*place).is_some())
        .map(|(place, counts)| Candidate::new(place, latest(counts)))
        .collect();
    let followed =
        Rises::of(latest(points), quantum).map_or_else(Vec::new, |rises| rises.followed(&candidates));
    let one = |(place, found): (usize, &Option<(f64, Growth)>)| {
        found.map(|(events, per_event)| Followed { events, per_event, follows: followed.contains(&place) })
    };
    per_event.iter().enumerate().map(one).collect()
}

/// How often an event happened, and the growth per event: of count less that many per event nothing is left to grow,
/// and its error is the ratio's, as the events are known exactly.
fn ratio(points: &[Point], counts: &[f64], quantum: f64) -> Option<(f64, Growth)> {
    let events = gain(counts);
    if counts.len() != points.len() || events.is_nan() || events < EVENTS_MIN {
        return None;
    }
    let each = points.len().div_ceil(POINTS_MAX).max(1);
    let slope = |weigh: &dyn Fn(f64, f64) -> f64| {
        let moments = points.iter().zip(counts).step_by(each);
        let weighed = moments.map(|(point, events)| Point { count: weigh(point.count, *events), ..*point });
        slope::growth(&weighed.collect::<Vec<_>>(), quantum)
    };
    let growth = slope(&|count, _| count)?.per_min;
    let pace = slope(&|_, events| events)?.per_min;
    let per_event = growth / pace;
    let left = slope(&|count, events| count - per_event * events)?;
    let found = Growth { per_min: per_event, error_per_min: left.error_per_min / pace, ..left };
    (pace > 0.0 && per_event.is_finite() && found.error_per_min.is_finite()).then_some((events, found))
}

fn latest<T>(all: &[T]) -> &[T] {
    all.get(all.len().saturating_sub(POINTS_MAX)..).unwrap_or_default()
}

fn gain(counts: &[f64]) -> f64 {
    counts.last().zip(counts.first()).map_or(0.0, |(last, first)| last - first)
}

/// Steps from each value to the next.
fn steps(values: &[f64]) -> Vec<f64> {
    values.iter().zip(values.iter().skip(1)).map(|(before, after)| after - before).collect()
}

/// Sums over [`WITHIN`] neighbours, about their mean.
fn together(steps: &[f64]) -> Vec<f64> {
    let sums: Vec<f64> = steps.windows(WITHIN).map(|window| window.iter().sum()).collect();
    about_mean(sums.iter().copied())
}

/// An event that may be followed.
struct Candidate {
    place: usize,
    events: f64,
    steps: Vec<f64>,
    by_the_clock: bool,
}

impl Candidate {
    fn new(place: usize, counts: &[f64]) -> Self {
        Self {
            place,
            events: gain(counts),
            steps: together(&steps(counts)),
            by_the_clock: is_by_the_clock(counts),
        }
    }
}

fn is_by_the_clock(counts: &[f64]) -> bool {
    let points: Vec<Point> =
        (0_u32..).zip(counts).map(|(at, count)| Point { elapsed_s: f64::from(at), count: *count }).collect();
    let (times, counts) = centred(&points);
    let Some(pace) = coefficient(&times, &counts) else { return true };
    let off = without(&counts, &times, pace);
    let (low, high) = off
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), off| (low.min(*off), high.max(*off)));
    high - low < CLOCK
}

/// What a count gained, sample by sample.
struct Rises {
    together: Vec<f64>,
    growth: f64,
    quantum: f64,
}

impl Rises {
    /// `None` where it did not grow, gave back too much, or is too short.
    fn of(points: &[Point], quantum: f64) -> Option<Self> {
        let counts: Vec<f64> = points.iter().map(|point| point.count).collect();
        let steps = steps(&counts);
        let growth = gain(&counts);
        let fallen: f64 = steps.iter().map(|step| (-step).max(0.0)).sum();
        let rises: Vec<f64> = steps.iter().map(|step| step.max(0.0)).collect();
        let can_tell = points.len() >= SAMPLES_MIN && growth > 0.0 && fallen <= FALLS_MAX * growth;
        can_tell.then(|| Self { together: together(&rises), growth, quantum })
    }

    /// The places of the events that are followed.
    fn followed(&self, candidates: &[Candidate]) -> Vec<usize> {
        let alone = |candidate: &&Candidate| {
            let found = alone(&self.together, &candidate.steps, self.quantum);
            found.is_some_and(|found| self.carries(&found, candidate))
        };
        let carrying: Vec<&Candidate> = candidates.iter().filter(alone).collect();
        let left: Vec<&&Candidate> = carrying
            .iter()
            .filter(|candidate| !carrying.iter().any(|other| self.is_rather(other, candidate)))
            .collect();
        if left.iter().any(|candidate| candidate.by_the_clock) {
            return Vec::new();
        }
        left.into_iter().map(|candidate| candidate.place).collect()
    }

    /// Whether an event is beyond chance and accounts for most of the growth.
    fn carries(&self, found: &Growth, candidate: &Candidate) -> bool {
        found.low(ALPHA) > 0.0 && found.per_min * candidate.events >= CARRIES * self.growth
    }

    /// Whether beside each other the one carries the growth, and the other does not, or is far less sure to.
    fn is_rather(&self, one: &Candidate, than: &Candidate) -> bool {
        let both = side_by_side(&self.together, &[&one.steps, &than.steps], self.quantum);
        let sureness = |found: &Growth| found.per_min / found.error_per_min;
        let Some([first, second]) = both.as_deref() else { return false };
        let is_surer = sureness(first) > SURER * sureness(second);
        self.carries(first, one) && (is_surer || !self.carries(second, than))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};

    use super::{Followed, follow};
    use crate::growth::Point;
    use crate::result::EventKind;
    use crate::simulated::events::{Cause, Pace, Passing, Seen, run};

    fn followed(found: &[Option<Followed>]) -> Vec<EventKind> {
        let with_kind = EventKind::ALL.into_iter().zip(found);
        with_kind
            .filter(|(_, found)| found.is_some_and(|found| found.follows))
            .map(|(event, _)| event)
            .collect()
    }

    fn of(seen: &Seen) -> Vec<Option<Followed>> {
        follow(&seen.points, &seen.events)
    }

    fn of_run(seed: u64, cause: Cause) -> Vec<EventKind> {
        followed(&of(&run(seed, 170, Pace::Drawn, (cause, Passing::Nothing))))
    }

    #[test]
    fn growth_per_event_is_growth_over_events_with_an_interval_that_holds_it() {
        let seen = run(3, 170, Pace::Drawn, (Cause::Event(EventKind::RejectedPushes, 1.0), Passing::Churn));
        let found = of(&seen)[6].unwrap();
        assert!((found.per_event.per_min - 1.0).abs() < 0.1, "{found:?}");
        assert!(found.per_event.low(0.05) < 1.0 && found.per_event.high(0.05) > 1.0, "{found:?}");
        assert!(found.events > 50.0, "{found:?}");
    }

    #[test]
    fn an_event_that_comes_by_the_clock_is_not_named() {
        for seed in 0..20 {
            let seen = run(seed, 170, Pace::Even, (Cause::Event(EventKind::Starts, 1.0), Passing::Nothing));
            assert_eq!(followed(&of(&seen)), [], "seed {seed}");
        }
    }

    #[test]
    fn what_is_taken_with_an_event_and_given_back_is_not_taken_for_a_leak_that_follows_it() {
        for seed in 0..20 {
            let seen = run(seed, 170, Pace::Drawn, (Cause::Clock(30.0), Passing::Held));
            assert_eq!(followed(&of(&seen)), [], "seed {seed}");
        }
    }

    /// Of the first forty runs, in how many this event is named alone, and in how many another one.
    fn named(cause: Cause, event: Option<EventKind>) -> (usize, usize) {
        let runs: Vec<Vec<EventKind>> = (0..40).map(|seed| of_run(seed, cause)).collect();
        let right = runs.iter().filter(|found| event.is_some() && found.iter().copied().eq(event)).count();
        let wrong = runs.iter().filter(|found| found.iter().any(|named| Some(*named) != event)).count();
        (right, wrong)
    }

    #[test]
    fn an_event_that_drives_a_leak_is_found() {
        for event in [EventKind::Starts, EventKind::Restarts, EventKind::Rotations, EventKind::RejectedPushes]
        {
            let (right, wrong) = named(Cause::Event(event, 1.0), Some(event));
            assert!(right >= 36 && wrong <= 2, "{event:?}: {right} right, {wrong} wrong");
        }
    }

    #[test]
    fn a_leak_that_has_to_do_with_no_event_follows_none() {
        for cause in [Cause::Clock(10.0), Cause::Clock(15.0), Cause::Clock(60.0), Cause::Chance(40.0)] {
            assert_eq!(named(cause, None), (0, 0), "{cause:?}");
        }
    }

    #[test]
    fn of_events_that_come_together_each_is_named() {
        let mut seen =
            run(1, 170, Pace::Drawn, (Cause::Event(EventKind::RejectedPushes, 1.0), Passing::Nothing));
        seen.events[4] = seen.events[6].clone();
        assert_eq!(followed(&of(&seen)), [EventKind::Connections, EventKind::RejectedPushes]);
    }

    #[test]
    fn two_days_are_judged_by_their_last_hour_and_at_once() {
        let long = |counts: &dyn Fn(usize) -> f64| (0..170_000).map(counts).collect::<Vec<_>>();
        // Events at distances of 3, 5, 7 … 19 seconds in turn.
        let happens: Vec<bool> = {
            let (mut next, mut gap) = (0, 3);
            (0..170_000)
                .map(|second| {
                    let now = second == next;
                    if now {
                        next += gap;
                        gap = if gap == 19 { 3 } else { gap + 2 };
                    }
                    now
                })
                .collect()
        };
        let mut so_far = 0.0;
        let counts: Vec<f64> = happens
            .iter()
            .map(|now| {
                so_far += f64::from(u8::from(*now));
                so_far
            })
            .collect();
        let points: Vec<Point> = (0_u32..)
            .zip(&counts)
            .map(|(second, count)| Point { elapsed_s: f64::from(second), count: 60.0 + count })
            .collect();
        let clock = long(&|second| (second / 10) as f64);
        let [event, clock] = follow(&points, &[counts.clone(), clock])[..] else { panic!("two events") };
        assert!(event.unwrap().follows && !clock.unwrap().follows, "{event:?} {clock:?}");
        assert!((event.unwrap().per_event.per_min - 1.0).abs() < 1e-6, "{event:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn unit_origin_and_order_do_not_matter(
            seed in 0_u64..1_000_000,
            power in -3_i32..12,
            origin in 0_u32..1_000_000,
            turn in 0_usize..8,
        ) {
            let seen =
                run(seed, 170, Pace::Drawn, (Cause::Event(EventKind::RejectedPushes, 1.0), Passing::Nothing));
            let factor = 2.0_f64.powi(power);
            let mut other = seen.clone();
            for point in &mut other.points {
                point.count *= factor;
                point.elapsed_s += f64::from(origin);
            }
            other.events.rotate_left(turn);
            let (one, mut other) = (of(&seen), of(&other));
            other.rotate_right(turn);
            prop_assert_eq!(followed(&one), followed(&other));
            for (one, other) in one.iter().zip(&other) {
                let high = |found: &Option<Followed>| found.map_or(0.0, |found| found.per_event.high(0.05));
                let (one, other) = (high(one) * factor, high(other));
                prop_assert!((one - other).abs() <= 1e-6 * one.abs().max(1e-9), "{} {}", one, other);
            }
        }

        #[test]
        fn any_numbers_are_answered_without_a_panic(
            counts in proptest::collection::vec(-1e12_f64..1e12, 0..80),
            events in proptest::collection::vec(proptest::collection::vec(-1e12_f64..1e12, 0..80), 0..4),
            broken in 0_usize..4,
        ) {
            let mut points: Vec<Point> =
                counts.iter().zip(0..).map(|(c, s)| Point { elapsed_s: f64::from(s), count: *c }).collect();
            if let (Some(point), true) = (points.first_mut(), broken < 3) {
                point.count = [f64::NAN, f64::INFINITY, 0.0][broken];
            }
            prop_assert_eq!(follow(&points, &events).len(), events.len());
        }
    }
}
