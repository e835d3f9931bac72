//! Letters as pushes: each of one stream and one tenant, because Loki hides the errors of all streams of a
//! push but the last; and with the very bytes of the first attempt, so that what Loki had stored after all
//! is not stored twice.

use std::fs::File;
use std::io;
use std::iter::Peekable;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::slice::Iter;
use std::sync::Arc;

use super::folder;
use super::index::Indexed;
use super::journal::Ref;
use super::letter::Letter;
use crate::batch::{Entry, Group};
use crate::files;
use crate::ledger::Numbering;
use crate::record::block::Line;
use crate::record::{Container, Position, Stream};

/// So that a push has a bounded line in the journal.
const LINES_MAX: usize = 20_000;

/// One push to be.
#[derive(Debug)]
pub struct Parcel {
    /// Whose lines.
    pub tenant: Option<String>,
    /// The lines.
    pub group: Group,
    /// Where each of them is.
    pub refs: Vec<Ref>,
}

impl Parcel {
    fn of(letter: Letter, from: Ref) -> Self {
        let labels = letter.restored_labels();
        let tenant = letter.tenant.clone();
        let mut parcel =
            Self { tenant, group: Group::new(container(&letter), labels, Vec::new()), refs: Vec::new() };
        parcel.add(letter, from);
        parcel
    }

    fn add(&mut self, letter: Letter, from: Ref) {
        // Nobody settles these: neither number nor position is asked for.
        let Letter { time_ns, original_time_ns: clamped_from_ns, line, .. } = letter;
        let (ticket, position) = (Numbering::new(0).take(), Position::Api { time_ns, seen: 0 });
        let container = self.group.container.clone();
        let line = Line::alone(container, Stream::Stdout, time_ns, &line, position);
        self.group.entries.push(Entry { time_ns, clamped_from_ns, line, ticket });
        self.refs.push(from);
    }

    /// Two of half the lines each; only itself if it holds a single line.
    #[must_use]
    pub fn halves(mut self) -> (Self, Option<Self>) {
        let half = self.refs.len() / 2;
        if half == 0 {
            return (self, None);
        }
        let mut second = self.group.like();
        second.entries = self.group.entries.split_off(half);
        let second = Self { tenant: self.tenant.clone(), group: second, refs: self.refs.split_off(half) };
        (self, Some(second))
    }
}

/// What an encoded line needs of its container stands in its labels.
fn container(letter: &Letter) -> Arc<Container> {
    Arc::new(Container {
        id: letter.container_id.clone(),
        name: String::new(),
        image: String::new(),
        labels: std::collections::BTreeMap::default(),
        log_driver: String::new(),
        log_path: None,
        log_max_bytes: None,
        tty: false,
    })
}

/// Makes parcels of the letters of one round, in their order.
#[derive(Debug)]
pub struct Parcels<'a> {
    dir: PathBuf,
    letters: Peekable<Iter<'a, Indexed>>,
    bytes_max: usize,
    open: Option<(u64, File)>,
    /// Read, and of another stream than the parcel before it, or too much for it.
    next: Option<(Letter, Ref)>,
    /// Letters whose segment the shipper has removed meanwhile to make room.
    pub gone: u64,
}

impl<'a> Parcels<'a> {
    /// None is read yet.
    #[must_use]
    pub fn new(dir: &Path, letters: &'a [Indexed], bytes_max: usize) -> Self {
        let letters = letters.iter().peekable();
        Self { dir: dir.to_owned(), letters, bytes_max, open: None, next: None, gone: 0 }
    }

    /// The next one.
    ///
    /// # Errors
    /// When a segment can't be read.
    pub fn read_next(&mut self) -> io::Result<Option<Parcel>> {
        let Some((letter, from)) = self.take()? else { return Ok(None) };
        let stream = (letter.tenant.clone(), letter.labels.clone());
        let mut parcel = Parcel::of(letter, from);
        let mut bytes = cost(&parcel);
        while let Some((letter, from)) = self.take()? {
            let fits = bytes + letter_cost(&letter) <= self.bytes_max && parcel.refs.len() < LINES_MAX;
            if !fits || (&letter.tenant, &letter.labels) != (&stream.0, &stream.1) {
                self.next = Some((letter, from));
                break;
            }
            bytes += letter_cost(&letter);
            parcel.add(letter, from);
        }
        Ok(Some(parcel))
    }

    fn take(&mut self) -> io::Result<Option<(Letter, Ref)>> {
        if self.next.is_some() {
            return Ok(self.next.take());
        }
        while let Some(indexed) = self.letters.next() {
            match self.read(indexed)? {
                Some(letter) => return Ok(Some((letter, (indexed.segment, indexed.place.offset)))),
                None => self.gone += 1,
            }
        }
        Ok(None)
    }

    /// `None` if it is no longer there.
    fn read(&mut self, indexed: &Indexed) -> io::Result<Option<Letter>> {
        if self.open.as_ref().is_none_or(|(number, _)| *number != indexed.segment) {
            self.open = match files::open(&folder::path(&self.dir, indexed.segment)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                file => Some((indexed.segment, file?)),
            };
        }
        let Some((_, file)) = &self.open else { return Ok(None) };
        let mut line = vec![0; usize::try_from(indexed.place.bytes).unwrap_or(0)];
        match file.read_exact_at(&mut line, indexed.place.offset) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        Ok(line.strip_suffix(b"\n").and_then(|line| Letter::parse(line).ok()))
    }
}

fn cost(parcel: &Parcel) -> usize {
    crate::batch::cost_bytes(std::slice::from_ref(&parcel.group))
}

fn letter_cost(letter: &Letter) -> usize {
    crate::batch::line_cost_bytes(&letter.line)
}
