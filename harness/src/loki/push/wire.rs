//! Reads protobuf as Loki's decoder does (gogo's generated code), in its words.
//!
//! It hands out one field at a time and keeps nothing, so that who reads decides what is worth memory: a
//! message of many empty entries would otherwise take a hundred times its size.

use std::ops::Range;

use bytes::Bytes;

/// How deep groups may lie in each other. Nothing of Loki's has any; they are only passed over.
const DEPTH_MAX: usize = 100;

/// What is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// It ends too early: by far the most frequent fault.
    #[error("unexpected EOF")]
    UnexpectedEof,
    /// A number of more than 64 bits.
    #[error("proto: integer overflow")]
    Overflow,
    /// A length that is none.
    #[error("proto: negative length found during unmarshaling")]
    NegativeLength,
    /// Field 0, or beyond what a field can be.
    #[error("proto: {message}: illegal tag {field} (wire type {wire})")]
    IllegalTag {
        /// Of which message.
        message: &'static str,
        /// The field's number as Go reads it.
        field: i32,
        /// The whole tag.
        wire: u64,
    },
    /// The end of a group that did not begin.
    #[error("proto: {0}: wiretype end group for non-group")]
    EndGroup(&'static str),
    /// The end of another group than that which began.
    #[error("proto: unexpected end of group")]
    UnexpectedEndGroup,
    /// A known field of another type.
    #[error("proto: wrong wireType = {kind} for field {field}")]
    WrongType {
        /// The type that it has.
        kind: u8,
        /// Which field.
        field: &'static str,
    },
    /// A type that there is not.
    #[error("proto: illegal wireType {0}")]
    IllegalType(u8),
    /// A time outside of the years 1 to 9999.
    #[error("timestamp: &types.Timestamp{{Seconds: {seconds},\nNanos: {nanos},\n}}{why}")]
    Timestamp {
        /// As sent.
        seconds: i64,
        /// As sent.
        nanos: i32,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// A place in a message, and where the message ends.
pub(super) struct Reader<'a> {
    bytes: &'a Bytes,
    message: &'static str,
    at: usize,
    end: usize,
}

/// A field's number and its type.
#[derive(Clone, Copy)]
pub(super) struct Tag {
    pub(super) field: i32,
    kind: u8,
    start: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a Bytes, message: &'static str) -> Self {
        Self { bytes, message, at: 0, end: bytes.len() }
    }

    /// The next field; `None` at the end.
    pub(super) fn tag(&mut self) -> Result<Option<Tag>, WireError> {
        if self.at >= self.end {
            return Ok(None);
        }
        let start = self.at;
        let wire = self.number()?;
        let (field, kind) = (low_half(wire >> 3), kind_of(wire));
        if kind == 4 {
            return Err(WireError::EndGroup(self.message));
        }
        if field <= 0 {
            return Err(WireError::IllegalTag { message: self.message, field, wire });
        }
        Ok(Some(Tag { field, kind, start }))
    }

    /// A message within this one.
    pub(super) fn message(
        &mut self,
        tag: Tag,
        field: &'static str,
        message: &'static str,
    ) -> Result<Self, WireError> {
        let Range { start, end } = self.range(tag, field)?;
        Ok(Self { bytes: self.bytes, message, at: start, end })
    }

    /// Bytes that share the message's memory.
    pub(super) fn bytes(&mut self, tag: Tag, field: &'static str) -> Result<Bytes, WireError> {
        self.range(tag, field).map(|range| self.bytes.slice(range))
    }

    /// Text; what is no UTF-8 is U+FFFD.
    pub(super) fn text(&mut self, tag: Tag, field: &'static str) -> Result<String, WireError> {
        let range = self.range(tag, field)?;
        Ok(String::from_utf8_lossy(self.bytes.get(range).unwrap_or_default()).into_owned())
    }

    /// A number.
    pub(super) fn value(&mut self, tag: Tag, field: &'static str) -> Result<u64, WireError> {
        if tag.kind != 0 {
            return Err(WireError::WrongType { kind: tag.kind, field });
        }
        self.number()
    }

    /// Passes over a field that is not known.
    pub(super) fn skip(&mut self, tag: Tag) -> Result<(), WireError> {
        self.at = tag.start;
        let mut depth = 0_usize;
        loop {
            match kind_of(self.number()?) {
                0 => {
                    self.number()?;
                }
                1 => self.advance(8)?,
                2 => {
                    let length = self.length()?;
                    self.advance(length)?;
                }
                3 if depth >= DEPTH_MAX => return Err(WireError::UnexpectedEndGroup),
                3 => depth += 1,
                4 => depth = depth.checked_sub(1).ok_or(WireError::UnexpectedEndGroup)?,
                5 => self.advance(4)?,
                other => return Err(WireError::IllegalType(other)),
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn range(&mut self, tag: Tag, field: &'static str) -> Result<Range<usize>, WireError> {
        if tag.kind != 2 {
            return Err(WireError::WrongType { kind: tag.kind, field });
        }
        let (length, start) = (self.length()?, self.at);
        self.advance(length)?;
        Ok(start..self.at)
    }

    fn length(&mut self) -> Result<usize, WireError> {
        // Loki's lengths are signed.
        let length = i64::try_from(self.number()?).map_err(|_| WireError::NegativeLength)?;
        usize::try_from(length).map_err(|_| WireError::NegativeLength)
    }

    fn advance(&mut self, by: usize) -> Result<(), WireError> {
        let at = self.at.checked_add(by).filter(|at| *at <= self.end).ok_or(WireError::UnexpectedEof)?;
        self.at = at;
        Ok(())
    }

    fn number(&mut self) -> Result<u64, WireError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            if self.at >= self.end {
                return Err(WireError::UnexpectedEof);
            }
            let byte = self.bytes.get(self.at).copied().ok_or(WireError::UnexpectedEof)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WireError::Overflow)
    }
}

fn kind_of(wire: u64) -> u8 {
    let [low, ..] = wire.to_le_bytes();
    low & 7
}

/// A number of 32 bits, as Go makes it of a longer one.
pub(super) fn low_half(value: u64) -> i32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fault(bytes: &'static [u8]) -> String {
        let bytes = Bytes::from_static(bytes);
        let mut reader = Reader::new(&bytes, "PushRequest");
        let read = reader.tag().and_then(|tag| reader.message(tag.unwrap(), "Streams", "StreamAdapter"));
        read.err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn faults_are_told_in_the_words_of_lokis_decoder() {
        for (bytes, words) in [
            (&b"\x0a\xff\x01hello"[..], "unexpected EOF"),
            (b"\x0a", "unexpected EOF"),
            (b"\x08\x01", "proto: wrong wireType = 0 for field Streams"),
            (b"\x00", "proto: PushRequest: illegal tag 0 (wire type 0)"),
            (b"\x0c", "proto: PushRequest: wiretype end group for non-group"),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "proto: integer overflow"),
            (
                b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                "proto: negative length found during unmarshaling",
            ),
        ] {
            assert_eq!(fault(bytes), words, "{bytes:x?}");
        }
    }

    #[test]
    fn unknown_fields_of_every_type_are_passed_over() {
        let bytes = Bytes::from_static(b"\x78\x05\x7912345678\x7a\x02ab\x7b\x08\x01\x7c\x7d1234");
        let mut reader = Reader::new(&bytes, "PushRequest");
        let mut passed = 0;
        while let Some(tag) = reader.tag().unwrap() {
            reader.skip(tag).unwrap();
            passed += 1;
        }
        assert_eq!(passed, 5);
        let illegal = Bytes::from_static(b"\x7e");
        let mut reader = Reader::new(&illegal, "PushRequest");
        let tag = reader.tag().unwrap().unwrap();
        assert_eq!(reader.skip(tag), Err(WireError::IllegalType(6)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_read_on_for_ever(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let bytes = Bytes::from(bytes);
            let mut reader = Reader::new(&bytes, "PushRequest");
            while let Ok(Some(tag)) = reader.tag() {
                let before = reader.at;
                if reader.skip(tag).is_err() {
                    break;
                }
                prop_assert!(reader.at >= before);
            }
        }
    }
}
