//! Joins the fragments of long lines, for one container.
//!
//! Docker cuts a line every 16 KiB; a fragment is what does not end in a newline, and all fragments of
//! a line carry the time of its first. stdout and stderr are written by two tasks of Docker and their
//! fragments interleave, so each has its own state.
//!
//! Invariant: no position that comes out lies beyond the first fragment of a line that is still open.
//! Who resumes there reads that line again from its beginning. A position in a file says how far the other
//! stream is ahead, so that its finished lines do not repeat; from Docker's log API they may.

use crate::record::{Position, Stream};

/// What a line that was cut ends in.
pub const TRUNCATION_MARK: &str = " [truncated]";

/// A piece of a log as the source read it.
#[derive(Debug)]
pub struct Fragment<'a> {
    /// Which output.
    pub stream: Stream,
    /// Docker's time.
    pub time_ns: i64,
    /// The text; a final newline ends the line.
    pub text: &'a [u8],
    /// Where to resume to read this fragment again.
    pub before: Position,
    /// Where to resume to read what follows it.
    pub after: Position,
}

/// A whole line.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// Which output.
    pub stream: Stream,
    /// The time of its first fragment.
    pub time_ns: i64,
    /// Its text without the newline.
    pub text: String,
    /// Where it is safe to resume once this line is settled.
    pub position: Position,
    /// Whether it was longer than the cap and lost its tail.
    pub truncated: bool,
}

/// The open lines of one container.
#[derive(Debug)]
pub struct Joiner {
    stdout: Option<Open>,
    stderr: Option<Open>,
    /// Which of two open lines began earlier. Positions have no order of their own.
    earlier: Stream,
    bytes_max: usize,
}

#[derive(Debug)]
struct Open {
    text: Vec<u8>,
    time_ns: i64,
    before: Position,
    after: Position,
    truncated: bool,
}

impl Joiner {
    /// Lines longer than `bytes_max` are cut there and marked.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { stdout: None, stderr: None, earlier: Stream::Stdout, bytes_max }
    }

    /// Takes a fragment; a line comes out when this one ends it.
    pub fn push(&mut self, fragment: Fragment<'_>) -> Option<Line> {
        let stream = fragment.stream;
        let (text, ends) = match fragment.text.strip_suffix(b"\n") {
            Some(text) => (text, true),
            None => (fragment.text, false),
        };
        let bytes_max = self.bytes_max;
        if text.is_empty() && !ends && self.slot(stream).is_none() {
            return None; // an entry without text begins no line
        }
        if self.slot(stream).is_none() {
            let other = other(stream);
            self.earlier = if self.slot(other).is_some() { other } else { stream };
        }
        let open = self.slot(stream).get_or_insert_with(|| Open {
            text: Vec::with_capacity(text.len()),
            time_ns: fragment.time_ns,
            before: fragment.before,
            after: fragment.after.clone(),
            truncated: false,
        });
        open.after = fragment.after;
        open.append(text, bytes_max);
        if ends { self.finish(stream) } else { None }
    }

    /// Ends the open line of `stream`, if there is one: its container stopped, the rest never comes.
    pub fn finish(&mut self, stream: Stream) -> Option<Line> {
        let open = self.slot(stream).take()?;
        let position = self.safe(&open.after);
        let mut text = match String::from_utf8(open.text) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        };
        if open.truncated {
            text.push_str(TRUNCATION_MARK);
        }
        Some(Line { stream, time_ns: open.time_ns, text, position, truncated: open.truncated })
    }

    /// Whether no line is open.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }

    /// Whether a line of `stream` is open.
    #[must_use]
    pub fn is_open(&self, stream: Stream) -> bool {
        match stream {
            Stream::Stdout => self.stdout.is_some(),
            Stream::Stderr => self.stderr.is_some(),
        }
    }

    /// Where the earliest open line begins: no position may pass it.
    #[must_use]
    pub fn resume_before(&self) -> Option<&Position> {
        let open = match (&self.stdout, &self.stderr) {
            (Some(stdout), Some(stderr)) => {
                Some(if self.earlier == Stream::Stdout { stdout } else { stderr })
            }
            (stdout, stderr) => stdout.as_ref().or(stderr.as_ref()),
        };
        open.map(|open| &open.before)
    }

    /// Where it is safe to resume once everything up to `here` is settled but for the open lines.
    #[must_use]
    pub fn safe(&self, here: &Position) -> Position {
        match (&self.stdout, &self.stderr) {
            (None, None) => here.clone(),
            (Some(open), None) => open.before.with_ahead(Stream::Stderr, here),
            (None, Some(open)) => open.before.with_ahead(Stream::Stdout, here),
            (Some(stdout), Some(stderr)) if self.earlier == Stream::Stdout => {
                stdout.before.with_ahead(Stream::Stderr, &stderr.before)
            }
            (Some(stdout), Some(stderr)) => stderr.before.with_ahead(Stream::Stdout, &stdout.before),
        }
    }

    /// Forgets both open lines: the log has a gap here, what follows does not belong to them.
    pub fn clear(&mut self) {
        self.stdout = None;
        self.stderr = None;
    }

    fn slot(&mut self, stream: Stream) -> &mut Option<Open> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

impl Open {
    fn append(&mut self, text: &[u8], bytes_max: usize) {
        let room = bytes_max.saturating_sub(self.text.len());
        let taken = text.get(..room).unwrap_or(text);
        self.text.extend_from_slice(taken);
        self.truncated |= taken.len() < text.len();
    }
}

fn other(stream: Stream) -> Stream {
    match stream {
        Stream::Stdout => Stream::Stderr,
        Stream::Stderr => Stream::Stdout,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(place: i64) -> Position {
        Position::Api { time_ns: place, seen: 0 }
    }

    fn fragment(stream: Stream, place: i64, text: &str) -> Fragment<'_> {
        Fragment { stream, time_ns: place, text: text.as_bytes(), before: at(place), after: at(place + 1) }
    }

    #[test]
    fn fragments_join_under_the_time_of_the_first() {
        let mut joiner = Joiner::new(100);
        assert_eq!(joiner.push(fragment(Stream::Stdout, 1, "one ")), None);
        let line = joiner.push(fragment(Stream::Stdout, 2, "line\n")).unwrap();
        let expected = Line {
            stream: Stream::Stdout,
            time_ns: 1,
            text: "one line".into(),
            position: at(3),
            truncated: false,
        };
        assert_eq!(line, expected);
    }

    #[test]
    fn a_position_never_passes_the_open_line_of_the_other_stream() {
        let mut joiner = Joiner::new(100);
        joiner.push(fragment(Stream::Stderr, 1, "begun"));
        assert_eq!(joiner.push(fragment(Stream::Stdout, 2, "whole\n")).unwrap().position, at(1));
        joiner.push(fragment(Stream::Stdout, 3, "begun later"));
        assert_eq!(joiner.push(fragment(Stream::Stderr, 4, "\n")).unwrap().position, at(3));
        joiner.push(fragment(Stream::Stderr, 5, "again"));
        assert_eq!(joiner.resume_before(), Some(&at(3)));
    }

    #[test]
    fn a_position_in_a_file_says_how_far_the_other_stream_is_ahead() {
        let identity = crate::record::FileIdentity { dev: 1, ino: 2, head_len: 3, head_hash: 4 };
        let at = |offset, ahead| Position::File { identity, offset, tail_hash: None, ahead, time_ns: None };
        let fragment = |stream, offset, text| Fragment {
            stream,
            time_ns: 0,
            text,
            before: at(offset, None),
            after: at(offset + 10, None),
        };
        let ahead = |stream, until| Some(crate::record::Ahead { stream, until, file: None });
        let mut joiner = Joiner::new(100);
        joiner.push(fragment(Stream::Stderr, 10, b"begun"));
        let line = joiner.push(fragment(Stream::Stdout, 20, b"whole\n")).unwrap();
        assert_eq!(line.position, at(10, ahead(Stream::Stdout, 30)));
        joiner.push(fragment(Stream::Stdout, 30, b"begun later"));
        assert_eq!(joiner.safe(&at(40, None)), at(10, ahead(Stream::Stdout, 30)));
        let line = joiner.push(fragment(Stream::Stderr, 40, b"\n")).unwrap();
        assert_eq!(line.position, at(30, ahead(Stream::Stderr, 50)));
        assert_eq!(joiner.push(fragment(Stream::Stdout, 50, b"\n")).unwrap().position, at(60, None));
    }

    #[test]
    fn an_entry_without_text_begins_no_line() {
        let mut joiner = Joiner::new(100);
        assert_eq!(joiner.push(fragment(Stream::Stdout, 1, "")), None);
        assert_eq!(joiner.resume_before(), None);
        assert_eq!(joiner.push(fragment(Stream::Stdout, 2, "\n")).unwrap().text, "");
    }

    #[test]
    fn a_line_beyond_the_cap_is_cut_marked_and_told() {
        let mut joiner = Joiner::new(4);
        joiner.push(fragment(Stream::Stdout, 1, "abc"));
        let line = joiner.push(fragment(Stream::Stdout, 2, "def\n")).unwrap();
        assert_eq!(line.text, format!("abcd{TRUNCATION_MARK}"));
        assert!(line.truncated);
    }

    #[test]
    fn what_a_stopped_container_left_open_comes_out() {
        let mut joiner = Joiner::new(100);
        joiner.push(fragment(Stream::Stderr, 1, "last words"));
        assert_eq!(joiner.finish(Stream::Stdout), None);
        assert_eq!(joiner.finish(Stream::Stderr).unwrap().text, "last words");
        assert_eq!(joiner.resume_before(), None);
    }

    proptest! {
        #[test]
        fn streams_never_mix_and_positions_stay_behind_what_is_open(
            parts in prop::collection::vec((any::<bool>(), "[a-c]{0,3}", any::<bool>()), 0..40)
        ) {
            let mut joiner = Joiner::new(1000);
            let mut open: [Option<(i64, String)>; 2] = [None, None];
            for (place, (err, text, ends)) in (0i64..).zip(&parts) {
                let stream = if *err { Stream::Stderr } else { Stream::Stdout };
                let (place, text) = (place * 10, if *ends { format!("{text}\n") } else { text.clone() });
                let line = joiner.push(fragment(stream, place, &text));
                if text.is_empty() && open[usize::from(*err)].is_none() {
                    prop_assert!(line.is_none());
                    continue;
                }
                let own = open[usize::from(*err)].get_or_insert((place, String::new()));
                own.1.push_str(&text);
                prop_assert_eq!(line.is_some(), *ends);
                if let Some(line) = line {
                    let (began, whole) = open[usize::from(*err)].take().unwrap();
                    prop_assert_eq!(line.text + "\n", whole);
                    prop_assert_eq!(line.time_ns, began);
                    let limit = open[usize::from(!*err)].as_ref().map_or(place + 1, |(began, _)| *began);
                    prop_assert_eq!(line.position, at(limit));
                }
            }
        }
    }
}
