//! A process by kind, as the kernel shows it (proc(5)): its descriptors by sort and place, its threads by name, its
//! tasks by the labels of its own metric.
//!
//! Only links and names are read, never `smaps` or memory, and nothing is opened that the process holds.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::str::FromStr;

use procfs::process::FDTarget;
use procfs::{ProcError, ProcResult};
use rustix::io::Errno;

use crate::sample::fold::fold;
use crate::sample::metrics;
use crate::sample::process;
use crate::sample::sockets::Sockets;

/// Kinds of one process that are told apart; with more, those with the highest counts are, and the rest is
/// [`OTHER`].
const KINDS_MAX: usize = 40;
/// All kinds that are not named.
pub const OTHER: &str = "other";
/// Tasks that the process counts and does not name.
const UNNAMED: &str = "unnamed";
/// What is there and may not be looked at.
const UNREADABLE: &str = "unreadable";

/// Counts by kind.
pub type Counts = BTreeMap<String, u64>;

/// The descriptors of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fds {
    /// By sort and place.
    pub kinds: Counts,
    /// Watches of all inotify instances together.
    pub watches: u64,
}

/// Lists the descriptors of a process. One that is closed meanwhile is left out, one that can't be read is counted
/// as `unreadable`.
///
/// # Errors
/// [`ProcError`] where the process is gone, has ended and was not waited for, or may not be looked at.
pub fn fds(pid: u32) -> Result<Fds, ProcError> {
    let mut fds = Fds::default();
    for (number, kind) in each_fd(pid)? {
        if kind == "inotify" {
            fds.watches += watches(pid, &number);
        }
        *fds.kinds.entry(kind).or_default() += 1;
    }
    fds.kinds = bounded(some(fds.kinds)?);
    Ok(fds)
}

/// Each descriptor's number and kind.
fn each_fd(pid: u32) -> Result<Vec<(String, String)>, ProcError> {
    let mut targets = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))?.flatten() {
        match target(&entry.path()) {
            Ok(target) => targets.push((entry.file_name().to_string_lossy().into_owned(), Some(target))),
            // Closed between the listing and the look.
            Err(ProcError::NotFound(_)) => {}
            Err(_) => targets.push((entry.file_name().to_string_lossy().into_owned(), None)),
        }
    }
    let any_socket = targets.iter().any(|(_, target)| matches!(target, Some(FDTarget::Socket(_))));
    // After the descriptors, so that each socket that was listed and still lives is found.
    let sockets = if any_socket { Sockets::of(&process::open(pid)?) } else { Sockets::default() };
    let named = targets.into_iter().map(|(number, target)| {
        (number, target.map_or_else(|| UNREADABLE.to_owned(), |target| kind(&target, &sockets)))
    });
    Ok(named.collect())
}

/// What a descriptor's link leads to. The link is read and not followed: nothing is opened.
fn target(link: &Path) -> ProcResult<FDTarget> {
    FDTarget::from_str(&fs::read_link(link)?.to_string_lossy())
}

fn kind(target: &FDTarget, sockets: &Sockets) -> String {
    match target {
        FDTarget::Path(path) => file(&path.to_string_lossy()),
        FDTarget::Socket(inode) => sockets.kind(*inode),
        FDTarget::Net(_) => "network namespace".to_owned(),
        FDTarget::Pipe(_) => "pipe".to_owned(),
        FDTarget::AnonInode(name) => fold(name.trim_matches(['[', ']'])),
        FDTarget::MemFD(_) => "memfd".to_owned(),
        FDTarget::Other(name, _) | FDTarget::Unknown(name, _) => fold(name),
    }
}

fn file(path: &str) -> String {
    let (sort, path) = match path.strip_suffix(" (deleted)") {
        Some(path) => ("deleted file", path),
        None if path.starts_with("/dev/") => ("device", path),
        None => ("file", path),
    };
    format!("{sort} {}", fold(path))
}

/// Watches of one inotify instance: its lines in `fdinfo`. None where it is closed meanwhile.
fn watches(pid: u32, number: &str) -> u64 {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
    info.lines().filter(|line| line.starts_with("inotify wd:")).count() as u64
}

/// Threads by name; those that differ in their numbers alone are one.
///
/// # Errors
/// As [`fds`].
pub fn threads(pid: u32) -> Result<Counts, ProcError> {
    let mut names = Counts::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let name = match fs::read_to_string(entry.path().join("comm")) {
            Ok(name) => fold(name.trim_end_matches('\n')),
            Err(error) if has_ended(&error) => continue,
            Err(_) => UNREADABLE.to_owned(),
        };
        *names.entry(name).or_default() += 1;
    }
    Ok(bounded(some(names)?))
}

/// A file of a thread that has ended since it was listed is not there or, once it is open, can't be read.
fn has_ended(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
}

/// Tasks by the labels of the metric `by_kind` on a page; what the metric `total` counts beyond them is `unnamed`.
#[must_use]
pub fn tasks(page: &str, total: &str, by_kind: &str) -> Counts {
    let mut kinds = Counts::new();
    for (labels, count) in metrics::counts_by_labels(page, by_kind) {
        *kinds.entry(fold(&labels)).or_default() += count;
    }
    let named: u64 = kinds.values().sum();
    let unnamed = metrics::count(page, total).unwrap_or(0).saturating_sub(named);
    if unnamed > 0 && !kinds.is_empty() {
        *kinds.entry(UNNAMED.to_owned()).or_default() += unnamed;
    }
    bounded(kinds)
}

/// Within [`KINDS_MAX`], with nothing left uncounted.
fn bounded(kinds: Counts) -> Counts {
    if kinds.len() <= KINDS_MAX {
        return kinds;
    }
    let mut kinds: Vec<(String, u64)> = kinds.into_iter().collect();
    kinds.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let rest = kinds.split_off(KINDS_MAX - 1);
    let mut kinds: Counts = kinds.into_iter().collect();
    *kinds.entry(OTHER.to_owned()).or_default() += rest.iter().map(|(_, count)| count).sum::<u64>();
    kinds
}

/// A process that lives has threads and, unless it closed its last one, descriptors: no count at all is that of one
/// that has ended and was not waited for.
fn some(kinds: Counts) -> Result<Counts, ProcError> {
    if kinds.is_empty() { Err(ProcError::NotFound(None)) } else { Ok(kinds) }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    use rustix::fs::inotify;

    use super::*;

    /// The kind of a descriptor of this process, whatever the other tests hold.
    fn kind_of(fd: &impl AsRawFd) -> String {
        let number = fd.as_raw_fd().to_string();
        let all = each_fd(std::process::id()).unwrap();
        all.into_iter().find(|(found, _)| *found == number).unwrap().1
    }

    #[test]
    fn each_descriptor_is_told_by_its_sort_and_place() {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let path = folder.path().join("ab12-json.log");
        let file = File::create(&path).unwrap();
        assert_eq!(
            kind_of(&file),
            format!("file {}/ab*-json.log", fold(&folder.path().display().to_string()))
        );
        fs::remove_file(&path).unwrap();
        assert!(kind_of(&file).starts_with("deleted file /tmp/"), "{}", kind_of(&file));
        assert!(kind_of(&file).ends_with("/ab*-json.log"), "{}", kind_of(&file));
        assert_eq!(kind_of(&File::open("/dev/null").unwrap()), "device /dev/null");
        assert_eq!(kind_of(&std::io::pipe().unwrap().0), "pipe");
        assert_eq!(kind_of(&inotify::init(inotify::CreateFlags::CLOEXEC).unwrap()), "inotify");
    }

    #[test]
    fn a_runtimes_poll_and_its_waker_are_told() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let kinds = fds(std::process::id()).unwrap().kinds;
        assert!(kinds.contains_key("eventpoll") && kinds.contains_key("eventfd"), "{kinds:?}");
        drop(runtime);
    }

    #[test]
    fn a_tcp_socket_is_told_by_its_peer_and_state() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        assert_eq!(kind_of(&listener), format!("socket listening on {to}"));
        let client = TcpStream::connect(to).unwrap();
        let server = listener.accept().unwrap().0;
        assert_eq!(kind_of(&server), format!("socket from 127.0.0.1 to port {} established", to.port()));
        drop(listener);
        assert_eq!(kind_of(&client), format!("socket to {to} established"));
        drop(server);
        assert_eq!(kind_of(&client), format!("socket to {to} close-wait"));
    }

    #[test]
    fn an_ipv4_peer_of_an_ipv6_socket_is_an_ipv4_peer() {
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let server = listener.accept().unwrap().0;
        assert_eq!(kind_of(&server), format!("socket from 127.0.0.1 to port {port} established"));
    }

    #[test]
    fn unix_and_udp_sockets_are_told_as_far_as_the_kernel_does() {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let path = folder.path().join("api.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let name = fold(&path.display().to_string());
        assert_eq!(kind_of(&listener), format!("socket unix {name} unconnected"));
        let client = UnixStream::connect(&path).unwrap();
        assert_eq!(kind_of(&client), "socket unix unnamed connected", "nobody has accepted it yet");
        let server = listener.accept().unwrap().0;
        assert_eq!(kind_of(&server), format!("socket unix {name} connected"));
        assert_eq!(kind_of(&client), format!("socket unix to {name} connected"));
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(kind_of(&udp), "socket udp without peer");
        udp.connect("127.0.0.1:9").unwrap();
        assert_eq!(kind_of(&udp), "socket udp to 127.0.0.1:9");
    }

    #[test]
    fn watches_are_counted_by_instance() {
        let folder = tempfile::tempdir().unwrap();
        let instance = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
        let count = || watches(std::process::id(), &instance.as_raw_fd().to_string());
        assert_eq!(count(), 0);
        for name in ["a", "b"] {
            fs::create_dir(folder.path().join(name)).unwrap();
            inotify::add_watch(&instance, folder.path().join(name), inotify::WatchFlags::CREATE).unwrap();
        }
        assert_eq!(count(), 2);
        assert!(fds(std::process::id()).unwrap().watches >= 2);
    }

    #[test]
    fn the_kinds_add_up_to_what_a_child_holds() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        // Until it has become `sleep`, it is still us.
        while threads(child.id()).unwrap() != Counts::from([("sleep".to_owned(), 1)]) {
            std::thread::yield_now();
        }
        let kinds = fds(child.id()).unwrap().kinds;
        let count = crate::sample::process::read(child.id()).unwrap().fds.unwrap();
        assert_eq!(kinds.values().sum::<u64>(), count, "{kinds:?}");
        child.kill().unwrap();
        // Ended, and not waited for: a zombie.
        while fds(child.id()).is_ok() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(fds(child.id()).is_err() && threads(child.id()).is_err());
    }

    #[test]
    fn threads_of_a_pool_are_one_kind() {
        std::thread::scope(|scope| {
            let (ready, all_ready) = std::sync::mpsc::channel();
            let ends: Vec<_> = (0..3)
                .map(|number| {
                    let (end, ended) = std::sync::mpsc::channel::<()>();
                    let ready = ready.clone();
                    let work = move || {
                        ready.send(()).unwrap();
                        ended.recv().unwrap_err();
                    };
                    std::thread::Builder::new()
                        .name(format!("kinds-{number}"))
                        .spawn_scoped(scope, work)
                        .unwrap();
                    end
                })
                .collect();
            all_ready.iter().take(3).for_each(drop);
            assert_eq!(threads(std::process::id()).unwrap().get("kinds-*"), Some(&3));
            drop(ends);
        });
    }

    #[test]
    fn tasks_are_told_by_their_labels_and_the_rest_is_unnamed() {
        let page = "alive{kind=\"retry\"} 4\nalive{kind=\"source\"} 1\nalive{kind=\"admin\"} 0\nall 7\n";
        let pairs =
            |counts: Counts| counts.into_iter().map(|(kind, n)| format!("{kind} {n}")).collect::<Vec<_>>();
        assert_eq!(pairs(tasks(page, "all", "alive")), ["admin 0", "retry 4", "source 1", "unnamed 2"]);
        assert_eq!(pairs(tasks(page, "none", "alive")), ["admin 0", "retry 4", "source 1"]);
        assert_eq!(pairs(tasks(page, "all", "none")), [""; 0]);
    }

    #[test]
    fn the_rest_of_many_kinds_is_one_and_nothing_is_lost() {
        let many: Counts = (0..100_u64).map(|n| (format!("kind {n:03}"), n)).collect();
        let few = bounded(many.clone());
        assert_eq!(few.len(), KINDS_MAX);
        assert_eq!(few.values().sum::<u64>(), many.values().sum::<u64>());
        assert_eq!((few.get("kind 099"), few.get("kind 000")), (Some(&99), None));
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(fds(u32::MAX).is_err() && threads(u32::MAX).is_err());
    }
}
