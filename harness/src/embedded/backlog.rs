//! Logs that were written before anybody looked: numbered, checksummed lines on disk, byte for byte as this engine, and so
//! Docker's json-file driver, would have written them. Much faster than to have a container write them.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::entry::Entry;
use super::log_file::MODE;
use super::split::PIECE_BYTES;
use crate::world::line::{self, Fields, LINE_BYTES_MAX, Stream};

/// What a line is filled up with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Text {
    /// Letters, and now and then a sign that JSON must escape: one of thirty.
    #[default]
    Plain,
    /// A JSON document in a line, as many programs log: one sign of three is escaped.
    Escapes,
}

/// Of what a line full of escapes is made, over and over: quotes, backslashes, a tab, what HTML minds, and letters of more
/// than one byte.
const ESCAPES: &str = r#"{"level":"warn","path":"C:\\logs\\a<b>&\"c\"","note":"é	→ \u001b[31m"},"#;

/// The log of one container.
#[derive(Clone, Copy, Debug)]
pub struct Backlog<'a> {
    /// The container's short name in the run.
    pub source: &'a str,
    /// How many lines.
    pub lines: u64,
    /// Bytes of each, newline left out, before anything is escaped.
    pub line_bytes: usize,
    /// What they are filled up with.
    pub text: Text,
    /// Seed of what is drawn.
    pub seed: u64,
    /// When the first was written, nanoseconds since the epoch.
    pub first_ns: i64,
    /// From line to line, nanoseconds.
    pub step_ns: i64,
}

impl Backlog<'_> {
    /// Writes it, and answers with how many bytes it has. There must be none yet.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, path: &Path) -> io::Result<u64> {
        let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
        let mut file = BufWriter::with_capacity(1 << 20, file);
        let (mut text, mut json, mut bytes) = (String::new(), Vec::new(), 0);
        let filling = self.filling();
        for number in 1..=self.lines {
            let before = i64::try_from(number - 1).unwrap_or(i64::MAX);
            let written_ns = self.first_ns.saturating_add(self.step_ns.saturating_mul(before));
            let fields = Fields { source: self.source, stream: Stream::Out, number, written_ns };
            text.clear();
            match self.text {
                Text::Plain => line::write(&mut text, &fields, self.seed, self.line_bytes),
                Text::Escapes => {
                    let room = self.line_bytes.saturating_sub(line::shortest(&fields) + 1);
                    let end = filling.floor_char_boundary(room);
                    line::write_about(&mut text, &fields, filling.get(..end).unwrap_or_default());
                }
            }
            text.push('\n');
            let time = Timestamp::from_nanosecond(i128::from(written_ns)).unwrap_or_default();
            json.clear();
            for piece in text.as_bytes().chunks(PIECE_BYTES) {
                Entry { text: piece.to_vec(), stream: Stream::Out, time }.write_json(&mut json);
            }
            file.write_all(&json)?;
            bytes += json.len() as u64;
        }
        file.flush()?;
        Ok(bytes)
    }

    fn filling(&self) -> String {
        ESCAPES.repeat(self.line_bytes.min(LINE_BYTES_MAX) / ESCAPES.len() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: Text, line_bytes: usize) -> (Vec<Entry>, u64) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x-json.log");
        let backlog =
            Backlog { source: "c01", lines: 50, line_bytes, text, seed: 3, first_ns: 1_000, step_ns: 7 };
        let bytes = backlog.write(&path).unwrap();
        assert!(backlog.write(&path).is_err(), "never over another");
        let file = std::fs::read(&path).unwrap();
        assert_eq!(file.len() as u64, bytes);
        let lines = file.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        (lines.map(|line| Entry::parse(line).unwrap()).collect(), bytes)
    }

    #[test]
    fn each_line_is_whole_numbered_and_as_long_as_it_should_be() {
        for (text, line_bytes) in [(Text::Plain, 200), (Text::Escapes, 200), (Text::Plain, 2000)] {
            let (entries, _) = written(text, line_bytes);
            assert_eq!(entries.len(), 50);
            for (place, entry) in (0..).zip(&entries) {
                let line = std::str::from_utf8(&entry.text).unwrap().strip_suffix('\n').unwrap();
                let fields = line::parse(line).unwrap();
                assert_eq!(
                    (fields.number, fields.written_ns),
                    (place + 1, 1_000 + 7 * i64::try_from(place).unwrap())
                );
                assert_eq!(entry.time.as_nanosecond(), i128::from(fields.written_ns));
                assert!((line_bytes - 3..=line_bytes).contains(&line.len()), "{}: {line}", line.len());
            }
        }
    }

    #[test]
    fn a_line_full_of_escapes_is_far_longer_on_disk() {
        let (_, plain) = written(Text::Plain, 200);
        let (_, escapes) = written(Text::Escapes, 200);
        assert!(escapes > plain + plain / 6, "{escapes} {plain}");
    }

    #[test]
    fn a_long_line_lies_in_pieces_as_docker_cuts_it() {
        let (entries, _) = written(Text::Plain, 40_000);
        assert_eq!(entries.len(), 150);
        let line: Vec<u8> = entries.iter().take(3).flat_map(|entry| entry.text.clone()).collect();
        assert!(line::parse(std::str::from_utf8(&line).unwrap().trim_end()).is_ok());
        assert_eq!(entries[0].text.len(), PIECE_BYTES);
    }
}
