//! Which letters there are to replay, in the order in which Loki takes them best: stream by stream, the
//! oldest first. Of each letter only its place is kept, so that memory is bounded however long the lines.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufReader};
use std::path::Path;

use super::folder::{self, Segment};
use super::journal::{Identity, Verdict, Verdicts};
use super::letter::{Letter, Unreadable};
use super::reader::{Place, Reader};
use super::settle::identity;
use crate::files;

/// A round ends with the segment that reaches this: 48 MiB of places. The default bound of the dead letters
/// is one round.
const LETTERS_MAX: usize = 1_000_000;

/// Where a letter is; in the order of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Indexed {
    /// A hash of tenant and labels.
    pub stream: u64,
    /// The letter's time.
    pub time_ns: i64,
    /// Its segment.
    pub segment: u64,
    /// Its place there.
    pub place: Place,
}

/// Some consecutive segments.
#[derive(Debug, Default)]
pub struct Round {
    /// Those that can be settled.
    pub segments: Vec<Identity>,
    /// What is to be sent, in order.
    pub letters: Vec<Indexed>,
    /// Last lines without their end.
    pub torn: u64,
    /// Other lines without a letter that can be read.
    pub unreadable: u64,
    /// Segments that a shipper has open.
    pub in_use: u64,
}

impl Round {
    /// Reads from the front of `segments`; takes the letters that are `wanted` and not accepted already.
    ///
    /// # Errors
    /// When a segment can't be read.
    pub fn next(
        dir: &Path,
        segments: &mut std::vec::IntoIter<Segment>,
        done: &Verdicts,
        wanted: impl Fn(&Letter) -> bool,
    ) -> io::Result<Self> {
        let mut round = Self::default();
        while round.letters.len() < LETTERS_MAX
            && let Some(segment) = segments.next()
        {
            round.add(dir, segment.number, done, &wanted)?;
        }
        round.letters.sort_unstable();
        Ok(round)
    }

    fn add(
        &mut self,
        dir: &Path,
        number: u64,
        done: &Verdicts,
        wanted: &impl Fn(&Letter) -> bool,
    ) -> io::Result<()> {
        let file = match files::open(&folder::path(dir, number)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        if files::is_in_use(&file)? {
            self.in_use += 1;
            return Ok(());
        }
        let segment = identity(number, &file)?;
        let known = done.segments.contains(&segment);
        self.segments.push(segment);
        let mut reader = Reader::new(BufReader::new(file));
        while let Some((place, letter)) = reader.read_next()? {
            let verdict = done.letters.get(&(number, place.offset)).filter(|_| known);
            match letter {
                Ok(_) if matches!(verdict, Some(Verdict::Accepted)) => {}
                Ok(letter) if wanted(&letter) => {
                    let stream = stream(&letter);
                    self.letters.push(Indexed { stream, time_ns: letter.time_ns, segment: number, place });
                }
                Ok(_) => {}
                Err(Unreadable::Torn) => self.torn += 1,
                Err(_) => self.unreadable += 1,
            }
        }
        Ok(())
    }
}

fn stream(letter: &Letter) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&letter.tenant, &letter.labels).hash(&mut hasher);
    hasher.finish()
}
