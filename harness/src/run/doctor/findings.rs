//! What a machine's facts mean to a run: pure.

use std::time::Duration;

use bytesize::ByteSize;
use serde::Serialize;

use crate::record::bound::Volume;
use crate::scenario::Scenario;

/// Listings by kind are this many beats apart.
const BEATS_BETWEEN_LISTINGS: u64 = 10;
/// Rows of a listing for each process, as published runs have them, and some.
const KINDS: u64 = 40;
/// Phases, crashes, and what is said once.
const OTHER_EVENTS: u64 = 200;
/// The engine's processes, and the harness.
const OTHER_PROCESSES: u64 = 4;
/// What the harness opens for itself, at least.
const DESCRIPTORS_MIN: u64 = 256;
/// A leak of connections is seen up to here at least: the sinks hold their other ends.
const DESCRIPTORS: u64 = 4_096;
/// What a kernel allows a user where nobody has changed it.
const INSTANCES: u64 = 128;

/// What is known of a machine. What could not be found out is `None`.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Where the run directory goes.
    pub out: String,
    /// A file that stands where that, or a folder above it, is to be.
    pub in_the_way: Option<String>,
    /// Free bytes there.
    pub free_bytes: Option<u64>,
    /// Bytes that the run writes at most.
    pub writes_bytes: u64,
    /// Descriptors that this process may open.
    pub descriptors: Option<u64>,
    /// `max_user_instances` of inotify.
    pub instances: Option<u64>,
    /// `max_user_watches` of inotify.
    pub watches: Option<u64>,
    /// Containers at a time.
    pub containers: u64,
    /// Targets.
    pub targets: u64,
    /// The engine's version, or why there is none; `None` where nobody asked.
    pub engine: Option<Result<String, String>>,
    /// Whether the embedded engine would do.
    pub may_embed: bool,
    /// Whether this user is root.
    pub is_root: bool,
    /// A fault that needs root, if the scenario has one.
    pub needs_root: Option<String>,
    /// Whether a time server keeps the wall clock.
    pub is_synchronised: Option<bool>,
    /// How many processes wanted a core at a time, in the last minute.
    pub load: Option<f64>,
    /// Cores.
    pub cores: u64,
    /// Other runs on this machine.
    pub other_runs: u64,
    /// Programs of targets that are not there, with their targets.
    pub missing_programs: Vec<(String, String)>,
    /// Targets whose limits this machine can't keep, and why.
    pub unkept: Vec<(String, String)>,
}

/// What a fact means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Good,
    /// A run is possible; what it says may suffer.
    Warning,
    /// Without it no run is possible.
    Missing,
}

/// One thing that a run needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What: `space`, `descriptors`, `inotify instances`, …
    pub what: &'static str,
    /// Whether it is there.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do; empty where all is well.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub advice: String,
}

fn good(what: &'static str, found: String) -> Finding {
    Finding { what, state: State::Good, found, advice: String::new() }
}

fn warning(what: &'static str, found: String, advice: &str) -> Finding {
    Finding { what, state: State::Warning, found, advice: advice.to_owned() }
}

fn missing(what: &'static str, found: String, advice: &str) -> Finding {
    Finding { what, state: State::Missing, found, advice: advice.to_owned() }
}

/// How much a run of this scenario writes at most, when `done` of its load is over.
#[must_use]
pub fn volume(scenario: &Scenario, done: Duration) -> Volume {
    let phases = &scenario.phases;
    let load = phases.load.0.saturating_sub(done);
    let lasts = [phases.history.0, phases.warmup.0, load, phases.drain.0, Duration::from_mins(1)];
    let lasts: Duration = lasts.iter().sum();
    let beats = times(lasts, scenario.sample_every.0);
    let steps = scenario.script.as_ref().map(|script| script.beginnings(phases.load.0)).unwrap_or_default();
    let most = steps.iter().map(|(_, step)| step.churn).fold(1.0_f64, f64::max);
    let churn = scenario.containers.churn.as_ref();
    let churn = churn.map_or(0, |churn| times(lasts.mul_f64(most), churn.every.0.mul_f64(0.5)));
    let faults = scenario.faults.iter().map(|timed| timed.every.map_or(1, |every| times(load, every.0)));
    let faults = 2 * faults.sum::<u64>();
    let names = scenario.targets.keys().map(String::len).max().unwrap_or(0).max("containerd".len());
    Volume {
        processes: scenario.targets.len() as u64 + OTHER_PROCESSES,
        name_bytes: names as u64,
        beats,
        listings: beats / BEATS_BETWEEN_LISTINGS + OTHER_EVENTS,
        kinds: KINDS,
        events: churn + faults + steps.len() as u64 + OTHER_EVENTS,
    }
}

fn times(lasts: Duration, every: Duration) -> u64 {
    let times = lasts.as_nanos() / every.as_nanos().max(1);
    u64::try_from(times).unwrap_or(u64::MAX).saturating_add(1)
}

/// How much a run writes, and how much room there is.
#[must_use]
pub fn room(facts: &Facts) -> String {
    let writes = format!("this run writes at most {} to {}", ByteSize(facts.writes_bytes), facts.out);
    match facts.free_bytes {
        Some(free) => format!("{writes}; {} are free", ByteSize(free)),
        None => format!("{writes}; nobody says how much is free"),
    }
}

/// Everything that a run needs.
#[must_use]
pub fn all(facts: &Facts) -> Vec<Finding> {
    let findings = [
        Some(space(facts)),
        facts.descriptors.map(descriptors),
        facts.instances.map(|instances| self::instances(instances, facts)),
        facts.watches.map(|watches| self::watches(watches, facts)),
        facts.engine.as_ref().map(|engine| self::engine(engine, facts)),
        Some(permissions(facts)),
        Some(clock(facts)),
        facts.load.map(|load| self::load(load, facts)),
        Some(programs(facts)),
        Some(limits(facts)),
    ];
    findings.into_iter().flatten().collect()
}

/// The same for people.
#[must_use]
pub fn list(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let sign = match finding.state {
            State::Good => "✓",
            State::Warning => "!",
            State::Missing => "✗",
        };
        let found = finding.found.lines().next().unwrap_or_default();
        let advice =
            if finding.advice.is_empty() { String::new() } else { format!("\n    {}", finding.advice) };
        format!("{sign} {}: {found}{advice}", finding.what)
    };
    findings.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn space(facts: &Facts) -> Finding {
    let advice = "free some space, or choose another place with --out DIR";
    if let Some(file) = &facts.in_the_way {
        return missing("space", format!("{file} is no folder"), "choose another place with --out DIR");
    }
    match facts.free_bytes {
        Some(free) if free < facts.writes_bytes => missing("space", room(facts), advice),
        Some(free) if free / 2 < facts.writes_bytes => warning("space", room(facts), advice),
        _ => good("space", room(facts)),
    }
}

fn descriptors(descriptors: u64) -> Finding {
    let found = format!("{descriptors} may be open");
    match descriptors {
        ..DESCRIPTORS_MIN => missing("descriptors", found, "ulimit -n 65536"),
        DESCRIPTORS_MIN..DESCRIPTORS => warning(
            "descriptors",
            found,
            "ulimit -n 65536: the sinks hold the other ends of what a target leaks",
        ),
        _ => good("descriptors", found),
    }
}

fn instances(instances: u64, facts: &Facts) -> Finding {
    let found = format!("{instances} inotify instances for each user");
    let advice = "sysctl fs.inotify.max_user_instances=1024";
    match instances {
        few if few <= facts.targets => missing("inotify instances", found, advice),
        ..INSTANCES => warning("inotify instances", found, advice),
        _ => good("inotify instances", found),
    }
}

fn watches(watches: u64, facts: &Facts) -> Finding {
    let found = format!("{watches} inotify watches for each user");
    if watches / 4 < facts.containers * facts.targets {
        return warning("inotify watches", found, "sysctl fs.inotify.max_user_watches=1048576");
    }
    good("inotify watches", found)
}

fn engine(engine: &Result<String, String>, facts: &Facts) -> Finding {
    match engine {
        Ok(version) => good("engine", version.clone()),
        Err(why) if facts.may_embed => warning(
            "engine",
            why.clone(),
            "without Docker the embedded engine runs the containers, as plain processes",
        ),
        Err(why) => missing("engine", why.clone(), "this scenario or --engine docker needs Docker"),
    }
}

fn permissions(facts: &Facts) -> Finding {
    let (what, user) = ("permissions", "this user is not root".to_owned());
    match &facts.needs_root {
        _ if facts.is_root => good(what, "this user is root".to_owned()),
        Some(fault) => {
            missing(what, format!("{user}, which `{fault}` needs"), "run as root, or leave the fault out")
        }
        None => warning(
            what,
            user,
            "run as root where dockerd's descriptors are to be counted, or where a target reads Docker's own log files",
        ),
    }
}

fn clock(facts: &Facts) -> Finding {
    match facts.is_synchronised {
        Some(true) => good("clock", "kept by a time server".to_owned()),
        Some(false) => warning(
            "clock",
            "no time server keeps it yet".to_owned(),
            "timedatectl set-ntp true; a clock that is set during a run is marked in its report",
        ),
        None => good(
            "clock",
            "nobody says whether a time server keeps it; a jump is marked in the report".to_owned(),
        ),
    }
}

fn load(load: f64, facts: &Facts) -> Finding {
    let cores = facts.cores.max(1);
    let found = format!("{load:.1} processes want {cores} cores, {} other runs", facts.other_runs);
    if load > cores as f64 || facts.other_runs > 0 {
        return warning(
            "load",
            found,
            "let the machine do nothing else: what is slow looks like a queue that fills",
        );
    }
    good("load", found)
}

fn programs(facts: &Facts) -> Finding {
    if facts.missing_programs.is_empty() {
        return good("programs", "of every target".to_owned());
    }
    let found = facts.missing_programs.iter().map(|(target, program)| format!("{target}: no {program}"));
    let advice = "they are looked for beside flatline itself, then in PATH; `cargo build --release` builds those that ship";
    missing("programs", found.collect::<Vec<_>>().join(", "), advice)
}

fn limits(facts: &Facts) -> Finding {
    if facts.unkept.is_empty() {
        return good("limits", "of every target can be kept".to_owned());
    }
    let found = facts.unkept.iter().map(|(target, why)| format!("{target}: {why}"));
    missing(
        "limits",
        found.collect::<Vec<_>>().join("; "),
        "change `resources` in the target's file or the scenario",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::bound;
    use crate::scenario::{Overrides, load as load_scenario};

    fn well() -> Facts {
        Facts {
            out: "reports/x".to_owned(),
            in_the_way: None,
            free_bytes: Some(43_000_000_000),
            writes_bytes: 1_200_000_000,
            descriptors: Some(65_536),
            instances: Some(128),
            watches: Some(100_000),
            containers: 8,
            targets: 3,
            engine: Some(Ok("docker 20.10".to_owned())),
            may_embed: true,
            is_root: true,
            needs_root: None,
            is_synchronised: Some(true),
            load: Some(0.5),
            cores: 2,
            other_runs: 0,
            missing_programs: Vec::new(),
            unkept: Vec::new(),
        }
    }

    /// What is not as it should be.
    fn found(facts: &Facts) -> Vec<(&'static str, State)> {
        let all = all(facts);
        assert!(
            all.iter().all(|finding| (finding.state == State::Good) == finding.advice.is_empty()),
            "{all:?}"
        );
        let bad = all.into_iter().filter(|finding| finding.state != State::Good);
        bad.map(|finding| (finding.what, finding.state)).collect()
    }

    #[test]
    fn a_machine_that_lacks_nothing_is_told_so() {
        assert_eq!(found(&well()), []);
        assert_eq!(all(&well()).len(), 10);
        assert_eq!(room(&well()), "this run writes at most 1.1 GiB to reports/x; 40.0 GiB are free");
    }

    #[test]
    fn each_thing_that_is_short_is_a_warning_or_makes_a_run_impossible() {
        let one = |change: fn(&mut Facts)| {
            let mut facts = well();
            change(&mut facts);
            found(&facts)
        };
        use State::{Missing, Warning};
        assert_eq!(one(|it| it.free_bytes = Some(1_000_000_000)), [("space", Missing)]);
        assert_eq!(one(|it| it.free_bytes = Some(2_000_000_000)), [("space", Warning)]);
        assert_eq!(one(|it| it.free_bytes = None), []);
        assert_eq!(one(|it| it.descriptors = Some(1_024)), [("descriptors", Warning)]);
        assert_eq!(one(|it| it.descriptors = Some(255)), [("descriptors", Missing)]);
        assert_eq!(one(|it| it.instances = Some(3)), [("inotify instances", Missing)]);
        assert_eq!(one(|it| it.instances = Some(127)), [("inotify instances", Warning)]);
        assert_eq!(one(|it| it.watches = Some(95)), [("inotify watches", Warning)]);
        assert_eq!(one(|it| it.engine = Some(Err("no".to_owned()))), [("engine", Warning)]);
        let docker = |it: &mut Facts| (it.engine, it.may_embed) = (Some(Err("no".to_owned())), false);
        assert_eq!(one(docker), [("engine", Missing)]);
        assert_eq!(one(|it| it.is_root = false), [("permissions", Warning)]);
        let user = |it: &mut Facts| (it.is_root, it.needs_root) = (false, Some("disk_full".to_owned()));
        assert_eq!(one(user), [("permissions", Missing)]);
        assert_eq!(one(|it| it.is_synchronised = Some(false)), [("clock", Warning)]);
        assert_eq!(one(|it| it.load = Some(2.1)), [("load", Warning)]);
        assert_eq!(one(|it| it.other_runs = 1), [("load", Warning)]);
        let lacks = |it: &mut Facts| it.missing_programs = vec![("a".to_owned(), "vector".to_owned())];
        assert_eq!(one(lacks), [("programs", Missing)]);
        let unkept = |it: &mut Facts| it.unkept = vec![("a".to_owned(), "no processor 9".to_owned())];
        assert_eq!(one(unkept), [("limits", Missing)]);
        assert_eq!(one(|it| it.in_the_way = Some("reports".to_owned())), [("space", Missing)]);
    }

    #[test]
    fn two_days_write_more_than_five_minutes_and_what_is_over_is_not_written_again() {
        let of = |set: &[&str], done: Duration| {
            let set = set.iter().map(|&set| set.to_owned()).collect();
            let loaded = load_scenario(None, &Overrides { set, ..Overrides::default() }).unwrap();
            bound::bytes(&volume(&loaded.scenario, done)) >> 20
        };
        let (short, long) = (of(&[], Duration::ZERO), of(&["phases.load=48h"], Duration::ZERO));
        assert!((32..64).contains(&short) && (500..2_000).contains(&long), "{short} {long}");
        assert!(of(&["phases.load=48h"], Duration::from_hours(36)) < long / 2);
    }
}
