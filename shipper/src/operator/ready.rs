//! `shipper ready`: asks a shipper that runs whether all is well, as a health check that needs no other program.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Error;

/// For all of it. The answer is a look at a few numbers.
const PATIENCE: Duration = Duration::from_secs(3);
/// Our own page has a few lines.
const PAGE_BYTES_MAX: usize = 4096;

/// Prints what `/ready` of the shipper at `listen` says; whether that is "ready".
///
/// # Errors
/// When nobody answers there.
pub async fn ask(listen: SocketAddr, out: &mut impl Write) -> Result<bool, Error> {
    if listen.port() == 0 {
        return Err(Error::AnyPort);
    }
    let asked = timeout(PATIENCE, request(reachable(listen))).await;
    let failed = |reason| Error::NotReached { listen, reason };
    let answer = asked.map_err(|_| failed(format!("no answer within {PATIENCE:?}")))?;
    let (status, page) = answer.map_err(|error| failed(error.to_string()))?;
    out.write_all(&page)?;
    Ok(status == StatusCode::OK)
}

/// Who listens on all addresses is reached at this machine's own.
fn reachable(listen: SocketAddr) -> SocketAddr {
    if !listen.ip().is_unspecified() {
        return listen;
    }
    let own: IpAddr = if listen.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    SocketAddr::new(own, listen.port())
}

async fn request(
    address: SocketAddr,
) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
    let socket = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let request =
        Request::get("/ready").header(header::HOST, address.to_string()).body(Empty::<Bytes>::new())?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        Ok((status, Limited::new(answer.into_body(), PAGE_BYTES_MAX).collect().await?.to_bytes()))
    };
    // The answer needs the connection to be driven, and ends before it.
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        closed = connection => {
            closed?;
            answer.await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_means_all_is_asked_at_this_machine() {
        let asked = |listen: &str| reachable(listen.parse().unwrap()).to_string();
        assert_eq!(asked("0.0.0.0:9080"), "127.0.0.1:9080");
        assert_eq!(asked("[::]:9080"), "[::1]:9080");
        assert_eq!(asked("127.0.0.7:1"), "127.0.0.7:1");
    }
}
