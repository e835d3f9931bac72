//! From the results model to files that people read: a page, pictures, a summary.
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
pub mod selftest;
pub mod power;
mod comparison;
mod headline;
mod costs;
mod view;
mod kinds;
mod versus;
mod account;
mod png;
mod plotted;
mod html;
mod markdown;
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

/// Writes `report.html`, `summary.md` and the pictures into the run directory; returns their paths.
///
/// # Errors
///
/// Where a file can't be written; the error names it.
pub fn write_all(dir: &Path, result: &RunResult) -> Result<Vec<PathBuf>, ReportError> {
    let page = dir.join(PAGE);
    // The pictures meanwhile: both take their time where a run was long.
    let (html, pictures) = thread::scope(|scope| {
        let pictures = scope.spawn(|| png::write(dir, result));
        let html = html::render(result);
        (html, pictures.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    write(&page, &html.map_err(|source| ReportError::Page { path: page.clone(), source })?)?;
    let pictures = pictures.map_err(|(path, source)| ReportError::Picture { path, source })?;
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
