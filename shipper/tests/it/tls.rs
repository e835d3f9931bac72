//! The client on a real TLS connection: whom it trusts, who it says it is, and what it sends.

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::header::{AUTHORIZATION, CONTENT_ENCODING};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use shipper::loki::auth::Basic;
use shipper::loki::client::{Client, Config, ConfigError, PushError};
use shipper::loki::encode::Encoding;
use shipper::loki::tls;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `name` and its key, as PEM.
fn issue(authority: &Authority, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}

fn file(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// What one request had: its credentials, and its body as it was before compression.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    authorization: Option<String>,
    body: Vec<u8>,
}

/// A server that answers 204, but 401 to who does not say `Bearer good` if it is strict.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start(dir: &Path, trusted: &Authority, clients: Option<&Authority>) -> Self {
        let (certificate, key) = issue(trusted, "localhost");
        let tls = tls::Config {
            ca_file: Some(file(dir, "clients.pem", &clients.unwrap_or(trusted).pem())),
            cert_file: Some(file(dir, "server.pem", &certificate)),
            key_file: Some(file(dir, "server.key", &key)),
        };
        let acceptor = TlsAcceptor::from(Arc::new(server_config(&tls, clients.is_some())));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (kept, mut tasks) = (seen.clone(), JoinSet::new());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (acceptor, kept) = (acceptor.clone(), kept.clone());
                connections.spawn(async move {
                    let Ok(stream) = acceptor.accept(socket).await else { return };
                    let service = service_fn(|request| answer(request, kept.clone()));
                    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        Self { address, seen, _tasks: tasks }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }
}

fn server_config(tls: &tls::Config, ask_clients: bool) -> rustls::ServerConfig {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let read = |path: &Option<PathBuf>| CertificateDer::from_pem_file(path.as_ref().unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if ask_clients {
        let mut roots = RootCertStore::empty();
        roots.add(read(&tls.ca_file)).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        builder.with_client_cert_verifier(verifier.unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_file(tls.key_file.as_ref().unwrap()).unwrap();
    builder.with_single_cert(vec![read(&tls.cert_file)], key).unwrap()
}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<Seen>>>,
) -> Result<Response<Empty<Bytes>>, hyper::Error> {
    let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (authorization, encoding) = (header(AUTHORIZATION), header(CONTENT_ENCODING));
    let sent = request.into_body().collect().await?.to_bytes();
    let mut body = Vec::new();
    match encoding.as_deref() {
        Some("gzip") => drop(GzDecoder::new(sent.as_ref()).read_to_end(&mut body).unwrap()),
        _ => body.extend_from_slice(&sent),
    }
    let status = if authorization.as_deref() == Some("Bearer expired") { 401 } else { 204 };
    seen.lock().unwrap().push(Seen { authorization, body });
    Ok(Response::builder().status(status).body(Empty::new()).unwrap())
}

fn config(server: &Server, dir: &Path, trusted: &Authority) -> Config {
    let ca_file = Some(file(dir, "ca.pem", &trusted.pem()));
    let tls = tls::Config { ca_file, ..tls::Config::default() };
    Config { url: server.url(), encoding: Encoding::Json, tls, ..Config::default() }
}

#[tokio::test]
async fn a_loki_whom_our_authority_has_signed_is_trusted_and_another_is_not() {
    let (dir, ours, theirs) = (tempfile::tempdir().unwrap(), authority(), authority());
    let server = Server::start(dir.path(), &ours, None).await;
    let client = Client::new(&config(&server, dir.path(), &ours)).unwrap();
    assert_eq!(client.push(Bytes::from_static(b"{}")).await.unwrap().status, 204);

    let client = Client::new(&config(&server, dir.path(), &theirs)).unwrap();
    let error = client.push(Bytes::from_static(b"{}")).await.unwrap_err();
    assert!(matches!(&error, PushError::Connection(words) if words.contains("certificate")), "{error}");
    assert_eq!(server.seen.lock().unwrap().len(), 1, "nothing was said to who is not trusted");
}

#[tokio::test]
async fn a_loki_that_asks_who_we_are_is_shown_our_certificate() {
    let (dir, ours, clients) = (tempfile::tempdir().unwrap(), authority(), authority());
    let server = Server::start(dir.path(), &ours, Some(&clients)).await;
    let mut config = config(&server, dir.path(), &ours);
    assert!(Client::new(&config).unwrap().push(Bytes::from_static(b"{}")).await.is_err());

    let (certificate, key) = issue(&clients, "shipper");
    config.tls.cert_file = Some(file(dir.path(), "own.pem", &certificate));
    assert!(matches!(Client::new(&config), Err(ConfigError::Tls(tls::Error::Half))));
    config.tls.key_file = Some(file(dir.path(), "own.key", &key));
    let answer = Client::new(&config).unwrap().push(Bytes::from_static(b"{}")).await.unwrap();
    assert_eq!(answer.status, 204);
}

#[tokio::test]
async fn a_token_that_has_expired_is_read_again() {
    let (dir, ours) = (tempfile::tempdir().unwrap(), authority());
    let server = Server::start(dir.path(), &ours, None).await;
    let token = file(dir.path(), "token", "expired\n");
    let config = Config { bearer_token_file: Some(token), ..config(&server, dir.path(), &ours) };
    let client = Client::new(&config).unwrap();
    assert_eq!(client.push(Bytes::from_static(b"{}")).await.unwrap().status, 401);
    file(dir.path(), "token", "good\n");
    // The refusal came first: the next push has the old token still only if nobody had read the file again.
    assert_eq!(client.push(Bytes::from_static(b"{}")).await.unwrap().status, 401);
    assert_eq!(client.push(Bytes::from_static(b"{}")).await.unwrap().status, 204);
}

#[tokio::test]
async fn json_may_be_compressed_and_a_password_goes_along() {
    let (dir, ours) = (tempfile::tempdir().unwrap(), authority());
    let server = Server::start(dir.path(), &ours, None).await;
    let password_file = file(dir.path(), "password", "open sesame\n");
    let basic_auth = Some(Basic { username: "Aladdin".to_owned(), password_file });
    let config = Config { gzip: true, basic_auth, ..config(&server, dir.path(), &ours) };
    let body = br#"{"streams":[]}"#;
    assert_eq!(Client::new(&config).unwrap().push(Bytes::from_static(body)).await.unwrap().status, 204);
    let authorization = Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==".to_owned());
    assert_eq!(*server.seen.lock().unwrap(), [Seen { authorization, body: body.to_vec() }]);
}

#[test]
fn files_that_hold_no_certificate_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "ca.pem", "not a certificate");
    let tls = tls::Config { ca_file: Some(path.clone()), ..tls::Config::default() };
    let config = Config { url: "https://localhost".to_owned(), tls, ..Config::default() };
    let error = Client::new(&config).unwrap_err().to_string();
    assert!(error.contains("loki.tls.ca_file") && error.contains(&path.display().to_string()), "{error}");
}
