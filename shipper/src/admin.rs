//! `/metrics`, `/ready`, `/healthz` and `/debug/targets` on the loopback address. Connections are owned and bounded in
//! number; it ends last, so that the end of everything else can be watched.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::metrics::labels::TaskKind;
use crate::targets::Targets;

/// `admin:` in the config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen. Port 0 takes a free one, which the log names.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// Whether it may be another address than one of this machine's own: whoever reaches it sees the names of all
    /// containers, and there is no password.
    pub allow_remote: bool,
}

fn address<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(from)?;
    let wrong =
        |_| D::Error::custom(format!("{text:?} is no IP address with a port, such as 127.0.0.1:9080"));
    text.parse().map_err(wrong)
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9080)), allow_remote: false }
    }
}

/// The address can't be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "admin.listen: can't listen on {address}: {source} (is another shipper running? choose another port)"
)]
pub struct Error {
    address: SocketAddr,
    source: io::Error,
}

/// Connections at once; a further one waits to be accepted.
const CONNECTIONS_MAX: usize = 16;
/// By which `shipper ready` knows a shipper from others that have a `/ready`.
pub const SERVER: &str = "shipper";
/// For a request's head, and so for an idle connection.
const IDLE_MAX: Duration = Duration::from_secs(30);
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";
const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// Listens already; answers when it runs.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
}

/// What the pages are made of.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Which containers are read.
    pub targets: Targets,
    /// All metrics.
    pub metrics: Arc<Metrics>,
}

impl Default for Shown {
    /// Nothing is read yet.
    fn default() -> Self {
        Self { targets: Targets::default(), metrics: Metrics::new() }
    }
}

impl Admin {
    /// Takes the address.
    ///
    /// # Errors
    /// When it is taken or not ours.
    pub async fn bind(config: &Config) -> Result<Self, Error> {
        let address = config.listen;
        let failed = |source| Error { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        tracing::info!(address = %listener.local_addr().map_err(failed)?, "admin listens");
        Ok(Self { listener })
    }

    /// Answers until `stop`, from what is shown at the time of each request.
    pub async fn run(self, mut shown: watch::Receiver<Shown>, stop: CancellationToken) {
        let task = |shown: &watch::Receiver<Shown>| shown.borrow().metrics.task(TaskKind::Admin);
        let mut _alive = task(&shown);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Ok(()) = shown.changed() => _alive = task(&shown),
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                    Ok((stream, _)) => drop(connections.spawn(serve(stream, shown.clone()))),
                    // Out of file descriptors, most likely: the next attempt would fail as fast.
                    Err(error) => {
                        tracing::warn!(%error, "admin can't accept a connection");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                },
            }
        }
        connections.shutdown().await;
    }
}

async fn serve(stream: TcpStream, shown: watch::Receiver<Shown>) {
    let _task = shown.borrow().metrics.task(TaskKind::AdminConnection);
    let service = service_fn(|request: Request<Incoming>| {
        let response = answer(request.method(), request.uri().path(), &shown.borrow());
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "an admin connection broke");
    }
}

fn answer(method: &Method, path: &str, Shown { targets, metrics }: &Shown) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, PLAIN_TEXT, "only GET\n".to_owned());
    }
    match path {
        "/metrics" => match metrics.render() {
            Ok(page) => text(StatusCode::OK, PROMETHEUS_TEXT, page),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, PLAIN_TEXT, format!("{error}\n")),
        },
        "/ready" => match unready(metrics).as_slice() {
            [] => text(StatusCode::OK, PLAIN_TEXT, "ready\n".to_owned()),
            reasons => text(StatusCode::SERVICE_UNAVAILABLE, PLAIN_TEXT, reasons.join("\n") + "\n"),
        },
        "/healthz" => text(StatusCode::OK, PLAIN_TEXT, "alive\n".to_owned()),
        "/debug/targets" => match serde_json::to_string_pretty(&targets.list()) {
            Ok(list) => text(StatusCode::OK, JSON, list + "\n"),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, PLAIN_TEXT, format!("{error}\n")),
        },
        _ => {
            let there = "there are /metrics, /ready, /healthz and /debug/targets\n";
            text(StatusCode::NOT_FOUND, PLAIN_TEXT, there.to_owned())
        }
    }
}

const HELD: &str = "Loki refuses us and lines wait, its answer is in the log: look at loki.url, loki.tenant, \
    loki.basic_auth and loki.bearer_token_file";

/// Why it is not ready. A Loki that is down is no reason: the shipper does its work, it waits.
fn unready(metrics: &Metrics) -> Vec<&'static str> {
    [
        (metrics.docker_connected.get() == 0, "Docker's events are not heard (yet)"),
        (metrics.checkpoint_failing.get() != 0, "positions can't be saved in state_dir"),
        (
            metrics.dead_letters_failing.get() != 0,
            "dead letters can't be written in state_dir: delivery waits until they can",
        ),
        (metrics.loki_held.get() != 0, HELD),
    ]
    .into_iter()
    .filter_map(|(holds, reason)| holds.then_some(reason))
    .collect()
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    headers.insert(header::SERVER, http::HeaderValue::from_static(SERVER));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_bears_our_name() {
        for path in ["/ready", "/metrics", "/nowhere"] {
            let answer = answer(&Method::GET, path, &Shown::default());
            assert_eq!(answer.headers()[header::SERVER], SERVER, "{path}");
        }
    }

    #[test]
    fn ready_says_why_not() {
        let shown = Shown::default();
        let metrics = &shown.metrics;
        assert_eq!(answer(&Method::GET, "/ready", &shown).status(), 503);
        assert_eq!(unready(metrics), ["Docker's events are not heard (yet)"]);
        metrics.docker_connected.set(1);
        assert_eq!(answer(&Method::GET, "/ready", &shown).status(), 200);
        metrics.loki_held.set(1);
        metrics.checkpoint_failing.set(1);
        metrics.dead_letters_failing.set(1);
        assert_eq!(unready(metrics).len(), 3);
    }

    #[test]
    fn what_is_not_there_is_told() {
        let shown = Shown::default();
        assert_eq!(answer(&Method::GET, "/", &shown).status(), 404);
        assert_eq!(answer(&Method::POST, "/ready", &shown).status(), 405);
        assert_eq!(answer(&Method::GET, "/healthz", &shown).status(), 200);
    }

    #[tokio::test]
    async fn a_port_in_use_is_a_clear_error() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = Config { listen: taken.local_addr().unwrap(), ..Config::default() };
        let error = Admin::bind(&config).await.unwrap_err().to_string();
        assert!(error.contains(&config.listen.to_string()) && error.contains("in use"), "{error}");
    }
}
