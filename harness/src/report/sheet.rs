//! A plot as it grows downwards: title, legend, key, panels, time axis. What stands in it is for `chart` (a run)
//! and `recorded` (any series) to say.

use super::axis::{Scale, time_ticks};
use super::figures;
use super::ground::Ground;
use super::group::{Group, Part};
use super::palette::{self, AXIS, FAULT, LIMIT, MUTED, STEP, TEXT};
use super::panel::{Format, Panel, short};
use super::scene::{Anchor, Point, Scene, text_width};
use super::series::Series;
use crate::result::Verdict;

/// A mark that the key explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// The limit's line.
    Limit,
    /// The interval of the growth.
    Wedge,
    /// Containers that came or went.
    Churn,
    /// A step of the load's script.
    Step,
    /// A fault on purpose.
    Fault,
    /// Where the judged stretch begins.
    Cut,
}

/// A plot under way.
pub(super) struct Sheet {
    /// The picture's shape.
    pub(super) format: Format,
    /// Seconds to the right, for every panel.
    pub(super) time: Scale,
    /// What is drawn so far.
    pub(super) scene: Scene,
    /// Where the next thing stands.
    pub(super) down: f64,
}

impl Sheet {
    /// An empty one, for the seconds from `low` to `high`.
    pub(super) fn new(format: Format, low: f64, high: f64) -> Self {
        let time = Scale { low, high, from: format.left, to: format.width - format.right };
        Self { format, time, scene: Scene::new(format.width, 0.0), down: 8.0 }
    }

    /// Its headline.
    pub(super) fn title(&mut self, title: &str) {
        let size = self.format.size * 1.5;
        self.scene.words((12.0, self.down + size * 0.6), title, (Anchor::Start, TEXT, size));
        self.down += size * 1.7;
    }

    /// What the next panel is of.
    pub(super) fn heading(&mut self, text: &str) {
        let size = self.format.size * 1.15;
        self.scene.words((12.0, self.down + size * 0.6), text, (Anchor::Start, TEXT, size));
        self.down += size * 1.7;
    }

    /// Who is who, with each one's growth and verdict.
    pub(super) fn legend(&mut self, series: &[Series]) {
        let size = self.format.size;
        let mut right = 12.0;
        for one in series {
            let (text, verdict) = legend_entry(one);
            let before = if verdict.is_some() { 30.0 + size * 1.3 } else { 30.0 };
            let room = before + text_width(&text, size) + size;
            if right > 12.0 && right + room > self.format.width {
                right = 12.0;
                self.down += size * 1.6;
            }
            let (place, middle) = (one.place, self.down + size * 0.7);
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

    /// What the other marks mean.
    pub(super) fn key(&mut self, entries: &[(Key, String)]) {
        let size = self.format.size * 0.9;
        let mut right = 12.0;
        for (kind, text) in entries {
            let room = 30.0 + text_width(text, size) + 10.0;
            if right > 12.0 && right + room > self.format.width {
                right = 12.0;
                self.down += size * 1.5;
            }
            let middle = self.down + size * 0.7;
            self.example(*kind, right, middle);
            self.scene.words((right + 30.0, middle), text.as_str(), (Anchor::Start, MUTED, size));
            right += room;
        }
        self.down += size * 2.0;
    }

    /// A mark of this kind, as the key shows it.
    fn example(&mut self, kind: Key, right: f64, middle: f64) {
        let (from, to) = ((right, middle), (right + 24.0, middle));
        match kind {
            Key::Limit => self.scene.dashes(vec![from, to], LIMIT, 1.6),
            Key::Churn => {
                let ticks =
                    [4.0, 12.0, 20.0].map(|dx| vec![(right + dx, middle - 4.0), (right + dx, middle + 4.0)]);
                ticks.into_iter().for_each(|tick| self.scene.line(tick, AXIS, 1.0));
            }
            Key::Fault => {
                let corner = (right + 24.0, middle + 5.0);
                self.scene.rectangle((right, middle - 5.0), corner, FAULT.faint(0.4));
            }
            Key::Step => {
                let line = vec![(right + 12.0, middle - 6.0), (right + 12.0, middle + 6.0)];
                self.scene.line(line, STEP, 1.6);
            }
            Key::Wedge => {
                let wedge = vec![from, (right + 24.0, middle - 6.0), (right + 24.0, middle + 6.0)];
                self.scene.area(wedge, MUTED.faint(0.35));
            }
            Key::Cut => {
                let cut = vec![(right + 12.0, middle - 6.0), (right + 12.0, middle + 6.0)];
                self.scene.dashes(cut, MUTED, 1.6);
            }
        }
    }

    /// Draws one panel below what stands already.
    pub(super) fn panel(
        &mut self,
        (ground, series): (&Ground, &[Series]),
        title: &str,
        (low, high): (f64, f64),
        height: f64,
    ) {
        // Its title, and the phases' names below that.
        let top = self.down + self.format.size * 2.6;
        let panel = Panel {
            format: self.format,
            title,
            time: self.time,
            value: Scale { low, high, from: top + height, to: top },
            ground,
        };
        panel.draw(&mut self.scene, series);
        self.down = top + height;
    }

    /// Labels below the last panel; `what` the time is since.
    pub(super) fn time_axis(&mut self, what: &str) {
        let size = self.format.size;
        let middle = self.down + size * 0.9;
        let time = self.time;
        let at_most = if self.format.roomy { 10.0 } else { 5.0 };
        self.scene.group(Group::Part(Part::Times), |scene| {
            for tick in time_ticks(&time, at_most) {
                scene.words((time.at(tick), middle), figures::clock(tick), (Anchor::Middle, MUTED, size));
            }
        });
        let unit = if self.time.high < 3_600.0 { "min:s" } else { "h:min:s" };
        let title = format!("{what} ({unit})");
        let center = f64::midpoint(self.time.from, self.time.to);
        self.scene.words((center, middle + size * 1.5), title, (Anchor::Middle, MUTED, size));
        self.down = middle + size * 2.4;
    }

    /// The picture, as high as it became.
    pub(super) fn done(mut self) -> Scene {
        self.scene.height = self.down.ceil();
        self.scene
    }
}

fn legend_entry(one: &Series) -> (String, Option<Verdict>) {
    let judged = one.judgement.as_ref();
    let growth = judged.and_then(|judged| judged.growth_per_min).map(figures::growth);
    let verdict = judged.map(|judged| judged.verdict);
    let word = verdict.map(|verdict| verdict.word().to_owned());
    let parts: Vec<String> = [Some(short(&one.name, 24)), growth, word].into_iter().flatten().collect();
    (parts.join("  "), verdict)
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
