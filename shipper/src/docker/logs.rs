//! One request of our own: a container's log as a stream.
//!
//! Not through bollard, whose `since` counts whole seconds in 32 bits and whose requests end after two
//! minutes without headers: older daemons send the headers of a log stream only with its first line, so a
//! quiet container would be cut off again and again. Here nothing has a time limit; who waits decides.
//!
//! The connection is driven by the task that reads from it. No task of its own: when the reader goes, the
//! socket is closed with it.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};

use crate::docker::api::{Api, ApiError, Host, seconds_and_nanos, socket_error};
use crate::metrics::labels::Endpoint;
use crate::record::ContainerId;

const REQUEST: &str = "GET /containers/{id}/logs";
/// How much of an error's text is read.
const MESSAGE_BYTES_MAX: usize = 1024;

/// Whether a stream goes on with what is written later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// It ends with the last line that is there.
    Now,
    /// It ends when the container does.
    Stopped,
}

impl Until {
    /// In HTTP/1.1 each line is a chunk of its own, and reading those costs more than all that is done with the lines;
    /// in HTTP/1.0 the body is bare, and ends with the connection. So whether it came whole is known in 1.1 alone, and
    /// only whoever asks for no end may do without.
    fn version(self) -> http::Version {
        match self {
            Self::Now => http::Version::HTTP_11,
            Self::Stopped => http::Version::HTTP_10,
        }
    }
}

type Connection = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// The body of a log request.
pub struct LogStream {
    body: Incoming,
    /// `None` once it has ended; what it had received may still stand in `body`.
    connection: Option<Connection>,
}

impl std::fmt::Debug for LogStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogStream")
    }
}

impl Api {
    /// Asks for the log of `id` from `since_ns` on (inclusive, by Docker's times), both outputs, with
    /// times. Comes back with the headers, which may be as late as the first line.
    ///
    /// # Errors
    /// [`ApiError`]; [`ApiError::NoSuchContainer`] when it is gone.
    pub async fn logs(&self, id: &ContainerId, since_ns: i64, until: Until) -> Result<LogStream, ApiError> {
        self.count(Endpoint::Logs);
        match self.host() {
            Host::Unix(path) => {
                let socket = UnixStream::connect(path).await.map_err(|error| socket_error(path, &error))?;
                self.request(socket, id, since_ns, until).await
            }
            Host::Tcp(address) => {
                let socket = TcpStream::connect(address).await.map_err(|error| broken(&error))?;
                self.request(socket, id, since_ns, until).await
            }
        }
    }

    async fn request<S>(
        &self,
        socket: S,
        id: &ContainerId,
        since_ns: i64,
        until: Until,
    ) -> Result<LogStream, ApiError>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(socket)).await.map_err(|error| broken(&error))?;
        let mut connection: Connection = Box::pin(connection);
        let follow = if until == Until::Stopped { "&follow=1" } else { "" };
        let since = seconds_and_nanos(since_ns);
        let path = format!(
            "/v{}/containers/{}/logs?stdout=1&stderr=1&timestamps=1&since={since}{follow}",
            self.version(),
            id.as_str()
        );
        let request = http::Request::get(path)
            .version(until.version())
            .header(http::header::HOST, "docker")
            .body(Empty::<Bytes>::new());
        let request = request.map_err(|error| broken(&error))?;
        let answer = Box::pin(sender.send_request(request));
        let (answer, connection) = match select(answer, &mut connection).await {
            Either::Left((answer, _)) => (answer, Some(connection)),
            // Docker closed right behind a short answer; the answer was handed over before.
            Either::Right((_ended, answer)) => (answer.await, None),
        };
        let answer = answer.map_err(|error| broken(&error))?;
        let status = answer.status();
        let mut stream = LogStream { body: answer.into_body(), connection };
        if status.is_success() { Ok(stream) } else { Err(refusal(id, status, &mut stream).await) }
    }
}

impl LogStream {
    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            let frame = match self.connection.as_mut() {
                None => self.body.frame().await,
                // First the connection, which reads: so what has arrived is there when it is asked for.
                Some(connection) => match select(connection, self.body.frame()).await {
                    Either::Right((frame, _)) => frame,
                    Either::Left(_) => {
                        // If it broke, the body says so as well.
                        self.connection = None;
                        continue;
                    }
                },
            };
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(broken(&error)),
                Some(Ok(frame)) => {
                    if let Ok(piece) = frame.into_data() {
                        return Ok(Some(piece));
                    }
                }
            }
        }
    }
}

async fn refusal(id: &ContainerId, status: http::StatusCode, stream: &mut LogStream) -> ApiError {
    #[derive(serde::Deserialize)]
    struct Message {
        message: String,
    }
    if status == http::StatusCode::NOT_FOUND {
        return ApiError::NoSuchContainer(id.clone());
    }
    let mut text = Vec::new();
    while let Ok(Some(piece)) = stream.next().await {
        text.extend_from_slice(&piece);
        if text.len() > MESSAGE_BYTES_MAX {
            text.truncate(MESSAGE_BYTES_MAX);
            break;
        }
    }
    let message = match serde_json::from_slice::<Message>(&text) {
        Ok(body) => body.message,
        Err(_) => String::from_utf8_lossy(&text).into_owned(),
    };
    ApiError::Answer { request: REQUEST, status: status.as_u16(), message }
}

fn broken(error: &dyn std::error::Error) -> ApiError {
    ApiError::Broken { request: REQUEST, reason: super::api::chain(error) }
}
