//! What there is in the folder, by reason and stream. Changes nothing, and works beside a shipper.

use std::collections::BTreeMap;
use std::io::{self, BufReader};
use std::path::Path;

use serde::Serialize;

use super::folder;
use super::journal;
use super::letter::{Letter, Unreadable};
use super::reader::Reader;
use crate::files;

/// Kinds that are told apart; what comes after them is one kind, so that memory is bounded.
const KINDS_MAX: usize = 10_000;

/// All of it.
#[derive(Debug, Default, Serialize)]
pub struct Survey {
    /// Files.
    pub segments: u64,
    /// Of them, those that a shipper has open.
    pub segments_in_use: u64,
    /// Their size.
    pub bytes: u64,
    /// Letters.
    pub letters: u64,
    /// Last lines of a segment without their end; a shipper died while it wrote them, and its next start
    /// reads those log lines again.
    pub torn: u64,
    /// Letters of another version of the format.
    pub other_versions: u64,
    /// Other lines that can't be read.
    pub unreadable: u64,
    /// What an unfinished replay has sent already; the next one takes it out.
    pub replayed: u64,
    /// By reason and stream.
    pub kinds: Vec<Kind>,
}

/// The letters of one stream that are here for one reason.
#[derive(Clone, Debug, Serialize)]
pub struct Kind {
    /// The reason.
    pub reason: String,
    /// The tenant, if there is one.
    pub tenant: Option<String>,
    /// The labels as Loki writes them; `(others)` for what is beyond the bound.
    pub stream: String,
    /// How many.
    pub letters: u64,
    /// What they take on disk.
    pub bytes: u64,
    /// The oldest line's time.
    pub oldest_ns: i64,
    /// The newest line's time.
    pub newest_ns: i64,
}

/// Reads all segments; `each` sees every letter.
///
/// # Errors
/// When the folder can't be read, or `each` fails.
pub fn survey(dir: &Path, mut each: impl FnMut(&Letter) -> io::Result<()>) -> io::Result<Survey> {
    let mut survey = Survey::default();
    let mut kinds = BTreeMap::new();
    survey.replayed = journal::read(dir)?.map_or(0, |verdicts| verdicts.accepted());
    for segment in folder::list(dir)? {
        let file = match files::open(&folder::path(dir, segment.number)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        survey.segments += 1;
        survey.bytes += file.metadata()?.len();
        survey.segments_in_use += u64::from(files::is_in_use(&file)?);
        let mut reader = Reader::new(BufReader::new(file));
        while let Some((place, letter)) = reader.read_next()? {
            match letter {
                Ok(letter) => {
                    survey.letters += 1;
                    count(&mut kinds, &letter, place.bytes);
                    each(&letter)?;
                }
                Err(Unreadable::Torn) => survey.torn += 1,
                Err(Unreadable::Version(_)) => survey.other_versions += 1,
                Err(Unreadable::TooLong | Unreadable::Corrupt(_)) => survey.unreadable += 1,
            }
        }
    }
    survey.kinds = kinds.into_values().collect();
    Ok(survey)
}

type Kinds = BTreeMap<(String, Option<String>, String), Kind>;

fn count(kinds: &mut Kinds, letter: &Letter, bytes: u64) {
    let mut key = (letter.reason.clone(), letter.tenant.clone(), letter.stream());
    if kinds.len() >= KINDS_MAX && !kinds.contains_key(&key) {
        key = ("(others)".to_owned(), None, "(others)".to_owned());
    }
    let (reason, tenant, stream) = key.clone();
    let (oldest_ns, newest_ns) = (letter.time_ns, letter.time_ns);
    let kind = kinds.entry(key).or_insert(Kind {
        reason,
        tenant,
        stream,
        letters: 0,
        bytes: 0,
        oldest_ns,
        newest_ns,
    });
    kind.letters += 1;
    kind.bytes += bytes;
    kind.oldest_ns = kind.oldest_ns.min(letter.time_ns);
    kind.newest_ns = kind.newest_ns.max(letter.time_ns);
}
