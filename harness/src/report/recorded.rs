//! The plot of any recorded series: a panel for each column, its counts as they stand over time, each with the
//! fitted line, where the judged stretch begins, and a line as steep as the limit.

use std::collections::BTreeMap;
use std::path::Path;

use super::ReportError;
use super::figures;
use super::ground::{Counts, Ground};
use super::palette::MUTED;
use super::panel::{WIDE, short};
use super::scene::{self, Anchor, Point, Scene};
use super::series::{Series, drawn};
use super::sheet::{Key, Sheet};
use crate::growth;
use crate::growth::verdict::Judged;
use crate::result::{Judgement, Verdict};

/// More lines are not told apart: there are so many pairs of colour and marker.
const TARGETS_MAX: usize = 12;
/// Panels of one picture.
const COLUMNS_MAX: usize = 12;
/// A clock that starts so many times its length away from zero was not started for these samples.
const FAR: f64 = 10.0;

/// Series to draw, thinned as they come, so that they take no memory.
#[derive(Debug, Default)]
pub struct Recorded {
    columns: BTreeMap<String, BTreeMap<String, Series>>,
}

impl Recorded {
    /// Takes one column of one target.
    pub fn add(&mut self, column: &str, target: &str, points: &[growth::Point], judged: &Judged) {
        let finite = points.iter().map(|point| (point.elapsed_s, point.count));
        let finite: Vec<Point> = finite.filter(|(at, count)| at.is_finite() && count.is_finite()).collect();
        let series = Series {
            place: 0,
            name: target.to_owned(),
            stretches: drawn(&finite, WIDE.columns()),
            fitted: judged.line,
            judgement: Some(judged.judgement.clone()),
        };
        self.columns.entry(column.to_owned()).or_default().insert(target.to_owned(), series);
    }

    /// Draws all that was added into a PNG.
    ///
    /// # Errors
    /// [`ReportError::Picture`]: the file can't be written.
    pub fn write(&self, path: &Path, title: &str) -> Result<(), ReportError> {
        let drawn = scene::png(&self.scene(title), path);
        drawn.map_err(|source| ReportError::Picture { path: path.to_owned(), source })
    }

    fn scene(&self, title: &str) -> Scene {
        let chosen = self.chosen();
        let panels: Vec<(&str, Vec<Series>)> = self
            .columns
            .iter()
            .take(COLUMNS_MAX)
            .map(|(name, all)| (name.as_str(), placed(all, &chosen)))
            .collect();
        let (from, to) = time(panels.iter().flat_map(|(_, series)| series));
        let origin = if from.abs() > FAR * (to - from) { from } else { 0.0 };
        let mut sheet = Sheet::new(WIDE, from - origin, to - origin);
        sheet.title(title);
        sheet.key(&[
            (Key::Limit, "as steep as the limit".to_owned()),
            (Key::Wedge, "90 % interval of the growth".to_owned()),
            (Key::Cut, "end of the warm-up".to_owned()),
        ]);
        for (column, mut series) in panels {
            series.iter_mut().for_each(|one| shift(one, origin));
            panel(&mut sheet, column, &series);
        }
        if origin.abs() > 0.0 {
            sheet.time_axis(&format!("time since elapsed_s {}", figures::level(origin)));
        } else {
            sheet.time_axis("elapsed_s");
        }
        self.left_out(&mut sheet);
        sheet.done()
    }

    /// The targets that are drawn: those with the worst verdicts, and of these the ones that grow most.
    fn chosen(&self) -> Vec<&str> {
        let mut worst: BTreeMap<&str, (u8, f64)> = BTreeMap::new();
        for (name, one) in self.columns.values().flatten() {
            let rank = one.judgement.as_ref().map_or((3, 0.0), rank);
            let kept = worst.entry(name).or_insert(rank);
            *kept = (kept.0.min(rank.0), kept.1.max(rank.1));
        }
        let mut names: Vec<(&str, (u8, f64))> = worst.into_iter().collect();
        names.sort_by(|(_, a), (_, b)| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
        let mut chosen: Vec<&str> = names.into_iter().take(TARGETS_MAX).map(|(name, _)| name).collect();
        chosen.sort_unstable();
        chosen
    }

    /// Says what the picture has no room for.
    fn left_out(&self, sheet: &mut Sheet) {
        let targets = self.columns.values().map(BTreeMap::len).max().unwrap_or(0);
        let over = [(targets, TARGETS_MAX, "targets"), (self.columns.len(), COLUMNS_MAX, "columns")];
        for (all, shown, what) in over.into_iter().filter(|(all, shown, _)| all > shown) {
            let text = format!("{shown} of {all} {what} are shown; the table has all of them");
            let size = sheet.format.size;
            sheet.scene.words((12.0, sheet.down + size * 0.5), text, (Anchor::Start, MUTED, size));
            sheet.down += size * 1.6;
        }
    }
}

fn rank(judgement: &Judgement) -> (u8, f64) {
    let severity = match judgement.verdict {
        Verdict::Fail => 0,
        Verdict::Invalid => 1,
        Verdict::Inconclusive => 2,
        Verdict::Pass => 3,
    };
    (severity, judgement.growth_per_min.unwrap_or(f64::NEG_INFINITY))
}

/// The chosen targets' series of one column; a target has the same place in every panel.
fn placed(all: &BTreeMap<String, Series>, chosen: &[&str]) -> Vec<Series> {
    let found = chosen.iter().enumerate().filter_map(|(place, name)| Some((place, all.get(*name)?)));
    found.map(|(place, one)| Series { place, ..one.clone() }).collect()
}

/// From the first moment to the last.
fn time<'a>(series: impl Iterator<Item = &'a Series>) -> (f64, f64) {
    let moments = series.flat_map(|one| one.stretches.iter().flatten()).map(|(at, _)| *at);
    let (from, to) =
        moments.fold((f64::INFINITY, f64::NEG_INFINITY), |(from, to), at| (from.min(at), to.max(at)));
    if from < to { (from, to) } else { (0.0, 1.0) }
}

/// Moves a series to a clock that starts at `origin`.
fn shift(one: &mut Series, origin: f64) {
    one.stretches.iter_mut().flatten().for_each(|(at, _)| *at -= origin);
    if let Some(line) = &mut one.fitted {
        line.from_s -= origin;
        line.to_s -= origin;
    }
}

fn panel(sheet: &mut Sheet, column: &str, series: &[Series]) {
    let limit = series.iter().find_map(|one| one.judgement.as_ref()).map(|judged| judged.limit_per_min);
    let limits: Vec<[Point; 2]> =
        limit.map_or_else(Vec::new, |limit| series.iter().filter_map(|one| slope(one, limit)).collect());
    let ground = Ground {
        counts: Counts::Held,
        phases: Vec::new(),
        steps: Vec::new(),
        faults: Vec::new(),
        crashes: Vec::new(),
        cuts: series.iter().filter_map(|one| Some((one.place, cut(one)?))).collect(),
        limits,
    };
    let words = limit.map_or_else(String::new, |limit| format!(", limit {}", figures::rate(limit)));
    sheet.heading(&format!("{}{words}", short(column, 80)));
    sheet.legend(series);
    // Above the panel is room for its title and for phases, of which there are none.
    sheet.down -= sheet.format.size * 2.0;
    sheet.panel((&ground, series), "", range(series, &ground.limits), sheet.format.tall);
    sheet.down += sheet.format.size;
}

/// A line as steep as the limit, from where the fitted line begins.
fn slope(one: &Series, limit_per_min: f64) -> Option<[Point; 2]> {
    let line = one.fitted?;
    let minutes = (line.to_s - line.from_s) / 60.0;
    Some([(line.from_s, line.from_count), (line.to_s, line.from_count + limit_per_min * minutes)])
}

/// Where the warm-up ended, if anything was cut.
fn cut(one: &Series) -> Option<f64> {
    let first = one.stretches.first()?.first()?.0;
    let warmup_s = one.judgement.as_ref()?.warmup_s;
    let last = one.last()?.0;
    (warmup_s > 0.0 && first + warmup_s < last).then_some(first + warmup_s)
}

/// Everything within view, with a little air. A limit's line that would press the counts flat is cut off.
fn range(series: &[Series], limits: &[[Point; 2]]) -> (f64, f64) {
    let none = (f64::INFINITY, f64::NEG_INFINITY);
    let (low, high) = series.iter().fold(none, |range, one| one.extent(range));
    if low > high {
        return (0.0, 1.0);
    }
    let top = limits.iter().map(|[_, end]| end.1).fold(high, f64::max);
    let high = top.min(high + (high - low).max(1.0) * 3.0);
    let air = ((high - low) * 0.06).max(high.abs() * 1e-3).max(1e-3);
    (low - air, high + air)
}

#[cfg(test)]
mod tests {
    use super::super::scene::Shape;
    use super::*;
    use crate::growth::verdict::{Explained, Settings, judge};
    use crate::growth::warmup::Warmup;

    fn points(seconds: u32, per_min: f64, from_s: f64) -> Vec<growth::Point> {
        (0..seconds)
            .map(f64::from)
            .map(|s| growth::Point {
                elapsed_s: from_s + s,
                count: (20.0 + s % 3.0 + s * per_min / 60.0).round(),
            })
            .collect()
    }

    fn judged(points: &[growth::Point]) -> Judged {
        let warmup = Warmup::Fixed { seconds: 30.0 };
        judge(
            points,
            &Settings { limit_per_min: 2.0, warmup, process_limit: None, explained: Explained::Unknown },
        )
    }

    fn words(scene: &Scene) -> String {
        let words = scene.shapes.iter().filter_map(|shape| match shape {
            Shape::Words { text, .. } => Some(text.as_str()),
            Shape::Line { .. } | Shape::Dashes { .. } | Shape::Area { .. } => None,
            Shape::Rectangle { .. } | Shape::Mark { .. } | Shape::Open(_) | Shape::Close => None,
        });
        words.collect::<Vec<_>>().join("\n")
    }

    fn recorded(series: &[(&str, &str, Vec<growth::Point>)]) -> Recorded {
        let mut recorded = Recorded::default();
        series
            .iter()
            .for_each(|(column, target, points)| recorded.add(column, target, points, &judged(points)));
        recorded
    }

    #[test]
    fn each_column_has_a_panel_with_verdicts_limit_and_cut() {
        let (leak, flat) = (points(300, 43.0, 0.0), points(300, 0.0, 0.0));
        let series = [("fds", "a", leak), ("fds", "b", flat.clone()), ("tasks", "b", flat)];
        let scene = recorded(&series).scene("night.csv");
        let words = words(&scene);
        for wanted in ["night.csv", "fds, limit 2/min", "tasks, limit 2/min", "fail", "pass", "elapsed_s"] {
            assert!(words.contains(wanted), "{wanted}: {words}");
        }
        let dashes = scene.shapes.iter().filter(|shape| matches!(shape, Shape::Dashes { .. })).count();
        assert_eq!(dashes, 8, "a limit and a cut for each series, and the key's");
    }

    #[test]
    fn a_peak_in_a_long_series_is_drawn() {
        let mut long = points(50_000, 0.0, 0.0);
        long[31_234].count = 900.0;
        let recorded = recorded(&[("fds", "a", long)]);
        let series = &recorded.columns["fds"]["a"];
        assert!(series.stretches.iter().map(Vec::len).sum::<usize>() < 1_000);
        assert!(series.stretches.iter().flatten().any(|(_, count)| *count > 899.0));
    }

    #[test]
    fn a_clock_of_another_world_is_moved_to_the_first_sample() {
        let words = words(&recorded(&[("fds", "a", points(300, 0.0, 1.7e9))]).scene("x"));
        assert!(
            words.contains("time since elapsed_s 1,700,000,000") && words.contains("\n04:00\n"),
            "{words}"
        );
    }

    #[test]
    fn what_can_not_be_judged_and_nothing_at_all_are_still_drawn() {
        let broken = vec![growth::Point { elapsed_s: f64::NAN, count: f64::INFINITY }; 40];
        let scene = recorded(&[("fds", "a", broken), ("fds", "b", Vec::new())]).scene("x");
        assert!(words(&scene).contains("invalid"), "{}", words(&scene));
    }

    #[test]
    fn of_very_many_targets_the_worst_are_drawn_and_the_rest_is_said() {
        let mut recorded = Recorded::default();
        for number in 0..40_u32 {
            let points = points(120, if number == 33 { 43.0 } else { 0.0 }, 0.0);
            recorded.add("fds", &format!("t{number:02}"), &points, &judged(&points));
        }
        let words = words(&recorded.scene("x"));
        assert!(words.contains("t33") && words.contains("12 of 40 targets are shown"), "{words}");
    }
}
