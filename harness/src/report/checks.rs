//! What a run holds each target to, one check for each target, resource and gate, with what came of it: for those who
//! count passes and failures (`junit`, `github`).
//!
//! Nothing is judged here: a check repeats the verdict of its resource, or the figure of the audit that the run's
//! outcome rests on. What is not asked of a control is no check.

use super::fate;
use super::figures;
use super::kinds;
use super::view::{self, NOTHING};
use crate::result::{
    Audit, DrainResult, Expect, Figure, FigureResult, Resource, ResourceResult, RunResult, TargetResult,
    Verdict,
};

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// As it must be.
    Passed,
    /// Not as it must be.
    Failed,
    /// Not decided.
    Open,
    /// It can't be trusted.
    Broken,
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Check {
    /// Empty for the run as a whole.
    pub(super) target: String,
    /// What is checked: `tasks growth`, `lines`, `process`.
    pub(super) name: String,
    pub(super) status: Status,
    /// What came of it, in one sentence.
    pub(super) said: String,
    /// Its figures, a line each.
    pub(super) figures: Vec<String>,
    /// How long was looked, seconds.
    pub(super) seconds: f64,
}

/// All checks: first of the run as a whole, then of each target in the scenario's order.
pub(super) fn all(result: &RunResult) -> Vec<Check> {
    let targets = view::targets(result);
    let of_targets = targets.iter().flat_map(|(_, name, target)| Held { result, name, target }.checks());
    std::iter::once(whole(result)).chain(of_targets).collect()
}

/// How long a phase took; the whole run where none is named.
pub(super) fn seconds(result: &RunResult, phase: Option<&str>) -> f64 {
    let phases = result.manifest.phases.iter();
    match phase {
        Some(name) => phases.filter(|phase| phase.name == name).map(|phase| phase.to_s - phase.from_s).sum(),
        None => phases.map(|phase| phase.to_s).fold(0.0, f64::max),
    }
}

fn whole(result: &RunResult) -> Check {
    let verdict = &result.verdict;
    let status =
        if verdict.cut_short || verdict.targets.is_empty() { Status::Broken } else { Status::Passed };
    let early = view::stopped_early(result).into_iter();
    Check {
        target: String::new(),
        name: "came to its end".to_owned(),
        status,
        said: format!("{} ({})", verdict.reason, result.manifest.ended),
        figures: early.chain([format!("outcome {}", view::outcome(verdict.outcome).word)]).collect(),
        seconds: seconds(result, None),
    }
}

/// A target and what it is held to.
struct Held<'a> {
    result: &'a RunResult,
    name: &'a str,
    target: &'a TargetResult,
}

impl Held<'_> {
    fn checks(&self) -> Vec<Check> {
        let growths = || Resource::ALL.iter().filter_map(|resource| self.growth(*resource));
        let mut checks: Vec<Check> = match self.target.expect {
            Expect::Flat => {
                let drains = Resource::ALL.iter().filter_map(|resource| self.drain(*resource));
                growths().chain(drains).chain([self.lines(), self.process()]).collect()
            }
            Expect::Leak => growths().collect(),
            Expect::Lose => vec![self.lines()],
        };
        checks.extend(self.target.figures.iter().filter_map(|(figure, found)| self.figure(*figure, *found)));
        checks
    }

    fn figure(&self, figure: Figure, found: FigureResult) -> Option<Check> {
        let status = if found.holds()? { Status::Passed } else { Status::Failed };
        let value = found.value.map_or("not sampled".to_owned(), figures::level);
        let said = format!("{} {value}, {}", figure.title().to_lowercase(), found.bar?.words());
        Some(self.check(figure.key().to_owned(), (status, said), Vec::new()))
    }

    fn check(&self, name: String, (status, said): (Status, String), figures: Vec<String>) -> Check {
        let phase = if name.ends_with("growth") {
            Some("load")
        } else if name.ends_with("drain") {
            Some("drain")
        } else {
            None
        };
        let seconds = seconds(self.result, phase);
        Check { target: self.name.to_owned(), name, status, said, figures, seconds }
    }

    fn growth(&self, resource: Resource) -> Option<Check> {
        let found = self.target.resources.get(&resource)?;
        let judged = &found.judgement;
        let verdict = match (self.target.expect, judged.verdict) {
            (Expect::Leak, _) if !self.must_leak(resource) => return None,
            (Expect::Leak, Verdict::Fail) => {
                (Status::Passed, format!("leaks, as it must: {}", judged.reason))
            }
            (Expect::Leak, Verdict::Pass) => {
                (Status::Failed, format!("must leak and was not seen to: {}", judged.reason))
            }
            (_, Verdict::Inconclusive) => (Status::Open, judged.reason.clone()),
            (_, Verdict::Invalid) => (Status::Broken, judged.reason.clone()),
            (_, Verdict::Fail) => (Status::Failed, judged.reason.clone()),
            (_, Verdict::Pass) => (Status::Passed, judged.reason.clone()),
        };
        Some(self.check(format!("{} growth", resource.key()), verdict, growth_figures(found)))
    }

    /// A record that does not say what must leak is of an older flatline: then what leaks is what must.
    fn must_leak(&self, resource: Resource) -> bool {
        let leaks = |found: &ResourceResult| found.judgement.verdict == Verdict::Fail;
        match self.result.manifest.terms.get(self.name) {
            Some(terms) => terms.must_leak.contains(&resource),
            None => self.target.resources.get(&resource).is_some_and(leaks) || !self.target.met,
        }
    }

    fn drain(&self, resource: Resource) -> Option<Check> {
        let found = self.target.resources.get(&resource)?;
        let name = format!("{} drain", resource.key());
        let Some(drain) = &found.drain else {
            let said = "what is there after the load was not seen".to_owned();
            return Some(self.check(name, (Status::Open, said), Vec::new()));
        };
        let more = figures::change(drain.more());
        let verdict = match drain.explained {
            _ if drain.is_kept() => {
                (Status::Failed, format!("{more} {} did not return after the load", resource.key()))
            }
            None if drain.more() > 0.0 => {
                let why = "no bound is declared, so nobody can say whether that is a pool or a leak";
                (Status::Open, format!("{more} {} after the load; {why}", resource.key()))
            }
            _ => (Status::Passed, "it came back after the load".to_owned()),
        };
        Some(self.check(name, verdict, drain_figures(resource, drain)))
    }

    fn lines(&self) -> Check {
        let Some(audit) = &self.target.audit else {
            let said =
                "lines are accounted for at the end of a run, and this one did not come to it".to_owned();
            return self.check("lines".to_owned(), (Status::Open, said), Vec::new());
        };
        let altered = audit.altered + audit.altered_copies;
        let spoilt = format!(
            "{} of {} lines lost, {} altered",
            figures::count(audit.lost),
            figures::count(audit.sent),
            figures::count(altered)
        );
        let cut = self.result.verdict.cut_short || self.result.verdict.stopped_early.is_some();
        let verdict = match self.target.expect {
            Expect::Lose if audit.lost + altered > 0 => {
                (Status::Passed, format!("loses or alters lines, as it must: {spoilt}"))
            }
            Expect::Lose => {
                (Status::Failed, "must lose or alter lines, and no such line was seen".to_owned())
            }
            _ if altered > 0 || (audit.lost > 0 && !cut) => (Status::Failed, spoilt),
            _ if audit.lost > 0 => {
                let lost = figures::count(audit.lost);
                (Status::Open, format!("{lost} lines had not been delivered when the run was cut short"))
            }
            _ if audit.sent == 0 => (Status::Open, "no line was written, so nothing is shown".to_owned()),
            Expect::Flat | Expect::Leak => (Status::Passed, spoilt),
        };
        self.check("lines".to_owned(), verdict, line_figures(audit))
    }

    fn process(&self) -> Check {
        let stability = &self.target.stability;
        let said = fate::stability(self.target);
        let status = if stability.crashes > 0 { Status::Failed } else { Status::Passed };
        let figures = fate::exhausted(self.target).into_iter().chain(stability.last_log_lines.clone());
        self.check("process".to_owned(), (status, said), figures.collect())
    }
}

fn growth_figures(found: &ResourceResult) -> Vec<String> {
    let judged = &found.judgement;
    let interval = judged.ci_low.zip(judged.ci_high).map(|(low, high)| figures::interval(low, high));
    let figure = |value: Option<f64>, written: fn(f64) -> String| value.map_or(NOTHING.to_owned(), written);
    let mut lines = vec![
        format!("growth {}", figure(judged.growth_per_min, figures::growth)),
        format!("interval {}", interval.unwrap_or(NOTHING.to_owned())),
        format!("limit {}", figures::rate(judged.limit_per_min)),
        format!("floor {}", figure(judged.floor_per_min, figures::rate)),
        format!("warm-up {}", figures::duration(judged.warmup_s)),
        format!("verdict {}", judged.verdict.word()),
    ];
    lines.extend(judged.decided_at_s.map(|at| format!("decided at {}", figures::clock(at))));
    lines
}

fn drain_figures(resource: Resource, drain: &DrainResult) -> Vec<String> {
    let mut lines = vec![
        format!("while idle {}", figures::level(drain.idle_count)),
        format!("after the load {}", figures::level(drain.drained_count)),
    ];
    lines.extend(drain.explained.map(|explained| format!("bounds explain {explained}")));
    lines.extend(kinds::sentence(resource, drain));
    lines
}

fn line_figures(audit: &Audit) -> Vec<String> {
    let counts = [
        ("sent", audit.sent),
        ("delivered", audit.delivered),
        ("duplicated", audit.duplicated),
        ("out of order", audit.out_of_order),
        ("altered", audit.altered),
        ("altered beside a good copy", audit.altered_copies),
        ("rejected", audit.rejected),
        ("skipped", audit.skipped),
        ("dropped", audit.dropped),
        ("dead-lettered", audit.dead_lettered),
        ("in flight", audit.in_flight),
        ("lost", audit.lost),
    ];
    counts.map(|(name, count)| format!("{name} {}", figures::count(count))).to_vec()
}
