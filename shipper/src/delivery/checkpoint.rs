//! Where to go on after a restart. One versioned JSON file, replaced as a whole: written beside, synced,
//! renamed, and the folder synced, so that after a power cut there is the old one or the new one.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::fs;
use tokio::io::AsyncWriteExt;

use crate::record::{ContainerId, Position};

const VERSION: u32 = 1;
const NAME: &str = "checkpoint.json";

/// Positions by container.
pub type Positions = BTreeMap<ContainerId, Position>;

/// What a restart must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// When the first run began, in nanoseconds since the epoch. A container younger than that and
    /// without a position is read from its beginning, or a crash just after its birth would lose what
    /// it had written, and a shipper that was down what was born meanwhile.
    pub since_ns: i64,
    /// Where to go on.
    pub containers: Positions,
}

impl Checkpoint {
    /// As on a first run.
    #[must_use]
    pub fn new(now_ns: i64) -> Self {
        Self { since_ns: now_ns, containers: Positions::new() }
    }
}

/// A checkpoint that can't be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the checkpoint at {path} can't be {attempt}: {source}")]
pub struct Error {
    attempt: &'static str,
    path: PathBuf,
    source: io::Error,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    #[serde(flatten)]
    checkpoint: Checkpoint,
}

/// The file in the state folder.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// Makes the folder if need be, for its owner only.
    ///
    /// # Errors
    /// When it can't be made.
    pub async fn open(dir: &Path) -> Result<Self, Error> {
        let store = Self { dir: dir.to_owned() };
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).await;
        made.map_err(store.error("made"))?;
        Ok(store)
    }

    /// Where to resume. A file that can't be understood is set aside under a name with
    /// `now_ns` and reported: a crash loop would help nobody, and neither would reading all logs anew,
    /// so the start policy applies as on a first run.
    ///
    /// # Errors
    /// When it is there and can't be read.
    pub async fn load(&self, now_ns: i64) -> Result<Checkpoint, Error> {
        let text = match fs::read(self.path()).await {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Checkpoint::new(now_ns)),
            Err(error) => return Err(self.error("read")(error)),
        };
        match parse(&text) {
            Ok(checkpoint) => Ok(checkpoint),
            Err(reason) => self.set_aside(now_ns, &reason).await,
        }
    }

    async fn set_aside(&self, now_ns: i64, reason: &str) -> Result<Checkpoint, Error> {
        let aside = self.dir.join(format!("checkpoint.corrupt-{}", now_ns / 1_000_000_000));
        fs::rename(self.path(), &aside).await.map_err(self.error("set aside"))?;
        tracing::error!(reason, aside = %aside.display(), "the checkpoint is corrupt or of another version: starting as on a first run");
        Ok(Checkpoint::new(now_ns))
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// When it is not safely on disk; the old one is then still there.
    pub async fn save(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let document = Document { version: VERSION, checkpoint: checkpoint.clone() };
        let text = serde_json::to_vec(&document).map_err(io::Error::from).map_err(self.error("written"))?;
        self.replace(&text).await.map_err(self.error("written"))
    }

    async fn replace(&self, text: &[u8]) -> io::Result<()> {
        let beside = self.dir.join("checkpoint.json.new");
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside).await?;
        file.write_all(text).await?;
        file.flush().await?;
        file.sync_all().await?;
        fs::rename(&beside, self.path()).await?;
        fs::File::open(&self.dir).await?.sync_all().await
    }

    fn path(&self) -> PathBuf {
        self.dir.join(NAME)
    }

    fn error(&self, attempt: &'static str) -> impl FnOnce(io::Error) -> Error + use<> {
        let path = self.path();
        move |source| Error { attempt, path, source }
    }
}

fn parse(text: &[u8]) -> Result<Checkpoint, String> {
    let document: Document = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if document.version == VERSION {
        Ok(document.checkpoint)
    } else {
        Err(format!("version {} is not {VERSION}", document.version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::FileIdentity;

    fn checkpoint() -> Checkpoint {
        let id = |digit: &str| ContainerId::parse(&digit.repeat(64)).unwrap();
        let identity = FileIdentity { dev: 1, ino: 2, head_len: 3, head_hash: u64::MAX };
        let containers = Positions::from([
            (id("a"), Position::File { identity, offset: 9, tail_hash: Some(u64::MAX) }),
            (id("b"), Position::Api { time_ns: 5, seen: 2 }),
        ]);
        Checkpoint { since_ns: 7, containers }
    }

    #[tokio::test]
    async fn what_was_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        assert_eq!(store.load(3).await.unwrap(), Checkpoint::new(3));
        store.save(&checkpoint()).await.unwrap();
        assert_eq!(store.load(0).await.unwrap(), checkpoint());
    }

    #[tokio::test]
    async fn a_corrupt_file_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        // A power cut may leave zero bytes; another version may be anything.
        for (time, text) in [(1, "\0\0\0"), (2, r#"{"version":2,"since_ns":0,"containers":{}}"#)] {
            std::fs::write(dir.path().join(NAME), text).unwrap();
            assert_eq!(
                store.load(time * 1_000_000_000).await.unwrap(),
                Checkpoint::new(time * 1_000_000_000)
            );
            let aside = dir.path().join(format!("checkpoint.corrupt-{time}"));
            assert_eq!(std::fs::read_to_string(aside).unwrap(), text);
        }
    }

    #[tokio::test]
    async fn a_save_that_fails_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        store.save(&checkpoint()).await.unwrap();
        std::fs::create_dir(dir.path().join("checkpoint.json.new")).unwrap();
        assert!(store.save(&Checkpoint::new(0)).await.is_err());
        assert_eq!(store.load(0).await.unwrap(), checkpoint());
    }
}
