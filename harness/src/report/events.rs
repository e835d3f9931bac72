//! Which event a leak follows, in words: what each report says of the growth per event.

use serde::Serialize;

use super::figures;
use super::view::targets;
use crate::result::{EventGrowth, Resource, RunResult};

/// What the table rests on, to stand above it.
pub(super) const NOTE: &str = "Growth that is confirmed above zero, over the judged stretch, for each thousand of every \
     event that happened ten times or more, with its 90 % interval. A leak follows an event when the count rises at its \
     moments, beyond chance (1 in 1,000), and by half of the growth or more; an event that keeps an even pace can't be \
     told from the clock and is not named. A push that is sent again after it was refused counts as repeated.";

/// One event beside the growth of one resource.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Against {
    pub(super) target: String,
    pub(super) place: usize,
    pub(super) resource: &'static str,
    pub(super) event: &'static str,
    pub(super) events: String,
    pub(super) per_1000: String,
    pub(super) interval: String,
    /// `follows`, or what it can't be told from; empty where it does not follow.
    pub(super) follows: String,
}

/// Every event beside the growth of every resource that grows for sure.
pub(super) fn all(result: &RunResult) -> Vec<Against> {
    let mut rows = Vec::new();
    for (place, name, target) in targets(result) {
        for resource in Resource::ALL {
            let events = target.resources.get(&resource).map_or(&[][..], |found| &found.events);
            rows.extend(events.iter().map(|found| against((place, name), resource, found, events)));
        }
    }
    rows
}

fn against(
    (place, target): (usize, &str),
    resource: Resource,
    found: &EventGrowth,
    all: &[EventGrowth],
) -> Against {
    let others = all.iter().filter(|other| other.follows && other.event != found.event);
    let others: Vec<String> = others.map(|other| other.event.title().to_lowercase()).collect();
    let follows = match (found.follows, others.as_slice()) {
        (false, _) => String::new(),
        (true, []) => "follows".to_owned(),
        (true, others) => format!("follows; can't be told from {}", others.join(", ")),
    };
    Against {
        target: target.to_owned(),
        place,
        resource: resource.title(),
        event: found.event.title(),
        events: figures::count(found.events),
        per_1000: figures::per_1000(found.per_1000),
        interval: figures::interval(found.ci_low, found.ci_high),
        follows,
    }
}
