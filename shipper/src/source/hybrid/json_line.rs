//! Decodes a line of Docker's json-file driver: `{"log":"…","stream":"…","attrs":{…},"time":"…"}`. Pure.
//!
//! Docker writes its keys in this order, so the common line is read by hand in one pass; whatever looks
//! different goes through `serde_json`, which is the reference.

use std::borrow::Cow;

use memchr::{memchr3, memmem, memrchr};
use serde::Deserialize;

use crate::record::Stream;
use crate::stamp;

const OPENING: &[u8] = b"{\"log\":\"";

/// What a line says beside its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Which output.
    pub stream: Stream,
    /// Docker's time.
    pub time_ns: i64,
    /// Whether waste stood before the entry: a write that a crash tore, or the zeros that a power cut left.
    pub torn: bool,
}

/// A line that holds no entry.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line of {bytes} bytes holds no json-file entry")]
pub struct Corrupt {
    /// Its length.
    pub bytes: usize,
}

/// Decodes `line` (without its newline); the text replaces what is in `text`.
///
/// # Errors
/// [`Corrupt`] when neither the line nor its tail is an entry.
pub fn decode(line: &[u8], text: &mut Vec<u8>) -> Result<Head, Corrupt> {
    if let Some(head) = decode_whole(line, text) {
        return Ok(head);
    }
    // A quote inside a JSON string is escaped, so this sequence can only be the beginning of an entry
    // that Docker appended behind a torn one.
    let tail = memmem::rfind(line, OPENING).filter(|at| *at > 0).and_then(|at| line.get(at..));
    let head = tail.and_then(|tail| decode_whole(tail, text));
    head.map(|head| Head { torn: true, ..head }).ok_or(Corrupt { bytes: line.len() })
}

/// What the end of an entry tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// Docker's time.
    pub time_ns: i64,
    /// Whether its text ends in a newline: it is no fragment, or the last of its line.
    pub ends: bool,
}

/// Reads the end of an entry as Docker writes it, without its text.
#[must_use]
pub fn tail(line: &[u8]) -> Option<Tail> {
    let rest = line.strip_prefix(OPENING)?.strip_suffix(b"\"}")?;
    let (rest, stamp) = rest.split_at_checked(memrchr(b'"', rest)? + 1)?;
    let (time_ns, behind) = stamp::parse(stamp)?;
    let rest = rest.strip_suffix(b"\",\"time\":\"")?;
    let text =
        rest.strip_suffix(b"\",\"stream\":\"stdout").or(rest.strip_suffix(b"\",\"stream\":\"stderr"))?;
    let ends = text.strip_suffix(b"n").is_some_and(|text| {
        let backslashes = text.iter().rev().take_while(|byte| **byte == b'\\').count();
        backslashes % 2 == 1
    });
    behind.is_empty().then_some(Tail { time_ns, ends })
}

/// How much of a page without a newline can't be part of an entry: what stands before the last place in it
/// where one may begin. Never 0.
#[must_use]
pub fn before_last_entry(page: &[u8]) -> usize {
    let behind_first = page.get(1..).unwrap_or_default();
    let torn_opening = (1..OPENING.len())
        .rev()
        .find(|bytes| behind_first.ends_with(OPENING.get(..*bytes).unwrap_or_default()));
    match memmem::rfind(behind_first, OPENING) {
        Some(at) => at + 1,
        None => page.len() - torn_opening.unwrap_or_default(),
    }
}

fn decode_whole(line: &[u8], text: &mut Vec<u8>) -> Option<Head> {
    decode_usual(line, text).or_else(|| decode_any(line, text))
}

fn decode_usual(line: &[u8], text: &mut Vec<u8>) -> Option<Head> {
    text.clear();
    let rest = unescape(line.strip_prefix(OPENING)?, text)?;
    let rest = rest.strip_prefix(b",\"stream\":\"std")?;
    let (stream, rest) = match rest.strip_prefix(b"out\"") {
        Some(rest) => (Stream::Stdout, rest),
        None => (Stream::Stderr, rest.strip_prefix(b"err\"")?),
    };
    let rest = rest.strip_prefix(b",\"attrs\":").map_or(Some(rest), attributes)?;
    let (time_ns, rest) = stamp::parse(rest.strip_prefix(b",\"time\":\"")?)?;
    (rest == b"\"}").then_some(Head { stream, time_ns, torn: false })
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, default)]
    log: Cow<'a, str>,
    #[serde(borrow, default)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

fn decode_any(line: &[u8], text: &mut Vec<u8>) -> Option<Head> {
    let entry: Entry<'_> = serde_json::from_slice(line).ok()?;
    let (time_ns, rest) = stamp::parse(entry.time.as_bytes())?;
    let stream = match &*entry.stream {
        "stdout" | "" => Stream::Stdout,
        "stderr" => Stream::Stderr,
        _ => return None,
    };
    text.clear();
    text.extend_from_slice(entry.log.as_bytes());
    rest.is_empty().then_some(Head { stream, time_ns, torn: false })
}

/// Passes over what `--log-opt labels` or `env` adds, `{"key":"value",…}`, if it holds no escapes.
fn attributes(rest: &[u8]) -> Option<&[u8]> {
    let mut rest = rest.strip_prefix(b"{\"")?;
    loop {
        rest = plain_string(rest)?.strip_prefix(b":\"")?;
        rest = plain_string(rest)?;
        match rest.strip_prefix(b",\"") {
            Some(next) => rest = next,
            None => return rest.strip_prefix(b"}"),
        }
    }
}

/// What follows the closing quote.
fn plain_string(rest: &[u8]) -> Option<&[u8]> {
    let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
    rest.get(end..)?.strip_prefix(b"\"")
}

/// Reads a JSON string whose opening quote is behind us; returns what follows its closing quote.
fn unescape<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        // Where there is one escape the next is often near.
        let near = rest.first_chunk().and_then(|word| special(*word));
        let end = near.or_else(|| memchr3(b'"', b'\\', 0, rest))?;
        let (plain, next) = rest.split_at_checked(end)?;
        text.extend_from_slice(plain);
        rest = match next.split_first()? {
            (b'"', next) => return Some(next),
            (b'\\', next) => escape(next, text)?,
            // A zero is always escaped in JSON; bare ones are what a power cut leaves.
            _ => return None,
        };
    }
}

/// Where the first quote, backslash or zero stands among eight bytes, looked at all at once: taking 1 from a byte
/// sets its highest bit only if it is 0, or has it already, or lends to one below it that is 0.
fn special(bytes: [u8; 8]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7);
    let word = u64::from_le_bytes(bytes);
    let of = |byte: u8| zeros(word ^ (ONES * u64::from(byte)));
    let found = zeros(word) | of(b'"') | of(b'\\');
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}

/// Reads what follows a backslash.
fn escape<'a>(rest: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (kind, rest) = rest.split_first()?;
    let byte = match kind {
        b'"' | b'\\' | b'/' => *kind,
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'b' => 8,
        b'f' => 12,
        b'u' => return unicode(rest, text),
        _ => return None,
    };
    text.push(byte);
    Some(rest)
}

fn unicode<'a>(rest: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (unit, mut rest) = hex4(rest)?;
    if let Some(byte) = u8::try_from(unit).ok().filter(u8::is_ascii) {
        text.push(byte); // Docker escapes `<`, `>` and `&`
        return Some(rest);
    }
    let mut code = unit;
    if (0xd800..0xdc00).contains(&unit) {
        let (low, behind) = hex4(rest.strip_prefix(b"\\u")?)?;
        code = 0x1_0000 + ((unit - 0xd800) << 10) + low.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
        rest = behind;
    }
    let letter = char::from_u32(code)?;
    text.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
    Some(rest)
}

fn hex4(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.split_at_checked(4)?;
    let value = digits.iter().try_fold(0, |sum, b| Some(sum << 4 | char::from(*b).to_digit(16)?))?;
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text_of(line: &str) -> Result<(String, Head), Corrupt> {
        let mut text = Vec::new();
        let head = decode(line.as_bytes(), &mut text)?;
        Ok((String::from_utf8(text).unwrap(), head))
    }

    #[test]
    fn a_line_as_docker_writes_it() {
        let (text, head) = text_of(
            r#"{"log":"a \u003cb\u003e \"c\"\n","stream":"stderr","time":"2026-11-24T14:38:18.12Z"}"#,
        )
        .unwrap();
        assert_eq!(text, "a <b> \"c\"\n");
        assert_eq!(head.stream, Stream::Stderr);
        assert_eq!(head.time_ns % 1_000_000_000, 120_000_000);
    }

    #[test]
    fn attributes_other_orders_and_missing_keys_are_read_too() {
        let attributes =
            r#"{"log":"x\n","stream":"stdout","attrs":{"a":"b"},"time":"2026-11-24T14:38:18.12Z"}"#;
        assert_eq!(text_of(attributes).unwrap().0, "x\n");
        let by_hand = |line: &str| decode_usual(line.as_bytes(), &mut Vec::new()).is_some();
        assert!(by_hand(attributes) && !by_hand(&attributes.replace("b", "\\n")));
        let empty = text_of(r#"{"time":"2026-11-24T14:38:18Z"}"#).unwrap();
        assert_eq!((empty.0.as_str(), empty.1.stream), ("", Stream::Stdout));
    }

    #[test]
    fn the_entry_behind_a_torn_one_or_behind_zeros_is_saved() {
        let entry = r#"{"log":"x\n","stream":"stdout","time":"2026-11-24T14:38:18.12Z"}"#;
        for waste in ["{\"log\":\"torn", "\0\0\0\0", "{\"log\":\"to\0\0\0"] {
            let (text, head) = text_of(&format!("{waste}{entry}")).unwrap();
            assert_eq!((text.as_str(), head.torn), ("x\n", true));
        }
    }

    #[test]
    fn the_last_place_in_a_page_where_an_entry_may_begin_is_kept() {
        for (page, waste) in [
            ("\0\0\0{\"log\":\"x", 3),
            ("{\"log\":\"a{\"log\":\"b", 9),
            ("{\"log\":\"no second one", 21),
            ("\0\0\0{\"lo", 3),
            ("{", 1),
            ("{\"log\":\"", 8),
        ] {
            assert_eq!(before_last_entry(page.as_bytes()), waste, "{page:?}");
        }
    }

    #[test]
    fn garbage_is_corrupt() {
        for line in
            ["", "\0\0\0", "{\"log\":\"torn", "plain", r#"{"log":"x\n","stream":"stdout","time":"noon"}"#]
        {
            assert_eq!(text_of(line), Err(Corrupt { bytes: line.len() }), "{line}");
        }
    }

    proptest! {
        #[test]
        fn it_reads_what_serde_json_writes(text in any::<String>(), err: bool, time_ns in 0i64..=i64::MAX) {
            let stream = if err { "stderr" } else { "stdout" };
            let time = jiff::Timestamp::from_nanosecond(i128::from(time_ns)).unwrap().to_string();
            let line = format!(
                "{{\"log\":{},\"stream\":\"{stream}\",\"time\":\"{time}\"}}", serde_json::to_string(&text).unwrap()
            );
            let mut out = Vec::new();
            let head = decode_usual(line.as_bytes(), &mut out).unwrap();
            prop_assert_eq!(tail(line.as_bytes()), Some(Tail { time_ns, ends: text.ends_with('\n') }));
            prop_assert_eq!(&out, text.as_bytes());
            prop_assert_eq!(head, Head { stream: if err { Stream::Stderr } else { Stream::Stdout }, time_ns, torn: false });
        }

        #[test]
        fn by_hand_and_serde_json_agree_on_every_escape(text in r#"([a-z<\u{e9}]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}|\\ud83d\\ude00){0,20}"#) {
            let line = format!(r#"{{"log":"{text}","stream":"stdout","time":"2026-11-24T14:38:18.12Z"}}"#);
            let (mut fast, mut general) = (Vec::new(), Vec::new());
            let by_hand = decode_usual(line.as_bytes(), &mut fast);
            let by_serde = decode_any(line.as_bytes(), &mut general);
            prop_assert_eq!(by_hand, by_serde);
            if by_hand.is_some() { prop_assert_eq!(fast, general); }
        }

        /// Pieces of entries, put together as chance has it.
        #[test]
        fn by_hand_and_serde_json_agree_on_whatever_both_read(
            pieces in prop::collection::vec(prop_oneof![
                Just(r#"{"log":""#), Just(r#"","stream":"stdout""#), Just(r#"","stream":"stderr""#),
                Just(r#","attrs":{"a":"b"}"#), Just(r#","attrs":{"a":"b","c":"d\"}"#), Just(r#","attrs":{}"#),
                Just(r#","time":"2026-11-24T14:38:18.12Z"}"#), Just("\0"), Just("\u{1}"), Just("\u{e9}"), Just("\\"),
                Just("n"), Just("\\n"), Just("\\u003c"), Just("\\ud83d"), Just("\\ude00"), Just("\""), Just("text"),
                Just(r#"{"log":"x\n","stream":"stdout","attrs":{"k":"v"},"time":"2026-11-24T14:38:18.12Z"}"#),
            ], 0..9),
            cut in any::<prop::sample::Index>(), flipped in prop::option::of(any::<u8>()),
        ) {
            let mut line = pieces.concat().into_bytes();
            if let (Some(byte), false) = (flipped, line.is_empty()) {
                let at = cut.index(line.len());
                line[at] = byte;
            }
            let (mut fast, mut general) = (Vec::new(), Vec::new());
            let (by_hand, by_serde) = (decode_usual(&line, &mut fast), decode_any(&line, &mut general));
            // Text that JSON does not let stand bare is read all the same: it is no fault of the entry's form.
            let is_clean = str::from_utf8(&line).is_ok() && line.iter().all(|byte| *byte >= 0x20);
            if is_clean && by_hand.is_some() || by_hand.is_some() && by_serde.is_some() {
                prop_assert_eq!((by_hand, fast), (by_serde, general));
            }
        }

        #[test]
        fn among_eight_bytes_the_first_special_one_is_found(
            bytes in prop::array::uniform8(prop_oneof![any::<u8>(), Just(b'"'), Just(b'\\'), Just(0), Just(1), Just(0x5d)]),
        ) {
            let expected = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0));
            prop_assert_eq!(special(bytes), expected);
        }

        #[test]
        fn no_input_makes_it_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode(&line, &mut Vec::new()).is_err());
            prop_assert_eq!(tail(&line), None);
            prop_assert!(line.is_empty() || (1..=line.len()).contains(&before_last_entry(&line)));
        }
    }
}
