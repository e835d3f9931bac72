//! Loki is away for longer than all retries: nothing grows, nothing is lost, and an end is an end.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::sleep;

use crate::support::numbered::Numbered;
use crate::support::program::{PATIENCE, Program, assert_conserved, sum};
use crate::support::sink::Act;
use crate::support::stage::Stage;

/// Queues that a few hundred lines fill.
const SMALL: [&str; 3] = [
    "batch: {max_bytes: 4KiB, max_wait: 20ms}",
    "retry: {max_items: 4, initial: 10ms, max: 50ms}",
    "limits: {queue_lines: 64}",
];
/// More than all queues hold.
const PAIRS: u64 = 1500;
const SAMPLES: usize = 40;

/// Has it write, and waits until it has.
async fn write(writer: &mut Numbered, pairs: u64) {
    let until = writer.pairs() + pairs;
    assert!(writer.order(pairs));
    let written = async {
        while writer.pairs() < until {
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, written).await.expect("the container does not write");
}

/// Waits until the queues are full: nothing more was read while pushes failed a hundred times.
async fn full(program: &Program) -> f64 {
    let failed = |page: &str| sum(page, "shipper_push_total{status=\"connection\"}");
    loop {
        let page = program.page("/metrics").await;
        let (read, failures) = (sum(&page, "shipper_lines_read_total"), failed(&page));
        let later = program.until("/metrics", |page| failed(page) >= failures + 100.0).await;
        if read > 0.0 && sum(&later, "shipper_lines_read_total") == read {
            return read;
        }
    }
}

/// What it holds, by name.
async fn holds(program: &Program) -> BTreeMap<&'static str, f64> {
    let process = format!("/proc/{}", program.pid().as_raw_nonzero());
    let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse::<f64>().unwrap()
    };
    let page = program.page("/metrics").await;
    BTreeMap::from([
        ("threads", field("Threads:")),
        ("resident KiB", field("VmRSS:")),
        ("descriptors", std::fs::read_dir(format!("{process}/fd")).unwrap().count() as f64),
        ("own tasks", sum(&page, "shipper_tasks_alive")),
        ("tasks", sum(&page, "tokio_alive_tasks")),
        ("lines read", sum(&page, "shipper_lines_read_total")),
        ("batches", sum(&page, "shipper_retry_queue_items") + sum(&page, "shipper_push_in_flight")),
    ])
}

/// How much each may vary: four pushes at a time open and close connections, and so do we for the page.
const MAY_VARY: [(&str, f64); 7] = [
    ("threads", 0.0),
    ("resident KiB", 1024.0),
    ("descriptors", 6.0),
    ("own tasks", 1.0),
    ("tasks", 12.0),
    ("lines read", 0.0),
    ("batches", 4.0),
];

async fn flat_while_loki_is_down(design: &str) {
    let stage = Stage::new().await;
    let program = stage.start(design, &SMALL).await;
    let mut writer = stage.writer("a").await;
    // Once through everything, so that what is made once is made.
    write(&mut writer, 50).await;
    stage.settled(&program, &stage.written(&[&writer])).await;
    stage.sink.down().await;
    write(&mut writer, PAIRS).await;
    full(&program).await;
    let mut samples = Vec::new();
    for round in 0..SAMPLES {
        samples.push(holds(&program).await);
        // The container writes on: its log is the buffer.
        if round % 10 == 5 {
            write(&mut writer, 200).await;
        }
        let failures = program.number("shipper_push_total{status=\"connection\"}").await;
        program
            .until("/metrics", |page| {
                sum(page, "shipper_push_total{status=\"connection\"}") >= failures + 10.0
            })
            .await;
    }
    for (name, may_vary) in MAY_VARY {
        let values: Vec<f64> = samples.iter().map(|sample| sample[name]).collect();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        assert!(most - least <= may_vary, "{name}: {values:?}");
    }
    stage.sink.up();
    stage.settled(&program, &stage.written(&[&writer])).await;
    assert_eq!((stage.repeated(), stage.dead().len()), (0, 0));
    assert_eq!(program.terminate().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hybrid_stays_flat_while_loki_is_down_and_delivers_all_when_it_is_back() {
    flat_while_loki_is_down("hybrid").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_stays_flat_while_loki_is_down_and_delivers_all_when_it_is_back() {
    flat_while_loki_is_down("pool").await;
}

async fn end_in_an_outage(design: &str) {
    let busy = || Act::Refuse("503 Service Unavailable", &[], "");
    for outage in [None, Some(Act::Hang), Some(busy())] {
        let stage = Stage::new().await;
        let own = [SMALL.as_slice(), &["shutdown_deadline: 300ms"]].concat();
        let mut program = stage.start(design, &own).await;
        match &outage {
            None => stage.sink.down().await,
            Some(act) => stage.sink.mood(act.clone()),
        }
        let mut writer = stage.writer("a").await;
        write(&mut writer, PAIRS).await;
        program.until("/metrics", |page| sum(page, "shipper_lines_in_flight") > 0.0).await;
        program.signal(Signal::TERM);
        assert_eq!(program.ended().await, 0, "what is left can be read again: {outage:?}");
        let log = program.log();
        assert!(log.contains("deadline reached") && log.contains("ended in order"), "{log}");
        drop(program);

        stage.sink.up();
        stage.sink.mood(Act::Store);
        write(&mut writer, 10).await;
        let program = stage.start(design, &SMALL).await;
        stage.settled(&program, &stage.written(&[&writer])).await;
        assert_eq!((stage.repeated(), stage.dead().len()), (0, 0), "{outage:?}");
        assert_eq!(program.terminate().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hybrid_ends_in_time_during_an_outage_and_the_next_start_loses_nothing() {
    end_in_an_outage("hybrid").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_ends_in_time_during_an_outage_and_the_next_start_loses_nothing() {
    end_in_an_outage("pool").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_it_at_once_however_long_the_deadline() {
    let stage = Stage::new().await;
    let mut program = stage.start("hybrid", &["shutdown_deadline: 1h"]).await;
    stage.sink.mood(Act::Hang);
    let mut writer = stage.writer("a").await;
    write(&mut writer, 10).await;
    program.until("/metrics", |page| sum(page, "shipper_push_in_flight") > 0.0).await;
    program.signal(Signal::TERM);
    program.until_it_says("stopping").await;
    let page = program.page("/metrics").await;
    assert_conserved(&page);
    assert!(sum(&page, "shipper_lines_in_flight") > 0.0, "{page}");
    program.signal(Signal::TERM);
    assert_eq!(program.ended().await, 0);
    assert!(program.log().contains("second signal"), "{}", program.log());
}
