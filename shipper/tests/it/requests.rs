//! What the shipper asks Docker for, counted on the wire, and what comes of a Docker that is cut off, silent or away.

use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

use crate::support::between::{Between, LIST};
use crate::support::engine::SOCKET;
use crate::support::holdings::{TCP, descriptors};
use crate::support::numbered::Numbered;
use crate::support::program::{Program, sum, until};
use crate::support::stage::Stage;

/// A shipper that reaches Docker only through the proxy.
async fn start(stage: &Stage, design: &str) -> (Between, Program) {
    let between = Between::unix(stage.path("between.sock"), Path::new(SOCKET)).await;
    let docker = format!("docker: {{host: \"{}\"}}", between.host());
    let program = stage.start(design, &[&docker]).await;
    (between, program)
}

/// Has each write so many pairs more.
async fn write(writers: &mut [Numbered], pairs: u64) {
    for writer in writers {
        writer.write(pairs).await;
    }
}

/// Until so many more listings have been asked for.
async fn reconciled(between: &Between, times: usize) {
    let lists = || between.count("/containers/json", "");
    let enough = lists() + times;
    until("enough is reconciled", || lists() >= enough).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_steady_state_docker_is_asked_for_nothing_but_the_reconciles_list() {
    for design in ["hybrid", "pool", "auto"] {
        let stage = Stage::new().await;
        let (between, program) = start(&stage, design).await;
        let mut writers = Vec::new();
        for name in ["a", "b", "c"] {
            writers.push(stage.writer(name).await);
        }
        write(&mut writers, 10).await;
        stage.settled(&program, &stage.written(&writers)).await;
        // One inspection a container, and one log request each where files are not read.
        let logs = if design == "pool" { 3 } else { 0 };
        assert_eq!(between.count("/containers/", "/logs"), logs, "{design}: {:?}", between.all());
        assert_eq!(between.count("/containers/", "/json") - between.count("/containers/json", ""), 3);
        let before = between.all().len();
        let (mut lists, mut rounds) = (0, 0);
        while lists < 2 {
            let asked = between.count("/containers/json", "");
            write(&mut writers, 300).await;
            stage.settled(&program, &stage.written(&writers)).await;
            sleep(Duration::from_millis(200)).await;
            lists += between.count("/containers/json", "") - asked;
            rounds += 1;
        }
        let since: Vec<String> = between.all()[before..].to_vec();
        assert!(rounds > 3 && since.len() >= 2, "{design}: {rounds} rounds, {since:?}");
        assert!(since.iter().all(|path| path == LIST), "{design}: {since:?}");
        assert_eq!(program.terminate().await, 0);
        assert_eq!(stage.repeated(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_events_keep_silent_about_is_found_by_the_next_reconcile() {
    for design in ["hybrid", "pool"] {
        let stage = Stage::new().await;
        let (between, program) = start(&stage, design).await;
        let mut writers = vec![stage.writer("before").await];
        write(&mut writers, 10).await;
        program.until("/metrics", |page| sum(page, "shipper_containers ") == 1.0).await;
        between.mute(true);
        let stopped = stage.writer("stopped").await;
        writers.push(stage.writer("born").await);
        writers.push(stopped);
        write(&mut writers, 10).await;
        // Born, and stopped again, without a word. Stopped ones are listed too.
        stage.engine.stop(&writers[2].running).await;
        stage.settled(&program, &stage.written(&writers)).await;
        // And one that is removed without a word is forgotten.
        let gone = writers.remove(0);
        let lines = stage.written([&gone]);
        stage.engine.remove(gone.running).await;
        reconciled(&between, 2).await;
        program.until("/metrics", |page| sum(page, "shipper_metadata_cache_entries") == 2.0).await;
        assert!(lines.iter().all(|line| stage.sink.has(line)));
        assert_eq!(program.terminate().await, 0);
        assert_eq!(stage.repeated(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_of_which_docker_tells_nothing_is_not_asked_about_at_each_reconcile() {
    let stage = Stage::new().await;
    let (between, program) = start(&stage, "hybrid").await;
    between.refuse_inspections(true);
    let mut writers = vec![stage.writer("a").await];
    write(&mut writers, 10).await;
    let inspections = || between.count(&format!("/containers/{}/json", writers[0].id().as_str()), "");
    until("it was asked about", || inspections() > 0).await;
    program.until("/metrics", |page| sum(page, "shipper_metadata_cache_entries") == 1.0).await;
    reconciled(&between, 4).await;
    assert!(inspections() <= 3, "asked {} times at 4 reconciles", inspections());
    between.refuse_inspections(false);
    stage.settled(&program, &stage.written(&writers)).await;

    between.refuse_inspections(true);
    let gone = stage.writer("gone").await;
    program.until("/metrics", |page| sum(page, "shipper_metadata_cache_entries") == 2.0).await;
    stage.engine.remove(gone.running).await;
    program.until("/metrics", |page| sum(page, "shipper_metadata_cache_entries") == 1.0).await;
    assert_eq!(program.terminate().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_cuts_silent_connections_costs_no_line_and_repeats_none() {
    for design in ["hybrid", "pool"] {
        let stage = Stage::new().await;
        let (mut between, program) = start(&stage, design).await;
        let mut writers = vec![stage.writer("a").await, stage.writer("b").await];
        for round in 1..=5 {
            write(&mut writers, 20).await;
            stage.settled(&program, &stage.written(&writers)).await;
            let heard = between.count("/events", "");
            between.cut().await;
            // While it is away lines go on being written.
            write(&mut writers, 5).await;
            until(&format!("{design}: events after cut {round}"), || between.count("/events", "") > heard)
                .await;
        }
        stage.settled(&program, &stage.written(&writers)).await;
        program.until("/ready", |page| page == "ready\n").await;
        assert_eq!(program.terminate().await, 0);
        assert_eq!(stage.repeated(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_docker_is_away_nothing_grows_and_all_lines_come_when_it_is_back() {
    for design in ["hybrid", "pool"] {
        let stage = Stage::new().await;
        let (mut between, program) = start(&stage, design).await;
        let mut writers = vec![stage.writer("a").await, stage.writer("b").await];
        write(&mut writers, 20).await;
        stage.settled(&program, &stage.written(&writers)).await;
        let (descriptors, tasks) = (open(&program), program.number("shipper_tasks_alive").await);
        between.away().await;
        program.until("/ready", |page| page.contains("Docker")).await;
        for _ in 0..20 {
            write(&mut writers, 10).await;
            sleep(Duration::from_millis(100)).await;
            assert!(open(&program) <= descriptors, "{design}: {} of {descriptors}", open(&program));
            assert!(program.number("shipper_tasks_alive").await <= tasks, "{design}: {tasks}");
        }
        writers.push(stage.writer("born").await);
        write(&mut writers, 10).await;
        between.back().await;
        stage.settled(&program, &stage.written(&writers)).await;
        program.until("/ready", |page| page == "ready\n").await;
        assert_eq!(program.terminate().await, 0);
        assert_eq!(stage.repeated(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_that_is_over_before_the_one_before_was_read_to_its_end_is_read_too() {
    let stage = Stage::new().await;
    let (between, program) = start(&stage, "pool").await;
    let script = "echo >> /lives; n=0; while read l; do n=$((n+1)); done < /lives; echo life $n";
    between.hold_logs(true);
    let logs = || between.count("/containers/", "/logs");
    let short = stage.engine.run(script).await;
    stage.engine.ended(&short).await;
    // Followed, and then asked for what was left at its end.
    until("it is read to its end", || logs() == 2).await;
    stage.engine.start(&short).await;
    stage.engine.ended(&short).await;
    // Time to hear of it, and less than a silent stream is waited for once its container has stopped (2 s).
    sleep(Duration::from_millis(500)).await;
    between.hold_logs(false);
    until("both lives are read", || stage.sink.has("life 1") && stage.sink.has("life 2")).await;
    assert_eq!(program.terminate().await, 0);
    assert_eq!(stage.repeated(), 0);
}

/// File descriptors but those of connections to the sink and to the admin page, which come and go.
fn open(program: &Program) -> usize {
    descriptors(program).into_iter().filter(|(kind, _)| kind != TCP).map(|(_, count)| count).sum()
}
