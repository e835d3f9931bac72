//! The JSON forms of a push. Loki reads them with json-iterator and jsonparser; the words and the places
//! of their errors are copied where they were recorded.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Entry, PushError, Stream};
use crate::loki::forms::ZERO_TIME;
use crate::loki::labels;

/// What jsonparser says of a value that is not what was asked for.
const NO_TEXT: &str =
    "unmarshalerDecoder: Value looks like Number/Boolean/None, but can't find its end: ',' or '}' symbol";
/// What it says of a line that is no text.
const NO_LINE: &str = "unmarshalerDecoder: Value is string, but can't find closing '\"' symbol";
/// Where json-iterator was when it failed.
const STREAMS: &str = "loghttp.PushRequest.Streams: []loghttp.LogProtoStream: ";

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow, default)]
    streams: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct StreamV1<'a> {
    #[serde(borrow, default)]
    stream: Option<BTreeMap<Cow<'a, str>, &'a RawValue>>,
    #[serde(default)]
    values: Vec<Values<'a>>,
}

#[derive(Deserialize)]
struct StreamV0 {
    #[serde(default)]
    labels: String,
    #[serde(default)]
    entries: Vec<EntryV0>,
}

#[derive(Deserialize)]
struct EntryV0 {
    ts: Timestamp,
    #[serde(default)]
    line: String,
}

/// Reads the form of `/loki/api/v1/push`.
pub(super) fn read(body: &[u8]) -> Result<Vec<Stream>, PushError> {
    each_stream(body, |text| {
        let stream: StreamV1<'_> = serde_json::from_str(text).map_err(|_| Fault::Words(NO_TEXT))?;
        let entries = stream.values.iter().map(Values::entry).collect::<Result<_, _>>()?;
        let pairs: Vec<(&str, String)> = stream
            .stream
            .iter()
            .flatten()
            .map(|(name, value)| {
                (name.as_ref(), text_of(value).map_or(value.get().to_owned(), Cow::into_owned))
            })
            .collect();
        let text = labels::text_of(pairs.iter().map(|(name, value)| (*name, value.as_str())));
        Ok(Stream { labels: labels::parse(&text)?, entries })
    })
}

/// Reads the form of `/api/prom/push`.
pub(super) fn read_v0(body: &[u8]) -> Result<Vec<Stream>, PushError> {
    each_stream(body, |text| {
        let stream: StreamV0 = serde_json::from_str(text).map_err(|_| Fault::Words(NO_TEXT))?;
        let entries = stream.entries.into_iter();
        let entries = entries.map(|entry| Entry { time: entry.ts, line: Bytes::from(entry.line) }).collect();
        Ok(Stream { labels: labels::parse(&stream.labels)?, entries })
    })
}

/// What is wrong with one stream.
enum Fault {
    Words(&'static str),
    Push(PushError),
}

impl<E: Into<PushError>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Push(error.into())
    }
}

fn each_stream(body: &[u8], read: impl Fn(&str) -> Result<Stream, Fault>) -> Result<Vec<Stream>, PushError> {
    let text = String::from_utf8_lossy(body);
    let streams = raw_streams(&text)?;
    let one = |raw: &&RawValue| {
        read(raw.get()).map_err(|fault| match fault {
            Fault::Push(error) => error,
            // json-iterator stands behind the stream that its helper could not read.
            Fault::Words(words) => {
                PushError::Json(found_at(&format!("{STREAMS}{words}"), &text, end_of(raw, &text)))
            }
        })
    };
    streams.iter().map(one).collect()
}

/// The streams as they stand in the text. Bytes after the object are ignored.
fn raw_streams(text: &str) -> Result<Vec<&RawValue>, PushError> {
    let start = text.len() - text.trim_start().len();
    match text.trim_start().chars().next() {
        None => return Err(PushError::Json("EOF".to_owned())),
        Some('{' | 'n') => {}
        Some(other) => {
            let words = format!("readObjectStart: expect {{ or n, but found {other}");
            return Err(PushError::Json(found_at(&words, text, start + 1)));
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let request = Option::<Request<'_>>::deserialize(&mut deserializer).map_err(|error| {
        let (words, at) = if error.is_eof() {
            ("readStringSlowPath: unexpected end of input".to_owned(), text.len())
        } else {
            (error.to_string(), error.column())
        };
        PushError::Json(found_at(&format!("{STREAMS}{words}"), text, at))
    })?;
    Ok(request.and_then(|request| request.streams).unwrap_or_default())
}

/// json-iterator's words for a place: ten bytes on both sides of it, then fifty.
fn found_at(words: &str, text: &str, at: usize) -> String {
    let around = |reach: usize| {
        let (from, to) = (at.saturating_sub(reach), (at + reach).min(text.len()));
        String::from_utf8_lossy(text.as_bytes().get(from..to).unwrap_or_default()).into_owned()
    };
    let byte = at.min(10);
    format!(
        "{words}, error found in #{byte} byte of ...|{}|..., bigger context ...|{}|...",
        around(10),
        around(50)
    )
}

/// Where a value that was borrowed from the text ends in it.
fn end_of(raw: &RawValue, text: &str) -> usize {
    raw.get().as_ptr().addr() + raw.get().len() - text.as_ptr().addr()
}

/// The text of a JSON string; `None` for any other value.
fn text_of(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str::<String>(raw.get()).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

/// `["<nanoseconds>", "<line>", {metadata}]`: each may be missing, what comes behind is ignored.
struct Values<'a> {
    time: Option<&'a RawValue>,
    line: Option<&'a RawValue>,
    metadata: Option<&'a RawValue>,
}

impl Values<'_> {
    fn entry(&self) -> Result<Entry, Fault> {
        let time = self.time.map_or(Ok(ZERO_TIME), |raw| time_of(raw).ok_or(Fault::Words(NO_TEXT)))?;
        let line = self.line.map_or(Ok(Cow::default()), |raw| text_of(raw).ok_or(Fault::Words(NO_LINE)))?;
        if let Some(raw) = self.metadata {
            serde_json::from_str::<BTreeMap<Cow<'_, str>, Cow<'_, str>>>(raw.get())
                .map_err(|_| Fault::Words(NO_TEXT))?;
        }
        Ok(Entry { time, line: Bytes::from(line.into_owned()) })
    }
}

fn time_of(raw: &RawValue) -> Option<Timestamp> {
    let nanoseconds: i64 = text_of(raw)?.parse().ok()?;
    Timestamp::from_nanosecond(i128::from(nanoseconds)).ok()
}

impl<'de: 'a, 'a> Deserialize<'de> for Values<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ValuesVisitor)
    }
}

struct ValuesVisitor;

impl<'de> Visitor<'de> for ValuesVisitor {
    type Value = Values<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an entry: [\"<nanoseconds>\", \"<line>\"]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let (time, line) = (seq.next_element()?, seq.next_element()?);
        let values = Values { time, line, metadata: seq.next_element()? };
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(values: &str) -> Result<Stream, PushError> {
        let body = format!(r#"{{"streams":[{{"stream":{{"a":"b"}},"values":{values}}}]}} and what follows"#);
        read(body.as_bytes()).map(|mut streams| streams.remove(0))
    }

    #[test]
    fn escapes_are_undone_and_a_fourth_item_is_ignored() {
        let stream = one(r#"[["5","a\n\"\u00e9\ud83d\ude00",{"k":"v"},7]]"#).unwrap();
        assert_eq!(stream.entries[0].line, "a\n\"é😀".as_bytes());
        assert_eq!(stream.entries[0].time.as_nanosecond(), 5);
    }

    #[test]
    fn what_is_missing_of_an_entry_is_zero() {
        let stream = one(r#"[[],["7"]]"#).unwrap();
        assert_eq!((stream.entries[0].time, &stream.entries[0].line[..]), (ZERO_TIME, &b""[..]));
        assert_eq!(stream.entries[1].line, &b""[..]);
    }

    #[test]
    fn one_bad_entry_refuses_the_push() {
        for (values, words) in [
            (r#"[["x","l"]]"#, NO_TEXT),
            (r#"[[5,"l"]]"#, NO_TEXT),
            (r#"[["1.5","l"]]"#, NO_TEXT),
            (r#"[{}]"#, NO_TEXT),
            (r#"[["5","l",{"k":1}]]"#, NO_TEXT),
            (r#"[["5",6]]"#, NO_LINE),
        ] {
            let error = one(values).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{STREAMS}{words}, error found in #10 byte of")), "{error}");
        }
    }

    #[test]
    fn the_old_form_has_labels_as_text_and_times_as_rfc_3339() {
        let body =
            br#"{"streams":[{"labels":"{a=\"b\"}","entries":[{"ts":"1970-01-01T00:00:01Z","line":"x"}]}]}"#;
        let streams = read_v0(body).unwrap();
        assert_eq!((streams[0].labels.get("a"), streams[0].entries[0].time.as_second()), (Some("b"), 1));
        assert!(read(body).unwrap()[0].entries.is_empty(), "on the new path it has no values");
    }

    proptest! {
        #[test]
        fn any_line_is_read_back(line in ".{0,40}", time: i64) {
            let values = serde_json::json!([[time.to_string(), line]]).to_string();
            let stream = one(&values).unwrap();
            prop_assert_eq!(&stream.entries[0].line[..], line.as_bytes());
            prop_assert_eq!(stream.entries[0].time.as_nanosecond(), i128::from(time));
        }

        #[test]
        fn no_body_makes_it_panic(body in "[{}\\[\\]\":,a0streamvlu\\\\ é]{0,40}") {
            read(body.as_bytes()).ok();
            read_v0(body.as_bytes()).ok();
        }
    }
}
