//! `flatline selftest --power`: how often the judge gives which verdict, by the pace of a leak and the length of a run,
//! on simulated processes.

use std::num::NonZeroUsize;
use std::thread;

use crate::growth::verdict::{LIMIT_PER_MIN, Settings, judge};
use crate::result::selftest::{Arrival, Cell, Power};
use crate::result::{SCHEMA, Verdict};
use crate::run::progress::{Progress, Show};
use crate::simulated::{Leak, Noise, series};

/// Paces, as multiples of the limit.
const TIMES_LIMIT: [f64; 8] = [0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 5.0, 20.0];
/// Lengths of a run, minutes.
const MINUTES: [u32; 5] = [3, 5, 10, 30, 60];

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Study {
    /// Runs of each pace, length and kind of leak.
    pub runs: u32,
    /// Where chance begins: the same seed draws the same.
    pub seed: u64,
}

/// Simulates and judges, on all cores.
#[must_use]
pub fn power(study: Study, show: Show) -> Power {
    let progress = Progress::new(show, &[]);
    let mut cells = Vec::new();
    for leak in [Arrival::Steady, Arrival::ByChance] {
        for minutes in MINUTES {
            progress.phase(&format!("{}, runs of {minutes} min", leak.words()), None);
            cells.extend(TIMES_LIMIT.map(|times_limit| study.cell(leak, minutes, times_limit)));
        }
    }
    progress.clear();
    Power {
        schema: SCHEMA,
        limit_per_min: LIMIT_PER_MIN,
        runs: study.runs,
        seed: study.seed,
        every_s: 1.0,
        noise: "containers that come and go".to_owned(),
        cells,
    }
}

impl Study {
    fn cell(self, leak: Arrival, minutes: u32, times_limit: f64) -> Cell {
        let per_min = times_limit * LIMIT_PER_MIN;
        let drawn = match leak {
            _ if per_min <= 0.0 => Leak::None,
            Arrival::Steady => Leak::Steady(per_min),
            Arrival::ByChance => Leak::Chance(per_min),
        };
        let verdicts = self.verdicts(minutes * 60, drawn);
        let how_many = |wanted| {
            let count = verdicts.iter().filter(|verdict| **verdict == wanted).count();
            u32::try_from(count).unwrap_or(u32::MAX)
        };
        Cell {
            leak,
            length_s: f64::from(minutes) * 60.0,
            times_limit,
            per_min,
            pass: how_many(Verdict::Pass),
            fail: how_many(Verdict::Fail),
            inconclusive: how_many(Verdict::Inconclusive),
            invalid: how_many(Verdict::Invalid),
        }
    }

    /// Every run has a seed of its own, so that the order in which they are done changes nothing.
    fn verdicts(self, seconds: u32, leak: Leak) -> Vec<Verdict> {
        let workers = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let share = |worker: usize| {
            let runs = (0..self.runs).skip(worker).step_by(workers);
            runs.map(|run| verdict(self.seed.wrapping_add(u64::from(run)), seconds, leak)).collect::<Vec<_>>()
        };
        thread::scope(|scope| {
            let handles: Vec<_> = (0..workers).map(|worker| scope.spawn(move || share(worker))).collect();
            let results = handles
                .into_iter()
                .map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            results.flatten().collect()
        })
    }
}

fn verdict(seed: u64, seconds: u32, leak: Leak) -> Verdict {
    judge(&series(seed, seconds, Noise::Churn, leak), &Settings::by_limit(LIMIT_PER_MIN)).judgement.verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_process_passes_a_fast_leak_fails_and_the_same_seed_draws_the_same() {
        let study = Study { runs: 20, seed: 7 };
        let flat = study.cell(Arrival::ByChance, 3, 0.0);
        assert!(flat.pass >= 19 && flat.fail == 0, "{flat:?}");
        let fast = study.cell(Arrival::ByChance, 3, 20.0);
        assert_eq!((fast.fail, fast.per_min), (20, 40.0), "{fast:?}");
        let slow = study.cell(Arrival::ByChance, 3, 1.5);
        assert!(slow.inconclusive > 0, "{slow:?}");
        assert_eq!(slow, study.cell(Arrival::ByChance, 3, 1.5));
    }
}
