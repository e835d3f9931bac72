//! Containers begin, end, are frozen and are started again.

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout};

use super::container::{Container, Reins, Status};
use super::engine::{Change, Engine, Refusal};
use super::life::{self, Life};
use crate::clock;

/// Docker's first pause before it starts a container again; each is twice as long as the one before.
const AGAIN_FIRST: Duration = Duration::from_millis(100);
const AGAIN_MAX: Duration = Duration::from_secs(60);
/// Whoever lived so long is started again at once.
const LONG_LIFE: Duration = Duration::from_secs(10);
/// A killed container is gone by then.
const KILLED_WITHIN: Duration = Duration::from_secs(10);

impl Engine {
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
        if !self.forget(container) {
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
}

/// Until it does not run.
pub(super) async fn gone(container: &Container) {
    // The container holds the sender: it can't be gone before.
    drop(container.alive.subscribe().wait_for(|alive| !alive).await);
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
