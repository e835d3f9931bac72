//! A container's log on disk, written and rotated as Docker's json-file driver does it (moby,
//! `daemon/logger/loggerutils/logfile.go`): same names, same modes, same moments.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use flate2::{Compression, GzBuilder};
use jiff::Timestamp;

use super::entry::{self, Entry};
use super::log_place::{LogPlace, Mark, rotated};
use super::options::Rotation;

/// Docker's, for its logs.
pub(super) const MODE: u32 = 0o640;

/// A log that is written to.
#[derive(Debug)]
pub(super) struct LogFile {
    place: Arc<LogPlace>,
    file: File,
    mark: Mark,
    last_time: Timestamp,
    line: Vec<u8>,
}

impl LogFile {
    /// Opens it, and goes on where an earlier life of the container ended.
    ///
    /// # Errors
    /// The file can't be made or written.
    pub(super) fn open(place: Arc<LogPlace>) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(MODE).open(&place.path)?;
        let mark = Mark { bytes: file.metadata()?.len(), ..*place.mark.borrow() };
        place.mark.send_replace(mark);
        Ok(Self { place, file, mark, last_time: Timestamp::UNIX_EPOCH, line: Vec::new() })
    }

    /// Writes one entry whole, into a new file where the one so far is full.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn write(&mut self, entry: &Entry) -> io::Result<()> {
        if self.place.rotation.max_bytes.is_some_and(|max| self.mark.bytes >= max) {
            self.rotate()?;
        }
        self.line.clear();
        entry.write_json(&mut self.line);
        self.file.write_all(&self.line)?;
        self.mark.bytes += self.line.len() as u64;
        self.last_time = entry.time;
        self.place.mark.send_replace(self.mark);
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let place = Arc::clone(&self.place);
        let (path, Rotation { max_files, compress, .. }) = (&place.path, place.rotation);
        let names = place.names();
        for age in (2..max_files).rev() {
            move_over(&rotated(path, age - 1, compress), &rotated(path, age, compress))?;
        }
        // Also where only one file is to be kept: Docker 20.10 does so, and 23.0 and later remove it.
        move_over(path, &rotated(path, 1, false))?;
        self.file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(path)?;
        self.mark = Mark { generation: self.mark.generation + 1, bytes: 0 };
        self.place.mark.send_replace(self.mark);
        drop(names);
        if compress && max_files > 1 {
            pack(&rotated(path, 1, false), &rotated(path, 1, true), self.last_time)?;
        }
        Ok(())
    }
}

/// There may be none yet.
fn move_over(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Docker notes the last entry's time in the header (RFC 1952, `FEXTRA`), so that its readers can skip the file.
fn pack(from: &Path, to: &Path, last: Timestamp) -> io::Result<()> {
    let extra = format!("{{\"lastTime\":\"{}\"}}", entry::short(last));
    let target = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(to)?;
    let mut packed = GzBuilder::new().extra(extra).write(target, Compression::default());
    io::copy(&mut File::open(from)?, &mut packed)?;
    packed.finish()?;
    std::fs::remove_file(from)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::world::line::Stream;

    fn entry(text: &str, second: i64) -> Entry {
        let time = Timestamp::from_second(second).unwrap();
        Entry { text: text.as_bytes().to_vec(), stream: Stream::Out, time }
    }

    /// Twelve entries of 74 bytes; names and their first texts.
    fn written(rotation: Rotation) -> Vec<(String, String)> {
        let folder = tempfile::tempdir().unwrap();
        let mut log =
            LogFile::open(Arc::new(LogPlace::new(folder.path().join("x-json.log"), rotation))).unwrap();
        for number in 0..12 {
            log.write(&entry(&format!("line {number:02}\n"), number)).unwrap();
        }
        let mut files: Vec<(String, String)> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|file| {
                let path = file.unwrap().path();
                let mut text = String::new();
                if path.extension().is_some_and(|ending| ending == "gz") {
                    flate2::read::GzDecoder::new(File::open(&path).unwrap())
                        .read_to_string(&mut text)
                        .unwrap();
                } else {
                    text = std::fs::read_to_string(&path).unwrap();
                }
                let lines: Vec<&str> = text.lines().map(|line| line.get(8..15).unwrap()).collect();
                (path.file_name().unwrap().to_string_lossy().into_owned(), lines.join(","))
            })
            .collect();
        files.sort();
        files
    }

    fn expect(found: &[(String, String)], expected: &[(&str, &str)]) {
        let found: Vec<(&str, &str)> =
            found.iter().map(|(name, lines)| (name.as_str(), lines.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_file_is_begun_by_the_entry_after_the_one_that_filled_it() {
        let rotation = Rotation { max_bytes: Some(200), max_files: 3, compress: false };
        let expected = [
            ("x-json.log", "line 09,line 10,line 11"),
            ("x-json.log.1", "line 06,line 07,line 08"),
            ("x-json.log.2", "line 03,line 04,line 05"),
        ];
        expect(&written(rotation), &expected);
    }

    #[test]
    fn those_that_are_over_are_packed() {
        let rotation = Rotation { max_bytes: Some(200), max_files: 3, compress: true };
        let expected = [
            ("x-json.log", "line 09,line 10,line 11"),
            ("x-json.log.1.gz", "line 06,line 07,line 08"),
            ("x-json.log.2.gz", "line 03,line 04,line 05"),
        ];
        expect(&written(rotation), &expected);
    }

    #[test]
    fn of_one_file_the_last_is_left_and_without_a_size_none_is_begun() {
        let rotation = Rotation { max_bytes: Some(200), max_files: 1, compress: false };
        let expected =
            [("x-json.log", "line 09,line 10,line 11"), ("x-json.log.1", "line 06,line 07,line 08")];
        expect(&written(rotation), &expected);
        let all = written(Rotation { max_bytes: None, max_files: 1, compress: false });
        assert_eq!(all[0].1.split(',').count(), 12);
    }

    #[test]
    fn whoever_follows_is_told_how_far_it_goes() {
        let folder = tempfile::tempdir().unwrap();
        let rotation = Rotation { max_bytes: Some(100), max_files: 2, compress: false };
        let path = folder.path().join("x-json.log");
        let place = Arc::new(LogPlace::new(path.clone(), rotation));
        let mut log = LogFile::open(Arc::clone(&place)).unwrap();
        for number in 0..3 {
            log.write(&entry("a\n", number)).unwrap();
        }
        assert_eq!(
            *place.mark.borrow(),
            Mark { generation: 1, bytes: std::fs::metadata(path).unwrap().len() }
        );
    }
}
