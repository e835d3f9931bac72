//! How an answer goes out, or what happens instead: the plan of faults, at work on the pushes as they come.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use super::answer::Answer;
use super::push::Push;
use super::weather::Weather;
use crate::clock::{self, Stopwatch};
use crate::faults::{Fault, Plan, Status};

/// What the client gets, and when.
pub(super) struct Reply {
    pub(super) after: Duration,
    pub(super) how: How,
    /// What time it is by the sink's clock, where the clock that times the lines is another one.
    pub(super) date: Option<Timestamp>,
}

pub(super) enum How {
    Answer(Answer),
    /// Its text byte by byte, with a pause before each.
    Trickle(Answer, Duration),
    Never,
    Break(Break),
}

/// How a connection ends without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Break {
    Reset,
    HalfClose,
}

/// A plan and when it began.
pub(super) struct Faults {
    plan: Plan,
    began: OnceLock<Stopwatch>,
    begins: Notify,
    /// How many pushes each fault has met, so that each is drawn for by itself.
    met: Vec<AtomicU64>,
}

impl Faults {
    pub(super) fn new(plan: Plan) -> Self {
        let met = plan.faults.iter().map(|_| AtomicU64::new(0)).collect();
        Self { plan, began: OnceLock::new(), begins: Notify::new(), met }
    }

    /// Its times count from now on; so much of it is over.
    pub(super) fn begin(&self, done: Duration) {
        self.began.get_or_init(|| Stopwatch::going_on_from(done));
        self.begins.notify_one();
    }

    fn elapsed(&self) -> Option<Duration> {
        self.began.get().map(|began| began.elapsed())
    }

    /// Completes when nobody is to listen any more (`true`), or again.
    pub(super) async fn outage(&self, is_out: bool) {
        // Whoever begins leaves a permit, for a wait that comes later.
        let began = async {
            while self.began.get().is_none() {
                self.begins.notified().await
            }
        };
        began.await;
        while let Some(elapsed) = self.elapsed()
            && self.plan.is_out(elapsed) != is_out
        {
            match self.plan.next_outage_change(elapsed) {
                Some(left) => tokio::time::sleep(left).await,
                None => std::future::pending().await,
            }
        }
    }

    /// What becomes of the lines of a push that is read.
    pub(super) fn weather(&self, push: &Push) -> Weather<'_> {
        self.elapsed().map_or_else(Weather::default, |elapsed| Weather::of(&self.plan, elapsed, push))
    }

    /// The reply to what is no push: only the clock is off for it.
    pub(super) fn at_once(&self, answer: Answer) -> Reply {
        Reply { after: Duration::ZERO, how: How::Answer(answer), date: self.date() }
    }

    /// The reply to a push; `answer` is asked for only where the push is looked at.
    pub(super) fn reply(&self, answer: impl FnOnce() -> Answer) -> Reply {
        let (mut after, mut trickle) = (Duration::ZERO, None);
        let date = self.date();
        let faults = self.elapsed().into_iter().flat_map(|elapsed| self.plan.now(elapsed));
        for (place, fault) in faults {
            let how = match fault {
                Fault::Status(status) if self.draw(place) < status.share => How::Answer(planned(status)),
                Fault::Hang => How::Never,
                Fault::Reset => How::Break(Break::Reset),
                Fault::HalfClose => How::Break(Break::HalfClose),
                Fault::Slow(slow) => {
                    after += slow.at(self.draw(place));
                    continue;
                }
                Fault::SlowBody(every) => {
                    trickle = Some(every.0);
                    continue;
                }
                Fault::Status(_)
                | Fault::Outage
                | Fault::Window(_)
                | Fault::Reject(_)
                | Fault::ClockStep(_)
                | Fault::Tamper(_)
                | Fault::Pause
                | Fault::Truncate
                | Fault::DiskFull
                | Fault::DockerRestart
                | Fault::Kill => continue,
            };
            return Reply { after, how, date };
        }
        let how = match trickle {
            Some(every) => How::Trickle(answer(), every),
            None => How::Answer(answer()),
        };
        Reply { after, how, date }
    }

    /// Clients live by the clock that times their lines, so the sink's is what is off to them.
    fn date(&self) -> Option<Timestamp> {
        let elapsed = self.elapsed()?;
        let steps = self
            .plan
            .now(elapsed)
            .filter_map(|(_, fault)| if let Fault::ClockStep(by) = fault { Some(by.0) } else { None });
        let off = steps.fold(SignedDuration::ZERO, SignedDuration::saturating_add);
        (!off.is_zero()).then(|| clock::now().saturating_sub(off).unwrap_or(Timestamp::MIN))
    }

    fn draw(&self, place: usize) -> f64 {
        let met = self.met.get(place).map_or(0, |met| met.fetch_add(1, Ordering::Relaxed));
        self.plan.draw(place, &met.to_le_bytes())
    }
}

fn planned(status: &Status) -> Answer {
    let retry_after_s = status.retry_after.map(|after| after.0.as_secs());
    let text = format!("planned fault: {}", status.code);
    Answer { retry_after_s, ..Answer::text(status.code, text) }
}
