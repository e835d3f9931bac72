//! A process by kind, as the kernel shows it (proc(5)): its descriptors by sort and place, its threads by name, its
//! tasks by the labels of its own metric.
//!
//! Only links and names are read, never `smaps` or memory, and nothing is opened that the process holds.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{CWD, Mode, OFlags, RawDir, openat, readlinkat_raw};
use rustix::io::{Errno, read};

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
/// Descriptors that watch files.
const INOTIFY: &str = "inotify";
/// A folder's entries are read so many bytes at a time: some hundred of ours.
const ENTRIES_BYTES: usize = 16 * 1024;
/// Linux knows no longer path (`PATH_MAX`).
const LINK_BYTES: usize = 4096;
/// A thread's name has 15 bytes and a line's end (proc(5), `comm`).
const NAME_BYTES: usize = 64;

/// Counts by kind.
pub type Counts = BTreeMap<String, u64>;

/// The descriptors of some processes together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fds {
    /// By sort and place.
    pub kinds: Counts,
    /// Watches of all inotify instances together.
    pub watches: u64,
    /// Processes that could not be listed: gone, ended and not waited for, or not ours to look at.
    pub missed: u64,
}

/// Lists the descriptors of processes. One that is closed meanwhile is left out, one that can't be read is counted as
/// `unreadable`.
#[must_use]
pub fn fds(pids: &[u32]) -> Fds {
    let mut fds = Fds::default();
    // By network namespace: one of its processes, and the sockets of all of them.
    let mut sockets: BTreeMap<Vec<u8>, (u32, Vec<u64>)> = BTreeMap::new();
    for pid in pids {
        match of_process(*pid) {
            Ok(found) => {
                add(&mut fds.kinds, found.kinds);
                fds.watches += found.watches;
                if !found.sockets.is_empty() {
                    let space = sockets.entry(network_of(*pid)).or_insert_with(|| (*pid, Vec::new()));
                    space.1.extend(found.sockets);
                }
            }
            Err(_) => fds.missed += 1,
        }
    }
    // After the descriptors, so that each socket that was listed and still lives is found.
    for (pid, inodes) in sockets.into_values() {
        let known = Sockets::of(pid, &inodes.iter().copied().collect::<BTreeSet<_>>());
        inodes.into_iter().for_each(|inode| *fds.kinds.entry(known.kind(inode)).or_default() += 1);
    }
    fds.kinds = bounded(fds.kinds);
    fds
}

/// What is known of a process's descriptors without its socket tables.
#[derive(Debug, Default)]
struct Listed {
    kinds: Counts,
    watches: u64,
    sockets: Vec<u64>,
}

fn of_process(pid: u32) -> io::Result<Listed> {
    let mut listed = Listed::default();
    let mut any = false;
    each_link(pid, |number, link| {
        any = true;
        let kind = match link.map(told) {
            Some(Told::Socket(inode)) => return listed.sockets.push(inode),
            Some(Told::Kind(kind)) => kind,
            None => UNREADABLE.to_owned(),
        };
        if kind == INOTIFY {
            listed.watches += watches(pid, &number.to_string_lossy());
        }
        *listed.kinds.entry(kind).or_default() += 1;
    })?;
    // One that has none has closed its last one, or has ended and was not waited for.
    if any || process::stat(pid).is_ok() { Ok(listed) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// Each descriptor's number, and where its link leads, if it can be read. The link is read and not followed: nothing is
/// opened.
fn each_link(pid: u32, mut see: impl FnMut(&CStr, Option<&[u8]>)) -> io::Result<()> {
    let folder = folder(&format!("/proc/{pid}/fd"))?;
    let mut link = [0; LINK_BYTES];
    each_entry(folder.as_fd(), |number| {
        match readlinkat_raw(&folder, number, &mut link) {
            Ok(length) => see(number, link.get(..length)),
            // Closed between the listing and the look.
            Err(Errno::NOENT) => {}
            Err(_) => see(number, None),
        }
    })
}

fn folder(path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

fn each_entry(folder: BorrowedFd<'_>, mut see: impl FnMut(&CStr)) -> io::Result<()> {
    let mut buffer = [MaybeUninit::uninit(); ENTRIES_BYTES];
    let mut entries = RawDir::new(folder, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        // Numbers alone: not the folder itself and its parent.
        if entry.file_name().to_bytes().first().is_some_and(u8::is_ascii_digit) {
            see(entry.file_name());
        }
    }
    Ok(())
}

/// What a link says of a descriptor.
#[derive(Debug)]
enum Told {
    /// A socket's inode: the rest stands in the kernel's tables.
    Socket(u64),
    Kind(String),
}

fn told(link: &[u8]) -> Told {
    let link = String::from_utf8_lossy(link);
    if link.starts_with('/') {
        let kind = if link.starts_with("/memfd:") { "memfd".to_owned() } else { file(&link) };
        return Told::Kind(kind);
    }
    let kind = match link.split_once(':') {
        Some(("socket", inode)) => match inode.trim_matches(['[', ']']).parse() {
            Ok(inode) => return Told::Socket(inode),
            Err(_) => fold(&link),
        },
        Some(("pipe", _)) => "pipe".to_owned(),
        Some(("net", _)) => "network namespace".to_owned(),
        Some(("anon_inode", name)) => fold(name.trim_matches(['[', ']'])),
        Some((sort, _)) => fold(sort),
        None => fold(&link),
    };
    Told::Kind(kind)
}

fn file(path: &str) -> String {
    let (sort, path) = match path.strip_suffix(" (deleted)") {
        Some(path) => ("deleted file", path),
        None if path.starts_with("/dev/") => ("device", path),
        None => ("file", path),
    };
    format!("{sort} {}", fold(path))
}

/// The network namespace of a process, as its link says; none where that can't be read.
fn network_of(pid: u32) -> Vec<u8> {
    let link = fs::read_link(format!("/proc/{pid}/ns/net"));
    link.map(|link| link.into_os_string().into_vec()).unwrap_or_default()
}

/// Watches of one inotify instance: its lines in `fdinfo`. None where it is closed meanwhile.
fn watches(pid: u32, number: &str) -> u64 {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
    info.lines().filter(|line| line.starts_with("inotify wd:")).count() as u64
}

/// Threads of processes by name, and how many of these could not be listed; names that differ in their numbers alone are
/// one.
#[must_use]
pub fn threads(pids: &[u32]) -> (Counts, u64) {
    let mut names = Counts::new();
    let mut missed = 0;
    for pid in pids {
        match names_of(*pid) {
            Ok(found) => add(&mut names, found),
            Err(_) => missed += 1,
        }
    }
    (bounded(names), missed)
}

fn names_of(pid: u32) -> io::Result<Counts> {
    let folder = folder(&format!("/proc/{pid}/task"))?;
    let mut names = Counts::new();
    let (mut path, mut name) = (Vec::new(), [0; NAME_BYTES]);
    each_entry(folder.as_fd(), |thread| {
        path.clear();
        path.extend_from_slice(thread.to_bytes());
        path.extend_from_slice(b"/comm");
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = openat(&folder, path.as_slice(), flags, Mode::empty());
        let name = match file.and_then(|file| read(file, &mut name)) {
            Ok(length) => {
                let name = String::from_utf8_lossy(name.get(..length).unwrap_or_default());
                fold(name.trim_end_matches('\n'))
            }
            // A file of a thread that has ended since it was listed is not there or, once it is open, can't be read.
            Err(Errno::NOENT | Errno::SRCH) => return,
            Err(_) => UNREADABLE.to_owned(),
        };
        *names.entry(name).or_default() += 1;
    })?;
    // A process that lives has a thread; one that has ended shows its first until it is waited for.
    if names.is_empty() || process::stat(pid).is_err() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(names)
}

fn add(sums: &mut Counts, counts: Counts) {
    for (kind, count) in counts {
        *sums.entry(kind).or_default() += count;
    }
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
pub(super) fn bounded(kinds: Counts) -> Counts {
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
        let mut found = None;
        each_link(std::process::id(), |other, link| {
            if other.to_string_lossy() == number {
                found = Some(told(link.unwrap()));
            }
        })
        .unwrap();
        match found.unwrap() {
            Told::Kind(kind) => kind,
            Told::Socket(inode) => Sockets::of(std::process::id(), &BTreeSet::from([inode])).kind(inode),
        }
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
        let kinds = fds(&[std::process::id()]).kinds;
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
        assert!(fds(&[std::process::id()]).watches >= 2);
    }

    #[test]
    fn the_kinds_add_up_to_what_a_child_holds() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        // Until it has become `sleep`, it is still us.
        while threads(&[child.id()]).0 != Counts::from([("sleep".to_owned(), 1)]) {
            std::thread::yield_now();
        }
        let kinds = fds(&[child.id()]).kinds;
        let count = crate::sample::process::read(child.id()).unwrap().fds.unwrap();
        assert_eq!(kinds.values().sum::<u64>(), count, "{kinds:?}");
        child.kill().unwrap();
        // Ended, and not waited for: a zombie.
        while fds(&[child.id()]).missed == 0 {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!((fds(&[child.id()]).missed, threads(&[child.id()]).1), (1, 1));
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
            assert_eq!(threads(&[std::process::id()]).0.get("kinds-*"), Some(&3));
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
    fn a_process_that_is_not_there_is_missed_and_hides_no_other() {
        assert_eq!((fds(&[u32::MAX]).missed, threads(&[u32::MAX])), (1, (Counts::new(), 1)));
        let own = std::process::id();
        let (both, missed) = threads(&[own, u32::MAX]);
        assert!(!both.is_empty() && missed == 1, "{both:?}");
    }
}
