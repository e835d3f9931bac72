//! From the body of a push to its streams and entries. All or nothing: a fault anywhere in the body and
//! Loki stores none of it.

pub mod encoding;
mod json;
mod protobuf;

use bytes::Bytes;
use jiff::Timestamp;

use super::labels::{Labels, LabelsError};

/// One line with its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As the client gave it.
    pub time: Timestamp,
    /// The line; Loki does not ask for UTF-8.
    pub line: Bytes,
}

/// Entries of one set of labels, in the order in which they were sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// In Loki's normal form.
    pub labels: Labels,
    /// May be empty: Loki passes over such a stream in silence.
    pub entries: Vec<Entry>,
}

/// The headers that say how the body is to be read; empty where there is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    /// `Content-Type`.
    pub content_type: &'a str,
    /// `Content-Encoding`.
    pub content_encoding: &'a str,
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
    #[error("{0}")]
    Protobuf(String),
    /// No JSON, or not that of a push.
    #[error("{0}")]
    Json(String),
    /// A set of labels that is none.
    #[error(transparent)]
    Labels(#[from] LabelsError),
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
            Self::Encoding(encoding::EncodingError::TooLarge { .. }) => 413,
            Self::Encoding(_)
            | Self::ContentType(_)
            | Self::JsonTruncated
            | Self::Snappy
            | Self::Protobuf(_)
            | Self::Json(_)
            | Self::Labels(_) => 400,
        }
    }
}

/// Reads a body. JSON is what says `application/json`; every other type is protobuf to Loki.
///
/// # Errors
/// [`PushError`], in Loki's words.
pub fn read(version: Version, headers: Headers<'_>, body: &[u8]) -> Result<Vec<Stream>, PushError> {
    let is_json = media_type(headers.content_type)? == "application/json";
    let raw = match encoding::undo(headers.content_encoding, body) {
        Err(encoding::EncodingError::Truncated) if is_json => return Err(PushError::JsonTruncated),
        undone => undone?,
    };
    let streams = match (is_json, version) {
        (false, _) => protobuf::read(&raw)?,
        (true, Version::V1) => json::read(&raw)?,
        (true, Version::V0) => json::read_v0(&raw)?,
    };
    if streams.is_empty() { Err(PushError::NoStreams) } else { Ok(streams) }
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
    use super::*;

    #[test]
    fn the_content_type_decides_and_must_be_there() {
        assert_eq!(media_type("Application/JSON; charset=utf-8;"), Ok("application/json".to_owned()));
        assert_eq!(media_type("").unwrap_err().to_string(), "mime: no media type");
        assert_eq!(media_type("a/b; c").unwrap_err().to_string(), "mime: invalid media parameter");
    }

    #[test]
    fn a_push_without_streams_is_refused_with_422() {
        let headers = Headers { content_type: "application/json", content_encoding: "" };
        for body in ["{}", "null", r#"{"streams":[]}"#, r#"{"streams":null}"#] {
            let error = read(Version::V1, headers, body.as_bytes()).unwrap_err();
            assert_eq!((error.status(), &error), (422, &PushError::NoStreams), "{body}");
        }
    }
}
