//! A measure over the nights: a dot a night with its interval, a line for each level, an upright for each change, and grey
//! where nights did not run.

use jiff::Timestamp;

use super::super::axis::{Scale, ticks};
use super::super::measured;
use super::super::palette::{self, AXIS, GRID, MUTED, SHADE, TEXT};
use super::super::panel::{Format, short};
use super::super::scene::{Anchor, Scene, text_width};
use super::{changes, letter, measures, targets};
use crate::result::Measure;
use crate::result::trend::{Point, ScenarioTrend, Series, State};

/// Height of a plot's field.
const FIELD: f64 = 150.0;
/// Room beside the outermost nights.
const MARGIN: f64 = 8.0;
/// Seconds of a day.
const DAY_S: f64 = 86_400.0;
/// Beyond so long a day may be one of two years.
const YEAR_S: f64 = 300.0 * DAY_S;

/// All measures of a scenario, one below the other, with a title: a picture that stands alone.
pub(super) fn whole(scenario: &ScenarioTrend, until: Timestamp, format: Format) -> Scene {
    let size = format.size;
    let mut scene = Scene::new(format.width, 0.0);
    scene.words((12.0, size * 1.6), short(&scenario.scenario, 60), (Anchor::Start, TEXT, size * 1.6));
    scene.words((12.0, size * 3.4), super::span(scenario), (Anchor::Start, MUTED, size));
    key(&mut scene, scenario, size * 5.2, size);
    let mut down = size * 6.6;
    for measure in measures(scenario) {
        down = Plot::new(scenario, measure, until, format).draw(&mut scene, down);
    }
    scene.height = down.ceil();
    scene
}

/// One measure alone: a picture of the page.
pub(super) fn one(scenario: &ScenarioTrend, measure: Measure, until: Timestamp, format: Format) -> Scene {
    let mut scene = Scene::new(format.width, 0.0);
    let down = Plot::new(scenario, measure, until, format).draw(&mut scene, 2.0);
    scene.height = down.ceil();
    scene
}

/// Who is who.
fn key(scene: &mut Scene, scenario: &ScenarioTrend, middle: f64, size: f64) {
    let mut right = 18.0;
    for (place, name) in targets(scenario).into_iter().enumerate() {
        let name = short(name, 24);
        scene.mark((right, middle), palette::marker(place), palette::ink(place), 5.0);
        scene.words((right + 10.0, middle), name.as_str(), (Anchor::Start, TEXT, size));
        right += 26.0 + text_width(&name, size);
    }
}

struct Plot<'a> {
    scenario: &'a ScenarioTrend,
    measure: Measure,
    until_s: f64,
    format: Format,
}

impl<'a> Plot<'a> {
    fn new(scenario: &'a ScenarioTrend, measure: Measure, until: Timestamp, format: Format) -> Self {
        Self { scenario, measure, until_s: seconds(until), format }
    }

    /// Draws it from there down; answers where it ends.
    fn draw(&self, scene: &mut Scene, top: f64) -> f64 {
        let size = self.format.size;
        scene.words((12.0, top + size), self.measure.title(), (Anchor::Start, TEXT, size * 1.1));
        let (low, high) = (top + size * 2.2, top + size * 2.2 + FIELD);
        let (time, value) = (self.time(), self.value(low, high));
        self.ground(scene, &time, &value);
        for series in self.series() {
            self.dots(scene, series, (&time, &value));
        }
        self.changes(scene, &time, &value);
        high + size * 2.4
    }

    fn series(&self) -> impl Iterator<Item = &'a Series> {
        self.scenario.series.iter().filter(|series| series.measure == self.measure)
    }

    fn time(&self) -> Scale {
        let starts = self.scenario.nights.iter().map(|night| seconds(night.started_at));
        let (low, high) = ends(starts);
        let open = self.scenario.gaps.iter().any(|gap| gap.is_open);
        let high = if open { high.max(self.until_s) } else { high };
        let left = if self.format.roomy { 110.0 } else { 78.0 };
        Scale { low, high: high.max(low + DAY_S), from: left + MARGIN, to: self.format.width - 16.0 - MARGIN }
    }

    fn value(&self, top: f64, bottom: f64) -> Scale {
        let points = self.series().flat_map(|series| &series.points);
        let values =
            points.flat_map(|point| [Some(point.value), point.ci_low, point.ci_high].into_iter().flatten());
        let (low, high) = ends(values);
        let room = ((high - low) * 0.08).max(high.abs() * 0.01).max(1e-9);
        Scale { low: low - room, high: high + room, from: bottom, to: top }
    }

    fn ground(&self, scene: &mut Scene, time: &Scale, value: &Scale) {
        let size = self.format.size;
        let (left, right) = (time.from - MARGIN, time.to + MARGIN);
        for gap in &self.scenario.gaps {
            let (from, to) = (time.at(seconds(gap.from)), time.at(seconds(gap.to)));
            scene.rectangle((from + 3.0, value.to), ((to - 3.0).max(from + 4.0), value.from), SHADE);
        }
        let unit = measured::unit(self.measure);
        let units = Scale { low: value.low / unit, high: value.high / unit, ..*value };
        // One alone shows no scale.
        let few = [4.0, 8.0].map(|at_most| ticks(&units, at_most, 0.0));
        let few = few.into_iter().find(|ticks| ticks.len() > 1).unwrap_or_default();
        for tick in few.into_iter().map(|tick| tick * unit) {
            let y = value.at(tick);
            let ink = if tick.abs() < 1e-12 { AXIS } else { GRID };
            scene.line(vec![(left, y), (right, y)], ink, 1.0);
            let words = measured::value(self.measure, tick);
            scene.words((left - 8.0, y), words, (Anchor::End, MUTED, size * 0.9));
        }
        let years = time.high - time.low > YEAR_S;
        for at in days(time, if self.format.roomy { 8.0 } else { 3.0 }) {
            let x = time.at(at);
            scene.line(vec![(x, value.from), (x, value.from + 4.0)], AXIS, 1.0);
            let words = on(at).strftime(if years { "%Y-%m-%d" } else { "%b %d" }).to_string();
            scene.words((x, value.from + size * 1.1), words, (Anchor::Middle, MUTED, size * 0.9));
        }
        for night in self.scenario.nights.iter().filter(|night| !night.new_ground.is_empty()) {
            let x = time.at(seconds(night.started_at)) - 3.0;
            scene.dashes(vec![(x, value.to), (x, value.from)], AXIS, 1.0);
        }
    }

    fn dots(&self, scene: &mut Scene, series: &Series, (time, value): (&Scale, &Scale)) {
        let place = self.place(series);
        let ink = palette::ink(place);
        let x = |point: &Point| {
            self.scenario
                .nights
                .get(point.night)
                .map_or(time.from, |night| time.at(seconds(night.started_at)))
        };
        for point in &series.points {
            if let (Some(low), Some(high)) = (point.ci_low, point.ci_high) {
                scene.line(vec![(x(point), value.at(low)), (x(point), value.at(high))], ink.faint(0.35), 1.5);
            }
        }
        for (from, to, level) in levels(series) {
            let (Some(first), Some(last)) = (series.points.get(from), series.points.get(to)) else {
                continue;
            };
            let y = value.at(level);
            scene.line(vec![(x(first) - 3.0, y), (x(last) + 3.0, y)], ink, 1.5);
        }
        for point in &series.points {
            scene.mark((x(point), value.at(point.value)), palette::marker(place), ink, 2.6);
        }
    }

    fn changes(&self, scene: &mut Scene, time: &Scale, value: &Scale) {
        let size = self.format.size;
        for (index, (series, change)) in changes(self.scenario).into_iter().enumerate() {
            if series.measure != self.measure {
                continue;
            }
            let ink = palette::ink(self.place(series));
            let x = time.at(seconds(change.started_at)) - 2.0;
            let line = vec![(x, value.to), (x, value.from)];
            if change.state == State::Suspected {
                scene.dashes(line, ink, 1.5);
            } else {
                scene.line(line, ink, 1.5);
            }
            scene.words((x, value.to - size * 0.6), letter(index), (Anchor::Middle, TEXT, size * 0.95));
        }
    }

    fn place(&self, series: &Series) -> usize {
        targets(self.scenario).iter().position(|name| *name == series.target).unwrap_or(0)
    }
}

/// Each level as its first and last point, and where it stands.
fn levels(series: &Series) -> Vec<(usize, usize, f64)> {
    let starts = series
        .changes
        .iter()
        .filter_map(|change| series.points.iter().position(|point| point.night == change.night));
    let starts: Vec<usize> = [0].into_iter().chain(starts).collect();
    let ends = starts.iter().skip(1).map(|start| start.saturating_sub(1));
    let ends = ends.chain([series.points.len().saturating_sub(1)]);
    let level = |from: usize, to: usize| {
        let within = series.points.get(from..=to).unwrap_or_default();
        within.iter().map(|point| point.value).sum::<f64>() / within.len().max(1) as f64
    };
    starts.iter().zip(ends).map(|(from, to)| (*from, to, level(*from, to))).collect()
}

fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low <= high { (low, high) } else { (0.0, 1.0) }
}

fn seconds(at: Timestamp) -> f64 {
    at.as_second() as f64
}

#[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
fn on(seconds: f64) -> Timestamp {
    Timestamp::from_second(seconds as i64).unwrap_or_default()
}

/// Midnights, so that there are at most so many.
fn days(time: &Scale, at_most: f64) -> Vec<f64> {
    let step = ((time.high - time.low) / DAY_S / at_most).ceil().max(1.0) * DAY_S;
    let first = (time.low / DAY_S).ceil() * DAY_S;
    let all = std::iter::successors(Some(first), |at| Some(at + step));
    all.take_while(|at| *at <= time.high).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_go_on_after_z_and_days_are_few() {
        assert_eq!([0, 25, 26, 51, 52].map(letter), ["a", "z", "aa", "az", "ba"]);
        let time = Scale { low: 1000.0, high: 100.0 * DAY_S, from: 0.0, to: 1.0 };
        let days = days(&time, 8.0);
        assert!(days.len() <= 8 && days.iter().all(|at| time.holds(*at) && at % DAY_S == 0.0), "{days:?}");
    }
}
