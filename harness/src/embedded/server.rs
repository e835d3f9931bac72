//! The engine's socket: HTTP on a Unix socket, one task a connection.

use std::convert::Infallible;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, SERVER};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use reqwest::Url;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::engine::Engine;
use super::life::Generators;
use super::routes::{self, Answer, Asked};
use super::shown::API_VERSION;

/// A container's description is far smaller.
const BODY_BYTES_MAX: usize = 4 << 20;

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// Its folder.
    #[error("can't use {} for the embedded engine: {source}; name another with --root", path.display())]
    Root {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its socket.
    #[error("can't listen on {}: {source}; a socket's path has at most 107 bytes and its folder must be there", path.display())]
    Listen {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody listens there.
    #[error("an engine listens on {} already; end it, or name another socket with --listen", .0.display())]
    Taken(PathBuf),
}

/// An engine that listens and runs nothing yet.
pub struct Embedded {
    listener: UnixListener,
    socket: PathBuf,
    engine: Arc<Engine>,
}

impl Embedded {
    /// Takes a socket and a folder for logs. `generators` says which commands are the generator's own, which may share
    /// this process.
    ///
    /// # Errors
    /// [`EmbeddedError`].
    pub fn listen(socket: &Path, root: &Path, generators: Generators) -> Result<Self, EmbeddedError> {
        let folder = |source| EmbeddedError::Root { path: root.to_owned(), source };
        fs::create_dir_all(root.join("containers")).map_err(folder)?;
        let root = fs::canonicalize(root).map_err(folder)?;
        let failed = |source| EmbeddedError::Listen { path: socket.to_owned(), source };
        // A socket that nobody listens on is what a killed engine has left.
        match std::os::unix::net::UnixStream::connect(socket) {
            Ok(_) => return Err(EmbeddedError::Taken(socket.to_owned())),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                fs::remove_file(socket).map_err(failed)?
            }
            Err(_) => {}
        }
        let listener = UnixListener::bind(socket).map_err(failed)?;
        take_descriptors();
        let engine = Arc::new(Engine::new(root, generators));
        Ok(Self { listener, socket: socket.to_owned(), engine })
    }

    /// Serves until `stop` is cancelled; then every container is killed. Their logs stay.
    pub async fn run(self, stop: &CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_ended) = connections.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => drop(connections.spawn(converse(stream, Arc::clone(&self.engine)))),
                    // Out of descriptors, most likely: whoever waits is taken later.
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
                },
            }
        }
        self.engine.end().await;
        connections.shutdown().await;
        // Whoever looks for it now finds that there is none.
        drop(fs::remove_file(&self.socket));
    }
}

/// A log each, and a counter file for each generator: as many as the machine lets us have.
fn take_descriptors() {
    let most = getrlimit(Resource::Nofile).maximum;
    // Where it can't be raised, a container that finds no descriptor says so.
    let _refused = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

async fn converse(stream: UnixStream, engine: Arc<Engine>) {
    let service = service_fn(move |request| answered(Arc::clone(&engine), request));
    // A client that breaks off is no fault of ours.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

async fn answered(engine: Arc<Engine>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let bad =
        |message: String| Answer::Json(StatusCode::BAD_REQUEST, serde_json::json!({ "message": message }));
    let answer = match (Url::parse(&format!("http://engine{target}")), read(body).await) {
        (Ok(url), Ok(body)) => {
            Box::pin(routes::answer(&engine, Asked { method: head.method, url, body })).await
        }
        (Err(error), _) => bad(error.to_string()),
        (_, Err(error)) => bad(error.to_string()),
    };
    Ok(response(answer))
}

/// The body, as far as it can be a description; the files of an image that is imported are read and not kept.
async fn read(mut body: Incoming) -> Result<Bytes, hyper::Error> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(piece) = frame?.into_data() {
            let room = BODY_BYTES_MAX.saturating_sub(bytes.len());
            bytes.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
        }
    }
    Ok(bytes.freeze())
}

fn response(answer: Answer) -> Response<Body> {
    let (status, kind, body): (_, _, Body) = match answer {
        Answer::Json(status, value) => {
            let text = format!("{value}\n");
            (status, Some("application/json"), Full::new(Bytes::from(text)).boxed_unsync())
        }
        Answer::Text(text) => {
            (StatusCode::OK, Some("text/plain; charset=utf-8"), Full::new(Bytes::from(text)).boxed_unsync())
        }
        Answer::Empty(status) => (status, None, Empty::new().boxed_unsync()),
        Answer::Stream(kind, stream) => {
            let frames = stream.map(|bytes| Ok(Frame::data(bytes)));
            (StatusCode::OK, Some(kind), StreamBody::new(frames).boxed_unsync())
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert("api-version", HeaderValue::from_static(API_VERSION));
    headers.insert("ostype", HeaderValue::from_static(std::env::consts::OS));
    headers.insert("docker-experimental", HeaderValue::from_static("false"));
    headers.insert(SERVER, HeaderValue::from_static("Flatline"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    if let Some(kind) = kind {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    response
}
