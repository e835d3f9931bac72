//! The growth plot of one resource: what each target added since the load began, beside the limit.
//!
//! Targets differ by orders of magnitude in what they hold, so counts themselves would show who is large,
//! not who grows. Every line is therefore moved to start at zero where the load begins; then the limit, so
//! much a minute, is a line on the same axis. Where one target outgrows the others by far, a second panel
//! shows the neighbourhood of the limit, with the same time axis.

use super::figures;
use super::ground::{Counts, Crash, Ground, Stretch};
use super::group::{Group, Part};
use super::palette::AXIS;
use super::panel::Format;
use super::scene::{Point, Scene};
use super::series::{self, Series};
use super::sheet::{Key, Sheet};
use crate::result::{Event, Phase, Resource, RunResult};

/// The second panel appears where the first is so many times as high as the limit's end.
const CROWDED: f64 = 4.0;

/// So many lines have as many points as there are columns; more share them.
const CROWD: usize = 8;

/// Draws the plot; `None` where no target has such samples. `title` is for a picture that stands alone.
pub(super) fn growth(
    (result, series): (&RunResult, &[Series]),
    resource: Resource,
    format: Format,
    title: Option<&str>,
) -> Option<Scene> {
    // Among many lines nobody sees as much of each.
    let columns = format.columns() * CROWD / series.len().max(CROWD);
    let series = series::coarse(series, columns);
    let end = end(result, &series)?;
    let limit = limit_line(result, resource, end);
    let ground = ground(result, &series, limit, end);
    let mut sheet = Sheet::new(format, 0.0, end);
    title.into_iter().for_each(|title| sheet.title(title));
    sheet.legend(&series);
    sheet.key(&key(result, resource, &ground));
    let full = full_range(&series, limit);
    sheet.panel((&ground, &series), &added(resource), full, format.tall);
    if let Some(near) = near_range(&series, limit, full) {
        sheet.down += format.size * 0.6;
        sheet.panel((&ground, &series), "the same, close to the limit", near, format.low);
    }
    churn(&mut sheet, result);
    sheet.time_axis("time since the run began");
    Some(sheet.done())
}

/// A plot of each target alone, with its name: its own growth fills it.
pub(super) fn apart(
    (result, series): (&RunResult, &[Series]),
    resource: Resource,
    format: Format,
) -> Vec<(String, Scene)> {
    let series = series::coarse(series, format.columns());
    let Some(end) = end(result, &series) else { return Vec::new() };
    let limit = limit_line(result, resource, end);
    let one = |one: &Series| {
        let series = std::slice::from_ref(one);
        let ground = ground(result, series, limit, end);
        let mut sheet = Sheet::new(format, 0.0, end);
        sheet.legend(series);
        sheet.panel((&ground, series), &added(resource), own_range(one, limit), format.tall);
        sheet.time_axis("time since the run began");
        (one.name.clone(), sheet.done())
    };
    series.iter().map(one).collect()
}

/// When the last thing ends that a plot shows; `None` where there is nothing to show.
fn end(result: &RunResult, series: &[Series]) -> Option<f64> {
    let last = series.iter().filter_map(|one| one.last()).map(|(at, _)| at).reduce(f64::max)?;
    Some(result.manifest.phases.iter().map(|phase| phase.to_s).fold(last, f64::max).max(1.0))
}

/// What the count axis is of.
fn added(resource: Resource) -> String {
    let word = match resource {
        Resource::Tasks => "tasks",
        Resource::Threads => "threads",
        Resource::Fds => "file descriptors",
    };
    format!("{word} added since the load began")
}

/// The limit's line: its two ends. It starts at zero with the load and ends with it.
fn limit_line(result: &RunResult, resource: Resource, end: f64) -> Option<[Point; 2]> {
    let (from, to) = series::load(result).unwrap_or((0.0, end));
    let limit = result.manifest.limits.get(&resource).copied()?;
    Some([(from, 0.0), (to, limit * (to - from) / 60.0)])
}

/// What happened meanwhile.
fn ground(result: &RunResult, series: &[Series], limit: Option<[Point; 2]>, end: f64) -> Ground {
    let load_start = series::load_start(result);
    let is_killed = result.manifest.segments.len() > 1;
    let cut = |one: &Series| {
        let warmup_s = one.judgement.as_ref().map_or(0.0, |judged| judged.warmup_s);
        // What is judged of a run that was killed is one of its loads: the line says which.
        let judged_from_s = one.fitted.filter(|_| is_killed).map(|line| line.from_s);
        (warmup_s > 0.0).then_some((one.place, judged_from_s.unwrap_or(load_start + warmup_s)))
    };
    let phases = result.manifest.phases.iter().map(|phase| Stretch {
        name: if phase.name == "warmup" { "warm-up".to_owned() } else { phase.name.clone() },
        from_s: phase.from_s,
        to_s: phase.to_s,
        shaded: phase.name != "load",
    });
    let crashes = result.events.iter().filter(|event| event.event == "crash").map(|event| Crash {
        at_s: event.elapsed_s,
        target: event.target.clone(),
        place: result.manifest.targets.iter().position(|name| *name == event.target),
    });
    Ground {
        counts: Counts::Added,
        phases: phases.collect(),
        limits: limit.into_iter().collect(),
        steps: steps(result).iter().map(|step| step.from_s).collect(),
        faults: faults(result, end).iter().map(|fault| (fault.from_s, fault.to_s)).collect(),
        crashes: crashes.collect(),
        cuts: series.iter().filter_map(cut).collect(),
    }
}

fn key(result: &RunResult, resource: Resource, ground: &Ground) -> Vec<(Key, String)> {
    let limit = result.manifest.limits.get(&resource);
    let mut entries: Vec<(Key, String)> = Vec::new();
    entries.extend(limit.map(|limit| (Key::Limit, format!("limit {}", figures::rate(*limit)))));
    entries.push((Key::Wedge, "90 % interval of the growth".to_owned()));
    if !ground.cuts.is_empty() {
        entries.push((Key::Cut, "end of a warm-up".to_owned()));
    }
    if result.events.iter().any(|event| event.event == "churn") {
        entries.push((Key::Churn, "container churn".to_owned()));
    }
    if !ground.steps.is_empty() {
        entries.push((Key::Step, "step of the script".to_owned()));
    }
    if !ground.faults.is_empty() {
        entries.push((Key::Fault, "fault on purpose".to_owned()));
    }
    entries
}

/// Everything within view, with a little air.
fn full_range(series: &[Series], limit: Option<[Point; 2]>) -> (f64, f64) {
    let limit = limit.map_or(0.0, |[_, end]| end.1);
    let (low, high) = series.iter().fold((0.0_f64, limit), |range, one| one.extent(range));
    let air = ((high - low) * 0.06).max(0.5);
    (low - air, high + air)
}

/// One target's own, and the limit where that does not press it flat.
fn own_range(one: &Series, limit: Option<[Point; 2]>) -> (f64, f64) {
    let (low, high) = one.extent((0.0, 0.0));
    let near = limit.filter(|[_, end]| end.1 < (high - low).max(1.0) * CROWDED);
    full_range(std::slice::from_ref(one), near)
}

/// The neighbourhood of the limit, where the whole range hides it.
fn near_range(series: &[Series], limit: Option<[Point; 2]>, (_, full): (f64, f64)) -> Option<(f64, f64)> {
    let [_, (_, limit)] = limit?;
    if limit <= 0.0 || full < limit * CROWDED {
        return None;
    }
    let near = series.iter().filter(|one| one.extent((0.0, 0.0)).1 < full / CROWDED);
    let (low, high) = near.fold((-limit * 0.4, limit * 1.35), |range, one| one.extent(range));
    // What falls far below once the load is over would press the limit flat again.
    Some((low.max(-high) * 1.1, high * 1.1))
}

/// Faults as stretches of time: from a `fault` to its `fault_end`, or to the end of the run, or to where it was killed.
pub(super) fn faults(result: &RunResult, end: f64) -> Vec<Stretch> {
    let events = &result.events;
    let killed_after = |at: f64| {
        let gaps = result.manifest.phases.iter().filter(|phase| phase.name == Phase::GAP);
        gaps.map(|gap| gap.from_s).find(|from_s| *from_s >= at).unwrap_or(end)
    };
    let starts = events.iter().enumerate().filter(|(_, event)| event.event == "fault");
    let end_of = |index: usize, fault: &Event| {
        let mut later = events.iter().skip(index).filter(|event| event.event == "fault_end");
        let same = |event: &&Event| event.target == fault.target && event.detail == fault.detail;
        let until = killed_after(fault.elapsed_s);
        later.find(same).map_or(end, |event| event.elapsed_s).min(until)
    };
    let stretch = |(index, event): (usize, &Event)| Stretch {
        name: event.detail.clone(),
        from_s: event.elapsed_s,
        to_s: end_of(index, event),
        shaded: true,
    };
    starts.map(stretch).collect()
}

/// Steps of the load's script, each until the next one or until its phase ends.
pub(super) fn steps(result: &RunResult) -> Vec<Stretch> {
    let starts = || result.events.iter().filter(|event| event.event == "step");
    let phases = &result.manifest.phases;
    let ends = starts().skip(1).map(|event| event.elapsed_s).chain([f64::INFINITY]);
    let stretch = |(event, next_s): (&Event, f64)| {
        let from_s = event.elapsed_s;
        let within = phases.iter().find(|phase| (phase.from_s..phase.to_s).contains(&from_s));
        let to_s = within.map_or(next_s, |phase| phase.to_s.min(next_s));
        Stretch { name: event.detail.clone(), from_s, to_s, shaded: false }
    };
    starts().zip(ends).map(stretch).collect()
}

/// A tick for every column of the picture in which containers came or went.
fn churn(sheet: &mut Sheet, result: &RunResult) {
    let top = sheet.down + 3.0;
    let churn = result.events.iter().filter(|event| event.event == "churn");
    let mut places: Vec<f64> = churn.map(|event| sheet.time.at(event.elapsed_s).round()).collect();
    places.dedup();
    sheet.scene.group(Group::Part(Part::Pinned), |scene| {
        for place in places {
            scene.line(vec![(place, top), (place, top + 7.0)], AXIS, 1.0);
        }
    });
    sheet.down += 8.0;
}
