//! The window as pipeline and delivery share it: the one judges lines by it, the other tells it what Loki
//! has answered. Each tenant has limits of its own in Loki, and so a window of its own here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::glance::Glance;
use super::learned::Limit;
use super::skew::Skew;
use super::streams::Streams;
use super::{Config, Edges, Outside, Policy, Verdict};
use crate::clock::{Moment, duration_ns};
use crate::complaint::Complaint;
use crate::metrics::Metrics;
use crate::metrics::labels::Tenant;

/// Cheap to clone; clones share what is learned.
#[derive(Clone, Debug)]
pub struct Window {
    config: Config,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    age: Limit,
    future: Limit,
    skew: Skew,
    streams: Streams,
    looked: Option<Moment>,
    about_floors: Complaint,
    shown: Shown,
}

/// This window's part of what the metrics say of all.
#[derive(Debug)]
struct Shown {
    metrics: Arc<Metrics>,
    tenant: Tenant,
    streams: i64,
    floors: i64,
}

impl Shown {
    fn new(config: &Config, tenant: Option<&str>, metrics: Arc<Metrics>) -> Self {
        metrics.window_max_behind_seconds.set(config.max_behind.as_secs_f64());
        Self { metrics, tenant: Tenant::of(tenant), streams: 0, floors: 0 }
    }

    fn limits(&self, age: &Limit, future: &Limit) {
        let Self { metrics, tenant, .. } = self;
        metrics.window_max_age_seconds.get_or_create(tenant).set(seconds(age.limit_ns()));
        metrics.window_max_future_seconds.get_or_create(tenant).set(seconds(future.limit_ns()));
    }

    fn skew(&self, skew: &Skew) {
        let ahead = self.metrics.loki_clock_ahead_seconds.get_or_create(&self.tenant);
        ahead.set(seconds(skew.ahead_ns()));
    }

    fn streams(&mut self, streams: usize) {
        let before = std::mem::replace(&mut self.streams, signed(streams));
        self.metrics.window_streams.inc_by(self.streams - before);
    }

    fn floors(&mut self, floors: usize) {
        let before = std::mem::replace(&mut self.floors, signed(floors));
        self.metrics.window_floors.inc_by(self.floors - before);
    }
}

/// Another config may have other tenants.
impl Drop for Shown {
    fn drop(&mut self) {
        self.metrics.window_streams.dec_by(self.streams);
        self.metrics.window_floors.dec_by(self.floors);
        self.metrics.window_max_age_seconds.remove(&self.tenant);
        self.metrics.window_max_future_seconds.remove(&self.tenant);
        self.metrics.loki_clock_ahead_seconds.remove(&self.tenant);
    }
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Lines of one stream, from the oldest to the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span<'a> {
    /// The stream's labels.
    pub labels: &'a str,
    /// The time of the oldest.
    pub oldest_ns: i64,
    /// The time of the newest.
    pub newest_ns: i64,
}

/// What is known of the lines of a span before they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Loki takes lines of this age.
    Proven,
    /// Loki was not seen to take lines of this age, or to refuse them.
    AgeUnproven,
    /// It was not seen to take lines so old in this stream. If it refuses them it may hide that behind
    /// the good lines of another stream.
    StreamUnproven,
}

/// What a refusal says of the limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lesson<'a> {
    /// Lines before this time are too old.
    pub too_old_before_ns: Option<i64>,
    /// Lines from this time on are too new.
    pub too_new_from_ns: Option<i64>,
    /// Lines of this stream before this time are too far behind.
    pub behind: Option<(&'a str, i64)>,
}

/// A difference between the two clocks that neither a slow machine nor a slewed clock explains.
const STEP: Duration = Duration::from_secs(5);

impl Window {
    /// As configured, for this tenant; nothing is learned yet.
    #[must_use]
    pub fn new(config: Config, tenant: Option<&str>, metrics: Arc<Metrics>) -> Self {
        let limit = |configured| Limit::new(configured, config.probe_every);
        let mut state = State {
            age: limit(config.max_age),
            future: limit(config.max_future),
            skew: Skew::default(),
            streams: Streams::default(),
            looked: None,
            about_floors: Complaint::default(),
            shown: Shown::new(&config, tenant, metrics),
        };
        state.show();
        Self { config, state: Arc::new(Mutex::new(state)) }
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Remembers what it learns of the stream of these labels, for as long as what it returns is kept.
    #[must_use]
    pub fn join(&self, labels: &str) -> Seat {
        let mut state = self.state();
        state.streams.join(labels);
        state.show_streams();
        Seat { state: Arc::clone(&self.state), labels: labels.to_owned() }
    }

    /// Judges a line before it is queued.
    #[must_use]
    pub fn judge(&self, labels: &str, time_ns: i64, now: Moment) -> Verdict {
        let mut state = self.look(now);
        let State { age, future, skew, streams, .. } = &mut *state;
        let (own, now) = (now, skew.by_loki(now));
        let mut stream = streams.get_mut(labels);
        let newest_ns = stream.as_ref().and_then(|stream| stream.newest_ns());
        let floor_ns = stream.as_ref().and_then(|stream| stream.floor_ns(newest_ns, self.config.max_behind));
        let by_loki = edges((age, future), now, floor_ns, newest_ns);
        let Some(outside) = by_loki.outside(time_ns) else { return Verdict::Keep };
        let by_skew =
            skew.ahead_ns() != 0 && edges((age, future), own, floor_ns, newest_ns).outside(time_ns).is_none();
        let probe = match outside {
            // What is clamped is sent, and so answered.
            _ if by_skew => self.config.policy(outside) != Policy::Clamp && skew.take_probe(now),
            Outside::TooOld => age.take_probe(now.ns.saturating_sub(time_ns), now.at),
            Outside::TooNew => future.take_probe(time_ns.saturating_sub(now.ns), now.at),
            Outside::TooFarBehind => stream
                .as_mut()
                .is_some_and(|stream| stream.take_probe(time_ns, self.config.max_behind, now.at)),
        };
        if probe { Verdict::Probe } else { by_loki.apply(self.config.policy(outside), outside) }
    }

    /// What [`Window::judge`] would say now of lines of this stream, one after the other, as long as it is to keep
    /// them.
    #[must_use]
    pub fn glance(&self, labels: &str, now: Moment) -> Glance {
        let state = self.look(now);
        let now = state.skew.by_loki(now);
        let stream = state.streams.get(labels);
        let newest_ns = stream.and_then(super::streams::Stream::newest_ns);
        let behind_ns = stream.map(|stream| stream.behind_ns(self.config.max_behind));
        let floor_ns = stream.and_then(|stream| stream.floor_ns(newest_ns, self.config.max_behind));
        Glance::new(edges((&state.age, &state.future), now, floor_ns, newest_ns), behind_ns)
    }

    /// A line of this stream is on its way: what comes later must not be too far behind it.
    pub fn admit(&self, labels: &str, time_ns: i64) {
        if let Some(stream) = self.state().streams.get_mut(labels) {
            stream.admit(time_ns);
        }
    }

    /// The window for lines of this stream that are about to be sent: against what Loki has accepted.
    #[must_use]
    pub fn edges(&self, labels: &str, now: Moment) -> Edges {
        let state = self.look(now);
        let now = state.skew.by_loki(now);
        let stream = state.streams.get(labels);
        let newest_ns = stream.and_then(super::streams::Stream::accepted_ns);
        let floor_ns = stream.and_then(|stream| stream.floor_ns(newest_ns, self.config.max_behind));
        edges((&state.age, &state.future), now, floor_ns, newest_ns)
    }

    /// What is known of lines that lie inside of the window.
    #[must_use]
    pub fn standing(&self, span: Span<'_>, now: Moment) -> Standing {
        let state = self.look(now);
        let now = state.skew.by_loki(now);
        let age_ns = now.ns.saturating_sub(span.oldest_ns);
        // No stream has lines further ahead than `max_future`, so that none can refuse younger lines.
        let safe_in_any_stream = self.config.max_behind.saturating_sub(self.config.max_future);
        let stream = state.streams.get(span.labels);
        if age_ns > duration_ns(safe_in_any_stream)
            && stream.is_none_or(|stream| stream.is_unproven(span.oldest_ns))
        {
            Standing::StreamUnproven
        } else if state.age.is_unproven(age_ns)
            || state.future.is_unproven(span.newest_ns.saturating_sub(now.ns))
        {
            Standing::AgeUnproven
        } else {
            Standing::Proven
        }
    }

    /// Loki has accepted all of these lines, in one push; a span for each stream.
    pub fn accepted(&self, spans: &[Span<'_>], sent: Moment, answered: Moment) {
        let mut state = self.look(answered);
        let answered = state.skew.by_loki(answered);
        let alone = spans.len() == 1;
        let mut forgotten = false;
        for span in spans {
            if state.age.accepted(answered.ns.saturating_sub(span.oldest_ns), sent.at) {
                tracing::info!("Loki takes old lines again: what was learned of max_age is forgotten");
                forgotten = true;
            }
            if state.future.accepted(span.newest_ns.saturating_sub(answered.ns), sent.at) {
                tracing::info!(
                    "Loki takes lines from the future again: what was learned of max_future is forgotten"
                );
                forgotten = true;
            }
            let all = (span.oldest_ns, span.newest_ns);
            let stream = state.streams.get_mut(span.labels);
            if stream.is_some_and(|stream| stream.accepted(all, alone, sent.at)) {
                tracing::info!(stream = span.labels, "Loki takes lines further behind again");
                forgotten = true;
            }
        }
        if forgotten {
            state.show();
        }
    }

    /// An answer bears this date, by Loki's clock; `refused` says whether it refused lines for their times. To be
    /// told before what else the answer says.
    pub fn dated(&self, date_ns: i64, (sent, answered): (Moment, Moment), refused: bool) {
        let mut state = self.look(answered);
        if state.skew.heard(date_ns, (sent, answered), refused) {
            let seconds = seconds(state.skew.ahead_ns());
            tracing::warn!(seconds, "Loki's clock is ahead of ours by this: lines are judged by Loki's");
            state.forget_limits();
        }
    }

    /// Loki has refused lines for their times. Ages are taken from the moment at which the push left, those
    /// of the future from the answer, so that what is learned is never wider than Loki's limit.
    pub fn refused(&self, lesson: Lesson<'_>, sent: Moment, answered: Moment) {
        let mut state = self.look(answered);
        let (sent, answered) = (state.skew.by_loki(sent), state.skew.by_loki(answered));
        let moments = (sent.at, answered.at);
        if let Some(before_ns) = lesson.too_old_before_ns
            && state.age.refused(sent.ns.saturating_sub(before_ns), sent.at, answered.at)
        {
            let seconds = seconds(state.age.limit_ns());
            tracing::warn!(
                seconds,
                "Loki refuses lines that max_age lets pass: older ones are not sent any more"
            );
        }
        if let Some(from_ns) = lesson.too_new_from_ns
            && state.future.refused(from_ns.saturating_sub(answered.ns), sent.at, answered.at)
        {
            let seconds = seconds(state.future.limit_ns());
            tracing::warn!(
                seconds,
                "Loki refuses lines that max_future lets pass: newer ones are not sent any more"
            );
        }
        if let Some((labels, floor_ns)) = lesson.behind {
            let stream = state.streams.get_mut(labels);
            let new = stream.is_some_and(|stream| stream.refused(floor_ns, self.config.probe_every, moments));
            let speak = if new { state.about_floors.may_speak(answered.at) } else { None };
            if let Some(withheld) = speak {
                tracing::warn!(
                    stream = labels,
                    floor_ns,
                    withheld,
                    "Loki refuses lines too far behind: older ones are not sent any more"
                );
            }
        }
        state.show();
    }

    /// What was measured holds only for the clock that it was measured with.
    fn look(&self, now: Moment) -> MutexGuard<'_, State> {
        let mut state = self.state();
        let stepped = state.looked.is_some_and(|before| {
            let passed = duration_ns(now.at.duration_since(before.at));
            now.ns.saturating_sub(before.ns).abs_diff(passed) > duration_ns(STEP).unsigned_abs()
        });
        if stepped {
            if state.age.is_learned() || state.future.is_learned() {
                tracing::info!("the clock was set: what was learned of Loki's window is forgotten");
            }
            state.forget_limits();
        }
        if state.looked.is_none_or(|before| stepped || now.at >= before.at) {
            state.looked = Some(now);
        }
        state
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of someone who writes to a stream or holds lines of it. Without any the window forgets the stream, or
/// each container that ever was would leave something behind.
#[derive(Debug)]
pub struct Seat {
    state: Arc<Mutex<State>>,
    labels: String,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = locked(&self.state);
        let forgotten = state.streams.leave(&self.labels);
        state.show_streams();
        if forgotten {
            state.show();
        }
    }
}

impl State {
    /// Every distance that was measured is wrong.
    fn forget_limits(&mut self) {
        self.age.forget();
        self.future.forget();
        self.show();
    }

    fn show(&mut self) {
        self.shown.limits(&self.age, &self.future);
        self.shown.skew(&self.skew);
        self.shown.floors(self.streams.floors());
    }

    /// Often, so without a look at each of them.
    fn show_streams(&mut self) {
        self.shown.streams(self.streams.len());
    }
}

fn edges(
    (age, future): (&Limit, &Limit),
    now: Moment,
    floor_ns: Option<i64>,
    newest_ns: Option<i64>,
) -> Edges {
    let (max_age_ns, max_future_ns) = (age.limit_ns(), future.limit_ns());
    Edges { now_ns: now.ns, max_age_ns, max_future_ns, floor_ns, newest_ns }
}

fn seconds(ns: i64) -> f64 {
    Duration::from_nanos(ns.unsigned_abs()).as_secs_f64().copysign(if ns < 0 { -1.0 } else { 1.0 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::*;

    const HOUR: i64 = 3_600_000_000_000;
    const NOW: i64 = 500_000 * HOUR;

    proptest! {
        #[test]
        fn a_glance_keeps_what_the_window_keeps_line_by_line(
            times in prop::collection::vec(-9 * 24 * 60..60_i64, 0..40),
            refused in prop::option::of(-9 * 24 * 60..60_i64),
            accepted in prop::option::of(-9 * 24 * 60..60_i64),
        ) {
            let of = || Window::new(Config::default(), None, Metrics::new());
            let (one, other, now) = (of(), of(), Moment { ns: NOW, at: Instant::now() });
            let _seats = [one.join("a"), other.join("a")];
            for window in [&one, &other] {
                if let Some(time) = accepted {
                    let (labels, at) = ("a", NOW + time * HOUR / 60);
                    window.accepted(&[Span { labels, oldest_ns: at, newest_ns: at }], now, now);
                }
                let behind = refused.map(|floor| ("a", NOW + floor * HOUR / 60));
                window.refused(Lesson { behind, ..Lesson::default() }, now, now);
            }
            let mut glance = one.glance("a", now);
            for time_ns in times.iter().map(|time| NOW + time * HOUR / 60) {
                let kept = other.judge("a", time_ns, now) == Verdict::Keep;
                prop_assert_eq!(glance.keeps(time_ns), kept);
                if kept {
                    other.admit("a", time_ns);
                }
            }
            if let Some(kept_ns) = glance.kept_ns {
                one.admit("a", kept_ns);
            }
            for time in -9 * 24 * 60..60_i64 {
                let time_ns = NOW + time * HOUR / 60;
                prop_assert_eq!(one.judge("a", time_ns, now), other.judge("a", time_ns, now));
            }
        }
    }
}
