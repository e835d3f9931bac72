//! Whom we trust and who we are, from files: `loki.tls` in the config.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use serde::{Deserialize, Serialize};

use crate::files;

/// A system's whole bundle of authorities has some 200 KiB.
const BYTES_MAX: u64 = 16 << 20;

/// `loki.tls:` in the config; for a `loki.url` that begins with `https`. TLS 1.2 at least.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Certificates (PEM) of who may sign Loki's; without it those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate (PEM), for a Loki that asks for it.
    pub cert_file: Option<PathBuf>,
    /// Its private key (PEM).
    pub key_file: Option<PathBuf>,
}

/// What is wrong with the files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that can't be read, or holds something else.
    #[error("loki.tls.{key} {path}: {reason}")]
    File {
        /// Which key of the config.
        key: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// One without the other.
    #[error("loki.tls has a cert_file or a key_file without the other: write both or none")]
    Half,
    /// Nobody is trusted.
    #[error(
        "loki.tls has nobody to trust, since the system names no authority ({0}): write loki.tls.ca_file"
    )]
    NoRoots(String),
    /// The pieces don't fit together.
    #[error("loki.tls can't be used: {0}")]
    Unusable(#[from] rustls::Error),
}

impl Config {
    /// Reads the files.
    ///
    /// # Errors
    /// [`Error`]
    pub fn client(&self) -> Result<ClientConfig, Error> {
        let builder = builder()?.with_root_certificates(self.roots()?);
        match (&self.cert_file, &self.key_file) {
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(cert), Some(key)) => {
                let chain = certificates("cert_file", cert)?;
                let text = files::read_named(key, BYTES_MAX).map_err(wrong("key_file", key))?;
                let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(wrong("key_file", key))?;
                Ok(builder.with_client_auth_cert(chain, key)?)
            }
            (Some(_), None) | (None, Some(_)) => Err(Error::Half),
        }
    }

    fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        if let Some(path) = &self.ca_file {
            for certificate in certificates("ca_file", path)? {
                roots.add(certificate).map_err(wrong("ca_file", path))?;
            }
            return Ok(roots);
        }
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
            let none = || "it has no certificates".to_owned();
            return Err(Error::NoRoots(errors.into_iter().next().unwrap_or_else(none)));
        }
        Ok(roots)
    }
}

/// Trusts nobody: for plain HTTP.
///
/// # Errors
/// Not in practice.
pub fn nobody() -> Result<ClientConfig, Error> {
    Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?)
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = files::read_named(path, BYTES_MAX).map_err(wrong(key, path))?;
    let read = CertificateDer::pem_slice_iter(text.as_bytes());
    let certificates = read.collect::<Result<Vec<_>, _>>().map_err(wrong(key, path))?;
    if certificates.is_empty() {
        return Err(wrong(key, path)("there is no certificate in it (PEM: -----BEGIN CERTIFICATE-----)"));
    }
    Ok(certificates)
}

fn wrong<R: ToString>(key: &'static str, path: &Path) -> impl Fn(R) -> Error {
    let path = path.to_owned();
    move |reason| Error::File { key, path: path.clone(), reason: reason.to_string() }
}
