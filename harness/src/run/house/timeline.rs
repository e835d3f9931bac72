//! What changes under load, in one order: faults begin and end, steps of the script begin; and who comes and goes
//! meanwhile.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::churn::Beat;
use super::{Ends, House, Woke, tell, wait};
use crate::faults::{self, Plan};
use crate::run::journal::Note;
use crate::run::order::RunError;
use crate::world::load::Load;
use crate::world::script::{Script, Step};
use crate::world::tempo::Tempo;

/// Something that changes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    /// When, since the load began.
    at: Duration,
    what: What,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    /// A step of the script begins.
    Step(Step),
    /// A fault begins or ends.
    Fault(faults::Change),
}

/// All of it before `until`, to those who come when `done` of the load is over: what holds then begins at once, and times
/// count from there. At one moment the step comes first: what goes wrong finds the load of its time.
pub(super) fn changes(
    plan: &Plan,
    script: Option<&Script>,
    (done, until): (Duration, Duration),
) -> Vec<Change> {
    let steps = script.map(|script| script.beginnings(until)).unwrap_or_default();
    let over = steps.partition_point(|(at, _)| *at <= done);
    let steps = steps.into_iter().skip(over.saturating_sub(1));
    let steps = steps.map(|(at, step)| Change { at: at.saturating_sub(done), what: What::Step(step) });
    let faults = plan.changes_from(done, until).into_iter();
    let faults = faults.map(|change| Change { at: change.at, what: What::Fault(change) });
    let mut changes: Vec<Change> = steps.chain(faults).collect();
    changes.sort_by_key(|change| change.at);
    changes
}

impl House<'_> {
    /// A phase in which containers come and go, faults begin and end and the script is followed. While the world is at
    /// fault nobody comes or goes: an engine that is down starts nobody, and one that is asked to stop a frozen
    /// container lets it go on.
    pub(super) async fn busy(
        &mut self,
        (name, length): (&'static str, Duration),
        changes: &[Change],
        (load, mut beat): (&mut Load, Option<&mut Beat>),
        (notes, ends): (&mpsc::Sender<Note>, &Ends<'_>),
    ) -> Result<(), RunError> {
        let began = Instant::now();
        tell(notes, Note::Phase(name, Some(length))).await;
        let mut world_at_fault = false;
        for change in changes {
            let churn = beat.as_deref_mut().filter(|_| !world_at_fault);
            self.churn_until(began + change.at, load, churn, (notes, ends)).await?;
            if ends.enough.is_cancelled() {
                return Ok(());
            }
            match &change.what {
                What::Step(step) => self.follow(step, beat.as_deref_mut(), notes).await?,
                What::Fault(fault) => {
                    let is_of_the_world = self.meet(fault, load.running(), notes).await?;
                    world_at_fault = if is_of_the_world { fault.begins } else { world_at_fault };
                }
            }
        }
        self.churn_until(began + length, load, beat, (notes, ends)).await
    }

    /// A step of the script begins.
    async fn follow(
        &mut self,
        step: &Step,
        beat: Option<&mut Beat>,
        notes: &mpsc::Sender<Note>,
    ) -> Result<(), RunError> {
        Tempo::times(step.rate).set(&self.truth_folder)?;
        if let Some(beat) = beat {
            beat.scale(step.churn);
        }
        tell(notes, Note::Event("step", step.words())).await;
        Ok(())
    }

    /// A fault begins or ends; `running` are the containers that run. Answers whether the world is at fault by it.
    async fn meet(
        &mut self,
        change: &faults::Change,
        running: Vec<String>,
        notes: &mpsc::Sender<Note>,
    ) -> Result<bool, RunError> {
        let event = if change.begins { "fault" } else { "fault_end" };
        tell(notes, Note::Event(event, change.what.clone())).await;
        let fault = self.plan.faults.get(change.place).and_then(|timed| timed.fault.of_the_world());
        let Some(fault) = fault else { return Ok(false) };
        if change.begins {
            self.strike(fault, running).await?;
        } else {
            self.relent(fault, notes).await?;
        }
        Ok(true)
    }

    async fn churn_until(
        &mut self,
        end: Instant,
        load: &mut Load,
        mut beat: Option<&mut Beat>,
        (notes, ends): (&mpsc::Sender<Note>, &Ends<'_>),
    ) -> Result<(), RunError> {
        loop {
            let woke = tokio::select! {
                biased;
                () = ends.enough.cancelled() => Woke::End,
                woke = wait(end, beat.as_deref_mut(), ends.stop) => woke?,
            };
            match woke {
                Woke::Churn => self.churn(load, notes).await?,
                Woke::End => return Ok(()),
            }
        }
    }

    /// When who comes or goes, if anybody does.
    pub(super) fn churn_beat(&self) -> Option<Beat> {
        let scenario = &self.order.loaded.scenario;
        let every = scenario.containers.churn.as_ref()?.every.0;
        // One that goes on draws other moments than those that it has had.
        Some(Beat::start(every, scenario.seed.wrapping_add(self.order.segments_before())))
    }

    async fn churn(&mut self, load: &mut Load, notes: &mpsc::Sender<Note>) -> Result<(), RunError> {
        let done = load.churn().await?;
        self.containers_started = load.started();
        tell(notes, Note::Event("churn", done)).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When what begins and ends, to those who come after so many seconds.
    fn told(done: u64) -> Vec<(u64, String)> {
        let plan = serde_saphyr::from_str(
            "faults: [{at: 3s, for: 4s, fault: hang}, {at: 1s, for: 5s, every: 10s, fault: pause}]",
        );
        let script = serde_saphyr::from_str("{cycle: 6s, steps: [{for: 3s, rate: 0}, {for: 3s}]}").unwrap();
        let within = (Duration::from_secs(done), Duration::from_secs(12));
        let changes = changes(&plan.unwrap(), Some(&script), within);
        let words = |what: &What| match what {
            What::Step(step) => format!("step {}", step.rate),
            What::Fault(fault) => format!("{} {}", if fault.begins { "+" } else { "-" }, fault.what),
        };
        changes.iter().map(|change| (change.at.as_secs(), words(&change.what))).collect()
    }

    #[test]
    fn steps_and_faults_stand_in_one_order_and_a_step_before_a_fault_of_its_moment() {
        let expected = [
            (0, "step 0"),
            (1, "+ containers paused"),
            (3, "step 1"),
            (3, "+ no answer"),
            (6, "step 0"),
            (6, "- containers paused"),
            (7, "- no answer"),
            (9, "step 1"),
            (11, "+ containers paused"),
        ];
        assert_eq!(told(0), expected.map(|(at, what)| (at, what.to_owned())));
    }

    #[test]
    fn who_comes_late_finds_the_step_and_the_faults_of_the_moment() {
        let expected = [
            (0, "step 1"),
            (0, "+ containers paused"),
            (0, "+ no answer"),
            (1, "step 0"),
            (1, "- containers paused"),
            (2, "- no answer"),
            (4, "step 1"),
            (6, "+ containers paused"),
        ];
        assert_eq!(told(5), expected.map(|(at, what)| (at, what.to_owned())));
        assert_eq!(
            told(9)[..2],
            [(0, "step 1"), (2, "+ containers paused")].map(|(at, what)| (at, what.to_owned()))
        );
    }
}
