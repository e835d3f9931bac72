//! All containers of an embedded engine, and what is done with them. Pure of HTTP.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard::models::ContainerCreateBody;
use tokio_util::task::TaskTracker;

use super::container::{Container, Spec, Unfit};
use super::events::{Event, Events};
use super::life::Generators;
use crate::clock;

/// Why a request is refused, in Docker's words where it has some.
#[derive(Debug)]
pub(super) enum Refusal {
    /// 400
    Bad(String),
    /// 404
    Missing(String),
    /// 409
    Conflict(String),
    /// 501: Docker can, this engine can't.
    Unfit(String),
    /// 500
    Failed(String),
}

impl From<Unfit> for Refusal {
    fn from(unfit: Unfit) -> Self {
        Self::Unfit(unfit.0)
    }
}

/// Whether a request changed anything: Docker says 304 where all was so already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Done,
    None,
}

/// An image: a name for what is not there, as every container runs programs of this machine.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) id: String,
    pub(super) tags: Vec<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) created_s: i64,
}

/// The engine.
pub(super) struct Engine {
    pub(super) root: PathBuf,
    pub(super) events: Events,
    /// Entries that could not be written.
    pub(super) unlogged: Arc<AtomicU64>,
    pub(super) generators: Generators,
    containers: Mutex<BTreeMap<String, Arc<Container>>>,
    images: Mutex<BTreeMap<String, Image>>,
    pub(super) lives: TaskTracker,
}

impl Engine {
    /// Nothing runs yet.
    pub(super) fn new(root: PathBuf, generators: Generators) -> Self {
        Self {
            root,
            events: Events::default(),
            unlogged: Arc::default(),
            generators,
            containers: Mutex::default(),
            images: Mutex::default(),
            lives: TaskTracker::new(),
        }
    }

    fn containers(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Container>>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn images(&self) -> MutexGuard<'_, BTreeMap<String, Image>> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them, the youngest first, as Docker lists them.
    pub(super) fn all(&self) -> Vec<Arc<Container>> {
        let mut all: Vec<_> = self.containers().values().cloned().collect();
        all.sort_by_key(|container| std::cmp::Reverse(container.created));
        all
    }

    /// By id, by name, or by the beginning of an id that no other has.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub(super) fn find(&self, wanted: &str) -> Result<Arc<Container>, Refusal> {
        let containers = self.containers();
        let name = wanted.trim_start_matches('/');
        let named = || containers.values().find(|container| container.state().name == name);
        if let Some(found) = containers.get(wanted).or_else(named) {
            return Ok(Arc::clone(found));
        }
        let mut beginning =
            containers.range(wanted.to_owned()..).take_while(|(id, _)| id.starts_with(wanted));
        match (beginning.next(), beginning.next()) {
            (Some((_, found)), None) if !wanted.is_empty() => Ok(Arc::clone(found)),
            (Some(_), Some(_)) if !wanted.is_empty() => {
                Err(Refusal::Bad(format!("Multiple IDs found with provided prefix: {wanted}")))
            }
            _ => Err(Refusal::Missing(format!("No such container: {wanted}"))),
        }
    }

    /// An image by its name, its id, or the beginning of that.
    pub(super) fn image(&self, wanted: &str) -> Option<Image> {
        let name = if wanted.contains(':') { wanted.to_owned() } else { format!("{wanted}:latest") };
        let images = self.images();
        let bare = wanted.trim_start_matches("sha256:");
        let found = images.values().find(|image| {
            image.tags.contains(&name)
                || (!bare.is_empty() && image.id.trim_start_matches("sha256:").starts_with(bare))
        });
        found.cloned()
    }

    /// Names an image. Answers with its id.
    pub(super) fn import(&self, tag: String, labels: BTreeMap<String, String>) -> String {
        let id = format!("sha256:{}", new_id());
        let created_s = clock::now().as_second();
        let mut images = self.images();
        images.values_mut().for_each(|image| image.tags.retain(|other| *other != tag));
        images.insert(id.clone(), Image { id: id.clone(), tags: vec![tag], labels, created_s });
        id
    }

    /// Makes a container.
    ///
    /// # Errors
    /// Its image is not there, its name is taken, or it wants what this engine can't do.
    pub(super) fn create(
        &self,
        name: Option<String>,
        body: ContainerCreateBody,
    ) -> Result<Arc<Container>, Refusal> {
        let image = body.image.clone().unwrap_or_default();
        let found = self.image(&image).ok_or_else(|| Refusal::Missing(format!("No such image: {image}")))?;
        let spec = Spec::new(body, found.id)?;
        let rotation = spec.rotation()?;
        let id = new_id();
        let name = name.unwrap_or_else(|| format!("container_{}", id.get(..12).unwrap_or(&id)));
        let mut containers = self.containers();
        if let Some(other) = containers.values().find(|other| other.state().name == name) {
            return Err(taken(&name, &other.id));
        }
        let folder = self.root.join("containers").join(&id);
        fs::DirBuilder::new()
            .mode(0o710)
            .create(&folder)
            .map_err(|error| Refusal::Failed(format!("{}: {error}", folder.display())))?;
        let container = Arc::new(Container::new(id.clone(), name, (spec, rotation), folder));
        containers.insert(id, Arc::clone(&container));
        drop(containers);
        self.tell(&container, "create", &[]);
        Ok(container)
    }

    /// Gives it another name.
    ///
    /// # Errors
    /// The name is taken.
    pub(super) fn rename(&self, container: &Container, name: &str) -> Result<(), Refusal> {
        let containers = self.containers();
        let name = name.trim_start_matches('/');
        if let Some(other) = containers.values().find(|other| other.state().name == name) {
            return Err(taken(name, &other.id));
        }
        let old = std::mem::replace(&mut container.state().name, name.to_owned());
        self.tell(container, "rename", &[("oldName", format!("/{old}"))]);
        Ok(())
    }

    /// Knows it no longer. Answers whether it did.
    pub(super) fn forget(&self, container: &Container) -> bool {
        self.containers().remove(&container.id).is_some()
    }

    /// Tells who listens what has happened to it.
    pub(super) fn tell(&self, container: &Container, action: &'static str, more: &[(&str, String)]) {
        let name = container.state().name.clone();
        self.tell_of(container, &name, (action, more));
    }

    /// For who holds the container's state.
    pub(super) fn tell_of(
        &self,
        container: &Container,
        name: &str,
        (action, more): (&'static str, &[(&str, String)]),
    ) {
        let mut attributes = container.spec.labels.clone();
        attributes.insert("image".to_owned(), container.spec.image.clone());
        attributes.insert("name".to_owned(), name.to_owned());
        attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        let (id, image) = (container.id.clone(), container.spec.image.clone());
        self.events.tell(Event { action, id, image, attributes, time: clock::now() });
    }
}

/// As Docker's: 64 hexadecimal digits.
fn new_id() -> String {
    let [a, b, c, d]: [u64; 4] = rand::random();
    format!("{a:016x}{b:016x}{c:016x}{d:016x}")
}

fn taken(name: &str, id: &str) -> Refusal {
    Refusal::Conflict(format!(
        "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". \
         You have to remove (or rename) that container to be able to reuse that name."
    ))
}
