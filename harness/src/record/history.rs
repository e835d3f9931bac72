//! The history: a file to which each run adds a line, and beside it the changes that somebody knows of.
//!
//! A line is one JSON document, written at once and under a lock, so that two runs that end together do not mix theirs. A
//! line that a crash has torn stays by itself; who reads the file is told its number and what is wrong with it.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::record::files::{ADD_TO, RecordError};
use crate::result::trend::{Ack, Skipped};
use crate::result::{Digest, SCHEMA};

/// What stands in a history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// Its runs, in the order of the file.
    pub nights: Vec<Digest>,
    /// What somebody knows of.
    pub acks: Vec<Ack>,
    /// What could not be read, of either file.
    pub skipped: Vec<Skipped>,
}

/// Whether a run was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It was.
    Added,
    /// It stands there already.
    Known,
}

/// The file of acknowledgements beside a history: `history.jsonl`, `history.acks.jsonl`.
#[must_use]
pub fn acks_of(history: &Path) -> PathBuf {
    history.with_extension("acks.jsonl")
}

/// Reads a history, and what is acknowledged of it.
///
/// # Errors
/// [`RecordError`] where the history can't be read. One without acknowledgements is whole.
pub fn read(path: &Path) -> Result<History, RecordError> {
    let text = fs::read(path).map_err(RecordError::io("read", path))?;
    let (mut nights, mut skipped) = lines::<Digest>(path, &text);
    let mut seen = HashMap::new();
    nights.retain(|(line, night)| {
        let first = *seen.entry(night.run_id.clone()).or_insert(*line);
        if first != *line {
            let why = format!("run {} stands in line {first} already", night.run_id);
            skipped.push(passed_over(path, *line, why));
        }
        first == *line
    });
    skipped.sort_by_key(|skipped| skipped.line);
    let beside = acks_of(path);
    let acks = match fs::read(&beside) {
        Ok(text) => lines::<Ack>(&beside, &text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), Vec::new()),
        Err(error) => return Err(RecordError::io("read", &beside)(error)),
    };
    skipped.extend(acks.1);
    let without_line = |(_, value)| value;
    Ok(History {
        nights: nights.into_iter().map(without_line).collect(),
        acks: acks.0.into_iter().map(|(_, ack)| ack).collect(),
        skipped,
    })
}

/// Each line that holds what it should, with its number, and each that does not.
fn lines<T: DeserializeOwned>(file: &Path, text: &[u8]) -> (Vec<(usize, T)>, Vec<Skipped>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let full = (1..).zip(text.split(|byte| *byte == b'\n')).filter(|(_, line)| !line.trim_ascii().is_empty());
    for (line, text) in full {
        match read_line(text) {
            Ok(value) => good.push((line, value)),
            Err(why) => bad.push(passed_over(file, line, why)),
        }
    }
    (good, bad)
}

fn passed_over(file: &Path, line: usize, why: String) -> Skipped {
    Skipped { file: file.display().to_string(), line, why }
}

fn read_line<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    let document: serde_json::Value =
        serde_json::from_slice(text).map_err(|error| format!("it is torn or no JSON: {}", within(&error)))?;
    match document.get("schema").and_then(serde_json::Value::as_u64) {
        Some(schema) if schema == u64::from(SCHEMA) => {}
        Some(schema) => return Err(format!("its schema is {schema}, and this flatline reads {SCHEMA}")),
        None => return Err("it does not say which schema it has".to_owned()),
    }
    serde_path_to_error::deserialize(document).map_err(|error| match error.path().to_string().as_str() {
        "." => error.inner().to_string(),
        field => format!("{field}: {}", error.inner()),
    })
}

/// Where in the line: to the parser each line is a document of one line.
fn within(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

/// Adds a run, unless it stands there.
///
/// # Errors
/// [`RecordError`] where the file can't be read or written.
pub fn add(path: &Path, night: &Digest) -> Result<Added, RecordError> {
    let mut file = open(path)?;
    let is_known =
        |text: &[u8]| lines::<Digest>(path, text).0.iter().any(|(_, known)| known.run_id == night.run_id);
    append(&mut file, night, is_known).map_err(RecordError::io(ADD_TO, path))
}

/// Makes sure that a run can be added, before one is spent a night on. A history that is not there yet is begun.
///
/// # Errors
/// [`RecordError`] where the file can't be written.
pub fn begin(path: &Path) -> Result<(), RecordError> {
    open(path).map(drop)
}

/// Notes that a change is known.
///
/// # Errors
/// [`RecordError`] where the file can't be read or written.
pub fn acknowledge(history: &Path, ack: &Ack) -> Result<(), RecordError> {
    let path = acks_of(history);
    let mut file = open(&path)?;
    append(&mut file, ack, |_| false).map_err(RecordError::io(ADD_TO, &path)).map(|_| ())
}

fn open(path: &Path) -> Result<File, RecordError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(RecordError::io(ADD_TO, path))?;
    }
    OpenOptions::new().read(true).append(true).create(true).open(path).map_err(RecordError::io(ADD_TO, path))
}

/// Writes a line at once and has it on the disk, under a lock that ends with the file.
fn append<T: Serialize>(file: &mut File, value: &T, is_known: impl Fn(&[u8]) -> bool) -> io::Result<Added> {
    file.lock()?;
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut text)?;
    if is_known(&text) {
        return Ok(Added::Known);
    }
    // After a torn line a new one begins, so that only the torn one is lost.
    let mut line = if text.is_empty() || text.ends_with(b"\n") { Vec::new() } else { vec![b'\n'] };
    serde_json::to_writer(&mut line, value)?;
    line.push(b'\n');
    file.write_all(&line)?;
    file.sync_all()?;
    Ok(Added::Added)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trend::simulated::{Noise, Plan, history};

    fn nights(count: usize) -> Vec<Digest> {
        let plan = Plan {
            nights: count,
            noise: Noise::Normal,
            planted: Vec::new(),
            missing: false,
            new_machine: None,
        };
        history(1, &plan)
    }

    #[test]
    fn what_is_added_is_read_back_and_nothing_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/history.jsonl");
        for night in nights(3).iter().chain(&nights(2)) {
            add(&path, night).unwrap();
        }
        let read = read(&path).unwrap();
        assert_eq!((read.nights, read.skipped), (nights(3), Vec::new()));
    }

    #[test]
    fn a_torn_line_is_named_and_takes_no_other_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let all = nights(4);
        add(&path, &all[0]).unwrap();
        add(&path, &all[1]).unwrap();
        let text = fs::read(&path).unwrap();
        fs::write(&path, &text[..text.len() - 40]).unwrap();
        add(&path, &all[2]).unwrap();
        let mut text = fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"schema\":9}\n{}\n\n");
        let again = serde_json::to_vec(&all[2]).unwrap();
        text.extend_from_slice(&again);
        fs::write(&path, text).unwrap();
        add(&path, &all[3]).unwrap();
        let read = read(&path).unwrap();
        let ids: Vec<&str> = read.nights.iter().map(|night| night.run_id.as_str()).collect();
        assert_eq!(ids, ["night-000", "night-002", "night-003"]);
        let said: Vec<String> =
            read.skipped.iter().map(|skipped| format!("{}: {}", skipped.line, skipped.why)).collect();
        assert!(said[0].starts_with("2: it is torn or no JSON: EOF"), "{said:?}");
        assert_eq!(
            said[1..],
            [
                "4: its schema is 9, and this flatline reads 1",
                "5: it does not say which schema it has",
                "7: run night-002 stands in line 3 already"
            ]
        );
    }

    #[test]
    fn a_field_that_is_wrong_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let night = serde_json::to_string(&nights(1)[0]).unwrap();
        let wrong = [
            ("\"2026-01-01T", "\"soon-01-01T"),
            ("\"met\"", "\"great\""),
            ("\"degrees\":15.0", "\"degrees\":0.0"),
            ("\"standard\":0.015", "\"standard\":-0.015"),
            ("\"run_id\"", "\"run\""),
            ("\"compression\":1.0", "\"compression\":0"),
            ("{\"schema\"", "{schema"),
        ];
        let lines: Vec<String> = wrong.iter().map(|(good, bad)| night.replacen(good, bad, 1)).collect();
        assert!(lines.iter().all(|line| *line != night), "each is other than it should be");
        fs::write(&path, lines.join("\n")).unwrap();
        let read = read(&path).unwrap();
        assert_eq!(read.nights, []);
        let said: Vec<&str> = read.skipped.iter().map(|skipped| skipped.why.as_str()).collect();
        for (said, part) in said.iter().zip([
            "started_at: failed to parse",
            "outcome: unknown variant `great`",
            "targets.hybrid.figures.?.error: degrees of freedom are above zero",
            "targets.hybrid.figures.?.error: a standard error is zero or above",
            "missing field `run_id`",
            "ground.compression: \"0\" is no number",
            "it is torn or no JSON: key must be a string at column 2",
        ]) {
            assert!(said.starts_with(part), "{said}: {part}");
        }
        assert_eq!(read.skipped.len(), wrong.len());
    }

    #[test]
    fn runs_that_end_together_each_have_their_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let all = nights(24);
        std::thread::scope(|scope| {
            for part in all.chunks(3) {
                let path = &path;
                scope.spawn(move || {
                    part.iter().for_each(|night| assert_eq!(add(path, night).unwrap(), Added::Added))
                });
            }
        });
        let read = read(&path).unwrap();
        assert_eq!((read.nights.len(), read.skipped), (24, Vec::new()));
    }

    #[test]
    fn what_is_acknowledged_lies_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        add(&path, &nights(1)[0]).unwrap();
        let ack = Ack {
            schema: SCHEMA,
            run_id: "night-000".to_owned(),
            target: None,
            measure: None,
            because: "it is meant".to_owned(),
            at: jiff::Timestamp::UNIX_EPOCH,
        };
        acknowledge(&path, &ack).unwrap();
        assert_eq!(read(&path).unwrap().acks, [ack]);
        assert!(folder.path().join("history.acks.jsonl").is_file());
    }
}
