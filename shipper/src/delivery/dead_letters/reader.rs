//! Reads a segment from its beginning, letter by letter: bounded memory whatever stands in the file, and
//! no bytes that end it early.

use std::io::{self, BufRead, Read};

use super::letter::{LETTER_BYTES_MAX, Letter, Unreadable};

/// Lines of at most so many bytes; longer ones are passed over.
#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    bytes_max: usize,
    offset: u64,
    line: Vec<u8>,
}

/// Where a line stands, its newline included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its first byte.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// A line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Whole, without its newline.
    Whole(&'a [u8]),
    /// The last one, without its newline.
    Torn,
    /// Longer than the bound.
    TooLong,
}

impl<R: BufRead> Lines<R> {
    /// Of `input` as it is from here on.
    pub fn new(input: R, bytes_max: usize) -> Self {
        Self { input, bytes_max, offset: 0, line: Vec::new() }
    }

    /// The next one.
    ///
    /// # Errors
    /// When the input can't be read.
    pub fn read_next(&mut self) -> io::Result<Option<(Place, Line<'_>)>> {
        self.line.clear();
        let offset = self.offset;
        let room = self.bytes_max as u64 + 1;
        let mut bytes = self.input.by_ref().take(room).read_until(b'\n', &mut self.line)? as u64;
        if bytes == 0 {
            return Ok(None);
        }
        let too_long = bytes == room && self.line.last() != Some(&b'\n');
        if too_long {
            bytes += self.input.skip_until(b'\n')? as u64;
        }
        self.offset += bytes;
        let line = match self.line.strip_suffix(b"\n") {
            Some(line) => Line::Whole(line),
            None if too_long => Line::TooLong,
            None => Line::Torn,
        };
        Ok(Some((Place { offset, bytes }, line)))
    }
}

/// The letters of one segment.
#[derive(Debug)]
pub struct Reader<R>(Lines<R>);

impl<R: BufRead> Reader<R> {
    /// From the beginning of a segment.
    pub fn new(segment: R) -> Self {
        Self(Lines::new(segment, LETTER_BYTES_MAX))
    }

    /// The next line and the letter in it.
    ///
    /// # Errors
    /// When the segment can't be read.
    pub fn read_next(&mut self) -> io::Result<Option<(Place, Result<Letter, Unreadable>)>> {
        let Some((place, line)) = self.0.read_next()? else { return Ok(None) };
        let letter = match line {
            Line::Whole(line) => Letter::parse(line),
            Line::Torn => Err(Unreadable::Torn),
            Line::TooLong => Err(Unreadable::TooLong),
        };
        Ok(Some((place, letter)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = r#"{"v":1,"time_ns":7,"labels":{},"line":"a","reason":"refused","container_id":"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"}"#;

    fn read(text: &[u8]) -> Vec<(Place, Result<String, Unreadable>)> {
        let mut reader = Reader::new(text);
        let mut found = Vec::new();
        while let Some((place, letter)) = reader.read_next().unwrap() {
            found.push((place, letter.map(|letter| letter.line)));
        }
        found
    }

    #[test]
    fn a_torn_last_line_ends_nothing_but_itself() {
        let text = format!("{GOOD}\n{GOOD}");
        let found: Vec<_> = read(text.as_bytes()).into_iter().map(|(_, letter)| letter).collect();
        assert_eq!(found, [Ok("a".to_owned()), Err(Unreadable::Torn)]);
    }

    #[test]
    fn a_line_without_end_is_passed_over_in_bounded_memory() {
        let monster = io::repeat(b'x').take(100 << 20);
        let tail = format!("\n{GOOD}\n");
        let mut reader = Reader::new(io::BufReader::new(monster.chain(tail.as_bytes())));
        assert_eq!(reader.read_next().unwrap().unwrap().1.unwrap_err(), Unreadable::TooLong);
        assert_eq!(reader.read_next().unwrap().unwrap().1.unwrap().line, "a");
        assert!(reader.read_next().unwrap().is_none());
        assert!(reader.0.line.capacity() <= 4 * LETTER_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end_without_a_gap(
            pieces in proptest::collection::vec(prop_oneof![
                Just(b"\n".to_vec()), Just(GOOD.as_bytes().to_vec()), proptest::collection::vec(any::<u8>(), 0..40),
            ], 0..20),
        ) {
            let text = pieces.concat();
            let mut end = 0;
            for (place, _) in read(&text) {
                prop_assert_eq!(place.offset, end);
                end += place.bytes;
            }
            prop_assert_eq!(end, text.len() as u64);
        }
    }
}
