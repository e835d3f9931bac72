//! Which kind of what leaks, grew, or did not come back, in words: what each report says of the counts by kind.

use serde::Serialize;

use super::figures;
use super::view::{NOTHING, targets};
use crate::result::{DrainResult, KindGrowth, Resource, RunResult};

/// Kinds that one line names; the others are in `verdict.json`.
const NAMED: usize = 4;

/// What the table of growing kinds rests on, to stand above it.
pub(super) const NOTE: &str = "The kinds that grew over the load, each with its 90 % interval, which excludes zero. A \
     kind is where a descriptor leads (numbers and ids are stars), the name of a thread, the label of a task. They \
     are listed less often than they are counted; all of them are in fds.csv, threads.csv, tasks.csv, watches.csv and memory.csv.";

/// A kind that grew.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Kind {
    pub(super) target: String,
    pub(super) place: usize,
    pub(super) resource: &'static str,
    pub(super) kind: String,
    pub(super) first: String,
    pub(super) last: String,
    pub(super) worst: String,
    pub(super) growth: String,
    pub(super) interval: String,
    /// Its part of the growth of all kinds, at most all of it, though others shrink.
    pub(super) share: String,
}

/// What of a target's resource did not come back.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Kept {
    pub(super) target: String,
    /// `3 FDs did not return: 2 × …, 1 × …`.
    pub(super) sentence: String,
}

/// What leaks, in a sentence for each target of which the kinds account for it.
pub(super) fn leaks(result: &RunResult) -> Vec<String> {
    targets(result).into_iter().filter_map(|(_, _, target)| target.leaks.clone()).collect()
}

/// Every kind that grew for sure, by target and resource.
pub(super) fn growing(result: &RunResult) -> Vec<Kind> {
    let mut rows = Vec::new();
    for (place, name, target) in targets(result) {
        let resources = Resource::ALL.into_iter().filter_map(|resource| {
            Some((resource.title(), target.resources.get(&resource)?.kinds.as_slice()))
        });
        for (resource, kinds) in resources.chain([("Inotify watches", target.watches.as_slice())]) {
            let grown = kinds.iter().filter(|kind| kind.ci_low.is_some_and(|low| low > 0.0));
            rows.extend(grown.map(|kind| row((place, name), resource, kind)));
        }
        let grown = target.memory.iter().filter(|kind| kind.ci_low.is_some_and(|low| low > 0.0));
        rows.extend(grown.map(|kind| mapped((place, name), kind)));
    }
    rows
}

/// The same of a class of mappings, in bytes.
fn mapped(whose: (usize, &str), found: &KindGrowth) -> Kind {
    let interval = found.ci_low.zip(found.ci_high);
    Kind {
        first: figures::bytes(found.first),
        last: figures::bytes(found.last),
        worst: figures::bytes(found.worst),
        growth: found.growth_per_min.map_or(NOTHING.to_owned(), figures::bytes_growth),
        interval: interval.map_or(NOTHING.to_owned(), |(low, high)| figures::bytes_interval(low, high)),
        ..row(whose, "Mapped memory", found)
    }
}

fn row((place, target): (usize, &str), resource: &'static str, found: &KindGrowth) -> Kind {
    let KindGrowth {
        kind,
        first,
        last,
        worst,
        growth_per_min,
        ci_low,
        ci_high,
        significant: _,
        share,
        events: _,
    } = found;
    let interval = ci_low.zip(*ci_high);
    Kind {
        target: target.to_owned(),
        place,
        resource,
        kind: kind.clone(),
        first: figures::count(*first),
        last: figures::count(*last),
        worst: figures::count(*worst),
        growth: growth_per_min.map_or(NOTHING.to_owned(), figures::growth),
        interval: interval.map_or(NOTHING.to_owned(), |(low, high)| figures::interval(low, high)),
        share: share.map_or(NOTHING.to_owned(), |share| figures::percent(share.min(1.0))),
    }
}

/// What did not come back of any target, a sentence for each resource.
pub(super) fn kept(result: &RunResult) -> Vec<Kept> {
    let all = targets(result).into_iter().flat_map(|(_, name, target)| {
        Resource::ALL.into_iter().filter_map(move |resource| {
            let drain = target.resources.get(&resource)?.drain.as_ref()?;
            Some(Kept { target: name.to_owned(), sentence: sentence(resource, drain)? })
        })
    });
    all.collect()
}

/// What did not come back of a resource, by kind; `None` where everything did.
pub(super) fn sentence(resource: Resource, drain: &DrainResult) -> Option<String> {
    let more: u64 = drain.kept.iter().map(|kept| kept.more()).sum();
    let unit = match (resource, more) {
        (Resource::Tasks, 1) => "task",
        (Resource::Tasks, _) => "tasks",
        (Resource::Threads, 1) => "thread",
        (Resource::Threads, _) => "threads",
        (Resource::Fds, 1) => "FD",
        (Resource::Fds, _) => "FDs",
    };
    (more > 0).then(|| format!("{} {unit} did not return: {}", figures::count(more), named(drain)))
}

/// The kinds of which more is there than while idle: `2 × socket to …, 1 × inotify`.
fn named(drain: &DrainResult) -> String {
    let mut parts: Vec<String> = drain
        .kept
        .iter()
        .take(NAMED)
        .map(|kept| format!("{} × {}", figures::count(kept.more()), kept.kind))
        .collect();
    let rest = drain.kept.iter().skip(NAMED);
    let (kinds, more) = rest.fold((0_u64, 0), |(kinds, more), kept| (kinds + 1, more + kept.more()));
    if kinds > 0 {
        parts.push(format!(
            "{} of {kinds} other {}",
            figures::count(more),
            if kinds == 1 { "kind" } else { "kinds" }
        ));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::KeptKind;

    fn drain(kept: &[(&str, u64, u64)]) -> DrainResult {
        let kept = kept.iter().map(|(kind, idle, drained)| KeptKind {
            kind: (*kind).to_owned(),
            idle: *idle,
            drained: *drained,
        });
        DrainResult { idle_count: 9.0, drained_count: 12.0, explained: None, kept: kept.collect() }
    }

    #[test]
    fn what_did_not_return_is_named_with_its_number() {
        let some = drain(&[("socket to 127.0.0.1:3100 established", 1, 3), ("inotify", 0, 1)]);
        assert_eq!(
            sentence(Resource::Fds, &some).unwrap(),
            "3 FDs did not return: 2 × socket to 127.0.0.1:3100 established, 1 × inotify"
        );
        assert_eq!(
            sentence(Resource::Tasks, &drain(&[("retry", 0, 1)])).unwrap(),
            "1 task did not return: 1 × retry"
        );
        assert_eq!(
            sentence(Resource::Fds, &drain(&[("pipe", 1, 2)])).unwrap(),
            "1 FD did not return: 1 × pipe"
        );
        assert_eq!(sentence(Resource::Fds, &drain(&[])), None);
    }

    #[test]
    fn of_many_kinds_the_first_are_named() {
        let many = drain(&[("a", 0, 9), ("b", 0, 8), ("c", 0, 7), ("d", 0, 6), ("e", 0, 5), ("f", 1, 5)]);
        assert!(
            sentence(Resource::Threads, &many).unwrap().starts_with("39 threads did not return: 9 × a, ")
        );
        assert!(named(&many).ends_with("6 × d, 9 of 2 other kinds"), "{}", named(&many));
    }
}
