//! `GET /events`: what happened to containers, kept for a while and told to whoever listens.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::filters::Filters;

/// Docker's own number (moby, `daemon/events`, `eventsLimit`).
const KEPT: usize = 256;
/// Whoever falls behind by more is cut off, and asks anew since the last that it saw.
const BEHIND_MAX: usize = 16 * 1024;

/// Something that happened to a container.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) action: &'static str,
    pub(super) id: String,
    pub(super) image: String,
    /// The container's name and labels, and what belongs to the action.
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) time: Timestamp,
}

impl Event {
    /// As the API shows it, and a newline.
    pub(super) fn json(&self) -> Vec<u8> {
        let nanos = i64::try_from(self.time.as_nanosecond()).unwrap_or(i64::MAX);
        let body: Value = json!({
            "status": self.action,
            "id": self.id,
            "from": self.image,
            "Type": "container",
            "Action": self.action,
            "Actor": { "ID": self.id, "Attributes": self.attributes },
            "scope": "local",
            "time": self.time.as_second(),
            "timeNano": nanos,
        });
        let mut text = body.to_string().into_bytes();
        text.push(b'\n');
        text
    }

    /// Whether a client that filters so wants it.
    pub(super) fn is_wanted(&self, filters: &Filters) -> bool {
        let name = self.attributes.get("name").map_or("", String::as_str);
        filters.any_of("type", |kind| kind == "container")
            && filters.any_of("event", |action| action == self.action)
            && filters.any_of("image", |image| image == self.image)
            && filters.any_of("container", |wanted| {
                wanted == name || (!wanted.is_empty() && self.id.starts_with(wanted))
            })
            && filters.labels(&self.attributes)
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Events {
    past: Mutex<VecDeque<Arc<Event>>>,
    live: broadcast::Sender<Arc<Event>>,
}

impl Default for Events {
    fn default() -> Self {
        Self { past: Mutex::default(), live: broadcast::Sender::new(BEHIND_MAX) }
    }
}

impl Events {
    pub(super) fn tell(&self, event: Event) {
        let event = Arc::new(event);
        let mut past = self.past();
        if past.len() == KEPT {
            past.pop_front();
        }
        past.push_back(Arc::clone(&event));
        // Nobody may be listening.
        drop(self.live.send(event));
    }

    /// Those that were kept since `since`, and those to come: none is missed or told twice.
    pub(super) fn listen(
        &self,
        since: Option<Timestamp>,
    ) -> (Vec<Arc<Event>>, broadcast::Receiver<Arc<Event>>) {
        let past = self.past();
        let kept = since.map(|since| past.iter().filter(|event| event.time >= since).cloned().collect());
        (kept.unwrap_or_default(), self.live.subscribe())
    }

    fn past(&self) -> MutexGuard<'_, VecDeque<Arc<Event>>> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(action: &'static str, second: i64) -> Event {
        Event {
            action,
            id: "abc123".to_owned(),
            image: "i:1".to_owned(),
            attributes: BTreeMap::from([
                ("name".to_owned(), "web".to_owned()),
                ("run".to_owned(), "7".to_owned()),
            ]),
            time: Timestamp::from_second(second).unwrap(),
        }
    }

    #[test]
    fn who_asks_since_a_time_gets_each_once() {
        let events = Events::default();
        (0..300).for_each(|second| events.tell(event("start", second)));
        let (kept, mut live) = events.listen(Some(Timestamp::from_second(298).unwrap()));
        events.tell(event("die", 300));
        let times: Vec<i64> = kept.iter().map(|event| event.time.as_second()).collect();
        assert_eq!(times, [298, 299]);
        assert_eq!(live.try_recv().unwrap().action, "die");
        assert_eq!(events.listen(Some(Timestamp::UNIX_EPOCH)).0.len(), KEPT);
        assert!(events.listen(None).0.is_empty());
    }

    #[test]
    fn filters_of_one_kind_are_alternatives_and_of_several_all_hold() {
        let wanted = |filters: &str| event("start", 1).is_wanted(&Filters::parse(filters).unwrap());
        assert!(wanted(r#"{"event":["die","start"],"label":["run=7"]}"#));
        assert!(wanted(r#"{"container":{"abc1":true},"type":{"container":true}}"#));
        assert!(!wanted(r#"{"event":["die"],"label":["run=7"]}"#));
        assert!(!wanted(r#"{"label":["run=8"]}"#) && !wanted(r#"{"type":["network"]}"#));
    }

    #[test]
    fn an_event_has_dockers_fields() {
        let text = String::from_utf8(event("start", 7).json()).unwrap();
        assert!(text.ends_with("\"time\":7,\"timeNano\":7000000000}\n"), "{text}");
    }
}
