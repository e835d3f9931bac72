//! What several runs come to together: their clocks moved so that all loads begin at one moment, and their targets named
//! apart. Pure: nothing is judged again but what takes all targets.

use std::collections::BTreeMap;

use crate::result::bench::MissingTarget;
use crate::result::{
    Basis, Event, KindCount, Machine, Manifest, MappedBytes, Missed, Outcome, Part, Phase, RunResult, SCHEMA,
    Sample, Shard, TargetResult, Unaccounted, VerdictFile,
};
use crate::run::compare::compare;
use crate::run::judge::{UNENDED, outcome, without};
use crate::sample::daemons;
use crate::sample::sampler::OWN_NAME;

/// Missing shards that are named at most: more than machines that anyone shares a scenario out among.
const ABSENT_MOST: usize = 100;
/// Events that every run has by the same plan: those of one run are enough.
const PLANNED: [&str; 5] = ["phase", "churn", "fault", "fault_end", "step"];

/// How a run's rows appear in the merged run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Moved {
    /// Its place among the runs, from 1 on.
    place: usize,
    /// Later by so much, seconds.
    by_s: f64,
    /// Its names and those in the merged run, where they are others.
    names: BTreeMap<String, String>,
    /// Whether it is the one whose plan is shown.
    leads: bool,
}

impl Moved {
    /// A name in the merged run; what is no target (the harness, the engine) is there once a run.
    pub(super) fn name(&self, name: &str) -> String {
        self.names.get(name).cloned().unwrap_or_else(|| name.to_owned())
    }

    pub(super) fn sample(&self, row: Sample) -> Sample {
        Sample { elapsed_s: row.elapsed_s + self.by_s, target: self.name(&row.target), ..row }
    }

    pub(super) fn kind(&self, row: KindCount) -> KindCount {
        KindCount { elapsed_s: row.elapsed_s + self.by_s, target: self.name(&row.target), ..row }
    }

    pub(super) fn mapped(&self, row: MappedBytes) -> MappedBytes {
        MappedBytes { elapsed_s: row.elapsed_s + self.by_s, target: self.name(&row.target), ..row }
    }

    /// `None` for what the leading run tells as well.
    fn event(&self, event: &Event) -> Option<Event> {
        let of_run = event.target.is_empty();
        if of_run && !self.leads && PLANNED.contains(&event.event.as_str()) {
            return None;
        }
        let detail = if of_run && !self.leads {
            format!("{} (run {})", event.detail, self.place)
        } else {
            event.detail.clone()
        };
        let elapsed_s = event.elapsed_s + self.by_s;
        Some(Event { elapsed_s, target: self.name(&event.target), event: event.event.clone(), detail })
    }

    fn target(&self, name: &str, result: &TargetResult) -> TargetResult {
        let mut target = result.clone();
        target.leaks = result.leaks.as_ref().map(|said| match said.strip_prefix(name) {
            Some(rest) => format!("{}{rest}", self.name(name)),
            None => said.clone(),
        });
        for resource in target.resources.values_mut() {
            if let Some(line) = &mut resource.line {
                line.from_s += self.by_s;
                line.to_s += self.by_s;
            }
            if let Some(decided_at_s) = &mut resource.judgement.decided_at_s {
                *decided_at_s += self.by_s;
            }
        }
        target.stability.unasked.iter_mut().for_each(|end| end.at_s += self.by_s);
        for one in &mut target.exhausted {
            one.at_s += self.by_s;
            one.ended_at_s = one.ended_at_s.map(|at_s| at_s + self.by_s);
            if let Some(foretold) = &mut one.projected {
                foretold.made_at_s += self.by_s;
                foretold.at_s += self.by_s;
            }
        }
        target
    }
}

/// Each run's place, names and move. Nothing is moved to before the beginning: the load that begins last leads.
pub(super) fn moved(parts: &[RunResult]) -> Vec<Moved> {
    let loads: Vec<f64> = parts.iter().map(load_start).collect();
    let last = loads.iter().copied().fold(0.0, f64::max);
    let leader = loads.iter().position(|load| *load >= last).unwrap_or(0);
    let of = |(index, (part, load)): (usize, (&RunResult, &f64))| Moved {
        place: index + 1,
        by_s: last - load,
        names: names(parts, index, part),
        leads: index == leader,
    };
    parts.iter().zip(&loads).enumerate().map(of).collect()
}

fn load_start(part: &RunResult) -> f64 {
    let phases = &part.manifest.phases;
    phases.iter().find(|phase| phase.name == "load").map_or(0.0, |load| load.from_s)
}

/// A target of which several runs have one is named with its seed, or, where that is the same, with its run. So is
/// whatever else was sampled in each run.
fn names(parts: &[RunResult], index: usize, part: &RunResult) -> BTreeMap<String, String> {
    let others =
        || parts.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, part)| &part.manifest);
    let by_run = |name: &str| format!("{name} (run {})", index + 1);
    let mut names = BTreeMap::new();
    for name in &part.manifest.targets {
        let namesakes: Vec<&Manifest> = others().filter(|other| other.targets.contains(name)).collect();
        if namesakes.is_empty() {
            continue;
        }
        let seed = part.manifest.seed;
        let apart = namesakes.iter().all(|other| other.seed != seed);
        names.insert(name.clone(), if apart { format!("{name} (seed {seed})") } else { by_run(name) });
    }
    if parts.len() > 1 {
        let processes = daemons::NAMES.iter().copied().chain([OWN_NAME]);
        names.extend(processes.map(|name| (name.to_owned(), by_run(name))));
    }
    names
}

/// `run.json` of all of them, on the clock of the one that leads.
pub(super) fn manifest(parts: &[RunResult], moved: &[Moved], command: &[String]) -> Option<Manifest> {
    let each = || parts.iter().zip(moved);
    let (leader, leading) = each().find(|(_, moved)| moved.leads)?;
    let end_s = parts.iter().zip(moved).map(|(part, moved)| end_s(part) + moved.by_s).fold(0.0, f64::max);
    let renamed = |(part, moved): (&RunResult, &Moved)| {
        part.manifest.targets.iter().map(|name| moved.name(name)).collect::<Vec<_>>()
    };
    let terms = each().flat_map(|(part, moved)| {
        part.manifest.terms.iter().map(|(name, terms)| (moved.name(name), terms.clone()))
    });
    let images = each().flat_map(|(part, moved)| {
        part.manifest.images.iter().map(|(name, image)| (moved.name(name), image.clone()))
    });
    let mut phases: Vec<Phase> = leader.manifest.phases.clone();
    phases.iter_mut().for_each(|phase| {
        (phase.from_s, phase.to_s) = (phase.from_s + leading.by_s, phase.to_s + leading.by_s)
    });
    if let Some(last) = phases.last_mut() {
        last.to_s = last.to_s.max(end_s);
    }
    let mut missed = Missed::default();
    parts.iter().for_each(|part| missed += part.manifest.missed);
    Some(Manifest {
        run_id: format!("{}-merged", leader.manifest.run_id),
        started_at: parts.iter().map(|part| part.manifest.started_at.clone()).min()?,
        command: command.to_vec(),
        engine: alike(parts, |manifest| manifest.engine.clone()),
        kernel: alike(parts, |manifest| manifest.kernel.clone()),
        machine: machine(parts),
        phases,
        targets: each().flat_map(renamed).collect(),
        shard: None,
        images: images.collect(),
        missing_targets: missing(parts),
        terms: terms.collect(),
        containers_started: parts.iter().map(|part| part.manifest.containers_started).sum(),
        ended: ended(parts),
        missed,
        segments: Vec::new(),
        parts: each().map(|(run, moved)| part(run, moved)).collect(),
        ..leader.manifest.clone()
    })
}

fn part(run: &RunResult, moved: &Moved) -> Part {
    let Manifest { run_id, targets, seed, started_at, ended, engine, kernel, machine, .. } = &run.manifest;
    Part {
        run_id: run_id.clone(),
        targets: targets.iter().map(|name| moved.name(name)).collect(),
        seed: *seed,
        started_at: started_at.clone(),
        ended: ended.clone(),
        outcome: run.verdict.outcome,
        reason: run.verdict.reason.clone(),
        engine: engine.clone(),
        kernel: kernel.clone(),
        machine: machine.clone(),
        moved_s: moved.by_s,
    }
}

/// Each once: machines may lack the same.
fn missing(parts: &[RunResult]) -> Vec<MissingTarget> {
    let mut missing: Vec<MissingTarget> = Vec::new();
    for target in parts.iter().flat_map(|part| &part.manifest.missing_targets) {
        if !missing.contains(target) {
            missing.push(target.clone());
        }
    }
    missing
}

/// The shards that are not there. A run with every target needs none.
fn absent(parts: &[RunResult]) -> Vec<Shard> {
    let here: Option<Vec<Shard>> = parts.iter().map(|part| part.manifest.shard).collect();
    let here = here.unwrap_or_default();
    let all = here.first().into_iter().flat_map(|first| first.all());
    all.filter(|shard| !here.contains(shard)).take(ABSENT_MOST).collect()
}

/// What all of it comes to where shards are not there: of their targets nobody knows.
fn without_shards((outcome, reason): (Outcome, String), absent: &[Shard]) -> (Outcome, String) {
    if absent.is_empty() {
        return (outcome, reason);
    }
    let outcome = if outcome == Outcome::Met { Outcome::Undecided } else { outcome };
    let names: Vec<String> = absent.iter().map(Shard::to_string).collect();
    (outcome, format!("{reason}; not there: shard {}, of whose targets nobody knows", names.join(", ")))
}

fn end_s(part: &RunResult) -> f64 {
    part.manifest.phases.iter().map(|phase| phase.to_s).fold(0.0, f64::max)
}

/// The one value, or all that there are.
fn alike(parts: &[RunResult], of: impl Fn(&Manifest) -> String) -> String {
    let mut all: Vec<String> = parts.iter().map(|part| of(&part.manifest)).collect();
    all.sort();
    all.dedup();
    all.join("; ")
}

/// Of different machines none is the run's: each part names its own.
fn machine(parts: &[RunResult]) -> Machine {
    let mut machines = parts.iter().map(|part| &part.manifest.machine);
    let first = machines.next().cloned().unwrap_or_default();
    if machines.all(|machine| *machine == first) { first } else { Machine::default() }
}

/// How the first one ended that did not come to its end.
fn ended(parts: &[RunResult]) -> String {
    let endings = || parts.iter().map(|part| part.manifest.ended.as_str());
    let cut = endings().find(|ended| !["finished", "stopped early"].contains(ended));
    cut.or(endings().max()).unwrap_or_default().to_owned()
}

/// What happened, in order of time.
pub(super) fn events(parts: &[RunResult], moved: &[Moved]) -> Vec<Event> {
    let of = |(part, moved): (&RunResult, &Moved)| {
        part.events.iter().filter_map(|event| moved.event(event)).collect::<Vec<_>>()
    };
    let mut events: Vec<Event> = parts.iter().zip(moved).flat_map(of).collect();
    events.sort_by(|a, b| a.elapsed_s.total_cmp(&b.elapsed_s));
    events
}

/// The targets' results as they were judged, and what follows from all of them.
pub(super) fn verdict(parts: &[RunResult], moved: &[Moved]) -> VerdictFile {
    let each = || parts.iter().zip(moved);
    let targets: BTreeMap<String, TargetResult> = each()
        .flat_map(|(part, moved)| {
            part.verdict.targets.iter().map(|(name, result)| (moved.name(name), moved.target(name, result)))
        })
        .collect();
    let cut_short = parts.iter().any(|part| part.verdict.cut_short);
    let (outcome, reason) = outcome(&targets, cut_short);
    // What distrusts a run as a whole distrusts what it adds.
    let untrusted: Vec<String> = each()
        .filter(|(part, _)| part.verdict.outcome == Outcome::Invalid)
        .map(|(part, moved)| format!("run {}: {}", moved.place, part.verdict.reason))
        .collect();
    let is_open = matches!(outcome, Outcome::Met | Outcome::Undecided);
    let (outcome, reason) = if is_open && !untrusted.is_empty() {
        (Outcome::Invalid, untrusted.join("; "))
    } else if cut_short && outcome == Outcome::Met {
        (Outcome::Undecided, UNENDED.to_owned())
    } else {
        (outcome, reason)
    };
    let (outcome, reason) = without((outcome, reason), &missing(parts));
    let (outcome, reason) = without_shards((outcome, reason), &absent(parts));
    let unaccounted = each().flat_map(|(part, moved)| {
        part.verdict.unaccounted.iter().map(|one| Unaccounted {
            from_s: one.from_s + moved.by_s,
            to_s: one.to_s + moved.by_s,
            why: format!("{} (run {})", one.why, moved.place),
        })
    });
    let processes = each().flat_map(|(part, moved)| {
        part.verdict.processes.iter().map(|(name, growths)| (moved.name(name), growths.clone()))
    });
    VerdictFile {
        schema: SCHEMA,
        outcome,
        reason,
        cut_short,
        stopped_early: parts.iter().find_map(|part| part.verdict.stopped_early.clone()),
        unaccounted: unaccounted.collect(),
        comparisons: compare(&targets, if parts.len() > 1 { Basis::RunsApart } else { Basis::SingleRun }),
        processes: processes.collect(),
        targets,
    }
}
