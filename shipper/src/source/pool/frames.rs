//! Decodes the body of Docker's log requests, in whatever pieces it arrives. Pure.
//!
//! Without a terminal the body is a row of frames: a header `[type, 0, 0, 0, length]` (length big-endian)
//! and a payload; type 1 is stdout, 2 is stderr, 3 is an error of Docker's own that ends the stream
//! (moby, `pkg/stdcopy`). With a terminal it is bare text and all of it is stdout. With `timestamps=1`
//! each payload, or each bare line, begins with its time and a space; in bare text so does each 16 KiB
//! fragment of a long line, in mid-line.

use std::ops::Range;

use crate::record::Stream;
use crate::stamp;

/// A frame or bare line longer than this is no log: Docker cuts messages at 16 KiB.
const BYTES_MAX: usize = 4 << 20;
/// Where Docker cuts a line (moby, `daemon/logger/copier.go`).
const FRAGMENT_BYTES: usize = 16 << 10;
const HEADER_BYTES: usize = 8;

/// One log message: a line if it ends in a newline, a fragment of one if not.
#[derive(Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Which output.
    pub stream: Stream,
    /// Docker's time.
    pub time_ns: i64,
    /// The text, with its newline if it has one.
    pub text: &'a [u8],
}

/// Why a stream can't be read on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A frame of type 3.
    #[error("Docker ended the log stream: {0}")]
    Docker(String),
    /// A header that Docker does not write.
    #[error(
        "the log stream holds no Docker frame (type {kind}, {bytes} bytes): is there a proxy that alters it?"
    )]
    Malformed {
        /// The header's first byte.
        kind: u8,
        /// The length that it states.
        bytes: usize,
    },
    /// A message that does not begin with a time.
    #[error("a log message of {bytes} bytes has no timestamp")]
    NoTimestamp {
        /// The message's length.
        bytes: usize,
    },
}

/// Bytes that have arrived and are not decoded yet; bounded by one frame and one piece of the body.
#[derive(Debug)]
pub struct Decoder {
    tty: bool,
    buffer: Vec<u8>,
    /// Everything before this is decoded.
    decoded: usize,
    /// Up to here a bare line's newline has been searched for in vain.
    searched: usize,
    /// What has come since that was asked.
    arrived: usize,
}

impl Decoder {
    /// For a container with or without a terminal.
    #[must_use]
    pub fn new(tty: bool) -> Self {
        Self { tty, buffer: Vec::new(), decoded: 0, searched: 0, arrived: 0 }
    }

    /// Takes the next piece of the body. Take all messages out before the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.drain(..self.decoded);
        self.searched = self.searched.saturating_sub(self.decoded);
        self.decoded = 0;
        self.buffer.extend_from_slice(piece);
        self.arrived += piece.len();
    }

    /// How many bytes have come since this was asked.
    pub fn arrived(&mut self) -> usize {
        std::mem::take(&mut self.arrived)
    }

    /// The next whole message, `None` when more of the body is needed.
    ///
    /// # Errors
    /// [`Error`] when the stream must be given up; [`Error::NoTimestamp`] is only about one message, the
    /// next call goes on behind it.
    pub fn decode(&mut self) -> Result<Option<Message<'_>>, Error> {
        if self.tty { self.next_line() } else { self.next_frame() }
    }

    fn next_frame(&mut self) -> Result<Option<Message<'_>>, Error> {
        loop {
            let Some(header) = self.buffer.get(self.decoded..).and_then(<[u8]>::first_chunk::<HEADER_BYTES>)
            else {
                return Ok(None);
            };
            let [kind, _, _, _, length @ ..] = *header;
            let bytes = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            let malformed = Error::Malformed { kind, bytes };
            if kind > 3 || bytes > BYTES_MAX {
                return Err(malformed);
            }
            let begin = self.decoded + HEADER_BYTES;
            let payload = begin..begin + bytes;
            if self.buffer.len() < payload.end {
                return Ok(None);
            }
            self.decoded = payload.end;
            let stream = match kind {
                1 => Stream::Stdout,
                2 => Stream::Stderr,
                3 => return Err(Error::Docker(self.lossy(payload))),
                _ => continue, // standard input, which no log holds
            };
            return message(stream, self.buffer.get(payload).unwrap_or_default()).map(Some);
        }
    }

    fn next_line(&mut self) -> Result<Option<Message<'_>>, Error> {
        let from = self.decoded.max(self.searched);
        let Some(at) = memchr::memchr(b'\n', self.buffer.get(from..).unwrap_or_default()) else {
            self.searched = self.buffer.len();
            let bytes = self.buffer.len() - self.decoded;
            return if bytes > BYTES_MAX { Err(Error::Malformed { kind: 0, bytes }) } else { Ok(None) };
        };
        let end = strip_inner_stamps(&mut self.buffer, self.decoded..from + at + 1);
        let line = self.decoded..end;
        self.decoded = from + at + 1;
        message(Stream::Stdout, self.buffer.get(line).unwrap_or_default()).map(Some)
    }

    fn lossy(&self, range: Range<usize>) -> String {
        String::from_utf8_lossy(self.buffer.get(range).unwrap_or_default()).trim().to_owned()
    }
}

fn message(stream: Stream, payload: &[u8]) -> Result<Message<'_>, Error> {
    let stamped = stamp::parse(payload).and_then(|(time_ns, rest)| Some((time_ns, rest.strip_prefix(b" ")?)));
    let (time_ns, text) = stamped.ok_or(Error::NoTimestamp { bytes: payload.len() })?;
    Ok(Message { stream, time_ns, text })
}

/// Takes the times that Docker wrote into a bare long line out of it: each 16 KiB fragment begins with
/// the time of the first. Returns the line's new end; the bytes behind it, up to the old end, are waste.
fn strip_inner_stamps(buffer: &mut [u8], line: Range<usize>) -> usize {
    let Some(text) = buffer.get_mut(line.clone()) else { return line.end };
    let Some(stamp_bytes) = memchr::memchr(b' ', text).map(|at| at + 1) else { return line.end };
    let stamp = text.get(..stamp_bytes).unwrap_or_default().to_vec();
    let mut read = stamp_bytes + FRAGMENT_BYTES;
    let mut write = read;
    while text.get(read..).is_some_and(|rest| rest.starts_with(&stamp)) {
        read += stamp_bytes;
        let end = text.len().min(read + FRAGMENT_BYTES);
        text.copy_within(read..end, write);
        write += end - read;
        read = end;
    }
    if write >= text.len() || read == write {
        return line.end;
    }
    let rest = text.len() - read.min(text.len());
    text.copy_within(text.len() - rest.., write);
    line.start + write + rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAMP: &str = "2026-11-24T14:38:18.000000007Z ";

    fn frame(kind: u8, payload: &str) -> Vec<u8> {
        let mut frame = vec![kind, 0, 0, 0];
        frame.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
        frame.extend(payload.as_bytes());
        frame
    }

    /// All messages of a body that arrives in pieces of the given lengths, over and over.
    fn decode(tty: bool, body: &[u8], lengths: &[usize]) -> Vec<(Stream, String)> {
        let mut decoder = Decoder::new(tty);
        let (mut rest, mut messages) = (body, Vec::new());
        for length in lengths.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, next) = rest.split_at((*length).min(rest.len()));
            rest = next;
            decoder.push(piece);
            while let Some(message) = decoder.decode().unwrap() {
                messages.push((message.stream, String::from_utf8(message.text.to_vec()).unwrap()));
            }
        }
        messages
    }

    #[test]
    fn an_error_frame_ends_the_stream_and_is_no_line() {
        let mut decoder = Decoder::new(false);
        decoder.push(&frame(3, "Error grabbing logs: unexpected EOF\n"));
        let error = decoder.decode().unwrap_err();
        assert_eq!(error.to_string(), "Docker ended the log stream: Error grabbing logs: unexpected EOF");
    }

    #[test]
    fn a_frame_that_claims_gigabytes_is_refused_before_it_is_stored() {
        let mut decoder = Decoder::new(false);
        decoder.push(&[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(decoder.decode(), Err(Error::Malformed { kind: 1, bytes: 0xffff_ffff }));
    }

    #[test]
    fn a_message_without_a_time_does_not_stop_the_next() {
        let mut decoder = Decoder::new(false);
        decoder.push(&frame(1, "no time\n"));
        decoder.push(&frame(2, &format!("{STAMP}line\n")));
        assert_eq!(decoder.decode(), Err(Error::NoTimestamp { bytes: 8 }));
        assert_eq!(decoder.decode().unwrap().unwrap().text, b"line\n");
    }

    #[test]
    fn a_long_line_of_a_terminal_loses_the_times_inside_it() {
        let body = "x".repeat(FRAGMENT_BYTES);
        let text = format!("{STAMP}{body}{STAMP}{body}{STAMP}end\r\n{STAMP}next\r\n");
        let lines = decode(true, text.as_bytes(), &[1000]);
        let expected =
            [format!("{body}{body}end\r\n"), "next\r\n".to_owned()].map(|line| (Stream::Stdout, line));
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_terminal_that_never_ends_its_line_is_refused_at_the_limit() {
        let mut decoder = Decoder::new(true);
        decoder.push(&vec![b'x'; BYTES_MAX + 1]);
        assert!(matches!(decoder.decode(), Err(Error::Malformed { .. })));
    }

    proptest! {
        #[test]
        fn any_cutting_of_frames_gives_the_same_lines(
            lines in prop::collection::vec((1u8..=2, "[ -~]{0,40}\n?"), 1..20),
            lengths in prop::collection::vec(1usize..50, 1..8),
        ) {
            let body: Vec<u8> = lines.iter().flat_map(|(kind, text)| frame(*kind, &format!("{STAMP}{text}"))).collect();
            let stream = |kind| if kind == 1 { Stream::Stdout } else { Stream::Stderr };
            let expected: Vec<_> = lines.iter().map(|(kind, text)| (stream(*kind), text.clone())).collect();
            prop_assert_eq!(decode(false, &body, &lengths), expected);
        }

        #[test]
        fn any_cutting_of_bare_text_gives_the_same_lines(
            lines in prop::collection::vec("[ -~]{0,40}\n", 1..20),
            lengths in prop::collection::vec(1usize..50, 1..8),
        ) {
            let body: String = lines.iter().map(|text| format!("{STAMP}{text}")).collect();
            let expected: Vec<_> = lines.into_iter().map(|text| (Stream::Stdout, text)).collect();
            prop_assert_eq!(decode(true, body.as_bytes(), &lengths), expected);
        }

        #[test]
        fn no_input_makes_it_panic(tty: bool, body in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut decoder = Decoder::new(tty);
            decoder.push(&body);
            while let Ok(Some(_)) | Err(Error::NoTimestamp { .. }) = decoder.decode() {}
        }
    }
}
