//! Lines of one container that were read at one go and travel together: their texts are one piece, and what they
//! share stands there once. So a line costs no allocation, no message and no count of its own.

use std::borrow::Cow;
use std::ops::{Deref, Range};
use std::sync::Arc;

use super::{Container, FileIdentity, Position, Stream};
use crate::credit::{Credit, Share};

/// What a line takes beside its text from the pipeline on, in bytes: a bound, and nobody needs it to be exact.
const LINE_OVERHEAD_BYTES: usize = 64;
/// So long lines are, if nothing else is known.
const LINE_BYTES_USUAL: usize = 128;

/// Some lines, in the order in which they were read.
#[derive(Debug)]
pub struct Block {
    container: Arc<Container>,
    /// In which file most of them stand; nobody's, if they come from Docker's API.
    file: FileIdentity,
    text: String,
    rows: Vec<Row>,
    share: Share,
}

#[derive(Debug)]
struct Row {
    time_ns: i64,
    place: Place,
    /// Where its text ends.
    end: usize,
    stream: Stream,
}

/// A [`Position`] behind a line, without what the block and the line say already.
#[derive(Debug)]
enum Place {
    File { offset: u64, tail_hash: u64 },
    Api { seen: u32 },
    Other(Box<Position>),
}

impl Block {
    /// Without lines yet; there will be so many bytes of text.
    #[must_use]
    pub fn new(container: Arc<Container>, file: FileIdentity, text_bytes: usize) -> Self {
        let text = String::with_capacity(text_bytes);
        let rows = Vec::with_capacity(text_bytes / LINE_BYTES_USUAL);
        Self { container, file, text, rows, share: Share::default() }
    }

    /// Without lines yet, of lines that stand in no file of ours.
    #[must_use]
    pub fn of_api(container: Arc<Container>) -> Self {
        Self::new(container, FileIdentity::default(), 0)
    }

    /// One more line, behind which its source may go on at `position`.
    pub fn push(&mut self, stream: Stream, time_ns: i64, text: &str, position: Position) {
        let place = match position {
            Position::File {
                identity,
                offset,
                tail_hash: Some(tail_hash),
                ahead: None,
                time_ns: Some(time),
            } if identity == self.file && time == time_ns => Place::File { offset, tail_hash },
            Position::Api { time_ns: time, seen } if time == time_ns => Place::Api { seen },
            other @ (Position::File { .. } | Position::Api { .. }) => Place::Other(Box::new(other)),
        };
        self.add(stream, time_ns, text, place);
    }

    /// One more line of the block's file, which ends at `offset`, behind bytes with this hash.
    pub fn push_of_file(
        &mut self,
        stream: Stream,
        time_ns: i64,
        text: &str,
        (offset, tail_hash): (u64, u64),
    ) {
        self.add(stream, time_ns, text, Place::File { offset, tail_hash });
    }

    fn add(&mut self, stream: Stream, time_ns: i64, text: &str, place: Place) {
        self.text.push_str(text);
        self.rows.push(Row { time_ns, place, end: self.text.len(), stream });
    }

    /// Charges its container for what it takes, until the last of its lines is settled.
    #[must_use]
    pub fn charged(mut self, credit: &Credit) -> Self {
        self.text.shrink_to_fit();
        self.rows.shrink_to_fit();
        let newest_ns = self.rows.last().map_or(0, |row| row.time_ns);
        self.share = credit.share(self.bytes(), newest_ns);
        self
    }

    /// What it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let rows = self.rows.len() * (size_of::<Row>() + LINE_OVERHEAD_BYTES);
        size_of::<Self>() + self.text.capacity() + rows
    }

    /// Bytes of text.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// How many lines it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whose lines.
    #[must_use]
    pub fn container(&self) -> &Arc<Container> {
        &self.container
    }

    /// The texts, in order.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        (0..self.rows.len()).map(|row| self.text(row))
    }

    /// The same lines with other texts.
    #[must_use]
    pub fn rewritten(self, rewrite: impl Fn(&str) -> Cow<'_, str>) -> Self {
        let mut text = String::with_capacity(self.text.len());
        let ends: Vec<usize> = self
            .texts()
            .map(|line| {
                text.push_str(&rewrite(line));
                text.len()
            })
            .collect();
        let rows = self.rows.into_iter().zip(ends).map(|(row, end)| Row { end, ..row }).collect();
        Self { text, rows, ..self }
    }

    /// Its lines, each to go its own way.
    pub fn into_lines(self) -> impl ExactSizeIterator<Item = Line> {
        let block = Arc::new(self);
        (0..block.rows.len()).map(move |row| Line { block: block.clone(), row })
    }

    fn text(&self, row: usize) -> &str {
        self.text.get(self.place(row)).unwrap_or_default()
    }

    fn place(&self, row: usize) -> Range<usize> {
        let end_of = |row: usize| self.rows.get(row).map_or(0, |row| row.end);
        row.checked_sub(1).map_or(0, end_of)..end_of(row)
    }
}

/// One line of a block, which stays as long as any of its lines does.
#[derive(Clone, Debug)]
pub struct Line {
    block: Arc<Block>,
    row: usize,
}

impl Line {
    /// A block of its own.
    #[must_use]
    pub fn alone(
        container: Arc<Container>,
        stream: Stream,
        time_ns: i64,
        text: &str,
        position: Position,
    ) -> Self {
        let mut block = Block::of_api(container);
        block.push(stream, time_ns, text, position);
        Self { block: Arc::new(block), row: 0 }
    }

    #[expect(clippy::indexing_slicing, reason = "lines are made of rows alone, and no row ever goes")]
    fn row(&self) -> &Row {
        &self.block.rows[self.row]
    }

    /// How many bytes its text has: cheaper than a look at the text.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.block.place(self.row).len()
    }

    /// Whose line it is.
    #[must_use]
    pub fn container(&self) -> &Arc<Container> {
        &self.block.container
    }

    /// Which output.
    #[must_use]
    pub fn stream(&self) -> Stream {
        self.row().stream
    }

    /// When Docker received it, in nanoseconds since the epoch.
    #[must_use]
    pub fn time_ns(&self) -> i64 {
        self.row().time_ns
    }

    /// Where to go on once it is settled.
    #[must_use]
    pub fn position(&self) -> Position {
        let row = self.row();
        match &row.place {
            Place::File { offset, tail_hash } => Position::File {
                identity: self.block.file,
                offset: *offset,
                tail_hash: Some(*tail_hash),
                ahead: None,
                time_ns: Some(row.time_ns),
            },
            Place::Api { seen } => Position::Api { time_ns: row.time_ns, seen: *seen },
            Place::Other(position) => (**position).clone(),
        }
    }
}

/// Its text, its final newline removed, fragments joined.
impl Deref for Line {
    type Target = str;

    fn deref(&self) -> &str {
        self.block.text(self.row)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::batch::tests::container;
    use crate::credit::Gate;
    use crate::metrics::Metrics;
    use crate::record::Ahead;

    fn identity() -> impl Strategy<Value = FileIdentity> {
        (0..3_u64).prop_map(|ino| FileIdentity { dev: 1, ino, head_len: 3, head_hash: 4 })
    }

    fn position() -> impl Strategy<Value = Position> {
        let ahead = prop::option::of((any::<u64>(), prop::option::of(identity())))
            .prop_map(|ahead| ahead.map(|(until, file)| Ahead { stream: Stream::Stderr, until, file }));
        let tail_hash = prop::option::of(any::<u64>());
        let file = (identity(), any::<u64>(), tail_hash, ahead, prop::option::of(0..3_i64));
        prop_oneof![
            file.prop_map(|(identity, offset, tail_hash, ahead, time_ns)| {
                Position::File { identity, offset, tail_hash, ahead, time_ns }
            }),
            (0..3_i64, any::<u32>()).prop_map(|(time_ns, seen)| Position::Api { time_ns, seen }),
        ]
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            file in identity(),
            lines in prop::collection::vec((any::<bool>(), 0..3_i64, ".{0,9}", position()), 0..20),
        ) {
            let mut block = Block::new(container(), file, 0);
            let stream = |err: bool| if err { Stream::Stderr } else { Stream::Stdout };
            for (err, time_ns, text, position) in &lines {
                block.push(stream(*err), *time_ns, text, position.clone());
            }
            let block = block.rewritten(|text| text.into());
            prop_assert_eq!(block.texts().collect::<String>().len(), block.text_bytes());
            let out: Vec<_> = block.into_lines().collect();
            prop_assert_eq!(out.len(), lines.len());
            for (line, (err, time_ns, text, position)) in out.iter().zip(&lines) {
                prop_assert_eq!((line.stream(), line.time_ns(), &**line), (stream(*err), *time_ns, text.as_str()));
                prop_assert_eq!(&line.position(), position);
            }
        }
    }

    #[test]
    fn a_block_is_charged_until_the_last_of_its_lines_is_settled() {
        let metrics = Metrics::new();
        let credit = Credit::new(100, Gate::new(Default::default()), None, metrics.clone());
        let mut block = Block::of_api(container());
        for time_ns in [7, 8] {
            block.push(Stream::Stdout, time_ns, "text", Position::Api { time_ns, seen: 1 });
        }
        let mut lines: Vec<Line> = block.charged(&credit).into_lines().collect();
        assert!(metrics.in_flight_bytes.get() > 8 && credit.last_line_ns() == Some(8));
        lines.pop();
        assert!(!credit.is_left());
        lines.pop();
        assert_eq!(metrics.in_flight_bytes.get(), 0);
    }
}
