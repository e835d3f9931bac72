//! Who waits for a connection: first come first served, but for those that have stopped, who come before all others:
//! Docker may remove them, and their logs, at any moment.

use std::collections::VecDeque;

use crate::record::ContainerId;

/// Those who wait, each once.
#[derive(Debug, Default)]
pub(super) struct Queue {
    stopped: VecDeque<ContainerId>,
    running: VecDeque<ContainerId>,
}

impl Queue {
    /// Behind all others of its kind. One that stands in the queue already must leave it first.
    pub(super) fn push(&mut self, id: ContainerId, is_running: bool) {
        let line = if is_running { &mut self.running } else { &mut self.stopped };
        line.push_back(id);
    }

    /// Whose turn it is.
    pub(super) fn pop(&mut self) -> Option<ContainerId> {
        self.stopped.pop_front().or_else(|| self.running.pop_front())
    }

    pub(super) fn leave(&mut self, id: &ContainerId) {
        self.stopped.retain(|waiting| waiting != id);
        self.running.retain(|waiting| waiting != id);
    }

    pub(super) fn len(&self) -> usize {
        self.stopped.len() + self.running.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_have_stopped_come_first_and_each_kind_in_its_order() {
        let ids: Vec<ContainerId> =
            (0..5).map(|digit| ContainerId::parse(&digit.to_string().repeat(64)).unwrap()).collect();
        let mut queue = Queue::default();
        for (id, is_running) in ids.iter().zip([true, false, true, false, true]) {
            queue.push(id.clone(), is_running);
        }
        // One that waited has stopped meanwhile.
        queue.leave(&ids[2]);
        queue.push(ids[2].clone(), false);
        assert_eq!(queue.len(), 5);
        let order: Vec<ContainerId> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [1, 3, 2, 0, 4].map(|place: usize| ids[place].clone()));
        assert_eq!(queue.len(), 0);
    }
}
