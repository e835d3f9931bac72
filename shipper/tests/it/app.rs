//! The whole program on the real Docker Engine: started, stopped and started again while Loki is down.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};

use crate::support::engine::Engine;
use crate::support::loki::{Loki, refuse};
use crate::support::small_disk::SmallDisk;

const PATIENCE: Duration = Duration::from_secs(30);
const LINES: usize = 500;

/// The program as a process; killed when dropped.
struct Shipper {
    child: Child,
    // Held, so that the program can go on writing its log.
    _log: tokio::io::Lines<BufReader<ChildStderr>>,
    admin: String,
}

impl Shipper {
    async fn start(dir: &Path, design: &str, engine: &Engine, loki: &Loki) -> Self {
        let config = format!(
            "design: {design}\nstate_dir: {dir}/state\nstart: end\nshutdown_deadline: 500ms\n\
             loki: {{url: \"{loki}\", tenant: test, encoding: json}}\nbatch: {{max_wait: 20ms}}\n\
             retry: {{initial: 20ms, max: 100ms}}\nadmin: {{listen: \"127.0.0.1:0\"}}\n\
             discovery: {{labels: [\"{label}\"]}}\n",
            dir = dir.display(),
            loki = loki.url(),
            label = engine.label,
        );
        let path = dir.join("shipper.yaml");
        std::fs::write(&path, config).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_shipper"))
            .args(["run", "--config"])
            .arg(path)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = tokio::time::timeout(PATIENCE, log.next_line()).await.unwrap().unwrap().unwrap();
        let admin = first.split("address=").nth(1).unwrap_or_else(|| panic!("{first}")).to_owned();
        let shipper = Self { child, _log: log, admin };
        shipper.until("/ready", |page| page == "ready\n").await;
        shipper
    }

    /// Asks for a page until it is as it should be.
    async fn until(&self, path: &str, holds: impl Fn(&str) -> bool) {
        let url = format!("http://{}{path}", self.admin);
        let mut last = String::new();
        let look = async {
            loop {
                last = reqwest::get(&url).await.unwrap().text().await.unwrap();
                if holds(&last) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let seen = tokio::time::timeout(PATIENCE, look).await;
        assert!(seen.is_ok(), "{path} never was as it should be:\n{last}");
    }

    async fn terminate(mut self) -> i32 {
        let pid = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("it does not end").unwrap().code().unwrap()
    }
}

fn has(page: &str, line: &str) -> bool {
    page.lines().any(|other| other == line)
}

async fn nothing_is_lost(design: &str) {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::new().await;
    let down = Loki::start((0..100_000).map(|_| refuse(503, ""))).await;
    let shipper = Shipper::start(dir.path(), design, &engine, &down).await;
    let count = format!("i=0; while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); done; sleep 1000");
    let _container = engine.run(&count).await;
    let all_read = format!("shipper_lines_read_total {LINES}");
    shipper.until("/metrics", |page| has(page, &all_read)).await;
    assert_eq!(shipper.terminate().await, 0, "what is left can be read again");

    let _born_meanwhile = engine.run("echo born meanwhile").await;
    let up = Loki::start([]).await;
    let shipper = Shipper::start(dir.path(), design, &engine, &up).await;
    let all_delivered = format!("shipper_lines_delivered_total {}", LINES + 1);
    shipper
        .until("/metrics", |page| has(page, &all_delivered) && has(page, "shipper_lines_in_flight 0"))
        .await;
    assert_eq!(shipper.terminate().await, 0);
    let mut stored = up.stored();
    stored.sort();
    let mut expected: Vec<String> = (0..LINES).map(|number| format!("line {number}")).collect();
    expected.push("born meanwhile".to_owned());
    expected.sort();
    assert_eq!(stored, expected);
}

#[tokio::test]
async fn pool_loses_nothing_when_it_is_stopped_while_loki_is_down() {
    nothing_is_lost("pool").await;
}

#[tokio::test]
async fn hybrid_loses_nothing_when_it_is_stopped_while_loki_is_down() {
    nothing_is_lost("hybrid").await;
}

#[tokio::test]
async fn a_full_disk_is_told_by_ready_and_a_stop_meanwhile_is_in_time_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(&dir.path().join("state/dead-letters"));
    let engine = Engine::new().await;
    let refusing = Loki::start((0..100_000).map(|_| refuse(400, "no word that is understood\n"))).await;
    let shipper = Shipper::start(dir.path(), "hybrid", &engine, &refusing).await;
    disk.fill();
    let _container = engine.run("echo a; echo b; sleep 1000").await;
    shipper.until("/ready", |page| page.contains("dead letters can't be written in state_dir")).await;
    shipper.until("/metrics", |page| has(page, "shipper_dead_letters_failing 1")).await;
    assert_eq!(shipper.terminate().await, 0, "what is left can be read again");

    disk.free();
    let up = Loki::start([]).await;
    let shipper = Shipper::start(dir.path(), "hybrid", &engine, &up).await;
    shipper.until("/metrics", |page| has(page, "shipper_lines_delivered_total 2")).await;
    assert_eq!(shipper.terminate().await, 0);
    assert_eq!(up.stored(), ["a", "b"]);
}
