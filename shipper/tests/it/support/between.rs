//! What may stand between a shipper and Docker: a proxy on a socket of its own that notes each request, and cuts,
//! mutes or refuses connections when told to.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// The proxy. While it is away its socket is there and nobody answers.
pub(crate) struct Between {
    socket: PathBuf,
    docker: PathBuf,
    shared: Arc<Shared>,
    server: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    /// Paths of all requests, without version and query.
    requests: Mutex<Vec<String>>,
    /// Whether answers to `/events` are swallowed.
    mute: AtomicBool,
}

impl Between {
    /// Listens at `socket`, for the Docker Engine at `docker`.
    pub(crate) fn start(socket: PathBuf, docker: &Path) -> Self {
        let shared = Arc::new(Shared::default());
        let mut between = Self { socket, docker: docker.to_owned(), shared, server: JoinSet::new() };
        between.back();
        between
    }

    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// How many requests there were whose path begins and ends like this.
    pub(crate) fn count(&self, begin: &str, end: &str) -> usize {
        let requests = self.shared.requests.lock().unwrap();
        requests.iter().filter(|path| path.starts_with(begin) && path.ends_with(end)).count()
    }

    /// How many there were in all.
    pub(crate) fn all(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Whether events get lost silently.
    pub(crate) fn mute(&self, mute: bool) {
        self.shared.mute.store(mute, Ordering::SeqCst);
    }

    /// Closes all connections, as proxies do with those that were silent for long. New ones are taken.
    pub(crate) async fn cut(&mut self) {
        self.away().await;
        self.back();
    }

    /// Closes all connections and takes no more.
    pub(crate) async fn away(&mut self) {
        self.server.shutdown().await;
    }

    /// Takes connections again.
    pub(crate) fn back(&mut self) {
        drop(std::fs::remove_file(&self.socket));
        let listener = UnixListener::bind(&self.socket).unwrap();
        let (docker, shared) = (self.docker.clone(), self.shared.clone());
        self.server.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Some(_) = connections.join_next() => {}
                    accepted = listener.accept() => {
                        let (client, _) = accepted.unwrap();
                        let (docker, shared) = (docker.clone(), shared.clone());
                        // Either side may go at any moment.
                        connections.spawn(async move { drop(pass(client, &docker, &shared).await) });
                    }
                }
            }
        });
    }
}

async fn pass(client: UnixStream, docker: &Path, shared: &Shared) -> io::Result<()> {
    let (from_client, to_client) = client.into_split();
    let (from_docker, to_docker) = UnixStream::connect(docker).await?.into_split();
    let events = AtomicBool::new(false);
    // Whoever closes, closes both.
    tokio::select! {
        ended = requests(from_client, to_docker, shared, &events) => ended,
        ended = answers(from_docker, to_client, shared, &events) => ended,
    }
}

/// The shipper only asks with GET, so a connection is a row of heads.
async fn requests(
    mut client: OwnedReadHalf,
    mut docker: OwnedWriteHalf,
    shared: &Shared,
    events: &AtomicBool,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    while client.read_buf(&mut buffer).await? > 0 {
        while let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head: Vec<u8> = buffer.drain(..end + 4).collect();
            let path = path(std::str::from_utf8(&head).unwrap());
            events.store(path == "/events", Ordering::SeqCst);
            shared.requests.lock().unwrap().push(path);
            docker.write_all(&head).await?;
        }
    }
    Ok(())
}

async fn answers(
    mut docker: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    shared: &Shared,
    events: &AtomicBool,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = docker.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        if !(events.load(Ordering::SeqCst) && shared.mute.load(Ordering::SeqCst)) {
            client.write_all(&buffer[..length]).await?;
        }
    }
}

/// `GET /v1.41/containers/json?all=1 HTTP/1.1` asks for `/containers/json`.
fn path(head: &str) -> String {
    let target = head.split(' ').nth(1).unwrap();
    let target = target.split('?').next().unwrap();
    match target.strip_prefix("/v1.") {
        Some(versioned) => versioned.split_once('/').map_or(String::new(), |(_, path)| format!("/{path}")),
        None => target.to_owned(),
    }
}
