//! What `flatline ab` prints when it is done: the verdict, a line for each target and resource.

use super::view::Card;
use super::{ablation, contrast, kinds, processes, versus, view};
use crate::result::RunResult;

/// Renders it, without colours: it is read in logs as well.
pub(super) fn render(result: &RunResult) -> String {
    let mut out = format!(
        "{} {}: {}",
        view::outcome(result.verdict.outcome).sign,
        view::headline(result.verdict.outcome),
        result.verdict.reason
    );
    if result.verdict.cut_short {
        out.push_str("\n  Cut short: what is judged is what was seen until then.");
    }
    if let Some(early) = view::stopped_early(result) {
        out.push_str(&format!("\n  {early}"));
    }
    if let Some(unproven) = view::unproven(result) {
        out.push_str(&format!("\n  {unproven}"));
    }
    if let Some(compressed) = view::compressed(result) {
        out.push_str(&format!("\n  {compressed}"));
    }
    let rows = view::growths(result);
    let kept = kinds::kept(result);
    for card in view::cards(result) {
        out.push_str(&format!("\n\n{} {} ({}): {}", card.met.sign, card.name, card.expected, card.reason));
        for row in &rows {
            for growth in row.cells.iter().flatten().filter(|growth| growth.target == card.name) {
                out.push_str(&format!(
                    "\n    {} {:<16} {:>12} {:<16}  {}, {}{}",
                    growth.verdict.sign,
                    growth.resource,
                    growth.growth,
                    growth.interval,
                    row.note,
                    growth.floor,
                    growth.uncompressed.as_ref().map_or_else(String::new, |rate| format!(", {rate}"))
                ));
            }
        }
        for kept in kept.iter().filter(|kept| kept.target == card.name) {
            out.push_str(&format!("\n    after the load: {}", kept.sentence));
        }
        out.push_str(&format!("\n    lines: {}", card.lines));
        out.push_str(&fate(&card));
    }
    if let Some(table) = ablation::table(result) {
        out.push_str("\n\nWhat each setting contributes:");
        let heads = ["target"].into_iter().chain(table.columns.iter().copied()).map(str::to_owned).collect();
        let rows = table.rows.into_iter().map(|row| {
            let cell = |cell: Option<ablation::Cell>| {
                let cell =
                    cell.map(|cell| format!("{} {}", cell.value, cell.mark.map_or("", |mark| mark.sign)));
                cell.unwrap_or_else(|| view::NOTHING.to_owned())
            };
            std::iter::once(row.name).chain(row.cells.into_iter().map(cell)).collect()
        });
        aligned(&std::iter::once(heads).chain(rows).collect::<Vec<Vec<String>>>(), &mut out);
    }
    out.push_str(&against(result));
    for (index, sentence) in (0..).zip(kinds::leaks(result)) {
        let head = if index == 0 { "\n\nWhat leaks:" } else { "" };
        out.push_str(&format!("{head}\n    {sentence}"));
    }
    for (index, sentence) in (0..).zip(processes::said(result)) {
        let head = if index == 0 { "\n\nOther processes:" } else { "" };
        out.push_str(&format!("{head}\n    {sentence}"));
    }
    for (index, one) in (0..).zip(versus::all(result).iter().filter(|one| !one.sentence.is_empty())) {
        let head =
            if index == 0 { format!("\n\nTold apart ({}):", versus::from(result)) } else { String::new() };
        out.push_str(&format!("{head}\n    {}: {}", one.resource, one.sentence));
    }
    out
}

/// Rows of cells in columns as wide as they need be, the first to the left and the others to the right.
fn aligned(rows: &[Vec<String>], out: &mut String) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let wide = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|at| wide(at).unwrap_or(0)).collect();
    for row in rows {
        out.push_str("\n   ");
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let cell = cell.trim_end();
            out.push_str(&if at == 0 { format!(" {cell:<width$}") } else { format!("  {cell:>width$}") });
        }
    }
}

/// How it stands against what is known, where it was held against that.
fn against(result: &RunResult) -> String {
    let Some(against) = result.against.as_ref().map(contrast::section) else { return String::new() };
    let across = against.across.iter().map(|said| format!("\n    not as it was then: {said}"));
    format!(
        "\n\n{} {}: {}\n    known: {}{}",
        against.mark.sign,
        against.headline,
        against.sentence,
        against.baseline,
        across.collect::<String>()
    )
}

/// How its process fared, where that is worth a line.
fn fate(card: &Card) -> String {
    let crashed = card.crashed.then(|| format!("\n    process: {}", card.stability));
    let exhausted = card.exhausted.iter().map(|told| format!("\n    limit: {told}"));
    crashed.into_iter().chain(exhausted).collect()
}
