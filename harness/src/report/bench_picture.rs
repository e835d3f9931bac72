//! What a bench found, as a picture: for each case a bar for each target, with the interval of its median.

use std::path::Path;

use super::ReportError;
use super::bench::in_words;
use super::figures;
use super::palette::{self, AXIS, MUTED, TEXT};
use super::panel::WIDE;
use super::scene::{self, Anchor, Scene};
use crate::result::bench::{Bench, BenchCase, Estimated, Measure, WorkKind};

/// Room for the names on the left, and for the figures on the right.
const ROOM: (f64, f64) = (142.0, 150.0);
/// From bar to bar, and a bar's height.
const ROW: f64 = 22.0;
const BAR: f64 = 14.0;

/// What is drawn of a sort of work.
fn drawn(work: WorkKind) -> &'static [Measure] {
    match work {
        WorkKind::CatchUp => &[Measure::CpuSecondsPerMillionLines, Measure::RssPeakBytes],
        WorkKind::StartUp => &[Measure::FirstLineSeconds],
        WorkKind::Steady | WorkKind::Trouble => {
            &[Measure::CpuSecondsPerMillionLines, Measure::LatencyP99Seconds]
        }
        WorkKind::Idle => &[Measure::CpuShare, Measure::RssBytes],
        WorkKind::HighestRate => &[Measure::RateHeldPerSecond],
    }
}

/// Draws the picture into a PNG.
///
/// # Errors
/// [`ReportError::Picture`]: the file can't be written.
pub fn plot(bench: &Bench, path: &Path) -> Result<(), ReportError> {
    let drawn = scene::png(&picture(bench), path);
    drawn.map_err(|source| ReportError::Picture { path: path.to_owned(), source })
}

fn picture(bench: &Bench) -> Scene {
    let size = WIDE.size;
    let mut scene = Scene::new(WIDE.width, 0.0);
    let title = format!("Bench {}", bench.scenario);
    scene.words((12.0, 24.0), title, (Anchor::Start, TEXT, size * 1.5));
    let about = format!("{}, commit {}, {} repeats", bench.machine.cpu, bench.commit, bench.repeats);
    scene.words((12.0, 48.0), about, (Anchor::Start, MUTED, size));
    let mut down = 76.0;
    for case in &bench.cases {
        down = panel(&mut scene, case, down);
    }
    scene.height = down;
    scene
}

/// A case from `top` on; answers where it ends.
fn panel(scene: &mut Scene, case: &BenchCase, top: f64) -> f64 {
    let size = WIDE.size;
    let title = format!("{}: {}", case.name, case.about);
    scene.words((12.0, top + size * 0.7), title, (Anchor::Start, TEXT, size * 1.1));
    let mut down = top + size * 2.0;
    for measure in drawn(case.work) {
        let figures: Vec<(usize, &String, &Estimated)> = case
            .targets
            .iter()
            .enumerate()
            .filter_map(|(place, (name, result))| Some((place, name, result.figures.get(measure)?)))
            .collect();
        let most = figures.iter().map(|(_, _, figure)| figure.high).fold(0.0, f64::max);
        if most <= 0.0 {
            continue;
        }
        let better = if measure.is_cost() { "less is better" } else { "more is better" };
        let what = format!("{}, {better}", in_words(*measure));
        scene.words((ROOM.0, down + size * 0.5), what, (Anchor::Start, MUTED, size * 0.9));
        down += size * 1.3;
        for (place, name, figure) in figures {
            bar(scene, (place, name), (*measure, figure, most), down);
            down += ROW;
        }
        down += size * 0.4;
    }
    down + size
}

fn bar(
    scene: &mut Scene,
    (place, name): (usize, &str),
    (measure, figure, most): (Measure, &Estimated, f64),
    top: f64,
) {
    let size = WIDE.size;
    let width = WIDE.width - ROOM.0 - ROOM.1;
    let at = |value: f64| ROOM.0 + width * value / most;
    let middle = top + ROW / 2.0;
    scene.words((ROOM.0 - 8.0, middle), name, (Anchor::End, TEXT, size));
    let corner = (at(figure.median), middle + BAR / 2.0);
    scene.rectangle((ROOM.0, middle - BAR / 2.0), corner, palette::ink(place));
    let ends = [at(figure.low), at(figure.high)];
    scene.line(ends.map(|end| (end, middle)).to_vec(), TEXT, 1.4);
    for end in ends {
        scene.line(vec![(end, middle - 4.0), (end, middle + 4.0)], TEXT, 1.4);
    }
    scene.line(vec![(ROOM.0, top), (ROOM.0, top + ROW)], AXIS, 1.0);
    let text = value(measure, figure.median);
    scene.words((at(figure.high.max(figure.median)) + 8.0, middle), text, (Anchor::Start, TEXT, size));
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn value(measure: Measure, value: f64) -> String {
    if measure == Measure::CpuSecondsPerMillionLines {
        format!("{} s/M lines", figures::spent(value))
    } else if [Measure::RssPeakBytes, Measure::RssBytes].contains(&measure) {
        figures::bytes(value as u64)
    } else if measure == Measure::CpuShare {
        format!("{:.2} %", value * 100.0)
    } else if measure == Measure::RateHeldPerSecond {
        format!("{} lines/s", figures::count(value as u64))
    } else {
        figures::latency(value)
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::tests::bench;
    use super::super::scene::Shape;
    use super::*;

    #[test]
    fn the_bars_are_as_long_as_the_medians() {
        let scene = picture(&bench());
        let bars: Vec<f64> = scene
            .shapes
            .iter()
            .filter_map(|shape| {
                if let Shape::Rectangle { from, to, .. } = shape { Some(to.0 - from.0) } else { None }
            })
            .collect();
        assert_eq!(bars.len(), 4);
        assert!((bars[1] / bars[0] - 10.1 / 0.82).abs() < 1e-6, "{bars:?}");
    }

    #[test]
    fn it_is_a_png() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bench.png");
        plot(&bench(), &path).unwrap();
        assert!(std::fs::read(&path).unwrap().starts_with(b"\x89PNG"));
    }
}
