//! A Loki on raw sockets: it answers as told, or stalls, resets, falls silent or is down, and keeps a book
//! of every line that it has stored, of who sent it and of whether that sender was told.
//!
//! Reads JSON pushes. The sender may put its name before the path of a push (`/7/loki/api/v1/push`), so
//! that what a killed process had under way is not taken for its successor's.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::book::{Book, lines};

/// What becomes of one push.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Stored: 204.
    Store,
    /// What is older than this is refused in Loki's words, the rest is stored.
    StoreYounger(Duration),
    /// What is older than this time, in nanoseconds since the epoch, is refused; the rest is stored.
    StoreFrom(i64),
    /// Nothing is stored. The status line without `HTTP/1.1`, more headers, the body.
    Refuse(&'static str, &'static [&'static str], &'static str),
    /// As [`Act::Refuse`] for a push of more than so many lines; a smaller one is stored.
    RefuseLarge(usize, &'static str, &'static str),
    /// Stored; the answer comes after this time.
    StoreLate(Duration),
    /// Stored; then the connection is reset instead of an answer.
    Reset,
    /// Nothing is stored and no answer comes, but the connection stays.
    Hang,
    /// Nothing is stored; the sending side is closed without an answer, the other one stays open.
    HalfClose,
    /// Nothing is stored: 500, and a body that has no end, in pieces of so many bytes with a pause between.
    Endless(usize, Duration),
    /// Stored and answered; the connection is reset a moment later, while nobody uses it.
    StoreThenReset,
}

struct Plan {
    next: VecDeque<Act>,
    mood: Act,
}

struct Shared {
    plan: Mutex<Plan>,
    book: Mutex<Book>,
    /// Connections that are open now, and that ever were.
    open: AtomicUsize,
    opened: AtomicUsize,
    /// Connections that are open and will never have their answer, or its end.
    unanswered: AtomicUsize,
}

/// The sink.
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    /// Bound and not listening: while the sink is down nobody else gets its port, and connections are
    /// refused.
    _reserved: TcpSocket,
    server: Mutex<JoinSet<()>>,
}

impl Sink {
    /// Up, storing all.
    pub(crate) fn start() -> Self {
        let reserved = bound(SocketAddr::from(([127, 0, 0, 1], 0)));
        let plan = Plan { next: VecDeque::new(), mood: Act::Store };
        let shared = Shared {
            plan: Mutex::new(plan),
            book: Mutex::default(),
            open: AtomicUsize::new(0),
            opened: AtomicUsize::new(0),
            unanswered: AtomicUsize::new(0),
        };
        let address = reserved.local_addr().unwrap();
        let sink = Self { address, shared: Arc::new(shared), _reserved: reserved, server: Mutex::default() };
        sink.up();
        sink
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// For all pushes but those that have an act of their own.
    pub(crate) fn mood(&self, mood: Act) {
        self.shared.plan.lock().unwrap().mood = mood;
    }

    /// For the next pushes, one each.
    pub(crate) fn next(&self, acts: impl IntoIterator<Item = Act>) {
        self.shared.plan.lock().unwrap().next.extend(acts);
    }

    /// How many of those are still to come.
    pub(crate) fn planned(&self) -> usize {
        self.shared.plan.lock().unwrap().next.len()
    }

    /// Takes connections (again).
    pub(crate) fn up(&self) {
        let mut server = self.server.lock().unwrap();
        if server.is_empty() {
            let listener = bound(self.address).listen(64).unwrap();
            server.spawn(accept(listener, self.shared.clone()));
        }
    }

    /// Closes all connections and refuses new ones.
    pub(crate) async fn down(&self) {
        let mut server = std::mem::take(&mut *self.server.lock().unwrap());
        server.shutdown().await;
    }

    pub(crate) fn book<T>(&self, read: impl FnOnce(&Book) -> T) -> T {
        read(&self.shared.book.lock().unwrap())
    }

    /// Whether this line was stored.
    pub(crate) fn has(&self, line: &str) -> bool {
        self.book(|book| book.lines.contains_key(line))
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Connections that are open though nothing will come (or end) on them.
    pub(crate) fn waits(&self) -> usize {
        self.shared.unanswered.load(Ordering::SeqCst)
    }

    /// Connections that were ever made.
    pub(crate) fn opened(&self) -> usize {
        self.shared.opened.load(Ordering::SeqCst)
    }
}

/// A port that nobody else is given while the socket lives, and on which a program can listen.
pub(crate) fn reserved_port() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                // A client that has gone already is no concern of ours.
                let Ok((stream, _)) = accepted else { continue };
                shared.opened.fetch_add(1, Ordering::SeqCst);
                let shared = shared.clone();
                connections.spawn(async move {
                    let _open = Counted::new(&shared.open);
                    // Killed clients break connections in every way.
                    drop(serve(stream, &shared).await);
                });
            }
        }
    }
}

/// Counts up for as long as it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some((sender, body)) = request(&mut stream).await? {
        let act = {
            let mut plan = shared.plan.lock().unwrap();
            plan.next.pop_front().unwrap_or_else(|| plan.mood.clone())
        };
        let mut pushed = lines(&body);
        let act = act.for_push_of(pushed.len());
        let refusal = shared.book.lock().unwrap().enter(&act, &mut pushed, &sender);
        let stream = stream.get_mut();
        match &act {
            Act::Store | Act::StoreYounger(_) | Act::StoreFrom(_) | Act::StoreThenReset => {
                answer(stream, refusal).await?
            }
            Act::StoreLate(delay) => {
                sleep(*delay).await;
                answer(stream, refusal).await?;
            }
            Act::Refuse(status, headers, body) => respond(stream, status, headers, body).await?,
            Act::RefuseLarge(_, status, body) => respond(stream, status, &[], body).await?,
            Act::Reset => return stream.set_zero_linger(),
            Act::Hang | Act::HalfClose | Act::Endless(..) => {
                let _unanswered = Counted::new(&shared.unanswered);
                return never_answer(stream, &act).await;
            }
        }
        shared.book.lock().unwrap().acknowledged(&pushed, &sender);
        if matches!(act, Act::StoreThenReset) {
            sleep(Duration::from_millis(50)).await;
            return stream.set_zero_linger();
        }
    }
    Ok(())
}

/// The sender's name and the body of the next request; nothing once the client has gone.
async fn request(stream: &mut BufReader<TcpStream>) -> io::Result<Option<(String, Vec<u8>)>> {
    let (mut first, mut length) = (String::new(), 0);
    if stream.read_line(&mut first).await? == 0 {
        return Ok(None);
    }
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await?;
        let header = header.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let path = first.split(' ').nth(1).unwrap();
    Ok(Some((path.split("/loki/").next().unwrap().trim_start_matches('/').to_owned(), body)))
}

impl Act {
    /// A refusal of what is large stores what is not.
    fn for_push_of(self, lines: usize) -> Self {
        if matches!(self, Self::RefuseLarge(most, ..) if lines <= most) { Self::Store } else { self }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::StoreYounger(_) => "store younger",
            Self::StoreFrom(_) => "store from",
            Self::Refuse(status, ..) | Self::RefuseLarge(_, status, _) => status,
            Self::StoreLate(_) => "store late",
            Self::Reset => "reset",
            Self::Hang => "hang",
            Self::HalfClose => "half close",
            Self::Endless(..) => "endless",
            Self::StoreThenReset => "store then reset",
        }
    }
}

async fn answer(stream: &mut TcpStream, refusal: Option<String>) -> io::Result<()> {
    match refusal {
        None => respond(stream, "204 No Content", &[], "").await,
        Some(words) => respond(stream, "400 Bad Request", &[], &words).await,
    }
}

async fn respond(stream: &mut TcpStream, status: &str, headers: &[&str], body: &str) -> io::Result<()> {
    let more: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    // A 204 has no body and no length.
    let length = match body {
        "" if status.starts_with("204") => String::new(),
        _ => format!("Content-Length: {}\r\n", body.len()),
    };
    let text = format!("HTTP/1.1 {status}\r\n{more}{length}\r\n{body}");
    stream.write_all(text.as_bytes()).await
}

async fn never_answer(stream: &mut TcpStream, act: &Act) -> io::Result<()> {
    if let Act::Endless(bytes, pause) = act {
        return endless(stream, *bytes, *pause).await;
    }
    if matches!(act, Act::HalfClose) {
        stream.shutdown().await?;
    }
    // Reads on, so that the client's going is seen.
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

async fn endless(stream: &mut TcpStream, bytes: usize, pause: Duration) -> io::Result<()> {
    let head = "HTTP/1.1 500 Internal Server Error\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    let chunk = format!("{bytes:x}\r\n{}\r\n", "x".repeat(bytes));
    loop {
        stream.write_all(chunk.as_bytes()).await?;
        sleep(pause).await;
    }
}
