//! The growth plot of one resource: what each target added since the load began, beside the limit.
//!
//! Targets differ by orders of magnitude in what they hold, so counts themselves would show who is large,
//! not who grows. Every line is therefore moved to start at zero where the load begins; then the limit, so
//! much a minute, is a line on the same axis. Where one target outgrows the others by far, a second panel
//! shows the neighbourhood of the limit, with the same time axis.

use super::axis::{Scale, time_ticks};
use super::figures;
use super::palette::{self, AXIS, FAULT, LIMIT, MUTED, TEXT};
use super::panel::{Format, Panel, short};
use super::scene::{Anchor, Point, Scene, text_width};
use super::series::{self, Series};
use crate::result::{Event, Resource, RunResult, Verdict};

/// The second panel appears where the first is so many times as high as the limit's end.
const CROWDED: f64 = 4.0;

/// Draws the plot; `None` where no target has such samples. `title` is for a picture that stands alone.
pub(super) fn growth(
    result: &RunResult,
    resource: Resource,
    format: Format,
    title: Option<&str>,
) -> Option<Scene> {
    let series = series::all(result, resource, columns(format));
    let time = time(result, &series, format)?;
    let mut plot =
        Plot { result, resource, format, series, time, scene: Scene::new(format.width, 0.0), down: 8.0 };
    plot.title(title);
    plot.legend();
    plot.key();
    let full = plot.full_range();
    let word = match resource {
        Resource::Tasks => "tasks",
        Resource::Threads => "threads",
        Resource::Fds => "file descriptors",
    };
    plot.panel(&format!("{word} added since the load began"), full, format.tall);
    if let Some(near) = plot.near_range(full) {
        plot.down += format.size * 0.6;
        plot.panel("the same, close to the limit", near, format.low);
    }
    plot.time_axis();
    plot.scene.height = plot.down.ceil();
    Some(plot.scene)
}

/// Columns of the picture, one per two units: twice as many points are not seen.
fn columns(format: Format) -> usize {
    if format.roomy { 360 } else { 120 }
}

fn time(result: &RunResult, series: &[Series], format: Format) -> Option<Scale> {
    let last = series.iter().filter_map(|one| one.last()).map(|(at, _)| at).reduce(f64::max)?;
    let end = result.manifest.phases.iter().map(|phase| phase.to_s).fold(last, f64::max);
    Some(Scale { low: 0.0, high: end.max(1.0), from: format.left, to: format.width - format.right })
}

/// A plot as it grows downwards.
struct Plot<'a> {
    result: &'a RunResult,
    resource: Resource,
    format: Format,
    series: Vec<Series>,
    time: Scale,
    scene: Scene,
    down: f64,
}

impl Plot<'_> {
    fn title(&mut self, title: Option<&str>) {
        let Some(title) = title else { return };
        let size = self.format.size * 1.5;
        self.scene.words((12.0, self.down + size * 0.6), title, (Anchor::Start, TEXT, size));
        self.down += size * 1.7;
    }

    fn limit(&self) -> Option<f64> {
        self.result.manifest.limits.get(&self.resource).copied()
    }

    /// The limit's line: its two ends. It starts at zero with the load and ends with it.
    fn limit_line(&self) -> Option<[Point; 2]> {
        let from = series::load_start(self.result);
        let load = self.result.manifest.phases.iter().find(|phase| phase.name == "load");
        let to = load.map_or(self.time.high, |phase| phase.to_s);
        Some([(from, 0.0), (to, self.limit()? * (to - from) / 60.0)])
    }

    /// Who is who, with each one's growth and verdict.
    fn legend(&mut self) {
        let size = self.format.size;
        let mut right = 12.0;
        for index in 0..self.series.len() {
            let Some((place, text, verdict)) = self.legend_entry(index) else { continue };
            let before = if verdict.is_some() { 30.0 + size * 1.3 } else { 30.0 };
            let room = before + text_width(&text, size) + size;
            if right > 12.0 && right + room > self.format.width {
                right = 12.0;
                self.down += size * 1.6;
            }
            let middle = self.down + size * 0.7;
            self.scene.line(vec![(right, middle), (right + 24.0, middle)], palette::ink(place), 2.5);
            self.scene.mark((right + 12.0, middle), palette::marker(place), palette::ink(place), 4.5);
            self.scene.words((right + before, middle), text, (Anchor::Start, TEXT, size));
            if let Some(verdict) = verdict {
                sign(&mut self.scene, verdict, (right + 30.0 + size * 0.5, middle), size);
            }
            right += room;
        }
        self.down += size * 1.7;
    }

    fn legend_entry(&self, index: usize) -> Option<(usize, String, Option<Verdict>)> {
        let one = self.series.get(index)?;
        let name = short(&one.name, 24);
        let judged = self.result.verdict.targets.get(&one.name).and_then(|t| t.resources.get(&self.resource));
        let growth = judged.and_then(|found| found.judgement.growth_per_min).map(figures::growth);
        let verdict = judged.map(|found| found.judgement.verdict);
        let parts: Vec<String> =
            [Some(name), growth, verdict.map(|v| v.word().to_owned())].into_iter().flatten().collect();
        Some((one.place, parts.join("  "), verdict))
    }

    /// What the other marks mean.
    fn key(&mut self) {
        let size = self.format.size * 0.9;
        let mut entries: Vec<(&str, String)> = Vec::new();
        entries.extend(self.limit().map(|limit| ("limit", format!("limit {}", figures::rate(limit)))));
        entries.push(("wedge", "90 % interval of the growth".to_owned()));
        if self.result.events.iter().any(|event| event.event == "churn") {
            entries.push(("churn", "container churn".to_owned()));
        }
        if !self.faults().is_empty() {
            entries.push(("fault", "fault on purpose".to_owned()));
        }
        let mut right = 12.0;
        for (kind, text) in entries {
            let room = 30.0 + text_width(&text, size) + 10.0;
            if right > 12.0 && right + room > self.format.width {
                right = 12.0;
                self.down += size * 1.5;
            }
            let middle = self.down + size * 0.7;
            let (from, to) = ((right, middle), (right + 24.0, middle));
            match kind {
                "limit" => self.scene.dashes(vec![from, to], LIMIT, 1.6),
                "churn" => {
                    let ticks = [4.0, 12.0, 20.0]
                        .map(|dx| vec![(right + dx, middle - 4.0), (right + dx, middle + 4.0)]);
                    ticks.into_iter().for_each(|tick| self.scene.line(tick, AXIS, 1.0));
                }
                "fault" => self.scene.rectangle(
                    (right, middle - 5.0),
                    (right + 24.0, middle + 5.0),
                    FAULT.faint(0.4),
                ),
                _ => {
                    let wedge = vec![from, (right + 24.0, middle - 6.0), (right + 24.0, middle + 6.0)];
                    self.scene.area(wedge, MUTED.faint(0.35));
                }
            }
            self.scene.words((right + 30.0, middle), text, (Anchor::Start, MUTED, size));
            right += room;
        }
        self.down += size * 2.0;
    }

    /// Everything within view, with a little air.
    fn full_range(&self) -> (f64, f64) {
        let limit = self.limit_line().map_or(0.0, |[_, end]| end.1);
        let extents = self.series.iter().map(Series::extent);
        let (low, high) = extents.fold((0.0_f64, limit), |(low, high), (l, h)| (low.min(l), high.max(h)));
        let air = ((high - low) * 0.06).max(0.5);
        (low - air, high + air)
    }

    /// The neighbourhood of the limit, where the whole range hides it.
    fn near_range(&self, (_, full): (f64, f64)) -> Option<(f64, f64)> {
        let [_, (_, limit)] = self.limit_line()?;
        if limit <= 0.0 || full < limit * CROWDED {
            return None;
        }
        let near = self.series.iter().map(Series::extent).filter(|(_, high)| *high < full / CROWDED);
        let (low, high) =
            near.fold((-limit * 0.4, limit * 1.35), |(low, high), (l, h)| (low.min(l), high.max(h)));
        Some((low * 1.1, high * 1.1))
    }

    /// Faults as stretches of time: from a `fault` to its `fault_end`, or to the run's end.
    fn faults(&self) -> Vec<(f64, f64)> {
        let events = &self.result.events;
        let starts = events.iter().enumerate().filter(|(_, event)| event.event == "fault");
        let end_of = |index: usize, fault: &Event| {
            let mut later = events.iter().skip(index).filter(|event| event.event == "fault_end");
            let same = |event: &&Event| event.target == fault.target && event.detail == fault.detail;
            later.find(same).map_or(self.time.high, |event| event.elapsed_s)
        };
        starts.map(|(index, event)| (event.elapsed_s, end_of(index, event))).collect()
    }

    /// Draws one panel below what stands already.
    fn panel(&mut self, title: &str, (low, high): (f64, f64), height: f64) {
        let top = self.down + size_of_heading(self.format);
        let panel = Panel {
            format: self.format,
            title,
            time: self.time,
            value: Scale { low, high, from: top + height, to: top },
            limit: self.limit_line(),
            faults: self.faults(),
            resource: self.resource,
            result: self.result,
        };
        panel.draw(&mut self.scene, &self.series);
        self.down = top + height;
    }

    fn time_axis(&mut self) {
        let size = self.format.size;
        self.churn();
        let middle = self.down + size * 0.9;
        for tick in time_ticks(&self.time, if self.format.roomy { 10.0 } else { 5.0 }) {
            let words = figures::clock(tick);
            self.scene.words((self.time.at(tick), middle), words, (Anchor::Middle, MUTED, size));
        }
        let unit = if self.time.high < 3_600.0 { "min:s" } else { "h:min:s" };
        let title = format!("time since the run began ({unit})");
        let center = f64::midpoint(self.time.from, self.time.to);
        self.scene.words((center, middle + size * 1.5), title, (Anchor::Middle, MUTED, size));
        self.down = middle + size * 2.4;
    }

    /// A tick for every column of the picture in which containers came or went.
    fn churn(&mut self) {
        let top = self.down + 3.0;
        let churn = self.result.events.iter().filter(|event| event.event == "churn");
        let mut places: Vec<f64> = churn.map(|event| self.time.at(event.elapsed_s).round()).collect();
        places.dedup();
        for place in places {
            self.scene.line(vec![(place, top), (place, top + 7.0)], AXIS, 1.0);
        }
        self.down += 8.0;
    }
}

/// Room above a panel: its title, and the phases' names below that.
fn size_of_heading(format: Format) -> f64 {
    format.size * 2.6
}

/// A verdict's sign, drawn: fonts differ in which signs they have.
pub(super) fn sign(scene: &mut Scene, verdict: Verdict, (x, y): Point, size: f64) {
    let half = size * 0.38;
    match verdict {
        Verdict::Pass => {
            let tick = vec![(x - half, y), (x - half * 0.3, y + half * 0.8), (x + half, y - half * 0.8)];
            scene.line(tick, TEXT, 1.8);
        }
        Verdict::Fail => {
            scene.line(vec![(x - half, y - half), (x + half, y + half)], TEXT, 1.8);
            scene.line(vec![(x - half, y + half), (x + half, y - half)], TEXT, 1.8);
        }
        Verdict::Inconclusive => scene.words((x, y), "?", (Anchor::Middle, TEXT, size * 1.1)),
        Verdict::Invalid => scene.words((x, y), "!", (Anchor::Middle, TEXT, size * 1.1)),
    }
}
