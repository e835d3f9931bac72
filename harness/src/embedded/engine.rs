//! All containers of an embedded engine, and what is done with them. Pure of HTTP.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::models::ContainerCreateBody;
use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use super::container::{Container, Reins, Spec, Status, Unfit};
use super::events::{Event, Events};
use super::life::{self, Generators, Life};
use crate::clock;

/// Docker's first pause before it starts a container again; each is twice as long as the one before.
const AGAIN_FIRST: Duration = Duration::from_millis(100);
const AGAIN_MAX: Duration = Duration::from_secs(60);
/// Whoever lived so long is started again at once.
const LONG_LIFE: Duration = Duration::from_secs(10);
/// A killed container is gone by then.
const KILLED_WITHIN: Duration = Duration::from_secs(10);

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
    generators: Generators,
    containers: Mutex<BTreeMap<String, Arc<Container>>>,
    images: Mutex<BTreeMap<String, Image>>,
    lives: TaskTracker,
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

    /// Makes a container. Answers with its id.
    ///
    /// # Errors
    /// Its image is not there, its name is taken, or it wants what this engine can't do.
    pub(super) fn create(&self, name: Option<String>, body: ContainerCreateBody) -> Result<String, Refusal> {
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
        containers.insert(id.clone(), Arc::clone(&container));
        drop(containers);
        self.tell(&container, "create", &[]);
        Ok(id)
    }

    /// Starts one.
    ///
    /// # Errors
    /// Its program can't be run.
    pub(super) fn start(self: &Arc<Self>, container: &Arc<Container>) -> Result<Change, Refusal> {
        {
            let mut state = container.state();
            if matches!(state.status, Status::Running | Status::Restarting) {
                return Ok(Change::None);
            }
            // From here on nobody else begins a life of it.
            state.status = Status::Running;
            (state.stopping, state.restarts) = (false, 0);
        }
        let life = self.begin(container).map_err(|error| {
            let program = container.spec.command.first().map_or("", String::as_str);
            Refusal::Bad(format!("failed to create task for container: exec: \"{program}\": {error}"))
        })?;
        self.lives.spawn(Arc::clone(self).live(Arc::clone(container), life));
        Ok(Change::Done)
    }

    fn begin(&self, container: &Arc<Container>) -> io::Result<Life> {
        match life::begin(container, self.generators, &self.unlogged) {
            Ok(life) => {
                let mut state = container.state();
                (state.status, state.paused) = (Status::Running, false);
                (state.started, state.finished, state.exit_code) = (Some(clock::now()), None, 0);
                self.tell_of(container, &state.name, ("start", &[]));
                container.alive.send_replace(true);
                Ok(life)
            }
            Err(error) => {
                let mut state = container.state();
                (state.status, state.exit_code) = (Status::Created, 127);
                Err(error)
            }
        }
    }

    /// One life after the other, for as long as its policy says.
    async fn live(self: Arc<Self>, container: Arc<Container>, mut life: Life) {
        let mut pause = AGAIN_FIRST;
        loop {
            let began = Instant::now();
            let exit_code = life.end(&container).await;
            if began.elapsed() > LONG_LIFE {
                pause = AGAIN_FIRST;
            }
            let again = self.ended(&container, exit_code);
            if !again {
                return;
            }
            tokio::select! {
                () = container.removed.cancelled() => return,
                () = sleep(pause) => pause = (pause * 2).min(AGAIN_MAX),
            }
            if container.state().stopping {
                container.state().status = Status::Exited;
                return;
            }
            match self.begin(&container) {
                Ok(next) => life = next,
                Err(_) => return,
            }
        }
    }

    fn ended(&self, container: &Container, exit_code: i32) -> bool {
        let mut state = container.state();
        let again = !state.stopping
            && !container.removed.is_cancelled()
            && container.spec.restarts.again(exit_code, state.restarts);
        state.restarts += u64::from(again);
        (state.status, state.paused) = (if again { Status::Restarting } else { Status::Exited }, false);
        (state.exit_code, state.finished) = (exit_code, Some(clock::now()));
        (state.pid, state.reins) = (None, Reins::None);
        // Before anybody can begin its next life.
        self.tell_of(container, &state.name, ("die", &[("exitCode", exit_code.to_string())]));
        container.alive.send_replace(false);
        again
    }

    /// Asks it to end, and kills it after `grace`.
    ///
    /// # Errors
    /// It can't be killed.
    pub(super) async fn stop(&self, container: &Container, grace: Duration) -> Result<Change, Refusal> {
        if !self.must_end(container) {
            return Ok(Change::None);
        }
        let wish = signal_of(&container.spec.stop_signal).unwrap_or(Signal::TERM);
        self.signal(container, wish);
        if timeout(grace, gone(container)).await.is_err() {
            self.kill_and_wait(container).await?;
        }
        self.tell(container, "stop", &[]);
        Ok(Change::Done)
    }

    /// From now on it is not started again. Answers whether it runs. What is frozen is let go on, or it would not end.
    fn must_end(&self, container: &Container) -> bool {
        let mut state = container.state();
        state.stopping = true;
        let (runs, paused) = (state.status == Status::Running, std::mem::take(&mut state.paused));
        drop(state);
        if paused {
            life::freeze(container, false);
            self.tell(container, "unpause", &[]);
        }
        runs
    }

    /// Sends a signal, which its process may heed.
    pub(super) fn signal(&self, container: &Container, signal: Signal) {
        self.tell(container, "kill", &[("signal", signal.as_raw().to_string())]);
        life::signal(container, signal);
    }

    /// What `docker kill` does.
    ///
    /// # Errors
    /// It does not run, or there is no such signal.
    pub(super) async fn kill(&self, container: &Container, name: &str) -> Result<(), Refusal> {
        let signal = signal_of(name).ok_or_else(|| Refusal::Bad(format!("Invalid signal: {name}")))?;
        if container.state().status != Status::Running {
            return Err(not_running(container, "Cannot kill container"));
        }
        if signal == Signal::KILL {
            self.must_end(container);
            return self.kill_and_wait(container).await;
        }
        self.signal(container, signal);
        Ok(())
    }

    async fn kill_and_wait(&self, container: &Container) -> Result<(), Refusal> {
        self.signal(container, Signal::KILL);
        timeout(KILLED_WITHIN, gone(container))
            .await
            .map_err(|_late| Refusal::Failed(format!("container {} did not end", container.id)))
    }

    /// Freezes it, or lets it go on.
    ///
    /// # Errors
    /// It does not run, or is so already.
    pub(super) fn pause(&self, container: &Container, is_frozen: bool) -> Result<(), Refusal> {
        let mut state = container.state();
        if state.status != Status::Running {
            drop(state);
            return Err(not_running(container, ""));
        }
        if state.paused == is_frozen {
            let so = if is_frozen { "already paused" } else { "not paused" };
            // Docker says so with a 500.
            return Err(Refusal::Failed(format!("Container {} is {so}", container.id)));
        }
        state.paused = is_frozen;
        drop(state);
        life::freeze(container, is_frozen);
        self.tell(container, if is_frozen { "pause" } else { "unpause" }, &[]);
        Ok(())
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

    /// Takes it and its log away.
    ///
    /// # Errors
    /// It runs, and is not to be killed for that.
    pub(super) async fn remove(&self, container: &Container, force: bool) -> Result<(), Refusal> {
        if matches!(container.state().status, Status::Running | Status::Restarting) {
            if !force {
                return Err(Refusal::Conflict(format!(
                    "You cannot remove a running container {}. Stop the container before attempting removal or force remove",
                    container.id
                )));
            }
            if self.must_end(container) {
                self.kill_and_wait(container).await?;
            }
        }
        if self.containers().remove(&container.id).is_none() {
            return Err(Refusal::Conflict(format!(
                "removal of container {} is already in progress",
                container.id
            )));
        }
        container.removed.cancel();
        match fs::remove_dir_all(&container.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Refusal::Failed(format!("{}: {error}", container.folder.display())));
            }
            _ => {}
        }
        self.tell(container, "destroy", &[]);
        Ok(())
    }

    /// Ends all that lives, in order.
    pub(super) async fn end(&self) {
        for container in self.all() {
            container.removed.cancel();
            if self.must_end(&container) {
                life::signal(&container, Signal::KILL);
            }
        }
        self.lives.close();
        drop(timeout(KILLED_WITHIN, self.lives.wait()).await);
    }

    fn tell(&self, container: &Container, action: &'static str, more: &[(&str, String)]) {
        let name = container.state().name.clone();
        self.tell_of(container, &name, (action, more));
    }

    /// For who holds the container's state.
    fn tell_of(&self, container: &Container, name: &str, (action, more): (&'static str, &[(&str, String)])) {
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

/// Until it does not run.
pub(super) async fn gone(container: &Container) {
    // The container holds the sender: it can't be gone before.
    drop(container.alive.subscribe().wait_for(|alive| !alive).await);
}

fn taken(name: &str, id: &str) -> Refusal {
    Refusal::Conflict(format!(
        "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". \
         You have to remove (or rename) that container to be able to reuse that name."
    ))
}

fn not_running(container: &Container, what: &str) -> Refusal {
    let id = &container.id;
    let said = format!("Container {id} is not running");
    Refusal::Conflict(if what.is_empty() { said } else { format!("{what}: {id}: {said}") })
}

/// `SIGTERM`, `TERM` or `15`.
fn signal_of(name: &str) -> Option<Signal> {
    let bare = name.to_ascii_uppercase();
    let bare = bare.strip_prefix("SIG").unwrap_or(&bare);
    let known = [
        ("HUP", Signal::HUP),
        ("INT", Signal::INT),
        ("QUIT", Signal::QUIT),
        ("KILL", Signal::KILL),
        ("USR1", Signal::USR1),
        ("USR2", Signal::USR2),
        ("TERM", Signal::TERM),
        ("CONT", Signal::CONT),
        ("STOP", Signal::STOP),
        ("WINCH", Signal::WINCH),
    ];
    let named = known.iter().find(|(name, _)| *name == bare).map(|(_, signal)| *signal);
    named.or_else(|| bare.parse().ok().and_then(Signal::from_named_raw))
}
