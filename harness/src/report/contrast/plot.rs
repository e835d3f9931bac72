//! Each difference with its interval on one axis, in multiples of the smallest one that matters: what lies within the
//! grey band does not, to the right of it is worse.

use super::super::axis::{Scale, decades, symlog};
use super::super::palette::{self, AXIS, GRID, MUTED, SHADE, TEXT};
use super::super::panel::{Format, short};
use super::super::scene::{Anchor, Scene};
use super::super::{figures, measured};
use super::{headline, mark};
use crate::result::Measure;
use crate::result::contrast::{Contrast, Row};

/// Room for titles on the left of a wide plot.
const TITLES: f64 = 230.0;
/// Room for figures on the right of a wide plot.
const FIGURES: f64 = 250.0;
/// Beyond so many times what matters, the axis ends: an arrow of a bar says no more than that it is far.
const MOST: f64 = 1000.0;

/// Draws it; `titled` where it stands alone.
pub(super) fn plot(contrast: &Contrast, format: Format, titled: bool) -> Scene {
    let size = format.size;
    let (left, right) =
        if format.roomy { (TITLES, format.width - FIGURES) } else { (14.0, format.width - 14.0) };
    let reach = reach(contrast);
    let scale = Scale { low: -symlog(reach), high: symlog(reach), from: left, to: right };
    let mut plot = Plot { format, scale, reach, scene: Scene::new(format.width, 0.0), down: 10.0 };
    if titled {
        let title = headline(contrast.direction);
        plot.scene.words((12.0, plot.down + size), title, (Anchor::Start, TEXT, size * 1.6));
        plot.down += size * 3.0;
    }
    for (place, (name, target)) in contrast.targets.iter().enumerate() {
        let control = if target.weighed { "" } else { " (a control: not weighed)" };
        let heading = format!("{}{control}", short(name, 40));
        plot.scene.words((12.0, plot.down + size * 0.7), heading, (Anchor::Start, TEXT, size * 1.05));
        plot.down += size * 1.8;
        for (measure, row) in &target.rows {
            plot.row(place, *measure, row);
        }
        plot.down += size * 0.8;
    }
    plot.axis();
    plot.scene.height = plot.down.ceil();
    plot.scene
}

/// A value in multiples of what matters, worse to the right.
fn times(measure: Measure, row: &Row, value: f64) -> f64 {
    let worse = if measure.more_is_better() { -value } else { value };
    let times = worse / row.matters;
    if times.is_finite() { times.clamp(-MOST, MOST) } else { 0.0 }
}

fn reach(contrast: &Contrast) -> f64 {
    let rows = contrast.targets.values().flat_map(|target| &target.rows);
    let ends = rows.flat_map(|(measure, row)| {
        let ends = [row.ci_low, row.ci_high, row.difference].into_iter().flatten();
        ends.map(|end| times(*measure, row, end).abs()).collect::<Vec<_>>()
    });
    ends.fold(2.0, f64::max) * 1.2
}

struct Plot {
    format: Format,
    scale: Scale,
    reach: f64,
    scene: Scene,
    down: f64,
}

impl Plot {
    fn row(&mut self, place: usize, measure: Measure, row: &Row) {
        let size = self.format.size;
        let high = if self.format.roomy { size * 1.8 } else { size * 3.2 };
        let (top, bottom) = if self.format.roomy {
            (self.down, self.down + high)
        } else {
            (self.down + size * 1.5, self.down + high - 2.0)
        };
        let middle = f64::midpoint(top, bottom);
        self.ground(top, bottom);
        let said = mark(row.direction);
        let by = row.difference.map_or("not measured".to_owned(), |by| measured::change(measure, by));
        if self.format.roomy {
            self.scene.words((TITLES - 12.0, middle), measure.title(), (Anchor::End, TEXT, size));
            let words = format!("{} {by}  {}", said.sign, said.word);
            self.scene.words((self.scale.to + 14.0, middle), words, (Anchor::Start, TEXT, size));
        } else {
            let words = format!("{} {}  {by}", said.sign, measure.title());
            self.scene.words((self.scale.from, self.down + size * 0.8), words, (Anchor::Start, TEXT, size));
        }
        self.bar(place, measure, row, middle);
        self.down += high;
    }

    fn ground(&mut self, top: f64, bottom: f64) {
        let at = |times: f64| self.scale.at(symlog(times));
        let (low, high) = (at(-1.0), at(1.0));
        self.scene.rectangle((low, top), (high, bottom), SHADE);
        for tick in decades(-self.reach, self.reach) {
            let ink = if tick.abs() < 0.5 { AXIS } else { GRID };
            self.scene.line(vec![(at(tick), top), (at(tick), bottom)], ink, 1.0);
        }
    }

    fn bar(&mut self, place: usize, measure: Measure, row: &Row, y: f64) {
        let ink = palette::ink(place);
        let at = |value: f64| self.scale.at(symlog(times(measure, row, value)));
        let ends = row.ci_low.zip(row.ci_high).map(|(low, high)| (at(low), at(high)));
        let mark = row.difference.map(at);
        if let Some((low, high)) = ends {
            self.scene.line(vec![(low, y), (high, y)], ink, 3.0);
            for end in [low, high] {
                self.scene.line(vec![(end, y - 5.0), (end, y + 5.0)], ink, 2.0);
            }
        }
        if let Some(x) = mark {
            self.scene.mark((x, y), palette::marker(place), ink, 5.0);
        }
    }

    fn axis(&mut self) {
        let size = self.format.size;
        let middle = self.down + size * 0.4;
        for tick in decades(-self.reach, self.reach) {
            let x = self.scale.at(symlog(tick));
            self.scene.words((x, middle), figures::change(tick), (Anchor::Middle, MUTED, size));
        }
        let title = "← better · difference in multiples of the smallest that matters (grey) · worse →";
        let title =
            if self.format.roomy { title } else { "← better · of what matters (grey) · worse →" };
        let x = if self.format.roomy {
            f64::midpoint(self.scale.from, self.scale.to)
        } else {
            self.format.width / 2.0
        };
        self.scene.words((x, middle + size * 1.6), title, (Anchor::Middle, MUTED, size * 0.95));
        self.down = middle + size * 2.8;
    }
}
