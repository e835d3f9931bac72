//! How each process of a run grew, and whether the harness itself did: pure.
//!
//! The targets are judged elsewhere. The engine's processes are not ours, and are shown. The harness is judged by the
//! judge of the targets, with bounds of its own: what measures must not grow either.

use std::collections::BTreeMap;

use crate::growth::Point;
use crate::growth::lives::{judge_lives, longest_s};
use crate::growth::verdict::{Judged, LIMIT_PER_MIN, Settings};
use crate::result::{Count, Moment, ProcessCount, ProcessGrowth, Verdict};
use crate::run::events::whole;
use crate::run::judge::Case;
use crate::sample::daemons;
use crate::sample::sampler::OWN_NAME;

/// How far each count of the harness may rise under load, whatever its pace: connections to the engine and to the
/// targets' pages that are kept open, threads for what blocks.
const OWN_RISE: f64 = 4.0;
/// Chance of error where growth is called confirmed.
const ALPHA_CONFIRMED: f64 = 0.001;
/// The bar for memory, which decides nothing: a mebibyte a minute.
const RSS_LIMIT_PER_MIN: f64 = 1_048_576.0;

/// Growth of each count of a process.
pub(super) type Growths = BTreeMap<ProcessCount, ProcessGrowth>;

/// Each process of which there are samples under load.
#[must_use]
pub(super) fn growths<'a>(
    case: &Case<'_>,
    targets: impl Iterator<Item = &'a String>,
) -> BTreeMap<String, Growths> {
    let others = daemons::NAMES.iter().copied().chain([OWN_NAME]);
    let names = targets.map(String::as_str).chain(others);
    let found = names.map(|name| (name.to_owned(), of_process(case, name)));
    found.filter(|(_, growths)| !growths.is_empty()).collect()
}

fn of_process(case: &Case<'_>, name: &str) -> Growths {
    let one = |count: ProcessCount| {
        let points = case.under_load(name, |sample| value(name, sample, count));
        let is_own = name == OWN_NAME && count != ProcessCount::RssBytes;
        let starts_s = case.starts_s(name);
        let settings = if is_own { own_settings(&points, &starts_s) } else { plain_settings(count) };
        let judged = judge_lives(&points, &starts_s, &settings);
        Some((count, growth(&points, judged, is_own)?))
    };
    ProcessCount::ALL.into_iter().filter_map(one).collect()
}

fn value(name: &str, sample: Moment<'_>, count: ProcessCount) -> Option<f64> {
    let value = match count {
        ProcessCount::Tasks => sample.count(Count::Tasks),
        ProcessCount::Threads => sample.count(Count::Threads),
        // A target that leaks connections leaks their other ends here: that is no growth of the harness.
        ProcessCount::Fds if name == OWN_NAME => {
            let open = sample.count(Count::OpenConnections).unwrap_or(0);
            sample.count(Count::Fds).map(|fds| fds.saturating_sub(open))
        }
        ProcessCount::Fds => sample.count(Count::Fds),
        ProcessCount::RssBytes => sample.count(Count::RssBytes),
    };
    value.map(|value| value as f64)
}

fn plain_settings(count: ProcessCount) -> Settings {
    Settings::by_limit(if count == ProcessCount::RssBytes { RSS_LIMIT_PER_MIN } else { LIMIT_PER_MIN })
}

/// Over the whole load no more than it may rise in any case: the longer it lives, the nearer to none at all.
fn own_settings(points: &[Point], starts_s: &[f64]) -> Settings {
    Settings::by_rise(OWN_RISE, longest_s(points, starts_s) / 60.0)
}

fn growth(
    points: &[Point],
    Judged { judgement, growth, .. }: Judged,
    decides: bool,
) -> Option<ProcessGrowth> {
    Some(ProcessGrowth {
        first: whole(points.first()?.count),
        last: whole(points.last()?.count),
        growth_per_min: judgement.growth_per_min,
        ci_low: judgement.ci_low,
        ci_high: judgement.ci_high,
        confirmed: growth.is_some_and(|growth| growth.low(ALPHA_CONFIRMED) > 0.0),
        verdict: decides.then_some(judgement.verdict),
        reason: decides.then_some(judgement.reason),
    })
}

/// Why a run can't be trusted in which the harness itself grew.
#[must_use]
pub(super) fn distrust(processes: &BTreeMap<String, Growths>) -> Option<String> {
    let own = processes.get(OWN_NAME)?.iter();
    let grown = own.filter(|(_, growth)| growth.verdict == Some(Verdict::Fail)).map(|(count, growth)| {
        let what = match count {
            ProcessCount::Tasks => "tasks",
            ProcessCount::Threads => "threads",
            ProcessCount::Fds => "fds",
            ProcessCount::RssBytes => "memory",
        };
        format!("{what} {}", growth.reason.as_deref().unwrap_or_default())
    });
    let grown = grown.collect::<Vec<_>>().join("; ");
    (!grown.is_empty()).then(|| format!("flatline itself grew, so nothing it says can be trusted: {grown}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{Event, Listings, Outcome, Phase, Sample, Samples, VerdictFile};

    /// Three minutes under load, a sample a second of one process.
    fn samples(name: &str, fds: impl Fn(u64) -> u64, open: impl Fn(u64) -> Option<u64>) -> Samples {
        let sample = |second: u32| Sample {
            threads: Some(6),
            fds: Some(fds(second.into())),
            rss_bytes: Some(30_000_000),
            open_connections: open(second.into()),
            ..Sample::unread(f64::from(second), name)
        };
        (0..180).map(sample).collect()
    }

    fn judged(samples: &Samples, events: &[Event]) -> VerdictFile {
        let phases = [Phase { name: "load".into(), from_s: 0.0, to_s: 180.0 }];
        let (kinds, limits) = (Listings::default(), BTreeMap::new());
        let case = Case {
            samples,
            events,
            kinds: &kinds,
            phases: &phases,
            segments: &[],
            limits: &limits,
            cut_short: false,
            stopped_early: None,
            missing: &[],
        };
        case.whole(BTreeMap::new())
    }

    #[test]
    fn a_harness_that_grows_makes_the_run_invalid_and_says_how_fast() {
        let grown = judged(&samples(OWN_NAME, |second| 30 + second / 6, |_| Some(0)), &[]);
        assert_eq!(grown.outcome, Outcome::Invalid);
        let said = "flatline itself grew, so nothing it says can be trusted: fds 9.99 per minute";
        assert!(
            grown.reason.starts_with(said) && grown.reason.contains("above the limit of 1.4;"),
            "{}",
            grown.reason
        );
        let flat = judged(&samples(OWN_NAME, |second| 30 + second % 5 / 4, |_| Some(0)), &[]);
        assert_eq!(flat.outcome, Outcome::Undecided, "there is no target: {}", flat.reason);
        assert_eq!(flat.processes[OWN_NAME][&ProcessCount::Fds].verdict, Some(Verdict::Pass));
        assert_eq!(flat.processes[OWN_NAME][&ProcessCount::RssBytes].verdict, None);
    }

    #[test]
    fn a_rise_within_what_the_harness_may_keep_is_no_growth() {
        let fds = |second: u64| 30 + second.min(160) / 40;
        let found = judged(&samples(OWN_NAME, fds, |_| None), &[]);
        assert_ne!(found.outcome, Outcome::Invalid, "{}", found.reason);
    }

    #[test]
    fn what_a_target_holds_open_at_a_sink_is_no_growth_of_the_harness() {
        let found = judged(&samples(OWN_NAME, |second| 30 + second / 6, |second| Some(second / 6)), &[]);
        assert_ne!(found.outcome, Outcome::Invalid, "{}", found.reason);
        assert_eq!(found.processes[OWN_NAME][&ProcessCount::Fds].last, 30);
    }

    #[test]
    fn the_engines_growth_is_shown_and_decides_nothing_and_its_successor_is_a_life_of_its_own() {
        let dockerd = samples(daemons::DOCKERD, |second| 90 + second / 6, |_| None);
        let found = judged(&dockerd, &[]);
        let fds = &found.processes[daemons::DOCKERD][&ProcessCount::Fds];
        assert!(fds.confirmed && fds.verdict.is_none() && fds.ci_low.unwrap() > 9.0, "{fds:?}");
        assert!(!found.processes[daemons::DOCKERD][&ProcessCount::Threads].confirmed);
        assert_eq!(found.outcome, Outcome::Undecided);
        let two =
            samples(daemons::DOCKERD, |second| if second < 60 { 90 } else { 20 + second / 6 }, |_| None);
        let again = Event {
            elapsed_s: 60.0,
            target: daemons::DOCKERD.to_owned(),
            event: Event::RESTART.to_owned(),
            detail: String::new(),
        };
        let fds = judged(&two, &[again]).processes[daemons::DOCKERD][&ProcessCount::Fds].clone();
        assert!(fds.confirmed && fds.ci_low.unwrap() > 9.0, "{fds:?}");
    }
}
