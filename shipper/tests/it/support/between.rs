//! What may stand between a shipper and Docker: a proxy on a socket of its own that notes each request, and cuts,
//! mutes, refuses or delays when told to.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) const LIST: &str = "GET /containers/json";

/// The proxy. While it is away nobody answers where it listens.
pub(crate) struct Between {
    place: Place,
    docker: PathBuf,
    shared: Arc<Shared>,
    server: JoinSet<()>,
}

/// Where it listens.
#[derive(Clone)]
enum Place {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// Either kind of connection.
trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

impl Listener {
    async fn accept(&self) -> Box<dyn Socket> {
        match self {
            Self::Unix(listener) => Box::new(listener.accept().await.unwrap().0),
            Self::Tcp(listener) => Box::new(listener.accept().await.unwrap().0),
        }
    }
}

#[derive(Default)]
struct Shared {
    /// All requests, like `GET /events`: without version and query.
    requests: Mutex<Vec<String>>,
    /// Whether answers to `/events` are swallowed.
    mute: AtomicBool,
    /// Whether Docker refuses inspections.
    refuse: AtomicBool,
    /// Whether logs that are not followed wait on their way.
    hold: watch::Sender<bool>,
}

/// What a connection was asked last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Events,
    /// A log as it stands, not to be followed.
    Log,
    Other,
}

impl Between {
    /// Listens at a socket with this path, for the Docker Engine at `docker`.
    pub(crate) async fn unix(socket: PathBuf, docker: &Path) -> Self {
        Self::at(Place::Unix(socket), docker).await
    }

    /// Listens at a port of this machine.
    pub(crate) async fn tcp(docker: &Path) -> Self {
        Self::at(Place::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))), docker).await
    }

    async fn at(place: Place, docker: &Path) -> Self {
        let shared = Arc::new(Shared::default());
        let mut between = Self { place, docker: docker.to_owned(), shared, server: JoinSet::new() };
        between.back().await;
        between
    }

    pub(crate) fn host(&self) -> String {
        match &self.place {
            Place::Unix(path) => format!("unix://{}", path.display()),
            Place::Tcp(address) => format!("tcp://{address}"),
        }
    }

    /// How many requests there were whose path begins and ends like this.
    pub(crate) fn count(&self, begin: &str, end: &str) -> usize {
        let begin = format!("GET {begin}");
        self.all().iter().filter(|request| request.starts_with(&begin) && request.ends_with(end)).count()
    }

    /// All there were.
    pub(crate) fn all(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Whether events get lost silently.
    pub(crate) fn mute(&self, mute: bool) {
        self.shared.mute.store(mute, Ordering::SeqCst);
    }

    /// Whether Docker refuses to tell about a container.
    pub(crate) fn refuse_inspections(&self, refuse: bool) {
        self.shared.refuse.store(refuse, Ordering::SeqCst);
    }

    /// Whether a log that is not followed waits, as Docker gave it, before it comes.
    pub(crate) fn hold_logs(&self, hold: bool) {
        self.shared.hold.send_replace(hold);
    }

    /// Closes all connections, as proxies do with those that were silent for long. New ones are taken.
    pub(crate) async fn cut(&mut self) {
        self.away().await;
        self.back().await;
    }

    /// Closes all connections and takes no more.
    pub(crate) async fn away(&mut self) {
        self.server.shutdown().await;
    }

    /// Takes connections again.
    pub(crate) async fn back(&mut self) {
        let listener = match &mut self.place {
            Place::Unix(path) => {
                drop(std::fs::remove_file(&*path));
                Listener::Unix(UnixListener::bind(path).unwrap())
            }
            Place::Tcp(address) => {
                let listener = TcpListener::bind(*address).await.unwrap();
                *address = listener.local_addr().unwrap();
                Listener::Tcp(listener)
            }
        };
        let (docker, shared) = (self.docker.clone(), self.shared.clone());
        self.server.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Some(_) = connections.join_next() => {}
                    client = listener.accept() => {
                        let (docker, shared) = (docker.clone(), shared.clone());
                        // Either side may go at any moment.
                        connections.spawn(async move { drop(pass(client, &docker, &shared).await) });
                    }
                }
            }
        });
    }
}

async fn pass(client: Box<dyn Socket>, docker: &Path, shared: &Shared) -> io::Result<()> {
    let (from_client, to_client) = tokio::io::split(client);
    let (from_docker, to_docker) = tokio::io::split(UnixStream::connect(docker).await?);
    let asked = Mutex::new(Asked::Other);
    // Whoever closes, closes both.
    tokio::select! {
        ended = requests(from_client, to_docker, shared, &asked) => ended,
        ended = answers(from_docker, to_client, shared, &asked) => ended,
    }
}

/// The shipper only asks with GET, so a connection is a row of heads.
async fn requests(
    mut client: ReadHalf<Box<dyn Socket>>,
    mut docker: WriteHalf<UnixStream>,
    shared: &Shared,
    asked: &Mutex<Asked>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    while client.read_buf(&mut buffer).await? > 0 {
        while let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let mut head = String::from_utf8(buffer.drain(..end + 4).collect()).unwrap();
            let request = request(&head);
            *asked.lock().unwrap() = match request.as_str() {
                "GET /events" => Asked::Events,
                log if log.ends_with("/logs") && !head.contains("follow=1") => Asked::Log,
                _ => Asked::Other,
            };
            let inspects = request != LIST && request.ends_with("/json");
            shared.requests.lock().unwrap().push(request);
            if inspects && shared.refuse.load(Ordering::SeqCst) {
                // A version that Docker does not know: 400.
                head = head.replacen("/v1.", "/v9.", 1);
            }
            docker.write_all(head.as_bytes()).await?;
        }
    }
    Ok(())
}

async fn answers(
    mut docker: ReadHalf<UnixStream>,
    mut client: WriteHalf<Box<dyn Socket>>,
    shared: &Shared,
    asked: &Mutex<Asked>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = docker.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        let asked = *asked.lock().unwrap();
        if asked == Asked::Log {
            shared.hold.subscribe().wait_for(|hold| !hold).await.unwrap();
        }
        if !(asked == Asked::Events && shared.mute.load(Ordering::SeqCst)) {
            client.write_all(&buffer[..length]).await?;
        }
    }
}

/// `GET /v1.41/containers/json?all=1 HTTP/1.1` is `GET /containers/json`.
fn request(head: &str) -> String {
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let path = target.split('?').next().unwrap();
    match path.strip_prefix("/v1.").and_then(|versioned| versioned.split_once('/')) {
        Some((_, path)) => format!("{method} /{path}"),
        None => format!("{method} {path}"),
    }
}
