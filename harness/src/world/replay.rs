//! Real logs for the generators to write: the texts of a folder of json-file logs, made ready once for all containers.
//!
//! A generator writes its own header and checksum about each text, so that the audit stays exact while lengths, escapes
//! and bytes are those of real lines. What is made ready lies beside the counters, which every container sees: a line for
//! each, its output's letter first.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::world::line::Stream;

/// Where it lies in the folder of the counters: no source's name begins like this.
const FOLDER: &str = ".replay";
/// All texts together: what is beyond is left out, and said.
const BYTES_MAX: u64 = 256 << 20;
/// Nobody writes a longer line; what follows is left out.
const TEXT_BYTES_MAX: usize = super::generate::LINE_BYTES_MAX;

/// A folder that can't be replayed.
#[derive(Debug, thiserror::Error)]
#[error("can't replay {path}: {why}")]
pub struct ReplayError {
    path: PathBuf,
    why: String,
}

impl ReplayError {
    fn io(path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self { path: path.clone(), why: error.to_string() }
    }
}

/// What was made ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// A file for each log that has a line, in the order of their names.
    pub files: Vec<PathBuf>,
    lines: u64,
    skipped: u64,
    /// What did not fit.
    cut: u64,
}

/// A line of a json-file log.
#[derive(Deserialize)]
struct Entry {
    log: String,
    stream: String,
}

impl Ready {
    /// Reads every log of a folder, and of the folders in it, and makes it ready in the folder of the counters.
    ///
    /// # Errors
    /// [`ReplayError`] that names the file, and where there is no log in the folder.
    pub fn make(from: &Path, counters: &Path) -> Result<Self, ReplayError> {
        let into = counters.join(FOLDER);
        fs::create_dir_all(&into).map_err(ReplayError::io(&into))?;
        let logs = logs(from)?;
        let mut ready = Self::default();
        for log in &logs {
            let room = BYTES_MAX / logs.len() as u64;
            ready.add(log, into.join(format!("{:05}", ready.files.len())), room)?;
        }
        if ready.files.is_empty() {
            let why = "no log in it has a line of Docker's json-file driver (names end in .log, .json, .log.1 and so on)";
            return Err(ReplayError { path: from.to_owned(), why: why.to_owned() });
        }
        Ok(ready)
    }

    /// What it is, in words.
    #[must_use]
    pub fn words(&self) -> String {
        let Self { files, lines, skipped, cut } = self;
        let mut words = format!("{lines} lines of {} logs are replayed", files.len());
        if *skipped > 0 {
            words.push_str(&format!(
                "; {skipped} lines are no entries of the json-file driver and are left out"
            ));
        }
        if *cut > 0 {
            words.push_str(&format!(
                "; {cut} lines more do not fit into {} MiB and are left out",
                BYTES_MAX >> 20
            ));
        }
        words
    }

    fn add(&mut self, log: &Path, into: PathBuf, room: u64) -> Result<(), ReplayError> {
        let mut source = BufReader::new(File::open(log).map_err(ReplayError::io(log))?);
        let mut out = io::BufWriter::new(File::create(&into).map_err(ReplayError::io(&into))?);
        let (mut pieces, mut written, mut lines, mut entry) =
            ([String::new(), String::new()], 0, 0, Vec::new());
        while source.read_until(b'\n', &mut entry).map_err(ReplayError::io(log))? > 0 {
            match serde_json::from_slice::<Entry>(&entry) {
                Ok(Entry { log: text, stream }) => {
                    let stream = if stream == Stream::Err.output() { Stream::Err } else { Stream::Out };
                    let [out_piece, err_piece] = &mut pieces;
                    let piece = if stream == Stream::Err { err_piece } else { out_piece };
                    piece.push_str(text.trim_end_matches('\n'));
                    // A long line comes in pieces, and only the last one ends.
                    if text.ends_with('\n') {
                        let line = format!("{}{}\n", stream.letter(), shortened(&piece.replace('\n', " ")));
                        piece.clear();
                        if written + line.len() as u64 > room {
                            self.cut += 1;
                        } else {
                            written += line.len() as u64;
                            lines += 1;
                            out.write_all(line.as_bytes()).map_err(ReplayError::io(&into))?;
                        }
                    }
                }
                Err(_) => self.skipped += 1,
            }
            entry.clear();
        }
        out.flush().map_err(ReplayError::io(&into))?;
        if lines > 0 {
            self.lines += lines;
            self.files.push(into);
        }
        Ok(())
    }
}

fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or(text)
}

/// Every log, in the order of their names.
fn logs(folder: &Path) -> Result<Vec<PathBuf>, ReplayError> {
    let mut found = Vec::new();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(ReplayError::io(&folder))? {
            let path = entry.map_err(ReplayError::io(&folder))?.path();
            if path.is_dir() && depth == 0 {
                folders.push((path, depth + 1));
            } else if path.is_file() && is_log(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Its name ends in `.log` or `.json`, or in that and a number.
fn is_log(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let rotated =
        name.rsplit_once('.').filter(|(_, number)| number.bytes().all(|byte| byte.is_ascii_digit()));
    let name = rotated.map_or(name.as_str(), |(before, _)| before);
    name.ends_with(".log") || name.ends_with(".json")
}

/// One log that was made ready, read over and over.
#[derive(Debug)]
pub struct Replay {
    file: BufReader<File>,
    line: Vec<u8>,
}

impl Replay {
    /// Opens it.
    ///
    /// # Errors
    /// It is not there, or can't be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: BufReader::new(File::open(path)?), line: Vec::new() })
    }

    /// The next text and its output; after the last one the first again.
    ///
    /// # Errors
    /// It can't be read any more, or holds nothing.
    pub fn line(&mut self) -> io::Result<(Stream, &str)> {
        self.line.clear();
        if self.file.read_until(b'\n', &mut self.line)? == 0 {
            io::Seek::rewind(&mut self.file)?;
            self.file.read_until(b'\n', &mut self.line)?;
        }
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "what is replayed is damaged");
        let text = str::from_utf8(&self.line).map_err(|_| damaged())?.trim_end_matches('\n');
        let text_of = |stream: Stream| Some((stream, text.strip_prefix(stream.letter())?));
        text_of(Stream::Out).or_else(|| text_of(Stream::Err)).ok_or_else(damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::line;

    /// As it ships, with what is awkward in real logs.
    fn shipped() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/real_files")
    }

    #[test]
    fn what_is_whole_is_made_ready_and_the_rest_is_counted() {
        let counters = tempfile::tempdir().unwrap();
        let ready = Ready::make(&shipped(), counters.path()).unwrap();
        assert_eq!((ready.files.len(), ready.lines, ready.skipped, ready.cut), (3, 14, 3, 0), "{ready:?}");
        assert!(
            ready.words().contains("14 lines of 3 logs") && ready.words().contains("3 lines are no entries")
        );
        let mut replay = Replay::open(&ready.files[0]).unwrap();
        let mut all = Vec::new();
        for _ in 0..12 {
            let (stream, text) = replay.line().unwrap();
            all.push((stream, text.to_owned()));
        }
        assert_eq!(all[0], all[ready_lines(&ready.files[0])], "and over again");
        assert!(all.iter().any(|(stream, _)| *stream == Stream::Err));
        let texts: Vec<String> = ready.files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        let has = |wanted: &dyn Fn(&str) -> bool| texts.iter().flat_map(|text| text.lines()).any(wanted);
        assert!(has(&|line| line.len() > 40_000), "joined from its pieces");
        assert!(has(&|line| line == "o"), "an empty line");
        assert!(has(&|line| line.contains('\u{fffd}')) && has(&|line| line.contains("\"quoted\"\t\\")));
    }

    fn ready_lines(file: &Path) -> usize {
        fs::read_to_string(file).unwrap().lines().count()
    }

    #[test]
    fn a_text_of_any_kind_makes_a_line_that_is_read_back_whole() {
        let counters = tempfile::tempdir().unwrap();
        let ready = Ready::make(&shipped(), counters.path()).unwrap();
        for file in &ready.files {
            let mut replay = Replay::open(file).unwrap();
            for number in 1..=ready_lines(file) as u64 {
                let (stream, text) = replay.line().unwrap();
                let fields = line::Fields { source: "c01", stream, number, written_ns: 5 };
                let mut written = String::new();
                line::write_about(&mut written, &fields, text);
                assert_eq!(line::parse(&written), Ok(fields));
                // Docker's cuts fall between letters.
                assert!(
                    (1..written.len() / (16 * 1024) + 1).all(|cut| written.is_char_boundary(cut * 16 * 1024))
                );
            }
        }
    }

    #[test]
    fn a_folder_without_a_log_is_refused() {
        let (empty, counters) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(empty.path().join("notes.log"), "no json\n").unwrap();
        let message = Ready::make(empty.path(), counters.path()).unwrap_err().to_string();
        assert!(message.contains("json-file driver"), "{message}");
        let message = Ready::make(&empty.path().join("gone"), counters.path()).unwrap_err().to_string();
        assert!(message.contains("gone: No such file"), "{message}");
    }
}
