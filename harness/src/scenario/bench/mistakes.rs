//! Everything in a bench that parses and still makes no sense: all of it at once.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{BenchScenario, Case, CatchUp, HighestRate, Idle, Steady, Work};
use crate::faults;
use crate::scenario::mistakes::{is_word, wrong_ones};
use crate::units::Span;
use crate::world::line::LINE_BYTES_MAX;

/// More is no bench.
const REPEATS_MAX: u32 = 1_000;
const CONTAINERS_MAX: u32 = 10_000;
const LINES_MAX: u64 = 1_000_000_000;
/// All generators together; a machine writes less.
const RATE_MAX: u32 = 10_000_000;
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Each with its field.
pub(super) fn all(scenario: &BenchScenario) -> Vec<String> {
    let word = "1 to 64 letters, digits, - and _";
    let mut mistakes = wrong_ones([
        (!is_word(&scenario.name), format!("name: {word}")),
        (repeats_are_wrong(scenario.repeats), format!("repeats: 1 to {REPEATS_MAX}")),
        (scenario.window.0.is_zero(), "window: above zero".to_owned()),
        (scenario.targets.is_empty(), "targets: name at least one".to_owned()),
        (!scenario.targets.keys().all(|name| is_word(name)), format!("targets: use {word} in their names")),
        (scenario.cases.is_empty(), "cases: name at least one".to_owned()),
    ]);
    let mut names = BTreeSet::new();
    for (place, case) in scenario.cases.iter().enumerate() {
        let twice = (!names.insert(&case.name)).then(|| "name: another case has it".to_owned());
        let of_case = twice.into_iter().chain(of(case));
        mistakes.extend(of_case.map(|mistake| format!("cases[{place}] {}: {mistake}", case.name)));
    }
    mistakes
}

fn repeats_are_wrong(repeats: u32) -> bool {
    !(1..=REPEATS_MAX).contains(&repeats)
}

fn of(case: &Case) -> Vec<String> {
    let mut mistakes = wrong_ones([
        (!is_word(&case.name), "name: 1 to 64 letters, digits, - and _".to_owned()),
        (case.repeats.is_some_and(repeats_are_wrong), format!("repeats: 1 to {REPEATS_MAX}")),
    ]);
    let works = case.works();
    if works.len() != 1 {
        mistakes.push("one of catch_up, start_up, steady, idle and highest_rate is to be done".to_owned());
    }
    mistakes.extend(works.iter().flat_map(|work| match work {
        Work::CatchUp(work) | Work::StartUp(work) => backlog(work),
        Work::Steady(work) => steady(work),
        Work::Idle(work) => idle(work),
        Work::HighestRate(work) => search(work),
    }));
    mistakes
}

fn line_bytes(bytes: usize) -> (bool, String) {
    (!(1..=LINE_BYTES_MAX).contains(&bytes), format!("line_bytes: 1 to {LINE_BYTES_MAX}"))
}

fn containers(field: &str, count: u32, least: u32) -> (bool, String) {
    (!(least..=CONTAINERS_MAX).contains(&count), format!("{field}: {least} to {CONTAINERS_MAX}"))
}

fn span(field: &str, span: Span, least: Duration) -> (bool, String) {
    let wrong = !(least..=LONGEST).contains(&span.0);
    (wrong, format!("{field}: {} to {}", Span(least), Span(LONGEST)))
}

fn backlog(work: &CatchUp) -> Vec<String> {
    wrong_ones([
        containers("files", work.files, 1),
        (
            !(u64::from(work.files)..=LINES_MAX).contains(&work.lines),
            format!("lines: one for each file at least, and at most {LINES_MAX}"),
        ),
        line_bytes(work.line_bytes),
    ])
}

fn steady(work: &Steady) -> Vec<String> {
    let mut mistakes = wrong_ones([
        containers("containers", work.containers, 1),
        (
            !(work.containers..=RATE_MAX).contains(&work.lines_per_second),
            format!("lines_per_second: one for each container at least, and at most {RATE_MAX}"),
        ),
        line_bytes(work.line_bytes),
        span("warmup", work.warmup, Duration::ZERO),
        span("length", work.length, Duration::from_secs(1)),
        (
            work.faults.iter().any(|timed| timed.fault.of_the_world().is_some()),
            "faults: those of the sink alone; a scenario has those of the world".to_owned(),
        ),
    ]);
    mistakes.extend(faults::mistakes(&work.faults));
    if mistakes.is_empty() {
        mistakes.extend(faults::too_often(&work.faults, work.length.0));
        let late = work.faults.iter().any(|timed| timed.at.0 >= work.length.0);
        mistakes.extend(late.then(|| "faults: each begins before `length` is over".to_owned()));
    }
    mistakes
}

fn idle(work: &Idle) -> Vec<String> {
    wrong_ones([
        containers("containers", work.containers, 0),
        span("settle", work.settle, Duration::ZERO),
        span("length", work.length, Duration::from_secs(1)),
    ])
}

fn search(work: &HighestRate) -> Vec<String> {
    wrong_ones([
        containers("containers", work.containers, 1),
        line_bytes(work.line_bytes),
        (
            !(work.containers..=work.to).contains(&work.from),
            "from: one for each container at least, and not above `to`".to_owned(),
        ),
        (work.to > RATE_MAX, format!("to: at most {RATE_MAX}")),
        span("hold", work.hold, Duration::from_secs(1)),
        span("behind", work.behind, Duration::from_millis(100)),
        (work.refine > 10, "refine: 0 to 10".to_owned()),
    ])
}
