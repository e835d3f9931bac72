//! The one HTTP client: connections are kept and used again, so an answer's body is always read to its
//! end (up to a cap), or the connection could not be.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde::{Deserialize, Serialize};

use super::encode::Encoding;
use super::retry_after;

/// `loki:` in the config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where Loki is, without the path of a push.
    pub url: String,
    /// The tenant, for a Loki with `auth_enabled`.
    pub tenant: Option<String>,
    /// How a push is written.
    pub encoding: Encoding,
}

impl Default for Config {
    fn default() -> Self {
        Self { url: "http://127.0.0.1:3100".to_owned(), tenant: None, encoding: Encoding::Protobuf }
    }
}

/// Why there can be no client.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not a URL.
    #[error("loki.url {url:?} is no URL: {reason} (write http://host:3100)")]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Not plain HTTP.
    #[error(
        "loki.url has the scheme {0:?}; write http://host:3100 (for https put a proxy that speaks TLS beside the shipper)"
    )]
    Scheme(String),
    /// A password where `print-config` and logs would show it.
    #[error("loki.url holds a user or password; put a proxy that adds them beside the shipper")]
    Credentials,
    /// No header can carry it.
    #[error("loki.tenant {0:?} can't be sent in a header")]
    Tenant(String),
    /// The client itself.
    #[error("the HTTP client can't be built: {0}")]
    Client(#[from] reqwest::Error),
}

/// Loki's path for a push.
const PUSH_PATH: &str = "/loki/api/v1/push";
/// Loki lists each refused second of each stream, 200 bytes apiece; what is longer than this is cut.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Where it was cut: no error of Loki ends like this.
const CUT: &str = "…";
const TENANT_HEADER: &str = "X-Scope-OrgID";

impl Config {
    /// Where a push goes.
    ///
    /// # Errors
    /// When the URL is none, or not plain HTTP.
    pub fn push_url(&self) -> Result<Url, ConfigError> {
        let invalid = |reason: String| ConfigError::Url { url: self.url.clone(), reason };
        let base = self.url.trim_end_matches('/').trim_end_matches(PUSH_PATH);
        let url = Url::parse(&format!("{base}{PUSH_PATH}")).map_err(|error| invalid(error.to_string()))?;
        if url.scheme() != "http" {
            return Err(ConfigError::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ConfigError::Credentials);
        }
        Ok(url)
    }

    /// The URL for the log: without what a query or a fragment may hold.
    #[must_use]
    pub fn shown_url(&self) -> String {
        let Ok(mut url) = self.push_url() else { return String::new() };
        url.set_query(None);
        url.set_fragment(None);
        url.into()
    }

    fn tenant_header(&self) -> Result<Option<HeaderValue>, ConfigError> {
        let header =
            |tenant: &String| HeaderValue::from_str(tenant).map_err(|_| ConfigError::Tenant(tenant.clone()));
        self.tenant.as_ref().map(header).transpose()
    }
}

/// What Loki said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// How long to wait, if it says so.
    pub retry_after: Option<Duration>,
    /// The body, or its head and `…`.
    pub body: String,
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

/// Sends pushes. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    url: Url,
    tenant: Option<HeaderValue>,
    content_type: HeaderValue,
}

impl Client {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// When the config can't be used.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("shipper/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(30))
            .pool_idle_timeout(Duration::from_secs(30))
            .build()?;
        let content_type = HeaderValue::from_static(config.encoding.content_type());
        Ok(Self { http, url: config.push_url()?, tenant: config.tenant_header()?, content_type })
    }

    /// Sends one push and reads the answer.
    ///
    /// # Errors
    /// When there is none.
    pub async fn push(&self, body: Bytes) -> Result<Answer, PushError> {
        let mut request = self.http.post(self.url.clone()).header(CONTENT_TYPE, self.content_type.clone());
        if let Some(tenant) = &self.tenant {
            request = request.header(TENANT_HEADER, tenant.clone());
        }
        let mut response = request.body(body).send().await?;
        let retry_after = retry_after::pause(response.headers());
        let body = body_head(&mut response).await?;
        Ok(Answer { status: response.status().as_u16(), retry_after, body })
    }
}

impl From<reqwest::Error> for PushError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            Self::Timeout
        } else if !error.is_connect() && is_closed(&error) {
            Self::Closed(causes(&error))
        } else {
            Self::Connection(causes(&error))
        }
    }
}

fn is_closed(error: &reqwest::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    let first: &dyn std::error::Error = error;
    std::iter::successors(Some(first), |error| error.source()).any(|error| {
        let kind = error.downcast_ref().map(std::io::Error::kind);
        matches!(kind, Some(BrokenPipe | ConnectionAborted | ConnectionReset))
            || error.downcast_ref().is_some_and(hyper::Error::is_incomplete_message)
    })
}

/// The URL stands in the outermost message only, and we know it; the inner ones say what happened.
fn causes(error: &reqwest::Error) -> String {
    let first = std::error::Error::source(error);
    let chain = std::iter::successors(first, |error| error.source());
    let texts: Vec<String> = chain.map(ToString::to_string).collect();
    if texts.is_empty() { error.to_string() } else { texts.join(": ") }
}

async fn body_head(response: &mut reqwest::Response) -> Result<String, PushError> {
    let mut head = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        head.extend_from_slice(&chunk);
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
        insta::assert_snapshot!(url("https://loki").unwrap_err(), @r#"loki.url has the scheme "https"; write http://host:3100 (for https put a proxy that speaks TLS beside the shipper)"#);
        insta::assert_snapshot!(url("loki:3100").unwrap_err(), @r#"loki.url has the scheme "loki"; write http://host:3100 (for https put a proxy that speaks TLS beside the shipper)"#);
        insta::assert_snapshot!(url("loki").unwrap_err(), @r#"loki.url "loki" is no URL: relative URL without a base (write http://host:3100)"#);
        insta::assert_snapshot!(url("http://a:b@loki").unwrap_err(), @"loki.url holds a user or password; put a proxy that adds them beside the shipper");
    }

    #[test]
    fn the_log_shows_no_query() {
        let config = Config { url: "http://loki:3100?token=secret".to_owned(), ..Config::default() };
        assert!(!config.shown_url().contains("secret"), "{}", config.shown_url());
    }
}
