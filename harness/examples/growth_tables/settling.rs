//! Whether a run of the length that an `inconclusive` names is decided.

use std::collections::BTreeMap;

use flatline::growth::Point;
use flatline::growth::verdict::judge;
use flatline::result::Verdict;

use crate::families::{self, Noise, settings};
use crate::long::{self, Healthy};

/// Longer than that is not simulated.
const LONGEST_S: f64 = 12.0 * 3600.0;

/// What a run of so many seconds shows, by a family whose ways do not depend on the run's length.
type Series = fn(u64, f64) -> Vec<Point>;

fn seconds(noise: Noise, leak: families::Leak, seed: u64, length_s: f64) -> Vec<Point> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some thousands")]
    families::series(seed, length_s as u32, noise, leak)
}

/// Families, each with the length of the first run in seconds.
const FAMILIES: [(&str, f64, Series); 13] = [
    ("churn, 2.5 a minute", 180.0, |seed, s| seconds(Noise::Churn, families::Leak::Steady(2.5), seed, s)),
    ("churn, 3 a minute", 180.0, |seed, s| seconds(Noise::Churn, families::Leak::Steady(3.0), seed, s)),
    ("churn, 3 a minute by chance", 600.0, |seed, s| {
        seconds(Noise::Churn, families::Leak::Chance(3.0), seed, s)
    }),
    ("churn, 10 a minute by chance", 180.0, |seed, s| {
        seconds(Noise::Churn, families::Leak::Chance(10.0), seed, s)
    }),
    ("churn, 1 a minute by chance", 600.0, |seed, s| {
        seconds(Noise::Churn, families::Leak::Chance(1.0), seed, s)
    }),
    ("mixed churn", 180.0, |seed, s| seconds(Noise::MixedChurn, families::Leak::None, seed, s)),
    ("memory 5 s, spread 1.5", 180.0, |seed, s| {
        seconds(Noise::Memory(5.0, 1.5), families::Leak::None, seed, s)
    }),
    ("memory 30 s, spread 5", 180.0, |seed, s| {
        seconds(Noise::Memory(30.0, 5.0), families::Leak::None, seed, s)
    }),
    ("memory 30 s, spread 5", 600.0, |seed, s| {
        seconds(Noise::Memory(30.0, 5.0), families::Leak::None, seed, s)
    }),
    ("memory 30 s, 10 a minute", 300.0, |seed, s| {
        seconds(Noise::Memory(30.0, 5.0), families::Leak::Steady(10.0), seed, s)
    }),
    ("sawtooth of 60 s", 180.0, |seed, s| seconds(Noise::Sawtooth(60.0), families::Leak::None, seed, s)),
    ("memory 164 s, spread 20", 3600.0, |seed, s| {
        long::series(seed, s / 60.0, Healthy::Memory(164.0, 20.0), long::Leak::None)
    }),
    ("sawtooth of 13 min", 3600.0, |seed, s| {
        long::series(seed, s / 60.0, Healthy::Sawtooth(780.0, 80.0), long::Leak::None)
    }),
];

/// The length that a reason names, in seconds; `None` where it says that none would do.
fn named_s(reason: &str) -> Option<f64> {
    let (_, named) = reason.split_once("a run of about ")?;
    let mut words = named.split(' ');
    let number: f64 = words.next()?.parse().ok()?;
    let unit_s = match words.next()? {
        "s" => 1.0,
        "min" => 60.0,
        "h" => 3600.0,
        "days" => 86_400.0,
        _ => return None,
    };
    Some(number * unit_s)
}

/// Of a kind of doubt: how many, how many named no length or too long a one to simulate, how many were decided, and
/// how many times as long as the first run the named ones were.
#[derive(Default)]
struct Found {
    all: u32,
    unnamed: u32,
    decided: u32,
    times: f64,
}

/// Prints for each family and kind of doubt how many of the runs of the length that is named were decided.
pub(crate) fn print(runs: u32) {
    for (name, first_s, series) in FAMILIES {
        let mut found: BTreeMap<String, Found> = BTreeMap::new();
        for seed in 0..u64::from(runs) {
            let first = judge(&series(seed, first_s), &settings()).judgement;
            if first.verdict != Verdict::Inconclusive {
                continue;
            }
            let kind = first.reason.rsplit_once(';').map_or("", |(before, _)| before);
            let kind = kind.rsplit_once(": ").map_or(kind, |(_, doubt)| doubt);
            let kind: String = kind.chars().filter(|c| !c.is_ascii_digit()).collect();
            let found = found.entry(kind).or_default();
            found.all += 1;
            match named_s(&first.reason).filter(|length_s| *length_s <= LONGEST_S) {
                None => found.unnamed += 1,
                Some(length_s) => {
                    found.times += length_s / first_s;
                    // The same run, gone on for longer.
                    let verdict = judge(&series(seed, length_s), &settings()).judgement.verdict;
                    found.decided += u32::from(matches!(verdict, Verdict::Pass | Verdict::Fail));
                }
            }
        }
        for (kind, Found { all, unnamed, decided, times }) in found {
            let named = all - unnamed;
            let times = times / f64::from(named.max(1));
            println!(
                "{name}, {first_s:.0} s: {all} of {runs} open; {decided} of {named} decided by {times:.1} times that, {unnamed} without a length: {kind}"
            );
        }
    }
}
