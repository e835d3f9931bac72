//! Logging drivers, and which design reads what.

use super::*;
use crate::support::engine::Running;

async fn with_driver(engine: &Engine, driver: &'static str, script: &str) -> Running {
    let running = engine.make(script, Made { driver, ..Made::default() }).await;
    engine.start(&running).await;
    running
}

/// Waits until so many containers count as unreadable.
async fn unreadable(metrics: &Metrics, count: i64) {
    let counted = async {
        while metrics.containers_unreadable.get() != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.expect("it is not counted");
}

#[tokio::test]
async fn auto_reads_files_where_there_are_some_and_asks_docker_for_the_rest() {
    let engine = Engine::new().await;
    let mut upstream = Upstream::start(&engine, Design::Auto, Start::End, Resume::new()).await;
    let file = with_driver(&engine, "json-file", &count_to(50)).await;
    let local = with_driver(&engine, "local", &count_to(50)).await;
    let none = with_driver(&engine, "none", &format!("{}; sleep 1000", count_to(50))).await;
    let mut texts: HashMap<ContainerId, Vec<String>> = HashMap::new();
    for _ in 0..100 {
        let record = upstream.line().await;
        let in_file = matches!(record.position, Position::File { .. });
        assert_eq!(in_file, record.container.id == file.id, "{record:?}");
        texts.entry(record.container.id.clone()).or_default().push(record.line);
    }
    assert_eq!((&texts[&file.id], &texts[&local.id]), (&numbered(0..50), &numbered(0..50)));
    unreadable(&upstream.metrics, 1).await;
    // A restart changes nothing of that, and each is taken leave of.
    engine.stop(&none).await;
    engine.start(&none).await;
    let ids = [&file, &local, &none].map(|container| container.id.clone());
    drop((file, local, none));
    upstream.gone(ids).await;
    unreadable(&upstream.metrics, 0).await;
    let logs = upstream.metrics.docker_requests.get_or_create(&Endpoint::Logs).get();
    assert!(logs <= 4, "{logs} requests for the log of one container");
    assert_eq!(upstream.metrics.lines.balance(), 0);
    assert!(upstream.end().await.is_empty());
}

#[tokio::test]
async fn what_a_design_can_not_read_is_counted_once_and_not_asked_for_again() {
    let engine = Engine::new().await;
    let driver = |driver: &'static str| with_driver(&engine, driver, "echo line 0; sleep 1000");
    let _none = driver("none").await;
    let local = driver("local").await;
    // Docker keeps a copy of what goes to a driver that it can't read, unless it is told not to.
    let options = vec![("cache-disabled".to_owned(), "true".to_owned())];
    let made = Made { driver: "syslog", log_options: options, ..Made::default() };
    let listener = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = format!("udp://{}", listener.local_addr().unwrap());
    let made =
        Made { log_options: [made.log_options, vec![("syslog-address".into(), address)]].concat(), ..made };
    let syslog = engine.make("echo line 0; sleep 1000", made).await;
    engine.start(&syslog).await;

    let upstream = Upstream::start(&engine, Design::Hybrid, Start::Beginning, Resume::new()).await;
    unreadable(&upstream.metrics, 3).await;
    assert!(upstream.end().await.is_empty());

    let design = Design::Pool { connections_max: 4 };
    let mut upstream = Upstream::start(&engine, design, Start::Beginning, Resume::new()).await;
    assert_eq!(upstream.lines(1).await[&local.id], numbered(0..1));
    unreadable(&upstream.metrics, 2).await;
    let metrics = Arc::clone(&upstream.metrics);
    let logs = || metrics.docker_requests.get_or_create(&Endpoint::Logs).get();
    let before = logs();
    for _ in 0..2 {
        engine.stop(&syslog).await;
        engine.start(&syslog).await;
    }
    // Its next line shows that the changes before it were heard.
    let later = with_driver(&engine, "json-file", "echo line 0; sleep 1000").await;
    assert_eq!(upstream.lines(1).await[&later.id], numbered(0..1));
    assert_eq!(logs(), before + 1, "that of the last one");
    drop(upstream.end().await);
    assert_eq!(metrics.containers_unreadable.get(), 0, "nobody reads any more");
}

#[tokio::test]
async fn a_log_whose_folder_is_not_where_the_config_says_comes_through_docker() {
    let engine = Engine::new().await;
    let (elsewhere, missing) = (tempfile::tempdir().unwrap(), PathBuf::from("/no/such/folder"));
    for root in [elsewhere.path().to_owned(), missing] {
        let from = (Start::End, Resume::new());
        let mut upstream = Upstream::start_with(&engine, Design::Auto, from, &root).await;
        let container = engine.run(&count_to(20)).await;
        assert_eq!(upstream.lines(20).await[&container.id], numbered(0..20));
        upstream.end().await;
    }
}
