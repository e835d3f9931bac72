//! What Docker rotates while the shipper does not look. `docs/pool.md` says what its log API can't promise.

use std::time::Duration;

use tokio::time::sleep;

use crate::support::docker_log;
use crate::support::engine::Made;
use crate::support::numbered::Numbered;
use crate::support::program::sum;
use crate::support::sink::Act;
use crate::support::stage::Stage;

/// The first generation of a log alone is more than what Docker, the socket and the shipper can hold of a stream
/// that is not read, and there are several.
const PAIRS: u64 = 14_000;
const MAX_SIZE: &str = "1500k";

async fn rotating(stage: &Stage, max_file: &str) -> Numbered {
    let options = [("max-size", MAX_SIZE), ("max-file", max_file)];
    let log_options = options.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let made = Made { log_options, ..Made::default() };
    Numbered::start(&stage.engine, &stage.path("numbered"), "writer", made).await
}

/// Loki takes nothing, so that the shipper soon reads nothing any more, and closes what it does not read.
async fn writes_unread(stage: &Stage, writer: &mut Numbered) {
    stage.sink.mood(Act::Refuse("503 Service Unavailable", &[], ""));
    writer.write(PAIRS).await;
    sleep(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_rotated_away_while_nobody_reads_is_read_later_as_long_as_docker_keeps_it() {
    for design in ["pool", "hybrid"] {
        let stage = Stage::new().await;
        let program = stage
            .start(design, &["limits: {container_bytes: 64KiB}", "batch: {max_bytes: 16KiB, max_wait: 20ms}"])
            .await;
        let mut writer = rotating(&stage, "10").await;
        writes_unread(&stage, &mut writer).await;
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
        let stage = Stage::new().await;
        let program = stage
            .start(design, &["limits: {container_bytes: 64KiB}", "batch: {max_bytes: 16KiB, max_wait: 20ms}"])
            .await;
        let mut writer = stage.writer("writer").await;
        writes_unread(&stage, &mut writer).await;
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
