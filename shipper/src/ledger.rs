//! Which positions may be committed. Each item of a container gets the next number when it enters the
//! pipeline ([`Numbering`]); delivery settles the numbers in any order ([`Ledger`]); the committed
//! position follows the contiguous prefix of what is settled. So a crash may repeat lines, never skip one.
//!
//! Both halves need no lock between them, because the numbers have no gaps. What is settled out of order is
//! kept as runs, each between two items that are not settled; so it is bounded by what is in flight, also
//! while one batch waits for an hour and a million lines pass it.

use std::collections::{BTreeMap, HashMap};

use crate::record::{ContainerId, Position};

/// An item's number within one life of one container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    life: u64,
    sequence: u64,
}

impl Ticket {
    /// Tells one container from another (and from itself, should it come back after it was gone).
    #[must_use]
    pub fn life(self) -> u64 {
        self.life
    }

    /// Whether this is the number behind `before`.
    #[must_use]
    pub fn follows(self, before: Self) -> bool {
        self.life == before.life && self.sequence == before.sequence + 1
    }
}

/// Gives out the tickets of one container.
#[derive(Debug)]
pub struct Numbering {
    life: u64,
    next: u64,
}

impl Numbering {
    /// `life` must be new.
    #[must_use]
    pub fn new(life: u64) -> Self {
        Self { life, next: 0 }
    }

    /// The next ticket.
    pub fn take(&mut self) -> Ticket {
        let sequence = self.next;
        self.next += 1;
        Ticket { life: self.life, sequence }
    }

    /// The next so many.
    pub fn take_many(&mut self, tickets: u64) -> impl Iterator<Item = Ticket> + use<> {
        let (life, first) = (self.life, self.next);
        self.next += tickets;
        (first..self.next).map(move |sequence| Ticket { life, sequence })
    }
}

/// An item that needs no more work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Its number.
    pub ticket: Ticket,
    /// Whose it is.
    pub container: ContainerId,
    /// What it was.
    pub what: What,
}

/// What a settled item stood for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A line, or a stretch without one: go on behind it.
    Read(Position),
    /// The container is gone: nothing follows.
    Gone,
}

#[derive(Debug)]
struct Life {
    next: u64,
    /// Runs of settled items by their first number. No two touch, and none begins at `next`.
    ahead: BTreeMap<u64, Run>,
}

#[derive(Debug)]
struct Run {
    /// The number behind its last.
    end: u64,
    /// What its last item was: the positions before it are of no use any more.
    last: What,
}

impl Life {
    fn is_gone(&self) -> bool {
        self.ahead.values().any(|run| run.last == What::Gone)
    }

    fn keep(&mut self, first: u64, run: Run) {
        let run = self.ahead.remove(&run.end).unwrap_or(run);
        match self.ahead.range_mut(..first).next_back() {
            Some((_, before)) if before.end == first => *before = run,
            _ => drop(self.ahead.insert(first, run)),
        }
    }
}

/// A change to the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Go on here.
    Position(Position),
    /// Forget the container.
    Remove,
}

/// The settled prefix of each container.
#[derive(Debug, Default)]
pub struct Ledger {
    lives: HashMap<u64, Life>,
}

impl Ledger {
    /// Notes one settled item; says what may be committed because of it, if anything.
    pub fn settle(&mut self, settled: Settled) -> Option<Commit> {
        self.settle_run(settled.ticket, 1, settled.what)
    }

    /// Notes so many settled items in a row; `last` is what the last of them was. Says what may be committed
    /// because of them, if anything.
    pub fn settle_run(&mut self, first: Ticket, items: u64, last: What) -> Option<Commit> {
        let number = first.life;
        let life = self.lives.entry(number).or_insert_with(|| Life { next: 0, ahead: BTreeMap::new() });
        let run = Run { end: first.sequence + items, last };
        if first.sequence != life.next {
            life.keep(first.sequence, run);
            return None;
        }
        let run = life.ahead.remove(&run.end).unwrap_or(run);
        life.next = run.end;
        match run.last {
            What::Read(position) => Some(Commit::Position(position)),
            What::Gone => {
                self.lives.remove(&number);
                Some(Commit::Remove)
            }
        }
    }

    /// How many containers are gone and still have lines unsettled: nobody can read those lines again.
    #[must_use]
    pub fn gone_unsettled(&self) -> usize {
        self.lives.values().filter(|life| life.is_gone()).count()
    }

    /// Whether this line is of one of those.
    #[must_use]
    pub fn is_gone(&self, ticket: Ticket) -> bool {
        self.lives.get(&ticket.life).is_some_and(Life::is_gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settled(ticket: Ticket, what: What) -> Settled {
        Settled { ticket, container: ContainerId::parse(&"b".repeat(64)).unwrap(), what }
    }

    fn at(place: u64) -> Position {
        Position::Api { time_ns: i64::try_from(place).unwrap(), seen: 1 }
    }

    #[test]
    fn a_container_that_is_gone_is_forgotten_only_when_all_is_settled() {
        let mut numbers = Numbering::new(1);
        let mut ledger = Ledger::default();
        let (line, gone) = (numbers.take(), numbers.take());
        assert_eq!(ledger.settle(settled(gone, What::Gone)), None);
        assert_eq!(ledger.gone_unsettled(), 1);
        assert!(ledger.is_gone(line) && !ledger.is_gone(Numbering::new(2).take()));
        assert_eq!(ledger.settle(settled(line, What::Read(at(0)))), Some(Commit::Remove));
        assert_eq!(ledger.gone_unsettled(), 0);
        assert!(ledger.lives.is_empty());
    }

    #[test]
    fn what_passes_a_line_that_waits_takes_no_more_room_the_longer_it_waits() {
        let mut numbers = Numbering::new(1);
        let mut ledger = Ledger::default();
        let first = numbers.take();
        for place in 1..1000 {
            if place == 500 {
                numbers.take(); // waits too
            }
            assert_eq!(ledger.settle(settled(numbers.take(), What::Read(at(place)))), None);
            assert!(ledger.lives[&1].ahead.len() <= 2);
        }
        assert_eq!(ledger.settle(settled(first, What::Read(at(0)))), Some(Commit::Position(at(499))));
    }

    proptest! {
        #[test]
        fn runs_come_to_the_same_as_their_items_one_by_one(
            runs in prop::collection::vec((1..5_usize, any::<u32>()), 1..12),
        ) {
            let mut numbers = Numbering::new(7);
            let mut runs: Vec<(u32, Vec<Ticket>)> = runs
                .into_iter()
                .map(|(length, when)| (when, std::iter::repeat_with(|| numbers.take()).take(length).collect()))
                .collect();
            runs.sort_by_key(|(when, _)| *when);
            let (mut whole, mut single) = (Ledger::default(), Ledger::default());
            for (_, run) in runs {
                let what = |ticket: &Ticket| What::Read(at(ticket.sequence));
                let commit = whole.settle_run(run[0], run.len() as u64, what(run.last().unwrap()));
                let commits = run.iter().filter_map(|ticket| single.settle(settled(*ticket, what(ticket))));
                prop_assert_eq!(commit, commits.last());
            }
        }

        #[test]
        fn in_any_order_the_committed_position_never_passes_an_unsettled_line(
            order in Just((0..40_u64).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let mut numbers = Numbering::new(7);
            let tickets: Vec<Ticket> = order.iter().map(|_| numbers.take()).collect();
            let mut ledger = Ledger::default();
            let mut done = [false; 40];
            let mut committed = None;
            for place in order {
                let place = usize::try_from(place).unwrap();
                done[place] = true;
                let what = What::Read(at(tickets[place].sequence));
                if let Some(commit) = ledger.settle(settled(tickets[place], what)) {
                    committed = Some(commit);
                }
                let prefix = done.iter().take_while(|done| **done).count();
                let expected = (prefix > 0).then(|| Commit::Position(at(prefix as u64 - 1)));
                prop_assert_eq!(&committed, &expected);
            }
        }
    }
}
