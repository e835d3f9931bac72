//! How many streams there are at a time: each is a cost to Loki, and a bound there, which refuses what is one
//! more. So whoever would be one more joins a stream that is there for all of them. Pure.

use std::collections::HashMap;

use super::Labels;

/// The streams of the containers that are there.
#[derive(Debug)]
pub struct Streams {
    max: usize,
    /// How many outputs of containers go to each, by its labels as Loki writes them.
    writers: HashMap<String, usize>,
}

impl Streams {
    /// None yet.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max, writers: HashMap::new() }
    }

    /// Whether a container may write to this stream; if so it does from now on. Containers with the same labels
    /// share one.
    pub fn join(&mut self, labels: &Labels) -> bool {
        let has_room = self.writers.len() < self.max;
        match self.writers.get_mut(&labels.text) {
            Some(writers) => *writers += 1,
            None if has_room => drop(self.writers.insert(labels.text.clone(), 1)),
            None => return false,
        }
        true
    }

    /// One that has joined writes to it no more.
    pub fn leave(&mut self, labels: &Labels) {
        if let Some(writers) = self.writers.get_mut(&labels.text) {
            *writers -= 1;
            if *writers == 0 {
                self.writers.remove(&labels.text);
            }
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writers.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn labels(value: &str) -> Arc<Labels> {
        Labels::restored([("container".to_owned(), value.to_owned())].into(), "0a".to_owned())
    }

    #[test]
    fn as_many_as_may_be_and_who_has_left_makes_room() {
        let mut streams = Streams::new(2);
        assert!(streams.join(&labels("a")) && streams.join(&labels("b")));
        let other_container =
            Labels::restored([("container".to_owned(), "a".to_owned())].into(), "0b".to_owned());
        assert!(
            !streams.join(&labels("c")) && streams.join(&other_container),
            "its labels are there already"
        );
        streams.leave(&labels("a"));
        assert!(!streams.join(&labels("c")), "one still writes to a");
        streams.leave(&labels("a"));
        streams.leave(&labels("a"));
        assert!(streams.join(&labels("c")));
        assert_eq!(streams.len(), 2);
    }
}
