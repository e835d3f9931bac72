//! A candidate held against a baseline, as `flatline compare` shows it: text, Markdown, a page, a picture.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::figures;
use super::markdown::{header, row, safe};
use super::measured;
use super::scene::{self, PaintError};
use super::view::{Mark, NOTHING};
use super::{ReportError, html};
use crate::result::contrast::{Contrast, Direction, Fact, Figure, Party, Row, TargetContrast};
use crate::result::{Measure, Sort};

mod page;
mod plot;

/// The files that go to a folder; the model's own is the first.
const FILES: [&str; 4] = ["compare.json", "compare.html", "compare.md", "compare.png"];

/// Its sign: never colour alone.
pub(super) fn mark(direction: Direction) -> Mark {
    let (sign, class) = match direction {
        Direction::Worse => ("✗", "bad"),
        Direction::Better => ("✓", "good"),
        Direction::Same => ("=", "good"),
        Direction::Open => ("?", "open"),
    };
    Mark { sign, word: direction.words(), class }
}

/// One measure of one target, in words.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Line {
    pub(super) title: &'static str,
    pub(super) baseline: String,
    pub(super) baseline_interval: Option<String>,
    pub(super) candidate: String,
    pub(super) candidate_interval: Option<String>,
    pub(super) difference: String,
    pub(super) interval: Option<String>,
    pub(super) share: Option<String>,
    pub(super) matters: String,
    pub(super) sure: &'static str,
    pub(super) relevant: &'static str,
    pub(super) mark: Mark,
    pub(super) why: Option<String>,
}

/// The rows of a target.
pub(super) fn lines(target: &TargetContrast) -> Vec<Line> {
    target.rows.iter().map(|(measure, row)| line(*measure, row)).collect()
}

fn line(measure: Measure, row: &Row) -> Line {
    let value = |figure: Option<Figure>| {
        figure.map_or(NOTHING.to_owned(), |figure| measured::value(measure, figure.value))
    };
    let own = |figure: Option<Figure>| {
        let (low, high) = figure.and_then(|figure| figure.ci_low.zip(figure.ci_high))?;
        Some(measured::interval(measure, low, high))
    };
    let share = row.difference.zip(row.baseline);
    Line {
        title: measure.title(),
        baseline: value(row.baseline),
        baseline_interval: own(row.baseline),
        candidate: value(row.candidate),
        candidate_interval: own(row.candidate),
        difference: row.difference.map_or(NOTHING.to_owned(), |by| measured::change(measure, by)),
        interval: row.ci_low.zip(row.ci_high).map(|(low, high)| measured::interval(measure, low, high)),
        share: share.and_then(|(by, baseline)| measured::share(measure, baseline.value, by)),
        matters: measured::matters(measure, row.matters),
        sure: match row.significant {
            Some(true) => "yes",
            Some(false) => "no",
            None => NOTHING,
        },
        relevant: if row.relevant { "yes" } else { "no" },
        mark: mark(row.direction),
        why: row.why.clone(),
    }
}

/// A side in words: `20261129t123508z-28786 of 2026-11-29T12:35:08Z, revision 56db610`.
pub(super) fn party(party: &Party) -> String {
    let said = party.runs.iter().map(|run| {
        let revision =
            run.revision.as_ref().map_or_else(String::new, |revision| format!(", revision {revision}"));
        let ended = if run.ended == "finished" { String::new() } else { format!(", {}", run.ended) };
        format!("{} of {}{revision}{ended}", run.run_id, run.started_at)
    });
    said.collect::<Vec<_>>().join("; ")
}

/// What matters, in a sentence.
pub(super) fn matters(contrast: &Contrast) -> String {
    let said = contrast.matters.iter().map(|(sort, value)| match sort {
        Sort::Growth => format!("{} {}", sort.key(), figures::rate(*value)),
        Sort::Throughput | Sort::Latency | Sort::Cpu | Sort::Memory | Sort::Duplicates => {
            format!("{} {}", sort.key(), figures::percent(*value))
        }
        Sort::Lines | Sort::Crashes => sort.key().to_owned(),
    });
    format!(
        "The smallest difference that matters: {}; each lost line and each crash.",
        said.collect::<Vec<_>>().join(", ")
    )
}

/// What differs though it was told to compare.
pub(super) fn across(facts: &[Fact]) -> Vec<String> {
    let said = facts.iter().map(|Fact { what, baseline, candidate }| {
        format!("{what}: {baseline} in the baseline, {candidate} in the candidate")
    });
    said.collect()
}

/// Targets that are on one side alone.
pub(super) fn alone(contrast: &Contrast) -> Vec<String> {
    let said = |names: &[String], side: &str| {
        (!names.is_empty()).then(|| format!("only in the {side}: {}", names.join(", ")))
    };
    let both = [said(&contrast.only_in_baseline, "baseline"), said(&contrast.only_in_candidate, "candidate")];
    both.into_iter().flatten().collect()
}

/// A run beside what is known, for its own report.
#[derive(Serialize)]
pub(super) struct Section {
    pub(super) mark: Mark,
    pub(super) headline: &'static str,
    pub(super) sentence: String,
    pub(super) baseline: String,
    pub(super) across: Vec<String>,
    pub(super) matters: String,
    pub(super) note: &'static str,
    pub(super) targets: Vec<page::Target>,
}

/// That section.
pub(super) fn section(contrast: &Contrast) -> Section {
    Section {
        mark: mark(contrast.direction),
        headline: headline(contrast.direction),
        sentence: contrast.sentence.clone(),
        baseline: party(&contrast.baseline),
        across: across(&contrast.across),
        matters: matters(contrast),
        note: NOTE,
        targets: page::targets(contrast),
    }
}

/// Few lines for the terminal.
#[must_use]
pub fn terminal(contrast: &Contrast) -> String {
    let mark_of = mark(contrast.direction);
    let mut out = format!("{} {}: {}\n", mark_of.sign, headline(contrast.direction), contrast.sentence);
    out.push_str(&format!(
        "  baseline:  {}\n  candidate: {}\n",
        party(&contrast.baseline),
        party(&contrast.candidate)
    ));
    for fact in across(&contrast.across) {
        out.push_str(&format!("  ! {fact}\n"));
    }
    for (name, target) in &contrast.targets {
        let control = if target.weighed { "" } else { " (a control: not weighed)" };
        out.push_str(&format!("\n{} {name}{control}\n", mark(target.direction).sign));
        let lines = lines(target);
        let wide =
            |of: fn(&Line) -> &String| lines.iter().map(|line| of(line).chars().count()).max().unwrap_or(0);
        let (before, after, by) =
            (wide(|line| &line.baseline), wide(|line| &line.candidate), wide(|line| &line.difference));
        for line in &lines {
            let interval = line.interval.clone().or(line.share.clone()).unwrap_or_default();
            out.push_str(
                format!(
                    "    {} {:<27} {:>before$} → {:>after$}  {:>by$} {:<20} {}",
                    line.mark.sign,
                    line.title,
                    line.baseline,
                    line.candidate,
                    line.difference,
                    interval,
                    line.why.as_deref().unwrap_or(line.mark.word),
                )
                .trim_end(),
            );
            out.push('\n');
        }
    }
    let alone = alone(contrast);
    alone.iter().for_each(|said| out.push_str(&format!("\n{said}")));
    out.push_str(if alone.is_empty() { "" } else { "\n" });
    out.push_str(&format!("\n{NOTE}\n{}", matters(contrast)));
    out
}

/// What the columns are.
pub(super) const NOTE: &str = "In brackets the difference's interval, which holds for all rows together with 99 %. Worse or \
     better is what is sure (the interval excludes zero) and matters; no difference, where the whole interval lies within \
     what does not matter.";

/// The outcome in few words.
pub(super) fn headline(direction: Direction) -> &'static str {
    match direction {
        Direction::Worse => "Worse than the baseline",
        Direction::Better => "Better than the baseline",
        Direction::Same => "No difference that matters",
        Direction::Open => "Can't tell",
    }
}

/// For a comment: the outcome first, then a table for each target.
#[must_use]
pub fn markdown(contrast: &Contrast) -> String {
    let mark_of = mark(contrast.direction);
    let mut out =
        format!("## {} {}\n\n{}\n\n", mark_of.sign, headline(contrast.direction), safe(&contrast.sentence));
    let (baseline, candidate) = (party(&contrast.baseline), party(&contrast.candidate));
    out.push_str(&format!("- Baseline: {}\n- Candidate: {}\n", safe(&baseline), safe(&candidate)));
    for said in across(&contrast.across).iter().chain(&alone(contrast)) {
        out.push_str(&format!("- **{}**\n", safe(said)));
    }
    let columns = ["Baseline", "Candidate", "Difference", "Interval", "Matters from", ""].map(str::to_owned);
    for (name, target) in &contrast.targets {
        let control = if target.weighed { "" } else { " (a control: not weighed)" };
        let mark_of = mark(target.direction);
        out.push_str(&format!("\n### {} {}{control}\n\n", mark_of.sign, safe(name)));
        out.push_str(&header("Measured", &columns));
        for line in lines(target) {
            let share = line.share.map_or_else(String::new, |share| format!(" ({share})"));
            let why = line.why.map_or_else(String::new, |why| format!(": {}", safe(&why)));
            let said = format!("{} {}{why}", line.mark.sign, line.mark.word);
            let cells = [
                line.baseline,
                line.candidate,
                format!("**{}**{share}", line.difference),
                line.interval.unwrap_or_default(),
                line.matters,
                said,
            ];
            out.push_str(&row(line.title, cells.into_iter()));
        }
    }
    out.push_str(&format!("\n{NOTE} {}\n", matters(contrast)));
    out
}

/// The page alone, in memory.
///
/// # Errors
/// [`html::PageError`].
pub fn page(contrast: &Contrast) -> Result<String, html::PageError> {
    page::render(contrast)
}

/// Writes page, summary and picture into a folder, beside the model itself; returns their paths.
///
/// # Errors
/// Where a file can't be written; the error names it.
pub fn write_all(dir: &Path, contrast: &Contrast) -> Result<Vec<PathBuf>, ReportError> {
    let [json, html, summary, picture] = FILES.map(|name| dir.join(name));
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ReportError::Write { path, source }
    };
    std::fs::create_dir_all(dir).map_err(failed(dir))?;
    let model = serde_json::to_string_pretty(contrast).map_err(|error| failed(&json)(error.into()))?;
    let page = page(contrast).map_err(|source| ReportError::Page { path: html.clone(), source })?;
    for (path, text) in [(&json, model + "\n"), (&html, page), (&summary, markdown(contrast))] {
        std::fs::write(path, text).map_err(failed(path))?;
    }
    let drawn: Result<(), PaintError> = scene::png(&plot::plot(contrast, super::panel::WIDE, true), &picture);
    drawn.map_err(|source| ReportError::Picture { path: picture.clone(), source })?;
    Ok(vec![json, html, summary, picture])
}

#[cfg(test)]
mod tests;
