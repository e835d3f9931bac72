//! Prints the tables of `docs/growth.md`: the share of each verdict on simulated families, and how often
//! the interval holds the truth. Takes minutes: `cargo run --release -p flatline --example growth_tables`, and
//! `… --example growth_tables -- long [RUNS]` for runs of an hour, `… -- fail-fast [RUNS]` for looks that repeat,
//! `… -- settling [RUNS]` for the run that an `inconclusive` asks for, `… -- at-limit [RUNS]` for leaks of exactly the limit,
//! `… -- events [RUNS]` for which event a leak is said to follow and `… -- own [RUNS]` for the
//! harness as it is judged itself (both in `docs/attribution.md`).

#![expect(clippy::print_stdout, reason = "it prints tables")]
#![expect(clippy::indexing_slicing, reason = "a simulation may stop at a mistake of its own")]

mod alternatives;
mod events;
mod fail_fast;
mod families;
mod long;
mod own;
mod settling;

use families::{Leak, NOISES, Noise, leaks, series, shares};
use flatline::growth::slope::{Growth, growth};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let which = arguments.next();
    let runs = arguments.next().and_then(|runs| runs.parse().ok()).unwrap_or(1000);
    match which.as_deref() {
        Some("long") => hour(runs),
        Some("alternatives") => alternatives::print(runs),
        Some("fail-fast") => fail_fast::print(runs),
        Some("at-limit") => at_limit(runs),
        Some("settling") => settling::print(runs),
        Some("events") => events::print(runs),
        Some("own") => own::print(runs),
        _ => {
            tables();
            coverage();
        }
    }
}

/// Leaks of exactly the limit, by chance: neither verdict is right more often than the interval errs.
fn at_limit(runs: u32) {
    for (noise, seconds) in
        [(Noise::Churn, 600), (Noise::Flat, 600), (Noise::Memory(5.0, 1.5), 600), (Noise::Churn, 3600)]
    {
        shares(runs, seconds, noise, Leak::Chance(families::LIMIT));
    }
}

/// Healthy series of an hour, and a tenth as many of each leak.
fn hour(runs: u32) {
    for healthy in long::HEALTHY {
        long::print(runs, 60.0, healthy, long::Leak::None);
        for leak in long::leaks() {
            long::print(runs / 10, 60.0, healthy, leak);
        }
    }
}

fn tables() {
    for seconds in [180, 600] {
        for noise in NOISES {
            shares(1000, seconds, noise, Leak::None);
            for leak in leaks() {
                shares(100, seconds, noise, leak);
            }
        }
    }
}

fn coverage() {
    for (noise, seconds) in [
        (Noise::Churn, 180),
        (Noise::MixedChurn, 600),
        (Noise::Memory(5.0, 5.0), 180),
        (Noise::Memory(5.0, 5.0), 600),
        (Noise::Memory(30.0, 5.0), 180),
        (Noise::Memory(30.0, 5.0), 600),
        (Noise::Memory(30.0, 5.0), 3600),
    ] {
        for leak in [Leak::None, Leak::Chance(10.0)] {
            let truth = leak.per_min().unwrap_or(0.0);
            let outside = |held: fn(&Growth, f64) -> bool| {
                let lines = (0..2000).filter_map(|seed| growth(&series(seed, seconds, noise, leak), 1.0));
                lines.filter(|line| !held(line, truth)).count() as f64 / 20.0
            };
            println!(
                "{seconds:>5} s  {noise:?} {leak:?}: truth below the interval {:.1} %, above {:.1} % (nominal 5)",
                outside(|line, truth| line.low(0.05) <= truth),
                outside(|line, truth| line.high(0.05) >= truth),
            );
        }
    }
}
