//! `report.html`: one file that asks nobody for anything.
//!
//! Words come from `view`, pictures from `chart` and `comparison`; the template escapes every string, but
//! for the pictures, whose backend has escaped theirs.

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};
use serde::Serialize;

use super::ablation::{self, Table};
use super::contrast::{self, Section};
use super::cost::{self, Cost};
use super::events::{self, Against};
use super::headline::{self, Better};
use super::kinds::{self, Kept, Kind};
use super::panel::{Format, NARROW, WIDE, short};
use super::processes::{self, Process};
use super::scene::{self, PaintError, Scene};
use super::series::{self, Series};
use super::versus::{self, Versus};
use super::view::{self, Card, Growth, Mark, Moment, Row};
use super::{account, chart, checks, comparison, figures, plotted};
use crate::result::{Manifest, Resource, RunResult, TargetResult};

const TEMPLATE: &str = include_str!("report.html.j2");
pub(super) const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Events that the page lists; all of them are in `events.csv`.
const EVENTS: usize = 200;

/// Letters of an event's detail that it shows.
const DETAIL: usize = 300;

/// Why the page could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// A picture.
    #[error(transparent)]
    Paint(#[from] PaintError),
    /// The plots' data.
    #[error("can't write the plots' data: {0}")]
    Plotted(#[from] serde_json::Error),
    /// The template.
    #[error("can't fill the page's template: {0}")]
    Template(#[from] minijinja::Error),
}

/// A picture inside the page.
#[derive(Serialize)]
pub(super) struct Picture {
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
    /// Each target alone.
    apart: Vec<Alone>,
}

/// One target's own plot.
#[derive(Serialize)]
struct Alone {
    name: String,
    picture: Picture,
}

/// A target whose samples the plots show.
#[derive(Serialize)]
struct Shown<'a> {
    place: usize,
    name: &'a str,
}

/// Who is better in which row of the comparison.
#[derive(Serialize)]
struct Ahead {
    growths: BTreeMap<&'static str, Better>,
    stability: Better,
    lost: Better,
    cpu: Better,
    memory: Better,
    whole: Better,
}

/// Renders the page.
pub(super) fn render(result: &RunResult) -> Result<String, PageError> {
    fill("report.html", TEMPLATE, page(result)?)
}

/// Fills a page's template, escaping every string.
pub(super) fn fill(
    name: &'static str,
    template: &'static str,
    page: impl Serialize,
) -> Result<String, PageError> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.add_template(name, template)?;
    Ok(environment.get_template(name)?.render(Value::from(Serde(page)))?)
}

/// All that the template places.
#[derive(Serialize)]
struct Page<'a> {
    manifest: &'a Manifest,
    outcome: Mark,
    headline: &'static str,
    reason: &'a str,
    cut_short: bool,
    running: bool,
    until: String,
    unfinished: bool,
    stopped_early: Option<String>,
    unproven: Option<&'static str>,
    compressed: Option<String>,
    cards: Vec<Card>,
    /// Whether there are targets to compare.
    several: bool,
    ahead: Ahead,
    target_costs: Vec<Cost>,
    growths: Vec<Row<Option<Growth>>>,
    contributions: Option<Table>,
    contributions_note: &'static str,
    versus: Vec<Versus>,
    versus_note: String,
    against: Option<Section>,
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
    shown: Vec<Shown<'a>>,
    plotted: Value,
    style: Value,
    script: Value,
    events: Vec<Moment>,
    events_total: usize,
    churn: Vec<Moment>,
    churn_total: usize,
}

fn page(result: &RunResult) -> Result<Page<'_>, PageError> {
    let (events, events_total) = moments(result, false);
    let (churn, churn_total) = moments(result, true);
    let series = Resource::ALL.map(|resource| (resource, series::all(result, resource))).into();
    let names = result.manifest.targets.iter().map(String::as_str).enumerate();
    let compare = |format| Some(comparison::comparison(result, format, None));
    Ok(Page {
        manifest: &result.manifest,
        outcome: view::outcome(result.verdict.outcome),
        headline: view::headline(result.verdict.outcome),
        reason: &result.verdict.reason,
        cut_short: result.verdict.cut_short,
        running: view::is_running(result),
        until: figures::clock(checks::seconds(result, None)),
        unfinished: result.verdict.is_unfinished(),
        stopped_early: view::stopped_early(result),
        unproven: view::unproven(result),
        compressed: view::compressed(result),
        cards: view::cards(result),
        several: result.verdict.targets.len() > 1,
        ahead: ahead(result),
        target_costs: cost::target_costs(result),
        growths: view::growths(result),
        contributions: ablation::table(result),
        contributions_note: ablation::NOTE,
        versus: versus::all(result),
        versus_note: versus::note(result),
        against: result.against.as_ref().map(contrast::section),
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
        costs: cost::costs(result),
        facts: view::facts(result),
        command: view::command(result),
        comparison: figure("Growth per minute", "comparison", &compare)?,
        plots: plots(result, &series)?,
        shown: names.map(|(place, name)| Shown { place, name }).collect(),
        plotted: Value::from_safe_string(plotted::json(result, &series)?),
        style: Value::from_safe_string(STYLE.to_owned()),
        script: Value::from_safe_string(SCRIPT.to_owned()),
        events,
        events_total,
        churn,
        churn_total,
    })
}

/// What the page has room for.
fn moments(result: &RunResult, churn: bool) -> (Vec<Moment>, usize) {
    let (mut moments, total) = view::moments(result, churn, EVENTS);
    moments.iter_mut().for_each(|moment| moment.detail = short(&moment.detail, DETAIL));
    (moments, total)
}

fn ahead(result: &RunResult) -> Ahead {
    let targets = view::targets(result);
    let count = |pick: fn(&TargetResult) -> u64| {
        headline::fewest(&targets.iter().map(|(_, name, target)| (*name, pick(target))).collect::<Vec<_>>())
    };
    let costs = cost::target_costs(result);
    let cost = |pick: fn(&Cost) -> Option<f64>| {
        let known: Vec<(&str, f64)> =
            costs.iter().filter_map(|cost| Some((cost.name.as_str(), pick(cost)?))).collect();
        headline::cheapest(&known)
    };
    Ahead {
        growths: headline::growths(result),
        stability: count(|target| u64::from(target.stability.crashes)),
        lost: if result.verdict.is_unfinished() {
            Better::unknown()
        } else {
            count(|target| target.audit.unwrap_or_default().lost)
        },
        cpu: cost(|cost| cost.cpu_s),
        memory: cost(|cost| cost.rss_bytes.map(|bytes| bytes as f64)),
        whole: headline::sound(result),
    }
}

fn plots(result: &RunResult, all: &BTreeMap<Resource, Vec<Series>>) -> Result<Vec<Figure>, PaintError> {
    let pairs = all.iter().map(|(resource, series)| {
        let (run, resource) = ((result, series.as_slice()), *resource);
        let plot =
            figure(resource.title(), resource.key(), &|format| chart::growth(run, resource, format, None));
        let Some(plot) = plot? else { return Ok(None) };
        let apart = chart::apart(run, resource, NARROW).into_iter();
        let alone = |(name, scene): (String, Scene)| Ok(Alone { name, picture: picture(&scene)? });
        Ok(Some(Figure { apart: apart.map(alone).collect::<Result<_, PaintError>>()?, ..plot }))
    });
    pairs.filter_map(Result::transpose).collect()
}

fn figure(
    title: &'static str,
    key: &'static str,
    draw: &dyn Fn(Format) -> Option<Scene>,
) -> Result<Option<Figure>, PaintError> {
    let (Some(wide), Some(narrow)) = (draw(WIDE), draw(NARROW)) else { return Ok(None) };
    Ok(Some(Figure { title, key, wide: picture(&wide)?, narrow: picture(&narrow)?, apart: Vec::new() }))
}

/// A picture to stand in a page.
pub(super) fn picture(scene: &Scene) -> Result<Picture, PaintError> {
    let (body, width, height) = scene::svg(scene)?;
    // What the style says once need not stand in every element. A text's own quotation marks are escaped.
    let body = body.replace(" opacity=\"1\"", "").replace(" font-family=\"sans-serif\"", "");
    Ok(Picture { body: Value::from_safe_string(body), width, height })
}
