//! The pictures: one PNG for each resource, and one that compares the targets, fit for a comment.

use std::path::{Path, PathBuf};

use super::panel::WIDE;
use super::scene::{self, PaintError};
use super::{chart, comparison, figures, series, view};
use crate::result::{Resource, RunResult};

/// The picture that compares the targets.
pub(super) const OVERVIEW: &str = "overview.png";

/// The file name of a resource's picture.
pub(super) fn file_name(resource: Resource) -> String {
    format!("growth-{}.png", resource.key())
}

/// Writes every picture that the run has samples for.
pub(super) fn write(dir: &Path, result: &RunResult) -> Result<Vec<PathBuf>, (PathBuf, PaintError)> {
    let title = view::headline(result.verdict.outcome);
    let cut = if result.verdict.cut_short { "Cut short: " } else { "" };
    let early = result.verdict.stopped_early.as_ref();
    let early =
        early.map_or_else(String::new, |early| format!("Stopped early at {}: ", figures::clock(early.at_s)));
    let reason = format!("{cut}{early}{}", result.verdict.reason);
    let overview = comparison::comparison(result, WIDE, Some((title, &reason)));
    let mut pictures = vec![(OVERVIEW.to_owned(), overview)];
    for resource in Resource::ALL {
        let title = format!("{}: growth under load", resource.title());
        let series = series::all(result, resource);
        let drawn = chart::growth((result, &series), resource, WIDE, Some(&title));
        pictures.extend(drawn.map(|scene| (file_name(resource), scene)));
    }
    let mut written = Vec::with_capacity(pictures.len());
    for (name, scene) in pictures {
        let path = dir.join(name);
        scene::png(&scene, &path).map_err(|error| (path.clone(), error))?;
        written.push(path);
    }
    Ok(written)
}
