//! `history.html`: one file that asks nobody for anything.

use minijinja::Value;
use serde::Serialize;

use super::super::html::{PageError, Picture, STYLE, fill, picture};
use super::super::panel::{NARROW, WIDE};
use super::super::view::Mark;
use super::{Changed, Listed, Now, changed, headline, listed, measures, now, plot, skipped, span, targets};
use crate::result::trend::{ScenarioTrend, Trend};

const TEMPLATE: &str = include_str!("../history.html.j2");

#[derive(Serialize)]
struct Page<'a> {
    style: Value,
    outcome: Mark,
    headline: &'static str,
    sentences: &'a [String],
    skipped: Vec<String>,
    scenarios: Vec<Scenario<'a>>,
}

#[derive(Serialize)]
struct Scenario<'a> {
    place: usize,
    name: &'a str,
    span: String,
    targets: Vec<&'a str>,
    changes: Vec<Changed>,
    now: Vec<Now>,
    plots: Vec<Plot>,
    nights: Vec<Listed>,
}

#[derive(Serialize)]
struct Plot {
    title: &'static str,
    wide: Picture,
    narrow: Picture,
}

/// Renders it.
pub(super) fn render(trend: &Trend) -> Result<String, PageError> {
    let (outcome, headline) = headline(trend);
    let scenarios = trend.scenarios.iter().enumerate().map(|(place, of)| scenario(place, of, trend));
    let page = Page {
        style: Value::from_safe_string(STYLE.to_owned()),
        outcome,
        headline,
        sentences: &trend.sentences,
        skipped: skipped(trend),
        scenarios: scenarios.collect::<Result<_, PageError>>()?,
    };
    fill("history.html", TEMPLATE, page)
}

fn scenario<'a>(place: usize, of: &'a ScenarioTrend, trend: &Trend) -> Result<Scenario<'a>, PageError> {
    let plots = measures(of).into_iter().map(|measure| {
        Ok(Plot {
            title: measure.title(),
            wide: picture(&plot::one(of, measure, trend.until, WIDE))?,
            narrow: picture(&plot::one(of, measure, trend.until, NARROW))?,
        })
    });
    Ok(Scenario {
        place,
        name: &of.scenario,
        span: span(of),
        targets: targets(of),
        changes: changed(of),
        now: now(of),
        plots: plots.collect::<Result<_, PageError>>()?,
        nights: listed(of),
    })
}
