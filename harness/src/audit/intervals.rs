//! A set of numbers kept as runs. Lines are numbered from 1 without gaps, so what arrived of a stream is
//! one run as a rule: 48 hours of lines cost as much memory as the gaps between them.

use std::collections::BTreeMap;

/// A set of `u64`, exact, in memory proportional to the number of its runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intervals {
    /// First to last number of the greatest run, both inside. Apart from the others, since it is the one that
    /// grows, and as a rule the only one: it costs no allocation.
    greatest: Option<(u64, u64)>,
    /// The same of each run before it; runs never touch.
    others: BTreeMap<u64, u64>,
}

impl Intervals {
    /// Adds a number; says whether it was new.
    pub fn insert(&mut self, number: u64) -> bool {
        match self.greatest {
            Some((first, last)) if number > last => {
                let joins = last.checked_add(1) == Some(number);
                if !joins {
                    self.others.insert(first, last);
                }
                self.greatest = Some((if joins { first } else { number }, number));
                true
            }
            Some((first, _)) if number >= first => false,
            Some((first, last)) if number.checked_add(1) == Some(first) => {
                let before = self.others.last_entry().filter(|run| run.get().checked_add(1) == Some(number));
                self.greatest = Some((before.map_or(number, |run| run.remove_entry().0), last));
                true
            }
            Some(_) => self.insert_before(number),
            None => {
                self.greatest = Some((number, number));
                true
            }
        }
    }

    /// Of a number that neither lies in the greatest run nor touches it.
    fn insert_before(&mut self, number: u64) -> bool {
        let before = self.others.range(..=number).next_back().map(|(&first, &last)| (first, last));
        if before.is_some_and(|(_, last)| number <= last) {
            return false;
        }
        let joins_before = before.filter(|&(_, last)| last.checked_add(1) == Some(number));
        let joins_after = number.checked_add(1).and_then(|next| self.others.remove(&next));
        let first = joins_before.map_or(number, |(first, _)| first);
        self.others.insert(first, joins_after.unwrap_or(number));
        true
    }

    /// Adds all numbers of `first..=last`.
    pub fn insert_run(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        // For the moment the greatest is one of them.
        self.others.extend(self.greatest.take());
        let (mut from, mut to) = (first, last);
        // Whatever touches the new run becomes a part of it.
        while let Some((begin, end)) =
            self.others.range(..=to.saturating_add(1)).next_back().map(|(&begin, &end)| (begin, end))
            && end.saturating_add(1) >= from
        {
            self.others.remove(&begin);
            (from, to) = (from.min(begin), to.max(end));
        }
        self.others.insert(from, to);
        self.greatest = self.others.pop_last();
    }

    /// Whether the number is in the set.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        match self.greatest {
            Some((first, last)) if number >= first => number <= last,
            _ => self.others.range(..=number).next_back().is_some_and(|(_, &last)| number <= last),
        }
    }

    /// Whether adding the number makes no new run: it is in the set, or beside one that is.
    #[must_use]
    pub fn touches(&self, number: u64) -> bool {
        let around = [Some(number), number.checked_sub(1), number.checked_add(1)];
        around.into_iter().flatten().any(|number| self.contains(number))
    }

    /// The greatest number.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        self.greatest.map(|(_, last)| last)
    }

    /// How many runs there are: what it takes in memory.
    #[must_use]
    pub fn runs_count(&self) -> usize {
        self.others.len() + usize::from(self.greatest.is_some())
    }

    /// How many numbers there are (saturating: all of `u64` is one more than fits).
    #[must_use]
    pub fn count(&self) -> u64 {
        self.runs().map(|(first, last)| (last - first).saturating_add(1)).fold(0, u64::saturating_add)
    }

    /// How many of them lie in `first..=last`.
    #[must_use]
    pub fn count_within(&self, first: u64, last: u64) -> u64 {
        self.runs_within(first, last)
            .map(|(first, last)| (last - first).saturating_add(1))
            .fold(0, u64::saturating_add)
    }

    /// Its runs in order: first and last number, both inside.
    pub fn runs(&self) -> impl Iterator<Item = (u64, u64)> {
        self.others.iter().map(|(&first, &last)| (first, last)).chain(self.greatest)
    }

    /// Its runs, cut to `first..=last`.
    pub fn runs_within(&self, first: u64, last: u64) -> impl Iterator<Item = (u64, u64)> {
        let pair = |(&begin, &end): (&u64, &u64)| (begin, end);
        let reaching_in = self.others.range(..first).next_back().map(pair);
        // An empty stretch is no error here, but `BTreeMap::range` would panic on one.
        let inside = (first <= last).then(|| self.others.range(first..=last)).into_iter().flatten().map(pair);
        reaching_in
            .into_iter()
            .chain(inside)
            .chain(self.greatest)
            .filter(move |&(begin, end)| first <= last && begin <= last && end >= first)
            .map(move |(begin, end)| (begin.max(first), end.min(last)))
    }

    /// The runs of `first..=last` that are not in the set.
    #[must_use]
    pub fn gaps_within(&self, first: u64, last: u64) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut next = Some(first).filter(|&first| first <= last);
        for (begin, end) in self.runs_within(first, last) {
            if let Some(from) = next.filter(|&from| from < begin) {
                gaps.push((from, begin - 1));
            }
            next = end.checked_add(1).filter(|&after| after <= last);
        }
        gaps.extend(next.map(|from| (from, last)));
        gaps
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_in_order_are_one_run_whatever_their_count() {
        let mut set = Intervals::default();
        assert!((1..=100_000).all(|number| set.insert(number)));
        assert_eq!(set.runs().collect::<Vec<_>>(), [(1, 100_000)]);
    }

    #[test]
    fn the_ends_of_the_range_of_numbers_are_numbers_as_well() {
        let mut set = Intervals::default();
        assert!(set.insert(u64::MAX) && set.insert(0) && !set.insert(u64::MAX));
        assert_eq!(set.gaps_within(0, u64::MAX), [(1, u64::MAX - 1)]);
        assert_eq!(set.count(), 2);
    }

    proptest! {
        #[test]
        fn a_run_is_added_as_its_numbers_are(runs in proptest::collection::vec((0u64..50, 0u64..12), 0..20)) {
            let (mut whole, mut single) = (Intervals::default(), Intervals::default());
            for (first, length) in runs {
                whole.insert_run(first, first + length);
                (first..=first + length).for_each(|number| {
                    single.insert(number);
                });
                prop_assert_eq!(&whole, &single);
            }
        }

        #[test]
        fn it_answers_as_a_plain_set_does(
            numbers in proptest::collection::vec(0u64..60, 0..80), first in 0u64..70, last in 0u64..70,
        ) {
            let (mut set, mut model) = (Intervals::default(), BTreeSet::new());
            for &number in &numbers {
                prop_assert_eq!(set.insert(number), model.insert(number));
            }
            let inside = |number: &u64| (first..=last).contains(number);
            prop_assert_eq!(set.count(), model.len() as u64);
            prop_assert_eq!(set.max(), model.last().copied());
            prop_assert_eq!(set.runs_count(), set.runs().count());
            for number in 0..70 {
                let mut more = set.clone();
                more.insert(number);
                prop_assert!(more.runs_count() <= set.runs_count() + usize::from(!set.touches(number)));
                prop_assert_eq!(set.touches(number), more.runs_count() <= set.runs_count());
            }
            prop_assert_eq!(set.count_within(first, last), model.iter().filter(|n| inside(n)).count() as u64);
            prop_assert!((0..70).all(|number| set.contains(number) == model.contains(&number)));
            let missing: Vec<u64> = set.gaps_within(first, last).into_iter().flat_map(|(a, b)| a..=b).collect();
            prop_assert_eq!(missing, (first..=last).filter(|n| !model.contains(n)).collect::<Vec<_>>());
            let runs: Vec<_> = set.runs().collect();
            prop_assert!(runs.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "runs that touch: {:?}", runs);
        }
    }
}
