//! When a run may end before its time (`--fail-fast`): as soon as nothing that is still to come can change what it says.
//!
//! A target that must be flat and is called a leak has missed, whatever follows. A control that leaks does what it
//! must, so it ends no run in which somebody must be flat; where there are controls alone, the run is over when each
//! resource that must leak was called. Who declares no bounds is never called early: a queue that fills looks the same.

use std::collections::BTreeMap;

use crate::growth::Point;
use crate::growth::verdict::Watch;
use crate::result::{Expect, Resource, Sample, StoppedEarly};
use crate::run::judge;
use crate::target::spec::Spec;

/// One resource of one target, looked at as it grows.
#[derive(Debug)]
struct Watched {
    target: String,
    resource: Resource,
    /// Whether the run waits for it; else it is one that must not be called.
    must_leak: bool,
    bound: u32,
    limit_per_min: f64,
    first: Option<f64>,
    watch: Watch,
}

/// A leak that was called at a look.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub(super) target: String,
    pub(super) because: String,
}

/// Everybody who is looked at, and what was called.
#[derive(Debug, Default)]
pub(super) struct Early {
    watched: Vec<Watched>,
    unwatched: Vec<Call>,
    calls: Vec<Call>,
    over: Option<StoppedEarly>,
}

impl Early {
    /// Looks at whoever can end a run with these targets and limits.
    #[must_use]
    pub(super) fn new(targets: &[Spec], limits: &BTreeMap<Resource, f64>) -> Self {
        let controls_alone = targets.iter().all(|spec| spec.expect != Expect::Flat);
        let mut early = Self::default();
        for spec in targets {
            let decides = match spec.expect {
                Expect::Flat => true,
                Expect::Leak => controls_alone,
                Expect::Lose => false,
            };
            let wanted =
                |resource: &Resource| spec.expect == Expect::Flat || spec.must_leak.contains(resource);
            for (resource, limit) in limits.iter().filter(|(resource, _)| decides && wanted(resource)) {
                early.add(spec, *resource, *limit);
            }
        }
        early
    }

    fn add(&mut self, spec: &Spec, resource: Resource, limit_per_min: f64) {
        let bound = spec.kind.bounds.get(&resource).copied();
        let watch = Watch::new(&judge::settings(bound, limit_per_min, None));
        match (watch, bound) {
            (Some(watch), Some(bound)) => self.watched.push(Watched {
                target: spec.name.clone(),
                resource,
                must_leak: spec.expect == Expect::Leak,
                bound,
                limit_per_min,
                first: None,
                watch,
            }),
            _ => {
                let because = format!(
                    "{} can't end the run early: no bound is declared (bounds: {{ {0}: … }} in the target's file)",
                    resource.key()
                );
                self.unwatched.push(Call { target: spec.name.clone(), because });
            }
        }
    }

    /// Who can't end the run, and why not.
    #[must_use]
    pub(super) fn unwatched(&self) -> &[Call] {
        &self.unwatched
    }

    /// Takes a sample under load; answers which leaks are called with it.
    pub(super) fn see(&mut self, sample: &Sample) -> Vec<Call> {
        if self.over.is_some() {
            return Vec::new();
        }
        let of_target = self.watched.iter_mut().filter(|watched| watched.target == sample.target);
        let called: Vec<(bool, Call)> = of_target.filter_map(|watched| watched.see(sample)).collect();
        let calls: Vec<Call> = called.iter().map(|(_, call)| call.clone()).collect();
        self.calls.extend(calls.clone());
        let missed = called.iter().any(|(must_leak, _)| !must_leak);
        // One that can't be called is one that the run must wait for to the end.
        let all_called = self.unwatched.is_empty()
            && !self.watched.is_empty()
            && self.watched.iter().all(|watched| watched.must_leak && watched.watch.decided_at_s().is_some());
        if missed || all_called {
            let because = self.calls.iter().map(|call| format!("{}: {}", call.target, call.because));
            let because = because.collect::<Vec<_>>().join("; ");
            self.over = Some(StoppedEarly { at_s: sample.elapsed_s, because });
        }
        calls
    }

    /// This target was started again, so its counts begin anew.
    pub(super) fn restarted(&mut self, target: &str) {
        for watched in self.watched.iter_mut().filter(|watched| watched.target == target) {
            watched.first = None;
            watched.watch.begin_again();
        }
    }

    /// Why the run is over, if it is.
    #[must_use]
    pub(super) fn over(&self) -> Option<&StoppedEarly> {
        self.over.as_ref()
    }
}

impl Watched {
    fn see(&mut self, sample: &Sample) -> Option<(bool, Call)> {
        let count = judge::count(sample, self.resource)?;
        let first = *self.first.get_or_insert(count);
        if !self.watch.push(Point { elapsed_s: sample.elapsed_s, count }) {
            return None;
        }
        let because = format!(
            "{} grow faster than {} per minute, from {first:.0} to {count:.0}, and declared bounds explain {}",
            self.resource.key(),
            self.limit_per_min,
            self.bound,
        );
        Some((self.must_leak, Call { target: self.target.clone(), because }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::spec::of;

    const BOUNDS: [(Resource, u32); 2] = [(Resource::Tasks, 24), (Resource::Fds, 24)];

    /// Ten minutes under load; each target with its growth of tasks and of descriptors per minute.
    fn after(targets: &[(Spec, u64, u64)]) -> Early {
        let limits = BTreeMap::from([(Resource::Tasks, 2.0), (Resource::Fds, 2.0)]);
        let specs: Vec<Spec> = targets.iter().map(|(spec, ..)| spec.clone()).collect();
        let mut early = Early::new(&specs, &limits);
        for second in 0..600_u32 {
            for (spec, tasks, fds) in targets {
                let grown = |per_min: u64| Some(20 + u64::from(second) * per_min / 60);
                early.see(&Sample {
                    tasks: grown(*tasks),
                    fds: grown(*fds),
                    ..Sample::unread(f64::from(second), &spec.name)
                });
            }
        }
        early
    }

    #[test]
    fn a_leak_of_a_target_that_must_be_flat_ends_the_run_and_says_why() {
        let early = after(&[(of("pool", Expect::Flat, &BOUNDS), 0, 10)]);
        let over = early.over().unwrap();
        assert!(over.at_s > 150.0 && over.at_s <= 300.0, "{over:?}");
        let begin = "pool: fds grow faster than 2 per minute, from 20 to ";
        assert!(over.because.starts_with(begin) && over.because.ends_with("bounds explain 24"), "{over:?}");
    }

    #[test]
    fn lives_of_a_target_are_looked_at_each_by_itself() {
        let mut early =
            Early::new(&[of("pool", Expect::Flat, &BOUNDS)], &BTreeMap::from([(Resource::Fds, 2.0)]));
        let sample =
            |second: u32, fds| Sample { fds: Some(fds), ..Sample::unread(f64::from(second), "pool") };
        for second in 0..200 {
            early.see(&sample(second, 20 + u64::from(second) * 8 / 60));
        }
        early.restarted("pool");
        for second in 200..400 {
            early.see(&sample(second, 20 + u64::from(second - 200) * 8 / 60));
        }
        assert_eq!(early.over(), None, "in neither it rises by more than its bound");
        early.restarted("pool");
        for second in 400..600 {
            early.see(&sample(second, 20 + u64::from(second - 400) * 43 / 60));
        }
        let over = early.over().unwrap();
        assert!(over.at_s > 460.0 && over.because.contains("from 20 to"), "{over:?}");
    }

    #[test]
    fn a_control_that_leaks_ends_no_run_in_which_somebody_must_be_flat() {
        let flat = of("pool", Expect::Flat, &BOUNDS);
        let early = after(&[(flat, 0, 0), (of("archived", Expect::Leak, &BOUNDS), 43, 10)]);
        assert_eq!((early.over(), early.calls.len()), (None, 0));
    }

    #[test]
    fn controls_alone_are_over_when_all_that_must_leak_was_called() {
        let control = |fds| after(&[(of("archived", Expect::Leak, &BOUNDS), 43, fds)]);
        assert_eq!((control(0).over(), control(0).calls.len()), (None, 1));
        let over = control(10).over().unwrap().clone();
        assert!(over.because.contains("tasks grow") && over.because.contains("fds grow"), "{over:?}");
    }

    #[test]
    fn without_a_declared_bound_nothing_is_early_and_that_is_said() {
        let early = after(&[(of("pool", Expect::Flat, &BOUNDS[..1]), 0, 43)]);
        assert_eq!(early.over(), None);
        assert_eq!(early.unwatched().len(), 1);
        assert!(early.unwatched()[0].because.contains("fds can't end the run early"), "{early:?}");
        let early = after(&[(of("archived", Expect::Leak, &BOUNDS[..1]), 43, 43)]);
        assert_eq!(early.over(), None, "the run waits for what can't be called");
    }
}
