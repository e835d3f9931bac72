//! From what was measured to what is said: pure.
//!
//! A target that should be flat meets its expectation when each of its resources passes, no line is
//! lost, and it did not crash. A control meets it when what it must leak fails: a run that can't see
//! its control's leak proves nothing.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::thread;

use crate::growth::drain::drain;
use crate::growth::lives::judge_lives;
use crate::growth::project::project;
use crate::growth::verdict::{Explained, Judged, Settings};
use crate::growth::{Point, slope};
use crate::result::bench::MissingTarget;
use crate::result::{
    Audit, Basis, DrainResult, Estimate, Event, EventGrowth, Expect, Judgement, KeptKind, KindGrowth,
    Latency, Listings, Moment, Outcome, Phase, Resource, ResourceResult, SCHEMA, Sample, Samples, Segment,
    Stability, StoppedEarly, TargetResult, Terms, Verdict, VerdictFile,
};
use crate::run::attribution;
use crate::run::compare::compare;
use crate::run::{events, exhaustion, processes, segments};
use crate::sample::process::Limits;

mod figures;
mod outcome;
mod stretches;

pub(super) use outcome::{outcome, without};

/// Before the load: what the counts are when nothing but the ordinary goes on.
const IDLE_S: f64 = 15.0;

/// Where all that was seen is well, and not all was seen.
pub(super) const UNENDED: &str = "what was seen is as expected, but the end was not seen";
/// Said of a target in a run that did not come to its end.
const UNAUDITED: &str = "its lines are accounted for at the end of a run";

/// What a display draws its growths from: five minutes of one sample a second. Beyond that a line through fewer points
/// shows the same to a person, and to judge more of them while the run goes on would cost what it measures.
pub(super) const SHOWN_MAX: usize = 300;

/// What is judged.
#[derive(Debug)]
pub(super) struct Case<'a> {
    /// All samples of the run.
    pub(super) samples: &'a Samples,
    /// Its events.
    pub(super) events: &'a [Event],
    /// What they are made of, by kind.
    pub(super) kinds: &'a Listings,
    /// Its phases.
    pub(super) phases: &'a [Phase],
    /// Its stretches between which it was killed.
    pub(super) segments: &'a [Segment],
    /// Limits per minute.
    pub(super) limits: &'a BTreeMap<Resource, f64>,
    /// Whether the run was cut short.
    pub(super) cut_short: bool,
    /// Why and when the run was ended early, if it was: what came after that is not judged.
    pub(super) stopped_early: Option<&'a StoppedEarly>,
    /// Targets that could not be run.
    pub(super) missing: &'a [MissingTarget],
}

/// One target, as far as its samples do not say it.
#[derive(Debug)]
pub(super) struct Party<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// What it is held to.
    pub(super) terms: &'a Terms,
    /// The kernel's limits on it.
    pub(super) limits: Limits,
    /// How its process fared.
    pub(super) stability: &'a Stability,
    /// Its lines and how long they took; `None` where they are not accounted for.
    pub(super) lines: (Option<Audit>, Option<Latency>),
}

/// How one resource of a target is judged under load, at the end and at looks before it.
#[must_use]
pub(super) fn settings(
    terms: &Terms,
    resource: Resource,
    limit_per_min: f64,
    process_limit: Option<u64>,
) -> Settings {
    let bound = terms.bounds.get(&resource);
    Settings {
        process_limit,
        explained: bound.map_or(Explained::Unknown, |rise| Explained::Declared(f64::from(*rise))),
        ..Settings::by_limit(limit_per_min)
    }
}

/// One resource's count in a sample.
#[must_use]
pub(super) fn count(sample: &Sample, resource: Resource) -> Option<f64> {
    resource.count().of(sample).map(|count| count as f64)
}

/// The same of one that was read back.
fn seen(sample: Moment<'_>, resource: Resource) -> Option<f64> {
    sample.count(resource.count()).map(|count| count as f64)
}

/// Growth so far in few words, for the progress display; `None` while there is too little to say.
#[must_use]
pub(super) fn live(points: &[Point], limit_per_min: f64) -> Option<String> {
    let growth = slope::growth(points, 1.0).filter(|_| points.len() >= 20)?;
    let (low, high) = (growth.low(0.05), growth.high(0.05));
    let sign = match (low > limit_per_min, high < limit_per_min) {
        (true, _) => "✗",
        (_, true) => "✓",
        _ => "…",
    };
    Some(format!("{sign} {:+.1}/min [{low:+.1}, {high:+.1}]", growth.per_min))
}

impl Case<'_> {
    /// Judges one target.
    #[must_use]
    pub(super) fn target(&self, party: &Party<'_>) -> TargetResult {
        let Party { name, terms, stability, lines: (audit, latency), .. } = *party;
        // Side by side: of two days each takes a third of a second.
        let resources: BTreeMap<Resource, ResourceResult> = thread::scope(|scope| {
            let begin = |(resource, limit): (&Resource, &f64)| {
                let (resource, limit) = (*resource, *limit);
                (resource, scope.spawn(move || self.resource(party, resource, limit)))
            };
            let counted = self.limits.iter().filter(|(resource, _)| !terms.uncounted.contains(resource));
            let begun: Vec<_> = counted.map(begin).collect();
            let done = |work: thread::ScopedJoinHandle<'_, ResourceResult>| {
                work.join().unwrap_or_else(|panic| resume_unwind(panic))
            };
            begun.into_iter().map(|(resource, work)| (resource, done(work))).collect()
        });
        let (met, reason) = match terms.expect {
            Expect::Flat => self.stays_flat(&resources, audit, stability.crashes),
            Expect::Leak => leaks(&resources, terms),
            Expect::Lose => loses(audit),
        };
        let figures = figures::all(self, name, terms);
        let (met, reason) = figures::said((met, reason), &figures);
        TargetResult {
            design: terms.design.clone(),
            expect: terms.expect,
            met,
            reason,
            leaks: attribution::sentence(
                name,
                resources.iter().map(|(resource, found)| {
                    (*resource, &found.judgement, found.kinds.as_slice(), found.events.as_slice())
                }),
            ),
            watches: self.watches(name),
            memory: self.longest_load().map_or_else(Vec::new, |load| {
                attribution::growths(&self.kinds.memory, (name, None), load, load)
            }),
            resources,
            figures,
            audit,
            latency,
            stability: stability.clone(),
            exhausted: exhaustion::all(self, party),
        }
    }

    fn resource(&self, party: &Party<'_>, resource: Resource, limit_per_min: f64) -> ResourceResult {
        let Party { name: target, terms, limits, .. } = *party;
        let process_limit = limits.on(resource);
        let load = self.under_load(target, |sample| seen(sample, resource));
        let judged = judge_lives(
            &load,
            &self.starts_s(target),
            &settings(terms, resource, limit_per_min, process_limit),
        );
        let events = self.followed(target, resource, &judged);
        let last_count = load.last().map_or(0.0, |point| point.count);
        let (warmup, drained) = self.around_the_load();
        let idle = warmup.map(|(from, to)| (from.max(to - IDLE_S), to));
        ResourceResult {
            projection: project(confirmed(&judged.judgement), last_count, process_limit),
            judgement: judged.judgement,
            line: judged.line,
            estimate: judged.growth.map(|growth| Estimate {
                per_min: growth.per_min,
                error_per_min: growth.error_per_min,
                degrees: growth.degrees,
            }),
            drain: drain(
                &self.points(target, |sample| seen(sample, resource), idle),
                &self.points(target, |sample| seen(sample, resource), drained),
            )
            .map(|found| DrainResult {
                explained: terms.bounds.get(&resource).copied(),
                kept: self.kept(target, resource),
                ..found
            }),
            kinds: self.load_of(judged.line).map_or_else(Vec::new, |load| {
                let stretch = judged.line.map_or(load, |line| (line.from_s, line.to_s));
                let samples = self.samples.of(target);
                attribution::growths(self.kinds.of(resource), (target, samples), load, stretch)
            }),
            events,
        }
    }

    /// What a count that grows for sure follows, over the stretch that it was judged on.
    fn followed(&self, target: &str, resource: Resource, judged: &Judged) -> Vec<EventGrowth> {
        let Some(line) = judged.line.filter(|_| confirmed(&judged.judgement).is_some()) else {
            return Vec::new();
        };
        let stretch = |sample: &Moment<'_>| (line.from_s..=line.to_s).contains(&sample.elapsed_s());
        let moments = self.samples.moments(target).filter(stretch).filter_map(|sample| {
            Some((Point { elapsed_s: sample.elapsed_s(), count: seen(sample, resource)? }, sample))
        });
        events::growths(&moments.collect::<Vec<_>>())
    }

    fn kept(&self, target: &str, resource: Resource) -> Vec<KeptKind> {
        let (Some(warmup), Some(drain)) = self.around_the_load() else { return Vec::new() };
        attribution::kept(self.kinds.of(resource), target, warmup, drain)
    }

    fn watches(&self, target: &str) -> Option<KindGrowth> {
        let load = self.longest_load()?;
        let watches =
            attribution::growths(&self.kinds.watches, (target, None), load, load).into_iter().next()?;
        // There is one kind of them.
        Some(KindGrowth { share: None, ..watches })
    }

    fn stays_flat(
        &self,
        resources: &BTreeMap<Resource, ResourceResult>,
        audit: Option<Audit>,
        crashes: u32,
    ) -> (bool, String) {
        let leaking = named(resources, Verdict::Fail);
        let undecided = named(resources, Verdict::Inconclusive);
        let invalid = named(resources, Verdict::Invalid);
        let mut faults = Vec::new();
        if !leaking.is_empty() {
            faults.push(format!("it leaks {}", leaking.join(", ")));
        }
        faults.extend(kept(resources));
        faults.extend(audit.into_iter().flat_map(|audit| self.spoilt(audit)));
        if crashes > 0 {
            faults.push("it ended unasked".to_owned());
        }
        if !invalid.is_empty() {
            faults.push(format!("{} could not be judged", invalid.join(", ")));
        }
        if !undecided.is_empty() {
            faults.push(format!("{} not decided", undecided.join(", ")));
        }
        if faults.is_empty() {
            let judged = if resources.is_empty() { "" } else { "flat: every resource passes and " };
            let lines = if audit.is_some() { "no line is lost" } else { UNAUDITED };
            return (true, format!("{judged}{lines}"));
        }
        (false, faults.join("; "))
    }

    /// What became of its lines and must not.
    fn spoilt(&self, audit: Audit) -> Vec<String> {
        let mut faults = Vec::new();
        if audit.lost > 0 {
            let lost = if self.is_cut() { "had not delivered" } else { "lost" };
            faults.push(format!("it {lost} {} of {} lines", audit.lost, audit.sent));
        }
        if audit.sent == 0 {
            faults.push("no line was written, so nothing is shown".to_owned());
        }
        if audit.altered + audit.altered_copies > 0 {
            faults.push(format!("it altered {} lines", audit.altered + audit.altered_copies));
        }
        faults
    }

    /// Whether lines may have been under way that a whole run would have waited for.
    fn is_cut(&self) -> bool {
        self.cut_short || self.stopped_early.is_some()
    }

    fn points(
        &self,
        target: &str,
        count: impl Fn(Moment<'_>) -> Option<f64>,
        within: impl IntoIterator<Item = (f64, f64)>,
    ) -> Vec<Point> {
        let within: Vec<(f64, f64)> = within.into_iter().collect();
        let is_inside = |at: f64| within.iter().any(|(from, to)| at >= *from && at < *to);
        let inside = self.samples.moments(target).filter(|sample| is_inside(sample.elapsed_s()));
        inside
            .filter_map(|sample| Some(Point { elapsed_s: sample.elapsed_s(), count: count(sample)? }))
            .collect()
    }

    /// A count of a process under load, until the run was ended early, if it was.
    pub(super) fn under_load(&self, name: &str, count: impl Fn(Moment<'_>) -> Option<f64>) -> Vec<Point> {
        let mut load = self.points(name, count, self.stretches("load"));
        load.retain(|point| self.stopped_early.is_none_or(|early| point.elapsed_s <= early.at_s));
        load
    }

    /// Joins the targets' results.
    #[must_use]
    pub(super) fn whole(&self, targets: BTreeMap<String, TargetResult>) -> VerdictFile {
        let (outcome, reason) = match outcome(&targets, self.is_cut()) {
            (Outcome::Met, _) if self.cut_short => (Outcome::Undecided, UNENDED.to_owned()),
            judged => judged,
        };
        let processes = processes::growths(self, targets.keys());
        // Whatever else was seen, it was seen by what grew itself.
        let (outcome, reason) = match processes::distrust(&processes) {
            Some(distrust) => (Outcome::Invalid, format!("{distrust}; it would have said: {reason}")),
            None => (outcome, reason),
        };
        let (outcome, reason) = without((outcome, reason), self.missing);
        let unaccounted = segments::unaccounted(self.segments);
        let reason =
            [Some(reason), segments::said(&unaccounted)].into_iter().flatten().collect::<Vec<_>>().join("; ");
        let comparisons = compare(&targets, Basis::SingleRun);
        let stopped_early = self.stopped_early.cloned();
        VerdictFile {
            schema: SCHEMA,
            outcome,
            reason,
            cut_short: self.cut_short,
            stopped_early,
            unaccounted,
            targets,
            comparisons,
            processes,
        }
    }
}

/// Growth that can't be told from none leads nowhere: to carry its point estimate on for a day would
/// make a leak of noise.
fn confirmed(judgement: &Judgement) -> Option<f64> {
    judgement.growth_per_min.filter(|_| judgement.ci_low.is_some_and(|low| low > 0.0))
}

fn named(resources: &BTreeMap<Resource, ResourceResult>, verdict: Verdict) -> Vec<&'static str> {
    let matching = resources.iter().filter(|(_, result)| result.judgement.verdict == verdict);
    matching.map(|(resource, _)| resource.key()).collect()
}

/// What did not return after the load, beyond the target's declared bounds.
fn kept(resources: &BTreeMap<Resource, ResourceResult>) -> impl Iterator<Item = String> {
    let drains = resources.iter().filter_map(|(resource, result)| Some((resource, result.drain.as_ref()?)));
    drains.filter(|(_, drain)| drain.is_kept()).map(|(resource, drain)| {
        format!("{:.0} {} did not return after the load", drain.more(), resource.key())
    })
}

fn leaks(resources: &BTreeMap<Resource, ResourceResult>, terms: &Terms) -> (bool, String) {
    let leaking = named(resources, Verdict::Fail);
    let of = |resources: &[Resource]| resources.iter().map(|resource| resource.key()).collect::<Vec<_>>();
    let unseen: Vec<&str> = of(&terms.must_leak).into_iter().filter(|key| !leaking.contains(key)).collect();
    let besides: Vec<&str> =
        of(&terms.must_not_leak).into_iter().filter(|key| leaking.contains(key)).collect();
    if !besides.is_empty() {
        return (false, format!("it leaks {}, which it must not", besides.join(", ")));
    }
    if unseen.is_empty() {
        return (true, format!("leaks {}, as a control must", leaking.join(", ")));
    }
    (false, format!("its leak of {} was not seen: without it the run proves nothing", unseen.join(", ")))
}

fn loses(audit: Option<Audit>) -> (bool, String) {
    let Some(audit) = audit else { return (false, UNAUDITED.to_owned()) };
    if audit.lost + audit.altered + audit.altered_copies == 0 {
        return (false, "it loses no line: without a loss that is seen the run proves nothing".to_owned());
    }
    (
        true,
        format!(
            "loses {} of {} lines and alters {}, as a control must",
            audit.lost, audit.sent, audit.altered
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::spec::{Spec, of};

    const SENT: Audit = Audit {
        sent: 100,
        delivered: 100,
        duplicated: 0,
        out_of_order: 0,
        altered: 0,
        altered_copies: 0,
        rejected: 0,
        skipped: 0,
        dropped: 0,
        dead_lettered: 0,
        in_flight: 0,
        lost: 0,
    };

    /// Three minutes of load, a sample a second, `per_min` more tasks and descriptors each minute.
    fn judged(expect: Expect, per_min: u64, audit: Audit, crashes: u32) -> VerdictFile {
        judged_until(expect, per_min, audit, crashes, false)
    }

    fn judged_until(
        expect: Expect,
        per_min: u64,
        audit: Audit,
        crashes: u32,
        cut_short: bool,
    ) -> VerdictFile {
        let samples: Samples = (0..200)
            .map(|second: u32| Sample {
                threads: Some(4),
                tasks: Some(10 + u64::from(second) * per_min / 60),
                fds: Some(20 + u64::from(second) * per_min / 60),
                ..Sample::unread(f64::from(second), "t")
            })
            .collect();
        judged_by(of("t", expect, &[]), &samples, (audit, crashes, cut_short))
    }

    fn judged_by(
        spec: Spec,
        samples: &Samples,
        (audit, crashes, cut_short): (Audit, u32, bool),
    ) -> VerdictFile {
        let phase = |name: &str, from_s, to_s| Phase { name: name.into(), from_s, to_s };
        let phases = [phase("warmup", 0.0, 10.0), phase("load", 10.0, 190.0), phase("drain", 190.0, 200.0)];
        let limits = Resource::ALL.iter().map(|resource| (*resource, 2.0)).collect();
        let kinds = Listings::default();
        let case = Case {
            samples,
            events: &[],
            kinds: &kinds,
            phases: &phases,
            segments: &[],
            limits: &limits,
            cut_short,
            stopped_early: None,
            missing: &[],
        };
        let stability = Stability { crashes, ..Stability::default() };
        let result = case.target(&Party {
            name: "t",
            terms: &spec.terms(),
            limits: Limits::default(),
            stability: &stability,
            lines: (Some(audit), None),
        });
        case.whole(BTreeMap::from([("t".to_owned(), result)]))
    }

    #[test]
    fn a_flat_target_that_loses_nothing_meets_its_expectation() {
        let verdict = judged(Expect::Flat, 0, SENT, 0);
        assert_eq!(
            (verdict.outcome, verdict.reason.as_str()),
            (Outcome::Met, "t stays flat and loses no line")
        );
    }

    #[test]
    fn what_does_not_return_after_the_load_misses_it_unless_a_bound_explains_it() {
        let samples: Samples = (0..200)
            .map(|second: u32| Sample {
                threads: Some(4),
                tasks: Some(10),
                fds: Some(if second < 190 { 20 } else { 30 }),
                ..Sample::unread(f64::from(second), "t")
            })
            .collect();
        let bounded_by = |bound: Option<u32>| {
            let bounds: Vec<_> = bound.map(|bound| (Resource::Fds, bound)).into_iter().collect();
            let spec = of("t", Expect::Flat, &bounds);
            let verdict = judged_by(spec, &samples, (SENT, 0, false));
            (verdict.outcome, verdict.reason)
        };
        let missed = (Outcome::Missed, "t: 10 fds did not return after the load".to_owned());
        assert_eq!(bounded_by(Some(9)), missed);
        assert_eq!((bounded_by(Some(10)).0, bounded_by(None).0), (Outcome::Met, Outcome::Met));
    }

    #[test]
    fn a_leak_a_lost_line_and_a_crash_each_miss_it() {
        let lost = Audit { sent: 100, lost: 1, ..Audit::default() };
        assert_eq!(judged(Expect::Flat, 43, SENT, 0).outcome, Outcome::Missed);
        assert_eq!(judged(Expect::Flat, 0, lost, 0).outcome, Outcome::Missed);
        assert_eq!(judged(Expect::Flat, 0, SENT, 1).outcome, Outcome::Missed);
    }

    #[test]
    fn a_run_that_was_cut_short_calls_no_line_lost_and_one_without_lines_shows_nothing() {
        let lost = Audit { sent: 100, lost: 60, ..Audit::default() };
        let cut = judged_until(Expect::Flat, 0, lost, 0, true);
        assert_eq!(cut.outcome, Outcome::Undecided, "{}", cut.reason);
        assert!(cut.reason.contains("had not delivered 60 of 100"), "{}", cut.reason);
        let none = judged(Expect::Flat, 0, Audit::default(), 0);
        assert_eq!(none.outcome, Outcome::Undecided, "{}", none.reason);
    }

    #[test]
    fn a_control_that_does_not_leak_leaves_the_run_undecided() {
        let verdict = judged(Expect::Leak, 0, Audit::default(), 0);
        assert_eq!(verdict.outcome, Outcome::Undecided);
        assert!(verdict.reason.contains("tasks, fds"), "{}", verdict.reason);
        assert_eq!(judged(Expect::Leak, 43, Audit::default(), 0).outcome, Outcome::Met);
    }
}
