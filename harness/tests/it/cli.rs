//! One clear message and the right exit code for each thing that can be wrong before a run begins.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{flatline, output, said, scenario};

const BAD_USAGE: Option<i32> = Some(2);
const ENVIRONMENT: Option<i32> = Some(4);

/// A file system of its own, so that a full or read-only disk is a real one.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mount(options: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mount = ["-t", "tmpfs", "-o", options, "tmpfs"];
        let status = Command::new("mount").args(mount).arg(folder.path()).status().unwrap();
        assert!(status.success(), "this test mounts a tmpfs, for which it must be root");
        Self(folder)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg("-l").arg(self.0.path()).status().unwrap().success());
    }
}

fn ab(out: &Path) -> Output {
    let mut command = flatline();
    command.args(["ab", &scenario("short.yaml"), "--out"]).arg(out).output().unwrap()
}

#[test]
fn without_docker_the_message_says_where_it_looked_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = flatline();
    command.env("DOCKER_HOST", "unix:///nowhere/docker.sock").args(["ab", "--engine", "docker", "--out"]);
    let output = command.arg(folder.path().join("run")).output().unwrap();
    assert_eq!(output.status.code(), ENVIRONMENT);
    let said = said(&output);
    assert!(said.contains("/nowhere/docker.sock") && said.contains("systemctl start docker"), "{said}");
    assert!(!folder.path().join("run").exists(), "nothing is written where nothing can run");
}

#[test]
fn a_socket_without_permission_is_told_from_one_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let socket = folder.path().join("docker.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600)).unwrap();
    let program = folder.path().join("flatline");
    std::fs::copy(env!("CARGO_BIN_EXE_flatline"), &program).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["ab", "--out", "/tmp/never-made"])
        .env("DOCKER_HOST", format!("unix://{}", socket.display()))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), ENVIRONMENT, "{}", said(&output));
    assert!(
        said(&output).contains("permission denied") && said(&output).contains("usermod"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_port_in_use_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let output = output(&["mock-loki", "--listen", &address]);
    assert_eq!(output.status.code(), ENVIRONMENT);
    assert!(said(&output).contains(&address), "{}", said(&output));
}

#[test]
fn a_full_reports_folder_ends_the_run_and_says_so() {
    let disk = Disk::mount("size=8k");
    std::fs::write(disk.0.path().join("filler"), vec![0; 4096]).unwrap();
    let output = ab(&disk.0.path().join("run"));
    assert_eq!(output.status.code(), ENVIRONMENT, "{}", said(&output));
    assert!(said(&output).contains("--out DIR"), "{}", said(&output));
}

#[test]
fn a_read_only_reports_folder_ends_the_run_and_says_so() {
    let disk = Disk::mount("ro");
    let output = ab(&disk.0.path().join("run"));
    assert_eq!(output.status.code(), ENVIRONMENT, "{}", said(&output));
    let said = said(&output);
    assert!(said.contains(&disk.0.path().display().to_string()) && said.contains("--out DIR"), "{said}");
}

#[test]
fn a_run_is_never_written_over_another() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("samples.csv"), "elapsed_s\n").unwrap();
    let output = ab(folder.path());
    assert_eq!(output.status.code(), ENVIRONMENT);
    assert!(said(&output).contains("samples.csv"), "{}", said(&output));
    assert_eq!(std::fs::read_to_string(folder.path().join("samples.csv")).unwrap(), "elapsed_s\n");
}

#[test]
fn a_wrong_field_is_named_with_file_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.yaml");
    let text = std::fs::read_to_string(scenario("short.yaml"))
        .unwrap()
        .replace("lines_per_second", "lines_a_second");
    std::fs::write(&path, text).unwrap();
    let output = output(&["ab", &path.display().to_string()]);
    assert_eq!(output.status.code(), BAD_USAGE);
    let said = said(&output);
    assert!(
        said.contains("bad.yaml:") && said.contains("lines_a_second") && said.contains("lines_per_second"),
        "{said}"
    );
}

#[test]
fn an_unknown_target_is_refused_with_those_that_there_are() {
    let output = output(&["ab", "--targets", "pool,vektor"]);
    assert_eq!(output.status.code(), BAD_USAGE);
    insta::assert_snapshot!(
        said(&output).trim_end(),
        @r#"flatline: no target "vektor" in scenarios/quick.yaml; it has: pool, hybrid, archived"#
    );
}

#[test]
fn a_scenario_that_is_not_there_is_named() {
    let output = output(&["ab", "no-such.yaml"]);
    assert_eq!(output.status.code(), BAD_USAGE);
    assert!(said(&output).contains("no-such.yaml"), "{}", said(&output));
}

/// Before the memory is full: each of these would begin for ever.
#[test]
fn faults_without_end_and_faults_that_are_none_are_bad_usage() {
    let faults = |fault: &str| format!("faults=[{{at: 1s, for: 1ns, every: 2s, fault: {fault}}}]");
    for (set, words) in [
        ([faults("hang").replace("2s", "2ns"), "seed=1".to_owned()], "faults[0].every: at least"),
        ([faults("hang"), "phases.load=9999999y".to_owned()], "phases.load: at most"),
        ([faults("{status: {code: 204}}"), "seed=1".to_owned()], "how: withhold"),
        ([faults("{clock_step: soon}"), "seed=1".to_owned()], "such as 30m, 1d or -2h"),
        (["faults=hang".to_owned(), "seed=1".to_owned()], "a list of faults"),
    ] {
        let output = output(&["ab", "--set", &set[0], "--set", &set[1]]);
        assert_eq!(output.status.code(), BAD_USAGE, "{}", said(&output));
        assert!(said(&output).contains(words), "{words}: {}", said(&output));
    }
}

#[test]
fn the_schema_of_each_kind_of_file_is_one_json_document() {
    for (of, field) in
        [("scenario", "targets"), ("part", "include"), ("target", "ready_url"), ("bench", "cases")]
    {
        let printed = output(&["schema", of]);
        assert_eq!(printed.status.code(), Some(0), "{}", said(&printed));
        let schema: serde_json::Value = serde_json::from_slice(&printed.stdout).unwrap();
        assert!(schema["properties"][field]["description"].is_string(), "{of}: {schema}");
    }
    assert_eq!(output(&["schema", "fault"]).status.code(), BAD_USAGE);
}

#[test]
fn a_word_that_is_no_command_is_bad_usage() {
    assert_eq!(output(&["abc"]).status.code(), BAD_USAGE);
    assert_eq!(output(&["ab", "--nope"]).status.code(), BAD_USAGE);
    assert_eq!(output(&["--help"]).status.code(), Some(0));
}

/// The published example's files, as `flatline report` reads them.
fn example(folder: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../reports/example");
    for name in ["run.json", "verdict.json", "samples.csv", "events.csv"] {
        std::fs::copy(from.join(name), folder.join(name)).unwrap();
    }
}

#[test]
fn a_report_is_opened_by_the_desktop_and_where_there_is_none_its_place_is_told() {
    let (run, programs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    example(run.path());
    let report = |path: &Path| {
        let mut command = flatline();
        command.arg("report").arg(run.path()).arg("--open").env("PATH", path).output().unwrap()
    };
    let none = report(programs.path());
    assert_eq!(none.status.code(), ENVIRONMENT);
    let page = run.path().join("report.html").display().to_string();
    assert!(said(&none).contains("xdg-utils") && said(&none).contains(&page), "{}", said(&none));

    let opener = programs.path().join("xdg-open");
    let opened = programs.path().join("opened");
    let script = format!("#!/bin/sh\nprintf %s \"$1\" > {}\n", opened.display());
    std::fs::write(&opener, script).unwrap();
    std::fs::set_permissions(&opener, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(report(programs.path()).status.code(), Some(0));
    assert_eq!(std::fs::read_to_string(&opened).unwrap(), page);

    std::fs::write(&opener, "#!/bin/sh\nexit 3\n").unwrap();
    let failed = report(programs.path());
    assert_eq!(failed.status.code(), ENVIRONMENT);
    assert!(said(&failed).contains("exit status: 3") && said(&failed).contains(&page), "{}", said(&failed));
}

#[test]
fn a_run_directory_that_is_none_is_named() {
    let output = output(&["report", "/nowhere/run"]);
    assert_eq!(output.status.code(), ENVIRONMENT);
    assert!(said(&output).contains("/nowhere/run/"), "{}", said(&output));
}

#[test]
fn analyze_gives_a_verdict_and_its_exit_code_for_any_csv() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("night.csv");
    let rows = (0..200_u32).map(|second| format!("{second},{},{}\n", 20 + second * 43 / 60, 4));
    std::fs::write(
        &path,
        std::iter::once("elapsed_s,fds,threads\n".to_owned()).chain(rows).collect::<String>(),
    )
    .unwrap();
    let path = path.display().to_string();
    let found = output(&["analyze", &path, "--json"]);
    let verdicts: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(found.status.code(), Some(1));
    assert_eq!(verdicts["targets"]["night"]["fds"]["verdict"], "fail");
    assert_eq!(verdicts["targets"]["night"]["threads"]["verdict"], "pass");
    assert_eq!(output(&["analyze", &path, "--limit", "threads=2"]).status.code(), Some(0));
    assert_eq!(output(&["analyze", &path, "--limit", "threads=none"]).status.code(), BAD_USAGE);
}

#[test]
fn with_json_nothing_but_json_is_on_standard_output_also_where_it_fails() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("never-made");
    let mut command = flatline();
    command.args(["ab", "--json", "--engine", "docker", "--out"]).arg(&out);
    let output = command.env("DOCKER_HOST", "unix:///nowhere/docker.sock").output().unwrap();
    assert_eq!(output.status.code(), ENVIRONMENT);
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(!out.exists());
}

#[test]
fn an_output_that_takes_nothing_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["generate", "--source", "a", "--lines", "1", "--truth"];
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = flatline().args(arguments).arg(folder.path().join("c")).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), ENVIRONMENT);
    assert!(said(&output).contains("can't write lines"), "{}", said(&output));
}

#[test]
fn a_line_that_no_memory_holds_and_a_share_beyond_the_whole_are_bad_usage() {
    for wrong in
        ["--line-bytes=99999999999999", "--stderr-percent=101", "--rate=0", "--burst=0", "--source=a b"]
    {
        let output = output(&["generate", "--truth=/nowhere/c", "--source=a", wrong]);
        assert_eq!(output.status.code(), BAD_USAGE, "{wrong}: {}", said(&output));
    }
}

#[test]
fn run_without_a_scenario_names_those_that_ship() {
    let output = output(&["run"]);
    assert_eq!(output.status.code(), BAD_USAGE);
    let said = said(&output);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let scenarios: Vec<String> = files
        .filter_map(|name| Some(name.to_str()?.to_owned()).filter(|name| name.ends_with(".yaml")))
        .collect();
    assert!(scenarios.len() > 5);
    for name in scenarios {
        assert!(said.contains(&format!("scenarios/{name}")), "{name}: {said}");
    }
}

#[test]
fn run_takes_a_scenario_and_the_options_of_ab() {
    let bad = output(&["run", &scenario("short.yaml"), "--set", "phases.laod=1s"]);
    assert_eq!(bad.status.code(), BAD_USAGE);
    assert!(said(&bad).contains("laod") && said(&bad).contains("drain"), "{}", said(&bad));
    let mut command = flatline();
    command.env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    let nowhere = command
        .args(["run", &scenario("short.yaml"), "--engine", "docker", "--out", "/tmp/never-made"])
        .output();
    assert_eq!(nowhere.unwrap().status.code(), ENVIRONMENT);
}

#[test]
fn the_doctor_says_what_is_missing_and_what_to_do() {
    let full = Disk::mount("size=8k");
    let out = full.0.path().join("run").display().to_string();
    let ill = output(&["doctor", &scenario("short.yaml"), "--out", &out, "--engine", "embedded"]);
    assert_eq!(ill.status.code(), ENVIRONMENT);
    let told = String::from_utf8(ill.stdout).unwrap();
    assert!(told.contains("✗ space: this run writes at most") && told.contains(&out), "{told}");
    assert!(told.contains("--out DIR") && told.contains("✓ engine: the embedded one"), "{told}");
    let mut command = flatline();
    command
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
        .args(["doctor", "--json", "--engine", "docker"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), ENVIRONMENT);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let engine = found["findings"].as_array().unwrap().iter().find(|finding| finding["what"] == "engine");
    assert_eq!(engine.unwrap()["state"], "missing", "{found}");
}

/// All of these a run refuses: who asked before must have been told.
#[test]
fn the_doctor_finds_what_a_run_would_refuse() {
    let refused = |options: &[&str], what: &str| {
        let output = output(&[&["doctor", "--engine", "embedded"], options].concat());
        let told = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), ENVIRONMENT, "{told}");
        assert!(told.contains(what), "{told}");
    };
    refused(
        &["--set", "targets.pool.resources.cpus=\"1023\""],
        "✗ limits: pool: can't keep it on the processors 1023",
    );
    refused(
        &["--set", "targets.pool.resources.fds=9999999999"],
        "✗ limits: pool: can't limit file descriptors",
    );
    refused(
        &["--set", "targets.pool.run_in=container"],
        "✗ engine: the embedded engine runs no target in a container",
    );
    refused(&["--out", "Cargo.toml"], "Cargo.toml is no folder");
    refused(&["--out", "Cargo.toml/reports"], "Cargo.toml is no folder");
}
