//! Makes wiremock forget the requests that it keeps.
//!
//! wiremock 0.6 keeps a clone of every request that matched a mock, inside that mock and with its whole
//! body, also where the recording of requests is disabled (`MountedMock::matches`, `matched_requests`):
//! a sink would grow by all that it is ever pushed. The only way to let go of them is to take the mock
//! down, which is what this does after every few megabytes: the mock is removed and an equal
//! one mounted in its place.
//!
//! A request between the two would find no mock and be answered with an empty 404. It can't come between:
//! both steps wait for the one lock under which wiremock handles its requests, that lock is handed on in
//! the order of asking, and they ask for it one right behind the other while it is held: from inside the
//! handling of a request.
//!
//! Dropping the last handle of a `MockServer` waits for that same lock, so no handle may be dropped while
//! a request is handled: the handler only polls a renewal that lies ready, and [`run`] takes it from there.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Waker};

use futures_util::future;
use tokio::sync::Notify;
use wiremock::{Mock, MockServer};

/// How much wiremock may keep before it has to forget.
const KEPT_BYTES_MAX: usize = 8 << 20;
/// What a request costs beside its body: its headers and its place.
const REQUEST_BYTES: usize = 2 << 10;

/// Takes the mock down and mounts an equal one.
type Renewal = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where the next renewal stands.
#[derive(Default)]
enum Slot {
    /// There is none yet, or [`run`] is carrying it through.
    #[default]
    Empty,
    /// It lies ready.
    Armed(Renewal),
    /// Both its steps stand in the lock's queue.
    Asked(Renewal),
    /// The sink is being dropped: there will be no more.
    Closed,
}

/// Counts what wiremock keeps, and asks for the renewal in time.
#[derive(Default)]
pub(super) struct Forgetter {
    slot: Mutex<Slot>,
    asked: Notify,
    kept_bytes: AtomicUsize,
}

impl Forgetter {
    /// Makes the next renewal ready: `mock` will stand in the place of the one that `server` has.
    pub(super) fn arm(&self, server: Arc<MockServer>, mock: Mock) {
        let mut slot = self.slot();
        if !matches!(*slot, Slot::Closed) {
            *slot = Slot::Armed(renewal(server, mock));
        }
    }

    /// To be called while wiremock handles a request, that is from a `Respond`: counts the request, and
    /// puts the renewal into the lock's queue when the bound is reached.
    pub(super) fn handled(&self, body_bytes: usize) {
        let bytes = body_bytes + REQUEST_BYTES;
        if self.kept_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes < KEPT_BYTES_MAX {
            return;
        }
        let mut slot = self.slot();
        match mem::take(&mut *slot) {
            Slot::Armed(mut renewal) => {
                // The lock is held, so this poll can't finish anything: it takes two places in the queue.
                let polled = renewal.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                debug_assert!(polled.is_pending(), "the lock was not held");
                *slot = Slot::Asked(renewal);
                // All that was handled up to here will be forgotten before the next request is handled.
                self.kept_bytes.store(0, Ordering::Relaxed);
                self.asked.notify_one();
            }
            // Still on its way: the next request asks again.
            other @ (Slot::Empty | Slot::Asked(_) | Slot::Closed) => *slot = other,
        }
    }

    /// Ends it. The renewal that lies ready holds the server, and the server's mock holds this: without
    /// this call neither would ever be freed.
    pub(super) fn close(&self) {
        let ended = mem::replace(&mut *self.slot(), Slot::Closed);
        drop(ended);
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The renewal that was asked for, once there is one.
    async fn next(&self) -> Renewal {
        loop {
            self.asked.notified().await;
            let mut slot = self.slot();
            match mem::take(&mut *slot) {
                Slot::Asked(renewal) => return renewal,
                other @ (Slot::Empty | Slot::Armed(_) | Slot::Closed) => *slot = other,
            }
        }
    }
}

fn renewal(server: Arc<MockServer>, mock: Mock) -> Renewal {
    // `join` polls both in this order at every poll. Without a budget, since a task whose budget is used
    // up would be told to wait before it stands in the queue.
    Box::pin(tokio::task::unconstrained(async move {
        future::join(server.reset(), mock.mount(&server)).await;
    }))
}

/// Carries renewals through for as long as the server lives.
pub(super) async fn run(forgetter: Arc<Forgetter>, server: Weak<MockServer>, mock: impl Fn() -> Mock) {
    loop {
        forgetter.next().await.await;
        let Some(server) = server.upgrade() else { return };
        forgetter.arm(server, mock());
    }
}
