//! Nights in a row, as `flatline history` shows them: text, Markdown, a page, a picture of each scenario.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use super::markdown::{header, row, safe};
use super::measured;
use super::panel::WIDE;
use super::scene;
use super::view::{self, Mark, NOTHING};
use super::{ReportError, html};
use crate::result::Measure;
use crate::result::contrast::Direction;
use crate::result::trend::{ChangeSeen, NightSeen, ScenarioTrend, Series, Skipped, State, Trend};
use crate::trend::history::{commits, latest};

mod page;
mod plot;

/// Nights that text shows; the page has all.
const NIGHTS: usize = 10;
/// Lines that were passed over of which each is told; the model has all.
const SKIPPED: usize = 20;
/// Columns that a target's name has in text at most; a longer one pushes its own line alone.
const NAME_MOST: usize = 24;
/// Characters of a scenario's name in that of its picture: a file's name has 255 bytes, and a character up to four.
const FILE_NAME_MOST: usize = 50;

/// What it comes to.
pub(super) fn headline(trend: &Trend) -> (Mark, &'static str) {
    match trend.direction {
        Direction::Worse => {
            (Mark { sign: "✗", word: "worse", class: "bad" }, "A change for the worse stands")
        }
        Direction::Open => (Mark { sign: "?", word: "open", class: "open" }, undecided(trend)),
        Direction::Same | Direction::Better => {
            (Mark { sign: "✓", word: "steady", class: "good" }, "No change for the worse stands")
        }
    }
}

/// Why it can't be said that all is well.
fn undecided(trend: &Trend) -> &'static str {
    let mut changes = trend.scenarios.iter().flat_map(changes);
    let is_suspected = |(_, change): (&Series, &ChangeSeen)| {
        (change.direction, change.state) == (Direction::Worse, State::Suspected)
    };
    if trend.scenarios.is_empty() {
        "No night is known"
    } else if changes.any(is_suspected) {
        "The next run decides"
    } else {
        "A night is overdue"
    }
}

/// What of the files was passed over, a line each; beyond what anyone reads only how much.
#[must_use]
pub fn skipped(trend: &Trend) -> Vec<String> {
    let told = trend.skipped.iter().take(SKIPPED);
    let told = told.map(|Skipped { file, line, why }| format!("passed over: line {line} of {file}: {why}"));
    let more = trend.skipped.len().saturating_sub(SKIPPED);
    told.chain((more > 0).then(|| format!("passed over: {more} more lines; --json has each"))).collect()
}

/// The sign of a change.
pub(super) fn state(change: &ChangeSeen) -> Mark {
    match (change.direction, change.state) {
        (_, State::Suspected) => Mark { sign: "?", word: "suspected", class: "open" },
        (Direction::Better, _) => Mark { sign: "✓", word: "better", class: "good" },
        (_, State::Gone) => Mark { sign: "✓", word: "worse, and gone", class: "good" },
        (_, State::Acknowledged) => Mark { sign: "=", word: "worse, acknowledged", class: "open" },
        (_, State::Stands) => Mark { sign: "✗", word: "worse", class: "bad" },
    }
}

/// A change in words. Its letter stands beside it in the plots.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Changed {
    pub(super) letter: String,
    pub(super) since: String,
    pub(super) target: String,
    pub(super) place: usize,
    pub(super) measure: &'static str,
    pub(super) ground: Option<String>,
    pub(super) before: String,
    pub(super) after: String,
    pub(super) mark: Mark,
    pub(super) run: String,
    pub(super) confirmed_by: Option<String>,
    pub(super) commits: String,
    pub(super) with: Vec<String>,
    pub(super) because: Option<String>,
}

/// A letter for each change of a scenario, in order of time: a to z, aa to az and so on.
pub(super) fn letter(place: usize) -> String {
    let last = char::from(b'a' + u8::try_from(place % 26).unwrap_or(0));
    let before = place / 26;
    if before == 0 { last.to_string() } else { format!("{}{last}", letter(before - 1)) }
}

/// The targets of a scenario, in the order of their names, which gives each its colour.
pub(super) fn targets(scenario: &ScenarioTrend) -> Vec<&str> {
    let mut names: Vec<&str> = scenario.series.iter().map(|series| series.target.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Every change, in order of time.
pub(super) fn changes(scenario: &ScenarioTrend) -> Vec<(&Series, &ChangeSeen)> {
    let all =
        scenario.series.iter().flat_map(|series| series.changes.iter().map(move |change| (series, change)));
    let mut all: Vec<(&Series, &ChangeSeen)> = all.collect();
    all.sort_by_key(|(_, change)| change.started_at);
    all
}

fn changed(scenario: &ScenarioTrend) -> Vec<Changed> {
    let targets = targets(scenario);
    let all = changes(scenario).into_iter().enumerate().map(|(index, (series, change))| Changed {
        letter: letter(index),
        since: day(change.started_at),
        target: series.target.clone(),
        place: targets.iter().position(|name| *name == series.target).unwrap_or(0),
        measure: series.measure.title(),
        ground: series.ground.clone(),
        before: measured::value(series.measure, change.before),
        after: measured::value(series.measure, change.after),
        mark: state(change),
        run: change.run_id.clone(),
        confirmed_by: change.confirmed_by.clone(),
        commits: commits(change).unwrap_or_else(|| "not known".to_owned()),
        with: change.with.clone(),
        because: change.because.clone(),
    });
    let mut all: Vec<Changed> = all.collect();
    all.reverse();
    all
}

/// The day of a night.
pub(super) fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

/// Where a series stands now.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Now {
    pub(super) target: String,
    pub(super) place: usize,
    pub(super) measure: &'static str,
    pub(super) ground: Option<String>,
    pub(super) value: String,
    pub(super) at_most: String,
    pub(super) nights: usize,
    pub(super) last: String,
}

fn now(scenario: &ScenarioTrend) -> Vec<Now> {
    let targets = targets(scenario);
    let all = latest(scenario).into_values().filter_map(|series| {
        let last = series.points.last()?;
        let change = series.changes.last();
        Some(Now {
            target: series.target.clone(),
            place: targets.iter().position(|name| *name == series.target).unwrap_or(0),
            measure: series.measure.title(),
            ground: series.ground.clone(),
            value: measured::value(series.measure, last.value),
            at_most: last.ci_high.map_or(NOTHING.to_owned(), |high| measured::value(series.measure, high)),
            nights: series.points.len(),
            last: change.map_or("no change".to_owned(), |change| {
                format!("{} since {}", state(change).word, day(change.started_at))
            }),
        })
    });
    all.collect()
}

/// A line of the list of nights: a night, or those that did not run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Listed {
    pub(super) day: String,
    pub(super) mark: Option<Mark>,
    pub(super) said: String,
    pub(super) revision: String,
    pub(super) ground: Vec<String>,
    pub(super) run: String,
}

/// Nights and gaps, the latest first.
fn listed(scenario: &ScenarioTrend) -> Vec<Listed> {
    let night = |night: &NightSeen| {
        let ended = if night.ended == "finished" { String::new() } else { night.ended.clone() };
        let listed = Listed {
            day: night.started_at.strftime("%Y-%m-%d %H:%M").to_string(),
            mark: Some(view::outcome(night.outcome)),
            said: ended,
            revision: night.revision.clone().unwrap_or_else(|| NOTHING.to_owned()),
            ground: night.new_ground.clone(),
            run: night.run_id.clone(),
        };
        (night.started_at, listed)
    };
    let gaps = scenario.gaps.iter().map(|gap| {
        let said = match gap.nights {
            1 => "one night did not run".to_owned(),
            nights => format!("{nights} nights did not run"),
        };
        let listed = Listed {
            day: format!("after {}", day(gap.from)),
            mark: None,
            said,
            revision: String::new(),
            ground: Vec::new(),
            run: String::new(),
        };
        (gap.to, listed)
    });
    let mut all: Vec<(Timestamp, Listed)> = scenario.nights.iter().map(night).chain(gaps).collect();
    // A gap stands before the night that ended it.
    all.sort_by_key(|(at, listed)| (*at, listed.mark.is_some()));
    all.into_iter().rev().map(|(_, listed)| listed).collect()
}

/// How many nights, from when to when, and how many did not run.
pub(super) fn span(scenario: &ScenarioTrend) -> String {
    let ends = scenario.nights.first().zip(scenario.nights.last());
    let ends = ends.map_or_else(String::new, |(first, last)| {
        format!(", {} to {}", day(first.started_at), day(last.started_at))
    });
    let missing: u64 = scenario.gaps.iter().map(|gap| gap.nights).sum();
    let missing = if missing > 0 { format!("; {missing} did not run") } else { String::new() };
    let nights = scenario.nights.len();
    let word = if nights == 1 { "night" } else { "nights" };
    format!("{nights} {word}{ends}{missing}")
}

/// Few lines for the terminal.
#[must_use]
pub fn terminal(trend: &Trend) -> String {
    let (mark, headline) = headline(trend);
    let mut out = format!("{} {headline}", mark.sign);
    trend.sentences.iter().for_each(|said| out.push_str(&format!("\n  {said}")));
    for scenario in &trend.scenarios {
        out.push_str(&format!("\n\n{}: {}", scenario.scenario, span(scenario)));
        let names = targets(scenario).into_iter().map(UnicodeWidthStr::width);
        let wide = names.filter(|width| *width <= NAME_MOST).max().unwrap_or(0);
        for now in now(scenario) {
            let ground = now.ground.map_or_else(String::new, |ground| format!("  [{ground}]"));
            out.push_str(&format!(
                "\n    {:<wide$} {:<27} {:>13}  at most {:>13}  {}{ground}",
                now.target, now.measure, now.value, now.at_most, now.last
            ));
        }
        for changed in changed(scenario) {
            let commits = &changed.commits;
            out.push_str(&format!(
                "\n  {} {}: {}, {}: {} → {}, {}, commits {commits} (run {})",
                changed.mark.sign,
                changed.since,
                changed.target,
                changed.measure,
                changed.before,
                changed.after,
                changed.mark.word,
                changed.run
            ));
            changed.with.iter().for_each(|with| out.push_str(&format!("\n      with it came {with}")));
            changed.because.iter().for_each(|why| out.push_str(&format!("\n      acknowledged: {why}")));
        }
        for night in listed(scenario).into_iter().take(NIGHTS) {
            let sign = night.mark.map_or(" ", |mark| mark.sign);
            let words = [night.mark.map_or("", |mark| mark.word), &night.said, &night.revision];
            let words = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ");
            out.push_str(&format!("\n    {sign} {}  {words}", night.day));
        }
    }
    out
}

/// For a workflow's summary: the outcome, what changed, where each series stands.
#[must_use]
pub fn markdown(trend: &Trend) -> String {
    let (mark, headline) = headline(trend);
    let mut out = format!("## {} {headline}\n\n", mark.sign);
    let said = trend.sentences.iter().cloned().chain(skipped(trend));
    said.for_each(|said| out.push_str(&format!("- {}\n", safe(&said))));
    for scenario in &trend.scenarios {
        out.push_str(&format!("\n### {}\n\n{}\n\n", safe(&scenario.scenario), span(scenario)));
        let changes = changed(scenario);
        if !changes.is_empty() {
            let columns = ["Target", "Measured", "Before → after", "", "Commits", "Run"].map(str::to_owned);
            out.push_str(&header("Since", &columns));
            for one in changes {
                let levels = format!("{} → {}", one.before, one.after);
                let said = format!("{} {}", one.mark.sign, one.mark.word);
                let cells = [
                    safe(&one.target),
                    one.measure.to_owned(),
                    levels,
                    said,
                    safe(&one.commits),
                    safe(&one.run),
                ];
                out.push_str(&row(&one.since, cells.into_iter()));
            }
            out.push('\n');
        }
        let columns = ["Measured", "Last night", "At most", "Level"].map(str::to_owned);
        out.push_str(&header("Target", &columns));
        for one in now(scenario) {
            let ground = one.ground.map_or_else(String::new, |ground| format!(" ({})", safe(&ground)));
            let cells = [format!("{}{ground}", one.measure), one.value, one.at_most, one.last];
            out.push_str(&row(&safe(&one.target), cells.into_iter()));
        }
    }
    out
}

/// The page alone, in memory.
///
/// # Errors
/// [`html::PageError`].
pub fn page(trend: &Trend) -> Result<String, html::PageError> {
    page::render(trend)
}

/// Writes page, summary and a picture of each scenario into a folder, beside the model itself; returns their paths.
///
/// # Errors
/// Where a file can't be written; the error names it.
pub fn write_all(dir: &Path, trend: &Trend) -> Result<Vec<PathBuf>, ReportError> {
    let [json, html, summary] = ["history.json", "history.html", "history.md"].map(|name| dir.join(name));
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ReportError::Write { path, source }
    };
    std::fs::create_dir_all(dir).map_err(failed(dir))?;
    let model = serde_json::to_string_pretty(trend).map_err(|error| failed(&json)(error.into()))?;
    let page = page(trend).map_err(|source| ReportError::Page { path: html.clone(), source })?;
    for (path, text) in [(&json, model + "\n"), (&html, page), (&summary, markdown(trend))] {
        std::fs::write(path, text).map_err(failed(path))?;
    }
    let names = picture_names(&trend.scenarios);
    let pictures = trend.scenarios.iter().zip(names).map(|(scenario, name)| {
        let path = dir.join(name);
        let drawn = scene::png(&plot::whole(scenario, trend.until, WIDE), &path);
        drawn.map(|()| path.clone()).map_err(|source| ReportError::Picture { path, source })
    });
    let pictures = pictures.collect::<Result<Vec<PathBuf>, ReportError>>()?;
    Ok([json, html, summary].into_iter().chain(pictures).collect())
}

/// `history-nightly.png` and so on. Where two would be the same, the later has a number: none is written over another.
fn picture_names(scenarios: &[ScenarioTrend]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for scenario in scenarios {
        let plain = file_name(&scenario.scenario);
        let numbered = (2..).map(|number| format!("history-{plain}-{number}.png"));
        let mut all = std::iter::once(format!("history-{plain}.png")).chain(numbered);
        names.extend(all.find(|name| !names.contains(name)));
    }
    names
}

/// A scenario's name, as a file may bear it.
fn file_name(name: &str) -> String {
    let fit = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    name.chars().take(FILE_NAME_MOST).map(fit).collect()
}

/// The measures of a scenario that have nights.
pub(super) fn measures(scenario: &ScenarioTrend) -> Vec<Measure> {
    let mut measures: Vec<Measure> = scenario.series.iter().map(|series| series.measure).collect();
    measures.dedup();
    measures
}

#[cfg(test)]
mod tests;
