//! How soon a leak is called by looks that repeat, and how often a healthy series is: an hour of looks each.

use flatline::growth::Point;
use flatline::growth::verdict::{Explained, Settings, Watch};

use crate::families::{self, Noise, settings};
use crate::long::{self, Healthy};

/// What varies, by the second or by the minute.
#[derive(Clone, Copy, Debug)]
enum Family {
    Seconds(Noise),
    Minutes(Healthy),
}

/// Each with what its target would have declared: how far its queues, pools and caches lift the count at most.
const FAMILIES: [(Family, f64); 27] = [
    (Family::Seconds(Noise::Flat), 24.0),
    (Family::Seconds(Noise::Churn), 24.0),
    (Family::Seconds(Noise::MixedChurn), 24.0),
    (Family::Seconds(Noise::Spikes), 24.0),
    (Family::Seconds(Noise::Sawtooth(7.0)), 24.0),
    (Family::Seconds(Noise::Sawtooth(25.0)), 24.0),
    (Family::Seconds(Noise::Sawtooth(60.0)), 24.0),
    (Family::Seconds(Noise::Memory(5.0, 1.5)), 24.0),
    (Family::Seconds(Noise::Memory(30.0, 5.0)), 24.0),
    (Family::Minutes(Healthy::White(2.0)), 24.0),
    (Family::Minutes(Healthy::Memory(164.0, 20.0)), 60.0),
    (Family::Minutes(Healthy::Sawtooth(780.0, 80.0)), 80.0),
    (Family::Minutes(Healthy::UnevenSawtooth(120.0, 30.0)), 45.0),
    (Family::Minutes(Healthy::UnevenSawtooth(400.0, 40.0)), 60.0),
    (Family::Minutes(Healthy::OneTooth), 100.0),
    (Family::Minutes(Healthy::Queue(0.3)), 100.0),
    (Family::Minutes(Healthy::Queue(0.7)), 100.0),
    (Family::Minutes(Healthy::WarmUp(180.0, 100.0)), 100.0),
    (Family::Minutes(Healthy::WarmUp(720.0, 250.0)), 250.0),
    (Family::Minutes(Healthy::Step), 24.0),
    (Family::Minutes(Healthy::Steps), 24.0),
    (Family::Minutes(Healthy::StepsUp), 30.0),
    (Family::Minutes(Healthy::Day(30.0)), 60.0),
    (Family::Minutes(Healthy::Outage), 40.0),
    (Family::Minutes(Healthy::Jobs), 30.0),
    (Family::Minutes(Healthy::HeavyTails), 60.0),
    (Family::Minutes(Healthy::Cache(40.0)), 40.0),
];

/// What leaks, per minute.
#[derive(Clone, Copy)]
enum Leak {
    None,
    Steady(f64),
    Chance(f64),
}

impl Family {
    fn series(self, seed: u64, leak: Leak) -> Vec<Point> {
        match self {
            Self::Seconds(noise) => families::series(
                seed,
                3600,
                noise,
                match leak {
                    Leak::None => families::Leak::None,
                    Leak::Steady(pace) => families::Leak::Steady(pace),
                    Leak::Chance(pace) => families::Leak::Chance(pace),
                },
            ),
            Self::Minutes(healthy) => long::series(
                seed,
                60.0,
                healthy,
                match leak {
                    Leak::None => long::Leak::None,
                    Leak::Steady(pace) => long::Leak::Steady(pace),
                    Leak::Chance(pace) => long::Leak::Chance(pace),
                },
            ),
        }
    }
}

/// How long a leak is watched.
const LEAK_S: f64 = 600.0;

/// When the series is called a leak, in seconds from its first sample on.
fn called_s(points: &[Point], explained: Explained) -> Option<f64> {
    let mut watch = Watch::new(&Settings { explained, ..settings() })?;
    let decided = points.iter().any(|point| watch.push(*point)).then(|| watch.decided_at_s()).flatten();
    Some(decided? - points.first()?.elapsed_s)
}

/// Of `runs` leaks: the percentage called within `within_s`, and the middle moment.
fn soon(family: Family, explained: Explained, (leak, within_s): (Leak, f64), runs: u32) -> String {
    let called = |seed| {
        let mut points = family.series(u64::from(seed), leak);
        let from_s = points[0].elapsed_s;
        points.retain(|point| point.elapsed_s <= from_s + LEAK_S);
        called_s(&points, explained).unwrap_or(f64::INFINITY)
    };
    let mut moments: Vec<f64> = (0..runs).map(called).collect();
    moments.sort_by(f64::total_cmp);
    let share = 100.0 * moments.iter().filter(|moment| **moment <= within_s).count() as f64 / f64::from(runs);
    let middle_s = moments[moments.len() / 2];
    let middle = if middle_s.is_finite() { format!("{middle_s:.0} s") } else { "later".to_owned() };
    format!("{share:.0} % ({middle})")
}

/// Prints the table: `runs` healthy series of each family, and a tenth as many of each leak.
pub(crate) fn print(runs: u32) {
    let tenth = (runs / 10).max(1);
    println!(
        "{runs} healthy series, {tenth} of each leak: called within 3 and 5 minutes, and the median moment"
    );
    println!("| family | bound | called wrongly | 43 steady | 43 by chance | 10 steady | 10 by chance |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (family, bound) in FAMILIES {
        let leaks = |explained| {
            let asked = [
                (Leak::Steady(43.0), 180.0),
                (Leak::Chance(43.0), 180.0),
                (Leak::Steady(10.0), 300.0),
                (Leak::Chance(10.0), 300.0),
            ];
            asked.map(|asked| soon(family, explained, asked, tenth)).join(" | ")
        };
        let declared = Explained::Declared(bound);
        let wrong = (0..runs)
            .filter(|seed| called_s(&family.series(u64::from(*seed), Leak::None), declared).is_some());
        println!("| {family:?} | {bound} | {} | {} |", wrong.count(), leaks(declared));
        // Without a bound only the moment is early, and only of what fails as a whole.
        println!("| {family:?} | none | | {} |", leaks(Explained::Assumed));
    }
}
