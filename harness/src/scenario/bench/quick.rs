//! `--quick`: the same work, as little of it as still shows something.

use super::BenchScenario;
use crate::units::Span;

/// Enough for a median; and of cases that take their time whatever the target does.
const REPEATS: u32 = 3;
const TIMED_REPEATS: u32 = 2;
/// Lines and times are divided by this.
const LESS: u32 = 10;
/// No backlog is made smaller than this by it, and no time shorter.
const LINES_MIN: u64 = 1_000;
const LENGTH_MIN: Span = Span::secs(1);

/// Shortens a bench: few repeats, short cases, and some left out.
pub(super) fn shorten(scenario: &mut BenchScenario) {
    scenario.repeats = scenario.repeats.min(REPEATS);
    scenario.cases.retain(|case| case.quick);
    for case in &mut scenario.cases {
        let is_timed = case.catch_up.is_none() && case.start_up.is_none();
        let most = if is_timed { TIMED_REPEATS } else { REPEATS };
        case.repeats = Some(case.repeats.unwrap_or(scenario.repeats).min(most));
        if let Some(backlog) = &mut case.catch_up {
            backlog.lines =
                (backlog.lines / u64::from(LESS)).max(LINES_MIN.max(backlog.files.into()).min(backlog.lines));
        }
        if let Some(steady) = &mut case.steady {
            // Faults have their times within.
            if steady.faults.is_empty() {
                steady.length = shorter(steady.length);
            }
            steady.warmup = shorter(steady.warmup);
        }
        if let Some(idle) = &mut case.idle {
            idle.length = shorter(idle.length);
            idle.settle = shorter(idle.settle);
        }
        if let Some(search) = &mut case.highest_rate {
            search.hold = shorter(search.hold);
        }
    }
}

fn shorter(span: Span) -> Span {
    Span((span.0 / LESS).max(LENGTH_MIN.0.min(span.0)))
}
