//! How often the harness would be called grown, with the bounds that a run sets it: on healthy series, and on leaks.

use flatline::growth::verdict::{Settings, judge};
use flatline::result::Verdict;

use crate::families::{Leak, NOISES, series};

/// As in a run.
const RISE: f64 = 4.0;

/// Prints for series of three minutes, ten and an hour how many of each kind would make a run invalid.
pub(crate) fn print(runs: u32) {
    for seconds in [170, 600, 3600] {
        let settings = Settings::by_rise(RISE, f64::from(seconds) / 60.0);
        let fails = |noise, leak| {
            let judged =
                (0..u64::from(runs)).map(|seed| judge(&series(seed, seconds, noise, leak), &settings));
            judged.filter(|judged| judged.judgement.verdict == Verdict::Fail).count()
        };
        let healthy: Vec<(_, usize)> =
            NOISES.iter().map(|noise| (noise, fails(*noise, Leak::None))).collect();
        let false_alarms: usize = healthy.iter().map(|(_, fails)| fails).sum();
        let all = runs as usize * NOISES.len();
        println!("{seconds:>4} s: {false_alarms} of {all} healthy series called grown: {healthy:?}");
        for pace in [1.0, 3.0, 6.0] {
            let found = fails(NOISES[1], Leak::Chance(pace));
            println!(
                "{seconds:>4} s: {found} of {runs} called grown that leak {pace} a minute by chance under churn"
            );
        }
    }
}
