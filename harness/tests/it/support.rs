//! The program as its users have it, run from outside.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Long enough for a loaded machine; a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(240);

/// The program under test.
pub(crate) fn flatline() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flatline"));
    command.stdin(Stdio::null());
    // Tests inside a workflow have nothing to say to it.
    command.env_remove("GITHUB_ACTIONS");
    // What one test has left on purpose another's run must not remove.
    command.env("FLATLINE_SWEEP", "off");
    command
}

/// Held by a test that looks at what a dead run has left, or that removes what any has left.
pub(crate) fn leavings() -> MutexGuard<'static, ()> {
    static LEAVINGS: Mutex<()> = Mutex::new(());
    LEAVINGS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs it to its end.
pub(crate) fn output(arguments: &[&str]) -> Output {
    flatline().args(arguments).output().unwrap()
}

/// What it said on standard error.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A file of this folder's scenarios.
pub(crate) fn scenario(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/scenarios").join(name).display().to_string()
}

/// A JSON file of a run directory.
pub(crate) fn json(run: &Path, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(run.join(name)).unwrap()).unwrap()
}

/// Polls until `met` says so.
pub(crate) fn wait_for(what: &str, mut met: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !met() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::yield_now();
        pause();
    }
}

/// Between two looks; not a wait for anything.
#[expect(clippy::disallowed_methods, reason = "a poll under a deadline, so that waiting costs no core")]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// A pipe that nobody reads: what a run is left with when its terminal or its `| head` has gone.
fn closed() -> std::io::PipeWriter {
    let (_, writer) = std::io::pipe().unwrap();
    writer
}

/// A run under way, its outputs closed: all that it has to say is in its files. Killed when dropped.
pub(crate) struct Run {
    child: Child,
    pub(crate) out: PathBuf,
}

impl Run {
    pub(crate) fn start(scenario_file: &str, out: PathBuf) -> Self {
        Self::start_on("auto", scenario_file, out)
    }

    /// On the engine of this name.
    pub(crate) fn start_on(engine: &str, scenario_file: &str, out: PathBuf) -> Self {
        let mut command = flatline();
        command.args(["ab", &scenario(scenario_file), "--engine", engine, "--out"]).arg(&out);
        Self::of(command, out)
    }

    /// The one that this command line begins.
    pub(crate) fn of(mut command: Command, out: PathBuf) -> Self {
        let child = command.stdout(closed()).stderr(closed()).spawn().unwrap();
        Self { child, out }
    }

    /// Goes on with a run that was killed.
    pub(crate) fn go_on(&mut self) {
        let mut command = flatline();
        command.args(["run", "--resume"]).arg(&self.out).stdout(closed()).stderr(closed());
        self.child = command.spawn().unwrap();
    }

    /// Waits until the run has written that this phase began.
    pub(crate) fn wait_for_phase(&mut self, phase: &str) {
        self.wait_for_event(&format!(",phase,{phase}\n"));
    }

    /// Waits until this stands in the run's events.
    pub(crate) fn wait_for_event(&mut self, part: &str) {
        self.wait_for_events(part, 1);
    }

    /// Waits until this stands there so many times.
    pub(crate) fn wait_for_events(&mut self, part: &str, count: usize) {
        let events = self.out.join("events.csv");
        wait_for(part, || {
            assert_eq!(self.child.try_wait().unwrap(), None, "the run ended before {part}");
            std::fs::read_to_string(&events).is_ok_and(|events| events.matches(part).count() >= count)
        });
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut ended = None;
        wait_for("the end of the run", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap()
    }

    pub(crate) fn run_id(&self) -> String {
        json(&self.out, "run.json")["run_id"].as_str().unwrap().to_owned()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // It has ended, or the test has failed: then `flatline clean` in the next line takes the rest.
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
    }
}

/// Containers of a run that are still there, running or not.
pub(crate) fn containers(run_id: &str) -> Vec<String> {
    docker(&["ps", "-aq", "--filter", &format!("label=flatline.run={run_id}")])
}

/// Images of a run that are still there.
pub(crate) fn images(run_id: &str) -> Vec<String> {
    docker(&["images", "-q", "--filter", &format!("label=flatline.run={run_id}")])
}

fn docker(arguments: &[&str]) -> Vec<String> {
    let output = Command::new("docker").args(arguments).output().expect("the docker command line");
    assert!(output.status.success(), "a Docker Engine is needed: {}", said(&output));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Processes that carry a run's id in their environment.
pub(crate) fn processes(run_id: &str) -> Vec<String> {
    let wanted = format!("FLATLINE_RUN={run_id}");
    let folders = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let of_run = folders.filter(|folder| {
        let environment = std::fs::read(folder.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    });
    of_run.map(|folder| folder.display().to_string()).collect()
}

/// Where a run's own engine and its small disks are: processes, mounts and a folder.
pub(crate) fn left_by(run_id: &str) -> Vec<String> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let mounts = mounts.lines().filter(|mount| mount.contains(run_id)).map(str::to_owned);
    let folder = std::env::temp_dir().join(format!("flatline-engine-{run_id}"));
    let folder = folder.exists().then(|| folder.display().to_string());
    processes(run_id).into_iter().chain(mounts).chain(folder).collect()
}
