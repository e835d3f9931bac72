//! What a push holds, however it is written. Pure.

use std::collections::HashMap;

use crate::batch::{Entry, Group};
use crate::labels::Labels;

/// The name under which a clamped line keeps its own time.
pub const CLAMPED_FROM: &str = "original_timestamp";
/// The name under which a line keeps its container.
pub const CONTAINER_ID: &str = "container_id";

/// One of Loki's streams: containers with the same labels share it. Its lines stand in the order of time,
/// because Loki measures each against the newest before it.
pub(super) struct Stream<'a> {
    pub(super) labels: &'a Labels,
    /// Each with the labels of its container.
    pub(super) entries: Vec<(&'a Entry, &'a Labels)>,
}

pub(super) fn streams(groups: &[Group]) -> Vec<Stream<'_>> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut streams: Vec<Stream<'_>> = Vec::new();
    for group in groups {
        let entries = group.entries.iter().map(|entry| (entry, &*group.labels));
        let place = *places.entry(&group.labels.text).or_insert(streams.len());
        match streams.get_mut(place) {
            None => streams.push(Stream { labels: &group.labels, entries: entries.collect() }),
            Some(stream) => {
                stream.entries.extend(entries);
                stream.entries.sort_by_key(|(entry, _)| entry.time_ns);
            }
        }
    }
    streams
}
