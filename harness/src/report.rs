//! From the results model to files that people and programs read: a page, pictures, a summary, what CI takes.
//!
//! Renderers place what the model says; they judge nothing. The same result gives the same bytes.

mod axis;
mod figures;
mod palette;
mod group;
mod scene;
mod series;
mod ground;
mod clip;
mod panel;
mod sheet;
mod chart;
pub mod recorded;
pub mod verdicts;
pub mod watched;
pub mod selftest;
pub mod bench;
pub mod bench_picture;
pub mod power;
mod comparison;
mod measured;
pub mod contrast;
pub mod trend;
mod headline;
mod cost;
mod view;
mod kinds;
mod events;
mod fate;
mod processes;
mod versus;
mod ablation;
mod account;
mod checks;
mod pictures;
mod plotted;
mod html;
mod markdown;
mod junit;
mod benchmark;
mod openmetrics;
mod github;
mod terminal;

use std::io;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use crate::result::RunResult;

pub use html::PageError;
pub use scene::PaintError;

/// The page's file in the run directory.
pub const PAGE: &str = "report.html";

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file.
    #[error("can't write {}: {source}; check that the folder exists, is writable and has room", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A picture file.
    #[error("can't write {}: {source}", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: PaintError,
    },
    /// The page.
    #[error("can't render {}: {source}", path.display())]
    Page {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: PageError,
    },
}

/// The result in few lines, for the terminal.
#[must_use]
pub fn terminal(result: &RunResult) -> String {
    terminal::render(result)
}

/// What a workflow of GitHub Actions is told of the result: workflow commands, a line each.
#[must_use]
pub fn annotations(result: &RunResult) -> String {
    github::render(result)
}

/// What it is told where there is no result, but an error in these words.
#[must_use]
pub fn annotation(error: &str) -> String {
    github::failed(error)
}

/// `summary.md` without its pictures, for a place that does not have their files beside it.
#[must_use]
pub fn step_summary(result: &RunResult) -> String {
    markdown::render(result, markdown::Pictures::Left)
}

/// The page alone, in memory.
///
/// # Errors
/// [`PageError`].
pub fn page(result: &RunResult) -> Result<String, PageError> {
    html::render(result)
}

/// Writes into the run directory what `docs/outputs.md` lists, all of it drawn; returns the paths.
///
/// # Errors
///
/// Where a file can't be written; the error names it.
pub fn write_all(dir: &Path, result: &RunResult) -> Result<Vec<PathBuf>, ReportError> {
    let page = dir.join(PAGE);
    // The pictures meanwhile: both take their time where a run was long.
    let (html, pictures) = thread::scope(|scope| {
        let pictures = scope.spawn(|| pictures::write(dir, result));
        let html = html::render(result);
        (html, pictures.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    let html = html.map_err(|source| ReportError::Page { path: page.clone(), source })?;
    let failed = |path: &Path, source| ReportError::Write { path: path.to_owned(), source };
    let (junit, benchmark) = (dir.join("junit.xml"), dir.join("benchmark.json"));
    let texts = [
        (page, html),
        (dir.join("summary.md"), markdown::render(result, markdown::Pictures::Beside)),
        (junit.clone(), junit::render(result).map_err(|error| failed(&junit, error))?),
        (benchmark.clone(), benchmark::render(result).map_err(|error| failed(&benchmark, error.into()))?),
        (dir.join("metrics.prom"), openmetrics::render(result)),
    ];
    for (path, text) in &texts {
        std::fs::write(path, text).map_err(|source| failed(path, source))?;
    }
    let pictures = pictures.map_err(|(path, source)| ReportError::Picture { path, source })?;
    Ok(texts.into_iter().map(|(path, _)| path).chain(pictures).collect())
}

#[cfg(test)]
mod nights;
#[cfg(test)]
mod synthetic;
#[cfg(test)]
mod tests;
