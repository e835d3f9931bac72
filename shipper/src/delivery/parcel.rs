//! Lines under way to Loki, with the history of their attempts. Pure: the time is an argument.

use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::retry::Config;
use crate::batch::{Entry, Group, cost_bytes, lines};
use crate::loki::answer::words_kept;
use crate::loki::client::Answer;
use crate::loki::limit::Limit;

/// Refused so often for more bytes than the rate allows in a second, a parcel is halved: a burst did not
/// let it pass.
const RATE_REFUSALS_MAX: u32 = 3;
/// … and a line that is alone above the rate is given up, after some minutes.
const ALONE_REFUSALS_MAX: u32 = 10;
/// Streams end when nothing is written to them for half an hour, so there is little to wait for.
const STREAM_REFUSALS_MAX: u32 = 5;

/// One push, from its first attempt to its last.
#[derive(Debug)]
pub struct Parcel {
    /// What is pushed.
    pub groups: Vec<Group>,
    /// Which of the batches it is from, in the order in which they came.
    pub(super) number: u64,
    /// Which half, of which half … of that batch: what is halved must not be joined again.
    half: u64,
    /// Whether it is one line, sent to see whether lines of its kind are still refused.
    pub(super) probe: bool,
    /// Since when it has failed while Loki took others.
    pub(super) overtaken_since: Option<Instant>,
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
            number: 0,
            half: 1,
            probe: false,
            overtaken_since: None,
            backoff: Backoff::new(config.initial, config.max),
            bytes,
            failing_since: None,
            refusals: None,
            reconnected: false,
            last_words: None,
        }
    }

    /// A line of a kind that Loki has refused, on its own.
    #[must_use]
    pub fn probe(line: Group, config: &Config) -> Self {
        Self { probe: true, ..Self::new(vec![line], config) }
    }

    /// Some of its groups, with its history, and a backoff of their own; none if there are no lines.
    fn part(&self, mut groups: Vec<Group>, config: &Config) -> Option<Self> {
        groups.retain(|group| !group.entries.is_empty());
        let Self { number, half, probe, overtaken_since, failing_since, .. } = *self;
        let last_words = self.last_words.clone();
        let part = Self { number, half, probe, overtaken_since, failing_since, ..Self::new(groups, config) };
        let part = Self { last_words, ..part };
        (!part.groups.is_empty()).then_some(part)
    }

    /// What is left of it.
    fn with(self, mut groups: Vec<Group>) -> Option<Self> {
        groups.retain(|group| !group.entries.is_empty());
        (!groups.is_empty()).then(|| Self { bytes: cost_bytes(&groups), groups, ..self })
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
            self.last_words = Some((*status, words_kept(body).to_owned()));
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
        let second = std::mem::take(&mut self.groups);
        match (self.part(first, config), self.part(second, config)) {
            (Some(first), second) => {
                let half = self.half.wrapping_mul(2);
                let second = second.map(|second| Self { half: half.wrapping_add(1), ..second });
                (Self { half, ..first }, second)
            }
            (None, second) => (second.unwrap_or(self), None),
        }
    }

    /// Whether `test` holds for any of its lines.
    pub fn any(&self, test: impl Fn(&Group, &Entry) -> bool) -> bool {
        self.groups.iter().any(|group| group.entries.iter().any(|entry| test(group, entry)))
    }

    /// The lines for which `test` holds, and a parcel of the others, if there are any. Its history goes on.
    pub fn divide(self, test: impl Fn(&Group, &Entry) -> bool) -> (Vec<Group>, Option<Self>) {
        let (those, others) = self.sort(|group, entry| test(group, entry).then_some(()));
        (those.into_iter().map(|((), group)| group).collect(), others)
    }

    /// The lines to which `kind` gives a name, by name; and a parcel of the others, as [`Parcel::divide`].
    pub fn sort<K: Copy + PartialEq>(
        mut self,
        kind: impl Fn(&Group, &Entry) -> Option<K>,
    ) -> (Vec<(K, Group)>, Option<Self>) {
        let (mut those, mut others) = (Vec::new(), Vec::new());
        for mut group in std::mem::take(&mut self.groups) {
            let (mut named, mut other): (Vec<(K, Group)>, Group) = (Vec::new(), group.like());
            for entry in std::mem::take(&mut group.entries) {
                let Some(name) = kind(&group, &entry) else {
                    other.entries.push(entry);
                    continue;
                };
                match named.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, group)) => group.entries.push(entry),
                    None => named.push((name, Group { entries: vec![entry], ..group.like() })),
                }
            }
            those.extend(named);
            others.push(other);
        }
        (those, self.with(others))
    }

    /// The lines of the stream with these labels, and a parcel of the others, if there are any.
    #[must_use]
    pub fn without_stream(mut self, labels: &str) -> (Vec<Group>, Option<Self>) {
        let (those, others) =
            std::mem::take(&mut self.groups).into_iter().partition(|group| group.labels.text == labels);
        (those, self.with(others))
    }

    /// A parcel of the streams for which `test` holds, with its history; and one of the others.
    pub fn select(mut self, config: &Config, test: impl Fn(&str) -> bool) -> (Option<Self>, Option<Self>) {
        let (those, others) =
            std::mem::take(&mut self.groups).into_iter().partition(|group| test(&group.labels.text));
        let others = self.part(others, config);
        (self.with(those), others)
    }

    /// Whether both are parts of one batch that go together.
    #[must_use]
    pub fn belongs_to(&self, other: &Self) -> bool {
        (self.number, self.half, self.probe) == (other.number, other.half, other.probe)
    }

    /// Takes in another part of the same batch; the history is its own.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        self.groups.extend(other.groups);
        self.bytes += other.bytes;
        self
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
            parcel.groups.iter().flat_map(|g| &g.entries).map(|e| e.line.to_string()).collect::<String>()
        };
        assert_eq!((texts(&first), texts(&second)), ("ab".to_owned(), "cde".to_owned()));
        assert!(!first.belongs_to(&second), "or they would be joined, and halved again for ever");
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
