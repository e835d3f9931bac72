//! Who plays in a selftest: what each process does, and what is to be said of it.

use std::time::Duration;

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::growth::verdict::LIMIT_PER_MIN;
use crate::leaky::pace::{Each, Per, Plan, Shape};
use crate::result::{Resource, Verdict};

/// What a leak leaks a minute: ten times the limit, so that a run of a minute settles it.
const LEAK_PER_MIN: f64 = 20.0;
/// How high a sawtooth's teeth are, and how many there are in a run: with fewer the judge must ask for a longer one.
const TEETH: (u32, f64) = (6, 18.0);
/// How much a warm-up takes, and in which part of the run.
const WARM_UP: (u32, f64) = (20, 0.1);

/// A process that is judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Its name.
    pub(super) name: &'static str,
    /// What it does.
    pub(super) what: &'static str,
    /// What grows; the rest stays flat.
    pub(super) grows: &'static [Resource],
    /// How fast, per minute.
    pub(super) per_min: f64,
    /// What becomes of it.
    pub(super) shape: Shape,
    /// Where it stays or falls.
    pub(super) height: u32,
    /// Whether it grows with the events that it is told of, and not by itself.
    pub(super) by_event: bool,
}

const FLAT: Part = Part {
    name: "flat",
    what: "holds what it has",
    grows: &[],
    per_min: 0.0,
    shape: Shape::Leak,
    height: 1,
    by_event: false,
};

const fn leak(name: &'static str, what: &'static str, grows: &'static [Resource]) -> Part {
    Part { name, what, grows, per_min: LEAK_PER_MIN, ..FLAT }
}

/// Everybody. What is no leak takes its time from the run's length, as the judge does: a sawtooth as long as the run is a
/// leak to it. What leaks does so at the same pace in every run.
pub(super) fn cast(length: Duration) -> [Part; 7] {
    let minutes = length.as_secs_f64() / 60.0;
    let warm_up = leak("warmup", "grows by 20 of each at the start, and stays", &Resource::ALL);
    let sawtooth =
        leak("sawtooth", "piles up 6 of each and gives them back, again and again", &Resource::ALL);
    let (height, share) = WARM_UP;
    let warm_up =
        Part { shape: Shape::Warmup, height, per_min: f64::from(height) / share / minutes, ..warm_up };
    let (height, teeth) = TEETH;
    let sawtooth =
        Part { shape: Shape::Sawtooth, height, per_min: f64::from(height) * teeth / minutes, ..sawtooth };
    let event = leak(
        "event",
        "leaks a file descriptor and a task with each event",
        &[Resource::Fds, Resource::Tasks],
    );
    [
        FLAT,
        leak("fds", "leaks file descriptors", &[Resource::Fds]),
        leak("threads", "leaks threads", &[Resource::Threads]),
        leak("tasks", "leaks tasks", &[Resource::Tasks]),
        Part { by_event: true, ..event },
        warm_up,
        sawtooth,
    ]
}

impl Part {
    /// What it leaks of this, per minute.
    pub(super) fn leaks_per_min(&self, resource: Resource) -> f64 {
        if self.shape == Shape::Leak { self.grows_per_min(resource) } else { 0.0 }
    }

    /// The right verdict on this.
    pub(super) fn expected(&self, resource: Resource) -> Verdict {
        if self.leaks_per_min(resource) > LIMIT_PER_MIN { Verdict::Fail } else { Verdict::Pass }
    }

    /// How many events it is told of in a minute.
    pub(super) fn events_per_min(&self) -> f64 {
        if self.by_event { self.per_min } else { 0.0 }
    }

    fn grows_per_min(&self, resource: Resource) -> f64 {
        if self.grows.contains(&resource) { self.per_min } else { 0.0 }
    }

    /// What the process does: a unit with each event, or so many a minute.
    pub(super) fn plan(&self) -> Plan {
        let (per, unit) = if self.by_event { (Per::Event, self.per_min) } else { (Per::Minute, 1.0) };
        let pace = |resource| self.grows_per_min(resource) / unit;
        let paces = Each {
            fds: pace(Resource::Fds),
            threads: pace(Resource::Threads),
            tasks: pace(Resource::Tasks),
            ..Each::default()
        };
        Plan { held: Each::default(), paces, per, shape: self.shape, height: self.height }
    }

    /// The same as `flatline leak` is told it.
    pub(super) fn arguments(&self) -> Vec<String> {
        let Plan { paces, per, shape, height, .. } = self.plan();
        let word = |value: Option<PossibleValue>| {
            value.map_or_else(String::new, |value| value.get_name().to_owned())
        };
        vec![
            "leak".to_owned(),
            "--listen=127.0.0.1:0".to_owned(),
            format!("--fds={}", paces.fds),
            format!("--threads={}", paces.threads),
            format!("--tasks={}", paces.tasks),
            format!("--per={}", word(per.to_possible_value())),
            format!("--shape={}", word(shape.to_possible_value())),
            format!("--height={height}"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str) -> Part {
        cast(Duration::from_secs(120)).into_iter().find(|part| part.name == name).unwrap()
    }

    #[test]
    fn only_what_grows_for_ever_is_to_be_called_a_leak() {
        let failing = |name| Resource::ALL.map(|resource| part(name).expected(resource) == Verdict::Fail);
        assert_eq!(failing("tasks"), [true, false, false]);
        assert_eq!(failing("threads"), [false, true, false]);
        assert_eq!(failing("fds"), [false, false, true]);
        assert_eq!(failing("event"), [true, false, true]);
        for name in ["flat", "warmup", "sawtooth"] {
            assert_eq!(failing(name), [false; 3], "{name}");
        }
    }

    #[test]
    fn a_leak_per_event_has_one_unit_for_each() {
        let arguments = part("event").arguments();
        assert!(arguments.contains(&"--fds=1".to_owned()) && arguments.contains(&"--threads=0".to_owned()));
        assert!(arguments.contains(&"--per=event".to_owned()), "{arguments:?}");
    }

    #[test]
    fn what_is_no_leak_keeps_its_shape_in_a_longer_run() {
        for minutes in [1_u32, 10] {
            let cast = cast(Duration::from_secs(u64::from(minutes) * 60));
            let [.., warm_up, sawtooth] = cast;
            assert!((warm_up.per_min * f64::from(minutes) - 200.0).abs() < 1e-9, "20 in a tenth of it");
            assert!((sawtooth.per_min * f64::from(minutes) - 108.0).abs() < 1e-9, "18 teeth of 6");
            assert!((cast[1].per_min - 20.0).abs() < 1e-9);
        }
    }
}
