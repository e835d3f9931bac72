//! A state folder with dead letters in it, and the commands that work on it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use shipper::batch::{Entry, Group};
use shipper::delivery::dead_letters::{self, DeadLetters, Reason};
use shipper::labels::Labels;
use shipper::ledger::Numbering;
use shipper::metrics::Metrics;
use shipper::record::block::Line;
use shipper::record::{Container, Position, Stream};

use super::rig::container;

pub const REFUSED: Reason<'static> = Reason { reason: "refused", answer: Some((400, "words")) };

/// Lines of the stream of a container with this name.
pub fn group(name: &str, lines: &[(i64, &str)]) -> Group {
    let container = Arc::new(Container { name: name.to_owned(), ..(*container()).clone() });
    let labels = Labels::of(&container, Stream::Stdout);
    let mut numbers = Numbering::new(0);
    let entry = |(time_ns, line): &(i64, &str)| Entry {
        time_ns: *time_ns,
        clamped_from_ns: None,
        line: Line::alone(
            container.clone(),
            Stream::Stdout,
            *time_ns,
            line,
            Position::Api { time_ns: *time_ns, seen: 1 },
        ),
        ticket: numbers.take(),
    };
    let entries = lines.iter().map(entry).collect();
    Group::new(container.clone(), labels, entries)
}

/// A folder for state, and the config that names it.
pub struct State {
    dir: tempfile::TempDir,
    config: PathBuf,
}

impl State {
    /// For a Loki at this address.
    pub fn new(loki: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("shipper.yaml");
        let text = format!(
            "state_dir: {}/state\nloki: {{url: \"{loki}\", tenant: test, encoding: json}}\n\
             retry: {{initial: 10ms, max: 50ms}}\nbatch: {{max_bytes: 2KiB}}\n",
            dir.path().display()
        );
        std::fs::write(&config, text).unwrap();
        Self { dir, config }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub fn letters(&self) -> PathBuf {
        self.path().join("dead-letters")
    }

    /// As a shipper opens it; each time a new segment begins.
    pub async fn open(&self) -> DeadLetters {
        let config = dead_letters::Config::default();
        DeadLetters::open(&self.letters(), &config, Metrics::new()).await.unwrap()
    }

    /// A shipper that buries these and ends.
    pub async fn bury(&self, groups: Vec<Group>) {
        let mut letters = self.open().await;
        let lines = groups.iter().map(|group| group.entries.len()).sum::<usize>();
        groups.into_iter().for_each(|group| letters.put(group, None, REFUSED));
        let safe = letters.flush().await;
        assert_eq!(safe.iter().map(|group| group.entries.len()).sum::<usize>(), lines);
    }

    /// A command of the program, not yet started: `dead-letters replay` and what follows it.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shipper"));
        command.args(words).arg("--config").arg(&self.config);
        command
    }

    /// Exit code, output and errors of a command.
    pub async fn run(&self, words: &[&str]) -> (i32, String, String) {
        let mut command = self.command(words);
        let output: Output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    /// The names of all files in the folder of dead letters but the lock.
    pub fn files(&self) -> Vec<String> {
        names(&self.letters()).into_iter().filter(|name| name != "replay.lock").collect()
    }

    /// What `list` says.
    pub async fn list(&self) -> serde_json::Value {
        let (code, out, error) = self.run(&["dead-letters", "list", "--json", "--lines", "1000"]).await;
        assert_eq!(code, 0, "{error}");
        serde_json::from_str(&out).unwrap()
    }
}

pub fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
