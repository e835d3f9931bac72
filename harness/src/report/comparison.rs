//! The comparison plot: every target's growth as a dot with its interval, beside the limit.
//!
//! One axis for 43 a minute and for 0.02: linear between -1 and 1, logarithmic beyond, and it says so.

use super::axis::{Scale, decades, symlog};
use super::figures;
use super::palette::{self, AXIS, GRID, LIMIT, MUTED, SHADE, TEXT};
use super::panel::{Format, short};
use super::scene::{Anchor, Scene, text_width};
use super::sheet::sign;
use crate::result::{Judgement, Resource, RunResult};

/// Room for names on the left of a wide plot.
const NAMES: f64 = 150.0;
/// Room for numbers on the right of a wide plot.
const NUMBERS: f64 = 320.0;

/// Draws the plot. `title` and its reason are for a picture that stands alone.
pub(super) fn comparison(result: &RunResult, format: Format, title: Option<(&str, &str)>) -> Scene {
    let (left, right) =
        if format.roomy { (NAMES, format.width - NUMBERS) } else { (14.0, format.width - 14.0) };
    let (low, high) = range(result);
    let scale = Scale { low: symlog(low), high: symlog(high), from: left, to: right };
    let mut plot =
        Plot { result, format, scale, range: (low, high), scene: Scene::new(format.width, 0.0), down: 10.0 };
    if let Some((title, reason)) = title {
        plot.title(title, reason);
    }
    for resource in Resource::ALL {
        plot.group(resource);
    }
    plot.axis();
    plot.scene.height = plot.down.ceil();
    plot.scene
}

fn judgements(result: &RunResult, resource: Resource) -> Vec<(usize, &str, &Judgement)> {
    let names = result.manifest.targets.iter().enumerate();
    names
        .filter_map(|(place, name)| {
            let found = result.verdict.targets.get(name)?.resources.get(&resource)?;
            Some((place, name.as_str(), &found.judgement))
        })
        .collect()
}

fn range(result: &RunResult) -> (f64, f64) {
    let all = Resource::ALL.into_iter().flat_map(|resource| judgements(result, resource));
    let ends = all.flat_map(|(_, _, judged)| {
        [judged.ci_low, judged.ci_high, judged.growth_per_min, Some(judged.limit_per_min)]
    });
    let (low, high) =
        ends.flatten().fold((-0.5_f64, 2.0_f64), |(low, high), end| (low.min(end), high.max(end)));
    (low * 1.3, high * 1.4)
}

struct Plot<'a> {
    result: &'a RunResult,
    format: Format,
    scale: Scale,
    range: (f64, f64),
    scene: Scene,
    down: f64,
}

impl Plot<'_> {
    fn title(&mut self, title: &str, reason: &str) {
        let size = self.format.size * 1.6;
        self.scene.words((12.0, self.down + size * 0.6), title, (Anchor::Start, TEXT, size));
        self.down += size * 1.6;
        let size = self.format.size * 1.05;
        for line in wrapped(reason, self.format.width - 24.0, size) {
            self.scene.words((12.0, self.down + size * 0.5), line, (Anchor::Start, MUTED, size));
            self.down += size * 1.5;
        }
        self.down += size * 0.8;
    }

    /// One resource: a heading with its limit, then a row for each target.
    fn group(&mut self, resource: Resource) {
        let found = judgements(self.result, resource);
        let Some((_, _, first)) = found.first() else { return };
        let size = self.format.size;
        let limit = first.limit_per_min;
        let heading = format!("{}: limit {}", resource.title(), figures::rate(limit));
        self.scene.words((12.0, self.down + size * 0.7), heading, (Anchor::Start, TEXT, size * 1.05));
        self.down += size * 1.8;
        let top = self.down;
        let row = if self.format.roomy { size * 1.9 } else { size * 3.2 };
        let rows = f64::from(u32::try_from(found.len()).unwrap_or(0));
        if self.format.roomy {
            self.ground(top, top + row * rows, limit);
        }
        for (place, name, judged) in found {
            if !self.format.roomy {
                self.ground(self.down + size * 1.5, self.down + size * 3.0, limit);
            }
            self.row(place, name, judged);
            self.down += row;
        }
        self.down += size * 0.9;
    }

    /// The field of the dots: with names inside (a phone's), one for each row, so that no line crosses a name.
    fn ground(&mut self, top: f64, bottom: f64, limit: f64) {
        self.scene.rectangle((self.scale.from, top), (self.scale.to, bottom), SHADE);
        for tick in decades(self.range.0, self.range.1) {
            let x = self.scale.at(symlog(tick));
            let ink = if tick.abs() < 0.5 { AXIS } else { GRID };
            self.scene.line(vec![(x, top), (x, bottom)], ink, 1.0);
        }
        let x = self.scale.at(symlog(limit));
        self.scene.dashes(vec![(x, top), (x, bottom)], LIMIT, 1.6);
    }

    fn row(&mut self, place: usize, name: &str, judged: &Judgement) {
        let size = self.format.size;
        let name = short(name, self.format.name_letters + 3);
        let middle = self.down + if self.format.roomy { size * 0.95 } else { size * 2.2 };
        let growth = judged.growth_per_min.map_or("not measured".to_owned(), figures::growth);
        let interval = judged.ci_low.zip(judged.ci_high).map(|(low, high)| figures::interval(low, high));
        if self.format.roomy {
            self.scene.words((NAMES - 12.0, middle), name, (Anchor::End, TEXT, size));
            let words = [Some(growth), interval].into_iter().flatten().collect::<Vec<_>>().join("  ");
            let x = self.scale.to + 36.0;
            sign(&mut self.scene, judged.verdict, (self.scale.to + 18.0, middle), size);
            let words = format!("{}  {words}", judged.verdict.word());
            self.scene.words((x, middle), words, (Anchor::Start, TEXT, size));
        } else {
            let words = format!("{name}  {growth}  {}", judged.verdict.word());
            let above = self.down + size * 0.8;
            sign(&mut self.scene, judged.verdict, (self.scale.from + 8.0, above), size);
            self.scene.words((self.scale.from + 20.0, above), words, (Anchor::Start, TEXT, size));
        }
        self.dot(place, middle, judged);
    }

    fn dot(&mut self, place: usize, y: f64, judged: &Judgement) {
        let ink = palette::ink(place);
        if let (Some(low), Some(high)) = (judged.ci_low, judged.ci_high) {
            let (low, high) = (self.scale.at(symlog(low)), self.scale.at(symlog(high)));
            self.scene.line(vec![(low, y), (high, y)], ink, 3.0);
            for end in [low, high] {
                self.scene.line(vec![(end, y - 5.0), (end, y + 5.0)], ink, 2.0);
            }
        }
        if let Some(growth) = judged.growth_per_min {
            self.scene.mark((self.scale.at(symlog(growth)), y), palette::marker(place), ink, 5.5);
        }
    }

    fn axis(&mut self) {
        let size = self.format.size;
        let middle = self.down - size * 0.2;
        for tick in decades(self.range.0, self.range.1) {
            let x = self.scale.at(symlog(tick));
            self.scene.words((x, middle), figures::change(tick), (Anchor::Middle, MUTED, size));
        }
        let title =
            "growth per minute, with its 90 % interval (axis: linear from −1 to 1, logarithmic beyond)";
        let title = if self.format.roomy { title } else { "growth per minute (logarithmic beyond ±1)" };
        let x = self.format.width / 2.0;
        self.scene.words((x, middle + size * 1.6), title, (Anchor::Middle, MUTED, size * 0.95));
        self.down = middle + size * 2.6;
    }
}

/// Words in lines that fit.
fn wrapped(text: &str, width: f64, size: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if text_width(line, size) + text_width(word, size) + size < width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.truncate(4);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_wrapped_to_the_picture() {
        let text = "pool and hybrid stay flat and lose no line while archived leaks tasks and descriptors";
        let lines = wrapped(text, 300.0, 13.0);
        assert!(lines.len() > 1 && lines.iter().all(|line| text_width(line, 13.0) < 300.0), "{lines:?}");
        assert_eq!(lines.join(" "), text);
    }
}
