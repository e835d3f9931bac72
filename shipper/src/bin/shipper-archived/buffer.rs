//! The long lines of one container that are not whole yet: Docker cuts a line every 16 KiB.
//!
//! | `mixed_streams` | where a fragment goes |
//! | --- | --- |
//! | on | behind whatever the container wrote before it: lines of stdout and stderr that interleave are mixed up |
//! | off | behind the last one of its own stream |

use shipper::record::{Position, Stream};
use shipper::source::LINE_BYTES_MAX;
use shipper::source::join::{Fragment, Joiner, Line};

/// Lives as long as the container is followed, since rotation does not wait for a line to end.
#[derive(Debug)]
pub(crate) struct Buffer {
    joiner: Joiner,
    mixed_streams: bool,
}

impl Buffer {
    pub(crate) fn new(mixed_streams: bool) -> Self {
        Self { joiner: Joiner::new(LINE_BYTES_MAX), mixed_streams }
    }

    /// Takes a fragment; a line comes out when this one ends it.
    pub(crate) fn push(&mut self, fragment: Fragment<'_>) -> Option<Line> {
        if !self.mixed_streams {
            return self.joiner.push(fragment);
        }
        // One buffer for both; the line is said to be of the stream that ended it.
        let stream = fragment.stream;
        let line = self.joiner.push(Fragment { stream: Stream::Stdout, ..fragment })?;
        Some(Line { stream, ..line })
    }

    /// Lines whose last fragment never comes: who wrote them has stopped.
    pub(crate) fn finish(&mut self) -> impl Iterator<Item = Line> {
        [Stream::Stdout, Stream::Stderr].into_iter().filter_map(|stream| self.joiner.finish(stream))
    }

    /// The log has a gap here.
    pub(crate) fn clear(&mut self) {
        self.joiner.clear();
    }

    /// Where to go on once all up to `here` is settled but for what is in the buffer.
    pub(crate) fn safe(&self, here: &Position) -> Position {
        self.joiner.safe(here)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(mixed_streams: bool) -> Vec<(Stream, String)> {
        let mut buffer = Buffer::new(mixed_streams);
        let at = |time_ns| Position::Api { time_ns, seen: 1 };
        let parts = [
            (Stream::Stdout, "out 1, "),
            (Stream::Stderr, "err 1, "),
            (Stream::Stdout, "out 2\n"),
            (Stream::Stderr, "err 2\n"),
            (Stream::Stdout, "short\n"),
        ];
        let fragments = (0i64..).zip(parts).map(|(time_ns, (stream, text))| Fragment {
            stream,
            time_ns,
            text: text.as_bytes(),
            before: at(time_ns),
            after: at(time_ns + 1),
        });
        fragments.filter_map(|fragment| buffer.push(fragment)).map(|line| (line.stream, line.text)).collect()
    }

    #[test]
    fn each_stream_has_its_own_lines() {
        let whole = [
            (Stream::Stdout, "out 1, out 2".to_owned()),
            (Stream::Stderr, "err 1, err 2".to_owned()),
            (Stream::Stdout, "short".to_owned()),
        ];
        assert_eq!(lines(false), whole);
    }

    #[test]
    fn in_one_buffer_lines_that_interleave_are_mixed_up() {
        let mixed = [
            (Stream::Stdout, "out 1, err 1, out 2".to_owned()),
            (Stream::Stderr, "err 2".to_owned()),
            (Stream::Stdout, "short".to_owned()),
        ];
        assert_eq!(lines(true), mixed);
    }
}
