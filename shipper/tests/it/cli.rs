//! The command line as a person meets it: messages and exit codes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn config(&self, text: &str) -> PathBuf {
        let path = self.path().join("shipper.yaml");
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn shipper(command: &str, config: &Path) -> (i32, String, String) {
    let program = env!("CARGO_BIN_EXE_shipper");
    let output: Output = Command::new(program).arg(command).arg("--config").arg(config).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_good_config_is_checked_and_printed() {
    let home = Home::new();
    let config = home.config("design: pool\nstart: {since: 1h}\n");
    let (code, out, _) = shipper("check", &config);
    assert_eq!((code, out.ends_with("shipper.yaml: ok\n")), (0, true));
    let (code, printed, _) = shipper("print-config", &config);
    assert_eq!(code, 0);
    assert_eq!(shipper("print-config", &home.config(&printed)).1, printed);
}

#[test]
fn an_unknown_field_names_file_line_and_field() {
    let home = Home::new();
    let config = home.config("design: pool\nloki:\n  uri: http://loki\n");
    for command in ["run", "check", "print-config"] {
        let (code, _, error) = shipper(command, &config);
        assert_eq!(code, 2);
        let expected = format!("shipper: {}:3:3: loki.uri is no key: is it `url`?", config.display());
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn what_can_not_be_printed_is_a_failure() {
    let home = Home::new();
    let config = home.config("design: auto\n");
    for command in ["check", "print-config"] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut shipper = std::process::Command::new(env!("CARGO_BIN_EXE_shipper"));
        let ended = shipper.args([command, "--config"]).arg(&config).stdout(full).output().unwrap();
        assert_eq!(ended.status.code(), Some(4), "{command}: {}", String::from_utf8_lossy(&ended.stderr));
    }
}

#[test]
fn a_variable_of_the_environment_fills_a_value_and_one_that_is_not_there_is_named() {
    let home = Home::new();
    let config =
        home.config("docker:\n  max_connections: ${SHIPPER_TEST_NOT_SET:-7}\nstate_dir: ${HOME}/state\n");
    let (code, printed, error) = shipper("print-config", &config);
    let expected = format!("state_dir: {}/state\n", std::env::var("HOME").unwrap());
    assert!(
        code == 0 && printed.contains("max_connections: 7\n") && printed.contains(&expected),
        "{printed}{error}"
    );
    let config = home.config("loki:\n  url: ${SHIPPER_TEST_NOT_SET}\nlimits: {max_line: 0}\n");
    let (code, _, error) = shipper("check", &config);
    assert_eq!((code, error.lines().count()), (2, 2), "{error}");
    assert!(
        error.contains(":2:8: loki.url names ${SHIPPER_TEST_NOT_SET}, which is not in the environment"),
        "{error}"
    );
}

#[test]
fn a_config_that_is_not_there_is_named() {
    let home = Home::new();
    let missing = home.path().join("none.yaml");
    let (code, _, error) = shipper("check", &missing);
    assert_eq!(code, 2);
    assert!(error.contains("can't read the config") && error.contains("none.yaml"), "{error}");
}

#[test]
fn wrong_usage_is_two() {
    let output = Command::new(env!("CARGO_BIN_EXE_shipper")).arg("ship").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_docker_that_is_not_there_is_the_surroundings_fault() {
    let home = Home::new();
    let state = home.path().join("state");
    let config = home.config(&format!(
        "docker: {{host: \"unix://{}\"}}\nstate_dir: {}\nadmin: {{listen: \"127.0.0.1:0\"}}\n",
        home.path().join("docker.sock").display(),
        state.display(),
    ));
    let (code, _, error) = shipper("run", &config);
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("docker.sock"), "{error}");
}

#[test]
fn a_log_that_can_not_be_written_ends_nothing() {
    let home = Home::new();
    let docker = home.path().join("docker.sock");
    let text = format!(
        "docker: {{host: \"unix://{}\"}}\nstate_dir: {}\nadmin: {{listen: \"127.0.0.1:0\"}}\n",
        docker.display(),
        home.path().display()
    );
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_shipper"));
    let status = command.arg("run").arg("--config").arg(home.config(&text)).stderr(full).status().unwrap();
    assert_eq!(status.code(), Some(4), "the missing Docker, and not the log, ends it");
}

#[test]
fn a_state_dir_that_is_not_there_is_named_and_no_empty_list_shown() {
    let home = Home::new();
    let config = home.config(&format!("state_dir: {}/none\n", home.path().display()));
    for command in ["list", "replay"] {
        let output = Command::new(env!("CARGO_BIN_EXE_shipper"))
            .args(["dead-letters", command, "--config"])
            .arg(&config)
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{error}");
        assert!(error.contains("there is no state_dir") && error.contains("/none"), "{error}");
    }
}

#[test]
fn a_port_in_use_and_a_state_dir_that_can_not_be_made_are_the_surroundings_fault() {
    let home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (code, _, error) = shipper("run", &home.config(&format!("admin: {{listen: \"{address}\"}}\n")));
    assert_eq!(code, 4);
    assert!(error.contains(&address.to_string()), "{error}");

    let file = home.path().join("file");
    std::fs::write(&file, "").unwrap();
    let config =
        home.config(&format!("state_dir: {}/state\nadmin: {{listen: \"127.0.0.1:0\"}}\n", file.display()));
    let (code, _, error) = shipper("run", &config);
    assert_eq!(code, 4);
    assert!(error.contains("file/state"), "{error}");
}

#[test]
fn who_asks_whether_nobody_is_ready_is_told_so() {
    let home = Home::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, out, error) = shipper("ready", &home.config(&format!("admin: {{listen: \"{free}\"}}\n")));
    assert_eq!((code, out.as_str()), (4, ""), "{error}");
    assert!(error.starts_with(&format!("shipper: no shipper answers at {free} (admin.listen): ")), "{error}");
}
