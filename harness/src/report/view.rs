//! What a reader is told, as words in the order in which they are told: the page and the summary place them.
//!
//! Nothing is judged here. A word such as "leaks" repeats a verdict of the model.

use serde::Serialize;

use super::cost;
pub(super) use super::cost::NOTHING;
use super::{fate, figures, headline};
use crate::result::{
    Compression, DrainResult, Expect, Judgement, Machine, Manifest, Outcome, Part, Projection, Resource,
    ResourceResult, RunResult, TargetResult, Verdict,
};

/// A word with the sign that stands beside it, and its class of colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Mark {
    /// Never colour alone.
    pub(super) sign: &'static str,
    /// The word.
    pub(super) word: &'static str,
    /// `good`, `bad`, `open`.
    pub(super) class: &'static str,
}

/// What a run leaves unproven by the engine that it ran on.
pub(super) fn unproven(result: &RunResult) -> Option<&'static str> {
    let is_embedded = result.manifest.engine.starts_with("embedded ");
    is_embedded.then_some(
        "Ran on the embedded engine: its containers were plain processes. What shippers do with files, rotation, churn and \
         Loki's answers is shown; what Docker itself adds is not: its API and its log follower under load and over restarts, \
         its limits, and what a shipper holds in dockerd.",
    )
}

/// What it means that time was compressed, if it was.
pub(super) fn compressed(result: &RunResult) -> Option<String> {
    let Compression { times, kept } = result.manifest.compression.as_ref()?;
    let kept = if kept.is_empty() {
        String::new()
    } else {
        format!(" Not compressed in full: {}.", kept.join("; "))
    };
    Some(format!(
        "Time compressed {times} times: a minute of this run holds what {times} minutes of its scenario hold. Figures per \
         minute and what follows from them, limits too, are those of this run: divided by {times} they are what they would \
         be uncompressed. Figures per event are the same either way.{kept}"
    ))
}

/// What a figure per minute is in the scenario's own time, where that was compressed.
fn uncompressed(result: &RunResult, per_min: Option<f64>) -> Option<String> {
    let times = result.manifest.compression.as_ref()?.times.get();
    Some(format!("{} uncompressed", figures::rate(per_min? / times)))
}

/// When and why `--fail-fast` has ended the run, if it has.
pub(super) fn stopped_early(result: &RunResult) -> Option<String> {
    let early = result.verdict.stopped_early.as_ref()?;
    Some(format!("Stopped early at {} because {}.", figures::clock(early.at_s), early.because))
}

/// Whether the run still goes on: it is judged so far.
pub(super) fn is_running(result: &RunResult) -> bool {
    result.verdict.cut_short && result.manifest.ended == Manifest::RUNNING
}

/// A run's outcome as a headline.
pub(super) fn headline(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Met => "Every expectation is met",
        Outcome::Missed => "An expectation is missed",
        Outcome::Undecided => "Not decided",
        Outcome::Invalid => "This run can't be trusted",
    }
}

/// The sign of a run's outcome.
pub(super) fn outcome(outcome: Outcome) -> Mark {
    match outcome {
        Outcome::Met => Mark { sign: "✓", word: "met", class: "good" },
        Outcome::Missed => Mark { sign: "✗", word: "missed", class: "bad" },
        Outcome::Undecided => Mark { sign: "?", word: "undecided", class: "open" },
        Outcome::Invalid => Mark { sign: "!", word: "invalid", class: "open" },
    }
}

/// The sign of a verdict.
pub(super) fn verdict(verdict: Verdict) -> Mark {
    let (sign, class) = match verdict {
        Verdict::Pass => ("✓", "good"),
        Verdict::Fail => ("✗", "bad"),
        Verdict::Inconclusive => ("?", "open"),
        Verdict::Invalid => ("!", "open"),
    };
    Mark { sign, word: verdict.word(), class }
}

/// Whether a target stays flat: what its resources' verdicts say together.
fn flatness(target: &TargetResult) -> Mark {
    let any = |wanted| target.resources.values().any(|found| found.judgement.verdict == wanted);
    if any(Verdict::Fail) {
        Mark { sign: "✗", word: "leaks", class: "bad" }
    } else if target.resources.is_empty() {
        Mark { sign: "–", word: "growth not judged", class: "open" }
    } else if any(Verdict::Invalid) {
        Mark { sign: "!", word: "can't be judged", class: "open" }
    } else if any(Verdict::Inconclusive) {
        Mark { sign: "?", word: "not decided", class: "open" }
    } else {
        Mark { sign: "✓", word: "stays flat", class: "good" }
    }
}

/// What was expected of a target.
pub(super) fn expected(target: &TargetResult) -> &'static str {
    match target.expect {
        Expect::Flat => "must stay flat and lose no line",
        Expect::Leak => "a control: it must leak",
        Expect::Lose => "a control: it must lose lines, or alter them",
    }
}

/// Whether it did; of a run under way or killed, what is open might still have been decided either way.
fn met(result: &RunResult, target: &TargetResult) -> Mark {
    let failed = target.resources.values().any(|found| found.judgement.verdict == Verdict::Fail);
    if target.met {
        Mark { sign: "✓", word: "as expected", class: "good" }
    } else if result.verdict.is_unfinished() && !failed && target.stability.crashes == 0 {
        let word = if is_running(result) { "not decided yet" } else { "not known" };
        Mark { sign: "?", word, class: "open" }
    } else {
        Mark { sign: "✗", word: "not as expected", class: "bad" }
    }
}

/// One target in short.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Card {
    pub(super) name: String,
    pub(super) place: usize,
    pub(super) design: String,
    pub(super) flat: Mark,
    pub(super) met: Mark,
    pub(super) expected: &'static str,
    /// Its verdict in one sentence.
    pub(super) says: String,
    pub(super) reason: String,
    /// What grows, how fast, since when.
    pub(super) leaks: Vec<Leak>,
    /// How many lines are lost, of those sent.
    pub(super) lines: String,
    pub(super) lost_any: bool,
    pub(super) cost: String,
    pub(super) stability: String,
    pub(super) allowed: Option<String>,
    pub(super) ran_in: Option<String>,
    /// Which of what it may use it used up, and what had been foretold.
    pub(super) exhausted: Vec<String>,
    pub(super) crashed: bool,
    pub(super) log: Vec<String>,
}

/// A resource of a target that grows above its limit.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Leak {
    pub(super) resource: String,
    pub(super) growth: String,
    /// How sure, since when, and when it was clear.
    pub(super) detail: String,
}

/// The growth of one resource of one target.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Growth {
    pub(super) target: String,
    pub(super) resource: &'static str,
    pub(super) growth: String,
    /// The same in the scenario's own time, where that was compressed.
    pub(super) uncompressed: Option<String>,
    pub(super) interval: String,
    pub(super) floor: String,
    pub(super) verdict: Mark,
    pub(super) reason: String,
    pub(super) warmup: String,
    pub(super) judged: String,
    pub(super) decided: String,
    pub(super) after_1h: String,
    pub(super) after_24h: String,
    pub(super) exhausted: String,
    pub(super) idle: String,
    pub(super) drained: String,
    pub(super) kept: String,
}

/// A row of cells under one heading, one cell for each target.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row<T> {
    pub(super) title: &'static str,
    pub(super) note: String,
    pub(super) cells: Vec<T>,
}

/// A row of the timeline.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Moment {
    pub(super) at: String,
    pub(super) target: String,
    pub(super) event: String,
    pub(super) detail: String,
}

/// Targets in the scenario's order, with their places; those without a verdict have no column.
pub(super) fn targets(result: &RunResult) -> Vec<(usize, &str, &TargetResult)> {
    let names = result.manifest.targets.iter().enumerate();
    names
        .filter_map(|(place, name)| Some((place, name.as_str(), result.verdict.targets.get(name)?)))
        .collect()
}

/// Every target in short.
pub(super) fn cards(result: &RunResult) -> Vec<Card> {
    targets(result).into_iter().map(|(place, name, target)| card(result, place, name, target)).collect()
}

fn card(result: &RunResult, place: usize, name: &str, target: &TargetResult) -> Card {
    let failing = target.resources.iter().filter(|(_, found)| found.judgement.verdict == Verdict::Fail);
    let cost = cost::of(result, name);
    Card {
        name: name.to_owned(),
        place,
        design: target.design.clone(),
        flat: flatness(target),
        met: met(result, target),
        expected: expected(target),
        says: headline::sentence(name, target),
        reason: target.reason.clone(),
        leaks: failing.map(|(resource, found)| leak(*resource, found)).collect(),
        lines: lines(target),
        lost_any: target.audit.is_some_and(|audit| audit.lost > 0),
        cost: format!(
            "{} of CPU time ({} of one core), {} of memory at most",
            cost.cpu, cost.share, cost.rss
        ),
        stability: fate::stability(target),
        ran_in: fate::ran_in(result, name),
        allowed: fate::allowed(result, name),
        exhausted: fate::exhausted(target),
        crashed: target.stability.crashes > 0,
        log: target.stability.last_log_lines.clone(),
    }
}

fn lines(target: &TargetResult) -> String {
    let Some(audit) = target.audit else { return "not accounted for".to_owned() };
    let lost = match audit.lost {
        0 => "none".to_owned(),
        lost => figures::count(lost),
    };
    format!("{lost} lost of {} sent", figures::count(audit.sent))
}

fn leak(resource: Resource, found: &ResourceResult) -> Leak {
    let judged = &found.judgement;
    let since = found.line.map(|line| format!("since {} of the run", figures::clock(line.from_s)));
    let clear = judged.decided_at_s.map(|at| format!("could be called a leak at {}", figures::clock(at)));
    let spent = found.projection.exhausted_in_s.is_some();
    let spent = spent.then(|| exhausted(found.projection.process_limit, found.projection.exhausted_in_s));
    let parts = [Some(format!("90 % interval {}", interval(judged))), since, clear, spent];
    Leak {
        resource: resource.title().to_lowercase(),
        growth: judged.growth_per_min.map_or(NOTHING.to_owned(), figures::growth),
        detail: parts.into_iter().flatten().collect::<Vec<_>>().join(", "),
    }
}

fn interval(judged: &Judgement) -> String {
    let ends = judged.ci_low.zip(judged.ci_high);
    ends.map_or(NOTHING.to_owned(), |(low, high)| figures::interval(low, high))
}

/// The growth of every resource, one cell for each target.
pub(super) fn growths(result: &RunResult) -> Vec<Row<Option<Growth>>> {
    let rows = Resource::ALL.into_iter().map(|resource| {
        let cell = |(_, name, target): (usize, &str, &TargetResult)| {
            let found = target.resources.get(&resource)?;
            let uncompressed = uncompressed(result, found.judgement.growth_per_min);
            Some(Growth { uncompressed, ..growth(name, resource, found) })
        };
        let cells: Vec<Option<Growth>> = targets(result).into_iter().map(cell).collect();
        let limit = result.manifest.limits.get(&resource).copied();
        let said = |limit| {
            let uncompressed = uncompressed(result, Some(limit)).map(|rate| format!(" ({rate})"));
            format!("limit {}{}", figures::rate(limit), uncompressed.unwrap_or_default())
        };
        let note = limit.map_or(String::new(), said);
        Row { title: resource.title(), note, cells }
    });
    rows.filter(|row| row.cells.iter().any(Option::is_some)).collect()
}

fn growth(name: &str, resource: Resource, found: &ResourceResult) -> Growth {
    let ResourceResult { judgement, line, projection, drain, estimate: _, kinds: _, events: _ } = found;
    let Projection { after_1h, after_24h, process_limit, exhausted_in_s } = projection;
    let span = |line: &crate::result::FittedLine| {
        format!("{} to {}", figures::clock(line.from_s), figures::clock(line.to_s))
    };
    Growth {
        target: name.to_owned(),
        resource: resource.title(),
        growth: judgement.growth_per_min.map_or("not measured".to_owned(), figures::growth),
        uncompressed: None,
        interval: interval(judgement),
        floor: judgement.floor_per_min.map_or(NOTHING.to_owned(), figures::rate),
        verdict: verdict(judgement.verdict),
        reason: judgement.reason.clone(),
        warmup: figures::duration(judgement.warmup_s),
        judged: line.as_ref().map_or(NOTHING.to_owned(), span),
        decided: judgement.decided_at_s.map_or(NOTHING.to_owned(), figures::clock),
        after_1h: figures::change(*after_1h),
        after_24h: figures::change(*after_24h),
        exhausted: exhausted(*process_limit, *exhausted_in_s),
        idle: drain.as_ref().map_or(NOTHING.to_owned(), |drain| figures::level(drain.idle_count)),
        drained: drain.as_ref().map_or(NOTHING.to_owned(), |drain| figures::level(drain.drained_count)),
        kept: drain.as_ref().map_or(NOTHING.to_owned(), kept),
    }
}

fn exhausted(process_limit: Option<u64>, in_s: Option<f64>) -> String {
    let Some(limit) = process_limit.map(figures::count) else {
        return "no limit of its own known".to_owned();
    };
    match in_s {
        Some(seconds) => format!("its limit of {limit} reached in {}", figures::duration(seconds)),
        None => format!("its limit of {limit} not reached"),
    }
}

fn kept(drain: &DrainResult) -> String {
    figures::change(drain.more())
}

/// At most so many events whose kind is, or is not, churn; and how many there are in all.
pub(super) fn moments(result: &RunResult, churn: bool, at_most: usize) -> (Vec<Moment>, usize) {
    let wanted = || result.events.iter().filter(|event| (event.event == "churn") == churn);
    let shown = wanted().take(at_most).map(|event| Moment {
        at: figures::clock(event.elapsed_s),
        target: if event.target.is_empty() { "all".to_owned() } else { event.target.clone() },
        event: event.event.clone(),
        detail: event.detail.clone(),
    });
    (shown.collect(), wanted().count())
}

/// What ran where: names and values.
pub(super) fn facts(result: &RunResult) -> Vec<(&'static str, String)> {
    let manifest = &result.manifest;
    let Machine { cpu, cores, memory_bytes } = &manifest.machine;
    let ended = manifest.phases.iter().map(|phase| phase.to_s).fold(0.0, f64::max);
    let parts = manifest.parts.iter().map(|part| {
        let Part { run_id, targets, machine: Machine { cpu, cores, .. }, engine, ended, .. } = part;
        ("Merged from", format!("{run_id} ({ended}): {}; {cpu}, {cores} cores, {engine}", targets.join(", ")))
    });
    let whole = vec![
        ("Scenario", manifest.scenario.clone()),
        ("Started", manifest.started_at.clone()),
        ("Took", figures::duration(ended)),
        ("Ended", manifest.ended.clone()),
        ("Containers started", figures::count(manifest.containers_started)),
        ("Sampling", figures::missed(manifest.missed)),
        ("Sink refuses what is older than", figures::duration(manifest.window_s)),
        ("Machine", format!("{cpu}, {cores} cores, {}", figures::bytes(*memory_bytes))),
        ("Engine", manifest.engine.clone()),
        ("Kernel", manifest.kernel.clone()),
        ("Flatline", format!("{} at commit {}", manifest.version, manifest.commit)),
        ("Seed", manifest.seed.to_string()),
        ("Run", manifest.run_id.clone()),
    ];
    whole.into_iter().chain(parts).collect()
}

/// The command line that repeats the run, quoted for a POSIX shell.
pub(super) fn command(result: &RunResult) -> String {
    result.manifest.command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_pasted_into_a_shell() {
        assert_eq!(quoted("scenarios/quick.yaml"), "scenarios/quick.yaml");
        assert_eq!(quoted("it's; rm"), r"'it'\''s; rm'");
        assert_eq!(quoted(""), "''");
    }
}
