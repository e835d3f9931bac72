//! Where a container's log was left, and how to find the place again. Pure.
//!
//! Docker's API knows no offsets, only `since`: a time, inclusive, that filters. But what it sends comes in
//! the order of the file, and that order is fixed; times are not in order there, since stdout and stderr
//! are written by two tasks and the fragments of a line all bear the time of the first. So the mark is a
//! message: its time, and how many messages of that very nanosecond had come, it included. A reader that
//! returns asks from a little before that time, passes over everything up to the mark, and takes
//! everything behind it, whatever its time. Nothing is lost and nothing repeats.

use crate::record::{Position, Stream};

/// How much earlier than the mark a stream is asked for. A message behind the mark may be older than it
/// by as long as one of Docker's two writers can be held up between taking the time and writing.
const OVERLAP_NS: i64 = 2_000_000_000;
/// How many messages newer than the mark may come before it, and how much newer they may be. Much, because
/// the mark can be a fragment of a line that took long to write. More means that it is no longer there.
const AHEAD_MAX: usize = 10_000;
const AHEAD_NS: i64 = 60_000_000_000;

/// A message in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its time.
    pub time_ns: i64,
    /// How many messages of that time there are up to it. 0: no message, all of that time is new.
    pub seen: u32,
}

impl Mark {
    /// As it stands in a checkpoint.
    #[must_use]
    pub fn position(self) -> Position {
        Position::Api { time_ns: self.time_ns, seen: self.seen }
    }
}

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken in an earlier stream.
    Known,
    /// It may be known or not: keep it until the mark comes (then drop it) or [`Verdict::Lost`] says that
    /// the mark does not come (then take it).
    Ahead,
    /// This is the mark: what was ahead of it is known.
    Found,
    /// The mark is no longer in the log: take what was kept, then this.
    Lost,
    /// It is new.
    New,
}

/// The place of a reader in its container's log.
#[derive(Clone, Debug)]
pub struct Cursor {
    mark: Mark,
    stdout: Mark,
    stderr: Mark,
    search: Option<Search>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Search {
    equal: u32,
    ahead: usize,
}

impl Cursor {
    /// Just behind `mark`.
    #[must_use]
    pub fn new(mark: Mark) -> Self {
        let none = Mark { time_ns: i64::MIN, seen: 0 };
        // Which output the mark belongs to is not known, and does not matter: either way the next message
        // of its time counts on from it.
        Self { mark, stdout: mark, stderr: none, search: None }
    }

    /// The last message that was taken.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// A new stream begins: returns the time to ask from.
    pub fn reopen(&mut self) -> i64 {
        if self.mark.seen == 0 {
            self.search = None;
            return self.mark.time_ns;
        }
        self.search = Some(Search::default());
        self.mark.time_ns.saturating_sub(OVERLAP_NS)
    }

    /// Whether the mark is still being searched for.
    #[must_use]
    pub fn is_searching(&self) -> bool {
        self.search.is_some()
    }

    /// The stream ended or fell silent in mid-search: the mark is no longer in the log.
    pub fn end_search(&mut self) {
        self.search = None;
    }

    /// Judges the next message of the stream.
    pub fn judge(&mut self, time_ns: i64) -> Verdict {
        let Some(search) = &mut self.search else { return Verdict::New };
        if time_ns < self.mark.time_ns {
            return Verdict::Known;
        }
        if time_ns > self.mark.time_ns {
            search.ahead += 1;
            let lost = search.ahead > AHEAD_MAX || time_ns - self.mark.time_ns > AHEAD_NS;
            if lost {
                self.search = None;
                return Verdict::Lost;
            }
            return Verdict::Ahead;
        }
        search.equal += 1;
        if search.equal < self.mark.seen {
            return Verdict::Known;
        }
        self.search = None;
        Verdict::Found
    }

    /// Takes a new message: it is the mark now. Within one output times do not go back (unless the clock
    /// does, and then a message may repeat), so counting per output is enough.
    pub fn take(&mut self, stream: Stream, time_ns: i64) -> Mark {
        let (own, other) = match stream {
            Stream::Stdout => (&mut self.stdout, &self.stderr),
            Stream::Stderr => (&mut self.stderr, &self.stdout),
        };
        let seen = if own.time_ns == time_ns { own.seen + 1 } else { 1 };
        *own = Mark { time_ns, seen };
        let both = if other.time_ns == time_ns { seen + other.seen } else { seen };
        self.mark = Mark { time_ns, seen: both };
        self.mark
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A log in the order of its file: (is stderr, time). Times rise within each output.
    fn log() -> impl Strategy<Value = Vec<(bool, i64)>> {
        let output = || prop::collection::vec(0i64..3, 0..20);
        (output(), output(), prop::collection::vec(any::<bool>(), 40)).prop_map(|(out, err, turns)| {
            let rise = |steps: Vec<i64>| {
                let mut time = 0;
                steps
                    .into_iter()
                    .map(move |step| {
                        time += step;
                        time
                    })
                    .collect::<std::collections::VecDeque<_>>()
            };
            let (mut out, mut err) = (rise(out), rise(err));
            let mut log = Vec::new();
            for turn in turns {
                let next = if turn {
                    err.pop_front().map(|t| (true, t))
                } else {
                    out.pop_front().map(|t| (false, t))
                };
                log.extend(next);
            }
            log
        })
    }

    fn stream(err: bool) -> Stream {
        if err { Stream::Stderr } else { Stream::Stdout }
    }

    /// Reads `log` from the cursor's mark for at most `steps` messages; the indices of what is new.
    fn read(cursor: &mut Cursor, log: &[(bool, i64)], steps: usize) -> Vec<usize> {
        let since = cursor.reopen();
        let (mut new, mut ahead) = (Vec::new(), Vec::new());
        for (index, (err, time)) in log.iter().enumerate().filter(|(_, (_, time))| *time >= since).take(steps)
        {
            match cursor.judge(*time) {
                Verdict::Known => {}
                Verdict::Ahead => ahead.push(index),
                Verdict::Found => ahead.clear(),
                Verdict::Lost => panic!("the mark is there"),
                Verdict::New => {
                    cursor.take(stream(*err), *time);
                    new.push(index);
                }
            }
        }
        new
    }

    proptest! {
        #[test]
        fn however_often_a_log_is_reopened_each_message_comes_once(log in log(), cuts in prop::collection::vec(0usize..60, 0..10)) {
            // No two outputs share a nanosecond here; see the next test for what happens if they do.
            let log: Vec<_> = log.into_iter().map(|(err, time)| (err, time * 2 + i64::from(err))).collect();
            let mut cursor = Cursor::new(Mark { time_ns: 0, seen: 0 });
            let mut new = Vec::new();
            for steps in cuts {
                new.extend(read(&mut cursor, &log, steps));
            }
            new.extend(read(&mut cursor, &log, usize::MAX));
            prop_assert_eq!(new, (0..log.len()).collect::<Vec<_>>());
        }

        #[test]
        fn a_checkpoint_at_any_message_resumes_just_behind_it(log in log(), at in any::<prop::sample::Index>()) {
            prop_assume!(!log.is_empty());
            let at = at.index(log.len());
            let mut cursor = Cursor::new(Mark { time_ns: 0, seen: 0 });
            let marks: Vec<_> = log.iter().map(|(err, time)| cursor.take(stream(*err), *time)).collect();
            let new = read(&mut Cursor::new(marks[at]), &log, usize::MAX);
            // Where both outputs bear one time and one has gone on, the count may fall short: a message
            // may repeat then, none is ever lost.
            let missing: Vec<_> = (at + 1..log.len()).filter(|index| !new.contains(index)).collect();
            prop_assert!(missing.is_empty(), "missing {missing:?}");
        }
    }

    #[test]
    fn a_mark_that_is_no_longer_in_the_log_is_lost_and_nothing_else() {
        let mut cursor = Cursor::new(Mark { time_ns: 0, seen: 1 });
        cursor.reopen();
        assert_eq!(cursor.judge(1), Verdict::Ahead);
        assert_eq!(cursor.judge(AHEAD_NS + 1), Verdict::Lost);
        assert_eq!(cursor.judge(AHEAD_NS + 2), Verdict::New);
    }
}
