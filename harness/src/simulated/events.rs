//! Simulated runs of containers that come and go, in which something leaks with one of the events, or with none: on
//! them it is judged which event a leak is said to follow.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::growth::Point;
use crate::result::EventKind;

/// A container comes or goes this often, in seconds.
const CHURN_S: f64 = 4.0;
const CONTAINERS: u32 = 8;
/// A container's log rotates this often, in seconds.
const ROTATION_S: std::ops::Range<f64> = 70.0..100.0;
/// A refused push is sent again after so many seconds at first, and at most.
const BACKOFF_S: (f64, f64) = (1.0, 60.0);

/// What a leak comes with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cause {
    /// The clock: so many per minute at even distances.
    Clock(f64),
    /// Chance: so many per minute.
    Chance(f64),
    /// An event: so many units with each.
    Event(EventKind, f64),
}

/// What is held for a while and given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// Nothing.
    Nothing,
    /// With each start of a container up to two more or fewer, for up to five seconds.
    Churn,
    /// With each start two more, for one to five seconds.
    Held,
}

/// How the containers come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At moments of chance, as in a run.
    Drawn,
    /// Like clockwork.
    Even,
}

/// What a run shows: a count, and how often each of [`EventKind::ALL`] had happened, a sample a second.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The count.
    pub points: Vec<Point>,
    /// The events, in the order of [`EventKind::ALL`].
    pub events: Vec<Vec<f64>>,
}

/// The moments of each kind of event.
#[derive(Debug, Default)]
struct Moments {
    restarts: Vec<f64>,
    created: Vec<f64>,
    rotations: Vec<f64>,
    connections: Vec<f64>,
    first_pushes: Vec<f64>,
    rejected: Vec<f64>,
    repeated: Vec<f64>,
}

impl Moments {
    fn of(&self, event: EventKind) -> Vec<f64> {
        let several = |lists: &[&Vec<f64>]| lists.iter().flat_map(|list| list.iter().copied()).collect();
        match event {
            EventKind::Starts => several(&[&self.restarts, &self.created]),
            EventKind::Restarts => self.restarts.clone(),
            EventKind::Created => self.created.clone(),
            EventKind::Rotations => self.rotations.clone(),
            EventKind::Connections => self.connections.clone(),
            EventKind::Pushes => several(&[&self.first_pushes, &self.rejected, &self.repeated]),
            EventKind::RejectedPushes => self.rejected.clone(),
            EventKind::RepeatedPushes => self.repeated.clone(),
        }
    }
}

/// A run of so many seconds. The same seed draws the same.
#[must_use]
pub fn run(seed: u64, seconds: u32, pace: Pace, (cause, passing): (Cause, Passing)) -> Seen {
    let mut rng = StdRng::seed_from_u64(seed);
    let moments = moments(&mut rng, f64::from(seconds), pace);
    let starts = moments.of(EventKind::Starts);
    let mut held = vec![0.0; seconds as usize];
    for start in starts.iter().filter(|_| passing != Passing::Nothing) {
        let (units, from_s) = match passing {
            Passing::Churn => (f64::from(rng.random_range(-2..=2_i8)), 0.0),
            Passing::Nothing | Passing::Held => (2.0, 1.0),
        };
        let until = start + rng.random_range(from_s..5.0);
        let during = held.iter_mut().zip(0_u32..).filter(|(_, second)| {
            let second = f64::from(*second);
            second >= *start && second < until
        });
        during.for_each(|(held, _)| *held += units);
    }
    let leaked = so_far(&leaked(&mut rng, cause, &moments, f64::from(seconds)), seconds);
    let counts = leaked.iter().zip(&held).map(|(leaked, held)| 60.0 + leaked + held);
    let points = (0_u32..).zip(counts).map(|(second, count)| Point { elapsed_s: f64::from(second), count });
    Seen {
        points: points.collect(),
        events: EventKind::ALL.iter().map(|event| so_far(&moments.of(*event), seconds)).collect(),
    }
}

fn moments(rng: &mut StdRng, seconds: f64, pace: Pace) -> Moments {
    let mut moments = Moments::default();
    let mut at = rng.random_range(0.0..CHURN_S);
    let mut step = 0_u32;
    while at < seconds {
        step += 1;
        if step.is_multiple_of(3) { &mut moments.created } else { &mut moments.restarts }.push(at);
        at += CHURN_S * if pace == Pace::Drawn { rng.random_range(0.25..1.75) } else { 1.0 };
    }
    for _ in 0..CONTAINERS {
        let mut at = rng.random_range(0.0..1.0);
        while at < seconds {
            moments.first_pushes.push(at);
            at += rng.random_range(0.95..1.05);
        }
        let mut at = rng.random_range(0.0..ROTATION_S.end);
        while at < seconds {
            moments.rotations.push(at);
            at += rng.random_range(ROTATION_S);
        }
    }
    let mut at = rng.random_range(0.0..20.0);
    while at < seconds {
        moments.connections.push(at);
        at += rng.random_range(1.0..20.0);
    }
    // A restart has history read again, which is refused in part.
    for restart in moments.restarts.clone() {
        for _ in 0..rng.random_range(0..12) {
            let at = restart + rng.random_range(0.1..1.5);
            moments.rejected.push(at);
            let (mut again, (mut wait, longest)) = (at, BACKOFF_S);
            while again < seconds {
                again += wait * rng.random_range(0.8..1.2);
                wait = (wait * 2.0).min(longest);
                moments.repeated.push(again);
            }
        }
    }
    moments
}

fn leaked(rng: &mut StdRng, cause: Cause, moments: &Moments, seconds: f64) -> Vec<f64> {
    let mut leaked = Vec::new();
    match cause {
        Cause::Clock(per_min) => {
            let mut at = rng.random_range(0.0..60.0 / per_min);
            while at < seconds {
                leaked.push(at);
                at += 60.0 / per_min;
            }
        }
        Cause::Chance(per_min) => {
            let mut at = 0.0;
            while at < seconds {
                at += -rng.random_range(f64::EPSILON..1.0).ln() * 60.0 / per_min;
                leaked.push(at);
            }
        }
        Cause::Event(event, units) => {
            for at in moments.of(event) {
                let mut due = units;
                while due > 0.0 && rng.random_bool(due.min(1.0)) {
                    leaked.push(at + rng.random_range(0.0..0.5));
                    due -= 1.0;
                }
            }
        }
    }
    leaked
}

/// How many of the moments had come at each second.
fn so_far(moments: &[f64], seconds: u32) -> Vec<f64> {
    let mut sorted = moments.to_vec();
    sorted.sort_by(f64::total_cmp);
    (0..seconds).map(|second| sorted.partition_point(|at| *at <= f64::from(second)) as f64).collect()
}
