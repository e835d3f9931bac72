//! A reader that ends what has no end: a file without rows (a device, a quote that is never closed) would else be
//! read into memory whole.

use std::io::{self, Read};

/// Reads on only as long as rows come.
pub(super) struct Bounded<R> {
    inner: R,
    row_bytes: u64,
    read: u64,
    row_began: u64,
    head: [u8; 2],
}

impl<R> Bounded<R> {
    /// Lets a row have so many bytes.
    pub(super) fn new(inner: R, row_bytes: u64) -> Self {
        Self { inner, row_bytes, read: 0, row_began: 0, head: [0; 2] }
    }

    /// A row was read, which began at this byte.
    pub(super) fn row_begins_at(&mut self, byte: u64) {
        self.row_began = byte;
    }

    /// Whether the first bytes are those of UTF-16.
    pub(super) fn begins_with_utf16(&self) -> bool {
        matches!(self.head, [0xff, 0xfe] | [0xfe, 0xff])
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Twice: the row that began there, and the one after it, of which only bytes are known yet.
        if self.read > self.row_began + 2 * self.row_bytes {
            let why = format!(
                "there is no end of a row within {} KiB: it is no CSV, or a quote is not closed",
                self.row_bytes / 1024
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let count = self.inner.read(buffer)?;
        if self.read == 0 {
            self.head.iter_mut().zip(buffer.iter().take(count)).for_each(|(kept, byte)| *kept = *byte);
        }
        self.read += count as u64;
        Ok(count)
    }
}
