//! A Docker Engine of a test's own, on a socket and in a folder of its own, which can be stopped, killed and started.
//!
//! Its containerd and the shims of its containers outlive it when it is killed, as everywhere; all of them, and
//! what they have mounted, go when this is dropped.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::support::orphans;
use crate::support::program::PATIENCE;

pub(crate) struct Dockerd {
    dir: tempfile::TempDir,
    daemon: Option<Child>,
    options: &'static [&'static str],
}

impl Dockerd {
    /// Starts one and waits until it answers. `options` besides those that keep it to itself.
    pub(crate) async fn start(options: &'static [&'static str]) -> Self {
        // A short path, since sockets lie below it.
        let prefix = format!("{}{}-", orphans::ENGINE, std::process::id());
        let dir = tempfile::Builder::new().prefix(&prefix).rand_bytes(4).tempdir().unwrap();
        for left in orphans::engines() {
            end_all(&left);
            // Another test may do the same.
            drop(std::fs::remove_dir_all(left));
        }
        let mut dockerd = Self { dir, daemon: None, options };
        dockerd.up().await;
        dockerd
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("docker.sock")
    }

    /// Where its containers' folders lie.
    pub(crate) fn containers(&self) -> PathBuf {
        self.path("data/containers")
    }

    /// Starts it (again).
    pub(crate) async fn up(&mut self) {
        let containerd = self.path("exec/containerd/containerd.pid");
        // A dead one that nobody has waited for looks alive to the next daemon.
        if pid_in(&containerd).is_some_and(is_zombie) {
            std::fs::remove_file(containerd).unwrap();
        }
        let log = OpenOptions::new().append(true).create(true).open(self.path("log")).unwrap();
        let mut command = Command::new("dockerd");
        command.arg("--host").arg(format!("unix://{}", self.socket().display()));
        command.arg("--data-root").arg(self.path("data")).arg("--exec-root").arg(self.path("exec"));
        command
            .arg("--pidfile")
            .arg(self.path("docker.pid"))
            .arg("--config-file")
            .arg(self.path("none.json"));
        std::fs::write(self.path("none.json"), "{}").unwrap();
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--storage-driver=vfs"]);
        command.args(self.options);
        let daemon = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.daemon = Some(daemon.unwrap_or_else(|error| panic!("these tests need dockerd: {error}")));
        let deadline = Instant::now() + PATIENCE;
        while !self.answers().await {
            let ended = self.daemon.as_mut().unwrap().try_wait().unwrap();
            let late = Instant::now() > deadline;
            assert!(ended.is_none() && !late, "dockerd does not start: {}", self.log());
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn answers(&self) -> bool {
        let docker = bollard::Docker::connect_with_unix(
            self.socket().to_str().unwrap(),
            5,
            bollard::API_DEFAULT_VERSION,
        );
        match docker {
            Ok(docker) => docker.ping().await.is_ok(),
            Err(_) => false,
        }
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path("log")).unwrap()).into_owned()
    }

    /// Ends it with this signal and waits until it has ended.
    pub(crate) async fn end(&mut self, signal: Signal) {
        let mut daemon = self.daemon.take().expect("it runs");
        let pid = Pid::from_raw(i32::try_from(daemon.id().expect("it runs")).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        let ended = tokio::time::timeout(PATIENCE, daemon.wait()).await;
        assert!(ended.is_ok(), "dockerd does not end: {}", self.log());
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        end_all(self.dir.path());
    }
}

/// Ends the daemon of this folder, containerd, the shims and what runs in containers, and takes away their mounts.
#[expect(
    clippy::disallowed_methods,
    reason = "nobody tells of the end of another's child, and a drop can't await"
)]
fn end_all(folder: &Path) {
    let folder = folder.to_str().unwrap();
    for _ in 0..100 {
        let processes = processes_of(folder);
        if processes.is_empty() {
            break;
        }
        for pid in processes {
            match kill_process(pid, Signal::KILL) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(error) => eprintln!("process {pid:?} of {folder} is left behind: {error}"),
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let below =
        mounts.lines().filter_map(|line| line.split(' ').nth(4)).filter(|path| path.starts_with(folder));
    // The innermost first.
    for path in below.collect::<Vec<_>>().into_iter().rev() {
        let ended = std::process::Command::new("umount").args(["--lazy", path]).output().unwrap();
        if !ended.status.success() {
            eprintln!("{path} is left mounted: {}", String::from_utf8_lossy(&ended.stderr));
        }
    }
}

/// Of all whose command line names this folder, and of their children, but for ourselves.
fn processes_of(folder: &str) -> Vec<Pid> {
    let mut found: Vec<i32> = Vec::new();
    let mut parents: Vec<(i32, i32)> = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let read = |name: &str| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let stat = read("stat");
        let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        if fields.next() == Some("Z") {
            continue;
        }
        parents.push((pid, fields.next().and_then(|parent| parent.parse().ok()).unwrap_or(0)));
        if read("cmdline").contains(folder) {
            found.push(pid);
        }
    }
    let children = parents.iter().filter(|(_, parent)| found.contains(parent)).map(|(pid, _)| *pid);
    found.extend(children.collect::<Vec<_>>());
    let own = i32::try_from(std::process::id()).unwrap();
    found.into_iter().filter(|pid| *pid != own).filter_map(Pid::from_raw).collect()
}

fn pid_in(file: &Path) -> Option<i32> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn is_zombie(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|fields| fields.starts_with('Z'))
}
