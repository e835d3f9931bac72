//! The series of every plot once more, for the page's script: to read values from, and to draw finer lines where a
//! reader zooms in. Compact, since a page of two days is still to be a small file.

use std::collections::BTreeMap;

use serde::Serialize;

use super::chart;
use super::ground::Stretch;
use super::panel::short;
use super::series::Series;
use crate::result::{Resource, RunResult};

/// Letters of the name of a step or a fault.
const NAME: usize = 60;
/// Steps of a time in a second.
const PER_SECOND: f64 = 10.0;

/// All that the script is given.
#[derive(Serialize)]
struct Plotted<'a> {
    targets: &'a [String],
    /// Name, first and last second.
    phases: Vec<(&'a str, f64, f64)>,
    steps: Vec<(String, f64, f64)>,
    faults: Vec<(String, f64, f64)>,
    series: BTreeMap<&'static str, Vec<Line>>,
}

/// One target's series of one resource.
#[derive(Serialize)]
struct Line {
    target: usize,
    /// Stretches without a gap: times in tenths of a second, and counts, each less the one before it.
    stretches: Vec<[Vec<i64>; 2]>,
}

/// The data as JSON that may stand in a script element: nothing in it can end that.
pub(super) fn json(
    result: &RunResult,
    series: &BTreeMap<Resource, Vec<Series>>,
) -> Result<String, serde_json::Error> {
    let series = series.iter().map(|(resource, lines)| (resource.key(), lines.iter().map(line).collect()));
    let end = result.samples.last_s();
    let named = |stretches: Vec<Stretch>| {
        stretches.iter().map(|it| (short(&it.name, NAME), it.from_s, it.to_s)).collect()
    };
    let plotted = Plotted {
        targets: &result.manifest.targets,
        phases: result.manifest.phases.iter().map(|it| (it.name.as_str(), it.from_s, it.to_s)).collect(),
        steps: named(chart::steps(result)),
        faults: named(chart::faults(result, end)),
        series: series.collect(),
    };
    Ok(serde_json::to_string(&plotted)?.replace('<', "\\u003c"))
}

fn line(series: &Series) -> Line {
    let stretch = |points: &Vec<(f64, f64)>| {
        let times = points.iter().map(|(at, _)| whole(at * PER_SECOND));
        let counts = points.iter().map(|(_, count)| whole(*count));
        [steps(times), steps(counts)]
    };
    Line { target: series.place, stretches: series.stretches.iter().map(stretch).collect() }
}

/// The first number, and then how much each differs from the one before it.
fn steps(numbers: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut last = 0;
    numbers.map(|number| number - std::mem::replace(&mut last, number)).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a cast of a float saturates; times and counts are far below"
)]
fn whole(value: f64) -> i64 {
    value.round() as i64
}

#[cfg(test)]
mod tests {
    use super::super::series;
    use super::super::synthetic::{HOSTILE, run, samples, troubled};
    use super::*;

    fn written(result: &RunResult) -> String {
        let series = Resource::ALL.map(|resource| (resource, series::all(result, resource)));
        json(result, &BTreeMap::from(series)).unwrap()
    }

    #[test]
    fn a_series_is_read_back_from_its_steps() {
        let given = [5, 7, 7, 4];
        let steps = steps(given.into_iter());
        assert_eq!(steps, [5, 2, 0, -3]);
        let sums: Vec<i64> = steps
            .iter()
            .scan(0, |sum, step| {
                *sum += step;
                Some(*sum)
            })
            .collect();
        assert_eq!(sums, given);
    }

    #[test]
    fn every_target_and_resource_is_there_and_nothing_can_end_the_script() {
        let json = written(&troubled());
        assert!(!json.contains('<'));
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["targets"][2], HOSTILE);
        assert_eq!(read["series"]["fds"].as_array().unwrap().len(), 3);
        assert_eq!(read["faults"][0][0], "sink down");
        let steps = read["steps"].to_string();
        let until_the_next_and_the_end_of_the_load =
            r#"[["lines ×1, churn ×1, for 1m",70.0,130.0],["lines ×4, churn ×2, for 1m",130.0,250.0]]"#;
        assert_eq!(steps, until_the_next_and_the_end_of_the_load);
    }

    #[test]
    fn a_peak_of_one_sample_stays_in_two_days() {
        let mut long = run(["a", "b", "c"]);
        let first = samples(["a", "b", "c"])[0].clone();
        long.samples = (0..172_800_u32)
            .map(|second| {
                let fds = if second == 100_003 { 977 } else { 28 };
                crate::result::Sample { elapsed_s: f64::from(second), fds: Some(fds), ..first.clone() }
            })
            .collect();
        let json = written(&long);
        assert!(json.contains("949,") && json.contains("-949"), "the way up to it and down again");
        assert!(json.len() < 400_000, "{}", json.len());
    }
}
