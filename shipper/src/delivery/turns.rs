//! Which part of a batch may go now, while others are under way. Three rules:
//!
//! - Lines that this Loki was not seen to take go one push at a time: if they are refused, it is one push.
//! - Lines so old that their stream may refuse them go in a push without any other stream: Loki hides the
//!   refusal of one stream behind the good lines of the next. Once it has taken one such push the stream is
//!   known, unless somebody else writes to it too.
//! - A stream's lines go in order where Loki would refuse the older after the newer.
//!
//! All other lines go at once, side by side. Pure: the caller pushes, and says when a push is over.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::parcel::Parcel;
use super::retry;
use crate::batch::spans;
use crate::clock::{Moment, duration_ns};
use crate::labels::Labels;
use crate::window::shared::{Span, Standing, Window};

/// A push that may go.
#[derive(Debug)]
pub struct Turn {
    /// Its name until it is over.
    pub id: u64,
    /// What is pushed.
    pub parcel: Parcel,
}

/// How long a batch that fails holds back newer lines of its streams while Loki takes others: it may never
/// pass. In an outage, when Loki takes none, it holds them back for as long as that lasts.
const HOLDS_BACK: Duration = Duration::from_secs(600);

/// What is under way, and what waits for it.
#[derive(Debug, Default)]
pub struct Turns {
    under_way: Vec<UnderWay>,
    waiting: VecDeque<Parcel>,
    /// How many of those at the front have come since a push was over; the others need no look.
    unseen: usize,
    batches: u64,
    pushes: u64,
    accepted: u64,
}

#[derive(Debug)]
struct UnderWay {
    id: u64,
    number: u64,
    trial: bool,
    probe: bool,
    bytes: usize,
    accepted_before: u64,
    oldest: Vec<(Arc<Labels>, i64)>,
}

impl Turns {
    /// A new batch waits for its turn.
    pub fn arrive(&mut self, mut parcel: Parcel) {
        self.batches += 1;
        parcel.number = self.batches;
        self.wait(parcel);
    }

    /// A part of a batch waits for its turn again.
    pub fn wait(&mut self, parcel: Parcel) {
        self.waiting.push_front(parcel);
        self.unseen += 1;
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The end: all that wait.
    pub fn give_up(&mut self) -> impl Iterator<Item = Parcel> + use<> {
        std::mem::take(&mut self.waiting).into_iter()
    }

    /// How many bytes wait or are under way.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let under_way: usize = self.under_way.iter().map(|push| push.bytes).sum();
        under_way + self.waiting.iter().map(Parcel::bytes).sum::<usize>()
    }

    /// The next that waits and may have its turn now; give it to [`Turns::choose`].
    pub fn next_waiting(&mut self) -> Option<Parcel> {
        self.unseen = self.unseen.checked_sub(1)?;
        self.waiting.pop_front()
    }

    /// A push is over; all that wait may have their turn now. If it comes back to be tried again, it counts
    /// for how long it has failed while Loki took others.
    pub fn over(&mut self, turn: &mut Turn, accepted: bool, now: Instant) {
        let ended = self.under_way.iter().position(|push| push.id == turn.id);
        let ended = ended.map(|place| self.under_way.swap_remove(place));
        self.unseen = self.waiting.len();
        self.accepted += u64::from(accepted);
        let overtaken = ended.is_some_and(|push| self.accepted > push.accepted_before);
        turn.parcel.overtaken_since = overtaken.then(|| turn.parcel.overtaken_since.unwrap_or(now));
    }

    /// A part that must wait for another attempt takes its whole batch with it, so that one batch never
    /// becomes more of them than there are pushes.
    #[must_use]
    pub fn rejoin(&mut self, mut parcel: Parcel) -> Parcel {
        let (parts, others) =
            std::mem::take(&mut self.waiting).into_iter().partition(|part: &Parcel| part.belongs_to(&parcel));
        self.waiting = others;
        self.unseen = self.waiting.len();
        for part in parts {
            parcel = parcel.join(part);
        }
        parcel
    }

    /// The part of `parcel` that may go now, if there is one; the rest waits. `retrying` are those that wait
    /// for another attempt.
    pub fn choose<'a>(
        &mut self,
        parcel: Parcel,
        retrying: impl Iterator<Item = &'a Parcel>,
        config: &retry::Config,
        (window, now): (&Window, Moment),
    ) -> Option<Turn> {
        let mut free = spans(&parcel.groups);
        if !parcel.probe {
            self.remove_blocked(parcel.number, &mut free, retrying, (window, now));
        }
        let Choice { trial, streams } = Choice::of(&free, parcel.probe, window, now);
        if streams.is_empty() || trial && self.under_way.iter().any(|push| push.trial) {
            self.waiting.push_back(parcel);
            return None;
        }
        let (now, rest) = parcel.select(config, |labels| streams.contains(labels));
        self.waiting.extend(rest);
        now.map(|parcel| self.begin(parcel, trial))
    }

    fn begin(&mut self, parcel: Parcel, trial: bool) -> Turn {
        self.pushes += 1;
        let oldest = parcel.groups.iter().map(|group| (group.labels.clone(), group.oldest_ns())).collect();
        let Parcel { number, probe, .. } = parcel;
        let bytes = parcel.bytes();
        let (id, accepted_before) = (self.pushes, self.accepted);
        self.under_way.push(UnderWay { id, number, trial, probe, bytes, accepted_before, oldest });
        Turn { id: self.pushes, parcel }
    }

    /// A stream stays if no older lines of it are still on their way that Loki would not take after these.
    /// Who came first goes first, so two can't wait for each other.
    fn remove_blocked<'a>(
        &self,
        number: u64,
        free: &mut Vec<Span<'_>>,
        retrying: impl Iterator<Item = &'a Parcel>,
        (window, now): (&Window, Moment),
    ) {
        let behind_ns = duration_ns(window.config().max_behind);
        // Most of the time no line on its way is so much older than any of these, whatever its stream.
        let newest_ns = free.iter().map(|span| span.newest_ns).max().unwrap_or(i64::MIN);
        let far = |oldest_ns: i64| oldest_ns < newest_ns.saturating_sub(behind_ns);
        let mut ahead: HashMap<String, Vec<(u64, i64)>> = HashMap::new();
        let mut note = |number: u64, labels: &Arc<Labels>, oldest_ns: i64| {
            if far(oldest_ns) {
                ahead.entry(labels.text.clone()).or_default().push((number, oldest_ns));
            }
        };
        for push in self.under_way.iter().filter(|push| !push.probe) {
            push.oldest.iter().for_each(|(labels, oldest_ns)| note(push.number, labels, *oldest_ns));
        }
        let mut note_all = |other: &Parcel| {
            other.groups.iter().for_each(|group| note(other.number, &group.labels, group.oldest_ns()));
        };
        self.waiting.iter().filter(|other| !other.probe).for_each(&mut note_all);
        let given_up = |other: &Parcel| {
            other.overtaken_since.is_some_and(|since| now.at.duration_since(since) > HOLDS_BACK)
        };
        retrying.filter(|other| !other.probe && !given_up(other)).for_each(note_all);
        free.retain(|span| {
            let blocks = |(their_number, oldest_ns): &(u64, i64)| {
                (*their_number, *oldest_ns) < (number, span.oldest_ns)
                    && *oldest_ns < span.newest_ns.saturating_sub(behind_ns)
            };
            !ahead.get(span.labels).is_some_and(|those| those.iter().any(blocks))
        });
    }
}

/// Which streams of a parcel go, and whether they are a trial.
struct Choice {
    trial: bool,
    streams: HashSet<String>,
}

impl Choice {
    /// All that are proven; else all of which only the age is not; else the one with the oldest line.
    fn of(free: &[Span<'_>], probe: bool, window: &Window, now: Moment) -> Self {
        let standings: Vec<Standing> = free.iter().map(|span| window.standing(*span, now)).collect();
        let best = standings.iter().min().copied().unwrap_or(Standing::Proven);
        if probe || best == Standing::StreamUnproven {
            let oldest = free.iter().min_by_key(|span| span.oldest_ns);
            return Self {
                trial: true,
                streams: oldest.map(|span| span.labels.to_owned()).into_iter().collect(),
            };
        }
        let those = free.iter().zip(&standings).filter(|(_, standing)| **standing == best);
        Self {
            trial: best != Standing::Proven,
            streams: those.map(|(span, _)| span.labels.to_owned()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Group, tests::group};
    use crate::delivery::sift::sift;
    use crate::metrics::Metrics;
    use crate::window::shared::Seat;
    use crate::window::{self, Outside};
    use proptest::prelude::*;

    const HOUR: i64 = 3_600_000_000_000;
    const NOW: i64 = 500_000 * HOUR;

    fn of_stream(stream: &str, times: &[i64]) -> Group {
        let mut group = group(&times.iter().map(|time_ns| (*time_ns, "x")).collect::<Vec<_>>());
        Arc::make_mut(&mut group.labels).text = format!("{{a=\"{stream}\"}}");
        group
    }

    /// Turns, a window and what waits for another attempt, as delivery holds them.
    struct Desk {
        turns: Turns,
        window: Window,
        now: Moment,
        config: retry::Config,
        retrying: Vec<Parcel>,
        under_way: Vec<Turn>,
        refused: Vec<Outside>,
        /// The containers write on.
        seats: Vec<Seat>,
    }

    impl Desk {
        fn new() -> Self {
            let window = Window::new(window::Config::default(), None, Metrics::new());
            let now = Moment { ns: NOW, at: Instant::now() };
            let (turns, config) = (Turns::default(), retry::Config::default());
            let (retrying, under_way, refused) = (Vec::new(), Vec::new(), Vec::new());
            Self { turns, window, now, config, retrying, under_way, refused, seats: Vec::new() }
        }

        fn arrive(&mut self, groups: Vec<Group>) {
            self.seats.extend(groups.iter().map(|group| self.window.join(&group.labels.text)));
            self.turns.arrive(Parcel::new(groups, &self.config));
            self.send();
        }

        fn send(&mut self) {
            while let Some(parcel) = self.turns.next_waiting() {
                let (refused, rest) = sift(parcel, &self.window, self.now);
                self.refused.extend(refused.iter().map(|(outside, _)| *outside));
                let Some(rest) = rest else { continue };
                let retrying = self.retrying.iter();
                let turn = self.turns.choose(rest, retrying, &self.config, (&self.window, self.now));
                self.under_way.extend(turn);
            }
        }

        fn answer(&mut self, place: usize, accepted: bool) {
            let mut turn = self.under_way.remove(place);
            self.turns.over(&mut turn, accepted, self.now.at);
            if accepted {
                self.window.accepted(&spans(&turn.parcel.groups), self.now, self.now);
            } else {
                let parcel = self.turns.rejoin(turn.parcel);
                self.retrying.push(parcel);
            }
            self.send();
        }

        fn halve(&mut self, place: usize) {
            let mut turn = self.under_way.remove(place);
            self.turns.over(&mut turn, false, self.now.at);
            let (first, second) = turn.parcel.halves(&self.config);
            self.retrying.extend(std::iter::once(first).chain(second));
            self.send();
        }

        fn retry(&mut self, place: usize) {
            let parcel = self.retrying.remove(place);
            self.turns.wait(parcel);
            self.send();
        }

        /// The streams of each push under way, in letters.
        fn streams(&self) -> Vec<String> {
            let of = |turn: &Turn| {
                turn.parcel.groups.iter().map(|group| group.labels.text.get(4..5).unwrap()).collect()
            };
            self.under_way.iter().map(of).collect()
        }
    }

    #[test]
    fn until_one_push_has_proven_its_age_it_goes_alone_and_then_all_go_side_by_side() {
        let mut desk = Desk::new();
        for stream in ["a", "b", "c"] {
            desk.arrive(vec![of_stream(stream, &[NOW - 5])]);
        }
        assert_eq!(desk.streams(), ["a"]);
        desk.answer(0, true);
        assert_eq!(desk.streams().len(), 2);
        desk.arrive(vec![of_stream("d", &[NOW - HOUR / 2])]);
        desk.arrive(vec![of_stream("e", &[NOW - HOUR / 3])]);
        assert_eq!(desk.streams()[2..], ["d"], "older than anything so far");
        desk.arrive(vec![of_stream("f", &[NOW])]);
        assert_eq!(desk.streams()[2..], ["d", "f"], "the young pass those that wait");
    }

    #[test]
    fn lines_that_their_stream_may_refuse_go_without_any_other_stream() {
        let mut desk = Desk::new();
        let old = NOW - 2 * HOUR;
        desk.arrive(vec![of_stream("a", &[old]), of_stream("b", &[old - 1]), of_stream("c", &[old + 1])]);
        assert_eq!(desk.streams(), ["b"], "the oldest first: it proves the most");
        for next in ["a", "c"] {
            desk.answer(0, true);
            assert_eq!(desk.streams(), [next]);
        }
        desk.answer(0, true);
        desk.arrive(vec![of_stream("a", &[old]), of_stream("b", &[old - 1]), of_stream("c", &[old + 1])]);
        assert_eq!(desk.streams(), ["abc"]);
    }

    #[test]
    fn newer_lines_wait_for_older_ones_that_are_tried_again_but_not_for_ever() {
        let mut desk = Desk::new();
        desk.arrive(vec![of_stream("a", &[NOW - 2 * HOUR])]);
        desk.answer(0, false);
        desk.arrive(vec![of_stream("a", &[NOW])]);
        desk.arrive(vec![of_stream("b", &[NOW])]);
        assert_eq!(desk.streams(), ["b"]);
        desk.retry(0);
        desk.answer(0, true);
        desk.arrive(vec![of_stream("c", &[NOW])]);
        assert_eq!(desk.streams(), ["a", "c"]);
        // Loki takes others, and this one fails: for a while that may be chance.
        desk.answer(1, true);
        desk.answer(0, false);
        assert_eq!(desk.streams(), [""; 0]);
        desk.now.at += HOLDS_BACK + Duration::from_secs(1);
        desk.arrive(vec![of_stream("d", &[NOW])]);
        desk.answer(0, true);
        assert_eq!(desk.streams(), ["a"], "the newer line");
        desk.answer(0, true);
        desk.retry(0);
        assert_eq!((desk.streams().len(), desk.refused), (0, vec![Outside::TooFarBehind]));
    }

    #[test]
    fn an_outage_holds_newer_lines_back_for_as_long_as_it_lasts() {
        let mut desk = Desk::new();
        desk.arrive(vec![of_stream("a", &[NOW - 2 * HOUR])]);
        for _ in 0..100 {
            desk.answer(0, false);
            desk.now.at += HOLDS_BACK;
            desk.retry(0);
        }
        desk.answer(0, false);
        desk.arrive(vec![of_stream("a", &[NOW])]);
        assert_eq!((desk.streams().len(), desk.turns.waiting()), (0, 1));
    }

    #[test]
    fn a_part_that_fails_takes_the_rest_of_its_batch_along() {
        let mut desk = Desk::new();
        let old = NOW - 2 * HOUR;
        desk.arrive(vec![of_stream("a", &[old]), of_stream("b", &[old]), of_stream("c", &[old])]);
        desk.answer(0, false);
        assert_eq!((desk.retrying.len(), desk.turns.waiting()), (1, 0));
        assert_eq!(desk.retrying[0].groups.len(), 3);
        desk.retry(0);
        assert_eq!((desk.streams().len(), desk.turns.waiting()), (1, 1));
    }

    #[test]
    fn a_probe_goes_alone_and_holds_nothing_back() {
        let mut desk = Desk::new();
        desk.turns.arrive(Parcel::probe(of_stream("a", &[NOW - 9 * HOUR]), &desk.config));
        desk.send();
        desk.arrive(vec![of_stream("a", &[NOW])]);
        assert_eq!(desk.streams(), ["a"], "its age is not proven");
        desk.answer(0, false);
        assert_eq!(desk.streams(), ["a"], "the probe waits, and not the line behind it");
        assert!(!desk.under_way[0].parcel.probe);
    }

    proptest! {
        /// Streams of which each begins where Loki knows nothing, read in order: Loki refuses none of it.
        #[test]
        fn whatever_fails_and_overtakes_no_line_is_refused_and_all_arrive(
            batches in proptest::collection::vec(
                proptest::collection::vec((0..3_usize, 1..90 * HOUR / 60), 1..6), 1..25,
            ),
            fates in proptest::collection::vec((any::<bool>(), any::<usize>()), 200),
        ) {
            let mut desk = Desk::new();
            let (mut last, mut newest) = ([NOW - 160 * HOUR; 3], HashMap::<String, i64>::new());
            let mut fates = fates.into_iter();
            let mut batches = batches.into_iter().map(|steps| {
                let mut groups: Vec<Group> = Vec::new();
                for (stream, step) in steps {
                    last[stream] += step;
                    groups.push(of_stream(["a", "b", "c"][stream], &[last[stream]]));
                }
                groups
            });
            let mut more = true;
            while more || !desk.under_way.is_empty() || !desk.retrying.is_empty() {
                let (good, index) = fates.next().unwrap_or((true, 0));
                match batches.next() {
                    Some(groups) => desk.arrive(groups),
                    None => more = false,
                }
                if !desk.retrying.is_empty() && (good || desk.under_way.is_empty()) {
                    desk.retry(index % desk.retrying.len());
                }
                prop_assert!(desk.turns.waiting() == 0 || !desk.under_way.is_empty() || !desk.retrying.is_empty());
                if desk.under_way.is_empty() {
                    continue;
                }
                let place = index % desk.under_way.len();
                if good {
                    for span in spans(&desk.under_way[place].parcel.groups) {
                        let newest = newest.entry(span.labels.to_owned()).or_insert(i64::MIN);
                        prop_assert!(span.oldest_ns >= newest.saturating_sub(HOUR), "{}", span.labels);
                        *newest = span.newest_ns.max(*newest);
                    }
                }
                if !good && index % 3 == 0 {
                    desk.halve(place);
                } else {
                    desk.answer(place, good);
                }
            }
            prop_assert_eq!((desk.turns.waiting(), desk.refused), (0, vec![]));
        }
    }
}
