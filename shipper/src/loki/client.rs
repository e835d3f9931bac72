//! The one HTTP client: connections are kept and used again, so an answer's body is always read to its
//! end (up to a cap), or the connection could not be.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::{Deserialize, Serialize};
use url::Url;

use super::auth::{self, Auth, Basic};
use super::encode::Encoding;
use super::{date, retry_after, tls};
use crate::tenants::{self, PerLane, Tenants};

/// `loki:` in the config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where Loki is, without the path of a push: `http://` or `https://`.
    pub url: String,
    /// The tenant, for a Loki with `auth_enabled`.
    pub tenant: Option<String>,
    /// Tenants that containers may choose by a label of theirs.
    pub tenants: Option<tenants::Config>,
    /// How a push is written.
    pub encoding: Encoding,
    /// Whether JSON is compressed (protobuf always is, with snappy).
    pub gzip: bool,
    /// A user and the file with the password.
    pub basic_auth: Option<Basic>,
    /// The file with a token.
    pub bearer_token_file: Option<PathBuf>,
    /// For `https`.
    pub tls: tls::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:3100".to_owned(),
            tenant: None,
            tenants: None,
            encoding: Encoding::Protobuf,
            gzip: false,
            basic_auth: None,
            bearer_token_file: None,
            tls: tls::Config::default(),
        }
    }
}

/// Why there can be no client.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not a URL.
    #[error("loki.url is no URL: {0} (write http://host:3100)")]
    Url(String),
    /// What the path of a push can't be added to, and what may be a secret.
    #[error(
        "loki.url has a query or a fragment: write where Loki is and nothing behind it (http://host:3100)"
    )]
    Query,
    /// Not HTTP.
    #[error("loki.url has the scheme {0:?}; write http://host:3100 or https://host")]
    Scheme(String),
    /// A password where `print-config` and logs would show it.
    #[error("loki.url holds a user or password; put them into loki.basic_auth: {{username, password_file}}")]
    Credentials,
    /// Loki takes no such name.
    #[error(
        "loki.tenant or loki.tenants.allow has {0:?}, which is no name for Loki: write 1 to 150 of a-z A-Z 0-9 ! - _ . * ' ( ) :"
    )]
    Tenant(String),
    /// Compressed twice.
    #[error("loki.gzip goes with `encoding: json`: protobuf is compressed already")]
    Gzip,
    /// Trust.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// Credentials.
    #[error(transparent)]
    Auth(#[from] auth::Error),
}

/// Loki's path for a push.
const PUSH_PATH: &str = "/loki/api/v1/push";
/// Loki lists each refused second of each stream, 200 bytes apiece; what is longer than this is cut.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Where it was cut: no error of Loki ends like this.
const CUT: &str = "…";
const TENANT_BYTES_MAX: usize = 150;
const TENANT_HEADER: &str = "X-Scope-OrgID";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For a push and its whole answer.
const PUSH_TIMEOUT: Duration = Duration::from_secs(30);
/// Shorter than the time after which balancers close (60 s and more).
const IDLE_MAX: Duration = Duration::from_secs(30);

impl Config {
    /// Where a push goes.
    ///
    /// # Errors
    /// When the URL is none, or not HTTP.
    pub fn push_url(&self) -> Result<Url, ConfigError> {
        // The URL itself is not repeated: it may hold a password.
        let mut url = Url::parse(&self.url).map_err(|error| ConfigError::Url(error.to_string()))?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err(ConfigError::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ConfigError::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(ConfigError::Query);
        }
        let base = url.path().trim_end_matches('/').trim_end_matches(PUSH_PATH).to_owned();
        url.set_path(&format!("{base}{PUSH_PATH}"));
        Ok(url)
    }

    /// The URL for the log; it holds no secret, or it would have been refused.
    #[must_use]
    pub fn shown_url(&self) -> String {
        self.push_url().map(Into::into).unwrap_or_default()
    }

    /// Whether who listens on the wire can read a password or a token.
    #[must_use]
    pub fn shows_secrets(&self) -> bool {
        let secret = self.basic_auth.is_some() || self.bearer_token_file.is_some();
        secret && self.push_url().is_ok_and(|url| url.scheme() == "http")
    }

    /// All tenants that lines may go to.
    #[must_use]
    pub fn tenants(&self) -> Tenants {
        Tenants::new(self.tenant.clone(), self.tenants.clone())
    }

    /// A client for each of them; they share their connections.
    ///
    /// # Errors
    /// When the config can't be used.
    pub fn clients(&self) -> Result<PerLane<Client>, ConfigError> {
        let client = Client::new(self)?;
        let of = |tenant: Option<&str>| match tenant {
            Some(tenant) => client.clone().for_tenant(tenant),
            None => Ok(client.clone()),
        };
        self.tenants().lanes(|_, tenant| of(tenant)).transpose()
    }

    fn tenant_header(&self) -> Result<Option<HeaderValue>, ConfigError> {
        self.tenant.as_deref().map(tenant_header).transpose()
    }
}

/// As dskit checks it for Loki (`tenant.ValidTenantID`); a slash would send it to a folder elsewhere.
fn tenant_header(tenant: &str) -> Result<HeaderValue, ConfigError> {
    let wrong = || ConfigError::Tenant(tenant.to_owned());
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"!-_.*'():".contains(&byte);
    let is_one = (1..=TENANT_BYTES_MAX).contains(&tenant.len()) && tenant.bytes().all(known);
    if !is_one || [".", ".."].contains(&tenant) {
        return Err(wrong());
    }
    HeaderValue::from_str(tenant).map_err(|_| wrong())
}

/// What Loki said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// How long to wait, if it says so.
    pub retry_after: Option<Duration>,
    /// When it was given, by the clock of who gave it, in whole seconds.
    pub date: Option<jiff::Timestamp>,
    /// The body, or its head and `…`.
    pub body: String,
}

impl Answer {
    /// The first words of the body, for the log.
    #[must_use]
    pub fn head(&self) -> &str {
        let line = self.body.lines().next().unwrap_or_default();
        line.get(..line.floor_char_boundary(300)).unwrap_or(line)
    }
}

/// No answer: whether the push was stored is not known.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The request's time was up.
    #[error("Loki did not answer in time")]
    Timeout,
    /// No connection, or it broke.
    #[error("no answer from Loki: {0}")]
    Connection(String),
    /// The connection was closed instead of an answer. So it looks when an idle one is used in the moment in
    /// which Loki, or a balancer before it, closes it.
    #[error("Loki closed the connection: {0}")]
    Closed(String),
}

type Http = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Sends pushes. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: Http,
    uri: Uri,
    tenant: Option<HeaderValue>,
    content_type: HeaderValue,
    gzip: bool,
    auth: Option<Arc<Auth>>,
}

impl Client {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// When the config can't be used.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        if config.gzip && config.encoding != Encoding::Json {
            return Err(ConfigError::Gzip);
        }
        let url = config.push_url()?;
        let invalid = |error: http::uri::InvalidUri| ConfigError::Url(error.to_string());
        let basic = config.basic_auth.as_ref();
        Ok(Self {
            http: http(&url, config)?,
            uri: url.as_str().parse().map_err(invalid)?,
            tenant: config.tenant_header()?,
            content_type: HeaderValue::from_static(config.encoding.content_type()),
            gzip: config.gzip,
            auth: Auth::new(basic, config.bearer_token_file.as_deref())?.map(Arc::new),
        })
    }

    /// The same, for the lines of another tenant.
    ///
    /// # Errors
    /// When no header can carry its name.
    pub fn for_tenant(mut self, tenant: &str) -> Result<Self, ConfigError> {
        self.tenant = Some(tenant_header(tenant)?);
        Ok(self)
    }

    /// Sends one push and reads the answer.
    ///
    /// # Errors
    /// When there is none.
    pub async fn push(&self, body: Bytes) -> Result<Answer, PushError> {
        let answer = tokio::time::timeout(PUSH_TIMEOUT, self.exchange(body)).await;
        let answer = answer.map_err(|_elapsed| PushError::Timeout)??;
        if let Some(auth) = &self.auth
            && [StatusCode::UNAUTHORIZED.as_u16(), StatusCode::FORBIDDEN.as_u16()].contains(&answer.status)
        {
            auth.renew();
        }
        Ok(answer)
    }

    async fn exchange(&self, body: Bytes) -> Result<Answer, PushError> {
        let response = self.http.request(self.request(body)?).await?;
        let retry_after = retry_after::pause(response.headers());
        let date = date::of(response.headers());
        let status = response.status().as_u16();
        Ok(Answer { status, retry_after, date, body: body_head(response.into_body()).await? })
    }

    fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>, PushError> {
        let broken = |error: &dyn std::error::Error| PushError::Connection(error.to_string());
        let body = if self.gzip { compressed(&body).map_err(|error| broken(&error))? } else { body };
        let mut request = Request::post(self.uri.clone())
            .header(USER_AGENT, concat!("shipper/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, self.content_type.clone());
        if self.gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        if let Some(tenant) = &self.tenant {
            request = request.header(TENANT_HEADER, tenant.clone());
        }
        if let Some(auth) = &self.auth {
            request = request.header(AUTHORIZATION, auth.header());
        }
        request.body(Full::new(body)).map_err(|error| broken(&error))
    }
}

/// Nothing is sent twice by the client itself: who sends again must know that it does.
fn http(url: &Url, config: &Config) -> Result<Http, ConfigError> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_keepalive(Some(IDLE_MAX));
    connector.set_nodelay(true);
    let trust = if url.scheme() == "https" { config.tls.client()? } else { tls::nobody()? };
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(trust)
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    Ok(legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_MAX)
        .retry_canceled_requests(false)
        .build(connector))
}

fn compressed(body: &[u8]) -> std::io::Result<Bytes> {
    let mut gzip = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    gzip.write_all(body)?;
    Ok(gzip.finish()?.into())
}

impl From<legacy::Error> for PushError {
    fn from(error: legacy::Error) -> Self {
        if !error.is_connect() && is_closed(&error) {
            Self::Closed(causes(&error))
        } else {
            Self::Connection(causes(&error))
        }
    }
}

impl From<hyper::Error> for PushError {
    fn from(error: hyper::Error) -> Self {
        Self::Connection(causes(&error))
    }
}

fn is_closed(error: &legacy::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    let first: &dyn std::error::Error = error;
    std::iter::successors(Some(first), |error| error.source()).any(|error| {
        let kind = error.downcast_ref().map(std::io::Error::kind);
        let own = error.downcast_ref::<hyper::Error>();
        matches!(kind, Some(BrokenPipe | ConnectionAborted | ConnectionReset))
            || own.is_some_and(|error| error.is_incomplete_message() || error.is_canceled())
    })
}

/// What happened stands in the inner messages.
fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

async fn body_head(mut body: Incoming) -> Result<String, PushError> {
    let mut head = Vec::new();
    while let Some(frame) = body.frame().await {
        head.extend_from_slice(&frame?.into_data().unwrap_or_default());
        if head.len() > BODY_BYTES_MAX {
            return Ok(String::from_utf8_lossy(&head).into_owned() + CUT);
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(url: &str) -> Result<String, String> {
        let config = Config { url: url.to_owned(), ..Config::default() };
        config.push_url().map(|url| url.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_path_of_a_push_is_added_once() {
        for given in ["http://loki:3100", "http://loki:3100/", "http://loki:3100/loki/api/v1/push"] {
            assert_eq!(url(given).unwrap(), "http://loki:3100/loki/api/v1/push");
        }
    }

    #[test]
    fn what_can_not_be_spoken_is_refused_with_advice() {
        insta::assert_snapshot!(url("loki:3100").unwrap_err(), @r#"loki.url has the scheme "loki"; write http://host:3100 or https://host"#);
        insta::assert_snapshot!(url("loki").unwrap_err(), @"loki.url is no URL: relative URL without a base (write http://host:3100)");
        insta::assert_snapshot!(url("http://a:b@loki").unwrap_err(), @"loki.url holds a user or password; put them into loki.basic_auth: {username, password_file}");
    }

    #[test]
    fn what_a_path_can_not_be_added_to_is_refused_and_nothing_of_it_shown() {
        for given in
            ["http://loki:3100?token=secret", "http://loki/#secret", "http://a:secret@loki:99999", "http://"]
        {
            let error = url(given).unwrap_err();
            assert!(error.starts_with("loki.url") && !error.contains("secret"), "{given}: {error}");
        }
    }
}
