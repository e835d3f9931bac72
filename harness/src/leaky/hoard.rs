//! What a leaking process holds: real descriptors, real threads, real tasks, real mappings. Each ends when it is dropped.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;

use rustix::fs::inotify;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::leaky::pace::Each;

/// Always there, and costs a descriptor and nothing else.
const FILE: &str = "/dev/null";
/// Whom a socket is connected to: a datagram socket is without anybody there (RFC 863, discard).
const PEER: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 9);
/// A thread that waits needs hardly any; a round number above the least that the kernel's libraries take.
const STACK_BYTES: usize = 128 * 1024;
/// From 32 MiB on (mallopt(3), `M_MMAP_THRESHOLD`) what is allocated is a mapping of its own, whatever was freed before.
/// Nothing is written there, so that it takes room among the addresses and none in memory.
const MAP_BYTES: usize = 33 * 1024 * 1024;
/// A mebibyte.
const MEMORY_BYTES: usize = 1 << 20;
/// Where there are folders enough to watch, of which none is made for it.
const FOLDERS: [&str; 2] = ["/sys", "/usr"];

/// The system gives no more.
#[derive(Debug, thiserror::Error)]
#[error(
    "can't hold one more {what} than {held}: {source}; give it a higher limit ({limit}), a slower pace or a shorter run"
)]
pub struct HoardError {
    what: &'static str,
    limit: &'static str,
    held: usize,
    source: io::Error,
}

/// Everything that is held.
#[derive(Debug, Default)]
pub(super) struct Hoard {
    fds: Vec<File>,
    sockets: Vec<UdpSocket>,
    pipes: Vec<(PipeReader, PipeWriter)>,
    inotify: Vec<OwnedFd>,
    watches: Vec<Watch>,
    watching: Option<Watching>,
    /// A thread waits at the other end of each, and ends with it.
    threads: Vec<mpsc::SyncSender<Infallible>>,
    /// The same with tasks.
    tasks: Vec<oneshot::Sender<Infallible>>,
    maps: Vec<Vec<u8>>,
    memory: Vec<Vec<u8>>,
    owner: TaskTracker,
}

impl Hoard {
    /// Who counts the tasks.
    pub(super) fn owner(&self) -> TaskTracker {
        self.owner.clone()
    }

    /// Takes or gives back until so many of each are held.
    ///
    /// # Errors
    /// [`HoardError`]: a limit of the process or of the machine.
    pub(super) fn hold(&mut self, wanted: Each<usize>) -> Result<(), HoardError> {
        let full = |what, limit| move |(held, source)| HoardError { what, limit, held, source };
        let files = "ulimit -n";
        fill(&mut self.fds, wanted.fds, || File::open(FILE)).map_err(full("file descriptor", files))?;
        fill(&mut self.sockets, wanted.sockets, socket_with_peer).map_err(full("socket", files))?;
        fill(&mut self.pipes, wanted.pipes, io::pipe).map_err(full("pipe", files))?;
        let instances = "ulimit -n, sysctl fs.inotify.max_user_instances";
        fill(&mut self.inotify, wanted.inotify, instance).map_err(full("inotify instance", instances))?;
        self.hold_watches(wanted.watches)
            .map_err(full("inotify watch", "sysctl fs.inotify.max_user_watches"))?;
        fill(&mut self.threads, wanted.threads, thread_that_waits).map_err(full("thread", "ulimit -u"))?;
        let owner = &self.owner;
        let Ok(()) = fill(&mut self.tasks, wanted.tasks, || Ok::<_, Infallible>(task_that_waits(owner)));
        let Ok(()) = fill(&mut self.maps, wanted.maps, || Ok::<_, Infallible>(vec![0; MAP_BYTES]));
        // Of what is not zero no page can be left out.
        let Ok(()) = fill(&mut self.memory, wanted.memory, || Ok::<_, Infallible>(vec![1; MEMORY_BYTES]));
        Ok(())
    }

    /// Their instance is made with the first of them: who leaks none has none.
    fn hold_watches(&mut self, wanted: usize) -> Result<(), (usize, io::Error)> {
        if wanted == 0 && self.watching.is_none() {
            return Ok(());
        }
        if self.watching.is_none() {
            self.watching = Some(Watching::start().map_err(|source| (0, source))?);
        }
        let Some(watching) = &mut self.watching else { return Ok(()) };
        fill(&mut self.watches, wanted, || watching.one_more())
    }
}

/// An error comes with how many were held by then.
fn fill<T, E>(
    held: &mut Vec<T>,
    wanted: usize,
    mut one_more: impl FnMut() -> Result<T, E>,
) -> Result<(), (usize, E)> {
    held.truncate(wanted);
    while held.len() < wanted {
        let one = one_more().map_err(|source| (held.len(), source))?;
        held.push(one);
    }
    Ok(())
}

fn socket_with_peer() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(PEER)?;
    Ok(socket)
}

fn instance() -> io::Result<OwnedFd> {
    Ok(inotify::init(inotify::CreateFlags::CLOEXEC)?)
}

/// A watch, taken back when it is dropped.
#[derive(Debug)]
struct Watch {
    instance: Arc<OwnedFd>,
    number: i32,
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Its folder may be gone, and the watch with it.
        inotify::remove_watch(&*self.instance, self.number).unwrap_or_default();
    }
}

/// An instance, and the folders that are still to be watched: of each there is one watch at most.
#[derive(Debug)]
struct Watching {
    instance: Arc<OwnedFd>,
    folders: Vec<PathBuf>,
}

impl Watching {
    fn start() -> io::Result<Self> {
        let folders = FOLDERS.map(PathBuf::from).to_vec();
        Ok(Self { instance: Arc::new(instance()?), folders })
    }

    fn one_more(&mut self) -> io::Result<Watch> {
        loop {
            let Some(folder) = self.folders.pop() else {
                return Err(io::Error::other("there is no other folder below /sys and /usr to watch"));
            };
            // One that may not be looked into has none inside.
            let inside = fs::read_dir(&folder).into_iter().flatten().flatten();
            let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
            self.folders.extend(inside.filter(is_folder).map(|entry| entry.path()));
            let added = inotify::add_watch(&*self.instance, &folder, inotify::WatchFlags::DELETE_SELF);
            match added {
                Ok(number) => return Ok(Watch { instance: Arc::clone(&self.instance), number }),
                Err(rustix::io::Errno::NOENT | rustix::io::Errno::ACCESS) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn thread_that_waits() -> io::Result<mpsc::SyncSender<Infallible>> {
    let (held, end) = mpsc::sync_channel(0);
    let wait = move || end.recv().is_err();
    thread::Builder::new().name("leaked".to_owned()).stack_size(STACK_BYTES).spawn(wait)?;
    Ok(held)
}

fn task_that_waits(owner: &TaskTracker) -> oneshot::Sender<Infallible> {
    let (held, end) = oneshot::channel();
    drop(owner.spawn(async move { drop(end.await) }));
    held
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Handle;

    use super::*;

    fn threads() -> usize {
        let named = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("comm"));
        let all = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        all.filter_map(|entry| named(entry).ok()).filter(|name| name.trim() == "leaked").count()
    }

    fn files() -> usize {
        let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        all.filter_map(|entry| std::fs::read_link(entry.path()).ok())
            .filter(|to| to.ends_with("null"))
            .count()
    }

    #[tokio::test]
    async fn what_is_held_is_real_and_is_given_back() {
        let tasks = || Handle::current().metrics().num_alive_tasks();
        let (files_before, tasks_before) = (files(), tasks());
        let mut hoard = Hoard::default();
        hoard.hold(Each { fds: 70, threads: 12, tasks: 300, ..Each::default() }).unwrap();
        assert!(files() >= files_before + 60, "other tests may have closed some: {}", files());
        // A thread names itself once it runs.
        while threads() < 12 {
            tokio::task::yield_now().await;
        }
        assert_eq!((threads(), tasks()), (12, tasks_before + 300));
        hoard.hold(Each { threads: 2, tasks: 100, ..Each::default() }).unwrap();
        while threads() > 2 || tasks() > tasks_before + 100 {
            tokio::task::yield_now().await;
        }
        assert_eq!((threads(), tasks(), hoard.fds.len()), (2, tasks_before + 100, 0));
    }

    #[test]
    fn a_limit_that_is_reached_is_named_with_what_to_do() {
        let mut held = Vec::new();
        let failed = fill(&mut held, 3, || Err::<(), _>(io::Error::from_raw_os_error(24))).unwrap_err();
        let (held, source) = failed;
        let error = HoardError { what: "file descriptor", limit: "ulimit -n", held, source }.to_string();
        assert!(error.contains("file descriptor than 0") && error.contains("ulimit -n"), "{error}");
    }

    #[tokio::test]
    async fn each_class_is_real_and_is_given_back() {
        let watches = |hoard: &Hoard| {
            let Some(watching) = &hoard.watching else { return 0 };
            let number = std::os::fd::AsRawFd::as_raw_fd(&*watching.instance);
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
            info.lines().filter(|line| line.starts_with("inotify wd:")).count()
        };
        let mapped = || {
            let statm = fs::read_to_string("/proc/self/statm").unwrap();
            statm.split(' ').next().unwrap().parse::<usize>().unwrap() * 4096
        };
        let before = mapped();
        let mut hoard = Hoard::default();
        hoard
            .hold(Each { sockets: 3, pipes: 2, inotify: 2, watches: 40, maps: 50, ..Each::default() })
            .unwrap();
        assert_eq!((hoard.sockets.len(), hoard.pipes.len(), hoard.inotify.len()), (3, 2, 2));
        assert_eq!(hoard.sockets[0].peer_addr().unwrap().port(), 9);
        assert_eq!(watches(&hoard), 40);
        assert!(mapped() > before + 45 * MAP_BYTES, "other tests may have given some back");
        hoard.hold(Each { watches: 7, ..Each::default() }).unwrap();
        assert_eq!((watches(&hoard), hoard.maps.len(), hoard.sockets.len()), (7, 0, 0));
    }
}
