//! What a leaking process says of itself over HTTP.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// Its routes, the events that it was told of, and the tasks that it holds.
#[derive(Debug, Default)]
pub(super) struct Page {
    events: AtomicU64,
    held: TaskTracker,
}

impl Page {
    pub(super) fn new(held: TaskTracker) -> Self {
        Self { events: AtomicU64::default(), held }
    }

    /// How many events there were.
    pub(super) fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    fn answer(&self, method: &Method, path: &str) -> (StatusCode, String) {
        match (method.as_str(), path) {
            ("GET", "/ready") => (StatusCode::OK, "ready\n".to_owned()),
            ("GET", "/metrics") => (StatusCode::OK, self.metrics()),
            ("POST", "/event") => {
                self.events.fetch_add(1, Ordering::Relaxed);
                (StatusCode::NO_CONTENT, String::new())
            }
            _ => {
                let routes = "there are GET /ready, GET /metrics and POST /event\n";
                (StatusCode::NOT_FOUND, routes.to_owned())
            }
        }
    }

    /// The tasks by the runtime's own count, not by ours: what is judged must be measured.
    fn metrics(&self) -> String {
        let tasks = Handle::current().metrics().num_alive_tasks();
        let events = self.events();
        format!(
            "# HELP tokio_alive_tasks Tasks that are alive, counted by the runtime.\n\
             # TYPE tokio_alive_tasks gauge\ntokio_alive_tasks {tasks}\n\
             # HELP leak_tasks Tasks that are held, counted by their tracker.\n\
             # TYPE leak_tasks gauge\nleak_tasks{{kind=\"leaked\"}} {}\n\
             # HELP leak_events_total Events that it was told of.\n\
             # TYPE leak_events_total counter\nleak_events_total {events}\n",
            self.held.len()
        )
    }
}

/// All requests of one connection. A client that breaks off is no fault of ours.
pub(super) async fn converse(stream: TcpStream, page: Arc<Page>) {
    let service = service_fn(|request: Request<Incoming>| {
        let (status, text) = page.answer(request.method(), request.uri().path());
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        std::future::ready(Ok::<_, Infallible>(response))
    });
    // No timer: hyper would close what is idle for 30 s, and the process would shrink by a task and a descriptor unasked.
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    drop(connection.await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn events_are_counted_and_the_runtime_counts_the_tasks() {
        let page = Page::default();
        assert_eq!(page.answer(&Method::POST, "/event").0, StatusCode::NO_CONTENT);
        assert_eq!(page.answer(&Method::GET, "/event").0, StatusCode::NOT_FOUND);
        let metrics = page.answer(&Method::GET, "/metrics").1;
        assert!(metrics.contains("\nleak_events_total 1\n"), "{metrics}");
        assert!(metrics.contains("\ntokio_alive_tasks 0\n"), "{metrics}");
        assert!(metrics.contains("\nleak_tasks{kind=\"leaked\"} 0\n"), "{metrics}");
    }
}
