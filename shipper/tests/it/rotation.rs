//! What Docker rotates while the shipper does not look. `docs/pool.md` says what its log API can't promise.

use crate::support::docker_log;
use crate::support::engine::Made;
use crate::support::numbered::Numbered;
use crate::support::program::{Program, sum};
use crate::support::sink::Act;
use crate::support::stage::Stage;

/// The first generation of a log alone is more than what Docker, the socket and the shipper can hold of a stream
/// that is not read, and there are several.
const PAIRS: u64 = 14_000;
const ROTATES: [(&str, &str); 2] = [("max-size", "1500k"), ("max-file", "10")];

/// A shipper whose container has written while Loki took nothing: it soon reads nothing any more, and has closed
/// what it does not read.
async fn unread(design: &str, log_options: &[(&str, &str)]) -> (Stage, Program, Numbered) {
    let stage = Stage::new().await;
    let small = ["limits: {container_bytes: 64KiB}", "batch: {max_bytes: 16KiB, max_wait: 20ms}"];
    let program = stage.start(design, &small).await;
    let option = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let log_options = log_options.iter().map(option).collect();
    let made = Made { log_options, ..Made::default() };
    let mut writer = Numbered::start(&stage.engine, &stage.path("numbered"), "writer", made).await;
    stage.sink.mood(Act::Refuse("503 Service Unavailable", &[], ""));
    writer.write(PAIRS).await;
    program.until("/metrics", |page| sum(page, "shipper_containers_without_credit") == 1.0).await;
    program.until("/metrics", |page| sum(page, "shipper_docker_connections_in_use") == 0.0).await;
    (stage, program, writer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_rotated_away_while_nobody_reads_is_read_later_as_long_as_docker_keeps_it() {
    for design in ["pool", "hybrid"] {
        let (stage, program, writer) = unread(design, &ROTATES).await;
        assert!(docker_log::path(writer.id()).with_extension("log.2").exists(), "it has rotated twice");
        stage.sink.mood(Act::Store);
        stage.settled(&program, &stage.written([&writer])).await;
        assert_eq!((stage.repeated(), stage.dead().len()), (0, 0), "{design}");
        assert_eq!(program.terminate().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_container_is_read_to_its_end_from_its_files_and_not_through_dockers_api() {
    for design in ["pool", "hybrid"] {
        let (stage, program, writer) = unread(design, &[]).await;
        let lines = stage.written([&writer]);
        stage.engine.remove(writer.running).await;
        program.until("/metrics", |page| sum(page, "shipper_metadata_cache_entries") == 0.0).await;
        stage.sink.mood(Act::Store);
        if design == "hybrid" {
            stage.settled(&program, &lines).await;
        } else {
            program.until("/metrics", |page| sum(page, "shipper_lines_in_flight") == 0.0).await;
            assert!(lines.iter().any(|line| !stage.sink.has(line)), "Docker's API can do more than we say");
        }
        assert_eq!(program.terminate().await, 0);
    }
}
