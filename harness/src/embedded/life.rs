//! A container's life: the process or the task that it is, its outputs into its log, its signals.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::container::{Container, Reins};
use super::entry::Entry;
use super::log_file::LogFile;
use super::split::Splitter;
use crate::clock;
use crate::world::generate::{self, Outputs};
use crate::world::line::Stream;

/// Generators that write no more lines a second than this live together in the engine's own process.
const SHARED_RATE_MAX: u32 = 20;
/// An output that somebody else holds open is no longer waited for.
const OUTPUTS_WITHIN: Duration = Duration::from_secs(2);
/// The kernel's for who was killed, as a shell says it.
const KILLED: i32 = 128 + 9;
/// Docker's own, where the program is not there.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Which command lines are the generator's own.
pub type Generators = fn(&[String]) -> Option<generate::Config>;

/// A log, or nothing where the container has none.
type Log = Option<Arc<Mutex<LogFile>>>;

/// One life under way.
pub(super) struct Life {
    body: Body,
    /// What writes its outputs into its log.
    pumps: JoinSet<()>,
}

enum Body {
    Process(Box<Child>),
    Shared(Pin<Box<dyn Future<Output = i32> + Send>>),
}

/// Begins one. The container's reins and process id are set; what can't be logged later is counted in `unlogged`.
///
/// # Errors
/// Its log or its program can't be used.
pub(super) fn begin(
    container: &Container,
    generators: Generators,
    unlogged: &Arc<AtomicU64>,
) -> io::Result<Life> {
    let log = match container.spec.log_driver.as_str() {
        "none" => None,
        _ => Some(Arc::new(Mutex::new(LogFile::open(Arc::clone(&container.log))?))),
    };
    let tap =
        |stream| Tap { splitter: Splitter::new(stream), log: log.clone(), unlogged: Arc::clone(unlogged) };
    let light = generators(&container.spec.command).filter(|config| config.rate <= SHARED_RATE_MAX);
    if let Some(config) = light.filter(|_| !container.spec.tty) {
        return Ok(share(container, config, &tap));
    }
    let mut pumps = JoinSet::new();
    let child = if container.spec.tty {
        let (child, terminal) = in_terminal(container)?;
        let mut tap = tap(Stream::Out);
        pumps.spawn_blocking(move || drain(terminal, &mut tap));
        child
    } else {
        let mut child = command(container).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        child.stdout.take().map(|output| pumps.spawn(pump(output, tap(Stream::Out))));
        child.stderr.take().map(|output| pumps.spawn(pump(output, tap(Stream::Err))));
        child
    };
    let mut state = container.state();
    (state.pid, state.reins) = (child.id(), Reins::Process);
    drop(state);
    Ok(Life { body: Body::Process(Box::new(child)), pumps })
}

impl Life {
    /// Waits for its end, and until all that it has written is in its log. Answers with its exit code.
    pub(super) async fn end(mut self, container: &Container) -> i32 {
        let exit_code = match self.body {
            Body::Process(mut child) => {
                let status = child.wait().await;
                // Who is left of its group has lost its first process, as in a namespace of its own.
                signal_group(container, Signal::KILL);
                status.map_or(KILLED, |status| {
                    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(KILLED)
                })
            }
            Body::Shared(task) => task.await,
        };
        let all = async { while self.pumps.join_next().await.is_some() {} };
        // A late one is ended with the set.
        drop(timeout(OUTPUTS_WITHIN, all).await);
        exit_code
    }
}

/// Sends a signal to a container that runs.
pub(super) fn signal(container: &Container, signal: Signal) {
    let reins = container.state().reins.clone();
    match reins {
        Reins::Process => signal_group(container, signal),
        Reins::Shared { kill, .. } if signal == Signal::KILL => kill.cancel(),
        Reins::Shared { end, .. } if signal == Signal::TERM || signal == Signal::INT => end.cancel(),
        Reins::Shared { .. } | Reins::None => {}
    }
}

/// Freezes a container that runs, or lets it go on. Docker has the kernel's freezer do it; a process that is stopped
/// can't tell the difference.
pub(super) fn freeze(container: &Container, is_frozen: bool) {
    let reins = container.state().reins.clone();
    match reins {
        Reins::Process => signal_group(container, if is_frozen { Signal::STOP } else { Signal::CONT }),
        Reins::Shared { frozen, .. } => drop(frozen.send_replace(is_frozen)),
        Reins::None => {}
    }
}

/// The process and all that it has started. One that has just ended can't be told.
fn signal_group(container: &Container, signal: Signal) {
    let pid = container.state().pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let _gone = pid.map(|pid| kill_process_group(pid, signal));
}

fn command(container: &Container) -> Command {
    let (program, arguments) =
        container.spec.command.split_first().map_or(("", &[][..]), |(first, rest)| (first, rest));
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(&container.spec.working_dir)
        .env_clear()
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    let hostname = format!("HOSTNAME={}", container.short_id());
    let own = [PATH, &hostname].into_iter();
    for variable in own.chain(container.spec.env.iter().map(String::as_str)) {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        command.env(name, value);
    }
    command
}

/// A process with a terminal, and the terminal's other end.
fn in_terminal(container: &Container) -> io::Result<(Child, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let peer = ioctl_tiocgptpeer(&master, flags)?;
    let mut command = command(container);
    command.env("TERM", "xterm").stdin(peer.try_clone()?).stdout(peer.try_clone()?).stderr(peer);
    Ok((command.spawn()?, master))
}

/// Until nobody holds the terminal: the kernel then says EIO (pty(7)).
fn drain(terminal: OwnedFd, tap: &mut Tap) {
    let mut terminal = std::fs::File::from(terminal);
    let mut bytes = vec![0; super::split::PIECE_BYTES];
    while let Ok(read) = terminal.read(&mut bytes) {
        match bytes.get(..read) {
            Some(text) if !text.is_empty() => tap.take(text),
            _ => return,
        }
    }
}

async fn pump(mut output: impl AsyncRead + Unpin, mut tap: Tap) {
    let mut bytes = vec![0; super::split::PIECE_BYTES];
    while let Ok(read) = output.read(&mut bytes).await {
        match bytes.get(..read) {
            Some(text) if !text.is_empty() => tap.take(text),
            _ => return,
        }
    }
}

/// A generator as a task of this process.
fn share(container: &Container, config: generate::Config, tap: &dyn Fn(Stream) -> Tap) -> Life {
    let (end, kill) = (CancellationToken::new(), CancellationToken::new());
    let (frozen, mut is_frozen) = watch::channel(false);
    let mut complaints = tap(Stream::Err);
    let outputs = Outputs { stdout: Box::new(tap(Stream::Out)), stderr: Box::new(tap(Stream::Err)) };
    let (ended, killed) = (end.clone(), kill.clone());
    let task = async move {
        let lines = generate::lines(config, outputs);
        tokio::pin!(lines);
        loop {
            let runs = !*is_frozen.borrow_and_update();
            tokio::select! {
                biased;
                () = killed.cancelled() => return KILLED,
                _ = is_frozen.changed() => {}
                () = ended.cancelled(), if runs => return 0,
                written = &mut lines, if runs => match written {
                    Ok(()) => return 0,
                    Err(error) => {
                        complaints.take(format!("flatline: {error}\n").as_bytes());
                        return 1;
                    }
                },
            }
        }
    };
    let mut state = container.state();
    (state.pid, state.reins) = (Some(std::process::id()), Reins::Shared { end, kill, frozen });
    drop(state);
    Life { body: Body::Shared(Box::pin(task)), pumps: JoinSet::new() }
}

/// From an output's bytes into the log.
struct Tap {
    splitter: Splitter,
    log: Log,
    unlogged: Arc<AtomicU64>,
}

impl Tap {
    fn take(&mut self, bytes: &[u8]) {
        let Self { splitter, log, unlogged } = self;
        splitter.take(bytes, clock::now(), |entry| write(log, unlogged, &entry));
    }
}

/// Docker drops an entry that its disk has no room for, and says so in its own log.
fn write(log: &Log, unlogged: &AtomicU64, entry: &Entry) {
    let Some(log) = log else { return };
    if log.lock().unwrap_or_else(PoisonError::into_inner).write(entry).is_err() {
        unlogged.fetch_add(1, Ordering::Relaxed);
    }
}

impl Write for Tap {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.take(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let Self { splitter, log, unlogged } = self;
        splitter.end(clock::now(), |entry| write(log, unlogged, &entry));
    }
}
