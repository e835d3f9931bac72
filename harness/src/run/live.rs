//! `--serve`: the report of a run while it goes on, drawn from the run directory whenever somebody looks.
//!
//! Two pages: `/report` is the report so far, the same that the run writes at its end; `/` shows it, fetches it anew
//! every few seconds, and says so when nobody answers any more. Nothing is drawn while nobody asks, drawing takes at most
//! a part of one core ([`REST`]), and a process of its own does it (`flatline report --page`), whose memory goes with it:
//! so who looks at a run does not disturb what it measures.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use quick_xml::escape::escape;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::record::files;

/// The page that shows the report and fetches it anew.
const SHELL: &str = include_str!("live/shell.html");
/// A report is at least so old before it is drawn again,
const AGE: Duration = Duration::from_secs(2);
/// and so many times as old as drawing it took.
const REST: u32 = 20;
/// Connections at a time; more wait until one ends.
const CONNECTIONS_MAX: usize = 32;
/// Before another attempt, where the system is short of something.
const PAUSE: Duration = Duration::from_millis(100);

/// With every answer: nothing is loaded from anywhere, nobody else shows it in a frame, nothing is kept.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; \
         frame-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
    (header::VARY, "Host"),
];

/// It can't listen there.
#[derive(Debug, thiserror::Error)]
#[error(
    "can't show the report at {address}: {source}; name another address with --serve=ADDRESS, or none for any free port"
)]
pub struct LiveError {
    address: SocketAddr,
    source: io::Error,
}

/// The report of a run, shown while it goes on.
#[derive(Debug)]
pub struct Live {
    listener: TcpListener,
    address: SocketAddr,
    desk: Arc<Desk>,
}

impl Live {
    /// Takes the address, for the run of this folder, which need not be there yet. `program` is flatline. Only within a
    /// runtime.
    ///
    /// # Errors
    /// [`LiveError`].
    pub async fn listen(address: SocketAddr, folder: &Path, program: PathBuf) -> Result<Self, LiveError> {
        let failed = |source| LiveError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let folder = std::path::absolute(folder).map_err(failed)?;
        let desk = Desk { folder, program, is_local: address.ip().is_loopback(), drawn: Mutex::new(None) };
        Ok(Self { listener, address, desk: Arc::new(desk) })
    }

    /// Where it can be seen.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Does `work`, with the report shown all the while, where there is somebody to show it.
    pub async fn during<T>(live: Option<Self>, work: impl Future<Output = T>) -> T {
        let Some(live) = live else { return work.await };
        tokio::select! {
            done = work => done,
            never = live.serve() => match never {},
        }
    }

    /// Answers until it is dropped; then all connections end.
    async fn serve(self) -> Infallible {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                Some(_ended) = connections.join_next() => {}
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                    Ok((stream, _)) => drop(connections.spawn(converse(stream, Arc::clone(&self.desk)))),
                    // Out of descriptors, most likely: whoever waits is taken later.
                    Err(_) => tokio::time::sleep(PAUSE).await,
                },
            }
        }
    }
}

/// All requests of one connection. One that is idle is closed after half a minute, hyper's own patience.
async fn converse(stream: TcpStream, desk: Arc<Desk>) {
    let service = service_fn(|request: Request<Incoming>| {
        let desk = Arc::clone(&desk);
        async move {
            let (path, method) = (request.uri().path(), request.method());
            Ok::<_, Infallible>(desk.answer(method, path, request.headers()).await)
        }
    });
    let connection =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    // A client that breaks off is no fault of ours.
    drop(connection.await);
}

/// Its routes, and what was drawn last.
#[derive(Debug)]
struct Desk {
    folder: PathBuf,
    program: PathBuf,
    /// Whether it listens on the loopback alone.
    is_local: bool,
    /// Whoever asks while it is drawn waits for that.
    drawn: Mutex<Option<Drawn>>,
}

#[derive(Clone, Debug)]
struct Drawn {
    /// What there is to show, or why there is nothing yet.
    page: Result<Bytes, String>,
    tag: String,
    at: Instant,
    took: Duration,
}

type Answer = Response<Full<Bytes>>;

impl Desk {
    async fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Answer {
        if !self.is_for_us(headers) {
            // A name that leads here is not ours: a page from elsewhere may have made it do so (DNS rebinding).
            let words = "this is no host of that name; ask for localhost or 127.0.0.1\n";
            return text(StatusCode::MISDIRECTED_REQUEST, words);
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "there is only GET\n");
            refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match path {
            "/" => html(Bytes::from(shell(&self.folder))),
            "/report" => self.report(headers).await,
            _ => text(StatusCode::NOT_FOUND, "there are / and /report\n"),
        }
    }

    fn is_for_us(&self, headers: &HeaderMap) -> bool {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        !self.is_local || host.is_some_and(is_local)
    }

    async fn report(&self, headers: &HeaderMap) -> Answer {
        let Drawn { page, tag, .. } = self.drawn().await;
        let page = match page {
            Ok(page) => page,
            Err(why) => return text(StatusCode::SERVICE_UNAVAILABLE, &why),
        };
        let known =
            headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
        let mut answer = if known { status(StatusCode::NOT_MODIFIED) } else { html(page) };
        if let Ok(tag) = HeaderValue::try_from(tag) {
            answer.headers_mut().insert(header::ETAG, tag);
        }
        answer
    }

    /// The report so far; the one that was drawn last, if it is young enough.
    async fn drawn(&self) -> Drawn {
        let mut last = self.drawn.lock().await;
        if let Some(drawn) = last.as_ref().filter(|drawn| drawn.at.elapsed() < AGE.max(drawn.took * REST)) {
            return drawn.clone();
        }
        let began = Instant::now();
        let page = self.draw().await;
        let sum = page.as_ref().map_or(0, |page| crc32fast::hash(page));
        let drawn = Drawn { page, tag: format!("\"{sum:08x}\""), at: Instant::now(), took: began.elapsed() };
        *last = Some(drawn.clone());
        drawn
    }

    async fn draw(&self) -> Result<Bytes, String> {
        if !self.folder.join(files::RUN).exists() {
            return Err("Nothing was measured yet.\n".to_owned());
        }
        let mut drawing = Command::new(&self.program);
        drawing.args(["report", "--page"]).arg(&self.folder).stdin(Stdio::null()).kill_on_drop(true);
        let drawn =
            drawing.output().await.map_err(|error| format!("The report can't be drawn: {error}.\n"))?;
        if drawn.status.success() {
            return Ok(Bytes::from(drawn.stdout));
        }
        Err(format!("The report can't be drawn: {}", String::from_utf8_lossy(&drawn.stderr)))
    }
}

fn shell(folder: &Path) -> String {
    SHELL.replace("{{ folder }}", &escape(folder.display().to_string()))
}

/// Whether a `Host` names this machine's loopback, whatever the port: a tunnel has another.
fn is_local(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

fn status(status: StatusCode) -> Answer {
    let mut answer = Answer::default();
    *answer.status_mut() = status;
    for (name, value) in HEADERS {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

fn html(page: Bytes) -> Answer {
    with_body(status(StatusCode::OK), page, "text/html; charset=utf-8")
}

fn text(code: StatusCode, words: &str) -> Answer {
    with_body(status(code), Bytes::from(words.to_owned()), "text/plain; charset=utf-8")
}

fn with_body(mut answer: Answer, body: Bytes, kind: &'static str) -> Answer {
    *answer.body_mut() = Full::new(body);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_loopback_are_answered() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:9999", "127.8.0.1", "[::1]:80", "[::1]"] {
            assert!(is_local(host), "{host}");
        }
        for host in
            ["", "example.org", "127.0.0.1.example.org", "localhost.example.org:80", "10.0.0.1", "a b"]
        {
            assert!(!is_local(host), "{host}");
        }
    }

    fn desk(is_local: bool) -> Desk {
        Desk { folder: "/runs/<b>".into(), program: "/none".into(), is_local, drawn: Mutex::new(None) }
    }

    fn host(name: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::HOST, HeaderValue::from_str(name).unwrap())])
    }

    #[tokio::test]
    async fn it_answers_to_get_and_to_its_two_paths_alone() {
        let (desk, ours) = (desk(true), host("localhost:1"));
        let (other, nobody) = (host("evil.example"), HeaderMap::new());
        let status =
            async |method, path, headers| desk.answer(&method, path, headers).await.status().as_u16();
        assert_eq!(status(Method::GET, "/", &ours).await, 200);
        assert_eq!(status(Method::POST, "/", &ours).await, 405);
        for path in
            ["/../run.json", "/run.json", "//", "/report/../samples.csv", "/report/", "/%2e%2e/run.json"]
        {
            assert_eq!(status(Method::GET, path, &ours).await, 404, "{path}");
        }
        assert_eq!(status(Method::GET, "/", &other).await, 421);
        assert_eq!(status(Method::GET, "/", &nobody).await, 421);
        assert_eq!(status(Method::GET, "/report", &ours).await, 503, "the run has not begun");
    }

    #[tokio::test]
    async fn who_is_exposed_answers_to_any_name() {
        let answer = desk(false).answer(&Method::GET, "/", &host("ci.example:8080")).await;
        assert_eq!(answer.status(), 200);
        assert!(
            answer.headers()[header::CONTENT_SECURITY_POLICY]
                .to_str()
                .unwrap()
                .contains("default-src 'none'")
        );
    }

    #[test]
    fn the_folder_stands_in_the_page_as_words() {
        let shell = shell(Path::new("/runs/<b>"));
        assert!(shell.contains("&lt;b&gt;") && !shell.contains("<b>/") && !shell.contains("{{"), "{shell}");
    }
}
