//! Who is counted: the process alone, or all that descend from it, found anew at each look.

use std::collections::{BTreeMap, BTreeSet};

use crate::sample::process::{self, Reading, Tree};

/// Names that one event tells.
const NAMED_MAX: usize = 8;

/// The process, and with `--children` all that descend from it.
#[derive(Debug)]
pub(super) struct Family {
    with_children: bool,
    /// By id and by when it started: an id alone may be another's by now.
    members: Option<BTreeMap<(u32, u64), String>>,
    /// Those that had ended by the last look, and were not waited for.
    unwaited: BTreeSet<(u32, u64)>,
    counted: Counted,
}

/// What became of its descendants, so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counted {
    first: usize,
    most: usize,
    now: usize,
    came: usize,
    went: usize,
    unwaited: usize,
}

/// What one look shows.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Who is counted.
    pub(super) pids: Vec<u32>,
    /// Their counts together; `None` where the process is gone.
    pub(super) reading: Option<Reading>,
    /// What happened to its descendants since the last look, in words.
    pub(super) events: Vec<String>,
}

impl Family {
    pub(super) fn new(with_children: bool) -> Self {
        Self { with_children, members: None, unwaited: BTreeSet::new(), counted: Counted::default() }
    }

    /// Looks once.
    pub(super) fn look(&mut self, root: u32) -> Look {
        if !self.with_children {
            return Look { pids: vec![root], reading: process::read(root).ok(), events: Vec::new() };
        }
        let Ok(tree) = process::tree(root) else { return Look::default() };
        let lives_elsewhere =
            |(pid, started): (u32, u64)| process::started_ticks(pid).is_ok_and(|ticks| ticks == started);
        let events = self.changed(root, &tree, lives_elsewhere);
        Look { pids: tree.living.keys().copied().collect(), reading: Some(tree.reading()), events }
    }

    fn changed(
        &mut self,
        root: u32,
        tree: &Tree,
        lives_elsewhere: impl Fn((u32, u64)) -> bool,
    ) -> Vec<String> {
        let descendants = tree.living.iter().filter(|(pid, _)| **pid != root);
        let now: BTreeMap<(u32, u64), String> =
            descendants.map(|(pid, stat)| ((*pid, stat.starttime), process::name_of(stat))).collect();
        let unwaited: BTreeSet<(u32, u64)> =
            tree.unwaited.iter().map(|(pid, stat)| (*pid, stat.starttime)).collect();
        // Whoever is there at two looks is not about to be waited for.
        self.counted.unwaited = unwaited.intersection(&self.unwaited).count();
        self.unwaited = unwaited;
        self.counted.now = now.len();
        self.counted.most = self.counted.most.max(now.len());
        let Some(before) = self.members.replace(now.clone()) else {
            self.counted.first = now.len();
            return told("at the start", now.iter()).into_iter().collect();
        };
        let gone = || before.iter().filter(|(member, _)| !now.contains_key(member));
        let (left, ended): (Vec<_>, Vec<_>) = gone().partition(|(member, _)| lives_elsewhere(**member));
        let came = || now.iter().filter(|(member, _)| !before.contains_key(member));
        self.counted.came += came().count();
        self.counted.went += ended.len() + left.len();
        let events = [
            told("appeared", came()),
            told("ended", ended.into_iter()),
            told("left, as its parent ended", left.into_iter()),
        ];
        events.into_iter().flatten().collect()
    }

    /// What became of them, in words; `None` where nobody asked.
    pub(super) fn said(&self) -> Option<String> {
        let Counted { first, most, now, came, went, unwaited } = self.counted;
        self.members.as_ref()?;
        let unwaited = match unwaited {
            0 => String::new(),
            count => format!("; {count} more have ended and were not waited for"),
        };
        Some(format!(
            "children: {first} at the start, {came} came and {went} went, at most {most} at once, {now} at the end{unwaited}"
        ))
    }
}

fn told<'a>(
    what: &str,
    members: impl Iterator<Item = (&'a (u32, u64), &'a String)> + Clone,
) -> Option<String> {
    let more = members.clone().count().saturating_sub(NAMED_MAX);
    let named: Vec<String> =
        members.take(NAMED_MAX).map(|((pid, _), name)| format!("{pid} {name}")).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!named.is_empty()).then(|| format!("{what}: {}{more}", named.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(members: &[u32], unwaited: &[u32]) -> Tree {
        let like = process::stat(std::process::id()).unwrap();
        let stat = |pid: &u32| {
            let mut stat = like.clone();
            (stat.starttime, stat.comm) = (7, format!("p{pid}"));
            (*pid, stat)
        };
        Tree { living: members.iter().map(stat).collect(), unwaited: unwaited.iter().map(stat).collect() }
    }

    #[test]
    fn who_comes_ends_and_leaves_is_told_and_counted() {
        let mut family = Family::new(true);
        let mut see =
            |members: &[u32], unwaited| family.changed(1, &tree(members, unwaited), |(pid, _)| pid == 4);
        assert_eq!(see(&[1, 2], &[]), ["at the start: 2 p2"]);
        assert_eq!(see(&[1, 2], &[]), [""; 0]);
        assert_eq!(see(&[1, 3, 4], &[7, 8]), ["appeared: 3 p3, 4 p4", "ended: 2 p2"]);
        assert_eq!(see(&[1, 3], &[7, 8, 9]), ["left, as its parent ended: 4 p4"]);
        let said = family.said().unwrap();
        let words =
            "children: 1 at the start, 2 came and 2 went, at most 2 at once, 1 at the end; 2 more have ended";
        assert!(said.starts_with(words), "{said}");
    }

    #[test]
    fn a_crowd_is_one_event() {
        let mut family = Family::new(true);
        let crowd: Vec<u32> = (1..=500).collect();
        family.changed(1, &tree(&[1], &[]), |_| false);
        let events = family.changed(1, &tree(&crowd, &[]), |_| false);
        assert_eq!(events, ["appeared: 2 p2, 3 p3, 4 p4, 5 p5, 6 p6, 7 p7, 8 p8, 9 p9 and 491 more"]);
    }

    #[test]
    fn a_process_alone_has_no_family() {
        let mut family = Family::new(false);
        let look = family.look(std::process::id());
        assert_eq!((look.pids, look.events), (vec![std::process::id()], Vec::new()));
        assert!(look.reading.is_some() && family.said().is_none());
        assert!(Family::new(true).look(u32::MAX).reading.is_none());
    }
}
