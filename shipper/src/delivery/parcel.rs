//! Lines under way to Loki, with the history of their attempts. Pure: the time is an argument.

use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::retry::Config;
use crate::batch::{Entry, Group, cost_bytes, lines};
use crate::loki::client::Answer;
use crate::loki::limit::Limit;

/// Refused so often for more bytes than the rate allows in a second, a parcel is halved: a burst did not
/// let it pass.
const RATE_REFUSALS_MAX: u32 = 3;
/// … and a line that is alone above the rate is given up, after some minutes.
const ALONE_REFUSALS_MAX: u32 = 10;
/// Streams end when nothing is written to them for half an hour, so there is little to wait for.
const STREAM_REFUSALS_MAX: u32 = 5;
/// What is kept of Loki's words while a parcel waits.
const WORDS_BYTES_MAX: usize = 1024;

/// One push, from its first attempt to its last.
#[derive(Debug)]
pub struct Parcel {
    /// What is pushed.
    pub groups: Vec<Group>,
    /// Whether it has waited, so that its lines may have aged.
    pub waited: bool,
    pub(super) backoff: Backoff,
    bytes: usize,
    /// When its first attempt had failed.
    failing_since: Option<Instant>,
    refusals: Option<(Discriminant<Limit>, u32)>,
    reconnected: bool,
    last_words: Option<(u16, String)>,
}

/// What to do with a parcel that a limit of Loki's refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Wait, and send it again.
    Again,
    /// Send it in halves.
    Halve,
    /// It will not pass.
    GiveUp,
}

impl Parcel {
    /// At its first attempt.
    #[must_use]
    pub fn new(groups: Vec<Group>, config: &Config) -> Self {
        let bytes = cost_bytes(&groups);
        Self {
            groups,
            waited: false,
            backoff: Backoff::new(config.initial, config.max),
            bytes,
            failing_since: None,
            refusals: None,
            reconnected: false,
            last_words: None,
        }
    }

    /// An upper bound of its size on the wire.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Notes that an attempt has failed, and Loki's words, if it has said anything.
    pub fn failed(&mut self, answer: Option<&Answer>, now: Instant) {
        self.failing_since.get_or_insert(now);
        if let Some(Answer { status, body, .. }) = answer {
            let words = body.get(..body.floor_char_boundary(WORDS_BYTES_MAX)).unwrap_or(body);
            self.last_words = Some((*status, words.to_owned()));
        }
    }

    /// The last status and words that Loki had for it.
    pub fn take_words(&mut self) -> Option<(u16, String)> {
        self.last_words.take()
    }

    /// When it is no longer to be tried.
    #[must_use]
    pub fn give_up_at(&self, budget: Option<Duration>) -> Option<Instant> {
        self.failing_since?.checked_add(budget?)
    }

    /// Time spent while Loki let nobody in does not count.
    pub fn restart_budget(&mut self) {
        self.failing_since = None;
    }

    /// Notes that `limit` has refused it.
    pub fn refused_by(&mut self, limit: &Limit) -> Next {
        let kind = discriminant(limit);
        let before = self.refusals.filter(|(other, _)| *other == kind).map_or(0, |(_, times)| times);
        let times = before + 1;
        self.refusals = Some((kind, times));
        match limit {
            Limit::Rate if lines(&self.groups) > 1 && times >= RATE_REFUSALS_MAX => Next::Halve,
            Limit::Rate if times >= ALONE_REFUSALS_MAX => Next::GiveUp,
            Limit::Streams { .. } if times >= STREAM_REFUSALS_MAX => Next::GiveUp,
            Limit::Rate | Limit::Streams { .. } => Next::Again,
        }
    }

    /// Whether it may be sent again at once since its connection was closed: only the first time, for an idle
    /// connection may be closed at the moment in which it is used.
    pub fn may_reconnect(&mut self) -> bool {
        !std::mem::replace(&mut self.reconnected, true)
    }

    /// Two parcels of half the lines each; only the parcel itself if it holds a single line.
    #[must_use]
    pub fn halves(mut self, config: &Config) -> (Self, Option<Self>) {
        let half = lines(&self.groups) / 2;
        if half == 0 {
            return (self, None);
        }
        let mut left = usize::try_from(half).unwrap_or(usize::MAX);
        let mut first = Vec::new();
        for group in &mut self.groups {
            let mut taken = group.like();
            taken.entries = group.entries.drain(..left.min(group.entries.len())).collect();
            left -= taken.entries.len();
            first.push(taken);
        }
        let parcel = |mut groups: Vec<Group>| {
            groups.retain(|group| !group.entries.is_empty());
            let (failing_since, last_words) = (self.failing_since, self.last_words.clone());
            Self { waited: self.waited, failing_since, last_words, ..Self::new(groups, config) }
        };
        (parcel(first), Some(parcel(std::mem::take(&mut self.groups))))
    }

    /// Whether `test` holds for any of its lines.
    pub fn any(&self, test: impl Fn(&Entry) -> bool) -> bool {
        self.groups.iter().flat_map(|group| &group.entries).any(test)
    }

    /// The lines for which `test` holds, and a parcel of the others, if there are any. Its history goes on.
    pub fn divide(self, test: impl Fn(&Entry) -> bool) -> (Vec<Group>, Option<Self>) {
        let (mut those, mut others) = (Vec::new(), Vec::new());
        for mut group in self.groups {
            let (mut that, mut other) = (group.like(), group.like());
            (that.entries, other.entries) = group.entries.drain(..).partition(|entry| test(entry));
            those.push(that);
            others.push(other);
        }
        those.retain(|group| !group.entries.is_empty());
        others.retain(|group| !group.entries.is_empty());
        let rest = Self { bytes: cost_bytes(&others), groups: others, ..self };
        (those, (!rest.groups.is_empty()).then_some(rest))
    }

    /// The lines of the stream with these labels, and a parcel of the others, if there are any.
    #[must_use]
    pub fn without_stream(self, labels: &str) -> (Vec<Group>, Option<Self>) {
        let (those, others): (Vec<Group>, Vec<Group>) =
            self.groups.into_iter().partition(|group| group.labels.text == labels);
        let rest = Self { bytes: cost_bytes(&others), groups: others, ..self };
        (those, (!rest.groups.is_empty()).then_some(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::group;

    const STREAMS: Limit = Limit::Streams { labels: None };

    #[test]
    fn halves_hold_each_line_once_and_one_line_can_not_be_halved() {
        let config = Config::default();
        let groups = vec![group(&[(0, "a")]), group(&[(0, "b"), (0, "c"), (0, "d"), (0, "e")])];
        let (first, second) = Parcel::new(groups, &config).halves(&config);
        let second = second.unwrap();
        let texts = |parcel: &Parcel| {
            parcel.groups.iter().flat_map(|g| &g.entries).map(|e| e.line.clone()).collect::<String>()
        };
        assert_eq!((texts(&first), texts(&second)), ("ab".to_owned(), "cde".to_owned()));
        assert!(Parcel::new(vec![group(&[(0, "a")])], &config).halves(&config).1.is_none());
    }

    #[test]
    fn a_limit_has_patience_of_its_own_and_a_single_line_more() {
        let next = |lines: &[(i64, &str)], limits: &[Limit]| -> Vec<Next> {
            let mut parcel = Parcel::new(vec![group(lines)], &Config::default());
            limits.iter().map(|limit| parcel.refused_by(limit)).collect()
        };
        use Next::{Again, GiveUp, Halve};
        let two = [(0, "a"), (0, "b")];
        assert_eq!(next(&two, &[Limit::Rate, Limit::Rate, Limit::Rate]), [Again, Again, Halve]);
        assert_eq!(next(&two, &[Limit::Rate, Limit::Rate, STREAMS, Limit::Rate]), [Again; 4]);
        assert_eq!(next(&two, &[STREAMS; 5])[3..], [Again, GiveUp]);
        let alone = next(&[(0, "a")], &[const { Limit::Rate }; 10]);
        assert_eq!(alone[8..], [Again, GiveUp]);
    }

    #[test]
    fn the_budget_counts_from_the_first_failure_on_and_halves_inherit_it() {
        let (config, now, second) = (Config::default(), Instant::now(), Duration::from_secs(1));
        let mut parcel = Parcel::new(vec![group(&[(0, "a"), (0, "b")])], &config);
        assert_eq!(parcel.give_up_at(Some(second)), None);
        parcel.failed(None, now);
        parcel.failed(None, now + second);
        assert_eq!((parcel.give_up_at(Some(second)), parcel.give_up_at(None)), (Some(now + second), None));
        let (mut half, _) = parcel.halves(&config);
        assert_eq!(half.give_up_at(Some(second)), Some(now + second));
        half.restart_budget();
        assert_eq!(half.give_up_at(Some(second)), None);
    }
}
