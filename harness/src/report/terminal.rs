//! What `flatline ab` prints when it is done: the verdict, a line for each target and resource.

use super::{kinds, processes, versus, view};
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
    }
    for (index, sentence) in (0..).zip(kinds::leaks(result)) {
        let head = if index == 0 { "\n\nWhat leaks:" } else { "" };
        out.push_str(&format!("{head}\n    {sentence}"));
    }
    for (index, sentence) in (0..).zip(processes::said(result)) {
        let head = if index == 0 { "\n\nOther processes:" } else { "" };
        out.push_str(&format!("{head}\n    {sentence}"));
    }
    for (index, one) in (0..).zip(versus::all(result).iter().filter(|one| !one.sentence.is_empty())) {
        let head = if index == 0 { "\n\nTold apart (a single run):" } else { "" };
        out.push_str(&format!("{head}\n    {}: {}", one.resource, one.sentence));
    }
    out
}
