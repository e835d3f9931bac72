//! What the Engine itself does with its files: compression, rotation under load, crash loops, long lines.

use shipper::source::LINE_BYTES_MAX;
use shipper::source::join::TRUNCATION_MARK;

use super::*;

/// Writes lines in bursts of 100 until there are so many.
fn bursts(lines: u32) -> String {
    format!(
        "i=0; while [ $i -lt {lines} ]; do echo line $i; i=$((i+1)); [ $((i%100)) -ne 0 ] || sleep 0.02; done"
    )
}

async fn ends(engine: &Engine, mut upstream: Upstream, container: crate::support::engine::Running) {
    engine.stop(&container).await;
    let id = container.id.clone();
    drop(container);
    upstream.gone([id]).await;
    assert_eq!(upstream.metrics.open_files.get() + upstream.metrics.inotify_watches.get(), 0);
    assert_eq!(upstream.metrics.lines.balance(), 0);
    assert!(upstream.end().await.is_empty());
}

#[tokio::test]
async fn max_file_1_rotates_under_load_and_each_line_comes_once() {
    let engine = Engine::new().await;
    let mut upstream = Upstream::start(&engine, Design::Hybrid, Start::End, Resume::new()).await;
    let script = format!("{}; sleep 1000", bursts(20_000));
    let container = engine.create(&script, &[("max-size", "400k"), ("max-file", "1")], false).await;
    engine.start(&container).await;
    assert_eq!(upstream.lines(20_000).await[&container.id], numbered(0..20_000));
    ends(&engine, upstream, container).await;
}

#[tokio::test]
async fn docker_compresses_and_hybrid_follows() {
    let engine = Engine::new().await;
    let mut upstream = Upstream::start(&engine, Design::Hybrid, Start::End, Resume::new()).await;
    let options = [("max-size", "64k"), ("max-file", "20"), ("compress", "true")];
    let container = engine.create(&format!("{}; sleep 1000", bursts(8_000)), &options, false).await;
    engine.start(&container).await;
    assert_eq!(upstream.lines(8_000).await[&container.id], numbered(0..8_000));
    ends(&engine, upstream, container).await;
}

#[tokio::test]
async fn what_docker_compressed_while_the_shipper_was_down_is_read_from_the_archives() {
    let engine = Engine::new().await;
    let mut upstream = Upstream::start(&engine, Design::Hybrid, Start::End, Resume::new()).await;
    let options = [("max-size", "64k"), ("max-file", "20"), ("compress", "true")];
    let script = "i=0; while [ $i -lt 50 ]; do echo line $i; i=$((i+1)); done; sleep 1; \
                  while [ $i -lt 8000 ]; do echo line $i; i=$((i+1)); done";
    let container = engine.create(script, &options, false).await;
    engine.start(&container).await;
    let mut position = None;
    for _ in 0..20 {
        position = Some(upstream.line().await.position);
    }
    upstream.end().await;
    let archive =
        PathBuf::from(format!("/var/lib/docker/containers/{0}/{0}-json.log.5.gz", container.id.as_str()));
    let compressed = async {
        while !archive.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, compressed).await.expect("Docker compresses nothing");
    let resume = Resume::from([(container.id.clone(), position.unwrap())]);
    let mut upstream = Upstream::start(&engine, Design::Hybrid, Start::End, resume).await;
    assert_eq!(upstream.lines(7_980).await[&container.id], numbered(20..8_000));
    assert_eq!((upstream.metrics.resume_lost.get(), upstream.metrics.archives_broken.get()), (0, 0));
    upstream.end().await;

    let mut upstream = Upstream::start(&engine, Design::Hybrid, Start::Beginning, Resume::new()).await;
    assert_eq!(upstream.lines(8_000).await[&container.id], numbered(0..8_000));
    ends(&engine, upstream, container).await;
}

#[tokio::test]
async fn a_container_that_crashes_and_restarts_for_ever_is_read_in_each_life() {
    let engine = Engine::new().await;
    for design in BOTH {
        let mut upstream = Upstream::start(&engine, design, Start::End, Resume::new()).await;
        let script = "n=0; [ ! -e /lives ] || read n </lives; echo $((n+1)) >/lives; echo line $n; exit 1";
        let container = engine.run_again_and_again(script).await;
        assert_eq!(upstream.lines(4).await[&container.id], numbered(0..4));
        upstream.end().await;
    }
}

#[tokio::test]
async fn the_only_line_of_a_container_comes_also_without_its_newline() {
    let engine = Engine::new().await;
    for script in ["echo line 0", "printf 'line 0'", "printf 'line 0'; sleep 0.2"] {
        let mut upstream = Upstream::start(&engine, Design::Hybrid, Start::End, Resume::new()).await;
        let container = engine.run(script).await;
        assert_eq!(upstream.lines(1).await[&container.id], numbered(0..1), "{script}");
        ends(&engine, upstream, container).await;
    }
}

#[tokio::test]
async fn lines_of_16_kib_and_around_it_are_whole_and_one_of_5_mib_is_cut_and_marked() {
    let engine = Engine::new().await;
    let mut upstream = Upstream::start(&engine, Design::Hybrid, Start::End, Resume::new()).await;
    let script = "a=x; while [ ${#a} -lt 16384 ]; do a=$a$a; done; echo $a; echo ${a#x}; echo x$a; \
                  i=0; while [ $i -lt 320 ]; do printf %s $a; i=$((i+1)); done; echo; echo line 0";
    let container = engine.run(script).await;
    for bytes in [16_384, 16_383, 16_385] {
        let line = upstream.line().await.line;
        assert!(line == "x".repeat(bytes), "{bytes} bytes came as {}", line.len());
    }
    let long = upstream.line().await.line;
    assert!(long == "x".repeat(LINE_BYTES_MAX) + TRUNCATION_MARK, "{} bytes", long.len());
    assert_eq!(upstream.lines(1).await[&container.id], numbered(0..1));
    ends(&engine, upstream, container).await;
}

#[tokio::test]
async fn a_container_born_after_the_clock_was_set_back_is_not_taken_for_an_old_one() {
    let engine = Engine::new().await;
    let old = engine.run("sleep 1000").await;
    let (metrics, stop) = (Metrics::new(), CancellationToken::new());
    let api = api::Api::connect(HOST, Arc::clone(&metrics)).await.unwrap();
    let now_ns = Clock::system().now_ns();
    // The shipper began at a time that comes only in an hour.
    let config = discovery::Config {
        first_started_ns: now_ns + 3_600_000_000_000,
        ..discovery_config(&engine, now_ns)
    };
    let (tell, mut changes) = mpsc::channel(16);
    let mut tasks = JoinSet::new();
    tasks.spawn(discovery::run(api, config, metrics, tell, stop.clone()));
    let mut next = async || tokio::time::timeout(PATIENCE, changes.recv()).await.unwrap().unwrap();
    assert!(
        matches!(next().await, Change::Started { container, born: Born::BeforeUs } if container.id == old.id)
    );
    let new = engine.run("sleep 1000").await;
    assert!(
        matches!(next().await, Change::Started { container, born: Born::AfterUs } if container.id == new.id)
    );
    stop.cancel();
    tasks.join_next().await.unwrap().unwrap().unwrap();
}
