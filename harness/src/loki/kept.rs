//! The last entries that were stored, so that anyone can look at what arrived. Bounded by number and bytes.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::discard;
use super::grpc::added_level;
use super::labels::Labels;
use super::limits::Limits;
use super::metadata::LEVEL;
use super::push::{Entry, Stream};
use super::query::Query;
use crate::audit::ledger::Fate;

/// What they may take together, whatever number is asked for.
const BYTES_MAX: usize = 256 << 20;
/// What one takes beside its text.
const ENTRY_BYTES: usize = 150;

struct One {
    tenant: Arc<str>,
    labels: Arc<Labels>,
    entry: Entry,
}

/// The last so many entries.
#[derive(Default)]
pub struct Kept {
    max: usize,
    entries: VecDeque<One>,
    bytes: usize,
}

impl Kept {
    /// Keeps the last `max` entries; of none it keeps nothing.
    #[must_use]
    pub fn last(max: usize) -> Self {
        Self { max, ..Self::default() }
    }

    /// Whether it keeps any.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.max > 0
    }

    /// Keeps what was stored of a stream.
    pub fn add(&mut self, tenant: &Arc<str>, stream: &Stream, fates: &[Fate]) {
        if !self.is_on() || !discard::any_accepted(fates) {
            return;
        }
        let labels = Arc::new(stream.labels.clone());
        for (entry, _) in stream.entries.iter().zip(fates).filter(|(_, fate)| **fate == Fate::Accepted) {
            // A copy: as a part of the body it would keep the whole of it.
            let line = Bytes::copy_from_slice(&entry.line);
            let entry = Entry { line, metadata: entry.metadata.clone(), time: entry.time };
            let one = One { tenant: Arc::clone(tenant), labels: Arc::clone(&labels), entry };
            self.bytes += one.bytes();
            self.entries.push_back(one);
        }
        while self.entries.len() > self.max || self.bytes > BYTES_MAX {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.bytes -= oldest.bytes();
        }
    }

    /// The answer to a query, in Loki's form. What was stored twice is shown once.
    #[must_use]
    pub fn answer(&self, query: &Query, tenant: &str, limits: &Limits) -> String {
        let asked = |one: &&One| &*one.tenant == tenant && query.asks_for(&one.labels, one.entry.time);
        let mut found: Vec<&One> = self.entries.iter().filter(asked).collect();
        // Stable: entries of one time stay in the order in which they came.
        found.sort_by_key(|one| one.entry.time);
        if !query.is_forward {
            found.reverse();
        }
        let mut seen = HashSet::new();
        found.retain(|one| seen.insert((&one.labels, one.entry.time, &one.entry.line, &one.entry.metadata)));
        found.truncate(query.limit);
        let mut streams: BTreeMap<BTreeMap<String, String>, Vec<Value>> = BTreeMap::new();
        for one in found {
            let value = json!([one.entry.time.as_nanosecond().to_string(), text(&one.entry.line)]);
            streams.entry(one.shown_labels(limits)).or_default().push(value);
        }
        let streams = streams.into_iter().map(|(labels, values)| {
            let labels: Map<String, Value> =
                labels.into_iter().map(|(name, value)| (name, Value::String(value))).collect();
            json!({"stream": labels, "values": values})
        });
        let result: Vec<Value> = streams.collect();
        json!({"status": "success", "data": {"resultType": "streams", "result": result, "stats": {}}})
            .to_string()
    }
}

impl One {
    fn bytes(&self) -> usize {
        let pair =
            |(name, value): &(String, String)| name.len() + value.len() + size_of::<(String, String)>();
        ENTRY_BYTES + self.entry.line.len() + self.entry.metadata.iter().map(pair).sum::<usize>()
    }

    /// Labels and structured metadata in one, as Loki shows them.
    fn shown_labels(&self, limits: &Limits) -> BTreeMap<String, String> {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let mut shown: BTreeMap<String, String> = self.labels.iter().map(owned).collect();
        let level = added_level(limits, &self.labels, &self.entry).map(|level| (LEVEL.to_owned(), level));
        for (name, value) in self.entry.metadata.iter().cloned().chain(level) {
            let name = if self.labels.get(&name).is_some() { format!("{name}_extracted") } else { name };
            shown.insert(name, value);
        }
        shown
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).into_owned()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::loki::labels::parse;

    fn stream(labels: &str, lines: &[(i64, &'static str)]) -> Stream {
        let entry = |&(second, line): &(i64, &'static str)| {
            Entry::plain(Timestamp::new(second, 0).unwrap(), Bytes::from_static(line.as_bytes()))
        };
        Stream { labels: parse(labels).unwrap(), entries: lines.iter().map(entry).collect() }
    }

    fn add(kept: &mut Kept, tenant: &str, stream: &Stream) {
        kept.add(&Arc::from(tenant), stream, &vec![Fate::Accepted; stream.entries.len()]);
    }

    fn asked(kept: &Kept, tenant: &str, more: &[(&str, &str)]) -> Value {
        let base = [("query", "{a=\"b\"}"), ("start", "0"), ("end", "1000"), ("direction", "forward")];
        let of = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let parameters: Vec<_> = more.iter().chain(&base).map(of).collect();
        let query = Query::parse(&parameters, Timestamp::UNIX_EPOCH, 0).unwrap();
        serde_json::from_str(&kept.answer(&query, tenant, &Limits::default())).unwrap()
    }

    #[test]
    fn entries_are_shown_once_in_order_of_time_and_with_their_metadata() {
        let mut kept = Kept::last(10);
        let mut sent = stream("{a=\"b\"}", &[(20, "two"), (10, "one"), (10, "error=1 level=warn")]);
        sent.entries[0].metadata =
            vec![("trace".to_owned(), "7".to_owned()), ("a".to_owned(), "c".to_owned())];
        add(&mut kept, "t", &sent);
        add(&mut kept, "t", &sent);
        add(&mut kept, "t", &stream("{a=\"c\"}", &[(10, "other")]));
        let shown = asked(&kept, "t", &[]);
        insta::assert_snapshot!(shown, @r#"{"status":"success","data":{"resultType":"streams","result":[{"stream":{"a":"b","a_extracted":"c","detected_level":"unknown","trace":"7"},"values":[["20000000000","two"]]},{"stream":{"a":"b","detected_level":"unknown"},"values":[["10000000000","one"]]},{"stream":{"a":"b","detected_level":"warn"},"values":[["10000000000","error=1 level=warn"]]}],"stats":{}}}"#);
        assert_eq!(asked(&kept, "u", &[])["data"]["result"], json!([]), "another tenant sees nothing of it");
    }

    #[test]
    fn the_limit_is_taken_from_the_end_that_is_asked_for() {
        let mut kept = Kept::last(10);
        add(&mut kept, "t", &stream("{a=\"b\"}", &[(10, "one"), (20, "two"), (30, "three")]));
        let lines = |direction: &str| {
            let shown = asked(&kept, "t", &[("direction", direction), ("limit", "2")]);
            let values = shown["data"]["result"][0]["values"].as_array().unwrap().clone();
            values.iter().map(|value| value[1].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(lines("backward"), ["three", "two"]);
        assert_eq!(lines("forward"), ["one", "two"]);
    }

    #[test]
    fn the_last_ones_are_kept_and_their_bytes_are_bounded() {
        let mut kept = Kept::last(2);
        add(&mut kept, "t", &stream("{a=\"b\"}", &[(10, "one"), (20, "two"), (30, "three")]));
        assert_eq!((kept.entries.len(), kept.bytes), (2, 2 * ENTRY_BYTES + 8));
        let mut kept = Kept::last(usize::MAX);
        let huge = Bytes::from(vec![b'x'; 64 << 20]);
        for second in 0..6 {
            let mut sent = stream("{a=\"b\"}", &[(second, "")]);
            sent.entries[0].line = huge.clone();
            add(&mut kept, "t", &sent);
        }
        assert_eq!(kept.entries.len(), 3);
        assert!(kept.bytes <= BYTES_MAX);
    }

    #[test]
    fn where_nothing_is_asked_for_nothing_is_kept() {
        let mut kept = Kept::last(0);
        add(&mut kept, "t", &stream("{a=\"b\"}", &[(10, "one")]));
        assert!(kept.entries.is_empty() && !kept.is_on());
    }
}
