//! Which kind of a resource grew, which did not come back, and what follows in words: pure.
//!
//! The kinds of one moment add up to the resource, and so do their slopes: the share of a kind in the growth is exact,
//! whatever the noise of both.

use std::collections::{BTreeMap, BTreeSet};

use crate::growth::{Point, slope};
use crate::result::{
    Counts, EventGrowth, Judgement, KeptKind, KindGrowth, Listing, Resource, Series, Verdict,
};
use crate::run::events;
use crate::sample::kinds::OTHER;

/// Kinds of one resource that a result names; the rest of them is `other`.
const NAMED_MAX: usize = 20;
/// With fewer listings in the judged stretch there is no slope of a kind.
const LISTINGS_MIN: usize = 5;
/// Chance of error at each end of an interval: 90 %, as a judgement's.
const ALPHA: f64 = 0.05;
/// Kinds that a sentence names of one resource.
const SAID_MAX: usize = 3;
/// A kind is worth a word from this part of the growth on.
const SHARE_MIN: f64 = 0.1;
/// What the kinds that are said must account for together, or none is said.
const CARRIES: f64 = 0.5;
/// From here on there is nothing more to say.
const ALL: f64 = 0.995;

/// Seconds since the run's start, both included.
pub(super) type Span = (f64, f64);

/// Those that changed most first, beyond [`NAMED_MAX`] as one.
fn named(listed: Counts) -> Vec<(String, Vec<u64>)> {
    let none = || vec![0; listed.moments.len()];
    let mut kinds: Vec<(String, Vec<u64>)> = listed.kinds.into_iter().collect();
    kinds.sort_by_key(|(_, counts)| std::cmp::Reverse((spread(counts), worst(counts))));
    let rest = kinds.split_off(kinds.len().min(NAMED_MAX));
    if !rest.is_empty() {
        let other = kinds.iter().position(|(kind, _)| kind == OTHER);
        let mut sums = other.map_or_else(none, |place| kinds.remove(place).1);
        for (_, counts) in rest {
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        kinds.push((OTHER.to_owned(), sums));
    }
    kinds
}

/// What was last listed.
fn last(listed: &Counts) -> BTreeMap<&str, u64> {
    let counts = listed.kinds.iter();
    counts.filter_map(|(kind, counts)| Some((kind.as_str(), *counts.last()?))).collect()
}

fn spread(counts: &[u64]) -> u64 {
    worst(counts) - counts.iter().min().copied().unwrap_or(0)
}

fn worst(counts: &[u64]) -> u64 {
    counts.iter().max().copied().unwrap_or(0)
}

/// Each kind of a target over the load: first, last and worst count there, the slope over the judged stretch, and
/// what it follows by the target's samples.
#[must_use]
pub(super) fn growths(
    listing: &Listing,
    (target, samples): (&str, Option<&Series>),
    load: Span,
    judged: Span,
) -> Vec<KindGrowth> {
    let listed = listing.counts(target, load);
    let moments = listed.moments.clone();
    let kinds = named(listed);
    let points = |counts: &[u64]| -> Vec<Point> {
        let points = moments.iter().zip(counts);
        let points = points.map(|(moment, count)| Point { elapsed_s: *moment, count: *count as f64 });
        points.filter(|point| point.elapsed_s >= judged.0 && point.elapsed_s <= judged.1).collect()
    };
    let slope = |counts: &[u64]| {
        let points = points(counts);
        slope::growth(&points, 1.0).filter(|_| points.len() >= LISTINGS_MIN)
    };
    let slopes: Vec<_> = kinds.iter().map(|(_, counts)| slope(counts)).collect();
    let whole: f64 = slopes.iter().flatten().map(|slope| slope.per_min).sum();
    let one = |((kind, counts), slope): ((String, Vec<u64>), Option<slope::Growth>)| {
        let interval = slope.map(|slope| (slope.low(ALPHA), slope.high(ALPHA)));
        let grows = interval.is_some_and(|(low, _)| low > 0.0);
        let beside = || samples.map(|samples| events::growths(&events::beside(&points(&counts), samples)));
        KindGrowth {
            kind,
            first: counts.first().copied().unwrap_or(0),
            last: counts.last().copied().unwrap_or(0),
            worst: worst(&counts),
            growth_per_min: slope.map(|slope| slope.per_min),
            ci_low: interval.map(|(low, _)| low),
            ci_high: interval.map(|(_, high)| high),
            significant: interval.is_some_and(|(low, high)| low > 0.0 || high < 0.0),
            share: slope.filter(|_| grows && whole > 0.0).map(|slope| slope.per_min / whole),
            events: if grows { beside().unwrap_or_default() } else { Vec::new() },
        }
    };
    kinds.into_iter().zip(slopes).map(one).collect()
}

/// The kinds of which there is more in the last listing of the drain than in the last one before the load.
#[must_use]
pub(super) fn kept(listing: &Listing, target: &str, warmup: Span, drain: Span) -> Vec<KeptKind> {
    let (idle, drained) = (listing.counts(target, warmup), listing.counts(target, drain));
    if idle.moments.is_empty() || drained.moments.is_empty() {
        return Vec::new();
    }
    let (before, after) = (last(&idle), last(&drained));
    let kinds: BTreeSet<&str> = after.keys().copied().collect();
    let count = |counts: &BTreeMap<&str, u64>, kind: &str| counts.get(kind).copied().unwrap_or(0);
    let mut kept: Vec<KeptKind> = kinds
        .into_iter()
        .map(|kind| KeptKind {
            kind: kind.to_owned(),
            idle: count(&before, kind),
            drained: count(&after, kind),
        })
        .filter(|kept| kept.more() > 0)
        .collect();
    kept.sort_by_key(|kept| std::cmp::Reverse(kept.more()));
    kept.truncate(NAMED_MAX);
    kept
}

/// One resource of a target, as far as a sentence can say anything of it.
pub(super) type Found<'a> = (Resource, &'a Judgement, &'a [KindGrowth], &'a [EventGrowth]);

/// What leaks in a target, how fast, which kind of it, and with which event: "archived leaks 41.1 tasks/min, all of kind
/// retry, 0.98 per rejected push; and 9.6 FDs/min, all inotify instances, one per started container". `None` where
/// neither a kind accounts for most of any leak nor an event is followed.
#[must_use]
pub(super) fn sentence<'a>(target: &str, found: impl Iterator<Item = Found<'a>>) -> Option<String> {
    let leaking = found.filter(|(_, judgement, ..)| judgement.verdict == Verdict::Fail);
    let mut explained = false;
    let parts = leaking.filter_map(|(resource, judgement, kinds, events)| {
        let pace = format!("{} {}/min", pace(judgement.growth_per_min?), unit(resource));
        let causes: Vec<String> =
            explained_by(resource, kinds).into_iter().chain(events::said(events)).collect();
        explained |= !causes.is_empty();
        Some([vec![pace], causes].concat().join(", "))
    });
    let parts: Vec<String> = parts.collect();
    let parts = match parts.as_slice() {
        [before @ .., last] if !before.is_empty() => format!("{}; and {last}", before.join("; ")),
        parts => parts.concat(),
    };
    explained.then(|| format!("{target} leaks {parts}"))
}

fn explained_by(resource: Resource, kinds: &[KindGrowth]) -> Option<String> {
    let mut growing: Vec<(f64, &str)> =
        kinds.iter().filter_map(|kind| Some((kind.share?, kind.kind.as_str()))).collect();
    growing.sort_by(|a, b| b.0.total_cmp(&a.0));
    let worth_a_word: Vec<(f64, &str)> =
        growing.into_iter().filter(|(share, _)| *share >= SHARE_MIN).take(SAID_MAX).collect();
    let together: f64 = worth_a_word.iter().map(|(share, _)| share).sum();
    match worth_a_word.as_slice() {
        _ if together < CARRIES => None,
        [(share, kind)] if *share >= ALL => Some(format!("all {}", plural(resource, kind))),
        several => {
            let said = several
                .iter()
                .map(|(share, kind)| format!("{:.0} % {}", share.min(1.0) * 100.0, plural(resource, kind)));
            Some(said.collect::<Vec<_>>().join(", "))
        }
    }
}

/// A rate with as many digits as it deserves.
fn pace(per_min: f64) -> String {
    let places = usize::from(per_min < 100.0) + usize::from(per_min < 1.0);
    format!("{per_min:.places$}")
}

fn unit(resource: Resource) -> &'static str {
    match resource {
        Resource::Tasks => "tasks",
        Resource::Threads => "threads",
        Resource::Fds => "FDs",
    }
}

/// Several of one kind.
fn plural(resource: Resource, kind: &str) -> String {
    match (resource, kind) {
        (Resource::Tasks, kind) => format!("of kind {kind}"),
        (Resource::Threads, kind) => format!("named {kind}"),
        (Resource::Fds, "inotify") => "inotify instances".to_owned(),
        (Resource::Fds, "eventpoll") => "epoll instances".to_owned(),
        (Resource::Fds, kind) => match kind.split_once(' ') {
            Some((sort @ ("file" | "device" | "socket"), place)) => format!("{sort}s {place}"),
            Some(("deleted", place)) => format!("deleted {}", place.replacen("file ", "files ", 1)),
            Some(_) => kind.to_owned(),
            None if kind == OTHER => "others".to_owned(),
            None => format!("{kind}s"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{EventKind, KindCount};

    const LOAD: Span = (10.0, 190.0);

    /// A listing every ten seconds, each kind growing by so many per minute from so many on.
    fn rows(kinds: &[(&str, u64, u64)]) -> Listing {
        let mut rows = Listing::default();
        for moment in (0..=200).step_by(10) {
            for (kind, from, per_min) in kinds {
                let count = from + moment * per_min / 60;
                let elapsed_s = moment as f64;
                if count > 0 {
                    rows.push(&KindCount { elapsed_s, target: "t".into(), kind: (*kind).into(), count });
                }
            }
        }
        rows
    }

    fn said(resource: Resource, kinds: &[(&str, u64, u64)]) -> Option<String> {
        said_of(resource, Verdict::Fail, growths(&rows(kinds), ("t", None), LOAD, LOAD))
    }

    fn said_of(resource: Resource, verdict: Verdict, kinds: Vec<KindGrowth>) -> Option<String> {
        let judgement = judgement(verdict);
        sentence("t", std::iter::once((resource, &judgement, kinds.as_slice(), [].as_slice())))
    }

    fn judgement(verdict: Verdict) -> Judgement {
        Judgement {
            growth_per_min: Some(47.21),
            ci_low: None,
            ci_high: None,
            limit_per_min: 2.0,
            verdict,
            floor_per_min: None,
            reason: String::new(),
            warmup_s: 0.0,
            decided_at_s: None,
        }
    }

    #[test]
    fn the_sentence_says_with_which_event_each_leaks() {
        let leaks = judgement(Verdict::Fail);
        let against = |event, per_1000: f64| {
            let (ci_low, ci_high) = (per_1000 - 9.0, per_1000 + 9.0);
            vec![EventGrowth {
                event,
                events: 99,
                per_1000,
                ci_low,
                ci_high,
                significant: true,
                follows: true,
            }]
        };
        let retries = growths(&rows(&[("retry", 0, 60)]), ("t", None), LOAD, LOAD);
        let (rejected, started) =
            (against(EventKind::RejectedPushes, 980.0), against(EventKind::Starts, 1001.0));
        let found: [Found<'_>; 3] = [
            (Resource::Tasks, &leaks, &retries, &rejected),
            (Resource::Threads, &leaks, &[], &[]),
            (Resource::Fds, &leaks, &[], &started),
        ];
        assert_eq!(
            sentence("t", found.into_iter()).as_deref(),
            Some(
                "t leaks 47.2 tasks/min, all of kind retry, 0.98 per rejected push; 47.2 threads/min; \
                 and 47.2 FDs/min, one per started container"
            )
        );
    }

    #[test]
    fn each_kind_has_its_ends_its_worst_and_its_slope() {
        let found = growths(&rows(&[("pipe", 3, 0), ("inotify", 0, 12)]), ("t", None), LOAD, (20.0, 190.0));
        let [inotify, pipe] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(
            (inotify.kind.as_str(), inotify.first, inotify.last, inotify.worst),
            ("inotify", 2, 38, 38)
        );
        assert!((inotify.growth_per_min.unwrap() - 12.0).abs() < 1e-9 && inotify.significant);
        assert!((inotify.share.unwrap() - 1.0).abs() < 1e-9);
        assert_eq!((pipe.first, pipe.last, pipe.significant, pipe.share), (3, 3, false, None));
        assert!(pipe.ci_low.unwrap() < 0.0 && pipe.ci_high.unwrap() > 0.0, "a count has its rounding");
    }

    #[test]
    fn a_kind_that_is_not_listed_at_a_moment_is_none_then_and_other_targets_are_not_looked_at() {
        let mut rows = rows(&[("file", 1, 0), ("late", 0, 6)]);
        rows.push(&KindCount { elapsed_s: 15.0, target: "u".into(), kind: "file".into(), count: 99 });
        let found = growths(&rows, ("t", None), (0.0, 60.0), (0.0, 60.0));
        assert_eq!(found.iter().map(|kind| (kind.first, kind.worst)).collect::<Vec<_>>(), [(0, 6), (1, 1)]);
    }

    #[test]
    fn few_listings_have_no_slope() {
        let found = growths(&rows(&[("inotify", 0, 60)]), ("t", None), (0.0, 30.0), (0.0, 30.0));
        assert_eq!((found[0].last, found[0].growth_per_min, found[0].significant), (30, None, false));
    }

    #[test]
    fn beyond_a_bound_the_kinds_that_change_least_are_one_and_nothing_is_lost() {
        let names: Vec<String> = (0..60).map(|n| format!("kind-{n}")).collect();
        let kinds: Vec<(&str, u64, u64)> = names.iter().map(|name| (name.as_str(), 1, 6)).collect();
        let found = growths(&rows(&[kinds, vec![("leak", 0, 60)]].concat()), ("t", None), LOAD, LOAD);
        assert_eq!((found.len(), found[0].kind.as_str()), (NAMED_MAX + 1, "leak"));
        assert_eq!(found.last().unwrap().kind, OTHER);
        assert_eq!(found.iter().map(|kind| kind.last).sum::<u64>(), 60 * 20 + 190);
    }

    #[test]
    fn the_sentence_says_which_kind_leaks() {
        let one = said(Resource::Fds, &[("inotify", 1, 12), ("pipe", 3, 0)]);
        assert_eq!(one.as_deref(), Some("t leaks 47.2 FDs/min, all inotify instances"));
        let most = said(Resource::Tasks, &[("retry", 0, 97), ("source", 1, 3)]);
        assert_eq!(most.as_deref(), Some("t leaks 47.2 tasks/min, 97 % of kind retry"));
        let several = said(Resource::Fds, &[("inotify", 0, 12), ("deleted file /a/*.log", 0, 12)]);
        assert!(several.as_deref().unwrap().starts_with("t leaks 47.2 FDs/min, 50 % "), "{several:?}");
        assert!(several.unwrap().contains("50 % deleted files /a/*.log"));
        let threads = said(Resource::Threads, &[("worker-*", 0, 6)]);
        assert_eq!(threads.as_deref(), Some("t leaks 47.2 threads/min, all named worker-*"));
    }

    #[test]
    fn the_sentence_is_silent_where_the_kinds_do_not_carry_it() {
        let many: Vec<String> = (0..12).map(|n| format!("file /{}", char::from(b'a' + n))).collect();
        let spread: Vec<(&str, u64, u64)> = many.iter().map(|kind| (kind.as_str(), 0, 6)).collect();
        assert_eq!(said(Resource::Fds, &spread), None, "no kind is most of it");
        assert_eq!(said(Resource::Fds, &[("pipe", 3, 0)]), None, "no kind grows");
        let grows = growths(&rows(&[("inotify", 0, 12)]), ("t", None), LOAD, LOAD);
        assert_eq!(said_of(Resource::Fds, Verdict::Pass, grows), None, "nothing leaks");
        assert_eq!(said_of(Resource::Fds, Verdict::Fail, Vec::new()), None, "nothing was listed");
    }

    #[test]
    fn what_did_not_come_back_is_named_most_first() {
        let row = |elapsed_s, kind: &str, count| KindCount {
            elapsed_s,
            target: "t".into(),
            kind: kind.into(),
            count,
        };
        let rows = [
            row(5.0, "pipe", 9),
            row(10.0, "pipe", 2),
            row(10.0, "file", 8),
            row(10.0, "inotify", 1),
            row(190.0, "inotify", 30),
            row(200.0, "pipe", 3),
            row(200.0, "inotify", 4),
            row(200.0, "file", 5),
        ];
        let rows: Listing = rows.into_iter().collect();
        let found = kept(&rows, "t", (0.0, 10.0), (190.0, 200.0));
        let told: Vec<(&str, u64)> = found.iter().map(|kept| (kept.kind.as_str(), kept.more())).collect();
        assert_eq!(told, [("inotify", 3), ("pipe", 1)]);
        assert_eq!(
            kept(&rows, "t", (0.0, 1.0), (190.0, 200.0)),
            [],
            "no idle baseline, nothing to compare with"
        );
    }
}
