//! A proxy in front of Docker's socket that lets through what a list of rules allows, and notes what else is asked.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinSet;

use crate::support::engine::SOCKET;

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    book: Arc<Book>,
    _server: JoinSet<()>,
}

struct Book {
    rules: Vec<String>,
    used: Mutex<BTreeSet<String>>,
    refused: Mutex<Vec<String>>,
}

impl Proxy {
    /// Rules are like `GET /containers/{id}/json`.
    pub(crate) async fn start(rules: &[String]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let book =
            Arc::new(Book { rules: rules.to_vec(), used: Mutex::default(), refused: Mutex::default() });
        let mut server = JoinSet::new();
        server.spawn(accept(listener, book.clone()));
        Self { address, book, _server: server }
    }

    /// The rules that were needed.
    pub(crate) fn used(&self) -> BTreeSet<String> {
        self.book.used.lock().unwrap().clone()
    }

    /// The requests that no rule allows.
    pub(crate) fn refused(&self) -> Vec<String> {
        self.book.refused.lock().unwrap().clone()
    }
}

impl Book {
    fn allows(&self, request: &str) -> bool {
        let rule = self.rules.iter().find(|rule| matches(rule, request));
        match rule {
            Some(rule) => self.used.lock().unwrap().insert(rule.clone()),
            None => {
                self.refused.lock().unwrap().push(request.to_owned());
                return false;
            }
        };
        true
    }
}

/// Whether a request's first line is what a rule allows, with any version and query.
fn matches(rule: &str, request: &str) -> bool {
    let (method, target) = request.split_once(' ').unwrap();
    let path = target.split([' ', '?']).next().unwrap();
    let is_version = |part: &&str| part.strip_prefix('v').is_some_and(|rest| rest.parse::<f32>().is_ok());
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let parts = parts.iter().skip(usize::from(parts.first().is_some_and(is_version)));
    let (allowed, pattern) = rule.split_once(" /").unwrap();
    let pattern = pattern.split('/');
    method == allowed
        && pattern.clone().count() == parts.len()
        && pattern.zip(parts).all(|(rule, part)| rule == *part || rule.starts_with('{'))
}

async fn accept(listener: TcpListener, book: Arc<Book>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let book = book.clone();
                // Clients that have gone break connections in every way.
                connections.spawn(async move { drop(serve(stream, &book).await) });
            }
        }
    }
}

/// One request a connection: Docker is told to close it, and so tells the client.
async fn serve(stream: TcpStream, book: &Book) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let (request, headers) = head.split_once("\r\n").unwrap();
    if !book.allows(request) {
        return stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
    }
    let mut docker = UnixStream::connect(SOCKET).await?;
    docker.write_all(format!("{request}\r\nConnection: close\r\n{headers}").as_bytes()).await?;
    tokio::io::copy_bidirectional(&mut stream, &mut docker).await.map(drop)
}
