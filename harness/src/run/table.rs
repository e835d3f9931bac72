//! Any recorded series as a table: a column `elapsed_s`, an optional column `target`, and columns of
//! counts, of which only those asked for are read.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use csv::StringRecord;

use crate::growth::Point;
use crate::record::files::RecordError;

/// The series of a table: by target, then by column.
pub(super) type Series = BTreeMap<String, BTreeMap<String, Vec<Point>>>;

/// Reads the columns `wanted`. A cell that is empty is a sample that could not be taken; one that is no
/// number becomes NaN, which no judgement trusts. Without a column `target` all rows are one target's,
/// named after the file.
///
/// # Errors
/// [`RecordError`]: the file can't be read, is no CSV, or lacks a column.
pub(super) fn read(path: &Path, wanted: &[String]) -> Result<Series, RecordError> {
    let damaged = |why: String| RecordError::Damaged { path: path.to_owned(), why };
    let file = File::open(path).map_err(RecordError::io("read", path))?;
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(std::io::BufReader::new(file));
    let header = reader.headers().map_err(|error| damaged(error.to_string()))?.clone();
    let column = |name: &str| header.iter().position(|field| field == name);
    let missing = |name: &str| {
        damaged(format!(
            "it has no column `{name}`; it has: {}",
            header.iter().collect::<Vec<_>>().join(", ")
        ))
    };
    let elapsed = column("elapsed_s").ok_or_else(|| missing("elapsed_s"))?;
    let columns = wanted.iter().map(|name| Ok((name, column(name).ok_or_else(|| missing(name))?)));
    let columns = columns.collect::<Result<Vec<_>, RecordError>>()?;
    let of_target = column("target");
    let whole = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());

    let mut series = Series::new();
    let mut row = StringRecord::new();
    while reader.read_record(&mut row).map_err(|error| damaged(error.to_string()))? {
        let target = of_target.map_or(Some(whole.as_str()), |at| row.get(at)).unwrap_or_default();
        if !series.contains_key(target) {
            series.insert(target.to_owned(), BTreeMap::new());
        }
        let Some(counts) = series.get_mut(target) else { continue };
        let elapsed_s = number(row.get(elapsed)).unwrap_or(f64::NAN);
        for (name, at) in &columns {
            if let Some(count) = number(row.get(*at)) {
                match counts.get_mut(*name) {
                    Some(points) => points.push(Point { elapsed_s, count }),
                    None => drop(counts.insert((*name).clone(), vec![Point { elapsed_s, count }])),
                }
            }
        }
    }
    Ok(series)
}

/// The names of a table's columns.
///
/// # Errors
/// As [`read`].
pub(super) fn columns(path: &Path) -> Result<Vec<String>, RecordError> {
    let file = File::open(path).map_err(RecordError::io("read", path))?;
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
    let header = reader.headers();
    let header =
        header.map_err(|error| RecordError::Damaged { path: path.to_owned(), why: error.to_string() })?;
    Ok(header.iter().map(str::to_owned).collect())
}

fn number(cell: Option<&str>) -> Option<f64> {
    let cell = cell.filter(|cell| !cell.is_empty())?;
    Some(cell.parse().unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str, wanted: &[&str]) -> Result<Series, RecordError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("night.csv");
        std::fs::write(&path, text).unwrap();
        let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        read(&path, &wanted)
    }

    #[test]
    fn rows_are_told_apart_by_target_and_empty_cells_left_out() {
        let series = table("elapsed_s,target,fds\n0,a,10\n0,b,20\n1,a,\n1,b,21\n", &["fds"]).unwrap();
        assert_eq!(series["a"]["fds"].len(), 1);
        assert_eq!(series["b"]["fds"][1], Point { elapsed_s: 1.0, count: 21.0 });
    }

    #[test]
    fn without_a_target_the_file_names_it() {
        let series = table("elapsed_s,fds\n0,10\n", &["fds"]).unwrap();
        assert_eq!(series.keys().collect::<Vec<_>>(), ["night"]);
    }

    #[test]
    fn a_column_that_is_not_there_is_named_beside_those_that_are() {
        let message = table("elapsed_s,fds\n", &["tasks"]).unwrap_err().to_string();
        assert!(message.contains("`tasks`") && message.contains("elapsed_s, fds"), "{message}");
        let message = table("time,fds\n", &["fds"]).unwrap_err().to_string();
        assert!(message.contains("`elapsed_s`"), "{message}");
    }

    #[test]
    fn text_in_a_column_of_counts_is_no_number_and_no_zero() {
        let series = table("elapsed_s,fds\n0,ten\n", &["fds"]).unwrap();
        assert!(series["night"]["fds"][0].count.is_nan());
    }
}
