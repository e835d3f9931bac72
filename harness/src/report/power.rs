//! The power of the judge as a table, and as a picture: a bar for each pace and length, parted by the verdicts.

use std::path::Path;

use super::ReportError;
use super::figures;
use super::palette::{self, AXIS, GRID, Ink, MUTED, PAPER, TEXT};
use super::panel::WIDE;
use super::scene::{self, Anchor, Point, Scene, text_width};
use crate::result::selftest::{Arrival, Cell, Power};

/// Both kinds of leak, as they are shown.
const LEAKS: [Arrival; 2] = [Arrival::Steady, Arrival::ByChance];
/// Room for the paces on the left, and for what is right on the right.
const ROOM: (f64, f64) = (142.0, 104.0);
/// From bar to bar.
const ROW: f64 = 25.0;
/// A bar's height.
const BAR: f64 = 19.0;
/// Between two columns.
const GUTTER: f64 = 10.0;
/// A part of a bar that is narrower than this share bears no figure.
const LEGIBLE: f64 = 0.13;

/// Shares of pass, fail and undecided in percent: a block for each kind of leak, a line for each pace, a column for
/// each length.
#[must_use]
pub fn table(power: &Power) -> String {
    let blocks = LEAKS.map(|leak| block(power, leak));
    format!("pass / fail / undecided in percent; {}\n\n{}", about(power), blocks.join("\n\n"))
}

fn about(power: &Power) -> String {
    format!(
        "limit {}, {} simulated runs each, noise: {}",
        figures::rate(power.limit_per_min),
        figures::count(power.runs.into()),
        power.noise,
    )
}

fn block(power: &Power, leak: Arrival) -> String {
    let lengths = distinct(power, |cell| cell.length_s);
    let head = lengths.iter().map(|length_s| format!("{:>15}", figures::duration(*length_s)));
    let head = format!("{}\n{:<24}{}", leak.words(), "", head.collect::<String>());
    let rows = distinct(power, |cell| cell.times_limit).into_iter().map(|times| {
        let cells = row(power, leak, times);
        let shares = cells.iter().map(|cell| {
            let [pass, open, fail] = shares(cell).map(percent);
            format!("{:>15}", format!("{pass} / {fail} / {open}"))
        });
        format!("{:<24}{}", pace(times, power.limit_per_min), shares.collect::<String>())
    });
    [head].into_iter().chain(rows).collect::<Vec<_>>().join("\n")
}

/// The values of a field that cells have, in order.
fn distinct(power: &Power, of: fn(&Cell) -> f64) -> Vec<f64> {
    let mut values: Vec<f64> = power.cells.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    values
}

/// The cells of one pace, by length.
fn row(power: &Power, leak: Arrival, times_limit: f64) -> Vec<Cell> {
    let same = |cell: &&Cell| cell.leak == leak && cell.times_limit.total_cmp(&times_limit).is_eq();
    let mut cells: Vec<Cell> = power.cells.iter().filter(same).copied().collect();
    cells.sort_by(|a, b| a.length_s.total_cmp(&b.length_s));
    cells
}

/// Of pass, of what is not decided, of fail.
fn shares(cell: &Cell) -> [f64; 3] {
    let open = cell.inconclusive + cell.invalid;
    let all = f64::from(cell.pass + cell.fail + open).max(1.0);
    [cell.pass, open, cell.fail].map(|count| f64::from(count) / all)
}

/// In percent; what is not nothing and not everything does not look so.
fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent > 0.0 && percent < 0.5 => "<1".to_owned(),
        percent if percent < 100.0 && percent > 99.5 => ">99".to_owned(),
        percent => format!("{percent:.0}"),
    }
}

fn pace(times_limit: f64, limit_per_min: f64) -> String {
    let per_min = figures::rate(times_limit * limit_per_min);
    let times = match times_limit {
        times if times <= 0.0 => return "no leak".to_owned(),
        times if (times - 0.25).abs() < 1e-9 => "¼".to_owned(),
        times if (times - 0.5).abs() < 1e-9 => "½".to_owned(),
        times if (times - 1.0).abs() < 1e-9 => return format!("the limit: {per_min}"),
        times if (times - 1.5).abs() < 1e-9 => "1½".to_owned(),
        times => figures::level(times),
    };
    format!("{times} × limit: {per_min}")
}

/// Draws the picture into a PNG.
///
/// # Errors
/// [`ReportError::Picture`]: the file can't be written.
pub fn plot(power: &Power, path: &Path) -> Result<(), ReportError> {
    let drawn = scene::png(&picture(power), path);
    drawn.map_err(|source| ReportError::Picture { path: path.to_owned(), source })
}

/// The colour of each of [`shares`], and of the figure in it.
const PARTS: [(&str, usize, Ink); 3] =
    [("pass", 0, PAPER), ("undecided", usize::MAX, TEXT), ("fail", 2, PAPER)];

fn ink(place: usize) -> Ink {
    if place == usize::MAX { GRID } else { palette::ink(place) }
}

fn picture(power: &Power) -> Scene {
    let size = WIDE.size;
    let mut scene = Scene::new(WIDE.width, 0.0);
    scene.words((12.0, 24.0), "What a run of a given length can tell", (Anchor::Start, TEXT, size * 1.5));
    scene.words((12.0, 48.0), about(power), (Anchor::Start, MUTED, size));
    key(&mut scene, 72.0);
    let mut down = 104.0;
    for leak in LEAKS {
        down = panel(&mut scene, power, leak, down) + 26.0;
    }
    scene.height = down;
    scene
}

fn key(scene: &mut Scene, middle: f64) {
    let mut right = 12.0;
    for (word, place, _) in PARTS {
        scene.rectangle((right, middle - 7.0), (right + 24.0, middle + 7.0), ink(place));
        scene.words((right + 30.0, middle), word, (Anchor::Start, TEXT, WIDE.size));
        right += 30.0 + text_width(word, WIDE.size) + 16.0;
    }
    let figures = "figures are percent of the runs";
    scene.words((right, middle), figures, (Anchor::Start, MUTED, WIDE.size));
}

/// A block of bars from `top` on; answers where it ends.
fn panel(scene: &mut Scene, power: &Power, leak: Arrival, top: f64) -> f64 {
    let size = WIDE.size;
    let lengths = distinct(power, |cell| cell.length_s);
    let paces = distinct(power, |cell| cell.times_limit);
    let width = (WIDE.width - ROOM.0 - ROOM.1) / lengths.len().max(1) as f64;
    let left = |column: usize| ROOM.0 + width * column as f64;
    scene.words((12.0, top + size * 0.7), leak.words(), (Anchor::Start, TEXT, size * 1.15));
    let heads = top + size * 2.4;
    for (column, length_s) in lengths.iter().enumerate() {
        let center = left(column) + (width - GUTTER) / 2.0;
        scene.words((center, heads), figures::duration(*length_s), (Anchor::Middle, MUTED, size));
    }
    let mut down = heads + size;
    for times in paces {
        let middle = down + ROW / 2.0;
        let name = pace(times, power.limit_per_min);
        scene.words((ROOM.0 - 10.0, middle), name, (Anchor::End, TEXT, size));
        for (column, cell) in row(power, leak, times).iter().enumerate() {
            bar(scene, cell, (left(column), middle - BAR / 2.0), width - GUTTER);
        }
        scene.words((WIDE.width - ROOM.1 + 4.0, middle), right_answer(times), (Anchor::Start, MUTED, size));
        down += ROW;
    }
    scene.line(vec![(12.0, down + 6.0), (WIDE.width - 12.0, down + 6.0)], AXIS.faint(0.4), 1.0);
    down
}

/// What a judge that knew everything would say.
fn right_answer(times_limit: f64) -> &'static str {
    match times_limit {
        times if times < 1.0 => "pass is right",
        times if times > 1.0 => "fail is right",
        _ => "on the border",
    }
}

fn bar(scene: &mut Scene, cell: &Cell, (left, top): Point, width: f64) {
    let mut from = left;
    for (share, (_, place, letters)) in shares(cell).into_iter().zip(PARTS) {
        let to = from + share * width;
        if share > 0.0 {
            scene.rectangle((from, top), (to, top + BAR), ink(place));
        }
        if share >= LEGIBLE {
            let at = (f64::midpoint(from, to), top + BAR / 2.0);
            scene.words(at, percent(share), (Anchor::Middle, letters, WIDE.size * 0.9));
        }
        from = to;
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene::Shape;
    use super::*;

    fn power() -> Power {
        let mut cells = Vec::new();
        for leak in LEAKS {
            for (times_limit, pass, fail) in [(0.0, 100, 0), (1.0, 30, 1), (20.0, 0, 100)] {
                for length_s in [180.0, 3600.0] {
                    let inconclusive = 100 - pass - fail;
                    let per_min = times_limit * 2.0;
                    cells.push(Cell {
                        leak,
                        length_s,
                        times_limit,
                        per_min,
                        pass,
                        fail,
                        inconclusive,
                        invalid: 0,
                    });
                }
            }
        }
        let noise = "containers that come and go".to_owned();
        Power { schema: 1, limit_per_min: 2.0, runs: 100, seed: 1, every_s: 1.0, noise, cells }
    }

    #[test]
    fn the_table_has_a_line_for_each_pace_and_a_column_for_each_length() {
        insta::assert_snapshot!("power", table(&power()));
    }

    #[test]
    fn the_bars_are_as_long_as_the_shares() {
        let scene = picture(&power());
        let fails = scene.shapes.iter().filter_map(|shape| match shape {
            Shape::Rectangle { from, to, ink } if *ink == palette::ink(2) => Some(to.0 - from.0),
            Shape::Rectangle { .. } | Shape::Line { .. } | Shape::Dashes { .. } => None,
            Shape::Area { .. } | Shape::Mark { .. } | Shape::Words { .. } => None,
            Shape::Open(_) | Shape::Close => None,
        });
        let widths: Vec<f64> = fails.skip(1).collect();
        let full = widths.iter().copied().fold(0.0, f64::max);
        let shares: Vec<f64> = widths.iter().map(|width| (width / full * 100.0).round()).collect();
        assert_eq!(shares, [1.0, 1.0, 100.0, 100.0, 1.0, 1.0, 100.0, 100.0], "the key's is the first");
    }

    #[test]
    fn a_rare_verdict_does_not_look_like_none() {
        assert_eq!([0.0, 0.001, 0.5, 0.999, 1.0].map(percent), ["0", "<1", "50", ">99", "100"]);
    }
}
