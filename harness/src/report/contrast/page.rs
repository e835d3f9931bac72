//! `compare.html`: one file that asks nobody for anything.

use minijinja::Value;
use serde::Serialize;

use super::super::html::{PageError, Picture, STYLE, fill, picture};
use super::super::panel::{NARROW, WIDE};
use super::super::view::Mark;
use super::{Line, NOTE, across, alone, headline, lines, mark, matters, party, plot};
use crate::result::contrast::Contrast;

const TEMPLATE: &str = include_str!("../compare.html.j2");

#[derive(Serialize)]
struct Page<'a> {
    style: Value,
    outcome: Mark,
    headline: &'static str,
    sentence: &'a str,
    baseline: String,
    candidate: String,
    across: Vec<String>,
    alone: Vec<String>,
    targets: Vec<Target>,
    note: &'static str,
    matters: String,
    wide: Picture,
    narrow: Picture,
}

#[derive(Serialize)]
pub(in super::super) struct Target {
    place: usize,
    name: String,
    weighed: bool,
    mark: Mark,
    lines: Vec<Line>,
}

/// Each target's rows.
pub(super) fn targets(contrast: &Contrast) -> Vec<Target> {
    let targets = contrast.targets.iter().enumerate().map(|(place, (name, target))| Target {
        place,
        name: name.clone(),
        weighed: target.weighed,
        mark: mark(target.direction),
        lines: lines(target),
    });
    targets.collect()
}

/// Renders it.
pub(super) fn render(contrast: &Contrast) -> Result<String, PageError> {
    let page = Page {
        style: Value::from_safe_string(STYLE.to_owned()),
        outcome: mark(contrast.direction),
        headline: headline(contrast.direction),
        sentence: &contrast.sentence,
        baseline: party(&contrast.baseline),
        candidate: party(&contrast.candidate),
        across: across(&contrast.across),
        alone: alone(contrast),
        targets: targets(contrast),
        note: NOTE,
        matters: matters(contrast),
        wide: picture(&plot::plot(contrast, WIDE, false))?,
        narrow: picture(&plot::plot(contrast, NARROW, false))?,
    };
    fill("compare.html", TEMPLATE, page)
}
