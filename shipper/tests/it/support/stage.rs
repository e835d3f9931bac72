//! The surroundings of one shipper: an engine, a sink, a folder for its state, containers with numbered lines.

use std::path::PathBuf;

use crate::support::engine::{Engine, Made};
use crate::support::letters::Letters;
use crate::support::numbered::{self, Numbered};
use crate::support::program::{Program, assert_conserved, sum};
use crate::support::sink::Sink;

pub(crate) struct Stage {
    dir: tempfile::TempDir,
    pub(crate) engine: Engine,
    pub(crate) sink: Sink,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::on(Engine::new().await)
    }

    /// On an engine of the test's own.
    pub(crate) fn on(engine: Engine) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("numbered")).unwrap();
        Self { dir, engine, sink: Sink::start() }
    }

    fn folder(&self) -> PathBuf {
        self.path("numbered")
    }

    /// In its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Short delays, so that real time is all a test needs. `own` are lines of YAML; they replace those
    /// of the same key.
    pub(crate) fn config(&self, design: &str, own: &[&str]) -> String {
        let lines = [
            format!("design: {design}"),
            format!("docker: {{host: \"{}\"}}", self.engine.host()),
            format!("state_dir: {}/state", self.dir.path().display()),
            "start: end".to_owned(),
            format!("loki: {{url: \"{}\", encoding: json}}", self.sink.url()),
            "batch: {max_wait: 20ms}".to_owned(),
            "retry: {initial: 10ms, max: 50ms}".to_owned(),
            "admin: {listen: \"127.0.0.1:0\"}".to_owned(),
            format!("discovery: {{labels: [\"{}\"]}}", self.engine.label),
        ];
        let key = |line: &str| line.split(':').next().unwrap().to_owned();
        let replaced = |line: &String| own.iter().any(|other| key(other) == key(line));
        let kept = lines.iter().filter(|line| !replaced(line)).map(String::as_str);
        kept.chain(own.iter().copied()).map(|line| format!("{line}\n")).collect()
    }

    /// Starts the shipper and waits until it is ready.
    pub(crate) async fn start(&self, design: &str, own: &[&str]) -> Program {
        Program::start(self.dir.path(), &self.config(design, own)).await
    }

    pub(crate) async fn writer(&self, name: &str) -> Numbered {
        Numbered::start(&self.engine, &self.folder(), name, Made::default()).await
    }

    /// All lines that these have written. Each must have carried out its order: a list that is taken before
    /// is too short.
    pub(crate) fn written<'a>(&self, writers: impl IntoIterator<Item = &'a Numbered>) -> Vec<String> {
        let name = |writer: &Numbered| {
            assert!(writer.is_idle(), "{} still writes", writer.name);
            writer.name.clone()
        };
        let names: Vec<String> = writers.into_iter().map(name).collect();
        numbered::all_lines(&self.folder(), &names).0
    }

    /// All lines in the dead letters.
    pub(crate) fn dead(&self) -> Vec<String> {
        Letters::of(&self.dir.path().join("state")).news()
    }

    /// Waits until these lines, and no others, were read and are settled. Then each of them must be at the
    /// sink, in the dead letters, or counted as dropped. The metrics page at that moment.
    pub(crate) async fn settled(&self, program: &Program, lines: &[String]) -> String {
        let all = lines.len() as f64;
        let at_rest = |page: &str| {
            sum(page, "shipper_lines_read_total") == all && sum(page, "shipper_lines_in_flight") == 0.0
        };
        let page = program.until("/metrics", at_rest).await;
        assert_conserved(&page);
        let dead = self.dead();
        let missing = lines.iter().filter(|line| !self.sink.has(line) && !dead.contains(line)).count();
        assert_eq!(missing as f64, sum(&page, "shipper_lines_dropped_total"), "{page}");
        page
    }

    /// How often lines came that had come before.
    pub(crate) fn repeated(&self) -> usize {
        self.sink.book(|book| book.lines.values().map(|stored| stored.arrivals.len() - 1).sum())
    }
}
