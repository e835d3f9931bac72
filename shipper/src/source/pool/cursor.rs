//! Where a container's log was left, and how to find the place again. Pure.
//!
//! Docker's API knows no offsets, only `since`: a time, inclusive, that filters. But what it sends comes in
//! the order of the file, and that order is fixed; times are not in order there, since stdout and stderr
//! are written by two tasks and the fragments of a line all bear the time of the first. So the mark is a
//! message: its time, and how many messages of that very nanosecond had come, it included. A reader that
//! returns asks from a little before that time, passes over everything up to the mark, and takes
//! everything behind it, whatever its time. Nothing is lost and nothing repeats.
//!
//! A stream that is followed may repeat itself: up to Docker 20.10 each rotation sends the first messages
//! of the new file twice, because its size is compared with the old file's and so it is taken for
//! truncated (moby, `daemon/logger/loggerutils/follow.go`, `oldSize`). Within one output times do not go
//! back, so a message that does is doubted: the stream is opened again, and what stands behind the mark
//! in the file is the truth. A clock that was set back does the same; then the doubt was wrong, and this
//! log is not doubted any more, lest a clock that jumps about open it over and over.

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
    /// It is older than what its output said before: open the stream again, which tells a repeated message
    /// from a new one.
    Doubtful,
}

/// The place of a reader in its container's log.
#[derive(Clone, Debug)]
pub struct Cursor {
    mark: Mark,
    stdout: Mark,
    stderr: Mark,
    newest: Outputs,
    search: Option<Search>,
    doubt: Doubt,
}

/// The last message of each output that this process has taken.
#[derive(Clone, Copy, Debug, Default)]
struct Outputs {
    stdout: Option<Newest>,
    stderr: Option<Newest>,
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    time_ns: i64,
    /// Whether it ended its line.
    ended: bool,
}

/// Whether messages that go back in time may be repeated ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// None has gone back since the last new one.
    None,
    /// One of this time has, and the stream is read again because of it.
    At(i64),
    /// One has, and it was new.
    Unfounded,
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
        Self {
            mark,
            stdout: mark,
            stderr: none,
            newest: Outputs::default(),
            search: None,
            doubt: Doubt::None,
        }
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
        let from = match self.doubt {
            Doubt::At(time_ns) => self.mark.time_ns.min(time_ns),
            Doubt::None | Doubt::Unfounded => self.mark.time_ns,
        };
        from.saturating_sub(OVERLAP_NS)
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
    pub fn judge(&mut self, stream: Stream, time_ns: i64) -> Verdict {
        let Some(search) = &mut self.search else { return self.judge_new(stream, time_ns) };
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

    fn judge_new(&mut self, stream: Stream, time_ns: i64) -> Verdict {
        let before = match stream {
            Stream::Stdout => self.newest.stdout,
            Stream::Stderr => self.newest.stderr,
        };
        // All fragments of a line bear one time, the line behind it bears another.
        let goes_back = before.is_some_and(|Newest { time_ns: newest_ns, ended }| {
            time_ns < newest_ns || (time_ns == newest_ns && ended)
        });
        self.doubt = match (self.doubt, goes_back) {
            (Doubt::None, true) => Doubt::At(time_ns),
            (Doubt::At(_) | Doubt::Unfounded, true) | (Doubt::Unfounded, false) => Doubt::Unfounded,
            (Doubt::None | Doubt::At(_), false) => Doubt::None,
        };
        if matches!(self.doubt, Doubt::At(_)) { Verdict::Doubtful } else { Verdict::New }
    }

    /// Takes a new message: it is the mark now. Within one output times do not go back (unless the clock
    /// does, and then a message may repeat), so counting per output is enough.
    /// `ended` says whether it ended its line.
    pub fn take(&mut self, stream: Stream, time_ns: i64, ended: bool) -> Mark {
        let (own, other, newest) = match stream {
            Stream::Stdout => (&mut self.stdout, &self.stderr, &mut self.newest.stdout),
            Stream::Stderr => (&mut self.stderr, &self.stdout, &mut self.newest.stderr),
        };
        *newest = Some(Newest { time_ns, ended });
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
            match cursor.judge(stream(*err), *time) {
                Verdict::Known => {}
                Verdict::Ahead => ahead.push(index),
                Verdict::Found => ahead.clear(),
                Verdict::Lost => panic!("the mark is there"),
                Verdict::Doubtful => panic!("no output goes back"),
                Verdict::New => {
                    cursor.take(stream(*err), *time, false);
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
            let marks: Vec<_> = log.iter().map(|(err, time)| cursor.take(stream(*err), *time, false)).collect();
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
        assert_eq!(cursor.judge(Stream::Stdout, 1), Verdict::Ahead);
        assert_eq!(cursor.judge(Stream::Stdout, AHEAD_NS + 1), Verdict::Lost);
        assert_eq!(cursor.judge(Stream::Stdout, AHEAD_NS + 2), Verdict::New);
    }

    /// Reads `sent` from one stream; what was taken, and the message at which it was doubted.
    fn follow(cursor: &mut Cursor, sent: &[i64]) -> (Vec<i64>, Option<i64>) {
        let mut taken = Vec::new();
        for time in sent {
            match cursor.judge(Stream::Stdout, *time) {
                Verdict::New => {
                    cursor.take(Stream::Stdout, *time, true);
                    taken.push(*time);
                }
                Verdict::Doubtful => return (taken, Some(*time)),
                Verdict::Known | Verdict::Ahead | Verdict::Found => {}
                Verdict::Lost => panic!("the mark is there"),
            }
        }
        (taken, None)
    }

    #[test]
    fn what_docker_repeats_at_a_rotation_is_taken_once() {
        let second = 1_000_000_000;
        let file: Vec<i64> = (1..=6).map(|time| time * second).collect();
        let mut cursor = Cursor::new(Mark { time_ns: 0, seen: 0 });
        for (repeated, next) in [(3, 4), (4, 5)] {
            let since = cursor.reopen();
            // The new file begins at `repeated`; Docker sends what it had sent of it once more.
            let sent: Vec<i64> =
                file.iter().filter(|time| (since..=repeated * second).contains(time)).copied().collect();
            let (_, doubted) = follow(&mut cursor, &[sent, vec![repeated * second]].concat());
            assert_eq!(doubted, Some(repeated * second));
            let since = cursor.reopen();
            assert_eq!(since, repeated * second - OVERLAP_NS);
            let rest: Vec<i64> =
                file.iter().filter(|time| (since..=next * second).contains(time)).copied().collect();
            assert_eq!(follow(&mut cursor, &rest), (vec![next * second], None));
        }
    }

    #[test]
    fn a_clock_that_was_set_back_costs_one_reading_and_no_line() {
        let file = [100, 101, 50, 51, 40, 41].map(|second| second * 1_000_000_000);
        let mut cursor = Cursor::new(Mark { time_ns: 0, seen: 0 });
        cursor.reopen();
        let (taken, doubted) = follow(&mut cursor, &file);
        assert_eq!((taken.as_slice(), doubted), (&file[..2], Some(file[2])));
        let since = cursor.reopen();
        assert!(since < file[2], "Docker would hold back what the clock has put before");
        let sent: Vec<i64> = file.into_iter().filter(|time| *time >= since).collect();
        assert_eq!(follow(&mut cursor, &sent).0, file[2..4]);
    }

    #[test]
    fn fragments_of_a_line_bear_one_time_and_are_not_doubted() {
        let mut cursor = Cursor::new(Mark { time_ns: 0, seen: 0 });
        for ended in [false, false, true] {
            assert_eq!(cursor.judge(Stream::Stderr, 7), Verdict::New);
            cursor.take(Stream::Stderr, 7, ended);
        }
        assert_eq!(cursor.judge(Stream::Stdout, 6), Verdict::New, "each output has its own order");
        assert_eq!(cursor.judge(Stream::Stderr, 7), Verdict::Doubtful);
    }
}
