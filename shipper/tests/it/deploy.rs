//! The ways to run it that stand in `shipper/deploy`, as a person would go them: the image, Compose, a socket proxy,
//! and systemd's own judgement of the unit.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, HealthStatusEnum};
use shipper::config::Config;
use tokio::net::TcpSocket;

use crate::support::between::Between;
use crate::support::engine::{SOCKET, unique};
use crate::support::numbered::Numbered;
use crate::support::program::PATIENCE;
use crate::support::sink::reserved_port;
use crate::support::stage::Stage;

const PROGRAM: &str = env!("CARGO_BIN_EXE_shipper");

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file)
}

/// Runs a command that must succeed; what it prints.
fn printed(command: &mut Command) -> String {
    let ended = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{command:?} ended with {}:\n{errors}", ended.status);
    String::from_utf8(ended.stdout).unwrap().trim().to_owned()
}

/// An image and a Compose project of one test. Dropped, nothing of them is left.
struct Deployment {
    /// Of both.
    name: String,
    own: PathBuf,
}

impl Deployment {
    /// Builds the image from the program under test; the project gets this config, and these options of Docker's
    /// beside those of `compose.yaml`.
    fn new(dir: &Path, config: &str, security: &[String]) -> Self {
        let deployment = Self { name: unique(), own: dir.join("compose.json") };
        let file = dir.join("shipper.yaml");
        std::fs::write(&file, config).unwrap();
        // The first health check comes after the first interval.
        let own = serde_json::json!({"services": {"shipper": {
            "image": deployment.name,
            "healthcheck": {"interval": "1s"},
            "volumes": [format!("{}:/etc/shipper/shipper.yaml:ro", file.display())],
            "security_opt": security,
        }}})
        .to_string();
        std::fs::write(&deployment.own, own).unwrap();
        printed(Command::new(deploy("image")).args([&deployment.name, PROGRAM]));
        deployment
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker-compose");
        command.args(["--project-name", &self.name, "--file"]).arg(deploy("compose.yaml"));
        command.arg("--file").arg(&self.own).args(arguments);
        command
    }

    fn compose(&self, arguments: &[&str]) -> String {
        printed(&mut self.command(arguments))
    }

    fn up(&self) {
        self.compose(&["up", "--detach"]);
    }

    async fn inspect(&self, stage: &Stage) -> ContainerInspectResponse {
        let id = self.compose(&["ps", "--quiet", "shipper"]);
        stage.engine.docker.inspect_container(&id, None).await.unwrap()
    }

    /// Asks until it is as it should be.
    async fn until<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            let late = tokio::time::Instant::now() > deadline;
            assert!(!late, "never: {what}\n{}", self.compose(&["logs", "--no-color"]));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn healthy(&self, stage: &Stage) {
        self.until("healthy", async || {
            let state = self.inspect(stage).await.state?;
            (state.health?.status? == HealthStatusEnum::HEALTHY).then_some(())
        })
        .await;
    }

    /// Until the writer has written what it was told, and all of it has arrived.
    async fn arrived(&self, stage: &Stage, writer: &Numbered) {
        self.until("all lines arrive", async || {
            let all = || stage.written([writer]).iter().all(|line| stage.sink.has(line));
            (writer.is_idle() && all()).then_some(())
        })
        .await;
    }

    /// Stops it as Compose does, with SIGTERM. It must end in order, and have had nothing to complain of.
    async fn stop(&self, stage: &Stage) {
        self.compose(&["stop"]);
        let log = self.compose(&["logs", "--no-color"]);
        assert_eq!(self.inspect(stage).await.state.unwrap().exit_code, Some(0), "{log}");
        assert!(
            log.contains("ended in order") && !log.contains(" WARN ") && !log.contains(" ERROR "),
            "{log}"
        );
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        let mut down = self.command(&["down", "--volumes", "--timeout", "0"]);
        let mut remove = Command::new("docker");
        remove.args(["image", "rm", "--force", &self.name]);
        for command in [&mut down, &mut remove] {
            match command.output() {
                Ok(ended) if ended.status.success() => {}
                ended => eprintln!("{} may be left behind: {ended:?}", self.name),
            }
        }
    }
}

/// A field of `/proc/PID/status`.
fn status(pid: i64, field: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(":\t"));
    value.unwrap().to_owned()
}

/// A config for the inside of the container, and what holds its port.
fn config(stage: &Stage) -> (TcpSocket, String) {
    let (reserved, port) = reserved_port();
    let admin = format!("admin: {{listen: \"127.0.0.1:{port}\"}}");
    (reserved, stage.config("hybrid", &["state_dir: /var/lib/shipper", &admin]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compose_runs_the_image_and_it_goes_on_where_it_stopped() {
    let stage = Stage::new().await;
    let (_reserved, config) = config(&stage);
    let deployment = Deployment::new(&stage.path(""), &config, &[]);
    deployment.up();
    deployment.healthy(&stage).await;
    let mut writer = stage.writer("writer").await;
    assert!(writer.order(50));
    deployment.arrived(&stage, &writer).await;

    let pid = deployment.inspect(&stage).await.state.unwrap().pid.unwrap();
    let none = "0000000000000000";
    assert_eq!(
        ["CapPrm", "CapEff", "CapBnd", "NoNewPrivs"].map(|field| status(pid, field)),
        [none, none, none, "1"]
    );

    deployment.stop(&stage).await;
    assert!(writer.order(50));
    deployment.until("the writer writes", async || writer.is_idle().then_some(())).await;
    deployment.up();
    deployment.arrived(&stage, &writer).await;
    assert_eq!((stage.written([&writer]).len(), stage.repeated()), (200, 0));

    deployment.healthy(&stage).await;
    let from_outside =
        printed(Command::new(PROGRAM).args(["ready", "--config"]).arg(stage.path("shipper.yaml")));
    assert_eq!(from_outside, "ready");
    deployment.stop(&stage).await;
    deployment.compose(&["down"]);
    assert_eq!(deployment.compose(&["ps", "--quiet"]), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rules_for_a_socket_proxy_are_what_the_shipper_asks_for_and_no_more() {
    let file = std::fs::read_to_string(deploy("compose.proxy.yaml")).unwrap();
    let rules = file.lines().filter_map(|line| line.strip_prefix("#     ")).map(str::to_owned);
    let rules: Vec<String> = rules.filter(|line| line.starts_with("GET /")).collect();
    let mut used = BTreeSet::new();
    for design in ["pool", "hybrid", "auto"] {
        let stage = Stage::new().await;
        let proxy = Between::tcp(Path::new(SOCKET)).await;
        let docker = format!("docker: {{host: \"{}\"}}", proxy.host());
        let program = stage.start(design, &[&docker]).await;
        let mut writer = stage.writer("writer").await;
        writer.write(10).await;
        stage.settled(&program, &stage.written([&writer])).await;
        assert_eq!(program.terminate().await, 0);
        for request in proxy.all() {
            let rule = rules.iter().find(|rule| allows(rule, &request));
            used.insert(rule.unwrap_or_else(|| panic!("{design}: no rule allows {request}")).clone());
        }
    }
    assert_eq!(used, rules.into_iter().collect(), "rules that are needed, and rules that are given");
}

/// Whether a request is what a rule allows.
fn allows(rule: &str, request: &str) -> bool {
    let (rule, request) = (rule.split('/'), request.split('/'));
    rule.clone().count() == request.clone().count()
        && rule.zip(request).all(|(rule, part)| rule == part || rule.starts_with('{'))
}

/// The unit as it is, but with the program under test: systemd looks whether the program is there.
fn unit(dir: &Path) -> PathBuf {
    let text = std::fs::read_to_string(deploy("shipper.service")).unwrap();
    let with_ours = text.replace("ExecStart=/usr/local/bin/shipper ", &format!("ExecStart={PROGRAM} "));
    assert_ne!(text, with_ours);
    let path = dir.join("shipper.service");
    std::fs::write(&path, with_ours).unwrap();
    path
}

#[test]
fn systemd_has_nothing_to_say_against_the_unit() {
    let dir = tempfile::tempdir().unwrap();
    let unit = unit(dir.path());
    let ended = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().unwrap();
    let told = [ended.stdout, ended.stderr].concat();
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&told).as_ref()), (Some(0), ""));
    // Its own measure of what a service could do to the machine, in tenths: 100 is all.
    let arguments = ["security", "--no-pager", "--offline=true", "--threshold=30"];
    printed(Command::new("systemd-analyze").args(arguments).arg(&unit));
}

/// The system calls of a set of systemd's, `@name`, or the one of that name.
fn calls(name: &str) -> BTreeSet<String> {
    if !name.starts_with('@') {
        return BTreeSet::from([name.to_owned()]);
    }
    let listing = printed(Command::new("systemd-analyze").args(["syscall-filter", name]));
    let members =
        listing.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    members.flat_map(calls).collect()
}

/// There is no systemd to start the unit here; its filter of system calls is the part that could stop the shipper at
/// any later moment, and Docker applies such a filter too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_filter_of_the_unit_leaves_the_shipper_what_it_needs() {
    let text = std::fs::read_to_string(deploy("shipper.service")).unwrap();
    let mut names = BTreeSet::new();
    for set in text.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        match set.strip_prefix('~') {
            Some(sets) => names = &names - &sets.split(' ').flat_map(calls).collect(),
            None => names.extend(set.split(' ').flat_map(calls)),
        }
    }
    let allowed = serde_json::json!([{"names": names, "action": "SCMP_ACT_ALLOW"}]);
    let filter = serde_json::json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": allowed});
    let stage = Stage::new().await;
    let file = stage.path("seccomp.json");
    std::fs::write(&file, filter.to_string()).unwrap();
    let (_reserved, config) = config(&stage);
    let security = format!("seccomp:{}", file.display());
    let deployment = Deployment::new(&stage.path(""), &config, &[security]);
    deployment.up();
    deployment.healthy(&stage).await;
    let mut writer = stage.writer("writer").await;
    assert!(writer.order(50));
    deployment.arrived(&stage, &writer).await;
    deployment.stop(&stage).await;
}

#[test]
fn whoever_stops_it_waits_longer_than_it_takes() {
    let seconds = |file: &str, key: &str| -> u64 {
        let text = std::fs::read_to_string(deploy(file)).unwrap();
        let value = text.lines().find_map(|line| line.trim_start().strip_prefix(key)).unwrap();
        value.trim_end_matches('s').parse().unwrap()
    };
    let longest = Config::default().shutdown_deadline.as_secs();
    assert!(seconds("compose.yaml", "stop_grace_period: ") > longest + 5);
    assert!(seconds("shipper.service", "TimeoutStopSec=") > longest + 5);
}
