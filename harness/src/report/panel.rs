//! One panel of a growth plot: a rectangle with a time axis and a count axis, and what is drawn within.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::axis::{Scale, ticks};
use super::clip::{clip, clip_area};
use super::figures;
use super::ground::{Counts, Crash, Ground};
use super::group::{Group, Part};
use super::palette::{self, AXIS, FAULT, GRID, LIMIT, MUTED, SHADE, STEP, TEXT};
use super::scene::{Anchor, Point, Scene, text_width};
use super::series::Series;

/// The outer shape of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Format {
    /// Its width.
    pub(super) width: f64,
    /// Size of its letters.
    pub(super) size: f64,
    /// Room on the left, for the axis.
    pub(super) left: f64,
    /// Room on the right, for the names at the lines' ends.
    pub(super) right: f64,
    /// Height of the main panel.
    pub(super) tall: f64,
    /// Height of the panel round the limit.
    pub(super) low: f64,
    /// Letters of a name that fit.
    pub(super) name_letters: usize,
    /// Whether there is room for more than names.
    pub(super) roomy: bool,
}

impl Format {
    /// Columns of the picture, one per two units: twice as many points are not seen.
    pub(super) fn columns(self) -> usize {
        if self.roomy { 360 } else { 120 }
    }
}

/// For a screen, a picture file and paper.
pub(super) const WIDE: Format = Format {
    width: 960.0,
    size: 13.0,
    left: 56.0,
    right: 178.0,
    tall: 260.0,
    low: 150.0,
    name_letters: 14,
    roomy: true,
};

/// For a phone, at its own size: a shrunken wide picture can't be read there.
pub(super) const NARROW: Format = Format {
    width: 360.0,
    size: 11.5,
    left: 40.0,
    right: 76.0,
    tall: 210.0,
    low: 130.0,
    name_letters: 9,
    roomy: false,
};

/// A name, cut where it is too long; letters of East Asia count twice.
pub(super) fn short(name: &str, letters: usize) -> String {
    if name.width() <= letters {
        return name.to_owned();
    }
    let mut room = letters.saturating_sub(1);
    let fits = |letter: &char| {
        let left = room.checked_sub(letter.width().unwrap_or(0));
        room = left.unwrap_or(0);
        left.is_some()
    };
    name.chars().take_while(fits).chain(['…']).collect()
}

/// Letters of a name in front of a growth.
const MARKS: usize = 6;
/// So many names have room at the lines' ends, in the lower of the two panels as well.
const ENDS_MAX: usize = 8;

/// A panel to draw.
pub(super) struct Panel<'a> {
    /// The picture's shape.
    pub(super) format: Format,
    /// What the count axis says.
    pub(super) title: &'a str,
    /// Seconds to the right.
    pub(super) time: Scale,
    /// Counts upwards.
    pub(super) value: Scale,
    /// What stands behind the lines.
    pub(super) ground: &'a Ground,
}

impl Panel<'_> {
    /// Draws it, from the ground up.
    pub(super) fn draw(&self, scene: &mut Scene, series: &[Series]) {
        self.title(scene);
        self.counts(scene);
        let field = Group::Field {
            from: (self.time.from, self.value.to),
            to: (self.time.to, self.value.from),
            time: (self.time.low, self.time.high),
            value: (self.value.low, self.value.high),
        };
        scene.group(field, |scene| {
            self.ground(scene);
            scene.group(Group::Part(Part::Grid), |scene| self.grid(scene));
            for one in series {
                scene.group(Group::Target(one.place), |scene| self.wedge(scene, one));
            }
            for one in series {
                scene.group(Group::Target(one.place), |scene| self.line(scene, one));
            }
            self.limits(scene);
            self.cuts(scene);
            self.crashes(scene);
        });
        scene.group(Group::Part(Part::Pinned), |scene| {
            self.phases(scene);
            self.words(scene);
            self.ends(scene, series);
        });
    }

    fn at(&self, (seconds, count): Point) -> Point {
        (self.time.at(seconds), self.value.at(count))
    }

    fn title(&self, scene: &mut Scene) {
        let size = self.format.size;
        if !self.title.is_empty() {
            let place = (12.0, self.value.to - size * 1.9);
            scene.words(place, self.title, (Anchor::Start, MUTED, size * 0.95));
        }
    }

    /// Phases, steps of the script, and faults.
    fn ground(&self, scene: &mut Scene) {
        let (top, bottom) = (self.value.to, self.value.from);
        for phase in &self.ground.phases {
            let (from, to) = (self.time.at(phase.from_s), self.time.at(phase.to_s));
            if phase.shaded {
                scene.rectangle((from, top), (to, bottom), SHADE);
            }
            scene.line(vec![(from, top), (from, bottom)], GRID, 1.0);
        }
        for from_s in &self.ground.steps {
            let at = self.time.at(*from_s);
            scene.line(vec![(at, top), (at, bottom)], STEP, 1.0);
        }
        scene.group(Group::Part(Part::Faults), |scene| {
            for (from, to) in self.faults() {
                scene.rectangle((from, top), (to, bottom), FAULT.faint(0.35));
            }
        });
    }

    /// Where faults begin and end in the picture; those that no eye tells apart are one.
    fn faults(&self) -> Vec<(f64, f64)> {
        let places = self.ground.faults.iter().map(|(from, to)| (self.time.at(*from), self.time.at(*to)));
        let mut seen: Vec<(f64, f64)> = Vec::new();
        for (from, to) in places {
            match seen.last_mut() {
                Some(last) if from - last.1 < 1.0 => last.1 = last.1.max(to),
                _ => seen.push((from, to)),
            }
        }
        seen
    }

    /// The phases' names, above their stretches.
    fn phases(&self, scene: &mut Scene) {
        let (top, size) = (self.value.to, self.format.size);
        for phase in &self.ground.phases {
            let (from, to) = (self.time.at(phase.from_s), self.time.at(phase.to_s));
            let name = phase.name.as_str();
            if text_width(name, size * 0.85) < to - from {
                let middle = (f64::midpoint(from, to), top - size * 0.6);
                scene.words(middle, name, (Anchor::Middle, MUTED, size * 0.85));
            }
        }
    }

    /// Counts that are worth a label.
    fn ticks(&self) -> Vec<f64> {
        let room = (self.value.from - self.value.to) / (self.format.size * 1.9);
        ticks(&self.value, room, self.ground.counts.least_step())
    }

    fn counts(&self, scene: &mut Scene) {
        let (left, size) = (self.time.from, self.format.size);
        scene.group(Group::Part(Part::Counts), |scene| {
            for tick in self.ticks() {
                let place = (left - 6.0, self.value.at(tick));
                scene.words(place, self.figure(tick), (Anchor::End, MUTED, size * 0.95));
            }
        });
    }

    fn grid(&self, scene: &mut Scene) {
        let (left, right) = (self.time.from, self.time.to);
        for tick in self.ticks() {
            let y = self.value.at(tick);
            let is_zero = self.ground.counts == Counts::Added && tick.abs() < 0.5;
            let (ink, width) = if is_zero { (AXIS, 1.2) } else { (GRID, 1.0) };
            scene.line(vec![(left, y), (right, y)], ink, width);
        }
    }

    /// The interval of the growth: from the fitted line's start, as steep and as flat as the run allows.
    fn wedge(&self, scene: &mut Scene, one: &Series) {
        let (Some(fitted), Some(judged)) = (one.fitted, &one.judgement) else { return };
        let (Some(low), Some(high)) = (judged.ci_low, judged.ci_high) else { return };
        let minutes = (fitted.to_s - fitted.from_s) / 60.0;
        let from = (fitted.from_s, fitted.from_count);
        let to = |per_min: f64| (fitted.to_s, fitted.from_count + per_min * minutes);
        let area = clip_area(&[from, to(high), to(low)], &self.value);
        let ink = palette::ink(one.place).faint(0.22);
        if area.len() > 2 {
            scene.area(area.into_iter().map(|point| self.at(point)).collect(), ink);
        }
    }

    /// The samples, thin; the fitted line over them; markers on it.
    fn line(&self, scene: &mut Scene, one: &Series) {
        let ink = palette::ink(one.place);
        scene.group(Group::Part(Part::Samples), |scene| {
            for visible in one.stretches.iter().flat_map(|stretch| clip(stretch, &self.value)) {
                scene.line(visible.into_iter().map(|point| self.at(point)).collect(), ink.faint(0.75), 1.5);
            }
        });
        let Some(fitted) = one.fitted else { return };
        let ends = [(fitted.from_s, fitted.from_count), (fitted.to_s, fitted.to_count)];
        for visible in clip(&ends, &self.value) {
            scene.line(visible.into_iter().map(|point| self.at(point)).collect(), ink, 2.5);
        }
        scene.group(Group::Part(Part::Marks), |scene| {
            let places = (0..MARKS).map(|index| between(ends, share(index, one.place)));
            for at in places.filter(|at| self.value.holds(at.1)) {
                scene.mark(self.at(at), palette::marker(one.place), ink, 4.0);
            }
        });
    }

    fn limits(&self, scene: &mut Scene) {
        for ends in &self.ground.limits {
            for visible in clip(ends, &self.value) {
                scene.dashes(visible.into_iter().map(|point| self.at(point)).collect(), LIMIT, 1.6);
            }
        }
    }

    fn cuts(&self, scene: &mut Scene) {
        for (place, at_s) in &self.ground.cuts {
            let x = self.time.at(*at_s);
            scene.group(Group::Target(*place), |scene| {
                scene.dashes(vec![(x, self.value.to), (x, self.value.from)], palette::ink(*place), 1.2);
            });
        }
    }

    /// Where a target ended unasked.
    fn crashes(&self, scene: &mut Scene) {
        for crash in self.named_crashes() {
            let x = self.time.at(crash.at_s);
            let ink = crash.place.map_or(TEXT, palette::ink);
            scene.dashes(vec![(x, self.value.to), (x, self.value.from)], ink, 1.5);
        }
    }

    /// So many as there is room for their names.
    fn named_crashes(&self) -> impl Iterator<Item = &Crash> {
        self.ground.crashes.iter().take(5)
    }

    /// What is said inside the field.
    fn words(&self, scene: &mut Scene) {
        for ends in &self.ground.limits {
            let [from, to] = ends.map(|end| self.at(end));
            // Where the line is lost among the others a label would hide them; the key has it.
            let alone = self.ground.limits.len() == 1 && self.value.holds(ends[1].1);
            if alone && from.1 - to.1 > self.format.size * 4.0 {
                let place = (to.0 - 6.0, to.1 - self.format.size * 0.3);
                scene.words(place, "limit", (Anchor::End, LIMIT, self.format.size * 0.95));
            }
        }
        let size = self.format.size * 0.9;
        for (row, crash) in (0_u32..).zip(self.named_crashes()) {
            let x = self.time.at(crash.at_s);
            let words = format!("{} crashed", short(&crash.target, self.format.name_letters));
            let y = self.value.to + size * (2.4 + 1.4 * f64::from(row));
            let fits = x + text_width(&words, size) < self.time.to;
            let (x, anchor) = if fits { (x + 5.0, Anchor::Start) } else { (x - 5.0, Anchor::End) };
            scene.words((x, y), words, (anchor, TEXT, size));
        }
    }

    /// A count in figures.
    fn figure(&self, count: f64) -> String {
        match self.ground.counts {
            Counts::Added => figures::change(count),
            Counts::Held => figures::compact(count, self.value.low.abs().max(self.value.high.abs())),
        }
    }

    /// Names at the lines' ends, pushed apart where they would touch.
    fn ends(&self, scene: &mut Scene, series: &[Series]) {
        let size = self.format.size;
        let mut labels: Vec<(f64, usize, String)> = Vec::new();
        let mut lasts: Vec<(&Series, f64)> =
            series.iter().filter_map(|one| Some((one, one.last()?.1))).collect();
        // Where there is no room for all of them, those that changed most; the legend has everybody.
        lasts.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
        lasts.truncate(ENDS_MAX);
        lasts.sort_by_key(|(one, _)| one.place);
        for (one, last) in lasts {
            let name = short(&one.name, self.format.name_letters);
            let change = match last {
                high if high > self.value.high => ", above".to_owned(),
                low if low < self.value.low => ", below".to_owned(),
                within => format!(" {}", self.figure(within)),
            };
            let words = if self.format.roomy { format!("{name}{change}") } else { name };
            let y = self.value.at(last.clamp(self.value.low, self.value.high));
            labels.push((y, one.place, words));
        }
        let places = apart(&labels.iter().map(|label| label.0).collect::<Vec<_>>(), size * 1.4, &self.value);
        for ((_, place, words), y) in labels.into_iter().zip(places) {
            let x = self.time.to + 10.0;
            scene.group(Group::Target(place), |scene| {
                scene.mark((x, y), palette::marker(place), palette::ink(place), 4.0);
                scene.words((x + 9.0, y), words, (Anchor::Start, TEXT, size));
            });
        }
    }
}

/// Where along a line a marker stands; targets that lie on each other get theirs side by side.
fn share(index: usize, place: usize) -> f64 {
    let step = |count: usize| f64::from(u32::try_from(count).unwrap_or(0));
    let marks = step(MARKS);
    (step(index) + 0.25 + 0.25 * step(place % 4)) / (marks + 0.25)
}

fn between([from, to]: [Point; 2], share: f64) -> Point {
    (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share)
}

/// Moves heights apart until none is nearer than `gap` to the next, and keeps them in the panel.
fn apart(heights: &[f64], gap: f64, panel: &Scale) -> Vec<f64> {
    let mut order: Vec<(usize, f64)> = heights.iter().copied().enumerate().collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut above = f64::NEG_INFINITY;
    for (_, y) in &mut order {
        *y = y.max(above + gap);
        above = *y;
    }
    let mut below = panel.from;
    for (_, y) in order.iter_mut().rev() {
        *y = y.min(below);
        below = *y - gap;
    }
    order.sort_by_key(|(index, _)| *index);
    order.into_iter().map(|(_, y)| y).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: Scale = Scale { low: 0.0, high: 10.0, from: 100.0, to: 0.0 };

    #[test]
    fn labels_never_touch_and_stay_in_the_panel() {
        let found = apart(&[99.0, 98.0, 2.0, 99.0], 15.0, &VALUE);
        let mut sorted = found.clone();
        sorted.sort_by(f64::total_cmp);
        assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] >= 14.99), "{found:?}");
        assert!(found.iter().all(|y| (0.0..=100.0).contains(y)), "{found:?}");
        assert!(found[1] < found[0], "order is kept: {found:?}");
    }

    #[test]
    fn a_long_name_is_cut_with_a_sign_that_it_is() {
        assert_eq!(short("archived-without-fix", 9), "archived…");
        assert_eq!(short("pool", 9), "pool");
        assert_eq!(short("界界界界界", 9), "界界界界…");
    }
}
