//! From the results model to files that people read: a page, pictures, a summary.
//!
//! Renderers place what the model says; they judge nothing. The same result gives the same bytes.

mod axis;
mod figures;
mod palette;
mod scene;
mod series;
mod panel;
mod sheet;
mod chart;
pub mod recorded;
pub mod verdicts;
pub mod selftest;
pub mod power;
mod comparison;
mod view;
mod kinds;
mod events;
mod processes;
mod versus;
mod account;
mod png;
mod html;
mod markdown;
mod terminal;

use std::io;
use std::path::{Path, PathBuf};

use crate::result::RunResult;

pub use html::PageError;
pub use scene::PaintError;

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

/// Writes `report.html`, `summary.md` and the pictures into the run directory; returns their paths.
///
/// # Errors
///
/// Where a file can't be written; the error names it.
pub fn write_all(dir: &Path, result: &RunResult) -> Result<Vec<PathBuf>, ReportError> {
    let page = dir.join("report.html");
    let html = html::render(result).map_err(|source| ReportError::Page { path: page.clone(), source })?;
    write(&page, &html)?;
    let pictures = png::write(dir, result).map_err(|(path, source)| ReportError::Picture { path, source })?;
    let summary = dir.join("summary.md");
    write(&summary, &markdown::render(result))?;
    Ok([page, summary].into_iter().chain(pictures).collect())
}

fn write(path: &Path, text: &str) -> Result<(), ReportError> {
    std::fs::write(path, text).map_err(|source| ReportError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod synthetic;
#[cfg(test)]
mod tests;
