//! The whole program on the real Docker Engine: started, stopped and started again while Loki is down.

use std::path::Path;

use crate::support::engine::Engine;
use crate::support::loki::{Loki, refuse};
use crate::support::program::Program;
use crate::support::small_disk::SmallDisk;

const LINES: usize = 500;

fn config(dir: &Path, design: &str, engine: &Engine, loki: &Loki) -> String {
    format!(
        "design: {design}\nstate_dir: {dir}/state\nstart: end\nshutdown_deadline: 500ms\n\
         loki: {{url: \"{loki}\", tenant: test, encoding: json}}\nbatch: {{max_wait: 20ms}}\n\
         retry: {{initial: 20ms, max: 100ms}}\nadmin: {{listen: \"127.0.0.1:0\"}}\n\
         discovery: {{labels: [\"{label}\"]}}\n",
        dir = dir.display(),
        loki = loki.url(),
        label = engine.label,
    )
}

fn has(page: &str, line: &str) -> bool {
    page.lines().any(|other| other == line)
}

async fn nothing_is_lost(design: &str) {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::new().await;
    let down = Loki::start((0..100_000).map(|_| refuse(503, ""))).await;
    let shipper = Program::start(dir.path(), &config(dir.path(), design, &engine, &down)).await;
    let count = format!("i=0; while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); done; sleep 1000");
    let _container = engine.run(&count).await;
    let all_read = format!("shipper_lines_read_total {LINES}");
    shipper.until("/metrics", |page| has(page, &all_read)).await;
    assert_eq!(shipper.terminate().await, 0, "what is left can be read again");

    let _born_meanwhile = engine.run("echo born meanwhile").await;
    let up = Loki::start([]).await;
    let shipper = Program::start(dir.path(), &config(dir.path(), design, &engine, &up)).await;
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
    let shipper = Program::start(dir.path(), &config(dir.path(), "hybrid", &engine, &refusing)).await;
    disk.fill();
    let _container = engine.run("echo a; echo b; sleep 1000").await;
    shipper.until("/ready", |page| page.contains("dead letters can't be written in state_dir")).await;
    shipper.until("/metrics", |page| has(page, "shipper_dead_letters_failing 1")).await;
    assert_eq!(shipper.terminate().await, 0, "what is left can be read again");

    disk.free();
    let up = Loki::start([]).await;
    let shipper = Program::start(dir.path(), &config(dir.path(), "hybrid", &engine, &up)).await;
    shipper.until("/metrics", |page| has(page, "shipper_lines_delivered_total 2")).await;
    assert_eq!(shipper.terminate().await, 0);
    assert_eq!(up.stored(), ["a", "b"]);
}
