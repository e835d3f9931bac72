//! From the generators' counter files to what the audit asks for: how many lines each source wrote, and
//! how many of them were too old when the targets attached.

use std::collections::BTreeMap;

use crate::audit::ledger::Key;
use crate::audit::reconcile::Truth;
use crate::world::line::Stream;
use crate::world::truth::Written;

/// Joins the counters of two moments: `old` when the oldest line that must arrive was written, `all` at
/// the end. A source that is not in `old` had written nothing then.
#[must_use]
pub(super) fn truth(
    old: &BTreeMap<String, Written>,
    all: &BTreeMap<String, Written>,
) -> BTreeMap<Key, Truth> {
    let streams = all.iter().flat_map(|(source, written)| {
        let before = old.get(source).copied().unwrap_or_default();
        let of = |stream, written, out_of_window_before| {
            (Key { source: source.clone(), stream }, Truth { written, out_of_window_before })
        };
        [of(Stream::Out, written.stdout, before.stdout), of(Stream::Err, written.stderr, before.stderr)]
    });
    streams.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_came_later_owes_every_line() {
        let old = BTreeMap::from([("c01".to_owned(), Written { stdout: 90, stderr: 10 })]);
        let all = BTreeMap::from([
            ("c01".to_owned(), Written { stdout: 900, stderr: 100 }),
            ("c02".to_owned(), Written { stdout: 5, stderr: 0 }),
        ]);
        let truth = truth(&old, &all);
        let of = |source: &str, stream| truth[&Key { source: source.into(), stream }];
        assert_eq!(of("c01", Stream::Err), Truth { written: 100, out_of_window_before: 10 });
        assert_eq!(of("c02", Stream::Out), Truth { written: 5, out_of_window_before: 0 });
    }
}
