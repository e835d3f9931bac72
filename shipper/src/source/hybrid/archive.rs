//! Reads a compressed generation from front to back, as if it were plain, with little memory.
//!
//! Docker compresses a generation in the background once it is complete. Its header says in `Extra` when
//! the last line was written, as `{"lastTime":"…"}`, so that an old one need not be decompressed.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::MetadataExt;

use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;

use crate::stamp;

/// How much of the file is read at once.
const READ_BYTES: usize = 8 << 10;
/// An archive may hold this much, or [`RATIO_MAX`] times its size if that is more: a bomb is no log.
const BYTES_MAX: u64 = 1 << 30;
/// Each line of a log holds a time of nanoseconds, which leaves little to win.
const RATIO_MAX: u64 = 100;
/// How many pages one call passes over on its way to a place, so that it does not hold up the others.
const PAGES_PASSED: usize = 16;

/// An archive, read up to some place.
pub struct Archive {
    decoder: MultiGzDecoder<BufReader<File>>,
    /// What was decompressed and may be asked for again.
    window: Vec<u8>,
    /// Where the window begins.
    start: u64,
    /// How much may still be decompressed.
    budget: u64,
    end: Option<End>,
}

#[derive(Debug)]
enum End {
    Clean,
    Broken(io::Error),
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").field("start", &self.start).field("end", &self.end).finish_non_exhaustive()
    }
}

impl Archive {
    /// Reads `file` from its beginning.
    ///
    /// # Errors
    /// When its size can't be told.
    pub fn open(file: File) -> io::Result<Self> {
        let bytes_max = file.metadata()?.len().saturating_mul(RATIO_MAX).max(BYTES_MAX);
        Ok(Self::with_limit(file, bytes_max))
    }

    fn with_limit(file: File, bytes_max: u64) -> Self {
        let decoder = MultiGzDecoder::new(BufReader::with_capacity(READ_BYTES, file));
        Self { decoder, window: Vec::new(), start: 0, budget: bytes_max, end: None }
    }

    /// The time of the last line, if the header tells.
    #[must_use]
    pub fn last_time_ns(&self) -> Option<i64> {
        #[derive(Deserialize)]
        struct Extra<'a> {
            #[serde(rename = "lastTime")]
            last_time: &'a str,
        }
        let extra: Extra<'_> = serde_json::from_slice(self.decoder.header()?.extra()?).ok()?;
        stamp::parse(extra.last_time.as_bytes()).map(|(time_ns, _)| time_ns)
    }

    /// Fills `page` with what stands at `at`, as far as there is anything, and tells how much it is;
    /// `None` when the way there is long: ask again. Places must not go back.
    ///
    /// # Errors
    /// When they go back.
    pub fn read_at(&mut self, page: &mut [u8], at: u64) -> io::Result<Option<usize>> {
        let ahead = at.checked_sub(self.start).ok_or(io::ErrorKind::InvalidInput)?;
        let passed = self.window.len().min(usize::try_from(ahead).unwrap_or(usize::MAX));
        self.window.drain(..passed);
        self.start += passed as u64;
        for _ in 0..PAGES_PASSED {
            let ahead = usize::try_from(at - self.start).unwrap_or(usize::MAX).min(page.len());
            let passed = self.decompress(page.get_mut(..ahead).unwrap_or_default());
            self.start += passed as u64;
            if passed == 0 {
                break;
            }
        }
        if self.start < at {
            return Ok(self.end.is_some().then_some(0));
        }
        let kept = self.window.len().min(page.len());
        if let (Some(place), Some(window)) = (page.get_mut(..kept), self.window.get(..kept)) {
            place.copy_from_slice(window);
        }
        let more = self.decompress(page.get_mut(kept..).unwrap_or_default());
        self.window.extend_from_slice(page.get(kept..kept + more).unwrap_or_default());
        Ok(Some(kept + more))
    }

    /// Its size on disk once it has no name any more.
    ///
    /// # Errors
    /// When the file can't be asked.
    pub fn deleted(&self) -> io::Result<Option<u64>> {
        let metadata = self.decoder.get_ref().get_ref().metadata()?;
        Ok((metadata.nlink() == 0).then(|| metadata.size()))
    }

    /// Why there is nothing more, if that is not its proper end.
    #[must_use]
    pub fn broken(&self) -> Option<&io::Error> {
        match &self.end {
            Some(End::Broken(error)) => Some(error),
            Some(End::Clean) | None => None,
        }
    }

    /// Fills `into`, or less at the end.
    fn decompress(&mut self, into: &mut [u8]) -> usize {
        let mut filled = 0;
        while let Some(room) = into.get_mut(filled..).filter(|room| !room.is_empty())
            && self.end.is_none()
        {
            match self.decoder.read(room) {
                Ok(0) => self.end = Some(End::Clean),
                Ok(bytes) if bytes as u64 > self.budget => {
                    let bomb =
                        io::Error::new(io::ErrorKind::FileTooLarge, "it holds far more than a log can");
                    self.end = Some(End::Broken(bomb));
                }
                Ok(bytes) => {
                    self.budget -= bytes as u64;
                    filled += bytes;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.end = Some(End::Broken(error)),
            }
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use flate2::{Compression, GzBuilder};
    use proptest::prelude::*;

    use super::*;

    fn compressed(content: &[u8]) -> File {
        let extra = br#"{"lastTime":"2026-11-24T14:38:18.12Z"}"#.to_vec();
        let mut file = tempfile::tempfile().unwrap();
        let mut encoder = GzBuilder::new().extra(extra).write(&mut file, Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap();
        file.rewind().unwrap();
        file
    }

    #[test]
    fn the_header_tells_when_the_last_line_was_written() {
        let archive = Archive::open(compressed(b"x")).unwrap();
        assert_eq!(archive.last_time_ns().unwrap() % 1_000_000_000, 120_000_000);
        let plain = tempfile::tempfile().unwrap();
        assert_eq!(Archive::open(plain).unwrap().last_time_ns(), None);
    }

    #[test]
    fn a_place_far_inside_is_reached_in_several_bounded_steps() {
        let content: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let mut archive = Archive::open(compressed(&content)).unwrap();
        let (mut page, mut steps) = ([0; 1000], 1);
        let read = loop {
            match archive.read_at(&mut page, 390_000).unwrap() {
                Some(read) => break read,
                None => steps += 1,
            }
        };
        assert_eq!((&page[..read], steps), (&content[390_000..391_000], 25));
        assert_eq!(archive.read_at(&mut page, 399_999).unwrap(), Some(1));
        assert_eq!(archive.read_at(&mut page, 500_000).unwrap(), Some(0), "there is no such place");
        assert!(archive.read_at(&mut page, 0).is_err(), "there is no way back");
        assert!(archive.broken().is_none());
    }

    #[test]
    fn what_a_torn_archive_still_holds_is_read_and_then_it_is_broken() {
        let content: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let file = compressed(&content);
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        let mut archive = Archive::open(file).unwrap();
        let mut page = vec![0; content.len()];
        let read = archive.read_at(&mut page, 0).unwrap().unwrap();
        assert!(read > content.len() / 4 && read < content.len());
        assert_eq!(page[..read], content[..read]);
        assert!(archive.broken().is_some());
    }

    #[test]
    fn a_bomb_is_given_up_at_the_limit() {
        let mut archive = Archive::with_limit(compressed(&vec![0; 1 << 20]), 300_000);
        let (mut page, mut at) = ([0; 50_000], 0);
        while let read @ 1.. = archive.read_at(&mut page, at).unwrap().unwrap() {
            at += read as u64;
        }
        assert!((200_000..=300_000).contains(&at), "{at}");
        assert!(archive.broken().unwrap().to_string().contains("more than a log can"));
    }

    #[test]
    fn what_is_no_archive_is_broken_from_the_start() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"plain text, whatever its name says").unwrap();
        file.rewind().unwrap();
        let mut archive = Archive::open(file).unwrap();
        assert_eq!(archive.read_at(&mut [0; 100], 0).unwrap(), Some(0));
        assert!(archive.broken().is_some());
    }

    proptest! {
        #[test]
        fn whatever_the_steps_it_reads_what_was_compressed(
            content in prop::collection::vec(any::<u8>(), 0..2000),
            steps in prop::collection::vec(0..150usize, 1..40),
            page in 1..200usize,
        ) {
            let mut archive = Archive::open(compressed(&content)).unwrap();
            let mut at = 0;
            for step in steps {
                let mut page = vec![0; page];
                let read = archive.read_at(&mut page, at as u64).unwrap().unwrap();
                let expected = content.get(at..).unwrap_or_default();
                prop_assert_eq!(&page[..read], &expected[..expected.len().min(page.len())]);
                at += step.min(read);
            }
        }
    }
}
