//! One CSV file of a run directory, which rows are appended to.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::record::files::RecordError;

/// A file that rows are appended to, each flushed.
#[derive(Debug)]
pub(super) struct Table {
    path: PathBuf,
    writer: csv::Writer<File>,
    /// The columns that stand in it, where it had rows before: those to come must have the same.
    columns: Option<csv::StringRecord>,
}

impl Table {
    /// Makes it; there must not be one.
    pub(super) fn create(path: &Path) -> Result<Self, RecordError> {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        let file = file.map_err(RecordError::io("write", path))?;
        Ok(Self { path: path.to_owned(), writer: csv::Writer::from_writer(file), columns: None })
    }

    /// Goes on with it, or makes it where there is none. Answers with how many bytes were cut: those after the last
    /// whole row.
    pub(super) fn open(path: &Path) -> Result<(Self, u64), RecordError> {
        let failed = RecordError::io("write", path);
        let whole = match whole(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Self::create(path)?, 0)),
            whole => whole.map_err(&failed)?,
        };
        let file = OpenOptions::new().append(true).open(path).map_err(&failed)?;
        let length = file.metadata().map_err(&failed)?.len();
        file.set_len(whole.bytes).map_err(&failed)?;
        let writer = csv::WriterBuilder::new().has_headers(whole.columns.is_none()).from_writer(file);
        Ok((Self { path: path.to_owned(), writer, columns: whole.columns }, length - whole.bytes))
    }

    /// Appends rows.
    pub(super) fn append<T: Serialize>(&mut self, rows: &[T]) -> Result<(), RecordError> {
        if let (Some(there), Some(row)) = (&self.columns, rows.first()) {
            self.same(there, row)?;
            self.columns = None;
        }
        for row in rows {
            self.writer.serialize(row).map_err(|error| self.failed(error.into()))?;
        }
        self.writer.flush().map_err(|error| self.failed(error))
    }

    /// Rows of another flatline would stand under columns that are not theirs.
    fn same<T: Serialize>(&self, there: &csv::StringRecord, row: &T) -> Result<(), RecordError> {
        let mut sample = csv::Writer::from_writer(Vec::new());
        sample.serialize(row).map_err(|error| self.failed(error.into()))?;
        let text = sample.into_inner().unwrap_or_default();
        let columns = csv::Reader::from_reader(text.as_slice()).headers().cloned().unwrap_or_default();
        if columns == *there {
            return Ok(());
        }
        let why = "its columns are those of another version of flatline; go on with the one that began it";
        Err(RecordError::Damaged { path: self.path.clone(), why: why.to_owned() })
    }

    fn failed(&self, source: io::Error) -> RecordError {
        RecordError::Io { what: "write", path: self.path.clone(), source }
    }
}

/// The whole rows of a file.
struct Whole {
    bytes: u64,
    columns: Option<csv::StringRecord>,
}

/// Up to the last row that has all of its columns and its line feed. What a power cut leaves of a row may be zeros.
fn whole(path: &Path) -> io::Result<Whole> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut whole = Whole { bytes: 0, columns: None };
    if length == 0 {
        return Ok(whole);
    }
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&file);
    let mut row = csv::ByteRecord::new();
    while reader.read_byte_record(&mut row).map_err(io::Error::from)? {
        let end = reader.position().byte();
        let from = row.position().map_or(0, csv::Position::byte);
        // Only the last one can be torn, whatever it looks like.
        if end == length && is_torn(&file, from, end)? || row.as_slice().contains(&0) {
            continue;
        }
        match &whole.columns {
            None => whole.columns = csv::StringRecord::from_byte_record(row.clone()).ok(),
            Some(columns) if columns.len() != row.len() => continue,
            Some(_) => {}
        }
        whole.bytes = end;
    }
    Ok(whole)
}

/// Whether these bytes end within a row: without its line feed, or within quotes, where a line feed ends nothing.
fn is_torn(file: &File, from: u64, to: u64) -> io::Result<bool> {
    let mut row = vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or(0)];
    file.read_exact_at(&mut row, from)?;
    Ok(!row.ends_with(b"\n") || row.iter().filter(|byte| **byte == b'"').count() % 2 == 1)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::record::files::read_csv;
    use crate::result::Event;

    const HEAD: &str = "elapsed_s,target,event,detail\n";

    fn event(elapsed_s: f64) -> Event {
        Event { elapsed_s, target: String::new(), event: "churn".into(), detail: "a \"b\",\nc".into() }
    }

    /// A file that ends so is opened, and a row is appended.
    fn opened(text: &str) -> (u64, String, Vec<f64>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.csv");
        fs::write(&path, text).unwrap();
        let (mut table, cut) = Table::open(&path).unwrap();
        let kept = fs::read_to_string(&path).unwrap();
        table.append(&[event(99.0)]).unwrap();
        let rows: Vec<Event> = read_csv(&path).unwrap();
        (cut, kept, rows.iter().map(|row| row.elapsed_s).collect())
    }

    #[test]
    fn a_torn_last_row_is_cut_and_rows_go_on_behind_the_last_whole_one() {
        let good = format!("{HEAD}1.5,,phase,load\n2.5,,churn,\"two\nlines, \"\"quoted\"\"\"\n");
        for torn in [
            "",
            "3",
            "3.5,,ph",
            "3.5,,churn,\"re",
            "3.5,,churn,\"re\n",
            "3.5,,churn,restart c01",
            "3.5,,ch\n",
            "\0\0\0",
            "3.5,\0\0,a,b\n",
        ] {
            let (cut, kept, rows) = opened(&format!("{good}{torn}"));
            assert_eq!(cut, torn.len() as u64, "{torn:?}");
            assert_eq!(kept, good, "{torn:?}");
            assert_eq!(rows, [1.5, 2.5, 99.0], "{torn:?}");
        }
    }

    #[test]
    fn a_file_without_a_whole_row_begins_anew() {
        for (text, cut) in [("", 0), ("elapsed_s,tar", 13), ("\0\0", 2)] {
            assert_eq!(opened(text), (cut, String::new(), vec![99.0]));
        }
        assert_eq!(opened(&format!("{HEAD}1.5,")), (4, HEAD.to_owned(), vec![99.0]));
    }

    #[test]
    fn a_file_that_is_not_there_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.csv");
        let (mut table, cut) = Table::open(&path).unwrap();
        table.append(&[event(1.0), event(2.0)]).unwrap();
        assert_eq!((cut, read_csv::<Event>(&path).unwrap().len()), (0, 2));
    }

    #[test]
    fn rows_of_another_version_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.csv");
        fs::write(&path, "elapsed_s,target,event\n1.5,,phase\n").unwrap();
        let (mut table, _) = Table::open(&path).unwrap();
        let message = table.append(&[event(2.0)]).unwrap_err().to_string();
        assert!(
            message.contains("events.csv is damaged") && message.contains("another version"),
            "{message}"
        );
    }
}
