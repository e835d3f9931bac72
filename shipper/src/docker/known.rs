//! Which containers there are: events and listings merged into changes. Pure.
//!
//! Docker loses events silently (a listener that is slow for 100 ms misses some; a new one gets the last
//! 256), so a listing from time to time is the truth and events are only the fast way to learn of it.
//! Both say things twice and late; every step here is idempotent.
//!
//! | | unknown | stopped | running |
//! | --- | --- | --- | --- |
//! | start | look | look | - |
//! | die | look, stop | - | stop |
//! | destroy | - | remove | remove |
//! | rename | - | look again | look again |
//! | listed running | look | look | - |
//! | listed stopped | look, stop | - | stop |
//! | not listed | - | remove | remove |

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::record::{Container, ContainerId};

/// Whether a container was made before the shipper began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Born {
    /// It may have history that nobody asked for: the start policy decides (post-mortem #1).
    BeforeUs,
    /// All it ever wrote is ours.
    AfterUs,
}

impl Born {
    /// A container without a readable time of creation is taken for an old one: to replay history is the
    /// worse mistake.
    #[must_use]
    pub fn of(created_ns: Option<i64>, started_ns: i64) -> Self {
        if created_ns.is_some_and(|created| created >= started_ns) { Self::AfterUs } else { Self::BeforeUs }
    }
}

/// What the sources are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It runs (again), or has run: its log is to be read.
    Started {
        /// What is known of it.
        container: Arc<Container>,
        /// Whether it is older than the shipper.
        born: Born,
    },
    /// It has stopped: its log ends here until it starts again.
    Stopped(ContainerId),
    /// It has another name now.
    Renamed(Arc<Container>),
    /// Docker has deleted it and its log.
    Removed(ContainerId),
}

/// What happened to a container, as far as it matters to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It started.
    Start,
    /// It ended.
    Stop,
    /// It was deleted.
    Destroy,
    /// It got another name.
    Rename,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Of which container.
    pub id: ContainerId,
    /// What happened.
    pub action: Action,
    /// When, in nanoseconds since the epoch.
    pub time_ns: i64,
}

/// One row of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Which container.
    pub id: ContainerId,
    /// Whether it runs.
    pub running: bool,
    /// Its name without the slash.
    pub name: String,
}

/// What discovery has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask Docker about it, and tell that it started.
    Start(ContainerId),
    /// Tell that it stopped.
    Stop(ContainerId),
    /// Ask Docker about it anew, and tell its new name.
    Rename(ContainerId),
    /// Tell that it is gone.
    Remove(ContainerId),
}

/// The containers that we know of. As many as Docker has: those that it no longer lists go.
#[derive(Debug, Default)]
pub struct Known {
    containers: HashMap<ContainerId, State>,
}

#[derive(Debug)]
struct State {
    running: bool,
    /// `None` until a listing or an inspection tells it.
    name: Option<String>,
}

impl Known {
    /// What follows from an event.
    pub fn hear(&mut self, event: &Event) -> Vec<Step> {
        match event.action {
            Action::Start => self.observe(&event.id, true),
            Action::Stop => self.observe(&event.id, false),
            Action::Destroy => self.remove(&event.id),
            Action::Rename if self.containers.contains_key(&event.id) => vec![Step::Rename(event.id.clone())],
            Action::Rename => Vec::new(),
        }
    }

    /// What follows from a whole listing.
    pub fn compare(&mut self, listing: &[Listed]) -> Vec<Step> {
        let listed: HashSet<&ContainerId> = listing.iter().map(|row| &row.id).collect();
        let gone: Vec<ContainerId> =
            self.containers.keys().filter(|id| !listed.contains(id)).cloned().collect();
        let mut steps: Vec<Step> = gone.iter().flat_map(|id| self.remove(id)).collect();
        for row in listing {
            steps.extend(self.observe(&row.id, row.running));
            steps.extend(self.compare_name(row));
        }
        steps
    }

    /// Docker could not tell anything about this one: the next listing brings it again, if it is there.
    pub fn forget(&mut self, id: &ContainerId) {
        self.containers.remove(id);
    }

    /// An inspection told its name.
    pub fn name(&mut self, container: &Container) {
        if let Some(state) = self.containers.get_mut(&container.id) {
            state.name = Some(container.name.clone());
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.containers.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty()
    }

    fn observe(&mut self, id: &ContainerId, running: bool) -> Vec<Step> {
        let state = State { running, name: None };
        match self.containers.get_mut(id) {
            // Also one that has stopped already has a log that was not read yet.
            None if running => {
                self.containers.insert(id.clone(), state);
                vec![Step::Start(id.clone())]
            }
            None => {
                self.containers.insert(id.clone(), state);
                vec![Step::Start(id.clone()), Step::Stop(id.clone())]
            }
            Some(state) if state.running == running => Vec::new(),
            Some(state) => {
                state.running = running;
                vec![if running { Step::Start(id.clone()) } else { Step::Stop(id.clone()) }]
            }
        }
    }

    fn remove(&mut self, id: &ContainerId) -> Vec<Step> {
        self.containers.remove(id).map(|_| Step::Remove(id.clone())).into_iter().collect()
    }

    /// A rename whose event was lost.
    fn compare_name(&mut self, row: &Listed) -> Option<Step> {
        let state = self.containers.get_mut(&row.id)?;
        let before = state.name.replace(row.name.clone())?;
        (before != row.name).then(|| Step::Rename(row.id.clone()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(digit: u8) -> ContainerId {
        ContainerId::parse(&format!("{digit:064x}")).unwrap()
    }

    fn event(digit: u8, action: Action) -> Event {
        Event { id: id(digit), action, time_ns: 0 }
    }

    fn listed(digit: u8, running: bool, name: &str) -> Listed {
        Listed { id: id(digit), running, name: name.to_owned() }
    }

    #[test]
    fn an_event_that_the_listing_has_told_already_changes_nothing() {
        let mut known = Known::default();
        assert_eq!(known.compare(&[listed(1, true, "a")]), [Step::Start(id(1))]);
        assert_eq!(known.hear(&event(1, Action::Start)), []);
        assert_eq!(known.compare(&[listed(1, true, "a")]), []);
    }

    #[test]
    fn a_container_that_died_before_we_heard_of_it_is_still_read() {
        let mut known = Known::default();
        assert_eq!(known.hear(&event(1, Action::Stop)), [Step::Start(id(1)), Step::Stop(id(1))]);
        assert_eq!(known.compare(&[listed(2, false, "b")])[1..], [Step::Start(id(2)), Step::Stop(id(2))]);
    }

    #[test]
    fn a_lost_destroy_or_rename_is_found_by_the_next_listing() {
        let mut known = Known::default();
        known.compare(&[listed(1, true, "a"), listed(2, true, "b")]);
        assert_eq!(known.compare(&[listed(2, true, "c")]), [Step::Remove(id(1)), Step::Rename(id(2))]);
        assert_eq!(known.len(), 1);
        assert_eq!(known.hear(&event(1, Action::Destroy)), []);
    }

    #[test]
    fn a_restart_is_told_as_stop_and_start() {
        let mut known = Known::default();
        known.hear(&event(1, Action::Start));
        assert_eq!(known.hear(&event(1, Action::Stop)), [Step::Stop(id(1))]);
        assert_eq!(known.hear(&event(1, Action::Start)), [Step::Start(id(1))]);
    }

    #[test]
    fn without_a_time_of_creation_a_container_is_old() {
        assert_eq!(Born::of(None, 5), Born::BeforeUs);
        assert_eq!(Born::of(Some(4), 5), Born::BeforeUs);
        assert_eq!(Born::of(Some(5), 5), Born::AfterUs);
    }

    proptest! {
        #[test]
        fn whatever_was_heard_a_listing_brings_the_told_state_to_the_truth(
            heard in prop::collection::vec((0u8..4, 0u8..4), 0..30),
            truth in prop::collection::btree_map(0u8..4, any::<bool>(), 0..4),
        ) {
            let mut known = Known::default();
            let mut told: HashMap<ContainerId, bool> = HashMap::new();
            let mut steps = Vec::new();
            for (digit, action) in heard {
                let action = [Action::Start, Action::Stop, Action::Destroy, Action::Rename][usize::from(action)];
                steps.extend(known.hear(&event(digit, action)));
            }
            let listing: Vec<_> = truth.iter().map(|(digit, running)| listed(*digit, *running, "n")).collect();
            steps.extend(known.compare(&listing));
            for step in steps {
                match step {
                    Step::Start(id) => { prop_assert_ne!(told.insert(id, true), Some(true)); }
                    Step::Stop(id) => { prop_assert_eq!(told.insert(id, false), Some(true)); }
                    Step::Remove(id) => { prop_assert!(told.remove(&id).is_some()); }
                    Step::Rename(id) => { prop_assert!(told.contains_key(&id)); }
                }
            }
            let truth: HashMap<_, _> = truth.into_iter().map(|(digit, running)| (id(digit), running)).collect();
            prop_assert_eq!(told, truth);
        }
    }
}
