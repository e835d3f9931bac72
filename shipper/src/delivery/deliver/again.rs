//! What becomes of a parcel that Loki did not take, or not whole: another attempt, halves, or the dead letters.

use std::time::Duration;

use tokio::time::Instant;

use super::{Deliver, why};
use crate::batch::{Entry, Group};
use crate::clock::Moment;
use crate::delivery::dead_letters::Reason;
use crate::delivery::parcel::{Next, Parcel};
use crate::loki::answer::Refusal;
use crate::loki::client::Answer;
use crate::loki::limit::Limit;

impl Deliver {
    /// A limit that refuses the same parcel for ever must not hold up what stands behind it.
    pub(super) async fn limited(
        &mut self,
        mut parcel: Parcel,
        limit: Limit,
        (after, answer): (Option<Duration>, &Answer),
    ) {
        match (parcel.refused_by(&limit), limit) {
            (Next::Again, _) => self.try_again(parcel, after, Some(answer)).await,
            (Next::Halve, _) => self.halve(parcel, why("rate_limit", answer)).await,
            (Next::GiveUp, Limit::Streams { labels: Some(labels) })
                if parcel.groups.iter().any(|group| group.labels.text == labels) =>
            {
                let (refused, rest) = parcel.without_stream(&labels);
                for group in refused {
                    self.bury(group, why("stream_limit", answer)).await;
                }
                self.queue.put_back(rest.into_iter(), Instant::now());
            }
            (Next::GiveUp, Limit::Streams { .. }) => self.bury_all(parcel, why("stream_limit", answer)).await,
            (Next::GiveUp, Limit::Rate) => self.bury_all(parcel, why("rate_limit", answer)).await,
        }
    }

    /// Loki has stored all but the lines that it names. If none of ours fits its words, we do not know
    /// which it meant, and all are kept.
    pub(super) async fn divide(&mut self, parcel: Parcel, refusal: &Refusal, sent: Moment, answer: &Answer) {
        let fits = |group: &Group, entry: &Entry| refusal.fits(&group.labels.text, entry);
        if !parcel.any(fits) {
            return self.bury_all(parcel, why("refused", answer)).await;
        }
        let (refused, others) = parcel.divide(fits);
        // Words about one stream may hide those about another. What is stored already Loki stores once.
        match others {
            Some(unknown) if refusal.behind.is_some() => self.turns.wait(unknown),
            Some(stored) => self.delivered(&stored.groups, sent),
            None => {}
        }
        self.deps.window.refused(refusal.lesson(), sent, self.deps.clock.moment());
        for group in refused {
            self.bury(group, why("refused", answer)).await;
        }
        self.queue.hurry_one(Instant::now());
    }

    /// Sends it in halves; a single line goes to the dead letters.
    pub(super) async fn halve(&mut self, parcel: Parcel, why: Reason<'_>) {
        match parcel.halves(&self.deps.retry) {
            (first, Some(second)) => self.queue.put_back([first, second].into_iter(), Instant::now()),
            (single, None) => self.bury_all(single, why).await,
        }
    }

    /// Lets it wait for its next attempt, unless its budget is used up.
    pub(super) async fn try_again(
        &mut self,
        mut parcel: Parcel,
        after: Option<Duration>,
        answer: Option<&Answer>,
    ) {
        let now = Instant::now();
        parcel.failed(answer, now);
        if parcel.give_up_at(self.deps.retry.budget).is_some_and(|end| end <= now) {
            return self.give_up(parcel, "retry_budget").await;
        }
        let parcel = self.turns.rejoin(parcel);
        for evicted in self.queue.put(parcel, after, now, rand::random()) {
            self.give_up(evicted, "retry_queue_full").await;
        }
    }

    /// To the dead letters with Loki's last words, if it has said anything.
    async fn give_up(&mut self, mut parcel: Parcel, reason: &str) {
        let words = parcel.take_words();
        let answer = words.as_ref().map(|(status, words)| (*status, words.as_str()));
        self.bury_all(parcel, Reason { reason, answer }).await;
    }
}
