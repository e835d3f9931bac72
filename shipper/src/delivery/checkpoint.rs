//! Where to go on after a restart. One versioned JSON file, replaced as a whole: written beside, synced,
//! renamed, and the folder synced, so that after a power cut there is the old one or the new one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::fs;
use tokio::io::AsyncWriteExt;

use crate::files;
use crate::record::{ContainerId, Position};

/// The format that is written and read.
pub const VERSION: u32 = 1;
const NAME: &str = "checkpoint.json";
const LOCK: &str = "shipper.lock";
/// Some hundred thousand containers; what is larger was not written by us.
const BYTES_MAX: u64 = 64 << 20;

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

/// Held for as long as a shipper runs; the kernel takes it back however the process ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, not used")] File);

/// Why there is no checkpoint in a file that is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// A newer shipper's, or an older one's.
    #[error("it has version {0}, and this shipper reads version {VERSION}: use the shipper that wrote it")]
    Version(u32),
    /// Larger than any that we write.
    #[error("it has more than {BYTES_MAX} bytes")]
    TooLarge,
    /// Anything else.
    #[error("it is damaged: {0}")]
    Corrupt(String),
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
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

    /// Takes the folder for this process: two shippers would overwrite each other's positions.
    ///
    /// # Errors
    /// When another shipper has it, or the folder can't be written.
    pub fn lock(&self) -> Result<Lock, Error> {
        let path = self.dir.join(LOCK);
        let taken = || io::Error::other("another shipper runs on this state_dir: give each its own");
        let locked = files::lock(&path).and_then(|file| file.ok_or_else(taken));
        locked.map(Lock).map_err(|source| Error { attempt: "locked", path, source })
    }

    /// Where to resume. A file that can't be understood is set aside under a name with
    /// `now_ns` and reported: a crash loop would help nobody, and neither would reading all logs anew,
    /// so the start policy applies as on a first run.
    ///
    /// # Errors
    /// When it is there and can't be read.
    pub async fn load(&self, now_ns: i64) -> Result<Checkpoint, Error> {
        let path = self.path();
        let found = tokio::task::spawn_blocking(move || read(&path)).await.map_err(io::Error::other);
        match found.and_then(|found| found).map_err(self.error("read"))? {
            None => Ok(Checkpoint::new(now_ns)),
            Some(Ok(checkpoint)) => Ok(checkpoint),
            Some(Err(unusable)) => self.set_aside(now_ns, &unusable).await,
        }
    }

    async fn set_aside(&self, now_ns: i64, unusable: &Unusable) -> Result<Checkpoint, Error> {
        let kind = match unusable {
            Unusable::Version(version) => format!("version-{version}"),
            Unusable::TooLarge | Unusable::Corrupt(_) => "corrupt".to_owned(),
        };
        let aside = self.dir.join(format!("checkpoint.{kind}-{}", now_ns / 1_000_000_000));
        fs::rename(self.path(), &aside).await.map_err(self.error("set aside"))?;
        tracing::error!(reason = %unusable, aside = %aside.display(), "the checkpoint can't be used and is set aside: starting as on a first run");
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
        let path = beside.clone();
        let made = tokio::task::spawn_blocking(move || files::create_anew(&path)).await;
        let mut file = fs::File::from_std(made.map_err(io::Error::other)??);
        file.write_all(text).await?;
        file.flush().await?;
        file.sync_all().await?;
        fs::rename(&beside, self.path()).await?;
        fs::File::open(&self.dir).await?.sync_all().await
    }

    fn path(&self) -> PathBuf {
        path(&self.dir)
    }

    fn error(&self, attempt: &'static str) -> impl FnOnce(io::Error) -> Error + use<> {
        let path = self.path();
        move |source| Error { attempt, path, source }
    }
}

/// Where the checkpoint of a state folder is.
#[must_use]
pub fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

/// What stands in a checkpoint's file; `None` if there is none. Changes nothing.
///
/// # Errors
/// When it is there and can't be read.
pub fn read(path: &Path) -> io::Result<Option<Result<Checkpoint, Unusable>>> {
    let file = match files::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut text = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut text)?;
    Ok(Some(parse(&text)))
}

/// Survives any bytes; takes memory in proportion to them.
///
/// # Errors
/// When they are no checkpoint of this version.
pub fn parse(text: &[u8]) -> Result<Checkpoint, Unusable> {
    if text.len() as u64 > BYTES_MAX {
        return Err(Unusable::TooLarge);
    }
    // Asked first, since all else may mean something else in another version.
    match serde_json::from_slice::<Versioned>(text) {
        Ok(Versioned { version }) if version != VERSION => return Err(Unusable::Version(version)),
        _ => {}
    }
    let document: Result<Document, _> = serde_json::from_slice(text);
    document.map(|document| document.checkpoint).map_err(|error| Unusable::Corrupt(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::FileIdentity;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt;

    fn checkpoint() -> Checkpoint {
        let id = |digit: &str| ContainerId::parse(&digit.repeat(64)).unwrap();
        let identity = FileIdentity { dev: 1, ino: 2, head_len: 3, head_hash: u64::MAX };
        let containers = Positions::from([
            (
                id("a"),
                Position::File {
                    identity,
                    offset: 9,
                    tail_hash: Some(u64::MAX),
                    ahead: None,
                    time_ns: Some(7),
                },
            ),
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
        let newer = r#"{"version":2,"since_ns":0,"anything":[]}"#;
        for (time, text, kind) in [(1, "\0\0\0", "corrupt"), (2, newer, "version-2"), (3, "", "corrupt")] {
            std::fs::write(dir.path().join(NAME), text).unwrap();
            assert_eq!(
                store.load(time * 1_000_000_000).await.unwrap(),
                Checkpoint::new(time * 1_000_000_000)
            );
            let aside = dir.path().join(format!("checkpoint.{kind}-{time}"));
            assert_eq!(std::fs::read_to_string(aside).unwrap(), text);
        }
    }

    #[test]
    fn a_file_beyond_all_bounds_is_not_read_into_memory() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path());
        File::create(&path).unwrap().set_len(BYTES_MAX * 1000).unwrap();
        assert_eq!(read(&path).unwrap(), Some(Err(Unusable::TooLarge)));
    }

    #[tokio::test]
    async fn no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        let other = dir.path().join("other");
        std::fs::write(&other, "kept").unwrap();
        std::os::unix::fs::symlink(&other, dir.path().join("checkpoint.json.new")).unwrap();
        assert!(store.save(&checkpoint()).await.is_err());
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "kept");
        std::os::unix::fs::symlink(&other, path(dir.path())).unwrap();
        assert!(read(&path(dir.path())).is_err());
    }

    #[tokio::test]
    async fn it_is_for_its_owner_only_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let store = Store::open(&state).await.unwrap();
        store.save(&checkpoint()).await.unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&state), mode(&path(&state))), (0o700, 0o600));
        assert_eq!(std::fs::read_dir(&state).unwrap().count(), 1);
    }

    /// A device without a disk behind it takes all that is written and can't be synced.
    #[tokio::test]
    async fn a_file_that_is_not_synced_takes_no_ones_place() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        store.save(&checkpoint()).await.unwrap();
        let null = rustix::fs::makedev(1, 3);
        let beside = dir.path().join("checkpoint.json.new");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &beside, rustix::fs::FileType::CharacterDevice, mode, null)
            .unwrap();
        assert!(store.save(&Checkpoint::new(0)).await.is_err());
        assert_eq!(store.load(0).await.unwrap(), checkpoint());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(parse(&text).is_err());
        }
    }

    #[tokio::test]
    async fn a_state_folder_has_one_shipper_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) =
            (Store::open(dir.path()).await.unwrap(), Store::open(dir.path()).await.unwrap());
        let held = first.lock().unwrap();
        let error = second.lock().unwrap_err().to_string();
        assert!(error.contains("another shipper") && error.contains("shipper.lock"), "{error}");
        drop(held);
        second.lock().unwrap();
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
