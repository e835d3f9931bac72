//! `report.html`: one file that asks nobody for anything.
//!
//! Words come from `view`, pictures from `chart` and `comparison`; the template escapes every string, but
//! for the pictures, whose backend has escaped theirs.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};
use serde::Serialize;

use super::events::{self, Against};
use super::kinds::{self, Kept, Kind};
use super::panel::{Format, NARROW, WIDE};
use super::processes::{self, Process};
use super::scene::{self, PaintError, Scene};
use super::versus::{self, Versus};
use super::view::{self, Card, Cost, Growth, Mark, Moment, Row};
use super::{account, chart, comparison};
use crate::result::{Manifest, Resource, RunResult};

const TEMPLATE: &str = include_str!("report.html.j2");

/// Events that the page lists; all of them are in `events.csv`.
const EVENTS: usize = 200;

/// Why the page could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// A picture.
    #[error(transparent)]
    Paint(#[from] PaintError),
    /// The template.
    #[error("can't fill the page's template: {0}")]
    Template(#[from] minijinja::Error),
}

/// A picture inside the page.
#[derive(Serialize)]
struct Picture {
    body: Value,
    width: i32,
    height: i32,
}

/// The same picture twice: for screens and paper, and for phones.
#[derive(Serialize)]
struct Figure {
    title: &'static str,
    key: &'static str,
    wide: Picture,
    narrow: Picture,
}

/// Renders the page.
pub(super) fn render(result: &RunResult) -> Result<String, PageError> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.add_template("report.html", TEMPLATE)?;
    Ok(environment.get_template("report.html")?.render(Value::from(Serde(page(result)?)))?)
}

/// All that the template places.
#[derive(Serialize)]
struct Page<'a> {
    manifest: &'a Manifest,
    outcome: Mark,
    headline: &'static str,
    reason: &'a str,
    cut_short: bool,
    stopped_early: Option<String>,
    cards: Vec<Card>,
    growths: Vec<Row<Option<Growth>>>,
    versus: Vec<Versus>,
    versus_note: &'static str,
    leaks: Vec<String>,
    kinds: Vec<Kind>,
    kinds_note: &'static str,
    by_event: Vec<Against>,
    by_event_note: &'static str,
    by_process: Vec<Process>,
    by_process_note: &'static str,
    by_process_columns: [&'static str; 4],
    processes: Vec<String>,
    kept: Vec<Kept>,
    audit: Vec<Row<String>>,
    costs: Vec<Cost>,
    facts: Vec<(&'static str, String)>,
    command: String,
    comparison: Option<Figure>,
    plots: Vec<Figure>,
    events: Vec<Moment>,
    events_total: usize,
    churn: Vec<Moment>,
    churn_total: usize,
}

fn page(result: &RunResult) -> Result<Page<'_>, PaintError> {
    let (events, events_total) = view::moments(result, false, EVENTS);
    let (churn, churn_total) = view::moments(result, true, EVENTS);
    let compare = |format| Some(comparison::comparison(result, format, None));
    Ok(Page {
        manifest: &result.manifest,
        outcome: view::outcome(result.verdict.outcome),
        headline: view::headline(result.verdict.outcome),
        reason: &result.verdict.reason,
        cut_short: result.verdict.cut_short,
        stopped_early: view::stopped_early(result),
        cards: view::cards(result),
        growths: view::growths(result),
        versus: versus::all(result),
        versus_note: versus::NOTE,
        leaks: kinds::leaks(result),
        kinds: kinds::growing(result),
        kinds_note: kinds::NOTE,
        by_event: events::all(result),
        by_event_note: events::NOTE,
        by_process: processes::all(result),
        by_process_note: processes::NOTE,
        by_process_columns: processes::COLUMNS,
        processes: processes::said(result),
        kept: kinds::kept(result),
        audit: account::account(result),
        costs: view::costs(result),
        facts: view::facts(result),
        command: view::command(result),
        comparison: figure("Growth per minute", "comparison", &compare)?,
        plots: plots(result)?,
        events,
        events_total,
        churn,
        churn_total,
    })
}

fn plots(result: &RunResult) -> Result<Vec<Figure>, PaintError> {
    let pairs = Resource::ALL.into_iter().map(|resource| {
        figure(resource.title(), resource.key(), &|format| chart::growth(result, resource, format, None))
    });
    pairs.filter_map(Result::transpose).collect()
}

fn figure(
    title: &'static str,
    key: &'static str,
    draw: &dyn Fn(Format) -> Option<Scene>,
) -> Result<Option<Figure>, PaintError> {
    let (Some(wide), Some(narrow)) = (draw(WIDE), draw(NARROW)) else { return Ok(None) };
    Ok(Some(Figure { title, key, wide: picture(&wide)?, narrow: picture(&narrow)? }))
}

fn picture(scene: &Scene) -> Result<Picture, PaintError> {
    let (body, width, height) = scene::svg(scene)?;
    Ok(Picture { body: Value::from_safe_string(body), width, height })
}
