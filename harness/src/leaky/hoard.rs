//! What a leaking process holds: real descriptors, real threads, real tasks. Each ends when it is dropped.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::leaky::pace::Each;

/// Always there, and costs a descriptor and nothing else.
const FILE: &str = "/dev/null";
/// A thread that waits needs hardly any; a round number above the least that the kernel's libraries take.
const STACK_BYTES: usize = 128 * 1024;

/// The system gives no more.
#[derive(Debug, thiserror::Error)]
#[error(
    "can't hold one more {what} than {held}: {source}; give it a higher limit (ulimit {option}), a slower pace or a \
     shorter run"
)]
pub struct HoardError {
    what: &'static str,
    option: &'static str,
    held: usize,
    source: io::Error,
}

/// Everything that is held.
#[derive(Debug, Default)]
pub(super) struct Hoard {
    fds: Vec<File>,
    /// A thread waits at the other end of each, and ends with it.
    threads: Vec<mpsc::SyncSender<Infallible>>,
    /// The same with tasks.
    tasks: Vec<oneshot::Sender<Infallible>>,
    owner: TaskTracker,
}

impl Hoard {
    /// Takes or gives back until so many of each are held.
    ///
    /// # Errors
    /// [`HoardError`]: a limit of the process or of the machine.
    pub(super) fn hold(&mut self, wanted: Each<usize>) -> Result<(), HoardError> {
        let Self { fds, threads, tasks, owner } = self;
        let full = |what, option| move |(held, source)| HoardError { what, option, held, source };
        fill(fds, wanted.fds, || File::open(FILE)).map_err(full("file descriptor", "-n"))?;
        fill(threads, wanted.threads, thread_that_waits).map_err(full("thread", "-u"))?;
        let Ok(()) = fill(tasks, wanted.tasks, || Ok::<_, Infallible>(task_that_waits(owner)));
        Ok(())
    }
}

/// An error comes with how many were held by then.
fn fill<T, E>(
    held: &mut Vec<T>,
    wanted: usize,
    one_more: impl Fn() -> Result<T, E>,
) -> Result<(), (usize, E)> {
    held.truncate(wanted);
    while held.len() < wanted {
        let one = one_more().map_err(|source| (held.len(), source))?;
        held.push(one);
    }
    Ok(())
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
        hoard.hold(Each { fds: 70, threads: 12, tasks: 300 }).unwrap();
        assert!(files() >= files_before + 60, "other tests may have closed some: {}", files());
        // A thread names itself once it runs.
        while threads() < 12 {
            tokio::task::yield_now().await;
        }
        assert_eq!((threads(), tasks()), (12, tasks_before + 300));
        hoard.hold(Each { fds: 0, threads: 2, tasks: 100 }).unwrap();
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
        let error = HoardError { what: "file descriptor", option: "-n", held, source }.to_string();
        assert!(error.contains("file descriptor than 0") && error.contains("ulimit -n"), "{error}");
    }
}
