//! Cases and trials in words: pure.

use std::collections::BTreeMap;

use crate::embedded::backlog::Text;
use crate::result::bench::{Measure, WorkKind};
use crate::scenario::bench::{CatchUp, Work};

/// What is to be done.
#[must_use]
pub(super) fn work(work: &Work) -> String {
    match work {
        Work::CatchUp(backlog) => format!("read a backlog to its end: {}", of(*backlog)),
        Work::StartUp(backlog) => format!("start, and deliver the first of {}", of(*backlog)),
        Work::Steady(steady) => {
            let faults = match steady.faults.len() {
                0 => String::new(),
                1 => ", with a fault in the sink".to_owned(),
                count => format!(", with {count} faults in the sink"),
            };
            format!(
                "{} lines of {} bytes a second from {} containers for {}{faults}",
                steady.lines_per_second, steady.line_bytes, steady.containers, steady.length
            )
        }
        Work::Idle(idle) => {
            format!("wait {} beside {} containers that log nothing", idle.length, idle.containers)
        }
        Work::HighestRate(search) => format!(
            "the highest rate from {} containers that is held for {} without being {} behind",
            search.containers, search.hold, search.behind
        ),
    }
}

fn of(CatchUp { files, lines, line_bytes, text }: CatchUp) -> String {
    let full = if text == Text::Escapes { " full of escapes" } else { "" };
    let files = if files == 1 { "one file".to_owned() } else { format!("{files} files") };
    format!("{lines} lines of {line_bytes} bytes{full} in {files}")
}

/// What a trial came to, in few words.
#[must_use]
pub(super) fn trial(work: WorkKind, figures: &BTreeMap<Measure, f64>, troubles: &[String]) -> String {
    if let Some(trouble) = troubles.first() {
        return format!("✗ {}", trouble.lines().next().unwrap_or_default());
    }
    let of = |measure: Measure| figures.get(&measure).copied();
    let parts = match work {
        WorkKind::CatchUp | WorkKind::Steady | WorkKind::Trouble => [
            of(Measure::CpuSecondsPerMillionLines).map(|cpu| format!("{cpu:.2} CPU s per million lines")),
            of(Measure::LinesPerSecond).map(|lines| format!("{lines:.0} lines/s")),
        ],
        WorkKind::StartUp => [
            of(Measure::ReadySeconds).map(|ready| format!("ready after {ready:.2} s")),
            of(Measure::FirstLineSeconds).map(|first| format!("first line after {first:.2} s")),
        ],
        WorkKind::Idle => {
            [of(Measure::CpuShare).map(|share| format!("{:.2} % of a core", share * 100.0)), None]
        }
        WorkKind::HighestRate => {
            [of(Measure::RateHeldPerSecond).map(|rate| format!("{rate:.0} lines/s held")), None]
        }
    };
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
