//! Prints the tables of `docs/history.md`: how soon planted changes are found in simulated histories of a hundred nights, and
//! how often a change is found that nobody planted; by this method and by others.
//! `cargo run --release -p flatline --example history_tables -- [SEEDS]`

#![expect(clippy::print_stdout, reason = "it prints tables")]

use std::time::Duration;

use flatline::result::trend::{ScenarioTrend, Series, Trend};
use flatline::result::{Digest, Measure};
use flatline::trend::contrast::Matters;
use flatline::trend::history::{Question, trend};
use flatline::trend::simulated::{Alarm, Noise, Plan, Planted, Score, alarms, history, score};

/// What finds changes in a series, as the nights come in.
type Method = fn(&Series) -> Vec<Found>;

/// A change that another method has found.
struct Found {
    at: usize,
    known_at: usize,
    is_up: bool,
}

const OTHERS: [(&str, Method); 4] = [
    ("a limit of 2 per minute", limit),
    ("the last night, by what matters", last),
    ("three deviations, at once", at_once),
    ("the best split, by Welch's t", best_split),
];

fn main() {
    let seeds = std::env::args().nth(1).and_then(|seeds| seeds.parse().ok()).unwrap_or(100);
    println!("{seeds} histories of 100 nights each, 16 series in each\n");
    println!(
        "{:<12}{:<34}{:>14}{:>8}{:>8}{:>14}{:>12}",
        "noise", "method", "in two nights", "later", "missed", "false per 100", "suspected"
    );
    for noise in Noise::ALL {
        compare(noise, seeds);
    }
    println!("\nby kind of change, with a drift besides, this method: found in two nights, later, missed");
    println!("{:<12}{}", "noise", KINDS.map(|kind| format!("{kind:>20}")).concat());
    for noise in Noise::ALL {
        let (kinds, false_alarms) = by_kind(noise, seeds);
        let found = kinds.map(|of| format!("{of:>20}")).concat();
        println!("{:<12}{found}   at most one false change in {false_alarms:.0}%", format!("{noise:?}"));
    }
    println!("\nsteps found in two nights, by their size in deviations from night to night");
    println!("{:<12}{}", "noise", SIZES.map(|size| format!("{size:>8}")).concat());
    for noise in Noise::ALL {
        let found = SIZES.map(|size| format!("{:>7.0}%", by_size(noise, size, seeds)));
        println!("{:<12}{}", format!("{noise:?}"), found.concat());
    }
    println!(
        "\na drift of 0.4 deviations a night: nights until it is confirmed, the middle of all histories"
    );
    for noise in Noise::ALL {
        println!("{:<12}{:>8}", format!("{noise:?}"), until_drift(noise, seeds));
    }
}

const SIZES: [f64; 6] = [3.0, 4.0, 5.0, 6.0, 8.0, 10.0];

fn step(night: usize, target: &'static str, measure: Measure, deviations: f64) -> Planted {
    Planted { night, target, measure, deviations, drifts: false }
}

/// What [`by_kind`] plants, in its order.
const KINDS: [&str; 5] = ["a leak comes", "another comes", "and goes", "a dearer line", "memory drifts"];

/// A leak that comes and stays, one that goes again, a dearer line; nights are missing, and the machine changes.
fn plan(noise: Noise, shift: usize) -> Plan {
    Plan {
        nights: 100,
        noise,
        planted: vec![
            step(14 + shift % 20, "pool", Measure::FdsGrowth, 10.0),
            step(35, "hybrid", Measure::TasksGrowth, 10.0),
            step(40 + shift % 9, "hybrid", Measure::TasksGrowth, -10.0),
            step(80 + shift % 15, "pool", Measure::CpuPerMillionLines, 8.0),
        ],
        missing: true,
        new_machine: Some(60),
    }
}

fn read(nights: &[Digest]) -> Trend {
    let until = nights.last().map(|night| night.started_at).unwrap_or_default();
    let question = Question { matters: Matters::default(), every: Some(Duration::from_secs(86_400)), until };
    trend(nights, &[], Vec::new(), &question)
}

fn compare(noise: Noise, seeds: u32) {
    let mut ours = Score::default();
    let mut others = OTHERS.map(|_| Score::default());
    for seed in 0..seeds {
        let plan = plan(noise, seed as usize);
        let nights = history(seed.into(), &plan);
        for scenario in read(&nights).scenarios {
            let apart: usize = scenario.series.iter().map(|series| series.apart.len()).sum();
            let suspected = u32::try_from(apart).unwrap_or(u32::MAX);
            ours = ours
                .and(score(&plan, &nights, &alarms(&scenario)))
                .and(Score { suspected, ..Score::default() });
            for ((_, method), sum) in OTHERS.iter().zip(&mut others) {
                *sum = sum.and(score(&plan, &nights, &alarms_of(&scenario, *method)));
            }
        }
    }
    let named = std::iter::once(("this one", ours)).chain(OTHERS.iter().map(|(name, _)| *name).zip(others));
    for (name, found) in named {
        let planted = f64::from(found.in_two_nights + found.later + found.missed) / 100.0;
        let share = |count: u32| format!("{:.0}%", f64::from(count) / planted);
        println!(
            "{:<12}{name:<34}{:>14}{:>8}{:>8}{:>14.2}{:>12.1}",
            format!("{noise:?}"),
            share(found.in_two_nights),
            share(found.later),
            share(found.missed),
            f64::from(found.false_alarms) / f64::from(seeds),
            f64::from(found.suspected) / f64::from(seeds),
        );
    }
}

/// Of each kind how soon it is found, and in how many histories at most one change is found that nobody planted.
fn by_kind(noise: Noise, seeds: u32) -> ([String; KINDS.len()], f64) {
    let mut scores = KINDS.map(|_| Score::default());
    let mut calm = 0;
    let drift =
        Planted { night: 25, target: "hybrid", measure: Measure::RssMax, deviations: 0.4, drifts: true };
    for seed in 0..seeds {
        let mut plan = plan(noise, seed as usize);
        plan.planted.push(drift);
        let nights = history(seed.into(), &plan);
        for scenario in read(&nights).scenarios {
            let alarms = alarms(&scenario);
            for (kind, sum) in plan.planted.iter().zip(&mut scores) {
                *sum = sum.and(score(&Plan { planted: vec![*kind], ..plan.clone() }, &nights, &alarms));
            }
            calm += u32::from(score(&plan, &nights, &alarms).false_alarms <= 1);
        }
    }
    let percent = |count: u32| 100.0 * f64::from(count) / f64::from(seeds);
    let told = scores.map(|of| {
        let [soon, later, missed] = [of.in_two_nights, of.later, of.missed].map(percent);
        format!("{soon:.0}% {later:.0}% {missed:.0}%")
    });
    (told, percent(calm))
}

fn by_size(noise: Noise, size: f64, seeds: u32) -> f64 {
    let found = (0..seeds).filter(|seed| {
        let planted = vec![step(20 + *seed as usize % 60, "pool", Measure::FdsGrowth, size)];
        let plan = Plan { nights: 100, noise, planted, missing: false, new_machine: None };
        let nights = history(u64::from(*seed) + 10_000, &plan);
        let read = read(&nights);
        read.scenarios.iter().any(|scenario| score(&plan, &nights, &alarms(scenario)).in_two_nights > 0)
    });
    100.0 * found.count() as f64 / f64::from(seeds)
}

fn until_drift(noise: Noise, seeds: u32) -> usize {
    let mut nights: Vec<usize> = (0..seeds)
        .map(|seed| {
            let planted = Planted {
                night: 30,
                target: "hybrid",
                measure: Measure::RssMax,
                deviations: 0.4,
                drifts: true,
            };
            let plan = Plan { nights: 100, noise, planted: vec![planted], missing: false, new_machine: None };
            let read = read(&history(u64::from(seed) + 20_000, &plan));
            let all = read.scenarios.iter().flat_map(alarms);
            let of = all.filter(|alarm| {
                alarm.measure == Measure::RssMax && alarm.target == "hybrid" && alarm.confirmed >= 30
            });
            of.map(|alarm| alarm.confirmed - 30).min().unwrap_or(usize::MAX)
        })
        .collect();
    nights.sort_unstable();
    nights.get(nights.len() / 2).copied().unwrap_or(usize::MAX)
}

fn alarms_of(scenario: &ScenarioTrend, method: Method) -> Vec<Alarm> {
    let all = scenario.series.iter().flat_map(|series| {
        let place = |at: usize| series.points.get(at).map_or(0, |point| point.night);
        method(series).into_iter().map(move |found| Alarm {
            target: series.target.clone(),
            measure: series.measure,
            night: place(found.at),
            confirmed: place(found.known_at),
            is_worse: found.is_up != series.measure.more_is_better(),
        })
    });
    all.collect()
}

fn values(series: &Series) -> Vec<f64> {
    series.points.iter().map(|point| point.value).collect()
}

/// The same of a change that matters for each method.
fn matters(series: &Series, level: f64) -> f64 {
    Matters::default().of(series.measure, level, 1.0, 0.0)
}

/// What a fixed gate sees.
fn limit(series: &Series) -> Vec<Found> {
    let is_growth =
        matches!(series.measure, Measure::TasksGrowth | Measure::ThreadsGrowth | Measure::FdsGrowth);
    let values = values(series);
    let above = values.iter().position(|value| is_growth && *value > 2.0);
    above.map(|at| Found { at, known_at: at, is_up: true }).into_iter().collect()
}

/// Each night against the one before, as benchmark actions do.
fn last(series: &Series) -> Vec<Found> {
    let values = values(series);
    let steps = values.array_windows().enumerate().filter_map(|(index, [before, now])| {
        let by = now - before;
        let apart = by.abs() >= matters(series, *before);
        apart.then_some(Found { at: index + 1, known_at: index + 1, is_up: by > 0.0 })
    });
    steps.collect()
}

fn mean_and_deviation(values: &[f64]) -> Option<(f64, f64)> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (mean, (squares / (count - 1.0)).sqrt()))
}

/// Shewhart's chart over the last thirty nights: each night outside of three deviations is a change.
fn at_once(series: &Series) -> Vec<Found> {
    let values = values(series);
    let (mut from, mut found) = (0, Vec::new());
    for (at, value) in values.iter().enumerate() {
        let reference = values.get(from.max(at.saturating_sub(30))..at).unwrap_or_default();
        let Some((mean, deviation)) = mean_and_deviation(reference).filter(|_| reference.len() >= 5) else {
            continue;
        };
        let by = (value - mean).abs();
        if by > 3.0 * deviation && by >= matters(series, mean) {
            found.push(Found { at, known_at: at, is_up: *value > mean });
            from = at;
        }
    }
    found
}

/// The place at which the two halves of the nights since the last change differ most, where Welch's t has p below 0.001: what
/// change-point tools do each time that they are asked, without a word on how often they are.
fn best_split(series: &Series) -> Vec<Found> {
    let values = values(series);
    let (mut from, mut found) = (0, Vec::new());
    for known_at in 0..values.len() {
        let since = values.get(from..=known_at).unwrap_or_default();
        let splits = (3..since.len().saturating_sub(1)).filter_map(|at| {
            let (before, after) = since.split_at(at);
            let ((a, b), (c, d)) = (mean_and_deviation(before)?, mean_and_deviation(after)?);
            let error = (b * b / before.len() as f64 + d * d / after.len() as f64).sqrt().max(1e-12);
            let by = (c - a).abs();
            (by >= matters(series, a)).then_some((by / error, at, c > a))
        });
        // Of about ten degrees of freedom.
        if let Some((_, at, is_up)) =
            splits.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(times, ..)| *times > 4.6)
        {
            found.push(Found { at: from + at, known_at, is_up });
            from += at;
        }
    }
    found
}
