//! What proves to Loki who we are, from files: `loki.basic_auth` and `loki.bearer_token_file` in the config.
//!
//! The files are read again after Loki has refused us, since tokens are renewed; so an expired one costs no
//! restart. What they hold is in no log, no metric and no debug output.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use serde::{Deserialize, Serialize};

use crate::files;

/// `loki.basic_auth:` in the config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    /// The user.
    pub username: String,
    /// The file that holds the password.
    pub password_file: PathBuf,
}

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that can't be read.
    #[error("loki.{key} {path}: {reason}")]
    File {
        /// Which key of the config.
        key: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong with it. Never what it holds.
        reason: String,
    },
    /// Two ways at once.
    #[error("loki has basic_auth and bearer_token_file: Loki takes one; remove the other")]
    Both,
}

/// Where the header comes from.
#[derive(Clone, Debug)]
enum From {
    Basic(Basic),
    Bearer(PathBuf),
}

/// The `Authorization` header, kept from one push to the next.
#[derive(Debug)]
pub struct Auth {
    from: From,
    header: Mutex<HeaderValue>,
}

/// A file of secrets is short; what is longer is not one.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

impl Auth {
    /// Reads the files; `None` when the config asks for no header.
    ///
    /// # Errors
    /// [`Error`]
    pub fn new(basic: Option<&Basic>, bearer: Option<&Path>) -> Result<Option<Self>, Error> {
        let from = match (basic, bearer) {
            (None, None) => return Ok(None),
            (Some(basic), None) => From::Basic(basic.clone()),
            (None, Some(path)) => From::Bearer(path.to_owned()),
            (Some(_), Some(_)) => return Err(Error::Both),
        };
        let header = Mutex::new(from.header()?);
        Ok(Some(Self { from, header }))
    }

    /// For the next push.
    pub fn header(&self) -> HeaderValue {
        self.header.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Loki has refused us: reads the files again. What can't be read changes nothing.
    pub fn renew(&self) {
        match self.from.header() {
            Ok(header) => *self.header.lock().unwrap_or_else(PoisonError::into_inner) = header,
            Err(error) => tracing::warn!(%error, "the credentials can't be read again"),
        }
    }
}

impl From {
    fn header(&self) -> Result<HeaderValue, Error> {
        let (key, path) = match self {
            Self::Basic(basic) => ("basic_auth.password_file", &basic.password_file),
            Self::Bearer(path) => ("bearer_token_file", path),
        };
        let wrong = |reason: String| Error::File { key, path: path.clone(), reason };
        let secret = files::read_named(path, SECRET_BYTES_MAX).map_err(|error| wrong(error.to_string()))?;
        let secret = secret.trim_end_matches(['\r', '\n']);
        if secret.is_empty() {
            return Err(wrong(format!("it holds {} bytes: write the secret and nothing else", secret.len())));
        }
        let text = match self {
            Self::Basic(basic) => {
                format!("Basic {}", STANDARD.encode(format!("{}:{secret}", basic.username)))
            }
            Self::Bearer(_) => format!("Bearer {secret}"),
        };
        let mut header = HeaderValue::try_from(text)
            .map_err(|_| wrong("it holds what no header can carry (a line break?)".to_owned()))?;
        header.set_sensitive(true);
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_without_its_last_newline_and_again_after_a_refusal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "first\n").unwrap();
        let auth = Auth::new(None, Some(&path)).unwrap().unwrap();
        assert_eq!(auth.header(), "Bearer first");
        std::fs::write(&path, "second").unwrap();
        assert_eq!(auth.header(), "Bearer first");
        auth.renew();
        assert_eq!(auth.header(), "Bearer second");
        std::fs::remove_file(&path).unwrap();
        auth.renew();
        assert_eq!(auth.header(), "Bearer second", "what can't be read changes nothing");
        assert!(!format!("{auth:?}").contains("second"), "{auth:?}");
    }

    #[test]
    fn a_user_and_a_password_are_sent_as_rfc_7617_says() {
        let dir = tempfile::tempdir().unwrap();
        let password_file = dir.path().join("password");
        std::fs::write(&password_file, "open sesame").unwrap();
        let basic = Basic { username: "Aladdin".to_owned(), password_file };
        let auth = Auth::new(Some(&basic), None).unwrap().unwrap();
        assert_eq!(auth.header(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }

    #[test]
    fn what_can_not_be_a_secret_is_refused_without_showing_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        assert!(Auth::new(None, Some(&path)).unwrap_err().to_string().contains("bearer_token_file"));
        for text in ["", "\n", "two\nlines"] {
            std::fs::write(&path, text).unwrap();
            let error = Auth::new(None, Some(&path)).unwrap_err().to_string();
            assert!(error.contains("token: it holds") && !error.contains("two"), "{error}");
        }
        let endless = Auth::new(None, Some(Path::new("/dev/zero"))).unwrap_err().to_string();
        assert!(endless.contains("no regular file"), "{endless}");
    }
}
