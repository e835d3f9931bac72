//! What one sink was given, line by line, exact: which numbers of which source and stream it accepted,
//! how often again, and which it refused and why; and which of them are in the target's dead letters. Memory
//! grows with gaps and sources, never with lines.

use std::collections::BTreeMap;

use super::intervals::Intervals;
use super::latency::Latencies;
use crate::world::line::{self, Fields, ParseError, Stream};

/// A run has hundreds of sources. More than this many are no run of ours, and are counted as
/// [`Ledger::unrecorded`] rather than kept, so that nothing that is pushed can fill the memory.
const SOURCES_MAX: usize = 100_000;
/// Runs of numbers, of all sequences together: some 40 MB. A run of 48 hours in which one line in a hundred is
/// refused, each alone, has a quarter of it.
const RUNS_MAX: usize = 1_000_000;

/// One numbered sequence of lines: a container of the run, and where it wrote to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Short name of the container within the run.
    pub source: String,
    /// Standard output or standard error.
    pub stream: Stream,
}

/// What became of a line at the sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Stored.
    Accepted,
    /// Refused, or dropped without a word, for this reason.
    Refused(&'static str),
}

/// What is known of one sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    /// Numbers accepted at least once.
    pub accepted: Intervals,
    /// Numbers refused at least once, by reason, whether or not they were accepted at another time.
    pub refused: BTreeMap<&'static str, Intervals>,
    /// Numbers of which a line was stored that is not as it was written, by its own word, which may be what is
    /// altered.
    pub altered: Intervals,
    /// Numbers in the target's dead letters.
    pub dead_lettered: Intervals,
    /// How many times a number that had been accepted was accepted again.
    pub duplicated: u64,
    /// How many numbers were accepted for the first time after a greater one.
    pub out_of_order: u64,
}

/// Where a number is entered.
#[derive(Clone, Copy, Debug)]
enum Place {
    Sink(Fate),
    Altered,
    DeadLettered,
}

impl Sequence {
    /// How many runs of numbers it has: what it takes in memory.
    #[must_use]
    pub fn runs_count(&self) -> usize {
        let sets =
            [&self.accepted, &self.altered, &self.dead_lettered].into_iter().chain(self.refused.values());
        sets.map(Intervals::runs_count).sum()
    }

    /// The set of a place; `None` where it has none yet.
    fn set(&self, place: Place) -> Option<&Intervals> {
        match place {
            Place::Sink(Fate::Accepted) => Some(&self.accepted),
            Place::Sink(Fate::Refused(reason)) => self.refused.get(reason),
            Place::Altered => Some(&self.altered),
            Place::DeadLettered => Some(&self.dead_lettered),
        }
    }

    fn record(&mut self, number: u64, place: Place) {
        match place {
            Place::Sink(Fate::Refused(reason)) => {
                self.refused.entry(reason).or_default().insert(number);
            }
            Place::Altered => {
                self.altered.insert(number);
            }
            Place::DeadLettered => {
                self.dead_lettered.insert(number);
            }
            Place::Sink(Fate::Accepted) => {
                let late = self.accepted.max().is_some_and(|max| number < max);
                if !self.accepted.insert(number) {
                    self.duplicated += 1;
                } else if late {
                    self.out_of_order += 1;
                }
            }
        }
    }

    /// How many of the numbers `first..=last` were refused at least once, for whatever reason.
    #[must_use]
    pub fn refused_within(&self, first: u64, last: u64) -> u64 {
        if let [refused] = self.refused.values().collect::<Vec<_>>().as_slice() {
            return refused.count_within(first, last);
        }
        let mut union = Intervals::default();
        for (first, last) in self.refused.values().flat_map(|refused| refused.runs_within(first, last)) {
            union.insert_run(first, last);
        }
        union.count()
    }
}

/// The book of one sink.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    sequences: BTreeMap<Key, Sequence>,
    /// Of all sequences.
    runs_count: usize,
    /// How long lines took.
    pub latencies: Latencies,
    /// Lines of ours that were stored and are not as they were written.
    pub altered: u64,
    /// Lines that no generator of ours wrote.
    pub foreign: u64,
    /// Lines beyond the bounds on sources and on runs: with any of them, the audit's figures are too low.
    pub unrecorded: u64,
}

impl Ledger {
    /// Enters one line, at this time.
    pub fn record(&mut self, text: &str, fate: Fate, now_ns: i64) {
        let text = text.trim_end_matches(['\n', '\r']);
        match (line::parse(text), fate) {
            (Ok(fields), _) => {
                if fate == Fate::Accepted {
                    self.latencies.record(fields.written_ns, now_ns);
                }
                self.enter(fields, Place::Sink(fate));
            }
            (Err(ParseError::Altered(_)), Fate::Accepted) => {
                self.altered += 1;
                if let Some(fields) = line::claimed(text) {
                    self.enter(fields, Place::Altered);
                }
            }
            // What is not stored does no harm.
            (Err(ParseError::Altered(_)), Fate::Refused(_)) => {}
            (Err(ParseError::Foreign), _) => self.foreign += 1,
        }
    }

    /// Enters a line that stands in the target's dead letters. Says whether it is one of ours, whole.
    pub fn dead_letter(&mut self, text: &str) -> bool {
        let fields = line::parse(text.trim_end_matches(['\n', '\r']));
        if let Ok(fields) = fields {
            self.enter(fields, Place::DeadLettered);
        }
        fields.is_ok()
    }

    fn enter(&mut self, Fields { source, stream, number, .. }: Fields<'_>, place: Place) {
        let key = Key { source: source.to_owned(), stream };
        let has_room = self.runs_count < RUNS_MAX;
        if let Some(sequence) = self.sequences.get_mut(&key) {
            if has_room || sequence.set(place).is_some_and(|set| set.touches(number)) {
                let before = sequence.runs_count();
                sequence.record(number, place);
                self.runs_count = self.runs_count - before + sequence.runs_count();
                return;
            }
        } else if has_room && self.sequences.len() < SOURCES_MAX {
            self.sequences.entry(key).or_default().record(number, place);
            self.runs_count += 1;
            return;
        }
        self.unrecorded += 1;
    }

    /// What is known of one sequence; `None` if no line of it was ever given.
    #[must_use]
    pub fn sequence(&self, key: &Key) -> Option<&Sequence> {
        self.sequences.get(key)
    }

    /// All sequences, in order of their keys.
    pub fn sequences(&self) -> impl Iterator<Item = (&Key, &Sequence)> {
        self.sequences.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::world::line::{Fields, write};

    fn text(source: &str, number: u64) -> String {
        let mut buf = String::new();
        write(&mut buf, &Fields { source, stream: Stream::Out, number, written_ns: 9 }, 1, 100);
        buf
    }

    #[test]
    fn a_line_that_kept_its_newline_is_the_same_line() {
        let mut ledger = Ledger::default();
        ledger.record(&format!("{}\r\n", text("c1", 1)), Fate::Accepted, 9);
        assert_eq!((ledger.altered, ledger.sequences().count()), (0, 1));
    }

    #[test]
    fn altered_and_foreign_lines_are_counted_and_accepted_in_no_sequence() {
        let mut ledger = Ledger::default();
        ledger.record("somebody else's", Fate::Accepted, 9);
        ledger.record(&text("c1", 1).replace("c1", "c2"), Fate::Accepted, 9);
        ledger.record(&text("c1", 1).replace("c1", "c2"), Fate::Refused("r"), 9);
        assert_eq!((ledger.foreign, ledger.altered), (1, 1));
        let sequence = ledger.sequence(&Key { source: "c2".to_owned(), stream: Stream::Out }).unwrap();
        assert_eq!((sequence.accepted.count(), sequence.altered.count()), (0, 1));
    }

    #[test]
    fn a_line_that_is_refused_for_two_reasons_is_one_line() {
        let mut ledger = Ledger::default();
        for (number, reason) in [(1, "a"), (2, "a"), (2, "b"), (3, "b"), (9, "b")] {
            ledger.record(&text("c1", number), Fate::Refused(reason), 9);
        }
        let sequence = ledger.sequence(&Key { source: "c1".to_owned(), stream: Stream::Out }).unwrap();
        assert_eq!((sequence.refused_within(1, 9), sequence.refused_within(2, 8)), (4, 2));
    }

    /// Every other number makes a run of its own. What is beyond the bound is counted, and runs that are there
    /// still grow.
    #[test]
    fn gaps_without_end_are_bounded_and_what_is_not_kept_is_counted() {
        let mut ledger = Ledger::default();
        let enter = |ledger: &mut Ledger, source, stream, number, fate| {
            ledger.enter(Fields { source, stream, number, written_ns: 0 }, Place::Sink(fate));
        };
        let max = RUNS_MAX as u64;
        for number in 1..=max / 2 + 5 {
            enter(&mut ledger, "a", Stream::Out, 2 * number, Fate::Accepted);
            enter(&mut ledger, "b", Stream::Err, 2 * number, Fate::Refused("r"));
        }
        let runs = |ledger: &Ledger| {
            let sum: usize = ledger.sequences().map(|(_, one)| one.runs_count()).sum();
            assert_eq!(sum, ledger.runs_count);
            sum
        };
        assert_eq!((runs(&ledger), ledger.unrecorded), (RUNS_MAX, 10));
        enter(&mut ledger, "a", Stream::Out, max + 1, Fate::Accepted);
        enter(&mut ledger, "a", Stream::Out, max + 1, Fate::Accepted);
        enter(&mut ledger, "a", Stream::Out, 3, Fate::Accepted);
        assert_eq!((runs(&ledger), ledger.unrecorded), (RUNS_MAX - 1, 10), "two runs have become one");
        enter(&mut ledger, "new", Stream::Out, 1, Fate::Accepted);
        enter(&mut ledger, "new", Stream::Out, 3, Fate::Accepted);
        assert_eq!((runs(&ledger), ledger.unrecorded), (RUNS_MAX, 11));
        let sequence = ledger.sequence(&Key { source: "a".to_owned(), stream: Stream::Out }).unwrap();
        assert_eq!((sequence.duplicated, sequence.out_of_order), (1, 1));
    }

    proptest! {
        #[test]
        fn it_counts_as_plain_sets_do(
            pushed in proptest::collection::vec((1u64..40, 0usize..2, any::<bool>()), 0..120),
        ) {
            let mut ledger = Ledger::default();
            for &(number, source, accepted) in &pushed {
                let fate = if accepted { Fate::Accepted } else { Fate::Refused("r") };
                ledger.record(&text(["a", "b"][source], number), fate, 9);
            }
            for (index, source) in ["a", "b"].into_iter().enumerate() {
                let of = |accepted: bool| pushed.iter().filter(move |p| p.1 == index && p.2 == accepted).map(|p| p.0);
                let (mut seen, mut duplicated, mut late) = (BTreeSet::new(), 0, 0);
                for number in of(true) {
                    let greatest = seen.last().copied();
                    if !seen.insert(number) {
                        duplicated += 1;
                    } else if greatest.is_some_and(|greatest| number < greatest) {
                        late += 1;
                    }
                }
                let key = Key { source: source.to_owned(), stream: Stream::Out };
                let sequence = ledger.sequence(&key).cloned().unwrap_or_default();
                prop_assert_eq!((sequence.duplicated, sequence.out_of_order), (duplicated, late));
                let numbers = |set: &Intervals| set.runs().flat_map(|(a, b)| a..=b).collect::<BTreeSet<_>>();
                prop_assert_eq!(numbers(&sequence.accepted), seen);
                let refused = sequence.refused.get("r").cloned().unwrap_or_default();
                prop_assert_eq!(numbers(&refused), of(false).collect::<BTreeSet<_>>());
            }
        }
    }
}
