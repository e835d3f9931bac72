//! Truth, sink and target balanced: which lines were written, which of them the sink has, and whether
//! the target's own counts explain the rest. Pure.
//!
//! A line is delivered when its number is among those that the sink accepted *and* that were really
//! written: what came twice, or what nobody wrote, never makes up for what is missing. A missing line
//! that was older than the window when the target attached is owed by nobody: it is skipped, whether the
//! target counted it or never asked for it (Docker's log API takes a start time). Any other missing line
//! must be dropped, dead-lettered or still in flight by the target's own count. What nobody explains is
//! lost.
//!
//! The target counts lines and does not name them, so a claim can only be held against how many lines
//! are missing, not against which. A line that it counts as in flight and that did arrive explains one
//! that did not: a run should end with nothing in flight, or `lost` is a lower bound.

use std::collections::BTreeMap;

use super::ledger::{Key, Ledger, Sequence};
use crate::result::Audit;

/// How many sequences [`Reconciled::unexplained`] names at most.
const SEQUENCES_NAMED_MAX: usize = 20;
/// How many runs of missing numbers it gives of each at most.
const RUNS_NAMED_MAX: usize = 5;

/// What really happened to one sequence: the generator's word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// Lines written: the numbers `1..=written`.
    pub written: u64,
    /// The numbers `1..=out_of_window_before` were older than the window, or written before the start,
    /// when the target attached, and may be skipped; every number above must arrive.
    pub out_of_window_before: u64,
}

/// The target's own counts of lines, from its metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Passed over for a counted reason.
    pub skipped: u64,
    /// Dropped for a counted reason.
    pub dropped: u64,
    /// In its dead letters.
    pub dead_lettered: u64,
    /// Read and not yet decided.
    pub in_flight: u64,
}

/// A sequence with missing lines, where not all missing lines are explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unexplained {
    /// Which one.
    pub key: Key,
    /// How many of its lines are missing. The target counts all its sequences together, so some of
    /// these may be the explained ones.
    pub missing: u64,
    /// The first runs of missing numbers, first and last.
    pub first_runs: Vec<(u64, u64)>,
}

/// The balance, and what helps to find its cause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// The figures of the results model.
    pub audit: Audit,
    /// Distinct accepted lines that nobody wrote, by the truth given: a sign of a wrong truth.
    pub never_written: u64,
    /// Where to look, worst first; empty if nothing is lost.
    pub unexplained: Vec<Unexplained>,
}

/// Balances the books of one target.
#[must_use]
pub fn reconcile(truth: &BTreeMap<Key, Truth>, ledger: &Ledger, claims: &Claims) -> Reconciled {
    let nothing = Sequence::default();
    let mut audit = Audit {
        dropped: claims.dropped,
        dead_lettered: claims.dead_lettered,
        in_flight: claims.in_flight,
        ..Audit::default()
    };
    let mut missing = Missing::default();
    for (key, truth) in truth {
        let sequence = ledger.sequence(key).unwrap_or(&nothing);
        audit.sent += truth.written;
        audit.delivered += sequence.accepted.count_within(1, truth.written);
        audit.rejected += rejected(sequence, truth.written);
        missing.add(truth, sequence);
    }
    audit.duplicated = ledger.sequences().map(|(_, sequence)| sequence.duplicated).sum();
    audit.skipped = missing.skipped(claims);
    audit.lost = missing.due.saturating_sub(explained(claims));
    let unexplained = if audit.lost == 0 { Vec::new() } else { name(truth, ledger) };
    Reconciled { audit, never_written: never_written(truth, ledger), unexplained }
}

/// Missing lines of all sequences.
#[derive(Clone, Copy, Debug, Default)]
struct Missing {
    /// Owed by nobody, and never seen by the sink.
    unseen: u64,
    /// Must arrive.
    due: u64,
}

impl Missing {
    fn add(&mut self, truth: &Truth, sequence: &Sequence) {
        let owed_from = truth.out_of_window_before.min(truth.written);
        for (first, last) in sequence.accepted.gaps_within(1, owed_from) {
            self.unseen += last - first + 1 - sequence.refused.count_within(first, last);
        }
        let old = owed_from - sequence.accepted.count_within(1, owed_from);
        self.due += truth.written - sequence.accepted.count_within(1, truth.written) - old;
    }

    /// By the target's own count, or, where it never read them, by what is missing of the old lines.
    fn skipped(self, claims: &Claims) -> u64 {
        claims.skipped.max(self.unseen.saturating_sub(explained(claims)))
    }
}

fn explained(claims: &Claims) -> u64 {
    claims.dropped.saturating_add(claims.dead_lettered).saturating_add(claims.in_flight)
}

/// Refused at least once, never accepted, and really written.
fn rejected(sequence: &Sequence, written: u64) -> u64 {
    sequence
        .accepted
        .gaps_within(1, written)
        .into_iter()
        .map(|(first, last)| sequence.refused.count_within(first, last))
        .sum()
}

fn never_written(truth: &BTreeMap<Key, Truth>, ledger: &Ledger) -> u64 {
    ledger
        .sequences()
        .map(|(key, sequence)| {
            let written = truth.get(key).map_or(0, |truth| truth.written);
            sequence.accepted.count() - sequence.accepted.count_within(1, written)
        })
        .sum()
}

/// The sequences to look at: those of which lines that must arrive are missing.
fn name(truth: &BTreeMap<Key, Truth>, ledger: &Ledger) -> Vec<Unexplained> {
    let nothing = Sequence::default();
    let mut named: Vec<Unexplained> = truth
        .iter()
        .filter_map(|(key, truth)| {
            let first_due = truth.out_of_window_before.saturating_add(1);
            let mut runs =
                ledger.sequence(key).unwrap_or(&nothing).accepted.gaps_within(first_due, truth.written);
            let missing = runs.iter().map(|(first, last)| last - first + 1).sum();
            runs.truncate(RUNS_NAMED_MAX);
            (missing > 0).then(|| Unexplained { key: key.clone(), missing, first_runs: runs })
        })
        .collect();
    named.sort_by(|a, b| b.missing.cmp(&a.missing).then_with(|| a.key.cmp(&b.key)));
    named.truncate(SEQUENCES_NAMED_MAX);
    named
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::audit::ledger::Fate;
    use crate::world::line::{Fields, Stream, write};

    fn key(source: &str) -> Key {
        Key { source: source.to_owned(), stream: Stream::Out }
    }

    fn give(ledger: &mut Ledger, source: &str, number: u64, fate: Fate) {
        let mut text = String::new();
        write(&mut text, &Fields { source, stream: Stream::Out, number, written_ns: 1 }, 1, 0);
        ledger.record(&text, fate, 9);
    }

    fn truth(written: u64, out_of_window_before: u64) -> BTreeMap<Key, Truth> {
        BTreeMap::from([(key("a"), Truth { written, out_of_window_before })])
    }

    #[test]
    fn duplicates_and_invented_lines_never_make_up_for_a_missing_one() {
        let mut ledger = Ledger::default();
        for number in [1, 2, 2, 2, 99] {
            give(&mut ledger, "a", number, Fate::Accepted);
        }
        give(&mut ledger, "nobody", 1, Fate::Accepted);
        let found = reconcile(&truth(3, 0), &ledger, &Claims::default());
        assert_eq!(found.audit, Audit { sent: 3, delivered: 2, duplicated: 2, lost: 1, ..Audit::default() });
        assert_eq!(found.never_written, 2);
        assert_eq!(found.unexplained, [Unexplained { key: key("a"), missing: 1, first_runs: vec![(3, 3)] }]);
    }

    #[test]
    fn skipping_explains_lines_outside_the_window_and_no_others() {
        let mut ledger = Ledger::default();
        (6..=9).for_each(|number| give(&mut ledger, "a", number, Fate::Accepted));
        let found = |skipped, out_of_window_before| {
            let claims = Claims { skipped, ..Claims::default() };
            let audit = reconcile(&truth(10, out_of_window_before), &ledger, &claims).audit;
            (audit.skipped, audit.lost)
        };
        assert_eq!(found(5, 5), (5, 1), "number 10 is due, whatever was skipped");
        assert_eq!(found(1000, 5), (1000, 1), "a surplus of skipped lines explains no line that is due");
        assert_eq!(found(0, 5), (5, 1), "old lines that the target never read are skipped all the same");
        assert_eq!(found(6, 10), (6, 0));
    }

    #[test]
    fn an_old_line_that_the_sink_refused_was_not_skipped() {
        let mut ledger = Ledger::default();
        give(&mut ledger, "a", 1, Fate::Refused);
        let found = reconcile(&truth(2, 2), &ledger, &Claims::default());
        assert_eq!((found.audit.rejected, found.audit.skipped, found.audit.lost), (1, 1, 0));
    }

    #[test]
    fn a_refused_line_is_lost_unless_the_target_says_where_it_went() {
        let mut ledger = Ledger::default();
        give(&mut ledger, "a", 1, Fate::Refused);
        give(&mut ledger, "a", 2, Fate::Refused);
        give(&mut ledger, "a", 2, Fate::Accepted);
        let found = reconcile(&truth(2, 0), &ledger, &Claims { dead_lettered: 1, ..Claims::default() });
        assert_eq!((found.audit.rejected, found.audit.lost), (1, 0));
        assert_eq!(reconcile(&truth(2, 0), &ledger, &Claims::default()).audit.lost, 1);
    }

    #[test]
    fn what_is_named_is_bounded_and_worst_first() {
        let truth: BTreeMap<Key, Truth> = (0..50)
            .map(|n| (key(&format!("c{n:02}")), Truth { written: 20 + n, out_of_window_before: 0 }))
            .collect();
        let mut ledger = Ledger::default();
        (2..=20).step_by(2).for_each(|number| give(&mut ledger, "c49", number, Fate::Accepted));
        let found = reconcile(&truth, &ledger, &Claims::default());
        assert_eq!(found.unexplained.len(), SEQUENCES_NAMED_MAX);
        assert_eq!(found.unexplained[0].key, key("c48"));
        assert!(found.unexplained.iter().all(|entry| entry.first_runs.len() <= RUNS_NAMED_MAX));
    }

    proptest! {
        #[test]
        fn lines_withheld_and_lines_doubled_are_reported_exactly_so(
            written in 0u64..80, withheld in proptest::collection::btree_set(1u64..80, 0..30),
            doubled in proptest::collection::btree_set(1u64..80, 0..30), refused_first in any::<bool>(),
        ) {
            let withheld: BTreeSet<u64> = withheld.into_iter().filter(|n| *n <= written).collect();
            let doubled: BTreeSet<u64> =
                doubled.into_iter().filter(|n| *n <= written && !withheld.contains(n)).collect();
            let mut ledger = Ledger::default();
            for number in (1..=written).filter(|number| !withheld.contains(number)) {
                if refused_first {
                    give(&mut ledger, "a", number, Fate::Refused);
                }
                give(&mut ledger, "a", number, Fate::Accepted);
            }
            doubled.iter().for_each(|&number| give(&mut ledger, "a", number, Fate::Accepted));
            let found = reconcile(&truth(written, 0), &ledger, &Claims::default());
            let lost = withheld.len() as u64;
            let expected = Audit {
                sent: written, delivered: written - lost, duplicated: doubled.len() as u64, lost, ..Audit::default()
            };
            prop_assert_eq!(found.audit, expected);
            let named: u64 = found.unexplained.iter().map(|entry| entry.missing).sum();
            prop_assert_eq!(named, lost);
        }

        #[test]
        fn a_healthy_targets_books_balance_whatever_it_did_with_each_line(
            fates in proptest::collection::vec(0u8..5, 0..100), before in 0u64..100,
        ) {
            let mut ledger = Ledger::default();
            let mut claims = Claims::default();
            for (index, fate) in fates.iter().enumerate() {
                let number = index as u64 + 1;
                match fate {
                    1 if number <= before => claims.skipped += 1,
                    2 => claims.dropped += 1,
                    3 => { give(&mut ledger, "a", number, Fate::Refused); claims.dead_lettered += 1; }
                    4 => claims.in_flight += 1,
                    _ => give(&mut ledger, "a", number, Fate::Accepted),
                }
            }
            let found = reconcile(&truth(fates.len() as u64, before), &ledger, &claims);
            let audit = found.audit;
            prop_assert_eq!(audit.lost, 0);
            prop_assert!(found.unexplained.is_empty());
            let explained = audit.skipped + audit.dropped + audit.dead_lettered + audit.in_flight;
            prop_assert_eq!(audit.sent, audit.delivered + explained);
            prop_assert_eq!(audit.rejected, claims.dead_lettered);
        }
    }
}
