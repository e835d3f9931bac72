//! Simulated families of healthy and leaking series: on them the judge is judged, by `flatline selftest --power`, by
//! tests and by the tables of `docs/growth.md`.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::growth::Point;

pub mod events;

/// What varies without a leak.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Noise {
    /// Nothing.
    Flat,
    /// A container ends and another starts every six seconds: for up to five seconds up to two
    /// descriptors more or fewer are held, and then the same as before.
    Churn,
    /// The same, where each container holds 0 to 4 descriptors for the half minute that it lives.
    MixedChurn,
    /// Churn, and short-lived sockets: in one sample of fifty, up to twenty more.
    Spikes,
    /// Descriptors pile up for so many seconds and are given back.
    Sawtooth(f64),
    /// Autocorrelated, with this memory in seconds and this spread.
    Memory(f64, f64),
    /// Churn on a start that settles within some ten seconds.
    WarmUp,
    /// Churn under a queue that fills at 60 per minute up to this share of the run.
    Queue(f64),
    /// Churn and one step of twelve at some time in the run's middle.
    Step,
    /// Churn, and an outage that lifts the count by forty for a tenth of the run, and recovers.
    Outage,
}

/// What leaks, per minute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Leak {
    /// Nothing.
    None,
    /// One by one, in even steps.
    Steady(f64),
    /// One by one, by chance, at most one a second: so at most 60.
    Chance(f64),
    /// In the last quarter alone.
    Late(f64),
    /// In stairs, one every thirty seconds.
    Stairs(f64),
}

impl Leak {
    /// Its pace while it leaks; `None` where nothing does.
    #[must_use]
    pub fn per_min(self) -> Option<f64> {
        match self {
            Self::None => None,
            Self::Steady(pace) | Self::Chance(pace) | Self::Late(pace) | Self::Stairs(pace) => Some(pace),
        }
    }

    fn leaked(self, rng: &mut StdRng, second: f64, total_s: f64, so_far: f64) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Steady(per_min) => (second * per_min / 60.0).floor(),
            Self::Chance(per_min) => so_far + f64::from(u8::from(rng.random_bool((per_min / 60.0).min(1.0)))),
            Self::Late(per_min) => ((second - 0.75 * total_s).max(0.0) * per_min / 60.0).floor(),
            Self::Stairs(per_min) => (second / 30.0).floor() * per_min / 2.0,
        }
    }
}

struct Healthy {
    noise: Noise,
    /// The event's moment, a sawtooth's phase: drawn once a series.
    moment: f64,
    held: Vec<f64>,
    wandering: f64,
    passing: f64,
    passing_s: f64,
}

impl Healthy {
    fn new(noise: Noise, rng: &mut StdRng) -> Self {
        let held = (0..6).map(|_| f64::from(rng.random_range(0..=4_u8))).collect();
        Self { noise, moment: rng.random_range(0.3..0.7), held, wandering: 0.0, passing: 0.0, passing_s: 0.0 }
    }

    fn churn(&mut self, rng: &mut StdRng, second: f64) -> f64 {
        if second % 6.0 < 0.5 {
            self.passing = f64::from(rng.random_range(-2..=2_i8));
            self.passing_s = second + f64::from(rng.random_range(0..=5_u8));
        }
        if second <= self.passing_s { self.passing } else { 0.0 }
    }

    fn mixed_churn(&mut self, rng: &mut StdRng, second: f64) -> f64 {
        if second % 6.0 < 0.5 {
            // Which container goes is a matter of chance; so is what its successor holds.
            let at = rng.random_range(0..self.held.len());
            let successor = f64::from(rng.random_range(0..=4_u8));
            self.held.iter_mut().skip(at).take(1).for_each(|held| *held = successor);
        }
        // The mean keeps the whole within about two of its level.
        self.held.iter().sum::<f64>() / 2.0
    }

    fn count(&mut self, rng: &mut StdRng, second: f64, total_s: f64) -> f64 {
        let share = second / total_s;
        let churn = self.churn(rng, second);
        match self.noise {
            Noise::Flat => 0.0,
            Noise::Churn => churn,
            Noise::MixedChurn => self.mixed_churn(rng, second),
            Noise::Spikes => churn + if rng.random_bool(0.02) { rng.random_range(0.0..20.0) } else { 0.0 },
            Noise::Sawtooth(period_s) => 10.0 * (second / period_s + self.moment).fract(),
            Noise::Memory(seconds, spread) => {
                let kept = (-1.0 / seconds).exp();
                let fresh = spread * (1.0 - kept * kept).sqrt() * normal(rng);
                self.wandering = kept * self.wandering + fresh;
                self.wandering
            }
            Noise::WarmUp => churn - 50.0 * (-second / 12.0).exp(),
            Noise::Queue(until) => churn + second.min(until * total_s),
            Noise::Step => churn + if share > self.moment { 12.0 } else { 0.0 },
            Noise::Outage => churn + if (share - self.moment).abs() < 0.05 { 40.0 } else { 0.0 },
        }
    }
}

/// A normal deviate: the sum of twelve uniform ones less six.
#[must_use]
pub fn normal(rng: &mut StdRng) -> f64 {
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}

/// A series of so many seconds, a sample a second, of a process that holds about sixty. The same seed draws the same.
#[must_use]
pub fn series(seed: u64, seconds: u32, noise: Noise, leak: Leak) -> Vec<Point> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut healthy = Healthy::new(noise, &mut rng);
    let total_s = f64::from(seconds);
    let mut leaked = 0.0;
    (0..seconds)
        .map(f64::from)
        .map(|second| {
            leaked = leak.leaked(&mut rng, second, total_s, leaked);
            let count = 60.0 + healthy.count(&mut rng, second, total_s) + leaked;
            Point { elapsed_s: 30.0 + second, count: count.round() }
        })
        .collect()
}
