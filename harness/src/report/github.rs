//! What a workflow of GitHub Actions is told: an annotation for each check that did not pass, as workflow commands.

use super::checks::{self, Check, Status};
use super::view;
use crate::result::contrast::Direction;
use crate::result::{Outcome, RunResult};

/// Annotations of each kind that GitHub shows of one step.
const SHOWN: usize = 10;

/// Renders them, a line each: first the outcome.
pub(super) fn render(result: &RunResult) -> String {
    let verdict = &result.verdict;
    let level = match verdict.outcome {
        Outcome::Met => "notice",
        Outcome::Missed => "error",
        Outcome::Undecided | Outcome::Invalid => "warning",
    };
    let mut lines = command(level, view::headline(verdict.outcome), &verdict.reason);
    if let Some(worse) = result.against.as_ref().filter(|against| against.direction == Direction::Worse) {
        lines.push_str(&command("error", "Worse than the baseline", &worse.sentence));
    }
    let checks = checks::all(result);
    for (level, wanted) in
        [("error", [Status::Failed].as_slice()), ("warning", &[Status::Broken, Status::Open])]
    {
        let of_level: Vec<&Check> = checks.iter().filter(|check| wanted.contains(&check.status)).collect();
        // Two are kept for the outcome and for the word on how many more there are.
        let shown = of_level.len().min(SHOWN - 2);
        for check in of_level.iter().take(shown) {
            let figures = check.figures.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
            let words =
                if figures.is_empty() { check.said.clone() } else { format!("{}\n{figures}", check.said) };
            lines.push_str(&command(level, &title(check), &words));
        }
        if of_level.len() > shown {
            let rest = format!("{} more stand in summary.md and junit.xml", of_level.len() - shown);
            lines.push_str(&command(level, "Flatline", &rest));
        }
    }
    lines
}

/// What is told where there is no result.
pub(super) fn failed(error: &str) -> String {
    command("error", "Flatline", error)
}

fn title(check: &Check) -> String {
    let who = if check.target.is_empty() { "the run" } else { &check.target };
    format!("{who}: {}", check.name)
}

fn command(level: &str, title: &str, message: &str) -> String {
    format!("::{level} title={}::{}\n", property(title), data(message))
}

/// A command's message: it ends with the line (`toolkit/packages/core/src/command.ts` writes them so).
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A command's property: it ends with a comma or a colon as well.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
