//! The generator's line: numbered, timed and checksummed, so that the audit can say of each one
//! whether it arrived, arrived twice, or arrived changed.
//!
//! ```text
//! fl1 <source> <o|e> <number> <unix nanoseconds> <padding> <crc32, 8 hex digits>
//! ```
//!
//! The checksum covers everything before the blank in front of it. It stands last, so that a line
//! that was cut, or joined with another one, can't pass for whole. The padding is drawn from a seed
//! and now and then holds what JSON must escape, since a shipper's decoder is part of what is tested.

use std::fmt::Write;

/// What every line of ours begins with; the digit is the form's version.
pub const MARK: &str = "fl1";
/// The longest line: Loki's default `max_line_size`.
pub const LINE_BYTES_MAX: usize = 256 * 1024;
/// A blank and eight hexadecimal digits.
const CHECKSUM_BYTES: usize = 9;

/// Which output of the container a line was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl Stream {
    /// Its letter in the line.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Out => 'o',
            Self::Err => 'e',
        }
    }

    /// Its name: `stdout` or `stderr`.
    #[must_use]
    pub fn output(self) -> &'static str {
        match self {
            Self::Out => "stdout",
            Self::Err => "stderr",
        }
    }

    fn from_letter(text: &str) -> Option<Self> {
        match text {
            "o" => Some(Self::Out),
            "e" => Some(Self::Err),
            _ => None,
        }
    }
}

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields<'a> {
    /// Short name of the container within the run, without blanks.
    pub source: &'a str,
    /// Where it is written to.
    pub stream: Stream,
    /// Its number, counted from 1 for each source and stream.
    pub number: u64,
    /// When it was written, nanoseconds since the Unix epoch.
    pub written_ns: i64,
}

/// Why a text is not a line of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It does not begin as ours do: somebody else's line.
    #[error("not a line of the generator: it does not begin with `{MARK} `")]
    Foreign,
    /// It begins as ours do, but was changed, cut or joined on its way.
    #[error("a line of the generator that was altered on its way: {0}")]
    Altered(&'static str),
}

/// Appends one line to `buf`, without a newline, `line_bytes` long: longer only where its fields need
/// more. The same fields and seed give the same bytes.
pub fn write(buf: &mut String, fields: &Fields<'_>, seed: u64, line_bytes: usize) {
    let start = buf.len();
    let Fields { source, stream, number, written_ns } = *fields;
    // Writing into a String can't fail.
    write!(buf, "{MARK} {source} {} {number} {written_ns}", stream.letter()).unwrap_or_default();
    let used = buf.len() - start + CHECKSUM_BYTES;
    if let Some(padding) = line_bytes.checked_sub(used + 1) {
        buf.push(' ');
        pad(buf, (start, padding), seed ^ number.rotate_left(20) ^ u64::from(stream == Stream::Err));
    }
    let checksum = crc32fast::hash(buf.as_bytes().get(start..).unwrap_or_default());
    write!(buf, " {checksum:08x}").unwrap_or_default();
}

/// Appends one line to `buf`, without a newline, that holds this text. A letter that Docker would cut in two is another
/// one.
pub fn write_about(buf: &mut String, fields: &Fields<'_>, text: &str) {
    let start = buf.len();
    let Fields { source, stream, number, written_ns } = *fields;
    write!(buf, "{MARK} {source} {} {number} {written_ns} ", stream.letter()).unwrap_or_default();
    let room = LINE_BYTES_MAX.saturating_sub(buf.len() - start + CHECKSUM_BYTES);
    for sign in text.get(..text.floor_char_boundary(room)).unwrap_or(text).chars() {
        let message_left = DOCKERS_MESSAGE_BYTES - (buf.len() - start) % DOCKERS_MESSAGE_BYTES;
        if sign.len_utf8() > message_left {
            (0..sign.len_utf8()).for_each(|_| buf.push('.'));
        } else {
            buf.push(sign);
        }
    }
    let checksum = crc32fast::hash(buf.as_bytes().get(start..).unwrap_or_default());
    write!(buf, " {checksum:08x}").unwrap_or_default();
}

/// How long a line with these fields is that says nothing else.
#[must_use]
pub fn shortest(fields: &Fields<'_>) -> usize {
    let Fields { source, stream, number, written_ns } = *fields;
    format!("{MARK} {source} {} {number} {written_ns}", stream.letter()).len() + CHECKSUM_BYTES
}

/// Reads a line and checks it.
///
/// # Errors
/// [`ParseError::Foreign`] for another program's line, [`ParseError::Altered`] for one of ours that did
/// not arrive as it was written.
pub fn parse(text: &str) -> Result<Fields<'_>, ParseError> {
    let Some(rest) = text.strip_prefix(MARK).and_then(|rest| rest.strip_prefix(' ')) else {
        return Err(ParseError::Foreign);
    };
    let (covered, checksum) = text.rsplit_once(' ').ok_or(ParseError::Altered("it has no checksum"))?;
    if read_checksum(checksum) != Some(crc32fast::hash(covered.as_bytes())) {
        return Err(ParseError::Altered("its checksum does not fit"));
    }
    fields(rest)
}

/// What a line says of itself, whether or not it is as it was written: where to look for one that was altered.
#[must_use]
pub fn claimed(text: &str) -> Option<Fields<'_>> {
    fields(text.strip_prefix(MARK)?.strip_prefix(' ')?).ok()
}

fn fields(rest: &str) -> Result<Fields<'_>, ParseError> {
    let mut words = rest.split(' ');
    let mut word = || words.next().ok_or(ParseError::Altered("a field is missing"));
    let source = word()?;
    let stream = Stream::from_letter(word()?).ok_or(ParseError::Altered("its stream is unknown"))?;
    let number = word()?.parse().map_err(|_| ParseError::Altered("its number is none"))?;
    let written_ns = word()?.parse().map_err(|_| ParseError::Altered("its time is none"))?;
    Ok(Fields { source, stream, number, written_ns })
}

/// Strict: one value has one spelling, or a changed digit could pass (`+` for a leading zero, `A` for `a`).
fn read_checksum(text: &str) -> Option<u32> {
    let spelled = text.len() == 8 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if spelled { u32::from_str_radix(text, 16).ok() } else { None }
}

const LETTERS: [char; 32] = [
    'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't', 'u',
    'v', 'w', 'x', 'y', 'z', ' ', ' ', ' ', '.', ',', '-',
];
/// What JSON must escape, a letter of two bytes and a sign that HTML and shells care about.
const SPECIAL: [char; 8] = ['"', '\\', '\t', 'é', '\'', '<', '&', '%'];

/// Docker cuts a line into messages of so many bytes, whatever stands there: half a letter is lost to everybody.
const DOCKERS_MESSAGE_BYTES: usize = 16 * 1024;

/// Appends `bytes` bytes of text to the line that begins at `start`. Each step of the generator gives ten signs of
/// six bits.
fn pad(buf: &mut String, (start, bytes): (usize, usize), seed: u64) {
    let end = buf.len() + bytes;
    let mut state = seed;
    while buf.len() < end {
        let mut bits = splitmix64(&mut state);
        for _ in 0..10 {
            let room = end - buf.len();
            if room == 0 {
                break;
            }
            let sign = sign(bits);
            let message_left = DOCKERS_MESSAGE_BYTES - (buf.len() - start) % DOCKERS_MESSAGE_BYTES;
            buf.push(if sign.len_utf8() > room.min(message_left) { '.' } else { sign });
            bits >>= 6;
        }
    }
}

fn sign(bits: u64) -> char {
    // Two of 64 values draw from the special signs, chosen by the bits above.
    let (list, index): (&[char], u64) =
        if bits & 63 < 2 { (&SPECIAL, (bits >> 6) & 7) } else { (&LETTERS, bits & 31) };
    usize::try_from(index).ok().and_then(|index| list.get(index)).copied().unwrap_or('.')
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014): enough for padding,
/// and its bytes stay the same whatever happens to a crate's generator.
fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(fields: &Fields<'_>, seed: u64, bytes: usize) -> String {
        let mut buf = String::new();
        write(&mut buf, fields, seed, bytes);
        buf
    }

    fn any_stream() -> impl Strategy<Value = Stream> {
        prop_oneof![Just(Stream::Out), Just(Stream::Err)]
    }

    #[test]
    fn a_line_reads_as_documented() {
        let fields = Fields { source: "c03", stream: Stream::Out, number: 7, written_ns: 1_700_000_000 };
        insta::assert_snapshot!(line(&fields, 1, 0), @"fl1 c03 o 7 1700000000 f609cec7");
        insta::assert_snapshot!(line(&fields, 1, 80), @r"fl1 c03 o 7 1700000000 dnjnuura nf .pochdgjnz i t\zmpc-gtstcpét hdypoq 212c7afe");
    }

    #[test]
    fn the_padding_holds_what_json_must_escape_and_a_letter_of_two_bytes() {
        let fields = Fields { source: "c", stream: Stream::Err, number: 1, written_ns: 0 };
        let line = line(&fields, 3, 16_000);
        for sign in ['"', '\\', '\t', 'é'] {
            assert!(line.contains(sign), "no {sign:?} in {line}");
        }
    }

    #[test]
    fn another_programs_line_is_foreign_and_not_altered() {
        for text in ["", "fl1", "fl12 c o 1 1 00000000", "hello fl1 c o 1 1"] {
            assert_eq!(parse(text), Err(ParseError::Foreign), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_at_the_wished_length(
            source in "[a-z0-9_.-]{1,20}", stream in any_stream(), number: u64, written_ns: i64, seed: u64,
            bytes in 0usize..2000,
        ) {
            let fields = Fields { source: &source, stream, number, written_ns };
            let line = line(&fields, seed, bytes);
            let shortest = format!("fl1 {source} o {number} {written_ns} 00000000").len();
            prop_assert_eq!(parse(&line), Ok(fields));
            prop_assert_eq!(line.len(), if bytes > shortest { bytes } else { shortest });
            prop_assert!(!line.contains('\n'));
        }

        #[test]
        fn a_line_that_is_cut_joined_or_changed_in_one_place_never_passes(
            number: u64, seed: u64, bytes in 60usize..300, cut in 5usize..55, at in 4usize..60, other in "[a-z]",
        ) {
            let fields = Fields { source: "c01", stream: Stream::Out, number, written_ns: 5 };
            let line = line(&fields, seed, bytes);
            let altered = |text: &str| matches!(parse(text), Err(ParseError::Altered(_)));
            let shorter: String = line.chars().take(cut).collect();
            prop_assert!(altered(&shorter));
            let (joined, longer) = (line.repeat(2), line.clone() + " ");
            prop_assert!(altered(&joined) && altered(&longer));
            let mut signs: Vec<char> = line.chars().collect();
            let at = at.min(signs.len() - 1);
            let other = other.chars().next().unwrap();
            prop_assume!(signs[at] != other);
            signs[at] = other;
            prop_assert!(altered(&signs.into_iter().collect::<String>()));
        }
    }
}
