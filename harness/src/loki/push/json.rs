//! The JSON forms of a push. Loki reads them with json-iterator and jsonparser; the words and the places
//! of their errors are copied where they were recorded.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Entry, ITEMS_MAX, PushError, Raw, Room};
use crate::loki::forms::ZERO_TIME;
use crate::loki::labels;

/// What jsonparser says of a value that is not what was asked for.
const NO_TEXT: &str =
    "unmarshalerDecoder: Value looks like Number/Boolean/None, but can't find its end: ',' or '}' symbol";
/// What it says of a line that is no text.
const NO_LINE: &str = "unmarshalerDecoder: Value is string, but can't find closing '\"' symbol";
/// Where json-iterator was when it failed.
const STREAMS: &str = "loghttp.PushRequest.Streams: []loghttp.LogProtoStream: ";

/// What our own bound is told with, through the words of a parser.
const TOO_MANY: &str = "too many items in one push";

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Request<'a> {
    #[serde(default)]
    streams: Option<Capped<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct StreamV1<'a> {
    #[serde(default)]
    stream: Option<CappedPairs<'a>>,
    #[serde(default)]
    values: Capped<Values<'a>>,
}

#[derive(Deserialize)]
struct StreamV0 {
    #[serde(default)]
    labels: String,
    #[serde(default)]
    entries: Capped<EntryV0>,
}

#[derive(Deserialize)]
struct EntryV0 {
    ts: Timestamp,
    #[serde(default)]
    line: String,
}

/// Reads the form of `/loki/api/v1/push`.
pub(super) fn read(body: &[u8], room: &mut Room) -> Result<Vec<Raw>, PushError> {
    each_stream(body, room, |text, room| {
        let stream: StreamV1<'_> = parsed(text)?;
        room.entries(stream.values.0.len())?;
        let entries = stream.values.0.iter().map(|values| values.entry(room));
        let entries = entries.collect::<Result<_, _>>()?;
        let pairs = stream.stream.map(|pairs| pairs.0).unwrap_or_default();
        room.pairs(pairs.len())?;
        // The last of several values of one name is the one that counts.
        let pairs: BTreeMap<_, _> = pairs
            .into_iter()
            .map(|(name, value)| (name, text_of(value).unwrap_or(Cow::Borrowed(value.get()))))
            .collect();
        let labels = labels::text_of(pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref())));
        Ok(Raw { labels, entries })
    })
}

/// Reads the form of `/api/prom/push`.
pub(super) fn read_v0(body: &[u8], room: &mut Room) -> Result<Vec<Raw>, PushError> {
    each_stream(body, room, |text, room| {
        let stream: StreamV0 = parsed(text)?;
        room.entries(stream.entries.0.len())?;
        let entries = stream.entries.0.into_iter();
        let entries = entries.map(|entry| Entry::plain(entry.ts, Bytes::from(entry.line))).collect();
        Ok(Raw { labels: stream.labels, entries })
    })
}

fn parsed<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|error| {
        if is_too_many(&error) { PushError::TooMany("items").into() } else { Fault::Words(NO_TEXT) }
    })
}

fn is_too_many(error: &serde_json::Error) -> bool {
    error.to_string().starts_with(TOO_MANY)
}

/// What is wrong with one stream.
enum Fault {
    Words(&'static str),
    Push(PushError),
}

impl From<PushError> for Fault {
    fn from(error: PushError) -> Self {
        Self::Push(error)
    }
}

fn each_stream(
    body: &[u8],
    room: &mut Room,
    read: impl Fn(&str, &mut Room) -> Result<Raw, Fault>,
) -> Result<Vec<Raw>, PushError> {
    let text = String::from_utf8_lossy(body);
    let streams = raw_streams(&text)?;
    room.streams(streams.len())?;
    let one = |raw: &&RawValue| {
        read(raw.get(), room).map_err(|fault| match fault {
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
        if is_too_many(&error) {
            return PushError::TooMany("streams");
        }
        let (words, at) = if error.is_eof() {
            ("readStringSlowPath: unexpected end of input".to_owned(), text.len())
        } else {
            (error.to_string(), error.column())
        };
        PushError::Json(found_at(&format!("{STREAMS}{words}"), text, at))
    })?;
    Ok(request.and_then(|request| request.streams).map(|streams| streams.0).unwrap_or_default())
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
    fn entry(&self, room: &mut Room) -> Result<Entry, Fault> {
        let time = self.time.map_or(Ok(ZERO_TIME), |raw| time_of(raw).ok_or(Fault::Words(NO_TEXT)))?;
        let line = self.line.map_or(Ok(Cow::default()), |raw| text_of(raw).ok_or(Fault::Words(NO_LINE)))?;
        let mut entry = Entry::plain(time, Bytes::from(line.into_owned()));
        if let Some(raw) = self.metadata {
            let CappedPairs(pairs) = parsed(raw.get())?;
            room.pairs(pairs.len())?;
            let text = |(name, value): (Cow<'_, str>, _)| {
                let value = text_of(value).ok_or(Fault::Words(NO_TEXT))?;
                Ok((name.into_owned(), value.into_owned()))
            };
            entry.metadata = pairs.into_iter().map(text).collect::<Result<_, Fault>>()?;
        }
        Ok(entry)
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

/// A list of no more than what one push may have of anything; `null` is an empty one, as in Go.
struct Capped<T>(Vec<T>);

impl<T> Default for Capped<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Capped<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CappedVisitor(PhantomData))
    }
}

struct CappedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for CappedVisitor<T> {
    type Value = Capped<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Capped::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            if items.len() == ITEMS_MAX {
                return Err(A::Error::custom(TOO_MANY));
            }
            items.push(item);
        }
        Ok(Capped(items))
    }
}

/// An object of no more members than that, in their order.
struct CappedPairs<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for CappedPairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(CappedPairsVisitor)
    }
}

struct CappedPairsVisitor;

impl<'de> Visitor<'de> for CappedPairsVisitor {
    type Value = CappedPairs<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            if pairs.len() == ITEMS_MAX {
                return Err(A::Error::custom(TOO_MANY));
            }
            pairs.push((name, map.next_value()?));
        }
        Ok(CappedPairs(pairs))
    }
}

/// A member's name, borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(body: &[u8]) -> Result<Vec<Raw>, PushError> {
        super::read(body, &mut Room::default())
    }

    fn read_v0(body: &[u8]) -> Result<Vec<Raw>, PushError> {
        super::read_v0(body, &mut Room::default())
    }

    fn one(values: &str) -> Result<Raw, PushError> {
        let body = format!(r#"{{"streams":[{{"stream":{{"a":"b"}},"values":{values}}}]}} and what follows"#);
        read(body.as_bytes()).map(|mut streams| streams.remove(0))
    }

    #[test]
    fn escapes_are_undone_and_a_fourth_item_is_ignored() {
        let stream = one(r#"[["5","a\n\"\u00e9\ud83d\ude00",{"k":"v"},7]]"#).unwrap();
        assert_eq!(stream.entries[0].line, "a\n\"é😀".as_bytes());
        assert_eq!(stream.entries[0].time.as_nanosecond(), 5);
        assert_eq!(stream.entries[0].metadata, [("k".to_owned(), "v".to_owned())]);
    }

    #[test]
    fn of_several_labels_of_one_name_the_last_counts() {
        let body = br#"{"streams":[{"stream":{"b":"1","a":"2","b":"3"},"values":null}]}"#;
        assert_eq!(read(body).unwrap()[0].labels, r#"{a="2", b="3"}"#);
    }

    #[test]
    fn a_bomb_of_empty_items_is_refused_with_413() {
        let many = |item: &str| format!("{item},").repeat(ITEMS_MAX + 1) + item;
        let streams = |inside: &str| format!(r#"{{"streams":[{inside}]}}"#);
        let values = |inside: &str| streams(&format!(r#"{{"values":[{inside}]}}"#));
        for bomb in [
            streams(&many("{}")),
            values(&many("[]")),
            values(&format!(r#"["1","",{{{}}}]"#, many(r#""":"""#))),
            streams(&format!(r#"{{"stream":{{{}}}}}"#, many(r#""":"""#))),
        ] {
            let error = read(bomb.as_bytes()).err().unwrap();
            assert!(matches!(error, PushError::TooMany(_)), "{error}");
        }
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
            let error = one(values).err().unwrap().to_string();
            assert!(error.starts_with(&format!("{STREAMS}{words}, error found in #10 byte of")), "{error}");
        }
    }

    #[test]
    fn the_old_form_has_labels_as_text_and_times_as_rfc_3339() {
        let body =
            br#"{"streams":[{"labels":"{a=\"b\"}","entries":[{"ts":"1970-01-01T00:00:01Z","line":"x"}]}]}"#;
        let streams = read_v0(body).unwrap();
        assert_eq!((streams[0].labels.as_str(), streams[0].entries[0].time.as_second()), ("{a=\"b\"}", 1));
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
