//! An Engine that inspects, and a Loki that checks the time of each line.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, server::conn::http1};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;

/// Refuses a whole push for one line that is too old, and everything while it is down.
pub(super) struct Loki {
    cut_off_ns: AtomicI64,
    down: AtomicBool,
    lines: Mutex<Vec<String>>,
    answers: Mutex<HashMap<u16, usize>>,
    connections: Connections,
}

impl Loki {
    pub(super) fn new(cut_off_ns: i64) -> Self {
        Self {
            cut_off_ns: cut_off_ns.into(),
            down: false.into(),
            lines: Mutex::default(),
            answers: Mutex::default(),
            connections: Connections::default(),
        }
    }

    /// From now on lines before this time are refused.
    pub(super) fn cut_off(&self, time_ns: i64) {
        self.cut_off_ns.store(time_ns, Ordering::Relaxed);
    }

    /// From now on it answers 503, or not.
    pub(super) fn down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }

    /// All lines that it took, in their order.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// How often it gave this answer.
    pub(super) fn answers(&self, status: u16) -> usize {
        self.answers.lock().unwrap().get(&status).copied().unwrap_or(0)
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.open.load(Ordering::Relaxed)
    }

    /// The most that were open at one time.
    pub(super) fn connections_most(&self) -> usize {
        self.connections.most.load(Ordering::Relaxed)
    }

    fn push(&self, body: &[u8]) -> (u16, String) {
        let push: Push = serde_json::from_slice(body).unwrap();
        let lines: Vec<(String, String, serde_json::Value)> =
            push.streams.into_iter().flat_map(|stream| stream.values).collect();
        let cut_off = self.cut_off_ns.load(Ordering::Relaxed);
        let answer = if self.down.load(Ordering::Relaxed) {
            (503, "starting\n".to_owned())
        } else if lines.iter().any(|(time, ..)| time.parse::<i64>().unwrap() < cut_off) {
            let oldest = jiff::Timestamp::from_second(cut_off / 1_000_000_000).unwrap();
            let words = "entry for stream '{}' has timestamp too old: 2001-09-09T01:46:40Z, oldest acceptable timestamp is:";
            (400, format!("{words} {oldest}\n"))
        } else {
            self.lines.lock().unwrap().extend(lines.into_iter().map(|(_, line, _)| line));
            (204, String::new())
        };
        *self.answers.lock().unwrap().entry(answer.0).or_default() += 1;
        answer
    }
}

#[derive(Deserialize)]
struct Push {
    streams: Vec<PushStream>,
}

#[derive(Deserialize)]
struct PushStream {
    values: Vec<(String, String, serde_json::Value)>,
}

pub(super) async fn serve_loki(listener: TcpListener, loki: Arc<Loki>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let loki = Arc::clone(&loki);
        connections.spawn(async move {
            let _open = loki.connections.opened();
            serve(stream, |body| loki.push(&body)).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Inspects any container.
#[derive(Default)]
pub(super) struct Docker {
    inspections: AtomicUsize,
    down: AtomicBool,
    connections: Connections,
}

impl Docker {
    pub(super) fn inspections(&self) -> usize {
        self.inspections.load(Ordering::Relaxed)
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.open.load(Ordering::Relaxed)
    }

    /// It answers 500 from now on.
    pub(super) fn down(&self) {
        self.down.store(true, Ordering::Relaxed);
    }

    fn inspect(&self) -> (u16, String) {
        self.inspections.fetch_add(1, Ordering::Relaxed);
        let status = if self.down.load(Ordering::Relaxed) { 500 } else { 200 };
        (status, r#"{"Name":"/web","Config":{"Image":"generator","Labels":{"a":"b"}}}"#.to_owned())
    }
}

pub(super) async fn serve_docker(listener: UnixListener, docker: Arc<Docker>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let docker = Arc::clone(&docker);
        connections.spawn(async move {
            let _open = docker.connections.opened();
            serve(stream, |_| docker.inspect()).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, answer: impl Fn(Bytes) -> (u16, String)) {
    let service = service_fn(|request: Request<Incoming>| async {
        let body = request.into_body().collect().await?.to_bytes();
        let (status, words) = answer(body);
        let mut response = Response::new(Full::new(Bytes::from(words)));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        Ok::<_, hyper::Error>(response)
    });
    // A client that goes away in the midst of a request is no fault of this server's.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

#[derive(Default)]
struct Connections {
    open: AtomicUsize,
    most: AtomicUsize,
}

struct Opened<'a>(&'a Connections);

impl Connections {
    fn opened(&self) -> Opened<'_> {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(open, Ordering::Relaxed);
        Opened(self)
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
