//! Truth, sink and target balanced: which lines were written, which of them the sink has, and whether
//! what the target says of itself explains the rest. Pure.
//!
//! A line is delivered when its number is among those that the sink accepted *and* that were really
//! written: what came twice, or what nobody wrote, never makes up for what is missing. Of a missing line it is
//! asked in turn: is there one of its number that was altered? Is it in the target's dead letters? Was it older
//! than the window when the target attached, so that nobody owes it? Then it is skipped, whether the target
//! counted it or never asked for it (Docker's log API takes a start time). Any other missing line must be
//! dropped, dead-lettered or still in flight by the target's own count. What nobody explains is lost.
//!
//! A count does not name its lines, so it can only be held against how many are missing, not against which. A
//! line that the target counts as in flight and that did arrive explains one that did not: a run should end with
//! nothing in flight, or `lost` is a lower bound. Dead letters that were read line by line have no such doubt.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::intervals::Intervals;
use super::ledger::{Key, Ledger, Sequence};
use crate::result::{Audit, SequenceAudit};

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
    /// Acknowledged by its sink; `None` where it has no such count.
    pub delivered: Option<u64>,
    /// Passed over for a counted reason.
    pub skipped: u64,
    /// Dropped for a counted reason.
    pub dropped: u64,
    /// In its dead letters, where these were not read line by line.
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
    /// The same for each output of each container, as far as it is known of each.
    pub sequences: Vec<SequenceAudit>,
    /// [`Audit::rejected`] by Loki's reason; a line that was refused for two counts under each.
    pub rejected_by: BTreeMap<&'static str, u64>,
    /// Lines that arrived and that no generator of ours wrote.
    pub foreign: u64,
    /// Distinct accepted lines that nobody wrote, by the truth given: a sign of a wrong truth.
    pub never_written: u64,
    /// Lines that arrived and that the sink's book had no room for: some of them may count as lost.
    pub unrecorded: u64,
    /// What the target says and the sink does not, in words.
    pub disagreements: Vec<String>,
    /// Where to look, worst first; empty if nothing is lost.
    pub unexplained: Vec<Unexplained>,
}

/// Balances the books of one target. `early` is what it had counted when the load began: until then it has dealt with
/// the old lines, so that what it dropped of these excuses no later one.
#[must_use]
pub fn reconcile(
    truth: &BTreeMap<Key, Truth>,
    ledger: &Ledger,
    claims: &Claims,
    early: &Claims,
) -> Reconciled {
    let nothing = Sequence::default();
    let mut found = Reconciled::default();
    let mut missing = Missing::default();
    for (key, truth) in truth {
        let sequence = ledger.sequence(key).unwrap_or(&nothing);
        let of_sequence = Missing::of(truth, sequence);
        missing.add(of_sequence);
        for (&reason, refused) in &sequence.refused {
            let rejected = within_gaps(&sequence.accepted, truth.written, |a, b| refused.count_within(a, b));
            *found.rejected_by.entry(reason).or_default() += rejected;
        }
        found.sequences.push(line_by_line(key, truth, sequence, of_sequence));
    }
    let sum = |figure: fn(&SequenceAudit) -> u64| found.sequences.iter().map(figure).sum::<u64>();
    found.audit = Audit {
        sent: sum(|sequence| sequence.sent),
        delivered: sum(|sequence| sequence.delivered),
        duplicated: ledger.sequences().map(|(_, sequence)| sequence.duplicated).sum(),
        out_of_order: ledger.sequences().map(|(_, sequence)| sequence.out_of_order).sum(),
        altered: sum(|sequence| sequence.altered),
        altered_copies: ledger.altered - sum(|sequence| sequence.altered).min(ledger.altered),
        rejected: sum(|sequence| sequence.rejected),
        ..shared_out(missing, claims, early)
    };
    found.audit.dead_lettered += sum(|sequence| sequence.dead_lettered);
    found.unrecorded = ledger.unrecorded;
    found.never_written = never_written(truth, ledger);
    found.foreign = ledger.foreign;
    found.disagreements = disagreements(ledger, claims);
    found.disagreements.extend(missing.exceeded_by(claims));
    found.unexplained = if found.audit.lost == 0 { Vec::new() } else { name(truth, ledger) };
    found
}

/// Which part of the missing lines is whose. What the target had counted early explains old lines, as far as there are
/// any; the rest explains first those that must arrive, then old ones that the sink has refused. The old ones that are
/// left and that the sink never saw are skipped, whether or not it counted them.
fn shared_out(missing: Missing, claims: &Claims, early: &Claims) -> Audit {
    let Missing { unseen, refused, due } = missing;
    let of_old = claims.given_up().min(early.given_up()).min(unseen + refused);
    let lost = due.saturating_sub(claims.given_up() - of_old + claims.in_flight);
    let mut left = unseen + refused + due - lost;
    let mut part = |claimed: u64| {
        let part = claimed.min(left);
        left -= part;
        part
    };
    let (dropped, dead_lettered) = (part(claims.dropped), part(claims.dead_lettered));
    let in_flight = part(claims.in_flight);
    Audit { dropped, dead_lettered, in_flight, skipped: left.min(unseen), lost, ..Audit::default() }
}

impl Claims {
    /// Lines that it says it will not deliver.
    fn given_up(&self) -> u64 {
        self.dropped.saturating_add(self.dead_lettered)
    }
}

/// Missing lines of which nothing that is known line by line says what became of them.
#[derive(Clone, Copy, Debug, Default)]
struct Missing {
    /// Owed by nobody, and never seen by the sink.
    unseen: u64,
    /// Owed by nobody, and refused by the sink.
    refused: u64,
    /// Must arrive.
    due: u64,
}

impl Missing {
    fn of(truth: &Truth, sequence: &Sequence) -> Self {
        let settled = settled(sequence);
        let owed_from = truth.out_of_window_before.min(truth.written);
        let refused = within_gaps(&settled, owed_from, |a, b| sequence.refused_within(a, b));
        let unseen = owed_from - settled.count_within(1, owed_from) - refused;
        let owed = truth.written - owed_from;
        Self { unseen, refused, due: owed - settled.count_within(owed_from + 1, truth.written) }
    }

    /// Whoever counts more than are missing has counted some twice, or counts what has arrived: `lost` may then be
    /// too low.
    fn exceeded_by(self, claims: &Claims) -> Option<String> {
        let (given_up, missing) = (claims.given_up(), self.unseen + self.refused + self.due);
        (given_up > missing)
            .then(|| format!("it counts {given_up} lines as given up, and only {missing} are missing"))
    }

    fn add(&mut self, other: Self) {
        self.unseen += other.unseen;
        self.refused += other.refused;
        self.due += other.due;
    }
}

fn line_by_line(key: &Key, truth: &Truth, sequence: &Sequence, missing: Missing) -> SequenceAudit {
    let Truth { written, .. } = *truth;
    let never_accepted =
        |set: &Intervals| within_gaps(&sequence.accepted, written, |a, b| set.count_within(a, b));
    SequenceAudit {
        source: key.source.clone(),
        output: key.stream.output().to_owned(),
        sent: written,
        delivered: sequence.accepted.count_within(1, written),
        duplicated: sequence.duplicated,
        out_of_order: sequence.out_of_order,
        altered: never_accepted(&sequence.altered),
        rejected: within_gaps(&sequence.accepted, written, |a, b| sequence.refused_within(a, b)),
        dead_lettered: within_gaps(&sequence.accepted, written, |first, last| {
            let also_altered = sequence.dead_lettered.runs_within(first, last);
            let also_altered = also_altered.map(|(a, b)| sequence.altered.count_within(a, b)).sum::<u64>();
            sequence.dead_lettered.count_within(first, last) - also_altered
        }),
        before_start: missing.unseen,
        missing: missing.due,
    }
}

/// Those of which it is known line by line what became of them.
fn settled(sequence: &Sequence) -> Cow<'_, Intervals> {
    let mut settled = Cow::Borrowed(&sequence.accepted);
    for more in [&sequence.altered, &sequence.dead_lettered] {
        for (first, last) in more.runs() {
            settled.to_mut().insert_run(first, last);
        }
    }
    settled
}

/// The sum of `count` over what is not in the set up to `last`.
fn within_gaps(set: &Intervals, last: u64, count: impl Fn(u64, u64) -> u64) -> u64 {
    set.gaps_within(1, last).into_iter().map(|(first, last)| count(first, last)).sum()
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

/// A target may know of less than its sink has: an answer can get lost. It can't know of more.
fn disagreements(ledger: &Ledger, claims: &Claims) -> Vec<String> {
    let stored = |sequence: &Sequence| sequence.accepted.count() + sequence.duplicated;
    let stored = ledger.sequences().map(|(_, sequence)| stored(sequence)).sum::<u64>() + ledger.altered;
    let stored = stored + ledger.foreign + ledger.unrecorded;
    let more = claims.delivered.filter(|delivered| *delivered > stored);
    more.map(|delivered| {
        format!("it counts {delivered} lines as delivered, and the sink has stored {stored}")
    })
    .into_iter()
    .collect()
}

/// The sequences to look at: those of which lines that must arrive are missing.
fn name(truth: &BTreeMap<Key, Truth>, ledger: &Ledger) -> Vec<Unexplained> {
    let nothing = Sequence::default();
    let mut named: Vec<Unexplained> = truth
        .iter()
        .filter_map(|(key, truth)| {
            let first_due = truth.out_of_window_before.saturating_add(1);
            let settled = settled(ledger.sequence(key).unwrap_or(&nothing));
            let mut runs = settled.gaps_within(first_due, truth.written);
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
        let found = reconcile(&truth(3, 0), &ledger, &Claims::default(), &Claims::default());
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
            let audit =
                reconcile(&truth(10, out_of_window_before), &ledger, &claims, &Claims::default()).audit;
            (audit.skipped, audit.lost)
        };
        assert_eq!(found(5, 5), (5, 1), "number 10 is due, whatever was skipped");
        assert_eq!(found(1000, 5), (5, 1), "a surplus of skipped lines explains no line that is due");
        assert_eq!(found(0, 5), (5, 1), "old lines that the target never read are skipped all the same");
        assert_eq!(found(6, 10), (6, 0));
    }

    #[test]
    fn an_old_line_that_the_sink_refused_was_not_skipped() {
        let mut ledger = Ledger::default();
        give(&mut ledger, "a", 1, Fate::Refused("r"));
        let found = reconcile(&truth(2, 2), &ledger, &Claims::default(), &Claims::default());
        assert_eq!((found.audit.rejected, found.audit.skipped, found.audit.lost), (1, 1, 0));
    }

    #[test]
    fn a_refused_line_is_lost_unless_the_target_says_where_it_went() {
        let mut ledger = Ledger::default();
        give(&mut ledger, "a", 1, Fate::Refused("r"));
        give(&mut ledger, "a", 2, Fate::Refused("r"));
        give(&mut ledger, "a", 2, Fate::Accepted);
        let found = reconcile(
            &truth(2, 0),
            &ledger,
            &Claims { dead_lettered: 1, ..Claims::default() },
            &Claims::default(),
        );
        assert_eq!((found.audit.rejected, found.audit.lost), (1, 0));
        assert_eq!(reconcile(&truth(2, 0), &ledger, &Claims::default(), &Claims::default()).audit.lost, 1);
    }

    #[test]
    fn a_line_in_the_dead_letters_is_accounted_for_by_itself_and_not_by_a_count() {
        let mut ledger = Ledger::default();
        give(&mut ledger, "a", 1, Fate::Accepted);
        give(&mut ledger, "a", 2, Fate::Refused("r"));
        for number in [1, 2] {
            let mut text = String::new();
            write(&mut text, &Fields { source: "a", stream: Stream::Out, number, written_ns: 1 }, 1, 0);
            assert!(ledger.dead_letter(&text));
        }
        let found = reconcile(&truth(3, 0), &ledger, &Claims::default(), &Claims::default());
        let expected =
            Audit { sent: 3, delivered: 1, rejected: 1, dead_lettered: 1, lost: 1, ..Audit::default() };
        assert_eq!(found.audit, expected, "two letters, and number 3 is lost all the same");
        assert_eq!(found.unexplained[0].first_runs, [(3, 3)]);
        assert_eq!(found.rejected_by, BTreeMap::from([("r", 1)]));
    }

    /// Ten old lines dropped before the load, and then two that had to arrive withheld: the ten pay for none of them.
    #[test]
    fn what_was_given_up_before_the_load_excuses_no_line_of_it() {
        let mut ledger = Ledger::default();
        (11..=18).for_each(|number| give(&mut ledger, "a", number, Fate::Accepted));
        let claims = Claims { dropped: 10, ..Claims::default() };
        let audit = |early| reconcile(&truth(20, 10), &ledger, &claims, early).audit;
        let found = audit(&claims);
        assert_eq!((found.dropped, found.skipped, found.lost), (10, 0, 2));
        let found = audit(&Claims::default());
        assert_eq!(
            (found.dropped, found.skipped, found.lost),
            (10, 2, 0),
            "dropped under load: whose, nobody can say"
        );
    }

    #[test]
    fn a_target_that_counts_more_than_is_missing_explains_what_is_missing() {
        let mut ledger = Ledger::default();
        give(&mut ledger, "a", 2, Fate::Accepted);
        let claims = Claims { dropped: 9, in_flight: 7, delivered: Some(5), ..Claims::default() };
        let found = reconcile(&truth(3, 0), &ledger, &claims, &Claims::default());
        assert_eq!(found.audit, Audit { sent: 3, delivered: 1, dropped: 2, ..Audit::default() });
        let said = [
            "it counts 5 lines as delivered, and the sink has stored 1",
            "it counts 9 lines as given up, and only 2 are missing",
        ];
        assert_eq!(found.disagreements, said);
    }

    /// By their own word, since their checksums do not fit: such a line is neither delivered nor lost.
    #[test]
    fn an_altered_line_is_altered_and_a_line_out_of_order_is_delivered() {
        let mut ledger = Ledger::default();
        let mut text = String::new();
        write(&mut text, &Fields { source: "a", stream: Stream::Out, number: 1, written_ns: 1 }, 1, 99);
        ledger.record(&text.replacen(' ', "  ", 9), Fate::Accepted, 9);
        ledger.record(&format!("{text}x"), Fate::Accepted, 9);
        [3, 2].into_iter().for_each(|number| give(&mut ledger, "a", number, Fate::Accepted));
        let found = reconcile(&truth(4, 0), &ledger, &Claims::default(), &Claims::default());
        let expected = Audit {
            sent: 4,
            delivered: 2,
            out_of_order: 1,
            altered: 1,
            altered_copies: 1,
            lost: 1,
            ..Audit::default()
        };
        assert_eq!(found.audit, expected);
        assert_eq!((found.sequences[0].altered, found.sequences[0].missing), (1, 1));
    }

    #[test]
    fn what_is_named_is_bounded_and_worst_first() {
        let truth: BTreeMap<Key, Truth> = (0..50)
            .map(|n| (key(&format!("c{n:02}")), Truth { written: 20 + n, out_of_window_before: 0 }))
            .collect();
        let mut ledger = Ledger::default();
        (2..=20).step_by(2).for_each(|number| give(&mut ledger, "c49", number, Fate::Accepted));
        let found = reconcile(&truth, &ledger, &Claims::default(), &Claims::default());
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
                    give(&mut ledger, "a", number, Fate::Refused("r"));
                }
                give(&mut ledger, "a", number, Fate::Accepted);
            }
            doubled.iter().for_each(|&number| give(&mut ledger, "a", number, Fate::Accepted));
            let found = reconcile(&truth(written, 0), &ledger, &Claims::default(), &Claims::default());
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
                    3 => { give(&mut ledger, "a", number, Fate::Refused("r")); claims.dead_lettered += 1; }
                    4 => claims.in_flight += 1,
                    _ => give(&mut ledger, "a", number, Fate::Accepted),
                }
            }
            let found = reconcile(&truth(fates.len() as u64, before), &ledger, &claims, &Claims::default());
            let audit = found.audit;
            prop_assert_eq!(audit.lost, 0);
            prop_assert!(found.unexplained.is_empty());
            let explained = audit.skipped + audit.dropped + audit.dead_lettered + audit.in_flight;
            prop_assert_eq!(audit.sent, audit.delivered + explained);
            prop_assert_eq!(audit.rejected, claims.dead_lettered);
        }
    }
}
