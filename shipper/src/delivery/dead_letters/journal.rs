//! What a replay has achieved so far: a line for each push, synced before the next one begins. A segment
//! itself is changed only by [`super::settle`], from what stands here.
//!
//! A replay that is killed leaves the journal; the next one settles it first. A line that is missing or
//! damaged there costs a repetition, never a loss.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::reader::{Line, Lines};
use crate::files;

const NAME: &str = "replay.journal";
const VERSION: u32 = 1;
/// A push has at most some ten thousand lines; a round has at most a thousand segments or so.
const LINE_BYTES_MAX: usize = 4 << 20;

/// Which letter: its segment's number, and its first byte there.
pub type Ref = (u64, u64);

/// Which file a segment was: a rewritten one is another, and its letters stand elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its name.
    pub number: u64,
    /// Its inode.
    pub ino: u64,
    /// Its size.
    pub bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Header {
    v: u32,
    segments: Vec<Identity>,
}

/// What became of one push.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pushed {
    /// Loki has these.
    pub accepted: Vec<Ref>,
    /// Loki does not want these …
    pub refused: Vec<Ref>,
    /// … and why, in our word …
    pub reason: String,
    /// … its status …
    pub status: Option<u16>,
    /// … and its words.
    pub answer: Option<String>,
    /// How often they were sent.
    pub attempts: u32,
    /// When.
    pub now_ns: i64,
}

/// What became of one letter.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It may go.
    Accepted,
    /// It stays, with these words.
    Refused(Arc<Pushed>),
}

/// All that a journal says.
#[derive(Debug, Default)]
pub struct Verdicts {
    /// Of these segments.
    pub segments: Vec<Identity>,
    /// By letter.
    pub letters: BTreeMap<Ref, Verdict>,
}

impl Verdicts {
    /// How many letters Loki has accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.letters.values().filter(|verdict| matches!(verdict, Verdict::Accepted)).count() as u64
    }
}

/// The journal of a replay that runs.
#[derive(Debug)]
pub struct Journal(File);

impl Journal {
    /// Begins a new one. There must be none.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn begin(dir: &Path, segments: Vec<Identity>) -> io::Result<Self> {
        let mut journal = Self(files::create(&path(dir))?);
        files::sync(dir)?;
        journal.append(&Header { v: VERSION, segments })?;
        Ok(journal)
    }

    /// Notes one push, and syncs it.
    ///
    /// # Errors
    /// When it is not safely on disk.
    pub fn note(&mut self, pushed: &Pushed) -> io::Result<()> {
        self.append(pushed)
    }

    fn append(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.0.write_all(&text)?;
        self.0.sync_data()
    }
}

/// What an unfinished replay has left; `None` if there is none.
///
/// # Errors
/// When it is there and can't be read.
pub fn read(dir: &Path) -> io::Result<Option<Verdicts>> {
    let file = match files::open(&path(dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut lines = Lines::new(BufReader::new(file), LINE_BYTES_MAX);
    let mut verdicts = Verdicts::default();
    if let Some((_, Line::Whole(line))) = lines.read_next()?
        && let Ok(header) = serde_json::from_slice::<Header>(line)
        && header.v == VERSION
    {
        verdicts.segments = header.segments;
    } else {
        return Ok(Some(verdicts));
    }
    while let Some((_, line)) = lines.read_next()? {
        let Line::Whole(line) = line else { continue };
        let Ok(pushed) = serde_json::from_slice::<Pushed>(line) else { continue };
        let pushed = Arc::new(pushed);
        verdicts.letters.extend(pushed.accepted.iter().map(|letter| (*letter, Verdict::Accepted)));
        let refused = pushed.refused.iter().map(|letter| (*letter, Verdict::Refused(pushed.clone())));
        verdicts.letters.extend(refused);
    }
    Ok(Some(verdicts))
}

/// Forgets it, once it is settled.
///
/// # Errors
/// When it can't be removed.
pub fn remove(dir: &Path) -> io::Result<()> {
    files::remove(&path(dir))?;
    files::sync(dir)
}

fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}
