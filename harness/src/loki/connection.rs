//! Connections and HTTP: whole requests in, answers out, byte by byte as Loki (Go's server) sends them.

use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::header::{CONNECTION, CONTENT_TYPE, DATE, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::uri::PathAndQuery;
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::ext::ReasonPhrase;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use reqwest::Url;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::desk::{Desk, Request};
use super::reply::{Break, How, Reply};

/// Go's server knows the length of a body up to here; what is longer it sends in chunks.
const UNCHUNKED_BYTES_MAX: usize = 2048;
/// What is set aside for a body before any of it is there.
const FORESEEN_BYTES_MAX: usize = 1 << 20;
const BACKLOG: u32 = 1024;
/// Before another attempt, where the system is short of something.
const PAUSE: Duration = Duration::from_millis(10);

/// An address that is ours.
pub(super) struct Place {
    address: SocketAddr,
    _reserved: TcpSocket,
}

impl Place {
    /// Takes an address, so that it stays ours also while nobody listens there.
    pub(super) fn reserve(address: SocketAddr) -> io::Result<Self> {
        let socket = reusable(address)?;
        Ok(Self { address: socket.local_addr()?, _reserved: socket })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections are taken from now on. Only within a runtime.
    pub(super) fn listen(&self) -> io::Result<TcpListener> {
        reusable(self.address)?.listen(BACKLOG)
    }
}

/// Several sockets may have the address while none of them listens.
fn reusable(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Serves until it is told to stop; then all connections are closed at once.
pub(super) async fn serve(place: Place, mut listener: TcpListener, desk: Arc<Desk>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Some(_ended) = connections.join_next() => {}
            () = desk.faults.outage(true) => {
                drop(listener);
                connections.shutdown().await;
                listener = tokio::select! {
                    () = stop.cancelled() => return,
                    listener = back(&place, &desk) => listener,
                };
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(converse(stream, Arc::clone(&desk)))),
                // Out of descriptors, most likely: whoever waits is taken later.
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}

/// Listens again once the outage is over.
async fn back(place: &Place, desk: &Desk) -> TcpListener {
    desk.faults.outage(false).await;
    loop {
        match place.listen() {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

type Body = UnsyncBoxBody<Bytes, Infallible>;
/// What the connection does instead of an answer.
type Breaks = Arc<Mutex<Option<Break>>>;

/// All requests of one connection. A client that breaks off in the middle of one gets no answer and is no
/// fault of ours.
async fn converse(stream: TcpStream, desk: Arc<Desk>) {
    let _open = desk.tally.connected();
    drop(stream.set_nodelay(true));
    let breaks = Breaks::default();
    let service = service_fn(|request| Box::pin(answered(&desk, &breaks, request)));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service);
    // An answer that is an error ends the connection here, without a byte to the client.
    let ended = poll_fn(|context| connection.poll_without_shutdown(context)).await;
    let stream = connection.into_parts().io.into_inner();
    let broken = breaks.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (ended, broken) {
        (Err(_), Some(Break::Reset)) => drop(stream.set_zero_linger()),
        (Err(_), Some(Break::HalfClose)) => half_close(stream).await,
        _ => {}
    }
}

/// Sends no more, and reads until the client has seen that.
async fn half_close(mut stream: TcpStream) {
    let mut rest = [0; 1024];
    if stream.shutdown().await.is_ok() {
        while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
    }
}

async fn answered(
    desk: &Desk,
    breaks: &Breaks,
    request: http::Request<Incoming>,
) -> Result<Response<Body>, Box<dyn Error + Send + Sync>> {
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let url = Url::parse(&format!("http://sink{target}"))?;
    let body = read(body, desk.body_bytes_max()).await?;
    let request = Request { method: head.method, url, headers: head.headers, body };
    let Reply { after, how, date } = desk.reply(&request);
    tokio::time::sleep(after).await;
    match how {
        How::Answer(answer) => Ok(dated(response(&answer, None), date)),
        How::Trickle(answer, every) => Ok(dated(response(&answer, Some(every)), date)),
        How::Never => std::future::pending().await,
        How::Break(how) => {
            *breaks.lock().unwrap_or_else(PoisonError::into_inner) = Some(how);
            Err("as planned".into())
        }
    }
}

/// The body, or its beginning where it is longer than `max`: a byte more tells as much as all of it.
async fn read(mut body: Incoming, max: usize) -> Result<Bytes, hyper::Error> {
    let foreseen = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut bytes = BytesMut::with_capacity(foreseen.min(FORESEEN_BYTES_MAX));
    while let Some(frame) = body.frame().await {
        if let Ok(piece) = frame?.into_data() {
            bytes.extend_from_slice(&piece);
        }
        if bytes.len() > max {
            break;
        }
    }
    Ok(bytes.freeze())
}

/// With another date than this machine's.
fn dated(mut response: Response<Body>, date: Option<Timestamp>) -> Response<Body> {
    let printed = date.and_then(|date| DateTimePrinter::new().timestamp_to_rfc9110_string(&date).ok());
    if let Some(date) = printed.and_then(|date| HeaderValue::try_from(date).ok()) {
        response.headers_mut().insert(DATE, date);
    }
    response
}

/// As Go's server sends it; byte after byte with a pause before each, if `every` says so.
fn response(answer: &Answer, every: Option<Duration>) -> Response<Body> {
    let text = answer.text.as_ref().map(|text| Bytes::from(format!("{text}\n")));
    let is_long = text.as_ref().is_some_and(|text| text.len() > UNCHUNKED_BYTES_MAX);
    let has_text = text.is_some();
    let body: Body = match (text, every) {
        (None, _) => Empty::new().boxed_unsync(),
        (Some(text), Some(every)) => trickle(text, every),
        (Some(text), None) if is_long => chunked(text),
        (Some(text), None) => Full::new(text).boxed_unsync(),
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if response.status().canonical_reason().is_none()
        && let Ok(reason) = ReasonPhrase::try_from(format!("status code {}", answer.status))
    {
        response.extensions_mut().insert(reason);
    }
    let headers = response.headers_mut();
    if has_text && answer.is_json {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    } else if has_text {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    if let Some(seconds) = answer.retry_after_s {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    // Loki has not read what is too long, so the connection is of no more use.
    if answer.status == 413 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Of no known length.
fn chunked(text: Bytes) -> Body {
    StreamBody::new(stream::once(async { Ok(Frame::data(text)) })).boxed_unsync()
}

fn trickle(text: Bytes, every: Duration) -> Body {
    let pieces = stream::unfold(text, move |mut text| async move {
        if text.is_empty() {
            return None;
        }
        tokio::time::sleep(every).await;
        Some((Ok(Frame::data(text.split_to(1))), text))
    });
    StreamBody::new(pieces).boxed_unsync()
}
