//! One connection to the Docker Engine, as each monitor has one for itself.
//!
//! hyper's connection is driven by whoever waits for an answer, not by a task of its own: so a
//! connection that is kept costs a descriptor and nothing else, and what leaks can be told apart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use shipper::docker::api::Host;
use shipper::metrics::Metrics;
use shipper::metrics::labels::Endpoint;
use shipper::record::{Container, ContainerId};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::either::Either;

/// Docker inspects from memory; a second is long already.
const TIMEOUT: Duration = Duration::from_secs(10);
/// An inspection of a container with thousands of mounts.
const BODY_BYTES_MAX: usize = 4 << 20;

/// Why Docker did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("Docker can't be reached: {0}")]
    Connect(#[from] std::io::Error),
    #[error("the connection to Docker broke: {0}")]
    Broken(#[from] hyper::Error),
    #[error("Docker's answer could not be read: {0}")]
    Body(String),
    #[error("Docker did not answer within {TIMEOUT:?}")]
    Timeout,
    #[error("Docker answered {0}")]
    Answer(StatusCode),
}

type Io = TokioIo<Either<UnixStream, TcpStream>>;

/// Where to connect to, and where requests are counted.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    pub(crate) host: Host,
    pub(crate) metrics: Arc<Metrics>,
}

/// An open connection. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: http1::SendRequest<Empty<Bytes>>,
    driver: http1::Connection<Io, Empty<Bytes>>,
}

impl Engine {
    /// Asks about a container over `connection`, which is opened if there is none, and closed if it broke.
    pub(crate) async fn inspect(
        &self,
        connection: &mut Option<Connection>,
        id: &ContainerId,
    ) -> Result<Container, Error> {
        self.metrics.docker_requests.get_or_create(&Endpoint::Inspect).inc();
        let answer = tokio::time::timeout(TIMEOUT, self.ask(connection, id)).await;
        let answer = answer.unwrap_or(Err(Error::Timeout));
        if answer.as_ref().is_err_and(|error| !matches!(error, Error::Answer(_))) {
            *connection = None;
        }
        let body = answer?;
        let inspected = serde_json::from_slice(&body).map_err(|error| Error::Body(error.to_string()))?;
        Ok(container(id, inspected))
    }

    async fn ask(&self, kept: &mut Option<Connection>, id: &ContainerId) -> Result<Bytes, Error> {
        // Taken out, so that a request that is cut short does not leave half an answer in it.
        let mut connection = match kept.take().filter(|kept| !kept.sender.is_closed()) {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        let answer = connection.get(&format!("/containers/{}/json", id.as_str())).await;
        if matches!(answer, Ok(_) | Err(Error::Answer(_))) {
            *kept = Some(connection);
        }
        answer
    }

    async fn connect(&self) -> Result<Connection, Error> {
        let stream = match &self.host {
            Host::Unix(path) => Either::Left(UnixStream::connect(path).await?),
            Host::Tcp(address) => Either::Right(TcpStream::connect(address.as_str()).await?),
        };
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Connection { sender, driver })
    }
}

impl Connection {
    async fn get(&mut self, path: &str) -> Result<Bytes, Error> {
        let answer = answer(&mut self.sender, path);
        tokio::pin!(answer);
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            // Closed by Docker; if it had sent its answer before, that is still to be read.
            ended = &mut self.driver => {
                ended?;
                answer.await
            }
        }
    }
}

async fn answer(sender: &mut http1::SendRequest<Empty<Bytes>>, path: &str) -> Result<Bytes, Error> {
    sender.ready().await?;
    let request = Request::get(path).header(header::HOST, "docker").body(Empty::new());
    let request = request.map_err(|error| Error::Body(error.to_string()))?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|error| Error::Body(error.to_string()))?.to_bytes();
    if status.is_success() { Ok(body) } else { Err(Error::Answer(status)) }
}

/// The few fields that labels are made of; the rest, secrets among it, is not read.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    name: String,
    config: InspectedConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedConfig {
    #[serde(default)]
    image: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

fn container(id: &ContainerId, inspected: Inspected) -> Container {
    Container {
        name: inspected.name.trim_start_matches('/').to_owned(),
        image: inspected.config.image,
        labels: inspected.config.labels.unwrap_or_default(),
        ..nameless(id)
    }
}

/// What is known of a container that Docker tells nothing about: it goes by its id.
pub(crate) fn nameless(id: &ContainerId) -> Container {
    Container {
        id: id.clone(),
        name: id.short().to_owned(),
        image: String::new(),
        labels: BTreeMap::new(),
        log_driver: "json-file".to_owned(),
        log_path: None,
        log_max_bytes: None,
        tty: false,
    }
}
