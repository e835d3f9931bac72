//! What goes next: the part of a parcel that may go now, without what Loki is known to refuse.

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Deps, INBOX_MAX, Lane, PUSHES_MAX, Pushed};
use crate::batch::Batch;
use crate::clock::Moment;
use crate::delivery::attempt::Attempt;
use crate::delivery::books::Books;
use crate::delivery::dead_letters::Reason;
use crate::delivery::parcel::Parcel;
use crate::delivery::sift;
use crate::delivery::turns::Turn;
use crate::loki::encode::Encoder;
use crate::window::Policy;

impl Lane {
    /// The next push, if there is one now. It carries what is pushed, and brings it back for
    /// [`Lane::finish`], when Loki has answered or the end has come.
    pub async fn next_push(
        &mut self,
        (books, encoder): (&mut Books, &mut Encoder),
        give_up: &CancellationToken,
    ) -> Option<impl Future<Output = Pushed> + Send + use<>> {
        let turn = self.next_turn(books).await;
        self.deps.gate.set_open(self.inbox.len() < INBOX_MAX);
        let turn = turn?;
        self.under_way += 1;
        let (client, metrics) = (self.deps.client.clone(), self.deps.metrics.clone());
        let body = encoder.encode(&turn.parcel.groups);
        let sent = self.deps.clock.moment();
        let give_up = give_up.clone();
        Some(async move {
            let attempt = Attempt::make(&client, body, &metrics);
            let attempt = give_up.run_until_cancelled(attempt).await.unwrap_or(Attempt::GivenUp);
            Pushed { turn, sent, attempt }
        })
    }

    /// Of what waits for its turn, of what has waited long enough for another attempt, or of what is new.
    async fn next_turn(&mut self, books: &mut Books) -> Option<Turn> {
        let now = self.deps.clock.moment();
        if self.under_way >= self.pushes_max() || self.queue.is_paused(now.at) {
            return None;
        }
        loop {
            while let Some(parcel) = self.turns.next_waiting() {
                if let Some(turn) = self.choose(parcel, now, books).await {
                    return Some(turn);
                }
            }
            while let Some(parcel) = self.queue.take_due(now.at) {
                if let Some(turn) = self.choose(parcel, now, books).await {
                    return Some(turn);
                }
            }
            if books.disk_retry_at().is_some() || !self.may_begin(now.at) {
                return None;
            }
            let Batch { groups, probes, .. } = self.inbox.pop_front()?;
            for probe in probes {
                self.turns.arrive(Parcel::probe(probe, &self.deps.retry));
            }
            if !groups.is_empty() {
                self.turns.arrive(Parcel::new(groups, &self.deps.retry));
            }
        }
    }

    /// Whether a new batch may have its first turn, or wait for it beside what could come back.
    fn may_begin(&self, now: Instant) -> bool {
        let waiting = self.turns.waiting();
        !self.is_held()
            && self.under_way < PUSHES_MAX
            && waiting < self.deps.retry.max_items
            && self.queue.has_room(self.under_way + waiting, self.turns.bytes(), now)
    }

    /// What of it may go now, without the lines that Loki is known to refuse by now.
    async fn choose(&mut self, parcel: Parcel, now: Moment, books: &mut Books) -> Option<Turn> {
        let parcel = self.sift(parcel, now, books).await?;
        let Deps { retry, window, .. } = &self.deps;
        self.turns.choose(parcel, self.queue.parcels(), retry, (window, now))
    }

    /// Not clamped here, whatever the policy says: an attempt without an answer may have been stored, and
    /// a line with another time would be another line.
    async fn sift(&mut self, parcel: Parcel, now: Moment, books: &mut Books) -> Option<Parcel> {
        let (refused, fresh) = sift::sift(parcel, &self.deps.window, now);
        for (outside, group) in refused {
            if self.deps.window.config().policy(outside) == Policy::Drop {
                self.deps.metrics.lines.dropped(sift::reason(outside), group.entries.len() as u64);
                books.settle_group(&group);
            } else {
                let why = Reason { reason: outside.as_str(), answer: None };
                books.bury(self.tenant(), vec![group], why).await;
            }
        }
        fresh
    }
}
