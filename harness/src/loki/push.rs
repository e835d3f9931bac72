//! From the body of a push to its streams and entries. All or nothing: a fault anywhere in the body and
//! Loki stores none of it.

pub mod encoding;
mod json;
mod protobuf;
mod wire;

use bytes::Bytes;
use jiff::Timestamp;

use super::labels::{self, BACKFILL, Labels, LabelsError};

/// How many streams, entries, and pairs of structured metadata one push may have. Loki has no such bounds:
/// an entry of two bytes takes it a hundred in memory, and this mock's memory has a bound. What goes on to
/// Loki's ingester in one message can't hold a fifth of this.
const ITEMS_MAX: usize = 1 << 20;
/// Loki's bound on the labels of one stream as text.
const LABELS_BYTES_MAX: usize = 1 << 24;
/// Loki's bound on the header `X-Loki-Backfill-Shard`.
const SHARD_BYTES_MAX: usize = 128;

/// One line with its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As the client gave it.
    pub time: Timestamp,
    /// The line; Loki does not ask for UTF-8.
    pub line: Bytes,
    /// Structured metadata, in the order in which it was sent.
    pub metadata: Vec<(String, String)>,
}

impl Entry {
    /// An entry without structured metadata.
    #[must_use]
    pub fn plain(time: Timestamp, line: Bytes) -> Self {
        Self { time, line, metadata: Vec::new() }
    }
}

/// Entries of one set of labels, in the order in which they were sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// In Loki's normal form.
    pub labels: Labels,
    /// May be empty: Loki passes over such a stream in silence.
    pub entries: Vec<Entry>,
}

/// What a body holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// At least one.
    pub streams: Vec<Stream>,
    /// Whether Loki prints its times in the server's zone, as it does with times from JSON, or in UTC.
    pub has_local_times: bool,
}

/// A stream whose labels were not looked at yet.
struct Raw {
    labels: String,
    entries: Vec<Entry>,
}

/// The headers that say how the body is to be read; empty where there is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    /// `Content-Type`.
    pub content_type: &'a str,
    /// `Content-Encoding`.
    pub content_encoding: &'a str,
    /// `X-Loki-Backfill-Shard`.
    pub backfill_shard: &'a str,
}

/// What Loki's config says of reading.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// A longer body is refused.
    pub body_bytes_max: usize,
    /// Labels from which `service_name` is guessed.
    pub discover_service_name: &'a [String],
}

/// Which of the two push addresses was used: they read JSON differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `/api/prom/push`: labels as text, times as RFC 3339.
    V0,
    /// `/loki/api/v1/push`: labels as an object, times as nanoseconds.
    V1,
}

/// Why nothing of a push is stored, in Loki's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// No `Content-Type`, or one that can't be read.
    #[error("mime: {0}")]
    ContentType(&'static str),
    /// The `Content-Encoding` could not be undone.
    #[error(transparent)]
    Encoding(#[from] encoding::EncodingError),
    /// A JSON body that ends too early once undone.
    #[error("loghttp.PushRequest.Streams: []loghttp.LogProtoStream: unexpected EOF")]
    JsonTruncated,
    /// No snappy block: also JSON or plain protobuf sent as protobuf.
    #[error("snappy: corrupt input")]
    Snappy,
    /// Snappy, but no push.
    #[error(transparent)]
    Protobuf(#[from] wire::WireError),
    /// No JSON, or not that of a push.
    #[error("{0}")]
    Json(String),
    /// A set of labels that is none.
    #[error(transparent)]
    Labels(#[from] LabelsError),
    /// More than this mock reads; the words but for their beginning are its own.
    #[error("request body too large: more than {ITEMS_MAX} {0} in one push")]
    TooMany(&'static str),
    /// Labels longer than Loki's parser bears.
    #[error("request body too large: stream labels size {0} B exceeds limit of {LABELS_BYTES_MAX} B")]
    LabelsTooLong(usize),
    /// The header `X-Loki-Backfill-Shard` is too long.
    #[error("invalid X-Loki-Backfill-Shard header: value length {0} exceeds limit of {SHARD_BYTES_MAX}")]
    ShardTooLong(usize),
    /// Labels that only that header may set.
    #[error("labels {} and {} are reserved", BACKFILL[0], BACKFILL[1])]
    Reserved,
    /// A push without streams.
    #[error("error at least one valid stream is required for ingestion")]
    NoStreams,
}

impl PushError {
    /// The status that Loki answers with.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::NoStreams => 422,
            Self::Encoding(encoding::EncodingError::TooLarge { .. })
            | Self::TooMany(_)
            | Self::LabelsTooLong(_) => 413,
            Self::Encoding(_)
            | Self::ContentType(_)
            | Self::JsonTruncated
            | Self::Snappy
            | Self::Protobuf(_)
            | Self::Json(_)
            | Self::Labels(_)
            | Self::ShardTooLong(_)
            | Self::Reserved => 400,
        }
    }
}

/// What a push may still hold.
struct Room {
    streams: usize,
    entries: usize,
    pairs: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { streams: ITEMS_MAX, entries: ITEMS_MAX, pairs: ITEMS_MAX }
    }
}

impl Room {
    fn take(place: &mut usize, count: usize, what: &'static str) -> Result<(), PushError> {
        *place = place.checked_sub(count).ok_or(PushError::TooMany(what))?;
        Ok(())
    }

    fn streams(&mut self, count: usize) -> Result<(), PushError> {
        Self::take(&mut self.streams, count, "streams")
    }

    fn entries(&mut self, count: usize) -> Result<(), PushError> {
        Self::take(&mut self.entries, count, "entries")
    }

    fn pairs(&mut self, count: usize) -> Result<(), PushError> {
        Self::take(&mut self.pairs, count, "labels and metadata")
    }
}

/// Reads a body. JSON is what says `application/json`; every other type is protobuf to Loki.
///
/// # Errors
/// [`PushError`], in Loki's words.
pub fn read(
    version: Version,
    headers: Headers<'_>,
    terms: Terms<'_>,
    body: &[u8],
) -> Result<Push, PushError> {
    let shard = headers.backfill_shard;
    if shard.len() > SHARD_BYTES_MAX {
        return Err(PushError::ShardTooLong(shard.len()));
    }
    encoding::check_head(headers.content_encoding, body)?;
    let is_json = media_type(headers.content_type)? == "application/json";
    encoding::check_size(body, terms.body_bytes_max)?;
    let undone = match encoding::undo(headers.content_encoding, body) {
        Err(encoding::EncodingError::Truncated) if is_json => return Err(PushError::JsonTruncated),
        undone => undone?,
    };
    let mut room = Room::default();
    let raw = match (is_json, version) {
        (false, _) => protobuf::read(&undone, &mut room)?,
        (true, Version::V1) => json::read(&undone, &mut room)?,
        (true, Version::V0) => json::read_v0(&undone, &mut room)?,
    };
    // Labels come last: a body that can't be read is refused for that, whatever its labels are.
    let streams: Vec<Stream> =
        raw.into_iter().map(|raw| stream(raw, shard, terms)).collect::<Result<_, _>>()?;
    if streams.is_empty() {
        return Err(PushError::NoStreams);
    }
    Ok(Push { streams, has_local_times: is_json && version == Version::V1 })
}

fn stream(raw: Raw, shard: &str, terms: Terms<'_>) -> Result<Stream, PushError> {
    if raw.labels.len() > LABELS_BYTES_MAX {
        return Err(PushError::LabelsTooLong(raw.labels.len()));
    }
    let mut labels = labels::parse(&raw.labels)?;
    if labels.is_backfill() {
        return Err(PushError::Reserved);
    }
    labels.discover_service_name(terms.discover_service_name);
    if !shard.is_empty() {
        let [backfill, backfill_shard] = BACKFILL;
        labels.set(backfill, "true".to_owned());
        labels.set(backfill_shard, shard.to_owned());
    }
    Ok(Stream { labels, entries: raw.entries })
}

/// The media type in small letters, its parameters checked and cut, as Go's `mime.ParseMediaType` does.
fn media_type(header: &str) -> Result<String, PushError> {
    let mut parts = header.split(';');
    let media_type = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    if media_type.is_empty() {
        return Err(PushError::ContentType("no media type"));
    }
    let parameters = parts.map(str::trim).filter(|part| !part.is_empty());
    for parameter in parameters {
        if !parameter.split_once('=').is_some_and(|(name, value)| is_token(name) && !value.is_empty()) {
            return Err(PushError::ContentType("invalid media parameter"));
        }
    }
    Ok(media_type)
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TERMS: Terms<'static> = Terms { body_bytes_max: 100 << 20, discover_service_name: &[] };
    const JSON: Headers<'static> =
        Headers { content_type: "application/json", content_encoding: "", backfill_shard: "" };

    #[test]
    fn the_content_type_decides_and_must_be_there() {
        assert_eq!(media_type("Application/JSON; charset=utf-8;"), Ok("application/json".to_owned()));
        assert_eq!(media_type("").unwrap_err().to_string(), "mime: no media type");
        assert_eq!(media_type("a/b; c").unwrap_err().to_string(), "mime: invalid media parameter");
    }

    #[test]
    fn a_push_without_streams_is_refused_with_422() {
        for body in ["{}", "null", r#"{"streams":[]}"#, r#"{"streams":null}"#] {
            let error = read(Version::V1, JSON, TERMS, body.as_bytes()).unwrap_err();
            assert_eq!((error.status(), &error), (422, &PushError::NoStreams), "{body}");
        }
    }

    #[test]
    fn a_body_of_more_than_the_bound_is_refused_with_413_and_lokis_words() {
        let error = read(Version::V1, JSON, Terms { body_bytes_max: 9, ..TERMS }, &[b'x'; 20]).unwrap_err();
        assert_eq!(error.status(), 413);
        let words = "request body too large: message size too large than max (10 vs 9)";
        assert_eq!(error.to_string(), words, "Loki stops reading one byte past its bound");
    }

    #[test]
    fn a_bad_body_is_refused_for_that_whatever_its_labels_are() {
        let body = r#"{"streams":[{"stream":{"a-b":"c"},"values":[]},{"stream":{},"values":[["x"]]}]}"#;
        let error = read(Version::V1, JSON, TERMS, body.as_bytes()).unwrap_err();
        assert!(matches!(error, PushError::Json(_)), "{error}");
    }

    #[test]
    fn more_than_the_bounds_of_memory_is_refused_with_413() {
        let mut room = Room::default();
        assert_eq!(room.entries(ITEMS_MAX), Ok(()));
        let error = room.entries(1).unwrap_err();
        assert_eq!(error.status(), 413);
        assert_eq!(error.to_string(), "request body too large: more than 1048576 entries in one push");
    }

    #[test]
    fn the_backfill_header_marks_every_stream_and_nobody_else_may() {
        let body = br#"{"streams":[{"stream":{"a":"b"},"values":[]}]}"#;
        let push = read(Version::V1, Headers { backfill_shard: "7", ..JSON }, TERMS, body).unwrap();
        assert_eq!(
            push.streams[0].labels.to_string(),
            r#"{__backfill__="true", __backfill_shard__="7", a="b"}"#
        );
        let spoofed = br#"{"streams":[{"stream":{"__backfill__":"b"},"values":[]}]}"#;
        assert_eq!(read(Version::V1, JSON, TERMS, spoofed), Err(PushError::Reserved));
        let long = "x".repeat(129);
        let error = read(Version::V1, Headers { backfill_shard: &long, ..JSON }, TERMS, body).unwrap_err();
        assert_eq!((error.status(), error), (400, PushError::ShardTooLong(129)));
    }

    proptest! {
        #[test]
        fn no_body_and_no_headers_make_it_panic(
            body in proptest::collection::vec(any::<u8>(), 0..200),
            encoding in 0usize..5,
            json: bool,
            v0: bool,
        ) {
            let headers = Headers {
                content_type: if json { "application/json" } else { "application/x-protobuf" },
                content_encoding: ["", "snappy", "gzip", "deflate", "br"][encoding],
                backfill_shard: "",
            };
            let version = if v0 { Version::V0 } else { Version::V1 };
            if let Err(error) = read(version, headers, TERMS, &body) {
                prop_assert!([400, 413, 422].contains(&error.status()));
            }
        }
    }
}
