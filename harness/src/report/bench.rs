//! What a bench found, as tables for a terminal.

use unicode_width::UnicodeWidthStr;

use super::figures;
use crate::result::bench::{Bench, BenchCase, CaseResult, Estimated, Measure, WorkKind};

/// A column: its head, what stands in it, and how.
type Column = (&'static str, Measure, fn(f64) -> String);

/// A table for each case, who is better by how much below it, and what went wrong.
#[must_use]
pub fn table(bench: &Bench) -> String {
    let mut parts: Vec<String> = bench.cases.iter().map(case).collect();
    parts.extend(foot(bench));
    parts.join("\n\n")
}

fn columns(work: WorkKind) -> Vec<Column> {
    let cpu: Column = ("CPU s/M lines", Measure::CpuSecondsPerMillionLines, figures::spent);
    let peak: Column = ("peak RSS", Measure::RssPeakBytes, bytes);
    match work {
        WorkKind::CatchUp => vec![
            cpu,
            ("lines/CPU s", Measure::LinesPerCpuSecond, whole),
            ("lines/s", Measure::LinesPerSecond, whole),
            ("log/s", Measure::LogBytesPerSecond, bytes),
            peak,
            ("wire B/line", Measure::WireBytesPerLine, whole),
            ("engine CPU s/M", Measure::EngineCpuSecondsPerMillionLines, figures::spent),
        ],
        WorkKind::StartUp => vec![
            ("ready after", Measure::ReadySeconds, figures::latency),
            ("first line after", Measure::FirstLineSeconds, figures::latency),
            ("CPU", Measure::CpuSeconds, seconds),
            peak,
        ],
        WorkKind::Steady | WorkKind::Trouble => vec![
            cpu,
            ("CPU of a core", Measure::CpuShare, figures::percent),
            ("lines/s", Measure::LinesPerSecond, whole),
            ("p50", Measure::LatencyP50Seconds, figures::latency),
            ("p99", Measure::LatencyP99Seconds, figures::latency),
            peak,
            ("engine CPU s/M", Measure::EngineCpuSecondsPerMillionLines, figures::spent),
        ],
        WorkKind::Idle => vec![
            ("CPU of a core", Measure::CpuShare, share),
            ("RSS", Measure::RssBytes, bytes),
            ("threads", Measure::Threads, whole),
            ("FDs", Measure::Fds, whole),
            ("tasks", Measure::Tasks, whole),
        ],
        WorkKind::HighestRate => vec![
            ("lines/s held", Measure::RateHeldPerSecond, whole),
            ("CPU of a core", Measure::CpuShare, figures::percent),
            peak,
        ],
    }
}

fn whole(value: f64) -> String {
    figures::change(value).trim_start_matches('+').to_owned()
}

fn seconds(value: f64) -> String {
    format!("{} s", figures::spent(value))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn bytes(value: f64) -> String {
    figures::bytes(value as u64)
}

/// Idle cost is small: a hundredth of a percent is told.
fn share(value: f64) -> String {
    format!("{:.2} %", value * 100.0)
}

fn case(case: &BenchCase) -> String {
    let columns = columns(case.work);
    let is_there = |column: &&Column| case.targets.values().any(|one| one.figures.contains_key(&column.1));
    let columns: Vec<&Column> = columns.iter().filter(is_there).collect();
    let mut rows = vec![head(&columns)];
    rows.extend(case.targets.iter().map(|(name, result)| row(name, result, &columns)));
    let mut lines = vec![format!("{}: {}", case.name, case.about)];
    lines.extend(aligned(&rows).into_iter().map(|line| format!("  {line}")));
    lines.extend(versus(case).into_iter().map(|line| format!("  {line}")));
    lines.extend(said(case).into_iter().map(|line| format!("  {line}")));
    lines.join("\n")
}

fn head(columns: &[&Column]) -> Vec<String> {
    let named = columns.iter().map(|column| column.0.to_owned());
    let lines = ["lost", "twice"].map(str::to_owned);
    std::iter::once(String::new()).chain(named).chain(lines).collect()
}

fn row(name: &str, result: &CaseResult, columns: &[&Column]) -> Vec<String> {
    // One interval in a line is enough; the result has all of them.
    let cell = |(place, column): (usize, &&Column)| {
        let figure = result.figures.get(&column.1);
        let written = |figure: &Estimated| {
            if place == 0 { with_interval(figure, column.2) } else { column.2(figure.median) }
        };
        figure.map_or_else(|| "-".to_owned(), written)
    };
    let audit = &result.audit;
    let lines = [audit.lost, audit.duplicated].map(figures::count);
    std::iter::once(name.to_owned()).chain(columns.iter().enumerate().map(cell)).chain(lines).collect()
}

/// The median, and its interval where that is wider.
fn with_interval(figure: &Estimated, written: fn(f64) -> String) -> String {
    let [median, low, high] = [figure.median, figure.low, figure.high].map(written);
    if low == high { median } else { format!("{median} [{low}–{high}]") }
}

fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |place: usize| {
        rows.iter().filter_map(|row| row.get(place)).map(|cell| cell.width()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(widest).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(place, (cell, width))| {
            let room = " ".repeat(width.saturating_sub(cell.width()));
            if place == 0 { format!("{cell}{room}") } else { format!("{room}{cell}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn versus(case: &BenchCase) -> Vec<String> {
    let mut lines: Vec<(String, Vec<String>)> = Vec::new();
    for one in &case.versus {
        let between = format!("{} against {}", one.target, one.base);
        let words = format!("{} {}", in_words(one.measure), with_interval(&one.times_better, times));
        match lines.iter_mut().find(|(other, _)| *other == between) {
            Some((_, all)) => all.push(words),
            None => lines.push((between, vec![words])),
        }
    }
    lines.into_iter().map(|(between, all)| format!("{between}, times better: {}", all.join(", "))).collect()
}

fn times(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.1}") }
}

/// A measure that targets are compared by.
pub(super) fn in_words(measure: Measure) -> &'static str {
    match measure {
        Measure::CpuSecondsPerMillionLines => "CPU per line",
        Measure::LinesPerCpuSecond => "lines per CPU second",
        Measure::LinesPerSecond => "lines per second",
        Measure::LogBytesPerSecond => "bytes of logs per second",
        Measure::CpuSeconds => "CPU seconds",
        Measure::WallSeconds => "seconds",
        Measure::CpuShare => "CPU",
        Measure::EngineCpuSecondsPerMillionLines => "the engine's CPU per line",
        Measure::RssPeakBytes => "peak memory",
        Measure::RssBytes => "memory",
        Measure::Threads => "threads",
        Measure::Fds => "descriptors",
        Measure::Tasks => "tasks",
        Measure::WireBytesPerLine => "bytes sent per line",
        Measure::PushesPerMillionLines => "pushes",
        Measure::ReadySeconds => "time to ready",
        Measure::FirstLineSeconds => "time to the first line",
        Measure::LatencyP50Seconds => "p50 latency",
        Measure::LatencyP99Seconds => "p99 latency",
        Measure::LatencyMaxSeconds => "greatest latency",
        Measure::RateHeldPerSecond => "rate held",
        Measure::SinkShare => "the sink's share",
    }
}

/// What went wrong, and what else is to be known.
fn said(case: &BenchCase) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, result) in &case.targets {
        lines.extend(result.troubles.iter().map(|trouble| format!("✗ {name}: {trouble}")));
        lines.extend(result.notes.iter().map(|note| format!("! {name}: {note}")));
        let spoilt = result.audit.altered + result.audit.altered_copies;
        lines.extend((spoilt > 0).then(|| format!("✗ {name}: altered {} lines", figures::count(spoilt))));
        let dropped = result.audit.dropped + result.audit.dead_lettered + result.audit.rejected;
        lines.extend((dropped > 0).then(|| {
            format!("! {name}: {} lines dropped, refused or in the dead letters", figures::count(dropped))
        }));
        lines.extend((result.sink_busy > 0).then(|| {
            format!(
                "! {name}: the sink had no time to spare in {} of {} trials: seconds and lines a second are its own, and \
                 CPU time is the target's",
                result.sink_busy, result.trials
            )
        }));
    }
    lines
}

fn foot(bench: &Bench) -> Vec<String> {
    let mut lines = Vec::new();
    for gone in &bench.missing {
        let sign = if gone.is_wanted { '✗' } else { '!' };
        lines.push(format!("{sign} {}", gone.words()));
    }
    if let Some(alone) = bench.sink_alone {
        lines.push(format!(
            "  The sink alone takes {} lines of {} bytes a second; nobody can be seen to deliver more.",
            whole(alone.lines_per_second),
            alone.line_bytes
        ));
    }
    let figures =
        bench.cases.iter().flat_map(|case| case.targets.values()).flat_map(|one| one.figures.values());
    let several = figures.filter(|figure| figure.values.len() > 1).map(|figure| figure.confidence);
    lines.extend(several.reduce(f64::min).map(|least| {
        format!("  Medians, and [intervals] that are {:.0} % sure or more to hold them.", least * 100.0)
    }));
    if bench.cut_short {
        lines.push("  Cut short: what was measured until then.".to_owned());
    }
    if lines.is_empty() { Vec::new() } else { vec![lines.join("\n")] }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use indexmap::IndexMap;

    use super::*;
    use crate::result::bench::{CaseVersus, MissingTarget, SinkAlone};
    use crate::result::{Audit, Machine};

    fn figure(median: f64) -> Estimated {
        Estimated {
            median,
            low: median * 0.9,
            high: median * 1.25,
            confidence: 0.9375,
            values: vec![median; 5],
        }
    }

    fn result(cpu: f64) -> CaseResult {
        let figures = BTreeMap::from([
            (Measure::CpuSecondsPerMillionLines, figure(cpu)),
            (Measure::LinesPerCpuSecond, figure(1e6 / cpu)),
            (Measure::LinesPerSecond, figure(7e5 / cpu)),
            (Measure::RssPeakBytes, figure(2e7 * cpu)),
        ]);
        let audit = Audit { sent: 500, delivered: 500, ..Audit::default() };
        CaseResult { trials: 5, figures, audit, ..CaseResult::default() }
    }

    /// Two targets, one of them lossy, one not there.
    pub(in crate::report) fn bench() -> Bench {
        let mut slow = result(10.1);
        slow.audit.lost = 3;
        slow.sink_busy = 2;
        slow.troubles = vec!["it ended unasked (signal 9 (SIGKILL))".to_owned()];
        let targets = IndexMap::from([("hybrid".to_owned(), result(0.82)), ("syslog-ng".to_owned(), slow)]);
        let versus = CaseVersus {
            target: "hybrid".to_owned(),
            base: "syslog-ng".to_owned(),
            measure: Measure::CpuSecondsPerMillionLines,
            times_better: figure(12.3),
        };
        let case = BenchCase {
            name: "one-file".to_owned(),
            work: WorkKind::CatchUp,
            about: "read a backlog to its end: 1000000 lines of 200 bytes in one file".to_owned(),
            targets,
            versus: vec![versus],
        };
        Bench {
            schema: 1,
            scenario: "bench".to_owned(),
            started_at: "2026-01-01T00:00:00Z".to_owned(),
            command: vec!["flatline".to_owned(), "bench".to_owned()],
            version: "0".to_owned(),
            commit: "c".to_owned(),
            kernel: "k".to_owned(),
            machine: Machine::default(),
            engine: "embedded".to_owned(),
            seed: 1,
            repeats: 5,
            quick: false,
            cut_short: false,
            sink_alone: Some(SinkAlone { lines_per_second: 912_345.6, line_bytes: 200 }),
            missing: vec![MissingTarget {
                name: "vector".to_owned(),
                program: "vector".to_owned(),
                install: Some("https://vector.dev/docs/setup/installation".to_owned()),
                is_wanted: true,
            }],
            cases: vec![case],
        }
    }

    #[test]
    fn the_table_says_who_did_how_and_what_went_wrong() {
        insta::assert_snapshot!("bench", table(&bench()));
    }

    #[test]
    fn nothing_measured_is_no_table_and_still_says_why() {
        let bench = Bench { cases: Vec::new(), sink_alone: None, cut_short: true, ..bench() };
        let said = table(&bench);
        assert!(said.contains("vector was not run") && said.contains("Cut short"), "{said}");
    }
}
