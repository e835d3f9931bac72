//! A run inside a workflow of GitHub Actions: its result as annotations and as the summary of the job's step.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use crate::report;
use crate::result::RunResult;

/// Set to `true` in every step of a workflow.
const INSIDE: &str = "GITHUB_ACTIONS";
/// The file that becomes the step's summary; each who has something to say appends to it.
const SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// Appends the summary, where there is such a file, and answers with the lines that are to be printed: on either output,
/// since the runner reads both. Nothing outside a workflow.
#[must_use]
pub fn tell(result: &RunResult) -> Vec<String> {
    if !is_inside() {
        return Vec::new();
    }
    let mut said: Vec<String> = report::annotations(result).lines().map(str::to_owned).collect();
    if let Some(file) = std::env::var_os(SUMMARY).filter(|file| !file.is_empty())
        && let Err(error) = append(Path::new(&file), &report::step_summary(result))
    {
        // The run has its result, whatever becomes of the summary.
        let file = file.display();
        said.push(format!("flatline: can't append the summary to {file} ({SUMMARY}): {error}"));
    }
    said
}

/// The same where there is no result, but an error in these words.
#[must_use]
pub fn failed(words: &str) -> Option<String> {
    is_inside().then(|| report::annotation(words).trim_end().to_owned())
}

fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some_and(|value| value == "true")
}

fn append(file: &Path, summary: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(file)?;
    // Whatever stands there already, a headline begins a new line after an empty one.
    write!(file, "\n{summary}\n")
}
