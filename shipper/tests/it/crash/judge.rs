//! What a hundred kills must not have done.

use std::collections::{BTreeMap, HashMap, HashSet};

use shipper::delivery::checkpoint::{Checkpoint, Store};

use crate::crash::{IN_FLIGHT_MAX, World};
use crate::support::book::Stored;
use crate::support::docker_log;

/// What the kills left behind, and what it covers.
#[derive(Default)]
pub(super) struct Coverage {
    /// The life at whose end the checkpoint covered the line.
    since: HashMap<String, u32>,
    saved: Vec<Checkpoint>,
}

impl Coverage {
    /// Takes the checkpoint as the kill of this life left it.
    pub(super) async fn take(&mut self, world: &World) {
        let store = Store::open(&world.dir.path().join("state")).await.unwrap();
        self.saved.push(store.load(0).await.unwrap());
    }

    /// Looks up what the last one covers. Files that Docker has dropped since only make it less.
    pub(super) fn look_up(&mut self, world: &World) {
        let Some(last) = self.saved.last() else { return };
        let life = u32::try_from(self.saved.len()).unwrap() - 1;
        let ids = world.containers.lock().unwrap().clone();
        for (id, position) in last.containers.iter().filter(|(id, _)| ids.contains(id)) {
            for line in docker_log::covered(id, position) {
                self.since.entry(line).or_insert(life);
            }
        }
    }

    /// How many kills left another checkpoint than the one before.
    fn steps(&self) -> usize {
        self.saved.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }
}

pub(super) fn judge(world: &World, coverage: &Coverage, sure: &[String], perhaps: &[String]) {
    let tally = world.tally.lock().unwrap();
    let lost: Vec<_> = sure.iter().filter(|line| !tally.settled.contains(*line)).collect();
    let some: Vec<_> = lost.iter().take(20).collect();
    assert!(lost.is_empty(), "{} of {} lines are lost: {some:#?}", lost.len(), sure.len());
    let written: HashSet<&String> = sure.iter().chain(perhaps).collect();
    let invented: Vec<_> = tally.settled.iter().filter(|line| !written.contains(line)).collect();
    assert!(invented.is_empty(), "nobody has written {invented:#?}");
    world.sink.book(|book| {
        let mut again = 0;
        let mut under_way = HashMap::<u32, u64>::new();
        for (line, stored) in &book.lines {
            assert!(!stored.altered, "it came with other labels or another time: {line}");
            again += stored.arrivals.len() - 1;
            let lives = told(line, stored, coverage.since.get(line).copied());
            if !tally.dead.contains(line) {
                lives.iter().filter(|(_, told)| !**told).for_each(|(life, _)| *under_way.entry(*life).or_default() += 1);
            }
        }
        let most = under_way.values().copied().max().unwrap_or(0);
        assert!(most <= IN_FLIGHT_MAX, "a life had {most} lines under way, more than {IN_FLIGHT_MAX}");
        eprintln!(
            "{design} lines, {dead} in the dead letters, {again} repeated, at most {most} of {IN_FLIGHT_MAX} under way at a kill, {restarts} restarts, the checkpoint moved in {steps} lives; {acts:?}, {old} too old",
            design = sure.len(),
            dead = tally.dead.len(),
            restarts = tally.restarts,
            steps = coverage.steps(),
            acts = book.acts,
            old = book.too_old,
        );
        assert_eq!(book.acts.len(), 8, "{:?}", book.acts);
        assert!(book.too_old > 0 && !tally.dead.is_empty() && tally.restarts > 0);
    });
    assert!(coverage.steps() >= 5, "the checkpoint moved in {} lives only", coverage.steps());
    let after_the_end = sure.iter().filter(|line| !coverage.since.contains_key(*line)).count();
    assert!(after_the_end < sure.len(), "the last checkpoint covers nothing");
}

/// The lives that have stored the line, and whether they were told so.
fn told(line: &str, stored: &Stored, covered_since: Option<u32>) -> BTreeMap<u32, bool> {
    let mut lives = BTreeMap::new();
    for arrival in &stored.arrivals {
        let life: u32 = arrival.sender.parse().unwrap();
        let covered = covered_since.is_some_and(|since| since < life);
        assert!(
            !covered,
            "life {life} sent a line again that the checkpoint of life {covered_since:?} covers: {line}"
        );
        let told = lives.entry(life).or_insert(false);
        assert!(!*told, "life {life} sent a line again though it was told that it is stored: {line}");
        *told |= arrival.acknowledged;
    }
    lives
}
