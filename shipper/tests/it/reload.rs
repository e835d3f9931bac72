//! SIGHUP: another config comes into force without a line lost or repeated, or the old one stays.

use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::numbered::Numbered;
use crate::support::program::{PATIENCE, Program, sum, until};
use crate::support::sink::{Act, Sink, reserved_port};
use crate::support::stage::Stage;

const APPLIED: &str = "shipper_config_reloads_total{result=\"applied\"}";
const REJECTED: &str = "shipper_config_reloads_total{result=\"rejected\"}";

/// Has the program read this config.
async fn reload(stage: &Stage, program: &Program, design: &str, own: &[&str]) {
    std::fs::write(stage.path("shipper.yaml"), stage.config(design, own)).unwrap();
    program.signal(Signal::HUP);
}

/// Has it write until that many pairs stand at one of the sinks, each line once.
async fn write(writer: &mut Numbered, pairs: u64, stage: &Stage, sinks: &[&Sink]) {
    writer.write(pairs).await;
    let arrived = |line: &String| sinks.iter().any(|sink| sink.has(line));
    until("all lines arrive", || stage.written([&*writer]).iter().all(arrived)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_config_comes_into_force_and_no_line_is_lost_or_repeated() {
    for design in ["hybrid", "pool"] {
        let stage = Stage::new().await;
        let other = Sink::start();
        let program = stage.start(design, &[]).await;
        let mut writer = stage.writer("writer").await;
        write(&mut writer, 100, &stage, &[&stage.sink]).await;
        // Lines go on being written while one staff ends and the next begins.
        assert!(writer.order(3000));
        let own = [
            format!("loki: {{url: \"{}\", encoding: json}}", other.url()),
            "labels: {fixed: {site: east}}".to_owned(),
        ];
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        reload(&stage, &program, design, &own).await;
        program.until("/metrics", |page| sum(page, APPLIED) == 1.0).await;
        program.until("/ready", |page| page == "ready\n").await;
        writer.idle().await;
        write(&mut writer, 100, &stage, &[&stage.sink, &other]).await;
        program.until("/metrics", |page| sum(page, "shipper_lines_in_flight") == 0.0).await;
        let stored =
            |sink: &Sink| sink.book(|book| book.lines.values().map(|l| l.arrivals.len()).sum::<usize>());
        assert_eq!(stored(&stage.sink) + stored(&other), stage.written([&writer]).len());
        assert!(stored(&other) >= 200, "the new sink has got {}", stored(&other));
        assert_eq!(program.terminate().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_config_that_can_not_be_used_changes_nothing() {
    let stage = Stage::new().await;
    let mut program = stage.start("hybrid", &[]).await;
    let mut writer = stage.writer("writer").await;
    write(&mut writer, 10, &stage, &[&stage.sink]).await;
    for (so_far, (own, words)) in [
        // A mistake in the file; what the file names; what is seen only when the old staff has ended.
        ("batch: {max_wait: soon}", ["shipper.yaml:", "batch.max_wait"]),
        (
            "loki: {url: \"https://127.0.0.1:1\", tls: {ca_file: /no/such/ca.pem}}",
            ["/no/such/ca.pem", "loki.tls"],
        ),
        ("docker: {host: \"unix:///no/such/docker.sock\"}", ["/no/such/docker.sock", "stays in force"]),
    ]
    .into_iter()
    .enumerate()
    {
        reload(&stage, &program, "hybrid", &[own]).await;
        for words in words {
            program.until_it_says(words).await;
        }
        program.until("/metrics", |page| sum(page, REJECTED) == (so_far + 1) as f64).await;
        program.until("/ready", |page| page == "ready\n").await;
        write(&mut writer, 10, &stage, &[&stage.sink]).await;
    }
    assert_eq!(stage.repeated(), 0);
    assert_eq!(sum(&program.page("/metrics").await, APPLIED), 0.0);
    assert_eq!(program.terminate().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_loki_is_down_what_is_left_is_read_again_and_a_stop_is_still_heard() {
    let stage = Stage::new().await;
    let short = ["shutdown_deadline: 100ms"];
    let program = stage.start("hybrid", &short).await;
    stage.sink.mood(Act::Hang);
    let mut writer = stage.writer("writer").await;
    let mut gone = stage.writer("gone").await;
    writer.write(10).await;
    gone.write(10).await;
    program.until("/metrics", |page| sum(page, "shipper_lines_in_flight") == 40.0).await;
    let lines = stage.written([&gone]);
    stage.engine.remove(gone.running).await;
    program.until("/metrics", |page| sum(page, "shipper_containers") == 1.0).await;
    reload(&stage, &program, "hybrid", &short).await;
    program.until("/metrics", |page| sum(page, APPLIED) == 1.0).await;
    // What nobody can read again is kept, all else is read again.
    program.until("/metrics", |page| sum(page, "shipper_lines_in_flight") == 20.0).await;
    assert_eq!(stage.dead().len(), lines.len());
    assert!(lines.iter().all(|line| stage.dead().contains(line)));
    stage.sink.mood(Act::Store);
    stage.sink.down().await;
    stage.sink.up();
    program.until("/metrics", |page| sum(page, "shipper_lines_in_flight") == 0.0).await;
    assert!(stage.written([&writer]).iter().all(|line| stage.sink.has(line)));

    stage.sink.mood(Act::Hang);
    assert!(writer.order(1));
    program.until("/metrics", |page| sum(page, "shipper_lines_in_flight") == 2.0).await;
    reload(&stage, &program, "hybrid", &["shutdown_deadline: 30s"]).await;
    assert_eq!(program.terminate().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_terminal_sighup_reloads_too_and_the_end_of_the_terminal_ends_it_in_order() {
    let stage = Stage::new().await;
    let config = stage.path("shipper.yaml");
    let (_reserved, port) = reserved_port();
    let own = format!("admin: {{listen: \"127.0.0.1:{port}\"}}");
    std::fs::write(&config, stage.config("hybrid", &[&own])).unwrap();
    // `script` gives it a terminal; that ends with `script`.
    let pid_file = stage.path("pid");
    let run = format!(
        "echo $$ > {}; exec {} run --config {}",
        pid_file.display(),
        env!("CARGO_BIN_EXE_shipper"),
        config.display()
    );
    let mut terminal = tokio::process::Command::new("script");
    terminal.args(["--quiet", "--command", &run, "/dev/null"]).kill_on_drop(true);
    terminal.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
    let mut terminal = terminal.spawn().unwrap();
    let page = async |path: &str| match reqwest::get(format!("http://127.0.0.1:{port}{path}")).await {
        Ok(answer) => answer.text().await.unwrap_or_default(),
        Err(_) => String::new(),
    };
    let when = async |path: &str, holds: &dyn Fn(&str) -> bool| {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !holds(&page(path).await) {
            assert!(tokio::time::Instant::now() < deadline, "{path}: {}", page(path).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    when("/ready", &|page| page == "ready\n").await;
    let pid: i32 = std::fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::HUP).unwrap();
    when("/metrics", &|page| sum(page, APPLIED) == 1.0).await;
    when("/ready", &|page| page == "ready\n").await;
    terminal.kill().await.unwrap();
    until("it ends with its terminal", || !Path::new(&format!("/proc/{pid}/exe")).exists()).await;
    // In order: the state folder is free, and the checkpoint is whole.
    let program = stage.start("hybrid", &[]).await;
    assert_eq!(program.terminate().await, 0);
}
