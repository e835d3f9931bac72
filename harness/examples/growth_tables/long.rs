//! Families for runs of an hour and more: what takes minutes or comes several times, and leaks that come late, in
//! bursts or ever faster.

use std::f64::consts::PI;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use flatline::growth::Point;
use flatline::growth::verdict::judge;
use flatline::result::Verdict;
use flatline::simulated::normal;

use crate::families::settings;

/// Samples are five seconds apart, as those of a run of hours would be.
const STEP_S: f64 = 5.0;

/// What varies without a leak.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Healthy {
    Constant,
    White(f64),
    /// Autocorrelated: memory in seconds, spread.
    Memory(f64, f64),
    Churn,
    Spikes,
    /// Period in seconds, height.
    Sawtooth(f64, f64),
    /// The same with periods between half and one and a half of it.
    UnevenSawtooth(f64, f64),
    /// One and a third teeth in the run.
    OneTooth,
    /// Full after this share of the run.
    Queue(f64),
    /// Time constant in seconds, height.
    WarmUp(f64, f64),
    Step,
    LateStep,
    /// Three, up or down.
    Steps,
    /// Three, all up.
    StepsUp,
    /// A day's cycle of this height.
    Day(f64),
    Outage,
    /// A job every ten minutes.
    Jobs,
    /// Noise without a spread.
    HeavyTails,
    /// Settles over the whole run.
    Cache(f64),
}

/// What leaks, per minute on average while it leaks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leak {
    None,
    Steady(f64),
    Chance(f64),
    /// In the last quarter alone.
    Late(f64),
    /// Sixty of them in the run.
    Stairs(f64),
    /// In five bursts, as during faults alone.
    Bursts(f64),
    /// Ever faster, from nothing.
    Accelerating(f64),
}

pub(crate) const HEALTHY: [Healthy; 24] = [
    Healthy::Constant,
    Healthy::White(2.0),
    Healthy::Memory(30.0, 5.0),
    Healthy::Memory(164.0, 20.0),
    Healthy::Churn,
    Healthy::Spikes,
    Healthy::Sawtooth(25.0, 10.0),
    Healthy::Sawtooth(780.0, 80.0),
    Healthy::UnevenSawtooth(120.0, 30.0),
    Healthy::UnevenSawtooth(400.0, 40.0),
    Healthy::OneTooth,
    Healthy::Queue(0.3),
    Healthy::Queue(0.7),
    Healthy::WarmUp(180.0, 100.0),
    Healthy::WarmUp(720.0, 250.0),
    Healthy::Step,
    Healthy::LateStep,
    Healthy::Steps,
    Healthy::StepsUp,
    Healthy::Day(30.0),
    Healthy::Outage,
    Healthy::Jobs,
    Healthy::HeavyTails,
    Healthy::Cache(40.0),
];

pub(crate) fn leaks() -> impl Iterator<Item = Leak> {
    [3.0, 10.0].into_iter().flat_map(|pace| {
        [
            Leak::Steady(pace),
            Leak::Chance(pace),
            Leak::Late(pace),
            Leak::Stairs(pace),
            Leak::Bursts(pace),
            Leak::Accelerating(pace),
        ]
    })
}

/// What is drawn once a series, and what goes on from sample to sample.
struct Course {
    healthy: Healthy,
    leak: Leak,
    total_s: f64,
    phase: f64,
    moment: f64,
    late: f64,
    steps: Vec<(f64, f64)>,
    bursts: Vec<f64>,
    wandering: f64,
    tooth: (f64, f64),
    leaked: f64,
}

impl Course {
    fn new(rng: &mut StdRng, healthy: Healthy, leak: Leak, total_s: f64) -> Self {
        let steps =
            (0..3).map(|_| (rng.random_range(0.05..0.7), if rng.random_bool(0.5) { 8.0 } else { -8.0 }));
        let steps = steps.collect();
        let bursts = (0..5_u8).map(|burst| (f64::from(burst) + rng.random_range(0.1..0.9)) / 5.0).collect();
        let wandering = if let Healthy::Memory(_, spread) = healthy { spread * normal(rng) } else { 0.0 };
        Self {
            healthy,
            leak,
            total_s,
            phase: rng.random(),
            moment: rng.random_range(0.3..0.7),
            late: rng.random_range(0.75..0.97),
            steps,
            bursts,
            wandering,
            tooth: (0.0, 0.0),
            leaked: 0.0,
        }
    }

    fn count(&mut self, rng: &mut StdRng, second: f64) -> f64 {
        let share = second / self.total_s;
        let churn = f64::from(rng.random_range(-2..=2_i8)) * f64::from(u8::from(rng.random_bool(0.5)));
        let stepped = |height: fn(f64) -> f64| {
            self.steps.iter().filter(|(at, _)| share > *at).map(|(_, step)| height(*step)).sum::<f64>()
        };
        match self.healthy {
            Healthy::Constant => 0.0,
            Healthy::White(spread) => spread * normal(rng),
            Healthy::Memory(memory_s, spread) => {
                let kept = (-STEP_S / memory_s).exp();
                self.wandering = kept * self.wandering + spread * (1.0 - kept * kept).sqrt() * normal(rng);
                self.wandering
            }
            Healthy::Churn => churn,
            Healthy::Spikes => churn + if rng.random_bool(0.02) { rng.random_range(0.0..20.0) } else { 0.0 },
            Healthy::Sawtooth(period_s, height) => height * (second / period_s + self.phase).fract(),
            Healthy::UnevenSawtooth(period_s, height) => {
                if second >= self.tooth.0 + self.tooth.1 {
                    self.tooth = (second, period_s * rng.random_range(0.5..1.5));
                }
                churn + height * (second - self.tooth.0) / period_s
            }
            Healthy::OneTooth => 100.0 * (share * 1.3 + self.phase).fract(),
            Healthy::Queue(full) => churn + 100.0 * (share / full).min(1.0),
            Healthy::WarmUp(within_s, height) => churn - height * (-second / within_s).exp(),
            Healthy::Step => churn + if share > self.moment { 12.0 } else { 0.0 },
            Healthy::LateStep => churn + if share > self.late { 12.0 } else { 0.0 },
            Healthy::Steps => churn + stepped(|step| step),
            Healthy::StepsUp => churn + stepped(|_| 10.0),
            Healthy::Day(height) => churn + height * (2.0 * PI * (second / 86_400.0 + self.phase)).sin(),
            Healthy::Outage => churn + if (share - self.moment).abs() < 0.05 { 40.0 } else { 0.0 },
            Healthy::Jobs => churn + if second % 600.0 < 30.0 { 30.0 } else { 0.0 },
            Healthy::HeavyTails => (rng.random_range(-0.499..0.499) * PI).tan().clamp(-60.0, 60.0),
            Healthy::Cache(height) => churn + height * (1.0 - (-share / 0.25).exp()),
        }
    }

    fn leaked(&mut self, rng: &mut StdRng, second: f64) -> f64 {
        let (share, total_s) = (second / self.total_s, self.total_s);
        let minutes = |seconds: f64| seconds / 60.0;
        match self.leak {
            Leak::None => 0.0,
            Leak::Steady(pace) => (pace * minutes(second)).floor(),
            Leak::Chance(pace) => {
                let tenths = (0..10).filter(|_| rng.random_bool(pace * minutes(STEP_S) / 10.0)).count();
                self.leaked += tenths as f64;
                self.leaked
            }
            Leak::Late(pace) => (pace * minutes((second - 0.75 * total_s).max(0.0))).floor(),
            Leak::Stairs(pace) => (share * 60.0).floor() * pace * minutes(total_s) / 60.0,
            Leak::Bursts(pace) => {
                let through = |from: &f64| ((share - from) / 0.02).clamp(0.0, 1.0);
                (self.bursts.iter().map(through).sum::<f64>() / 5.0 * pace * minutes(total_s)).floor()
            }
            Leak::Accelerating(pace) => (pace * minutes(total_s) * share * share).floor(),
        }
    }
}

pub(crate) fn series(seed: u64, minutes: f64, healthy: Healthy, leak: Leak) -> Vec<Point> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut course = Course::new(&mut rng, healthy, leak, minutes * 60.0);
    let moments =
        (0_u32..).map(|step| f64::from(step) * STEP_S).take_while(|second| *second < minutes * 60.0);
    moments
        .map(|second| {
            let count = 300.0 + course.count(&mut rng, second) + course.leaked(&mut rng, second);
            Point { elapsed_s: 30.0 + second, count: count.round() }
        })
        .collect()
}

/// Prints how often each verdict is given.
pub(crate) fn print(runs: u32, minutes: f64, healthy: Healthy, leak: Leak) {
    let (mut pass, mut fail, mut open) = (0, 0, 0);
    for seed in 0..runs {
        match judge(&series(u64::from(seed), minutes, healthy, leak), &settings()).judgement.verdict {
            Verdict::Pass => pass += 1,
            Verdict::Fail => fail += 1,
            Verdict::Inconclusive | Verdict::Invalid => open += 1,
        }
    }
    println!("{minutes:>4} min  {healthy:?} {leak:?}: pass {pass} fail {fail} undecided {open} of {runs}");
}
