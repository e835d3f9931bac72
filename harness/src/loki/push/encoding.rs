//! From the body on the wire to the bytes of the push: `Content-Encoding` undone, under a bound.

use std::borrow::Cow;
use std::io::{self, Read};

use flate2::read::{DeflateDecoder, MultiGzDecoder};

/// How much a body may decompress to. Loki's own bound is 50 times its bound on the body, 5000 MiB: more
/// than a sink may hold on a machine that measures something else.
pub const DECODED_BYTES_MAX: usize = 128 << 20;

/// A gzip member's head.
const GZIP_HEAD_BYTES: usize = 10;

/// Why a body could not be undone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// Too much, on the wire or once undone.
    #[error("request body too large: message size too large than max ({bytes} vs {max})")]
    TooLarge {
        /// What came, or one more than the bound where the rest was not read.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// Loki knows gzip, deflate and snappy.
    #[error("Content-Encoding {0:?} not supported")]
    Unsupported(String),
    /// It says gzip and is none.
    #[error("gzip: invalid header")]
    GzipHeader,
    /// It ends too early.
    #[error("unexpected EOF")]
    Truncated,
    /// It says deflate and is none; also the zlib form, which HTTP calls deflate and Loki does not read. It
    /// says gzip and is empty.
    #[error("EOF")]
    Eof,
}

/// Whether a body is short enough to be read at all.
///
/// # Errors
/// [`EncodingError::TooLarge`]: Loki stops reading one byte past its bound, so that is the figure it gives.
pub fn check_size(body: &[u8], max: usize) -> Result<(), EncodingError> {
    if body.len() > max { Err(EncodingError::TooLarge { bytes: max.saturating_add(1), max }) } else { Ok(()) }
}

/// What Loki sees before it looks at the `Content-Type`: whether it knows the encoding, and gzip's head.
///
/// # Errors
/// [`EncodingError`], in Loki's words.
pub fn check_head(encoding: &str, body: &[u8]) -> Result<(), EncodingError> {
    match (encoding, body) {
        ("" | "snappy" | "deflate", _) => Ok(()),
        ("gzip", []) => Err(EncodingError::Eof),
        ("gzip", body) if body.len() < GZIP_HEAD_BYTES => Err(EncodingError::Truncated),
        ("gzip", body) if !body.starts_with(&[0x1f, 0x8b]) => Err(EncodingError::GzipHeader),
        ("gzip", _) => Ok(()),
        (other, _) => Err(EncodingError::Unsupported(other.to_owned())),
    }
}

/// Undoes the `Content-Encoding`. `snappy` has no effect: the protobuf form is snappy in any case.
///
/// # Errors
/// [`EncodingError`], in Loki's words.
pub fn undo<'a>(encoding: &str, body: &'a [u8]) -> Result<Cow<'a, [u8]>, EncodingError> {
    match encoding {
        "" | "snappy" => Ok(Cow::Borrowed(body)),
        "gzip" => bounded(MultiGzDecoder::new(body), DECODED_BYTES_MAX, &EncodingError::GzipHeader),
        "deflate" => bounded(DeflateDecoder::new(body), DECODED_BYTES_MAX, &EncodingError::Eof),
        other => Err(EncodingError::Unsupported(other.to_owned())),
    }
}

fn bounded<'a>(
    reader: impl Read,
    max: usize,
    corrupt: &EncodingError,
) -> Result<Cow<'a, [u8]>, EncodingError> {
    let mut decoded = Vec::new();
    let bound = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(bound).read_to_end(&mut decoded).map_err(|error| {
        let truncated = error.kind() == io::ErrorKind::UnexpectedEof;
        if truncated { EncodingError::Truncated } else { corrupt.clone() }
    })?;
    if decoded.len() > max {
        return Err(EncodingError::TooLarge { bytes: decoded.len(), max });
    }
    Ok(Cow::Owned(decoded))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_and_raw_deflate_are_undone() {
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::fast());
        deflate.write_all(b"hello").unwrap();
        assert_eq!(undo("gzip", &gzip(b"hello")).unwrap(), &b"hello"[..]);
        assert_eq!(undo("deflate", &deflate.finish().unwrap()).unwrap(), &b"hello"[..]);
    }

    #[test]
    fn what_loki_does_not_read_is_refused_in_its_words() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(b"hello").unwrap();
        let head = |encoding: &str, body: &[u8]| check_head(encoding, body).unwrap_err().to_string();
        let words = |encoding: &str, body: &[u8]| undo(encoding, body).unwrap_err().to_string();
        assert_eq!(words("deflate", &zlib.finish().unwrap()), "EOF");
        assert_eq!(head("gzip", b"hello hello"), "gzip: invalid header");
        assert_eq!(head("gzip", b"hello"), "unexpected EOF");
        assert_eq!(head("gzip", b""), "EOF");
        assert_eq!(words("gzip", &gzip(b"hello")[..15]), "unexpected EOF");
        assert_eq!(head("br", b"hello"), "Content-Encoding \"br\" not supported");
    }

    #[test]
    fn a_body_that_swells_is_stopped_at_the_bound() {
        let bomb = gzip(&vec![0; 1 << 20]);
        let stopped = bounded(MultiGzDecoder::new(&bomb[..]), 1 << 10, &EncodingError::GzipHeader);
        assert_eq!(stopped, Err(EncodingError::TooLarge { bytes: (1 << 10) + 1, max: 1 << 10 }));
    }
}
