//! `summary.md`: the verdict first, one table, the rest folded; fit for a pull request's comment.
//!
//! Every string from outside is escaped for Markdown and for the HTML that it may carry.

use super::ablation;
use super::account;
use super::contrast;
use super::events;
use super::kinds;
use super::pictures;
use super::processes;
use super::versus;
use super::view::{self, Card, Growth, Mark, Row};
use crate::result::{Resource, RunResult};

/// Below the 65,536 characters that a comment may have, with room for what a workflow adds.
const MOST: usize = 60_000;
/// Characters of one string from outside that are shown.
const LONGEST: usize = 600;

/// Whether the files of the pictures lie beside the summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pictures {
    /// They do, and are shown.
    Beside,
    /// They are left out.
    Left,
}

/// Renders the summary.
pub(super) fn render(result: &RunResult, shown: Pictures) -> String {
    let mut out = head(result);
    let about_growth = |part: fn(&RunResult) -> String| {
        if view::growths(result).is_empty() { String::new() } else { part(result) }
    };
    let parts = [
        comparison(result),
        against(result),
        contributions(result),
        leaks(result),
        told_apart(result),
        if shown == Pictures::Beside { pictures(result) } else { String::new() },
        about_growth(reasons),
        about_growth(by_kind),
        about_growth(by_event),
        about_growth(by_process),
        pairs(result),
        audit(result),
        about_growth(impact),
        machine(result),
    ];
    // A part that would burst the limit is left out whole; the page has it.
    let mut left_out = 0;
    for part in parts {
        if out.len() + part.len() < MOST {
            out.push_str(&part);
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 {
        out.push_str(&format!(
            "\nLeft out here, and found in `report.html`: {left_out} parts that are too long.\n"
        ));
    }
    out
}

fn head(result: &RunResult) -> String {
    let cut = if result.verdict.cut_short {
        "> **Cut short.** What is judged is what was seen until then.\n\n"
    } else {
        ""
    };
    let noted = view::stopped_early(result).into_iter().chain(view::unproven(result).map(str::to_owned));
    let noted: String =
        noted.chain(view::compressed(result)).map(|said| format!("> {}\n\n", safe(&said))).collect();
    format!(
        "## {} {}\n\n{cut}{noted}{}\n\n",
        view::outcome(result.verdict.outcome).sign,
        view::headline(result.verdict.outcome),
        safe(&result.verdict.reason)
    )
}

/// How it stands against what is known.
fn against(result: &RunResult) -> String {
    let Some(against) = &result.against else { return String::new() };
    let section = contrast::section(against);
    let said = format!(
        "{} Against what is known: **{}**: {}",
        section.mark.sign,
        section.mark.word,
        safe(&section.sentence)
    );
    let across: String = section.across.iter().map(|said| format!("- {}\n", safe(said))).collect();
    format!("\n{said}\n\n- Known: {}\n{across}\n", safe(&section.baseline))
}

/// What each setting contributes, where targets differ in their settings alone.
fn contributions(result: &RunResult) -> String {
    let Some(table) = ablation::table(result) else { return String::new() };
    let mut out = format!("What each setting contributes. {}\n\n", ablation::NOTE);
    out.push_str(&header(
        "Target",
        &table.columns.iter().map(|title| (*title).to_owned()).collect::<Vec<_>>(),
    ));
    for ablation::Row { name, cells, .. } in table.rows {
        let cells = cells.into_iter().map(|cell| {
            let cell = cell.map(|cell| format!("{} {}", cell.value, cell.mark.map_or("", |mark| mark.sign)));
            cell.unwrap_or_else(|| view::NOTHING.to_owned())
        });
        out.push_str(&row(&format!("**{}**", safe(&name)), cells));
    }
    out.push('\n');
    out
}

/// What leaks, in a sentence for each target of which that can be said.
fn leaks(result: &RunResult) -> String {
    let lines: String =
        kinds::leaks(result).iter().map(|sentence| format!("- {}\n", safe(sentence))).collect();
    if lines.is_empty() { lines } else { format!("What leaks:\n\n{lines}\n") }
}

/// Every kind that grew, and what did not come back.
fn by_kind(result: &RunResult) -> String {
    let columns = ["Kind", "Growth", "Interval", "Of all growth", "First → last", "Worst"].map(str::to_owned);
    let mut table = header("Target, resource", &columns);
    for kind in kinds::growing(result) {
        let ends = format!("{} → {}", kind.first, kind.last);
        let cells = [safe(&kind.kind), kind.growth, kind.interval, kind.share, ends, kind.worst];
        table.push_str(&row(&format!("{}, {}", safe(&kind.target), kind.resource), cells.into_iter()));
    }
    let kept = kinds::kept(result).into_iter();
    let kept: String =
        kept.map(|kept| format!("- {}: {}\n", safe(&kept.target), safe(&kept.sentence))).collect();
    let kept = if kept.is_empty() { "Everything came back after the load.\n".to_owned() } else { kept };
    details("What grew by kind, and what did not come back", &format!("{}\n\n{table}\n{kept}", kinds::NOTE))
}

/// What each leak follows.
fn by_event(result: &RunResult) -> String {
    let rows = events::all(result);
    if rows.is_empty() {
        return String::new();
    }
    let columns = ["Event", "Growth per 1,000", "Interval", "Happened", "Leak"].map(str::to_owned);
    let mut table = header("Target, resource", &columns);
    for against in rows {
        let title = format!("{}, {}", safe(&against.target), against.resource);
        let cells =
            [against.event.to_owned(), against.per_1000, against.interval, against.events, against.follows];
        table.push_str(&row(&title, cells.into_iter()));
    }
    details("By event: what each leak follows", &format!("{}\n\n{table}", events::NOTE))
}

/// Each process: the targets', the engine's, the harness's.
fn by_process(result: &RunResult) -> String {
    let rows = processes::all(result);
    if rows.is_empty() {
        return String::new();
    }
    let mut table = header("Process", &processes::COLUMNS.map(str::to_owned));
    for process in rows {
        let cells = process.cells.into_iter().map(|cell| {
            cell.map_or("–".to_owned(), |cell| {
                let verdict = cell.verdict.map_or_else(String::new, |mark| format!("<br>{}", marked(mark)));
                format!("{} {}{verdict}", cell.growth, cell.interval)
            })
        });
        table.push_str(&row(&format!("**{}**: {}", safe(&process.name), process.role), cells));
    }
    let said: String =
        processes::said(result).iter().map(|sentence| format!("- {}\n", safe(sentence))).collect();
    details("By process: targets, engine, harness", &format!("{}\n\n{table}\n{said}", processes::NOTE))
}

/// What the targets' growths say of each other, in a sentence for each resource.
fn told_apart(result: &RunResult) -> String {
    let all = versus::all(result);
    let said = all.iter().filter(|one| !one.sentence.is_empty());
    let lines: String = said.map(|one| format!("- {}: {}\n", one.resource, safe(&one.sentence))).collect();
    if lines.is_empty() { lines } else { format!("Told apart ({}):\n\n{lines}\n", versus::from(result)) }
}

/// The same with its figures, pair by pair.
fn pairs(result: &RunResult) -> String {
    let all = versus::all(result);
    if all.is_empty() {
        return String::new();
    }
    let columns = ["Difference", "Interval", "What it carries"].map(str::to_owned);
    let mut table = header("Pair, resource", &columns);
    for (one, pair) in all.iter().flat_map(|one| one.pairs.iter().map(move |pair| (one, pair))) {
        let title = format!("{} less {}, {}", safe(&pair.first), safe(&pair.second), one.resource);
        let cells = [pair.difference.clone(), pair.interval.clone(), safe(&pair.sentence)];
        table.push_str(&row(&title, cells.into_iter()));
    }
    details("The targets compared with each other", &format!("{}\n\n{table}", versus::note(result)))
}

/// The table that the post-mortem had, measured anew.
fn comparison(result: &RunResult) -> String {
    let cards = view::cards(result);
    let names: Vec<String> = cards.iter().map(|card| safe(&card.name)).collect();
    let mut out = header("", &names);
    for Row { title, note, cells } in view::growths(result) {
        let limit = if note.is_empty() { String::new() } else { format!("<br>{note}") };
        out.push_str(&row(&format!("**{title}**{limit}"), cells.iter().map(|cell| growth(cell.as_ref()))));
    }
    out.push_str(&row("**Stability**", cards.iter().map(|card| safe(&card.stability))));
    if cards.iter().any(|card| card.ran_in.is_some()) {
        let ran = |card: &Card| safe(card.ran_in.as_deref().unwrap_or("as a process"));
        out.push_str(&row("**Ran**", cards.iter().map(ran)));
    }
    if cards.iter().any(|card| card.allowed.is_some()) {
        let allowed = |card: &Card| safe(card.allowed.as_deref().unwrap_or("none of its own"));
        out.push_str(&row("**Limits**", cards.iter().map(allowed)));
    }
    if cards.iter().any(|card| !card.exhausted.is_empty()) {
        let told = |card: &Card| safe(&card.exhausted.join("; "));
        out.push_str(&row("**Exhausted**", cards.iter().map(told)));
    }
    out.push_str(&row("**Lines lost**", cards.iter().map(lost)));
    out.push_str(&row("**Stays flat?**", cards.iter().map(|card| marked(card.flat))));
    out.push_str(&row("**Expected**", cards.iter().map(expected)));
    out.push('\n');
    out
}

fn growth(cell: Option<&Growth>) -> String {
    cell.map_or("–".to_owned(), |cell| {
        let uncompressed = cell.uncompressed.as_ref().map_or_else(String::new, |rate| format!("<br>{rate}"));
        format!("{} {}{uncompressed}<br>{}", cell.growth, cell.interval, marked(cell.verdict))
    })
}

fn lost(card: &Card) -> String {
    let sign = if card.lost_any { "✗ " } else { "" };
    format!("{sign}{}", card.lines)
}

fn expected(card: &Card) -> String {
    format!("{}<br>{}", card.expected, marked(card.met))
}

fn marked(mark: Mark) -> String {
    format!("{} {}", mark.sign, mark.word)
}

fn pictures(result: &RunResult) -> String {
    let mut out = format!("![Growth per minute of every target]({})\n", pictures::OVERVIEW);
    let mut folded = String::new();
    for resource in Resource::ALL {
        let sampled = result.samples.any(resource.count());
        if sampled {
            folded.push_str(&format!(
                "![{} since the load began]({})\n\n",
                resource.title(),
                pictures::file_name(resource)
            ));
        }
    }
    out.push_str(&details("Growth under load, as plots", &folded));
    out
}

fn reasons(result: &RunResult) -> String {
    let columns = ["Verdict", "Growth", "Interval", "Floor", "Judged", "Why"].map(str::to_owned);
    let mut table = header("Target, resource", &columns);
    for cell in view::growths(result).iter().flat_map(|row| row.cells.iter().flatten()) {
        let cells = [
            marked(cell.verdict),
            cell.growth.clone(),
            cell.interval.clone(),
            cell.floor.clone(),
            cell.judged.clone(),
            safe(&cell.reason),
        ];
        table.push_str(&row(&format!("{}, {}", safe(&cell.target), cell.resource), cells.into_iter()));
    }
    details("How each verdict was reached (floor: the slowest leak that this run could have seen)", &table)
}

fn audit(result: &RunResult) -> String {
    let names: Vec<String> = view::targets(result).iter().map(|(_, name, _)| safe(name)).collect();
    let mut table = header("Lines", &names);
    for Row { title, note, cells } in account::account(result) {
        table.push_str(&row(&format!("**{title}**: {note}"), cells.into_iter()));
    }
    details("Every line accounted for", &table)
}

fn impact(result: &RunResult) -> String {
    let columns = ["After 1 h", "After 24 h", "Then"].map(str::to_owned);
    let mut table = header("Target, resource", &columns);
    for cell in view::growths(result).iter().flat_map(|row| row.cells.iter().flatten()) {
        let cells = [&cell.after_1h, &cell.after_24h, &cell.exhausted].map(Clone::clone);
        table.push_str(&row(&format!("{}, {}", safe(&cell.target), cell.resource), cells.into_iter()));
    }
    details("Where it would lead", &table)
}

fn machine(result: &RunResult) -> String {
    let mut table = header("What ran", &[String::new()]);
    for (name, value) in view::facts(result) {
        table.push_str(&row(name, [safe(&value)].into_iter()));
    }
    let command = safe(&view::command(result));
    let repeat = format!("{table}\nTo repeat it: <code>{command}</code>\n");
    details("Machine, engine, commit, and the command that repeats the run", &repeat)
}

/// The head of a table.
pub(super) fn header(corner: &str, names: &[String]) -> String {
    let rule = names.iter().map(|_| " --- ".to_owned());
    format!("{}|---|{}|\n", row(corner, names.iter().cloned()), rule.collect::<Vec<_>>().join("|"))
}

/// A row of a table.
pub(super) fn row(title: &str, cells: impl Iterator<Item = String>) -> String {
    let mut out = format!("| {title} |");
    for cell in cells {
        out.push_str(&format!(" {cell} |"));
    }
    out.push('\n');
    out
}

fn details(title: &str, body: &str) -> String {
    format!("\n<details><summary>{title}</summary>\n\n{body}\n</details>\n")
}

/// A string from outside as plain words: no markup of either kind, one line, bounded.
pub(super) fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().take(LONGEST) {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '~' | '!' | '@' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    if text.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    out
}
