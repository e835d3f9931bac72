//! The image, the Compose file, the systemd unit and the example config, as they lie in `deploy/`, used for real.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use shipper::config::{Config, tree};
use tokio::time::{Instant, sleep};

use crate::support::engine::unique;
use crate::support::program::PATIENCE;
use crate::support::stage::Stage;

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error} (is it installed?)"))
}

fn well(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

/// The image and all that the Compose file has made of it; gone with it.
struct Composed {
    project: String,
    image: String,
    config: PathBuf,
}

impl Composed {
    /// Builds the image from the program under test.
    fn build(config: PathBuf) -> Self {
        let project = unique();
        let image = format!("{project}:latest");
        well(Command::new(deploy("image")).arg(env!("CARGO_BIN_EXE_shipper")).arg(&image));
        Self { project, image, config }
    }

    fn compose(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker-compose");
        command.arg("--project-name").arg(&self.project).arg("--file").arg(deploy("compose.yaml"));
        command.args(arguments).env("SHIPPER_IMAGE", &self.image).env("SHIPPER_CONFIG", &self.config);
        command
    }

    fn inspect(&self, id: &str, format: &str) -> String {
        well(Command::new("docker").args(["inspect", "--format", format, id]))
    }

    async fn until(&self, id: &str, format: &str, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.inspect(id, format) != wanted {
            let log = run(Command::new("docker").args(["logs", id]));
            assert!(
                Instant::now() < deadline,
                "never {wanted}: {}{}",
                self.inspect(id, "{{json .State}}"),
                text(&log.stderr)
            );
            sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Composed {
    fn drop(&mut self) {
        let down = run(&mut self.compose(&["down", "--volumes", "--timeout", "1"]));
        let image = run(Command::new("docker").args(["image", "rm", "--force", &self.image]));
        for output in [down, image].iter().filter(|output| !output.status.success()) {
            eprintln!("something is left behind: {}", text(&output.stderr));
        }
    }
}

/// Free a moment ago. Nobody else asks for one by number.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn started_from_the_compose_file_it_ships_the_lines_of_another_container() {
    let stage = Stage::new().await;
    let port = free_port();
    // The paths are those in the container, where the Compose file has put them.
    let own = [
        "state_dir: /var/lib/shipper".to_owned(),
        format!("admin: {{listen: \"127.0.0.1:{port}\"}}"),
        "docker: {host: \"unix:///var/run/docker.sock\", containers_root: /var/lib/docker/containers}"
            .to_owned(),
    ];
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let composed = Composed::build(stage.path("composed.yaml"));
    for design in ["hybrid", "pool"] {
        std::fs::write(&composed.config, stage.config(design, &own)).unwrap();
        well(&mut composed.compose(&["up", "--detach"]));
        let id = well(&mut composed.compose(&["ps", "--quiet"]));
        composed.until(&id, "{{.State.Health.Status}}", "healthy").await;

        let mut writer = stage.writer(design).await;
        assert!(writer.order(50));
        let deadline = Instant::now() + PATIENCE;
        while !writer.is_idle() || !stage.written(&[&writer]).iter().all(|line| stage.sink.has(line)) {
            assert!(Instant::now() < deadline, "not all lines have come");
            sleep(Duration::from_millis(20)).await;
        }
        // As root, but with no more of it than to read.
        let held = format!("/proc/{}/status", composed.inspect(&id, "{{.State.Pid}}"));
        let held = std::fs::read_to_string(held).unwrap();
        let set =
            |name: &str| held.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        assert_eq!(u64::from_str_radix(&set("CapEff:"), 16).unwrap(), 1 << 2, "CAP_DAC_READ_SEARCH");
        assert_eq!(set("NoNewPrivs:"), "1");
        well(&mut composed.compose(&["kill", "-s", "HUP"]));
        composed.until(&id, "{{.State.Health.Status}}", "healthy").await;
        well(&mut composed.compose(&["stop"]));
        assert_eq!(composed.inspect(&id, "{{.State.ExitCode}}"), "0");
    }
    assert_eq!(stage.repeated(), 0);
}

#[test]
fn the_unit_is_one_that_systemd_takes() {
    let dir = tempfile::tempdir().unwrap();
    // systemd looks for the programs that it names.
    let unit = std::fs::read_to_string(deploy("shipper.service")).unwrap();
    let unit = unit.replace("/usr/local/bin/shipper", env!("CARGO_BIN_EXE_shipper"));
    let path = dir.path().join("shipper.service");
    std::fs::write(&path, &unit).unwrap();
    let verify = || run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path));
    let about_ours = |output: &Output| {
        let told = text(&output.stderr);
        told.lines().filter(|line| line.contains("shipper.service")).map(str::to_owned).collect::<Vec<_>>()
    };
    let verified = verify();
    assert_eq!(about_ours(&verified), Vec::<String>::new());
    // It would have said something.
    std::fs::write(&path, unit.replace("TimeoutStopSec=15s", "TimeoutStopSec=soon\nNoSuchKey=1")).unwrap();
    assert_eq!(about_ours(&verify()).len(), 2);
}

#[test]
fn the_example_is_the_default_and_explains_every_option() {
    let text = std::fs::read_to_string(deploy("shipper.yaml")).unwrap();
    assert_eq!(Config::load(&deploy("shipper.yaml")).unwrap(), Config::default());
    let paths = |text: &str| paths(&tree::parse(text, &mut Vec::new()).unwrap().unwrap());
    assert_eq!(paths(&text), paths(&Config::default().to_yaml().unwrap()));
    let dir = tempfile::tempdir().unwrap();
    let password = dir.path().join("password");
    std::fs::write(&password, "secret").unwrap();
    let text = text.replace("/etc/shipper/password", password.to_str().unwrap());
    let file = dir.path().join("shipper.yaml");
    std::fs::write(&file, with_examples(&text)).unwrap();
    let config = Config::load(&file).unwrap_or_else(|error| panic!("{error}"));
    let Config { discovery, labels, lines, loki, .. } = config;
    assert!(!discovery.exclude.is_empty() && !discovery.labels.is_empty());
    assert!(!labels.fixed.is_empty() && !labels.from_containers.is_empty());
    assert!(!lines.drop.is_empty() && lines.redact[0].replacement == "$1***");
    assert!(loki.tenants.is_some() && loki.basic_auth.is_some());
}

/// Of all options, in the order of the file.
fn paths(node: &tree::Node) -> Vec<String> {
    let tree::Value::Map(entries) = &node.value else { return vec![node.path.clone()] };
    [node.path.clone()].into_iter().chain(entries.iter().flat_map(|(_, node)| paths(node))).collect()
}

/// The example as it is once its examples (`#   key: …` below an option) are no comments any more.
fn with_examples(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let Some((indent, example)) = line.split_once("#   ").filter(|(indent, _)| !indent.is_empty()) else {
            lines.push(line.to_owned());
            continue;
        };
        let last = lines.last_mut().unwrap();
        for nothing in [" null", " []", " {}"] {
            *last = last.strip_suffix(nothing).unwrap_or(last).to_owned();
        }
        lines.push(format!("{indent}  {example}"));
    }
    lines.join("\n")
}
