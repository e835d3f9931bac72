//! What becomes of a parcel that Loki did not take, or not whole: another attempt, halves, or the dead letters.

use std::time::Duration;

use tokio::time::Instant;

use super::{Lane, why};
use crate::batch::{Entry, Group};
use crate::clock::Moment;
use crate::delivery::books::Books;
use crate::delivery::dead_letters::Reason;
use crate::delivery::parcel::{Next, Parcel};
use crate::loki::answer::Refusal;
use crate::loki::client::Answer;
use crate::loki::limit::Limit;

impl Lane {
    /// A limit that refuses the same parcel for ever must not hold up what stands behind it.
    pub(super) async fn limited(
        &mut self,
        mut parcel: Parcel,
        limit: Limit,
        (after, answer): (Option<Duration>, &Answer),
        books: &mut Books,
    ) {
        match (parcel.refused_by(&limit), limit) {
            (Next::Again, _) => self.try_again(parcel, after, Some(answer), books).await,
            (Next::Halve, _) => self.halve(parcel, why("rate_limit", answer), books).await,
            (Next::GiveUp, Limit::Streams { labels: Some(labels) })
                if parcel.groups.iter().any(|group| group.labels.text == labels) =>
            {
                let (refused, rest) = parcel.without_stream(&labels);
                books.bury(self.tenant(), refused, why("stream_limit", answer)).await;
                self.queue.put_back(rest.into_iter(), Instant::now());
            }
            (Next::GiveUp, Limit::Streams { .. }) => {
                books.bury(self.tenant(), parcel.groups, why("stream_limit", answer)).await;
            }
            (Next::GiveUp, Limit::Rate) => {
                books.bury(self.tenant(), parcel.groups, why("rate_limit", answer)).await;
            }
        }
    }

    /// Loki has stored all but the lines that it names. If none of ours fits its words, we do not know
    /// which it meant, and all are kept.
    pub(super) async fn divide(
        &mut self,
        parcel: Parcel,
        refusal: &Refusal,
        (sent, answer): (Moment, &Answer),
        books: &mut Books,
    ) {
        let fits = |group: &Group, entry: &Entry| refusal.fits(&group.labels.text, entry);
        if !parcel.any(fits) {
            return books.bury(self.tenant(), parcel.groups, why("refused", answer)).await;
        }
        let (refused, others) = parcel.divide(fits);
        // Words about one stream may hide those about another. What is stored already Loki stores once.
        match others {
            Some(unknown) if refusal.behind.is_some() => self.turns.wait(unknown),
            Some(stored) => self.delivered(&stored.groups, sent, books),
            None => {}
        }
        self.deps.window.refused(refusal.lesson(), sent, self.deps.clock.moment());
        books.bury(self.tenant(), refused, why("refused", answer)).await;
        self.queue.hurry_one(Instant::now());
    }

    /// Sends it in halves; a single line goes to the dead letters.
    pub(super) async fn halve(&mut self, parcel: Parcel, why: Reason<'_>, books: &mut Books) {
        match parcel.halves(&self.deps.retry) {
            (first, Some(second)) => self.queue.put_back([first, second].into_iter(), Instant::now()),
            (single, None) => books.bury(self.tenant(), single.groups, why).await,
        }
    }

    /// Lets it wait for its next attempt, unless its budget is used up.
    pub(super) async fn try_again(
        &mut self,
        mut parcel: Parcel,
        after: Option<Duration>,
        answer: Option<&Answer>,
        books: &mut Books,
    ) {
        let now = Instant::now();
        parcel.failed(answer, now);
        if parcel.give_up_at(self.deps.retry.budget).is_some_and(|end| end <= now) {
            return self.bury(parcel, "retry_budget", books).await;
        }
        let parcel = self.turns.rejoin(parcel);
        for evicted in self.queue.put(parcel, after, now, rand::random()) {
            self.bury(evicted, "retry_queue_full", books).await;
        }
    }

    /// To the dead letters with Loki's last words, if it has said anything.
    pub(super) async fn bury(&self, mut parcel: Parcel, reason: &str, books: &mut Books) {
        let words = parcel.take_words();
        let answer = words.as_ref().map(|(status, words)| (*status, words.as_str()));
        books.bury(self.tenant(), parcel.groups, Reason { reason, answer }).await;
    }
}
