//! Makes wiremock forget the requests that it keeps.
//!
//! wiremock 0.6 keeps a clone of every request that matched a mock, inside that mock and with its whole
//! body, also where the recording of requests is disabled (`MountedMock::matches`, `matched_requests`):
//! a sink would grow by all that it is ever pushed. The only way to let go of them is to take the mock
//! down, which is what this does after every [`KEPT_BYTES_MAX`] bytes: the mock is removed and an equal
//! one mounted in its place.
//!
//! A request between the two would find no mock and be answered with an empty 404. It can't come between:
//! both steps wait for the one lock under which wiremock handles its requests, that lock is handed on in
//! the order of asking, and they ask for it one right behind the other while it is held: from inside the
//! handling of a request.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Waker};

use futures_util::future;
use tokio::sync::mpsc;
use wiremock::{Mock, MockServer};

/// How much wiremock may keep before it has to forget.
pub(super) const KEPT_BYTES_MAX: usize = 8 << 20;
/// What a request costs beside its body: its headers and its place.
const REQUEST_BYTES: usize = 2 << 10;

/// A removal and a mounting that already stand in the lock's queue.
pub(super) type Renewal = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Counts what wiremock keeps.
pub(super) struct Forgetter {
    server: OnceLock<Weak<MockServer>>,
    kept_bytes: Arc<AtomicUsize>,
    renewals: mpsc::Sender<Renewal>,
}

impl Forgetter {
    /// The receiver is the end that [`run`] works off; one place is enough, since no request is handled
    /// while a renewal stands in the queue.
    pub(super) fn new() -> (Self, mpsc::Receiver<Renewal>) {
        let (renewals, receiver) = mpsc::channel(1);
        (Self { server: OnceLock::new(), kept_bytes: Arc::default(), renewals }, receiver)
    }

    /// Tells it whose mocks it renews; a second time has no effect.
    pub(super) fn watch(&self, server: &Arc<MockServer>) {
        self.server.get_or_init(|| Arc::downgrade(server));
    }

    /// To be called while wiremock handles a request, that is from a `Respond`: counts the request, and
    /// asks for the renewal with `mock` when the bound is reached.
    pub(super) fn handled(&self, body_bytes: usize, mock: impl FnOnce() -> Mock) {
        let kept = self.kept_bytes.fetch_add(body_bytes + REQUEST_BYTES, Ordering::Relaxed) + body_bytes;
        let server = self.server.get().and_then(Weak::upgrade);
        let (true, Some(server)) = (kept >= KEPT_BYTES_MAX, server) else { return };
        let mut renewal = renewal(server, mock(), Arc::clone(&self.kept_bytes));
        // The first poll is what puts both steps into the lock's queue. Should the runner be gone, the
        // sink is being dropped, and so is the renewal.
        if renewal.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            self.renewals.try_send(renewal).unwrap_or_default();
        }
    }
}

fn renewal(server: Arc<MockServer>, mock: Mock, kept_bytes: Arc<AtomicUsize>) -> Renewal {
    // `join` polls both in this order at every poll. Without a budget, since a task whose budget is used
    // up would be told to wait before it stands in the queue.
    Box::pin(tokio::task::unconstrained(async move {
        let forget = async {
            server.reset().await;
            kept_bytes.store(0, Ordering::Relaxed);
        };
        future::join(forget, mock.mount(&server)).await;
    }))
}

/// Carries renewals through until the sink is dropped.
pub(super) async fn run(mut renewals: mpsc::Receiver<Renewal>) {
    while let Some(renewal) = renewals.recv().await {
        renewal.await;
    }
}
