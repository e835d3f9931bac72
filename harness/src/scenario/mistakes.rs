//! Everything in a scenario that parses and still makes no sense: all of it at once.

use std::time::Duration;

use super::Scenario;
use crate::faults::{self, Plan};
use crate::result::{Expect, Resource};
use crate::sample::daemons;
use crate::sample::sampler::OWN_NAME;
use crate::units::Span;
use crate::world::generate::{LINE_BYTES_MAX, RATE_MAX};
use crate::world::load::{self, SHORTEST_CHURN};

/// Longer than any soak test; shorter than what clocks and timers can add up.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
/// A look at every process, or a request to the engine, takes some milliseconds.
pub(super) const SHORTEST_BEAT: Duration = Duration::from_millis(100);
/// Names become parts of file names.
const NAME_MAX: usize = 64;
/// More than one machine's engine runs, be it the embedded one.
const CONTAINERS_MAX: usize = 10_000;

/// Each with its field.
pub(super) fn all(scenario: &Scenario) -> Vec<String> {
    let mut mistakes = names_and_limits(scenario);
    mistakes.extend(controls(scenario));
    mistakes.extend(durations(scenario));
    mistakes.extend(containers(&scenario.containers));
    mistakes.extend(burst(scenario));
    mistakes.extend(faults(scenario));
    mistakes.extend(script(scenario));
    mistakes
}

pub(super) fn is_word(text: &str) -> bool {
    let of_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(of_word)
}

pub(super) fn wrong_ones(checks: impl IntoIterator<Item = (bool, String)>) -> Vec<String> {
    checks.into_iter().filter(|(wrong, _)| *wrong).map(|(_, mistake)| mistake).collect()
}

fn names_and_limits(scenario: &Scenario) -> Vec<String> {
    let word = format!("1 to {NAME_MAX} letters, digits, - and _");
    let targets = &scenario.targets;
    let above_zero = |limit: &f64| limit.is_finite() && *limit > 0.0;
    wrong_ones([
        (!is_word(&scenario.name), format!("name: {word}")),
        (targets.is_empty(), "targets: name at least one".to_owned()),
        (!targets.keys().all(|name| is_word(name)), format!("targets: use {word} in their names")),
        (
            targets.contains_key(OWN_NAME),
            format!("targets: {OWN_NAME} is the harness's own name; use another one"),
        ),
        (
            daemons::NAMES.iter().any(|name| targets.contains_key(*name)),
            format!("targets: {} are the engine's own processes; use other names", daemons::NAMES.join(", ")),
        ),
        (
            !scenario.limits.values().all(above_zero),
            "limits: growth per minute, a number above zero".to_owned(),
        ),
    ])
}

/// What a control must leak has to be judged, or its leak is never seen.
fn controls(scenario: &Scenario) -> Vec<String> {
    let mut mistakes = Vec::new();
    for (name, entry) in scenario.targets.iter().filter(|(_, entry)| entry.expect == Expect::Leak) {
        if entry.must_leak.is_empty() {
            mistakes.push(format!("targets.{name}.must_leak: name at least one of tasks, threads, fds"));
        }
        let unseen = |resource: &&Resource| !scenario.limits.contains_key(resource);
        for (field, named) in [("must_leak", &entry.must_leak), ("must_not_leak", &entry.must_not_leak)] {
            for resource in named.iter().filter(unseen) {
                let key = resource.key();
                mistakes
                    .push(format!("targets.{name}.{field}: {key} has no limit, so its leak is never seen"));
            }
        }
    }
    mistakes
}

fn durations(scenario: &Scenario) -> Vec<String> {
    let phases = &scenario.phases;
    let churn = scenario.containers.churn.as_ref();
    let all = [
        ("phases.history", Some(phases.history)),
        ("phases.warmup", Some(phases.warmup)),
        ("phases.load", Some(phases.load)),
        ("phases.drain", Some(phases.drain)),
        ("window", Some(scenario.window)),
        ("sample_every", Some(scenario.sample_every)),
        ("containers.churn.every", churn.map(|churn| churn.every)),
        ("containers.churn.linger", churn.map(|churn| churn.linger)),
    ];
    let too_long = all.iter().filter(|(_, span)| span.is_some_and(|span| span.0 > LONGEST));
    let mut mistakes: Vec<String> =
        too_long.map(|(field, _)| format!("{field}: at most {}", Span(LONGEST))).collect();
    let beat = Span(SHORTEST_BEAT);
    mistakes.extend(wrong_ones([
        (scenario.sample_every.0 < SHORTEST_BEAT, format!("sample_every: at least {beat}")),
        (
            churn.is_some_and(|churn| churn.every.0 < SHORTEST_CHURN),
            format!("containers.churn.every: at least {}", Span(SHORTEST_CHURN)),
        ),
        (scenario.window.0.is_zero(), "window: above zero".to_owned()),
        (
            phases.load.0 < scenario.sample_every.0.saturating_mul(30),
            "phases.load: at least 30 samples long, or nothing can be judged".to_owned(),
        ),
    ]));
    mistakes
}

fn faults(scenario: &Scenario) -> Vec<String> {
    let mut mistakes = faults::mistakes(&scenario.faults);
    let load = scenario.phases.load.0;
    for (place, timed) in scenario.faults.iter().enumerate() {
        if timed.at.0 >= load {
            mistakes.push(format!("faults[{place}].at: before the load ends, after {}", Span(load)));
        }
    }
    // A load that is too long is told as that.
    if load <= LONGEST {
        mistakes.extend(faults::too_often(&scenario.faults, load));
    }
    // What makes no sense by itself may begin without end.
    if load <= LONGEST && mistakes.is_empty() {
        let plan = Plan { seed: scenario.seed, faults: scenario.faults.clone() };
        mistakes.extend(plan.mistakes_of_the_world(load));
    }
    mistakes
}

fn script(scenario: &Scenario) -> Vec<String> {
    let Some(script) = &scenario.script else { return Vec::new() };
    // A load that is too long is told as that.
    script.mistakes(&scenario.containers, scenario.phases.load.0.min(LONGEST))
}

/// A container writes when as many lines are due.
fn burst(scenario: &Scenario) -> Option<String> {
    let (config, load) = (&scenario.containers, scenario.phases.load);
    let due = Duration::from_secs(config.burst.into()) / config.lines_per_second.max(1);
    (due > load.0).then(|| {
        format!(
            "containers.burst: at {} lines a second so many take {} to be due, longer than the load ({load})",
            config.lines_per_second,
            Span(due)
        )
    })
}

fn containers(config: &load::Config) -> Vec<String> {
    let within = |field: &str, value: u64, least: u64, most: u64| {
        (!(least..=most).contains(&value), format!("containers.{field}: {least} to {most}"))
    };
    let no_step = config.churn.as_ref().is_some_and(|churn| churn.steps.is_empty());
    wrong_ones([
        within("count", config.count as u64, 1, CONTAINERS_MAX as u64),
        within("lines_per_second", config.lines_per_second.into(), 1, RATE_MAX.into()),
        within("burst", config.burst.into(), 1, RATE_MAX.into()),
        within("line_bytes", config.line_bytes as u64, 1, LINE_BYTES_MAX as u64),
        within("stderr_percent", config.stderr_percent.into(), 0, 100),
        within("rotate.max_files", config.rotate.max_files.into(), 1, 1000),
        // Docker reads the size as a signed number; the lower end still holds a line.
        within("rotate.max_size", config.rotate.max_size.as_u64(), 1024, 1 << 40),
        (no_step, "containers.churn.steps: name at least one of restart, replace".to_owned()),
    ])
}
