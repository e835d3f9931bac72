//! What goes next: the part of a parcel that may go now, without what Loki is known to refuse.

use super::{Deliver, Deps};
use crate::clock::Moment;
use crate::delivery::dead_letters::Reason;
use crate::delivery::parcel::Parcel;
use crate::delivery::sift;
use crate::delivery::turns::Turn;
use crate::window::Policy;

impl Deliver {
    /// The next push: of what waits for its turn, or of what has waited long enough for another attempt.
    pub(super) async fn next_turn(&mut self, under_way: usize) -> Option<Turn> {
        let now = self.deps.clock.moment();
        if under_way >= self.pushes_max() || self.queue.is_paused(now.at) {
            return None;
        }
        while let Some(parcel) = self.turns.next_waiting() {
            if let Some(turn) = self.choose(parcel, now).await {
                return Some(turn);
            }
        }
        while let Some(parcel) = self.queue.take_due(now.at) {
            if let Some(turn) = self.choose(parcel, now).await {
                return Some(turn);
            }
        }
        None
    }

    /// What of it may go now, without the lines that Loki is known to refuse by now.
    async fn choose(&mut self, parcel: Parcel, now: Moment) -> Option<Turn> {
        let parcel = self.sift(parcel, now).await?;
        let Deps { retry, window, .. } = &self.deps;
        self.turns.choose(parcel, self.queue.parcels(), retry, (window, now))
    }

    /// Not clamped here, whatever the policy says: an attempt without an answer may have been stored, and
    /// a line with another time would be another line.
    async fn sift(&mut self, parcel: Parcel, now: Moment) -> Option<Parcel> {
        let (refused, fresh) = sift::sift(parcel, &self.deps.window, now);
        for (outside, group) in refused {
            if self.deps.window.config().policy(outside) == Policy::Drop {
                self.deps.metrics.lines.dropped(sift::reason(outside), group.entries.len() as u64);
                self.settle_group(&group);
            } else {
                self.bury(group, Reason { reason: outside.as_str(), answer: None }).await;
            }
        }
        fresh
    }
}
