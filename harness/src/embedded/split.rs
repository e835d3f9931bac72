//! From the bytes of an output to entries of a log, as Docker's copier does it (moby, `daemon/logger/copier.go`): a line
//! each, and pieces of 16 KiB where a line is longer, which all bear the time of the first.

use jiff::Timestamp;

use super::entry::Entry;
use crate::world::line::Stream;

/// Docker's buffer.
pub(super) const PIECE_BYTES: usize = 16 * 1024;

/// One output of a container.
#[derive(Debug)]
pub(super) struct Splitter {
    stream: Stream,
    /// What has come of a line that has not ended.
    rest: Vec<u8>,
    /// The time of the first piece of a line under way.
    began: Option<Timestamp>,
}

impl Splitter {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, rest: Vec::new(), began: None }
    }

    /// Takes bytes that came at `now`, and hands on what is complete.
    pub(super) fn take(&mut self, mut bytes: &[u8], now: Timestamp, mut entry: impl FnMut(Entry)) {
        while !bytes.is_empty() {
            let room = PIECE_BYTES - self.rest.len();
            let (reach, _) = bytes.split_at(bytes.len().min(room));
            let end = reach.iter().position(|byte| *byte == b'\n');
            let (now_taken, later) = bytes.split_at(end.map_or(reach.len(), |end| end + 1));
            self.rest.extend_from_slice(now_taken);
            bytes = later;
            if end.is_some() {
                let time = self.began.take().unwrap_or(now);
                entry(self.out(time));
            } else if self.rest.len() == PIECE_BYTES {
                let time = *self.began.get_or_insert(now);
                entry(self.out(time));
            }
        }
    }

    /// The output is closed: what is left has no newline, and gets none.
    pub(super) fn end(&mut self, now: Timestamp, mut entry: impl FnMut(Entry)) {
        let time = self.began.take().unwrap_or(now);
        if !self.rest.is_empty() {
            entry(self.out(time));
        }
    }

    fn out(&mut self, time: Timestamp) -> Entry {
        Entry { text: std::mem::take(&mut self.rest), stream: self.stream, time }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn split(pieces: &[(&[u8], i64)]) -> Vec<(String, i64)> {
        let mut splitter = Splitter::new(Stream::Out);
        let mut found = Vec::new();
        let mut note =
            |entry: Entry| found.push((String::from_utf8(entry.text).unwrap(), entry.time.as_second()));
        for (bytes, second) in pieces {
            splitter.take(bytes, at(*second), &mut note);
        }
        splitter.end(at(99), &mut note);
        found
    }

    #[test]
    fn a_line_has_the_time_of_its_end_and_the_rest_has_no_newline() {
        let found = split(&[(b"one\ntw", 1), (b"o\n\nthree", 2)]);
        let expected = [("one\n", 1), ("two\n", 2), ("\n", 2), ("three", 99)];
        assert_eq!(found, expected.map(|(text, second)| (text.to_owned(), second)));
    }

    #[test]
    fn pieces_of_a_long_line_have_the_time_of_the_first() {
        let long = vec![b'x'; PIECE_BYTES + 10];
        let found = split(&[(&long, 1), (b"yz\nnext\n", 2)]);
        let lengths: Vec<(usize, i64)> = found.iter().map(|(text, second)| (text.len(), *second)).collect();
        assert_eq!(lengths, [(PIECE_BYTES, 1), (13, 1), (5, 2)]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_however_it_comes(text in "[a\n]{0,200}", cuts in prop::collection::vec(1_usize..50, 0..20)) {
            let mut rest = text.as_bytes();
            let mut pieces: Vec<(&[u8], i64)> = Vec::new();
            for cut in cuts {
                let (piece, later) = rest.split_at(cut.min(rest.len()));
                pieces.push((piece, 1));
                rest = later;
            }
            pieces.push((rest, 1));
            let found = split(&pieces);
            let whole: String = found.iter().map(|(text, _)| text.as_str()).collect();
            prop_assert_eq!(whole, text);
            prop_assert!(found.iter().all(|(text, _)| text.matches('\n').count() <= 1));
        }
    }
}
