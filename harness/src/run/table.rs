//! Any recorded series as a table: a column `elapsed_s`, an optional column `target`, and columns of
//! counts, of which only those asked for are read.
//!
//! The file is opened once and read from its start to its end, so that a pipe will do. What a row says wrong is
//! kept beside the series that it spoils, with its line, and never taken for a number.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use csv::{ByteRecord, ErrorKind};

use crate::growth::Point;
use crate::run::bounded::Bounded;

/// From here on whole numbers are no longer told apart, and no count of a process comes near it.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// How much is read before it is taken for no table of samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of one row.
    pub(super) row_bytes: u64,
    /// Different targets.
    pub(super) targets: usize,
    /// Values in all.
    pub(super) values: usize,
}

impl Default for Bounds {
    /// Three years of ten targets, a sample a second; what is larger would take more than two GB.
    fn default() -> Self {
        Self { row_bytes: 1 << 20, targets: 10_000, values: 100_000_000 }
    }
}

/// A file that is no table of samples.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// It can't be read.
    #[error("can't read {path}: {source}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It can be read, and is something else.
    #[error("can't judge {path}: {why}")]
    Unfit {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
}

/// One column of one target.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Column {
    /// Its samples, in the file's order.
    pub(super) points: Vec<Point>,
    /// The first thing that is wrong with them.
    pub(super) fault: Option<String>,
}

/// The series of a table: by target, then in the order in which columns were asked for.
pub(super) type Series = BTreeMap<String, Vec<Column>>;

/// A table of which the header has been read.
pub(super) struct Table {
    path: PathBuf,
    bounds: Bounds,
    reader: csv::Reader<Bounded<File>>,
    header: Vec<String>,
}

/// Where in a row things stand.
#[derive(Default)]
struct Places {
    elapsed: usize,
    target: Option<usize>,
    counts: Vec<usize>,
}

impl Table {
    /// Opens a table and reads its header.
    ///
    /// # Errors
    /// [`TableError`]: the file can't be read, or has no header.
    pub(super) fn open(path: &Path, bounds: Bounds) -> Result<Self, TableError> {
        let unreadable = |source| TableError::Unreadable { path: path.to_owned(), source };
        let file = Bounded::new(File::open(path).map_err(unreadable)?, bounds.row_bytes);
        let mut reader = csv::ReaderBuilder::new().flexible(true).buffer_capacity(1 << 16).from_reader(file);
        let header = reader.byte_headers().map_err(|error| explained(path, error))?;
        let names = header.iter().map(|name| String::from_utf8_lossy(name.trim_ascii()).into_owned());
        let header: Vec<String> = names.collect();
        let unfit = |why: &str| TableError::Unfit { path: path.to_owned(), why: why.to_owned() };
        if header.iter().all(String::is_empty) {
            return Err(unfit("it is empty; the first line must name the columns, `elapsed_s` among them"));
        }
        // The first two bytes of UTF-16, as spreadsheets write it, are no UTF-8.
        if header.iter().any(|name| name.contains('\0')) || reader.get_ref().begins_with_utf16() {
            return Err(unfit("it is no text in UTF-8; save it as CSV in UTF-8"));
        }
        Ok(Self { path: path.to_owned(), bounds, reader, header })
    }

    /// The names of its columns.
    pub(super) fn columns(&self) -> &[String] {
        &self.header
    }

    /// Reads the columns `wanted`. An empty cell is a sample that could not be taken. Without a column
    /// `target` all rows are one target's, named after the file.
    ///
    /// # Errors
    /// [`TableError`]: the file can't be read, lacks a column, or is larger than its bounds.
    pub(super) fn series(mut self, wanted: &[String]) -> Result<Series, TableError> {
        let places = self.places(wanted)?;
        let stem = self.path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let mut rows = Rows { header: &self.header, wanted, places, ..Rows::default() };
        let mut row = ByteRecord::new();
        while self.reader.read_byte_record(&mut row).map_err(|error| explained(&self.path, error))? {
            self.reader.get_mut().row_begins_at(row.position().map_or(0, csv::Position::byte));
            rows.take(&row, stem.as_bytes());
            if rows.targets.len() > self.bounds.targets || rows.values > self.bounds.values {
                let why = format!(
                    "it has more than {} targets or {} values; leave out some rows or columns",
                    self.bounds.targets, self.bounds.values
                );
                return Err(TableError::Unfit { path: self.path, why });
            }
        }
        Ok(rows.done())
    }

    fn places(&self, wanted: &[String]) -> Result<Places, TableError> {
        Ok(Places {
            elapsed: self.needs("elapsed_s")?,
            target: self.place("target")?,
            counts: wanted.iter().map(|name| self.needs(name)).collect::<Result<_, _>>()?,
        })
    }

    /// Where a column stands that must be there.
    ///
    /// # Errors
    /// [`TableError::Unfit`]: it is not there, or twice.
    pub(super) fn needs(&self, name: &str) -> Result<usize, TableError> {
        self.place(name)?.ok_or_else(|| self.unfit(self.lacks(name)))
    }

    fn place(&self, name: &str) -> Result<Option<usize>, TableError> {
        let mut found = (0..).zip(&self.header).filter(|(_, field)| *field == name).map(|(at, _)| at);
        match (found.next(), found.next()) {
            (at, None) => Ok(at),
            _ => Err(self.unfit(format!("two of its columns are named `{name}`; rename one"))),
        }
    }

    fn unfit(&self, why: String) -> TableError {
        TableError::Unfit { path: self.path.clone(), why }
    }

    fn lacks(&self, name: &str) -> String {
        let has = self.header.join(", ");
        let has =
            if has.chars().count() > 200 { has.chars().take(200).chain(['…']).collect() } else { has };
        let separated = [(';', "semicolons"), ('\t', "tabs"), ('|', "bars")];
        let by = separated.iter().find(|(sign, _)| self.header.len() == 1 && has.contains(*sign));
        let advice = by.map_or_else(String::new, |(_, by)| {
            format!("; its columns seem to be separated by {by}: save it with commas, and points in numbers")
        });
        format!("it has no column `{name}`; it has: {}{advice}", has.replace(char::is_control, " "))
    }
}

/// What a reader's error means.
fn explained(path: &Path, error: csv::Error) -> TableError {
    let (path, why) = (path.to_owned(), error.to_string());
    let ErrorKind::Io(source) = error.into_kind() else { return TableError::Unfit { path, why } };
    if source.kind() == io::ErrorKind::InvalidData {
        return TableError::Unfit { path, why: source.to_string() };
    }
    TableError::Unreadable { path, source }
}

/// Rows as they become series.
#[derive(Default)]
struct Rows<'a> {
    header: &'a [String],
    wanted: &'a [String],
    places: Places,
    targets: Vec<(Vec<u8>, Vec<Column>)>,
    by_name: HashMap<Vec<u8>, usize>,
    /// Whose the row before was: mostly also whose the next one is.
    last: usize,
    values: usize,
    /// The line of the last row, and whether it runs over more than one.
    last_line: (u64, bool),
    /// A row of another length than the header's: its line and its length.
    ragged: Option<(u64, usize)>,
    /// What is wrong with the file as a whole, from some line on.
    fault: Option<String>,
}

impl Rows<'_> {
    fn take(&mut self, row: &ByteRecord, stem: &[u8]) {
        if let Some(ragged) = self.ragged.take() {
            self.fault.get_or_insert_with(|| uneven(ragged, self.header.len()));
        }
        let line = row.position().map_or(0, csv::Position::line);
        self.last_line = (line, row.as_slice().contains(&b'\n'));
        if row.len() != self.header.len() {
            self.ragged = Some((line, row.len()));
            return;
        }
        let cell = |at: usize| row.get(at).unwrap_or_default().trim_ascii();
        let target = self.places.target.map_or(stem, cell);
        let index = self.index(target);
        let Some((_, columns)) = self.targets.get_mut(index) else { return };
        let mut elapsed = None;
        for ((column, at), name) in columns.iter_mut().zip(&self.places.counts).zip(self.wanted) {
            let count = cell(*at);
            if count.is_empty() {
                continue;
            }
            let elapsed = elapsed.get_or_insert_with(|| number(cell(self.places.elapsed)));
            match (elapsed.as_ref(), number(count)) {
                (Ok(elapsed_s), Ok(count)) => column.points.push(Point { elapsed_s: *elapsed_s, count }),
                (Err(why), _) => spoil(column, line, "elapsed_s", cell(self.places.elapsed), why),
                (_, Err(why)) => spoil(column, line, name, count, why),
            }
            self.values += 1;
        }
    }

    /// Where a target's series are.
    fn index(&mut self, target: &[u8]) -> usize {
        if self.targets.get(self.last).is_some_and(|(name, _)| name == target) {
            return self.last;
        }
        self.last = self.by_name.get(target).copied().unwrap_or_else(|| {
            self.by_name.insert(target.to_owned(), self.targets.len());
            self.targets.push((target.to_owned(), vec![Column::default(); self.wanted.len()]));
            self.targets.len() - 1
        });
        self.last
    }

    /// All series, with the last row in mind: a kill tears it, and then it is left out.
    fn done(mut self) -> Series {
        let (line, over_lines) = self.last_line;
        match self.ragged {
            Some((_, fields)) if fields < self.header.len() && !over_lines => {}
            Some(ragged) => drop(self.fault.get_or_insert_with(|| uneven(ragged, self.header.len()))),
            None if over_lines => {
                let fault = || format!("the row of line {line} runs to the end: a quote is not closed");
                self.fault.get_or_insert_with(fault);
            }
            None => {}
        }
        if self.targets.is_empty() {
            // Not a row: that is said of each column, and never taken for a pass.
            self.targets.push((Vec::new(), vec![Column::default(); self.wanted.len()]));
        }
        if let Some(fault) = &self.fault {
            let columns = self.targets.iter_mut().flat_map(|(_, columns)| columns);
            columns.for_each(|column| column.fault = Some(fault.clone()));
        }
        let named = |(name, columns): (Vec<u8>, _)| (String::from_utf8_lossy(&name).into_owned(), columns);
        self.targets.into_iter().map(named).collect()
    }
}

fn uneven((line, cells): (u64, usize), columns: usize) -> String {
    format!("line {line} has {cells} cells under {columns} columns: the file is damaged from there on")
}

/// Notes the first thing that is wrong with a column.
fn spoil(column: &mut Column, line: u64, name: &str, cell: &[u8], why: &str) {
    column.fault.get_or_insert_with(|| {
        let cell: String = String::from_utf8_lossy(cell).chars().take(40).collect();
        format!("line {line}: {name} is {cell:?}, {why}")
    });
}

fn number(cell: &[u8]) -> Result<f64, &'static str> {
    let number: f64 =
        std::str::from_utf8(cell).ok().and_then(|cell| cell.parse().ok()).ok_or("which is no number")?;
    match number {
        _ if !number.is_finite() => Err("which is no finite number"),
        _ if number.abs() > EXACT_MAX => Err("which is more than can be counted exactly"),
        number => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Bounds = Bounds { row_bytes: 1 << 16, targets: 3, values: 8 };

    fn bounded(text: impl AsRef<[u8]>, wanted: &[&str], bounds: Bounds) -> Result<Series, TableError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("night.csv");
        std::fs::write(&path, text).unwrap();
        let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        Table::open(&path, bounds)?.series(&wanted)
    }

    fn table(text: impl AsRef<[u8]>) -> Result<Series, TableError> {
        bounded(text, &["fds"], Bounds::default())
    }

    fn message(text: impl AsRef<[u8]>) -> String {
        table(text).unwrap_err().to_string()
    }

    fn fault(text: impl AsRef<[u8]>) -> String {
        table(text).unwrap()["night"][0].fault.clone().unwrap()
    }

    #[test]
    fn rows_are_told_apart_by_target_and_empty_cells_left_out() {
        let series = table("elapsed_s,target,fds\n0,a,10\n0,b,20\n1,a,\n1,b,21\n").unwrap();
        assert_eq!((series["a"][0].points.len(), &series["a"][0].fault), (1, &None));
        assert_eq!(series["b"][0].points[1], Point { elapsed_s: 1.0, count: 21.0 });
    }

    #[test]
    fn columns_come_in_the_order_in_which_they_were_asked_for() {
        let series = bounded("tasks,fds,elapsed_s\n1,2,0\n", &["fds", "tasks"], SMALL).unwrap();
        let counts: Vec<f64> = series["night"].iter().map(|column| column.points[0].count).collect();
        assert_eq!(counts, [2.0, 1.0]);
    }

    #[test]
    fn a_byte_order_mark_blanks_quotes_and_line_ends_of_windows_are_no_part_of_a_name() {
        let text = "\u{feff}\"elapsed_s\", target ,\"fds\"\r\n0,\"a, of b\",10\r\n\r\n1, \"a, of b\",11\r\n";
        let series = table(text.replace(", \"a", ",\"a")).unwrap();
        assert_eq!(series["a, of b"][0].points.len(), 2);
    }

    #[test]
    fn a_column_that_is_not_there_is_named_beside_those_that_are() {
        let said = message("elapsed_s,tasks\n");
        assert!(said.contains("`fds`") && said.contains("elapsed_s, tasks"), "{said}");
        assert!(message("time,fds\n").contains("`elapsed_s`"));
        let said = message("elapsed_s;fds\n0;1\n");
        assert!(said.contains("separated by semicolons"), "{said}");
        assert!(message("elapsed_s,fds,fds\n0,1,2\n").contains("two of its columns are named `fds`"));
        assert!(table("elapsed_s,fds,x,x\n0,1,2,3\n").is_ok(), "nobody asks for x");
    }

    #[test]
    fn what_is_no_number_is_named_with_its_line_and_is_no_zero() {
        assert_eq!(fault("elapsed_s,fds\n0,1\n1,ten\n2,x\n"), "line 3: fds is \"ten\", which is no number");
        assert_eq!(fault("elapsed_s,fds\n0,NaN\n"), "line 2: fds is \"NaN\", which is no finite number");
        assert_eq!(fault("elapsed_s,fds\nnow,1\n"), "line 2: elapsed_s is \"now\", which is no number");
        assert!(fault("elapsed_s,fds\n0,1e300\n").contains("more than can be counted exactly"));
        assert!(fault(b"elapsed_s,fds\n0,\xff\xfe\n").contains("no number"));
    }

    #[test]
    fn a_row_of_another_length_spoils_the_file_unless_a_kill_tore_it() {
        assert!(fault("elapsed_s,fds\n0,1\n1\n2,1\n").contains("line 3 has 1 cells under 2 columns"));
        assert!(fault("elapsed_s,fds\n0,1\n1,1,1\n").contains("line 3 has 3 cells"));
        let torn = table("elapsed_s,fds\n0,1\n1").unwrap();
        assert_eq!((torn["night"][0].points.len(), &torn["night"][0].fault), (1, &None));
    }

    #[test]
    fn a_quote_that_is_not_closed_is_no_torn_row() {
        assert!(fault("elapsed_s,fds\n0,1\n1,\"1\n2,1\n").contains("a quote is not closed"));
        assert!(fault("elapsed_s,fds\n0,1\n\"1,1\n2,1\n").contains("line 3 has 1 cells"));
        assert!(fault("elapsed_s,fds,note\n0,1,x\n1,1,\"x\n2,9,x\n").contains("a quote is not closed"));
    }

    #[test]
    fn no_row_is_a_series_without_a_sample() {
        assert_eq!(table("elapsed_s,fds\n").unwrap()[""], [Column::default()]);
        assert!(message("").contains("it is empty"));
        assert!(message(b"\xff\xfee\0l\0").contains("UTF-8"));
    }

    #[test]
    fn what_has_no_end_is_read_no_further_than_its_bounds() {
        let said = bounded("elapsed_s,fds\n".to_owned() + &"x".repeat(400_000), &["fds"], SMALL);
        assert!(said.unwrap_err().to_string().contains("no end of a row within 64 KiB"));
        let many = (0..400_000).map(|_| "0,1\n").collect::<String>();
        let said = bounded("elapsed_s,fds\n".to_owned() + &many, &["fds"], SMALL).unwrap_err().to_string();
        assert!(said.contains("more than 3 targets or 8 values"), "rows end, values are too many: {said}");
        let said = bounded("elapsed_s,target,fds\n0,a,1\n0,b,1\n0,c,1\n0,d,1\n", &["fds"], SMALL);
        assert!(said.unwrap_err().to_string().contains("more than 3 targets"));
    }
}
