//! The real program as a process; killed when dropped.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// A limit that no working machine reaches.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Program {
    child: Child,
    log: PathBuf,
    /// Where in the log this start begins.
    began: usize,
    admin: Option<String>,
}

impl Program {
    /// Starts it with this config; its log is added to `shipper.log` in `dir`.
    pub(crate) fn spawn(dir: &Path, config: &str) -> Self {
        let (file, log) = (dir.join("shipper.yaml"), dir.join("shipper.log"));
        std::fs::write(&file, config).unwrap();
        let errors = OpenOptions::new().append(true).create(true).open(&log).unwrap();
        let began = usize::try_from(errors.metadata().unwrap().len()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_shipper"))
            .args(["run", "--config"])
            .arg(file)
            .stderr(Stdio::from(errors))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { child, log, began, admin: None }
    }

    /// Starts it and waits until it says that it is ready.
    pub(crate) async fn start(dir: &Path, config: &str) -> Self {
        let mut program = Self::spawn(dir, config);
        program.listening().await;
        program.until("/ready", |page| page == "ready\n").await;
        program
    }

    /// Waits until it tells where its admin page is.
    pub(crate) async fn listening(&mut self) {
        let (_, rest) = self.until_it_says("admin listens address=").await;
        self.admin = rest.split_whitespace().next().map(str::to_owned);
    }

    /// What it has logged since its start.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read(&self.log).unwrap();
        String::from_utf8_lossy(log.get(self.began..).unwrap_or_default()).into_owned()
    }

    /// Waits until a whole line of its log has these words; what stands before and behind them.
    pub(crate) async fn until_it_says(&mut self, words: &str) -> (String, String) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            if let Some((before, behind)) = log.split_once(words)
                && behind.contains('\n')
            {
                return (before.to_owned(), behind.to_owned());
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended with {ended:?} and did not say {words:?}:\n{log}");
            assert!(tokio::time::Instant::now() < deadline, "it never says {words:?}:\n{log}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Where its admin page is.
    pub(crate) fn admin(&self) -> &str {
        self.admin.as_ref().expect("it was waited for")
    }

    pub(crate) async fn page(&self, path: &str) -> String {
        let admin = self.admin();
        reqwest::get(format!("http://{admin}{path}")).await.unwrap().text().await.unwrap()
    }

    /// One number of the metrics page; the sum, if there are several with that beginning.
    pub(crate) async fn number(&self, name: &str) -> f64 {
        sum(&self.page("/metrics").await, name)
    }

    /// Asks for a page until it is as it should be.
    pub(crate) async fn until(&self, path: &str, holds: impl Fn(&str) -> bool) -> String {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let page = self.page(path).await;
            if holds(&page) {
                return page;
            }
            let late = tokio::time::Instant::now() > deadline;
            assert!(!late, "{path} never was as it should be:\n{page}\nIts log:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id().expect("it runs")).unwrap()).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Kills it as a power cut would.
    pub(crate) async fn kill(mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "it ended by itself with {ended:?}:\n{}", self.log());
        self.child.kill().await.unwrap();
    }

    /// Waits for its end; its exit code.
    pub(crate) async fn ended(&mut self) -> i32 {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("it does not end:\n{}", self.log())).unwrap();
        status.code().unwrap_or_else(|| panic!("it was killed: {status}"))
    }

    /// Stops it as a supervisor does; its exit code.
    pub(crate) async fn terminate(mut self) -> i32 {
        self.signal(Signal::TERM);
        self.ended().await
    }
}

/// Waits until `holds`, looking often, under a limit that no working machine reaches.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "never: {what}");
}

/// The sum of all samples on a metrics page whose line begins like this.
pub(crate) fn sum(page: &str, name: &str) -> f64 {
    let lines = page.lines().filter(|line| line.starts_with(name));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// The law: `read = delivered + skipped + dropped + dead-lettered + in flight`.
pub(crate) fn assert_conserved(page: &str) {
    let settled = ["delivered", "skipped", "dropped", "dead_lettered"];
    let settled: f64 = settled.iter().map(|what| sum(page, &format!("shipper_lines_{what}_total"))).sum();
    let (read, flying) = (sum(page, "shipper_lines_read_total"), sum(page, "shipper_lines_in_flight"));
    assert_eq!(read, settled + flying, "{page}");
}
