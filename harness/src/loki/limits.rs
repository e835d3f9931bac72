//! What Loki's distributor refuses, in its order and its words. Pure.
//!
//! Order (Loki's `distributor.go` and `validator.go`): for a stream its labels; then for each entry the
//! first check that fails, and only that: too old, too new, too long. What is left goes on.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::forms::{self, rfc3339};
use super::labels::{Labels, SERVICE_NAME};
use super::push::{Entry, Stream};

/// Loki's limits under Loki's own names; only those that this mock keeps. The last two stand in Loki's
/// `ingester` block, all others in its `limits_config`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Whether old entries are refused at all.
    pub reject_old_samples: bool,
    /// What is older than this against now is refused.
    #[serde(deserialize_with = "forms::duration")]
    pub reject_old_samples_max_age: Duration,
    /// What is further than this in the future is refused.
    #[serde(deserialize_with = "forms::duration")]
    pub creation_grace_period: Duration,
    /// A longer line is refused. Bytes.
    #[serde(deserialize_with = "forms::size")]
    pub max_line_size: usize,
    /// A stream with more labels than this is refused; `service_name` is not counted.
    pub max_label_names_per_series: usize,
    /// A stream with a longer label name is refused. Bytes.
    pub max_label_name_length: usize,
    /// A stream with a longer label value is refused. Bytes.
    pub max_label_value_length: usize,
    /// A new stream beyond this many is refused.
    pub max_global_streams_per_user: usize,
    /// What is further behind its stream's newest entry than half of this is refused.
    #[serde(deserialize_with = "forms::duration")]
    pub max_chunk_age: Duration,
    /// A stream that was not written to for this long is forgotten, and its newest entry with it.
    #[serde(deserialize_with = "forms::duration")]
    pub chunk_idle_period: Duration,
}

/// Loki's defaults.
impl Default for Limits {
    fn default() -> Self {
        Self {
            reject_old_samples: true,
            reject_old_samples_max_age: Duration::from_secs(7 * 24 * 3600),
            creation_grace_period: Duration::from_secs(600),
            max_line_size: 256 << 10,
            max_label_names_per_series: 15,
            max_label_name_length: 1024,
            max_label_value_length: 2048,
            max_global_streams_per_user: 5000,
            max_chunk_age: Duration::from_secs(2 * 3600),
            chunk_idle_period: Duration::from_secs(30 * 60),
        }
    }
}

/// Checks one stream: for each entry whether it goes on to the ingester; the faults go to `faults`.
pub fn check(limits: &Limits, stream: &Stream, now: Timestamp, faults: &mut Faults) -> Vec<bool> {
    let labels = stream.labels.to_string();
    if let Some(fault) = label_fault(limits, &stream.labels, &labels) {
        faults.add(fault);
        return vec![false; stream.entries.len()];
    }
    let window = Window::of(limits, now);
    let keep = |entry: &Entry| match entry_fault(limits, window, entry, &labels) {
        Some(fault) => {
            faults.add(fault);
            false
        }
        None => true,
    };
    stream.entries.iter().map(keep).collect()
}

fn label_fault(limits: &Limits, labels: &Labels, shown: &str) -> Option<String> {
    let count = labels.iter().filter(|(name, _)| *name != SERVICE_NAME).count();
    if count > limits.max_label_names_per_series {
        let limit = limits.max_label_names_per_series;
        return Some(format!("entry for stream '{shown}' has {count} label names; limit {limit}"));
    }
    let mut before = "";
    for (name, value) in labels.iter() {
        if name.len() > limits.max_label_name_length {
            return Some(format!("stream '{shown}' has label name too long: '{name}'"));
        }
        if value.len() > limits.max_label_value_length {
            return Some(format!("stream '{shown}' has label value too long: '{value}'"));
        }
        if name == before {
            return Some(format!("stream '{shown}' has duplicate label name: '{name}'"));
        }
        before = name;
    }
    None
}

/// The times that are accepted, both ends inside.
#[derive(Clone, Copy)]
struct Window {
    oldest: Option<Timestamp>,
    newest: Timestamp,
}

impl Window {
    fn of(limits: &Limits, now: Timestamp) -> Self {
        Self {
            oldest: limits.reject_old_samples.then(|| earlier(now, limits.reject_old_samples_max_age)),
            newest: now.saturating_add(limits.creation_grace_period).unwrap_or(Timestamp::MAX),
        }
    }
}

/// `time` less `by`; the earliest time there is where there is no such time.
pub(super) fn earlier(time: Timestamp, by: Duration) -> Timestamp {
    time.saturating_sub(by).unwrap_or(Timestamp::MIN)
}

fn entry_fault(limits: &Limits, window: Window, entry: &Entry, labels: &str) -> Option<String> {
    if let Some(oldest) = window.oldest.filter(|&oldest| entry.time < oldest) {
        let (time, oldest) = (rfc3339(entry.time), rfc3339(oldest));
        return Some(format!(
            "entry for stream '{labels}' has timestamp too old: {time}, oldest acceptable timestamp is: {oldest}"
        ));
    }
    if entry.time > window.newest {
        return Some(format!("entry for stream '{labels}' has timestamp too new: {}", rfc3339(entry.time)));
    }
    let (length, limit) = (entry.line.len(), limits.max_line_size);
    (length > limit).then(|| {
        format!(
            "max entry size '{limit}' bytes exceeded for stream '{labels}' while adding an entry with length '{length}' bytes"
        )
    })
}

/// How many different texts one answer lists. Loki lists all; a push of 100 MiB could make that hundreds
/// of megabytes, and this mock's memory has a bound.
const FAULTS_MAX: usize = 16_384;

/// The distributor's faults of one push, grouped by their text as Loki groups them: ages are printed in
/// whole seconds, so entries of one second share a text.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    groups: Vec<(String, u64)>,
    index: HashMap<String, usize>,
}

impl Faults {
    /// Adds one fault.
    pub fn add(&mut self, text: String) {
        if let Some(group) = self.index.get(&text).and_then(|&at| self.groups.get_mut(at)) {
            group.1 += 1;
        } else if self.groups.len() < FAULTS_MAX {
            self.index.insert(text.clone(), self.groups.len());
            self.groups.push((text, 1));
        }
    }

    /// The body of the answer: `None` without a fault, the bare text of a single one, else
    /// `<n> errors like: <text>` for each text. Loki's order is random; here it is that of the push.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match self.groups.as_slice() {
            [] => None,
            [(text, 1)] => Some(text.clone()),
            groups => {
                let lines: Vec<String> =
                    groups.iter().map(|(text, count)| format!("{count} errors like: {text}")).collect();
                Some(lines.join("; "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::loki::labels::parse;

    const NOW: Timestamp = Timestamp::constant(1_795_523_511, 900_000_000);

    fn stream(entries: &[(i64, usize)]) -> Stream {
        let entry = |&(age_ns, length): &(i64, usize)| Entry {
            time: Timestamp::from_nanosecond(NOW.as_nanosecond() - i128::from(age_ns)).unwrap(),
            line: Bytes::from(vec![b'x'; length]),
        };
        Stream { labels: parse("{a=\"b\"}").unwrap(), entries: entries.iter().map(entry).collect() }
    }

    fn checked(limits: &Limits, stream: &Stream) -> (Vec<bool>, String) {
        let mut faults = Faults::default();
        let kept = check(limits, stream, NOW, &mut faults);
        (kept, faults.text().unwrap_or_default())
    }

    const HOUR_NS: i64 = 3_600_000_000_000;
    const GRACE_NS: i64 = 600_000_000_000;

    fn one_hour() -> Limits {
        Limits { reject_old_samples_max_age: Duration::from_secs(3600), ..Limits::default() }
    }

    #[test]
    fn both_edges_of_the_window_are_inside_to_the_nanosecond() {
        let edges = stream(&[(HOUR_NS, 1), (HOUR_NS + 1, 1), (-GRACE_NS, 1), (-GRACE_NS - 1, 1)]);
        assert_eq!(checked(&one_hour(), &edges).0, [true, false, true, false]);
    }

    #[test]
    fn an_entry_has_one_fault_and_the_first_check_names_it() {
        let limits = Limits { max_line_size: 5, ..one_hour() };
        let entries = stream(&[(HOUR_NS + 1, 6), (1, 6), (-GRACE_NS - 1, 6)]);
        insta::assert_snapshot!(checked(&limits, &entries).1, @r#"1 errors like: entry for stream '{a="b", service_name="unknown_service"}' has timestamp too old: 2026-11-24T11:31:51Z, oldest acceptable timestamp is: 2026-11-24T11:31:51Z; 1 errors like: max entry size '5' bytes exceeded for stream '{a="b", service_name="unknown_service"}' while adding an entry with length '6' bytes; 1 errors like: entry for stream '{a="b", service_name="unknown_service"}' has timestamp too new: 2026-11-24T12:41:51Z"#);
    }

    #[test]
    fn a_line_of_just_the_limit_is_accepted() {
        let limits = Limits { max_line_size: 5, ..one_hour() };
        assert_eq!(checked(&limits, &stream(&[(1, 5), (1, 6)])).0, [true, false]);
    }

    #[test]
    fn faults_of_one_second_share_a_text() {
        let old = stream(&[(HOUR_NS + 1, 1), (HOUR_NS + 2, 1)]);
        insta::assert_snapshot!(checked(&one_hour(), &old).1, @r#"2 errors like: entry for stream '{a="b", service_name="unknown_service"}' has timestamp too old: 2026-11-24T11:31:51Z, oldest acceptable timestamp is: 2026-11-24T11:31:51Z"#);
    }

    #[test]
    fn a_stream_with_bad_labels_is_one_fault_whatever_its_entries() {
        let limits = Limits { max_label_names_per_series: 0, ..one_hour() };
        let (kept, text) = checked(&limits, &stream(&[(1, 1), (HOUR_NS * 2, 1)]));
        assert_eq!(kept, [false, false]);
        assert_eq!(
            text,
            "entry for stream '{a=\"b\", service_name=\"unknown_service\"}' has 1 label names; limit 0"
        );
    }

    #[test]
    fn limits_are_read_under_lokis_names_in_lokis_forms() {
        let yaml = "reject_old_samples_max_age: 1h\nmax_line_size: 1KB\ncreation_grace_period: 5m\n";
        let limits: Limits = serde_saphyr::from_str(yaml).unwrap();
        assert_eq!(
            limits,
            Limits { max_line_size: 1024, creation_grace_period: Duration::from_secs(300), ..one_hour() }
        );
        assert!(serde_saphyr::from_str::<Limits>("reject_old: 1h\n").is_err(), "an unknown name is refused");
    }
}
