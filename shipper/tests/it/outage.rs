//! Loki is away for longer than all retries: nothing grows, nothing is lost, and an end is an end.

use rustix::process::Signal;

use crate::support::holdings::{assert_flat, holds};
use crate::support::program::{Program, assert_conserved, sum};
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
    writer.write(50).await;
    stage.settled(&program, &stage.written([&writer])).await;
    stage.sink.down().await;
    writer.write(PAIRS).await;
    full(&program).await;
    let mut samples = Vec::new();
    for round in 0..SAMPLES {
        samples.push(holds(&program).await);
        // The container writes on: its log is the buffer.
        if round % 10 == 5 {
            writer.write(200).await;
        }
        let failures = program.number("shipper_push_total{status=\"connection\"}").await;
        program
            .until("/metrics", |page| {
                sum(page, "shipper_push_total{status=\"connection\"}") >= failures + 10.0
            })
            .await;
    }
    assert_flat(&samples, &MAY_VARY);
    stage.sink.up();
    stage.settled(&program, &stage.written([&writer])).await;
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
        writer.write(PAIRS).await;
        program.until("/metrics", |page| sum(page, "shipper_lines_in_flight") > 0.0).await;
        program.signal(Signal::TERM);
        assert_eq!(program.ended().await, 0, "what is left can be read again: {outage:?}");
        let log = program.log();
        assert!(log.contains("deadline reached") && log.contains("ended in order"), "{log}");
        drop(program);

        stage.sink.up();
        stage.sink.mood(Act::Store);
        writer.write(10).await;
        let program = stage.start(design, &SMALL).await;
        stage.settled(&program, &stage.written([&writer])).await;
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
    writer.write(10).await;
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
