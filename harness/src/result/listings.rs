//! What there was by kind, as it is read back: of each target the moments, and of each kind only how its count changed.
//! Most kinds hardly do, so that two days of listings take little memory.

use std::collections::BTreeMap;

use super::{KindCount, Resource};

/// Every file by kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listings {
    /// `tasks.csv`.
    pub tasks: Listing,
    /// `threads.csv`.
    pub threads: Listing,
    /// `fds.csv`.
    pub fds: Listing,
    /// `watches.csv`.
    pub watches: Listing,
    /// `memory.csv`: bytes that are mapped.
    pub memory: Listing,
    /// The same as far as they are in memory.
    pub resident: Listing,
}

impl Listings {
    /// Those of one resource.
    #[must_use]
    pub fn of(&self, resource: Resource) -> &Listing {
        match resource {
            Resource::Tasks => &self.tasks,
            Resource::Threads => &self.threads,
            Resource::Fds => &self.fds,
        }
    }
}

/// One file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    targets: BTreeMap<String, OfTarget>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct OfTarget {
    moments: Vec<f64>,
    kinds: BTreeMap<String, Steps>,
}

/// A count that holds until the next step; `None` from where on there was none.
#[derive(Clone, Debug, Default, PartialEq)]
struct Steps {
    steps: Vec<(u32, Option<u64>)>,
    /// The last moment at which it was listed.
    last: u32,
}

/// The counts of each kind of one target over a stretch, moment by moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// Seconds since the run's start.
    pub moments: Vec<f64>,
    /// As many counts of each kind, 0 where it was not listed; kinds that were never listed are left out.
    pub kinds: BTreeMap<String, Vec<u64>>,
}

impl Listing {
    /// Takes a row, which is of the last moment or a later one.
    pub fn push(&mut self, row: &KindCount) {
        if !self.targets.contains_key(&row.target) {
            self.targets.insert(row.target.clone(), OfTarget::default());
        }
        if let Some(target) = self.targets.get_mut(&row.target) {
            target.push(row);
        }
    }

    /// The counts of one target, both ends of the stretch included.
    #[must_use]
    pub fn counts(&self, target: &str, (from_s, to_s): (f64, f64)) -> Counts {
        let Some(of) = self.targets.get(target) else { return Counts::default() };
        let from = of.moments.partition_point(|at| *at < from_s);
        let to = of.moments.partition_point(|at| *at <= to_s).max(from);
        let moments = of.moments.get(from..to).unwrap_or_default().to_vec();
        let kinds = of.kinds.iter().filter_map(|(kind, steps)| Some((kind.clone(), steps.counts(from, to)?)));
        Counts { moments, kinds: kinds.collect() }
    }

    /// The same with the kinds alone that are wanted.
    #[must_use]
    pub fn only(&self, wanted: impl Fn(&str) -> bool) -> Self {
        let mut listing = self.clone();
        listing.targets.values_mut().for_each(|target| target.kinds.retain(|kind, _| wanted(kind)));
        listing
    }

    /// All kinds of one target together, moment by moment.
    #[must_use]
    pub fn sums(&self, target: &str) -> Vec<(f64, u64)> {
        let Counts { moments, kinds } = self.counts(target, (f64::NEG_INFINITY, f64::INFINITY));
        let sum = |at: usize| kinds.values().filter_map(|counts| counts.get(at)).sum();
        moments.iter().enumerate().map(|(at, moment)| (*moment, sum(at))).collect()
    }
}

impl FromIterator<KindCount> for Listing {
    fn from_iter<T: IntoIterator<Item = KindCount>>(rows: T) -> Self {
        let mut listing = Self::default();
        rows.into_iter().for_each(|row| listing.push(&row));
        listing
    }
}

impl OfTarget {
    fn push(&mut self, row: &KindCount) {
        if self.moments.last().is_none_or(|last| *last < row.elapsed_s) {
            self.moments.push(row.elapsed_s);
        }
        let at = u32::try_from(self.moments.len() - 1).unwrap_or(u32::MAX);
        match self.kinds.get_mut(&row.kind) {
            Some(steps) => steps.push(at, row.count),
            None => {
                let first = Steps { steps: vec![(at, Some(row.count))], last: at };
                self.kinds.insert(row.kind.clone(), first);
            }
        }
    }
}

impl Steps {
    fn push(&mut self, at: u32, count: u64) {
        let (from, held) = self.steps.last().copied().unwrap_or((at, None));
        // Two rows of one kind at one moment are one.
        let count = if self.last == at { held.unwrap_or(0) + count } else { count };
        if self.last == at && from == at {
            self.steps.pop();
        } else if self.last + 1 < at {
            self.steps.push((self.last + 1, None));
        }
        if self.steps.last().is_none_or(|(_, held)| *held != Some(count)) {
            self.steps.push((at, Some(count)));
        }
        self.last = at;
    }

    /// The counts from one moment to before another; `None` where it was listed at none of them.
    fn counts(&self, from: usize, to: usize) -> Option<Vec<u64>> {
        let mut counts = vec![0; to - from];
        let mut listed = false;
        let end = self.last as usize + 1;
        let ends = self.steps.iter().skip(1).map(|(at, _)| *at as usize).chain([end]);
        for ((at, count), until) in self.steps.iter().zip(ends) {
            let within = (*at as usize).clamp(from, to) - from..until.clamp(from, to) - from;
            let (Some(count), Some(places)) = (count, counts.get_mut(within)) else { continue };
            listed |= !places.is_empty();
            places.fill(*count);
        }
        listed.then_some(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALWAYS: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

    fn row(elapsed_s: f64, kind: &str, count: u64) -> KindCount {
        KindCount { elapsed_s, target: "t".into(), kind: kind.into(), count }
    }

    #[test]
    fn what_comes_goes_changes_and_stays_is_read_back() {
        let [a, b] = [
            [Some(2), Some(2), Some(5), None, None, Some(5)],
            [None, Some(0), None, Some(7), Some(7), Some(8)],
        ];
        let rows = (0..6).flat_map(|at| {
            let moment = at as f64 * 10.0;
            [a[at].map(|count| row(moment, "a", count)), b[at].map(|count| row(moment, "b", count))]
        });
        let listing: Listing = rows.flatten().collect();
        let counts = listing.counts("t", ALWAYS);
        assert_eq!(counts.moments, [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        assert_eq!(counts.kinds["a"], a.map(Option::unwrap_or_default));
        assert_eq!(counts.kinds["b"], b.map(Option::unwrap_or_default));
        let middle = listing.counts("t", (30.0, 45.0));
        assert_eq!((middle.moments.as_slice(), middle.kinds.len()), ([30.0, 40.0].as_slice(), 1), "no a");
        assert_eq!(middle.kinds["b"], [7, 7]);
        assert_eq!(listing.counts("t", (10.0, 10.0)).kinds["b"], [0], "listed, and none");
        assert_eq!(listing.counts("u", ALWAYS), Counts::default());
        let sums: Vec<u64> = listing.sums("t").into_iter().map(|(_, sum)| sum).collect();
        assert_eq!(sums, [2, 2, 5, 7, 7, 13]);
        assert_eq!(listing.only(|kind| kind == "a").sums("t")[4], (40.0, 0));
    }

    #[test]
    fn rows_of_one_kind_at_one_moment_are_added_up() {
        let rows = [row(0.0, "a", 1), row(0.0, "a", 2), row(1.0, "a", 3), row(1.0, "a", 4), row(2.0, "a", 7)];
        let listing: Listing = rows.into_iter().collect();
        assert_eq!(listing.counts("t", ALWAYS).kinds["a"], [3, 7, 7]);
        assert_eq!(listing.targets["t"].kinds["a"].steps.len(), 2);
    }
}
