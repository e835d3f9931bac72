//! The archived design on real containers: it leaks in the way that it must, and without its defects it
//! does not. Which defect does what is tested beside its code, and in `losses` for those that lose lines.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::engine::{Engine, Running};
use crate::support::loki::{Loki, refuse};

mod losses;

const PATIENCE: Duration = Duration::from_secs(30);
/// Six lines at each start: three batches of two.
const SCRIPT: &str = "for line in 1 2 3 4 5 6; do echo line $line; done; sleep 1000";
const TOO_OLD: &str = "entry for stream '{}' has timestamp too old: 2026-11-24T10:00:00Z, oldest acceptable timestamp is: 2126-11-24T11:00:00Z\n";

/// The process under test.
struct Archived {
    child: Child,
    admin: SocketAddr,
    log: Option<JoinHandle<Vec<String>>>,
}

impl Archived {
    fn start(home: &Path, config: &str) -> Self {
        let file = home.join("archived.yaml");
        std::fs::write(&file, config).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_shipper-archived"))
            .args(["run", "--config"])
            .arg(file)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let (tell, told) = mpsc::channel();
        let log = std::thread::spawn(move || {
            let found = |line: &String| {
                if let Some((_, address)) = line.split_once("admin listens address=") {
                    tell.send(address.parse().unwrap()).unwrap();
                }
            };
            lines.inspect(found).collect()
        });
        let admin = told.recv_timeout(PATIENCE).expect("it tells where its admin page is");
        Self { child, admin, log: Some(log) }
    }

    fn counts(&self, name: &str) -> usize {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{name} is not on the page")).parse().unwrap()
    }

    /// Log files that the kernel holds open for it.
    fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        let links = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links.filter(|link| link.to_string_lossy().contains("-json.log")).count()
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            let seen = (self.descriptors(), self.counts("shipper_tasks_alive{kind=\"retry\"}"));
            assert!(Instant::now() < deadline, "not in time: {what}; descriptors, retries: {seen:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends it as a power cut would.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.log.take().unwrap().join().unwrap();
    }

    /// Ends it as a supervisor would; what it has logged.
    fn terminate(&mut self) -> (ExitStatus, Vec<String>) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        (status, self.log.take().unwrap().join().unwrap())
    }
}

impl Drop for Archived {
    fn drop(&mut self) {
        // It has ended already, unless the test has failed.
        if self.log.is_some() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

fn config(engine: &Engine, loki: &Loki, defects: &str) -> String {
    format!(
        "discovery: {{ labels: [\"{}\"] }}\n\
         loki: {{ url: \"{}\", encoding: json, tenant: test }}\n\
         batch: {{ max_lines: 2, max_wait: 1s }}\n\
         window: {{ max_age: 1h }}\n\
         admin: {{ listen: \"127.0.0.1:0\" }}\n\
         defects: {defects}\n",
        engine.label,
        loki.url()
    )
}

async fn restart(engine: &Engine, container: &Running) {
    engine.stop(container).await;
    engine.start(container).await;
}

#[tokio::test]
async fn each_restart_replays_the_log_and_leaves_tasks_and_a_descriptor_behind() {
    let (engine, home) = (Engine::new().await, tempfile::tempdir().unwrap());
    let loki = Loki::start((0..100_000).map(|_| refuse(400, TOO_OLD))).await;
    let container = engine.run(SCRIPT).await;
    let mut archived = Archived::start(home.path(), &config(&engine, &loki, "{}"));
    let retries = |archived: &Archived| archived.counts("shipper_tasks_alive{kind=\"retry\"}");
    // One start: 3 batches. After a restart the log has 12 lines and all are sent again: 6 more, then 9.
    for (descriptors, tasks) in [(1, 3), (2, 9), (3, 18)] {
        archived.until("it has read the log", |archived| retries(archived) >= tasks).await;
        archived
            .until("it has opened the log once more", |archived| archived.descriptors() == descriptors)
            .await;
        restart(&engine, &container).await;
    }
    drop(container);
    archived.until("Docker has told", |archived| archived.counts("shipper_containers") == 0).await;
    assert!(archived.descriptors() >= 3);
    assert!(archived.counts("tokio_alive_tasks") > 18);
    let (status, log) = archived.terminate();
    assert!(status.success(), "{status}: {log:#?}");
    let banner =
        "defects=replay_history, unbounded_retry, no_timestamp_check, leak_handles, no_metadata_cache";
    assert!(log.iter().any(|line| line.contains(banner)), "{log:#?}");
}

#[tokio::test]
async fn without_its_defects_nothing_is_left_behind() {
    let off = "{ replay_history: false, unbounded_retry: false, no_timestamp_check: false, leak_handles: false, no_metadata_cache: false }";
    let (engine, home) = (Engine::new().await, tempfile::tempdir().unwrap());
    let loki = Loki::start((0..100_000).map(|_| refuse(400, TOO_OLD))).await;
    let mut archived = Archived::start(home.path(), &config(&engine, &loki, off));
    archived.until("it listens to Docker", |archived| archived.counts("shipper_docker_connected") == 1).await;
    let container = engine.run(SCRIPT).await;
    for lines in [6, 12, 18] {
        let dropped = "shipper_lines_dropped_total{reason=\"refused\"}";
        archived.until("each line is sent once", |archived| archived.counts(dropped) == lines).await;
        // Its end may be told only after lines of its next life were read: then the log is opened anew.
        archived.until("its log is open", |archived| archived.descriptors() == 1).await;
        restart(&engine, &container).await;
    }
    drop(container);
    archived.until("all is given back", |archived| archived.descriptors() == 0).await;
    assert_eq!(archived.counts("shipper_tasks_alive{kind=\"retry\"}"), 0);
    assert_eq!(archived.counts("shipper_inotify_watches"), 0);
    assert!(archived.terminate().0.success());
}
