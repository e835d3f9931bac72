//! Containers on a real Docker Engine, without any registry: their image holds this machine's own shell.

use std::collections::{BTreeSet, HashMap};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptions, RemoveContainerOptions, RenameContainerOptions,
    StopContainerOptions, WaitContainerOptions,
};
use bytes::Bytes;
use futures_util::StreamExt;
use shipper::record::ContainerId;
use tokio::sync::OnceCell;

use crate::support::orphans;

pub(crate) const SOCKET: &str = "/var/run/docker.sock";
const IMAGE: &str = "shipper-tests:shell";
/// What a container can run: `sh` with its builtins, and `sleep`.
const PROGRAMS: [&str; 2] = ["/bin/sh", "/bin/sleep"];

static PREPARED: OnceCell<()> = OnceCell::const_new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// One test's share of the engine: all its containers bear one label.
#[derive(Clone)]
pub(crate) struct Engine {
    pub(crate) docker: Docker,
    pub(crate) label: String,
    socket: PathBuf,
}

/// One container; removed when dropped, running or not.
pub(crate) struct Running {
    pub(crate) id: ContainerId,
    pub(crate) name: String,
    socket: PathBuf,
}

/// What a container is made of, beside its script.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) driver: &'static str,
    pub(crate) log_options: Vec<(String, String)>,
    pub(crate) tty: bool,
    /// A folder of this machine and its place in the container.
    pub(crate) folder: Option<(PathBuf, &'static str)>,
    /// Whether Docker starts it again whenever it ends.
    pub(crate) restarts: bool,
    /// A label besides the engine's, `key` or `key=value`.
    pub(crate) label: Option<&'static str>,
    /// A variable of its environment, `NAME=value`.
    pub(crate) variable: Option<&'static str>,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            driver: "json-file",
            log_options: Vec::new(),
            tty: false,
            folder: None,
            restarts: false,
            label: None,
            variable: None,
        }
    }
}

impl Engine {
    pub(crate) async fn new() -> Self {
        let engine = Self::at(Path::new(SOCKET)).await;
        let prepare = async {
            orphans::sweep();
            import(&engine.docker).await;
        };
        PREPARED.get_or_init(|| prepare).await;
        engine
    }

    /// Of an engine that has nothing yet.
    pub(crate) async fn of(socket: &Path) -> Self {
        let engine = Self::at(socket).await;
        import(&engine.docker).await;
        engine
    }

    async fn at(socket: &Path) -> Self {
        let path = socket.to_str().unwrap();
        let docker = Docker::connect_with_unix(path, 60, bollard::API_DEFAULT_VERSION);
        let docker =
            docker.unwrap_or_else(|error| panic!("these tests need a Docker Engine at {path}: {error}"));
        let docker = docker.negotiate_version().await;
        let docker =
            docker.unwrap_or_else(|error| panic!("these tests need a Docker Engine at {path}: {error}"));
        Self { docker, label: format!("flatline.run={}", unique()), socket: socket.to_owned() }
    }

    /// As the shipper's config names it.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Makes and starts a container that runs `script`.
    pub(crate) async fn run(&self, script: &str) -> Running {
        let running = self.create(script, &[], false).await;
        self.start(&running).await;
        running
    }

    /// Waits for the end of its present life.
    pub(crate) async fn ended(&self, running: &Running) {
        let mut ends = self.docker.wait_container(running.id.as_str(), None::<WaitContainerOptions>);
        ends.next().await.unwrap().unwrap();
    }

    pub(crate) async fn start(&self, running: &Running) {
        self.docker.start_container(running.id.as_str(), None).await.unwrap();
    }

    /// Makes and starts a container that Docker starts again whenever it ends.
    pub(crate) async fn run_again_and_again(&self, script: &str) -> Running {
        let running = self.make(script, Made { restarts: true, ..Made::default() }).await;
        self.start(&running).await;
        running
    }

    pub(crate) async fn create(&self, script: &str, log_options: &[(&str, &str)], tty: bool) -> Running {
        let options = log_options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        self.make(script, Made { log_options: options.collect(), tty, ..Made::default() }).await
    }

    /// Makes a container and does not start it.
    pub(crate) async fn make(&self, script: &str, made: Made) -> Running {
        let (key, value) = self.label.split_once('=').unwrap();
        let log = HostConfigLogConfig {
            typ: Some(made.driver.into()),
            config: Some(made.log_options.into_iter().collect()),
        };
        let bind = made.folder.map(|(folder, place)| format!("{}:{place}", folder.display()));
        let mut labels = HashMap::from([(key.to_owned(), value.to_owned())]);
        let label = made.label.map(|label| label.split_once('=').unwrap_or((label, "")));
        labels.extend(label.map(|(key, value)| (key.to_owned(), value.to_owned())));
        let always = RestartPolicy { name: Some(RestartPolicyNameEnum::ALWAYS), ..Default::default() };
        let body = ContainerCreateBody {
            image: Some(IMAGE.into()),
            cmd: Some(["/bin/sh", "-c", script].map(str::to_owned).to_vec()),
            tty: Some(made.tty),
            env: made.variable.map(|variable| vec![variable.to_owned()]),
            stop_signal: Some("SIGKILL".into()),
            labels: Some(labels),
            host_config: Some(HostConfig {
                network_mode: Some("none".into()),
                log_config: Some(log),
                binds: bind.map(|bind| vec![bind]),
                restart_policy: made.restarts.then_some(always),
                ..Default::default()
            }),
            ..Default::default()
        };
        let name = unique();
        let options = CreateContainerOptions { name: Some(name.clone()), ..Default::default() };
        let created = self.docker.create_container(Some(options), body).await.unwrap();
        Running { id: ContainerId::parse(&created.id).unwrap(), name, socket: self.socket.clone() }
    }

    pub(crate) async fn stop(&self, running: &Running) {
        let options = StopContainerOptions { t: Some(1), ..Default::default() };
        self.docker.stop_container(running.id.as_str(), Some(options)).await.unwrap();
    }

    /// Removes it and its log. To drop it does the same, but holds up this thread.
    pub(crate) async fn remove(&self, running: Running) {
        let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
        self.docker.remove_container(running.id.as_str(), Some(options)).await.unwrap();
        // Nothing is left for its drop to do but to be told so.
        drop(running);
    }

    pub(crate) async fn rename(&self, running: &Running, name: &str) {
        let options = RenameContainerOptions { name: name.into() };
        self.docker.rename_container(running.id.as_str(), options).await.unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Without a runtime, since a test that has failed may have none left.
        let Ok(mut socket) = UnixStream::connect(&self.socket) else { return };
        // An engine that hangs must not hang the test with it.
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap_or_default();
        let path = format!("/containers/{}?force=1&v=1", self.id.as_str());
        let request = format!("DELETE {path} HTTP/1.0\r\nHost: docker\r\n\r\n");
        let asked = socket.write_all(request.as_bytes()).and_then(|()| socket.read_to_end(&mut Vec::new()));
        if let Err(error) = asked {
            eprintln!("container {} is left behind: {error}", self.name);
        }
    }
}

pub(crate) fn unique() -> String {
    format!("{}{}-{}", orphans::NAME, std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Once per machine: to import it again would leave the old one behind without a name.
async fn import(docker: &Docker) {
    if docker.inspect_image(IMAGE).await.is_ok() {
        return;
    }
    let (repo, tag) = IMAGE.split_once(':').unwrap();
    let options = CreateImageOptions {
        from_src: Some("-".into()),
        repo: Some(repo.into()),
        tag: Some(tag.into()),
        ..Default::default()
    };
    let body = bollard::body_full(Bytes::from(file_system()));
    let answers: Vec<_> = docker.create_image(Some(options), Some(body), None).collect().await;
    for answer in answers {
        answer.unwrap_or_else(|error| panic!("the image of the tests can't be imported: {error}"));
    }
}

/// A tar with the programs and the libraries that they load.
fn file_system() -> Vec<u8> {
    let mut files: BTreeSet<String> = PROGRAMS.map(str::to_owned).into();
    for program in PROGRAMS {
        let listing = Command::new("ldd").arg(program).output().expect("ldd tells what a program loads");
        let listing = String::from_utf8(listing.stdout).unwrap();
        files.extend(listing.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned));
    }
    let mut tar = tar::Builder::new(Vec::new());
    for file in files {
        let content = std::fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len().try_into().unwrap());
        header.set_mode(0o755);
        header.set_cksum();
        tar.append_data(&mut header, file.trim_start_matches('/'), content.as_slice()).unwrap();
    }
    tar.into_inner().unwrap()
}
