//! A line of a json-file log as Docker's driver writes it (moby, `daemon/logger/jsonfilelog/jsonlog`): the text, which
//! output, when; and the times that its API shows.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Deserialize;

use crate::world::line::Stream;

/// One entry of a log: a line, or a piece of one that is too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// With its newline, where it has one.
    pub(super) text: Vec<u8>,
    pub(super) stream: Stream,
    pub(super) time: Timestamp,
}

impl Entry {
    /// Appends `{"log":…,"stream":…,"time":…}` and a newline.
    pub(super) fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"log\":");
        write_text(out, &self.text);
        let stream = self.stream.output();
        out.extend_from_slice(
            format!(",\"stream\":\"{stream}\",\"time\":\"{}\"}}\n", short(self.time)).as_bytes(),
        );
    }

    /// Reads one back; `None` for what no driver has written whole.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Line {
            log: String,
            stream: String,
            time: Timestamp,
        }
        let Line { log, stream, time } = serde_json::from_slice(line).ok()?;
        let stream = if stream == Stream::Err.output() { Stream::Err } else { Stream::Out };
        Some(Self { text: log.into_bytes(), stream, time })
    }
}

/// Go's `time.RFC3339Nano` in UTC: no zero at the end of the fraction, and no fraction of nought.
pub(super) fn short(time: Timestamp) -> String {
    time.to_string()
}

/// Docker's `RFC3339NanoFixed`, in UTC: always nine digits.
pub(super) fn fixed(time: Timestamp) -> String {
    format!("{time:.9}")
}

/// As a JSON string in Docker's own way: its encoder is one of ffjson's, made for HTML (`<`, `>`, `&` are escaped).
fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for piece in text.utf8_chunks() {
        for character in piece.valid().chars() {
            match character {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => escape(out, character),
                plain => out.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        // Go's decoder takes the bytes of what is no character one by one.
        piece.invalid().iter().for_each(|_| out.extend_from_slice(b"\\ufffd"));
    }
    out.push(b'"');
}

fn escape(out: &mut Vec<u8>, character: char) {
    let mut text = String::new();
    // To write to a string can't fail.
    write!(text, "\\u{:04x}", u32::from(character)).unwrap_or_default();
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(text: &[u8], time: &str) -> Entry {
        Entry { text: text.to_vec(), stream: Stream::Err, time: time.parse().unwrap() }
    }

    fn json(entry: &Entry) -> String {
        let mut out = Vec::new();
        entry.write_json(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_escaped_as_dockers_encoder_does() {
        let written =
            json(&entry(b"a\"\\\t\x1b<&>\xff\xfe\xe2\x80\xa8\r\n", "2026-01-02T03:04:05.120000000Z"));
        let expected = "{\"log\":\"a\\\"\\\\\\u0009\\u001b\\u003c\\u0026\\u003e\\ufffd\\ufffd\\u2028\\r\\n\",\
                        \"stream\":\"stderr\",\"time\":\"2026-01-02T03:04:05.12Z\"}\n";
        assert_eq!(written, expected);
    }

    #[test]
    fn times_have_the_digits_that_each_place_has() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(short(time("2026-01-02T03:04:05Z")), "2026-01-02T03:04:05Z");
        assert_eq!(short(time("2026-01-02T03:04:05.000000100Z")), "2026-01-02T03:04:05.0000001Z");
        assert_eq!(fixed(time("2026-01-02T03:04:05Z")), "2026-01-02T03:04:05.000000000Z");
        assert_eq!(fixed(time("2026-01-02T03:04:05.0000001Z")), "2026-01-02T03:04:05.000000100Z");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text: String, nanos in 0_i64..=i64::MAX, is_err: bool) {
            let stream = if is_err { Stream::Err } else { Stream::Out };
            let time = Timestamp::from_nanosecond(i128::from(nanos)).unwrap();
            let entry = Entry { text: text.into_bytes(), stream, time };
            prop_assert_eq!(Entry::parse(json(&entry).trim_end().as_bytes()), Some(entry));
        }

        #[test]
        fn whatever_bytes_there_are_the_line_is_one_of_json(text: Vec<u8>) {
            let written = json(&Entry { text, stream: Stream::Out, time: Timestamp::UNIX_EPOCH });
            prop_assert_eq!(written.matches('\n').count(), 1);
            prop_assert!(Entry::parse(written.trim_end().as_bytes()).is_some());
        }
    }
}
