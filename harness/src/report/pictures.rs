//! The pictures: one for each resource, and one that compares the targets; each as PNG, fit for a comment, and as SVG.

use std::path::{Path, PathBuf};

use super::panel::WIDE;
use super::scene::{self, PaintError, Scene};
use super::{chart, comparison, figures, series, view};
use crate::result::{Resource, RunResult};

/// The picture that compares the targets, as PNG.
pub(super) const OVERVIEW: &str = "overview.png";

/// The file name of a resource's picture, as PNG.
pub(super) fn file_name(resource: Resource) -> String {
    format!("growth-{}.png", resource.key())
}

/// A picture with the file that it goes to, and what it shows, in words.
pub(super) struct Picture {
    pub(super) name: String,
    pub(super) scene: Scene,
    pub(super) label: String,
}

/// Every picture that the run has samples for.
pub(super) fn all(result: &RunResult) -> Vec<Picture> {
    let title = view::headline(result.verdict.outcome);
    let cut = if result.verdict.cut_short { "Cut short: " } else { "" };
    let early = result.verdict.stopped_early.as_ref();
    let early =
        early.map_or_else(String::new, |early| format!("Stopped early at {}: ", figures::clock(early.at_s)));
    let reason = format!("{cut}{early}{}", result.verdict.reason);
    let scene = comparison::comparison(result, WIDE, Some((title, &reason)));
    let label = "Growth per minute of every target, with its interval, beside the limit".to_owned();
    let mut pictures = vec![Picture { name: OVERVIEW.to_owned(), scene, label }];
    for resource in Resource::ALL {
        let label = format!("{}: growth under load", resource.title());
        let series = series::all(result, resource);
        let drawn = chart::growth((result, &series), resource, WIDE, Some(&label));
        pictures.extend(drawn.map(|scene| Picture { name: file_name(resource), scene, label }));
    }
    pictures
}

/// Writes them into the run directory; returns their paths.
pub(super) fn write(dir: &Path, result: &RunResult) -> Result<Vec<PathBuf>, (PathBuf, PaintError)> {
    let mut written = Vec::new();
    for Picture { name, scene, label } in all(result) {
        let png = dir.join(name);
        scene::png(&scene, &png).map_err(|error| (png.clone(), error))?;
        let svg = png.with_extension("svg");
        let drawn = scene::document(&scene, &label);
        let done = drawn.and_then(|text| std::fs::write(&svg, text).map_err(PaintError::from));
        done.map_err(|error| (svg.clone(), error))?;
        written.extend([png, svg]);
    }
    Ok(written)
}
