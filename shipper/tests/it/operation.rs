//! What an operator sees of a running shipper, and what he must not see.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::docker_log;
use crate::support::engine::Made;
use crate::support::program::{sum, until};
use crate::support::sink::{Act, reserved_port};
use crate::support::stage::Stage;

/// What `/debug/targets` says of a container.
fn target<'a>(page: &'a Value, name: &str) -> &'a Value {
    page.as_array().unwrap().iter().find(|target| target["name"] == name).unwrap_or(&Value::Null)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_container_over_its_rate_waits_in_its_log_and_the_others_flow() {
    for design in ["pool", "hybrid"] {
        let stage = Stage::new().await;
        let own = ["limits: {container_bytes_per_s: 50KiB}"];
        let program = stage.start(design, &own).await;
        let (mut noisy, mut quiet) = (stage.writer("noisy").await, stage.writer("quiet").await);
        assert!(noisy.order(600));
        let name = noisy.running.name.clone();
        program
            .until("/debug/targets", |page| {
                let page: Value = serde_json::from_str(page).unwrap();
                target(&page, &name)["waits_for"] == "rate"
            })
            .await;
        quiet.write(10).await;
        let behind = |page: &str| sum(page, "shipper_lines_delivered_total") < 1220.0;
        let lines = stage.written([&quiet]);
        until("the quiet one's lines arrive", || lines.iter().all(|line| stage.sink.has(line))).await;
        assert!(behind(&program.page("/metrics").await), "the noisy one was not slowed down");
        noisy.idle().await;
        stage.settled(&program, &stage.written([&noisy, &quiet])).await;
        assert_eq!(stage.repeated(), 0);
        let page: Value = serde_json::from_str(&program.page("/debug/targets").await).unwrap();
        let noisy_one = target(&page, &name);
        assert_eq!(
            (noisy_one["driver"].as_str(), noisy_one["in_flight_bytes"].as_u64()),
            (Some("json-file"), Some(0))
        );
        assert!(noisy_one["last_line"].as_str().unwrap().ends_with('Z'), "{noisy_one}");
        stage.engine.remove(noisy.running).await;
        program
            .until("/debug/targets", |page| target(&serde_json::from_str(page).unwrap(), &name).is_null())
            .await;
        assert_eq!(program.terminate().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_shipper_is_asked_whether_it_is_ready_and_why_not() {
    let stage = Stage::new().await;
    let mut writer = stage.writer("writer").await;
    let (_reserved, port) = reserved_port();
    let listen = format!("admin: {{listen: \"127.0.0.1:{port}\"}}");
    let program = stage.start("hybrid", &[&listen]).await;
    let ask = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shipper"));
        let ended = command.args(["ready", "--config"]).arg(stage.path("shipper.yaml")).output().unwrap();
        let told = String::from_utf8([ended.stdout, ended.stderr].concat()).unwrap();
        (ended.status.code().unwrap(), told)
    };
    assert_eq!(ask(), (0, "ready\n".to_owned()));
    stage.sink.mood(Act::Refuse("401 Unauthorized", &[], "no"));
    assert!(writer.order(1));
    program.until("/ready", |page| page != "ready\n").await;
    let (code, told) = ask();
    assert!(code == 1 && told.starts_with("shipper: not ready: Loki refuses us"), "{code} {told}");
    stage.sink.mood(Act::Store);
    program.until("/ready", |page| page == "ready\n").await;
    assert_eq!(program.terminate().await, 0);
    assert_eq!(ask().0, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_not_where_it_should_be_is_named_and_no_silence() {
    let stage = Stage::new().await;
    let mut writer = stage.writer("writer").await;
    writer.write(1).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let docker =
        format!("docker: {{host: \"{}\", containers_root: {:?}}}", stage.engine.host(), elsewhere.path());
    let mut program = stage.start("hybrid", &[&docker]).await;
    program.until_it_says("is not in docker.containers_root").await;
    assert_eq!(program.number("shipper_containers_unreadable").await, 1.0);
    assert_eq!(program.terminate().await, 0);

    std::fs::remove_file(docker_log::path(writer.id())).unwrap();
    let mut program = stage.start("hybrid", &[]).await;
    let (_, said) = program.until_it_says("its log is not there").await;
    assert!(said.contains("deleted by hand"), "{said}");
    assert_eq!(program.terminate().await, 0);
}

const SECRETS: [&str; 4] = ["s3cr3t-env", "s3cr3t-label", "s3cr3t-password", "s3cr3t-url"];

/// Everything below a folder.
fn files(dir: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            files(&entry, found);
        } else {
            found.push((entry.display().to_string(), std::fs::read(&entry).unwrap()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_shown_or_kept_anywhere() {
    for design in ["pool", "hybrid", "auto"] {
        let stage = Stage::new().await;
        let password = stage.path("password");
        std::fs::write(&password, "s3cr3t-password\n").unwrap();
        stage.sink.mood(Act::Refuse("400 Bad Request", &[], "no word of ours"));
        let own = [
            format!(
                "loki: {{url: \"{}\", encoding: json, basic_auth: {{username: me, password_file: {password:?}}}}}",
                stage.sink.url()
            ),
            "log: {level: trace}".to_owned(),
            "start: beginning".to_owned(),
        ];
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        let made = Made {
            variable: Some("TOKEN=s3cr3t-env"),
            label: Some("com.example.key=s3cr3t-label"),
            ..Made::default()
        };
        let container = stage.engine.make("echo line 0; sleep 1000", made).await;
        stage.engine.start(&container).await;
        let program = stage.start(design, &own).await;
        program.until("/metrics", |page| sum(page, "shipper_dead_letters_total") == 1.0).await;
        let mut shown = Vec::new();
        for page in ["/metrics", "/ready", "/healthz", "/debug/targets", "/"] {
            shown.push((page.to_owned(), program.page(page).await.into_bytes()));
        }
        let shipper = |arguments: &[&str]| {
            let config = stage.path("shipper.yaml");
            let mut command = Command::new(env!("CARGO_BIN_EXE_shipper"));
            let ended = command.args(arguments).arg("--config").arg(config).output().unwrap();
            (arguments.join(" "), [ended.stdout, ended.stderr].concat())
        };
        shown.push(shipper(&["print-config"]));
        shown.push(shipper(&["dead-letters", "list", "--lines", "9"]));
        shown.push(shipper(&["checkpoint", "show"]));
        assert_eq!(program.terminate().await, 0);
        // A URL with a password is not even taken, and not repeated.
        let bad = stage.config(design, &["loki: {url: \"http://me:s3cr3t-url@127.0.0.1:1\"}"]);
        std::fs::write(stage.path("shipper.yaml"), bad).unwrap();
        for command in ["check", "print-config", "run"] {
            shown.push(shipper(&[command]));
        }
        std::fs::remove_file(stage.path("shipper.yaml")).unwrap();
        std::fs::remove_file(password).unwrap();
        files(&stage.path(""), &mut shown);
        let log = shown.iter().find(|(name, _)| name.ends_with("shipper.log")).unwrap();
        assert!(log.1.len() > 1000 && shown.len() > 10, "{} pages and files", shown.len());
        for (name, bytes) in &shown {
            for secret in SECRETS {
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "{design}: {secret} in {name}:\n{}", String::from_utf8_lossy(bytes));
            }
        }
    }
}
