//! The judge on simulated families: the share of each verdict, for tests and for the tables of `docs/growth.md`.

pub(crate) use flatline::growth::verdict::LIMIT_PER_MIN as LIMIT;
use flatline::growth::verdict::{Settings, judge};
use flatline::result::Verdict;
pub(crate) use flatline::simulated::{Leak, Noise, series};

pub(crate) fn settings() -> Settings {
    Settings { process_limit: Some(1024), ..Settings::by_limit(LIMIT) }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Shares {
    pub(crate) pass: u32,
    pub(crate) fail: u32,
    pub(crate) inconclusive: u32,
    pub(crate) invalid: u32,
}

pub(crate) fn shares(runs: u32, seconds: u32, noise: Noise, leak: Leak) -> Shares {
    let mut shares = Shares::default();
    for seed in 0..runs {
        let judged = judge(&series(u64::from(seed), seconds, noise, leak), &settings());
        match judged.judgement.verdict {
            Verdict::Pass => shares.pass += 1,
            Verdict::Fail => shares.fail += 1,
            Verdict::Inconclusive => shares.inconclusive += 1,
            Verdict::Invalid => shares.invalid += 1,
        }
    }
    let Shares { pass, fail, inconclusive, invalid } = shares;
    println!(
        "{seconds:>5} s  {noise:?} {leak:?}: pass {pass} fail {fail} inconclusive {inconclusive} invalid {invalid} of {runs}"
    );
    shares
}

pub(crate) const NOISES: [Noise; 13] = [
    Noise::Flat,
    Noise::Churn,
    Noise::MixedChurn,
    Noise::Spikes,
    Noise::Sawtooth(7.0),
    Noise::Sawtooth(25.0),
    Noise::Sawtooth(60.0),
    Noise::Memory(5.0, 1.5),
    Noise::Memory(30.0, 5.0),
    Noise::WarmUp,
    Noise::Queue(0.3),
    Noise::Step,
    Noise::Outage,
];

pub(crate) fn leaks() -> impl Iterator<Item = Leak> {
    [3.0, 10.0, 43.0]
        .into_iter()
        .flat_map(|pace| [Leak::Steady(pace), Leak::Chance(pace), Leak::Late(pace), Leak::Stairs(pace)])
}
