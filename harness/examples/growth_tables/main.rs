//! Prints the tables of `docs/growth.md`: the share of each verdict on simulated families, and how often
//! the interval holds the truth. Takes minutes: `cargo run --release -p flatline --example growth_tables`.

#![expect(clippy::print_stdout, reason = "it prints tables")]
#![expect(clippy::indexing_slicing, reason = "a simulation may stop at a mistake of its own")]

mod families;

use families::{Leak, NOISES, Noise, leaks, series, shares};
use flatline::growth::slope::{Growth, growth};

fn main() {
    tables();
    coverage();
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
