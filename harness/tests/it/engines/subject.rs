//! An engine as its clients see it: a Unix socket that speaks HTTP, and a folder of logs. Nothing here knows which one.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{flatline, wait_for};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// An engine, and the containers that a test makes on it.
pub(super) struct Subject {
    socket: PathBuf,
    /// Its folder of containers.
    pub(super) containers: PathBuf,
    /// Part of every name and the value of every label that this test gives.
    tag: String,
    /// The embedded engine's process and its folder.
    own: Option<(Child, TempDir)>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Subject {
    /// The machine's Docker Engine.
    pub(super) fn docker() -> Self {
        Self::at("/var/run/docker.sock".into(), "/var/lib/docker/containers".into(), None)
    }

    /// An embedded engine of this test's own.
    pub(super) fn embedded() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (socket, root) = (folder.path().join("engine.sock"), folder.path().join("root"));
        let mut command = flatline();
        command.args(["engine", "--listen"]).arg(&socket).arg("--root").arg(&root);
        let engine = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap();
        let containers = root.join("containers");
        let subject = Self::at(socket, containers, Some((engine, folder)));
        wait_for("the embedded engine", || UnixStream::connect(&subject.socket).is_ok());
        subject
    }

    fn at(socket: PathBuf, containers: PathBuf, own: Option<(Child, TempDir)>) -> Self {
        let tag = format!("fl-engines-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self { socket, containers, tag, own }
    }

    /// Where clients find it.
    pub(super) fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// One request on a connection of its own, read to its end.
    pub(super) fn ask(&self, method: &str, path: &str, body: &Value) -> Answer {
        let mut stream = self.send(method, path, body);
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        parsed(&answer)
    }

    pub(super) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &Value::Null)
    }

    pub(super) fn post(&self, path: &str) -> Answer {
        self.ask("POST", path, &Value::Null)
    }

    /// The same, with the connection left open.
    pub(super) fn send(&self, method: &str, path: &str, body: &Value) -> UnixStream {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        // Of HTTP 1.0, so that the body comes as it is and ends with the connection.
        let head = format!(
            "{method} /v1.41{path} HTTP/1.0\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        stream
    }

    /// A name of this test's own.
    pub(super) fn name(&self, short: &str) -> String {
        format!("{}-{short}", self.tag)
    }

    /// `filters` for what this test has made.
    pub(super) fn mine(&self) -> String {
        format!("%7B%22label%22%3A%5B%22flatline.engines%3D{}%22%5D%7D", self.tag)
    }

    /// Makes a container that runs a script of the machine's own shell, which is mounted at its own place. Answers with
    /// its id.
    pub(super) fn create(&self, short: &str, script: &str, more: Value) -> String {
        self.import();
        let mut body = json!({
            "Image": self.image(),
            "Cmd": ["/bin/sh", "-c", script],
            "Labels": { "flatline.engines": self.tag, "kind": short },
            "StopSignal": "SIGKILL",
            "HostConfig": {
                "NetworkMode": "none",
                "Binds": ["/bin:/bin:ro", "/lib:/lib:ro", "/lib64:/lib64:ro", "/usr:/usr:ro"],
            },
        });
        merge(&mut body, more);
        let answer = self.ask("POST", &format!("/containers/create?name={}", self.name(short)), &body);
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["Id"].as_str().unwrap().to_owned()
    }

    /// Makes one and starts it.
    pub(super) fn run(&self, short: &str, script: &str, more: Value) -> String {
        let id = self.create(short, script, more);
        let started = self.post(&format!("/containers/{id}/start"));
        assert_eq!(started.status, 204, "{}", started.text());
        id
    }

    /// Runs one to its end.
    pub(super) fn ran(&self, short: &str, script: &str, more: Value) -> String {
        let id = self.run(short, script, more);
        assert_eq!(self.post(&format!("/containers/{id}/wait")).status, 200);
        id
    }

    /// The image of this test: a name, and no file at all.
    pub(super) fn image(&self) -> String {
        format!("{}:1", self.tag)
    }

    fn import(&self) {
        if self.get(&format!("/images/{}/json", self.image())).status == 200 {
            return;
        }
        // A tar archive without an entry is two blocks of zeros.
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        let path = format!("/v1.41/images/create?fromSrc=-&repo={}&tag=1", self.tag);
        let head = format!("POST {path} HTTP/1.0\r\nHost: docker\r\nContent-Length: 1024\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&[0; 1024]).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(parsed(&answer).status, 200, "{}", String::from_utf8_lossy(&answer));
    }

    /// A text without what differs from one container and one test to the next: ids, this test's names, times.
    pub(super) fn plain(&self, text: &str) -> String {
        let id = regex("[0-9a-f]{64}");
        let time = regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z");
        let text = id.replace_all(text, "<id>");
        time.replace_all(&text, "<time>").replace(&self.tag, "<tag>")
    }

    /// The files of a container's log: names and contents, without times and ids.
    pub(super) fn log_files(&self, id: &str) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(self.containers.join(id)).unwrap().map(|entry| entry.unwrap().path());
        let files = entries.filter(|path| path.to_string_lossy().contains("-json.log"));
        files
            .map(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (self.plain(&name), std::fs::read(&path).unwrap())
            })
            .collect()
    }
}

pub(super) fn regex(pattern: &str) -> regex::Regex {
    regex::Regex::new(pattern).unwrap()
}

fn parsed(answer: &[u8]) -> Answer {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&answer[..end]);
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    Answer { status, body: answer[end + 4..].to_vec() }
}

/// What `more` says goes into `body`, object by object.
fn merge(body: &mut Value, more: Value) {
    match (body, more) {
        (Value::Object(body), Value::Object(more)) => {
            for (key, value) in more {
                merge(body.entry(key).or_insert(Value::Null), value);
            }
        }
        (_, Value::Null) => {}
        (body, more) => *body = more,
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let all = self.get(&format!("/containers/json?all=1&filters={}", self.mine())).json();
        for container in all.as_array().into_iter().flatten() {
            let id = container["Id"].as_str().unwrap_or_default();
            self.ask("DELETE", &format!("/containers/{id}?force=1&v=1"), &Value::Null);
        }
        self.ask("DELETE", &format!("/images/{}?force=1", self.image()), &Value::Null);
        if let Some((mut engine, _folder)) = self.own.take() {
            engine.kill().unwrap();
            engine.wait().unwrap();
        }
    }
}
