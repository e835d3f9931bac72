//! What became of every line, in words and counts.

use super::figures;
use super::view::{NOTHING, Row, targets};
use crate::result::{Audit, Latency, RunResult};

/// The audit's words, each with what it means, one count for each target.
pub(super) fn account(result: &RunResult) -> Vec<Row<String>> {
    type Pick = fn(&Audit) -> u64;
    let words: [(&str, &str, Pick); 12] = [
        ("Sent", "written by the containers", |audit| audit.sent),
        ("Delivered", "accepted by the sink, each line counted once", |audit| audit.delivered),
        ("Duplicated", "accepted again after the first time", |audit| audit.duplicated),
        ("Out of order", "accepted for the first time after a later line of the same output", |audit| {
            audit.out_of_order
        }),
        ("Altered", "stored, but not as they were written: each line has a checksum", |audit| audit.altered),
        (
            "Altered beside",
            "the same of lines that were delivered as well, or that nobody can tell",
            |audit| audit.altered_copies,
        ),
        ("Rejected", "refused by the sink, and never accepted", |audit| audit.rejected),
        (
            "Skipped",
            "passed over by the target for a reason it counts: too old, or before its start",
            |audit| audit.skipped,
        ),
        ("Dropped", "given up by the target for a reason it counts", |audit| audit.dropped),
        ("Dead-lettered", "kept by the target in a file for what can't be delivered", |audit| {
            audit.dead_lettered
        }),
        ("In flight", "still held by the target when the run ended, by its own count", |audit| {
            audit.in_flight
        }),
        ("Lost", "accounted for by nobody", |audit| audit.lost),
    ];
    let row = |(title, note, pick): (&'static str, &str, Pick)| {
        let count =
            |audit: Option<Audit>| audit.map_or(NOTHING.to_owned(), |audit| figures::count(pick(&audit)));
        let cells = targets(result).iter().map(|(_, _, target)| count(target.audit)).collect();
        Row { title, note: note.to_owned(), cells }
    };
    let mut rows: Vec<Row<String>> = words.into_iter().map(row).collect();
    if targets(result).iter().any(|(_, _, target)| target.latency.is_some()) {
        rows.extend(latencies(result));
    }
    rows
}

fn latencies(result: &RunResult) -> [Row<String>; 4] {
    type Pick = fn(&Latency) -> f64;
    let words: [(&str, &str, Pick); 4] = [
        (
            "Latency, half (p50)",
            "from written to accepted: half of the lines since the load began took no longer",
            |it| it.p50_s,
        ),
        ("Latency, 99 % (p99)", "99 of 100", |it| it.p99_s),
        ("Latency, 99.9 %", "999 of 1,000", |it| it.p99_9_s),
        ("Latency, longest", "all of them", |it| it.max_s),
    ];
    words.map(|(title, note, pick)| {
        let of = |latency: &Option<Latency>| {
            latency.as_ref().map_or(NOTHING.to_owned(), |latency| figures::latency(pick(latency)))
        };
        let cells = targets(result).iter().map(|(_, _, target)| of(&target.latency)).collect();
        Row { title, note: note.to_owned(), cells }
    })
}
