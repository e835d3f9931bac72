//! Asks a running shipper whether it is ready, for supervisors that run a command instead of asking a page
//! (a container's health check: there is neither a shell nor `curl` in its image).

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::SERVER;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::printable;
use crate::admin;
use crate::docker::api::chain;

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It is.
    Ready,
    /// It is not, for these reasons, a line each.
    Unready(String),
}

/// Why nobody can say.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Each start takes another port.
    #[error("admin.listen has the port 0, a free one at each start: give it one to be asked at")]
    AnyPort,
    /// Nobody listens, or not to us.
    #[error("no shipper answers at {address} (admin.listen): {reason}")]
    NoAnswer {
        /// Where.
        address: SocketAddr,
        /// Why.
        reason: String,
    },
    /// Somebody else listens there.
    #[error(
        "what answers at {address} (admin.listen) is no shipper: it says {status} to /ready and does not name itself so"
    )]
    Stranger {
        /// Where.
        address: SocketAddr,
        /// Its answer.
        status: StatusCode,
    },
}

/// Whoever asks kills us after a time of his own, and then nobody says why.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The reasons take a few hundred bytes.
const PAGE_BYTES_MAX: usize = 4096;

/// Asks the shipper that listens at `admin.listen`.
///
/// # Errors
/// When no shipper answers, or not within a few seconds.
pub async fn ask(listen: SocketAddr) -> Result<Readiness, Error> {
    if listen.port() == 0 {
        return Err(Error::AnyPort);
    }
    let no_answer = |reason: String| Error::NoAnswer { address: listen, reason };
    let silent = |_elapsed| no_answer(format!("it says nothing for {} s", ANSWER_MAX.as_secs()));
    let asked = tokio::time::timeout(ANSWER_MAX, page(listen)).await.map_err(silent)?;
    match asked.map_err(|error| no_answer(chain(error.as_ref())))? {
        (StatusCode::OK, true, _) => Ok(Readiness::Ready),
        (StatusCode::SERVICE_UNAVAILABLE, true, reasons) => Ok(Readiness::Unready(reasons)),
        (status, _, _) => Err(Error::Stranger { address: listen, status }),
    }
}

/// Status of `/ready`, whether it is a shipper's, and its text. An unspecified address (0.0.0.0, ::) reaches this machine, as on any Linux.
async fn page(
    listen: SocketAddr,
) -> Result<(StatusCode, bool, String), Box<dyn std::error::Error + Send + Sync>> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let answer = client.get(format!("http://{listen}/ready").parse()?).await?;
    let status = answer.status();
    let is_ours = answer.headers().get(SERVER).is_some_and(|server| server == admin::SERVER);
    let body = Limited::new(answer.into_body(), PAGE_BYTES_MAX).collect().await?.to_bytes();
    let lines: Vec<String> = String::from_utf8_lossy(&body).lines().map(printable).collect();
    Ok((status, is_ours, lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;
    use wiremock::matchers::path;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    async fn asked(answer: ResponseTemplate) -> Result<Readiness, Error> {
        let server = MockServer::start().await;
        Mock::given(path("/ready")).respond_with(answer).mount(&server).await;
        ask(*server.address()).await
    }

    #[tokio::test]
    async fn each_answer_has_its_meaning() {
        let ours = |status| ResponseTemplate::new(status).insert_header(SERVER, admin::SERVER);
        assert_eq!(asked(ours(200)).await.unwrap(), Readiness::Ready);
        for status in [200, 503] {
            let loki = asked(ResponseTemplate::new(status).set_body_string("ready")).await;
            assert!(matches!(loki, Err(Error::Stranger { .. })), "{loki:?}");
        }
        let unready = ours(503).set_body_string("one \u{1b}[31m\ntwo\n");
        let told = asked(unready).await.unwrap();
        assert_eq!(told, Readiness::Unready("one \\u{1b}[31m\ntwo".to_owned()));
        let stranger = asked(ResponseTemplate::new(404)).await.unwrap_err().to_string();
        assert!(stranger.contains("is no shipper: it says 404"), "{stranger}");
        let endless = asked(ours(503).set_body_string("x".repeat(5000))).await;
        assert!(matches!(endless, Err(Error::NoAnswer { .. })), "{endless:?}");
    }

    #[tokio::test]
    async fn who_does_not_listen_or_is_nowhere_is_named() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let told = ask(free).await.unwrap_err().to_string();
        assert!(told.contains(&free.to_string()) && told.contains("refused"), "{told}");
        let told = ask(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap_err().to_string();
        assert!(told.contains("port 0"), "{told}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_listens_and_says_nothing_is_not_waited_for() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let told = ask(silent.local_addr().unwrap()).await.unwrap_err().to_string();
        assert!(told.contains("it says nothing for 5 s"), "{told}");
    }
}
