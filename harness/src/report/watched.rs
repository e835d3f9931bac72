//! What a watched process holds by kind, as a table for a terminal of 100 columns.

use super::figures;
use super::verdicts::{NOTHING, WIDTH};
use crate::result::{KindGrowth, KindGrowths};

/// Kinds of each sort that are shown; all of them are in `watch.json`.
const SHOWN: usize = 6;
/// Letters in front of a kind's name, which comes last as it is long.
const BEFORE: usize = 68;
const MIB: f64 = 1024.0 * 1024.0;

/// Renders those that changed, those that changed most first; or says that none did.
#[must_use]
pub fn kinds(found: &KindGrowths) -> String {
    let counts = [&found.fds, &found.threads, &found.tasks, &found.watches];
    let counts = ["fds", "threads", "tasks", "watches"].into_iter().zip(counts);
    let counts = counts.flat_map(|(sort, kinds)| changed(kinds).map(move |kind| of_counts(sort, kind)));
    let lines: Vec<String> = counts.chain(changed(&found.memory).map(of_bytes)).collect();
    if lines.is_empty() {
        return "\nno kind of descriptor, thread, task, watch or memory changed".to_owned();
    }
    let head = row(["", "first", "last", "worst", "growth", "interval"], "kind");
    format!("\n{head}\n{}", lines.join("\n"))
}

fn changed(kinds: &[KindGrowth]) -> impl Iterator<Item = &KindGrowth> {
    kinds.iter().filter(|kind| (kind.first, kind.first) != (kind.last, kind.worst)).take(SHOWN)
}

fn of_counts(sort: &str, kind: &KindGrowth) -> String {
    let [first, last, worst] = [kind.first, kind.last, kind.worst].map(figures::count);
    let growth = kind.growth_per_min.map_or_else(|| NOTHING.to_owned(), figures::growth);
    let interval = kind.ci_low.zip(kind.ci_high);
    let interval = interval.map_or_else(|| NOTHING.to_owned(), |(low, high)| figures::interval(low, high));
    row([sort, &first, &last, &worst, &growth, &interval], &kind.kind)
}

/// Growth in MiB: the unit stands in the column of the sort.
fn of_bytes(kind: &KindGrowth) -> String {
    let mib = |per_min: Option<f64>| per_min.map(|per_min| per_min / MIB);
    let [first, last, worst] = [kind.first, kind.last, kind.worst].map(figures::bytes);
    let growth = mib(kind.growth_per_min).map_or_else(|| NOTHING.to_owned(), figures::growth);
    let interval = mib(kind.ci_low).zip(mib(kind.ci_high));
    let interval = interval.map_or_else(|| NOTHING.to_owned(), |(low, high)| figures::interval(low, high));
    row(["MiB", &first, &last, &worst, &growth, &interval], &kind.kind)
}

fn row([sort, first, last, worst, growth, interval]: [&str; 6], kind: &str) -> String {
    let kind = shortened(&kind.replace(char::is_control, "?"), WIDTH - BEFORE);
    format!("{sort:<7} {first:>9} {last:>9} {worst:>9} {growth:>11} {interval:>16}  {kind}")
}

/// The sort at its beginning and the place at its end are what tells one kind from another.
fn shortened(kind: &str, letters: usize) -> String {
    let length = kind.chars().count();
    if length <= letters {
        return kind.to_owned();
    }
    let head = letters / 3;
    let tail = kind.chars().skip(length - (letters - head - 1));
    kind.chars().take(head).chain(['…']).chain(tail).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str, counts: (u64, u64, u64), growth: Option<f64>) -> KindGrowth {
        let (first, last, worst) = counts;
        KindGrowth {
            kind: name.to_owned(),
            first,
            last,
            worst,
            growth_per_min: growth,
            ci_low: growth.map(|growth| growth * 0.98),
            ci_high: growth.map(|growth| growth * 1.02),
            significant: growth.is_some(),
            share: None,
            events: Vec::new(),
        }
    }

    #[test]
    fn what_changed_is_shown_and_fits_a_terminal() {
        let found = KindGrowths {
            fds: vec![
                kind("socket to 127.0.0.1:5432 established\u{1b}", (3, 1_203, 1_203), Some(120.0)),
                kind("pipe", (2, 2, 9), None),
                kind("eventpoll", (4, 4, 4), Some(0.0)),
            ],
            memory: vec![kind("heap", (1 << 20, 31 << 20, 40 << 20), Some(3.0 * MIB))],
            ..KindGrowths::default()
        };
        let table = kinds(&found);
        assert!(table.lines().all(|line| line.chars().count() <= WIDTH), "{table}");
        assert!(!table.contains('\u{1b}'), "{table}");
        insta::assert_snapshot!(table.trim_start_matches('\n'), @r"
                    first      last     worst      growth         interval  kind
        fds             3     1,203     1,203    +120/min       [118, 122]  socket to …0.1:5432 established?
        fds             2         2         9           –                –  pipe
        MiB       1.0 MiB  31.0 MiB  40.0 MiB    +3.0/min       [2.9, 3.1]  heap
        ");
        let none = kinds(&KindGrowths::default());
        assert!(none.contains("no kind of"), "{none}");
    }
}
