//! A part of a selftest as a process: started, found, told of events, stopped.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, interval};

use crate::run::selftest::SelftestError;
use crate::run::selftest::cast::Part;
use crate::sample::process::{self, Limits};
use crate::sample::sampler::{Others, Subject, TasksGauge};
use crate::target::confine::Confinement;
use crate::target::ended::Ended;
use crate::target::process::{Place, Process};
use crate::target::spec::{Filled, Ready};

/// Long enough for a loaded machine.
const LISTENS_WITHIN: Duration = Duration::from_secs(20);
const STOP_WITHIN: Duration = Duration::from_secs(12);
/// An event that is not answered by then is told again.
const TOLD_WITHIN: Duration = Duration::from_millis(900);
/// What it prints before its address.
const LISTENING: &str = "listening on ";

/// A part that plays.
#[derive(Debug)]
pub(super) struct Player {
    pub(super) part: Part,
    pub(super) limits: Limits,
    process: Process,
    url: String,
    events_told: u64,
}

impl Player {
    /// Starts it and waits until it is ready. Its log and its config, which is empty, go into `folder`.
    pub(super) async fn start(part: Part, folder: &Path, run_id: &str) -> Result<Self, SelftestError> {
        let program = std::env::current_exe().map_err(SelftestError::Program)?;
        let place = Place {
            config: folder.join(format!("{}.config", part.name)),
            log: folder.join(format!("{}.log", part.name)),
            state_dir: folder.to_owned(),
            run_id: run_id.to_owned(),
        };
        let filled = Filled {
            command: [program.display().to_string()].into_iter().chain(part.arguments()).collect(),
            config: String::new(),
            ready: Ready::Started,
            metrics_url: None,
            dead_letters: None,
            mounts: Vec::new(),
        };
        let mut process = Process::start(part.name, &filled, &place, &Confinement::default())?;
        let url = address(&mut process, part.name).await?;
        process.wait_ready(&Ready::Url(format!("{url}/ready"))).await?;
        let limits = process::limits(process.pid());
        Ok(Self { part, limits, process, url, events_told: 0 })
    }

    /// How to look at it.
    pub(super) fn subject(&self) -> Subject {
        let (url, name) = (format!("{}/metrics", self.url), "tokio_alive_tasks".to_owned());
        let gauge = TasksGauge { url, name, by_kind: None, others: Others::default() };
        Subject { name: self.part.name.to_owned(), pid: self.process.pid(), tasks: Some(gauge), memory: None }
    }

    /// Tells it of the events that have happened by now. What can't be told is told the next time.
    pub(super) async fn tell(&mut self, client: &reqwest::Client, elapsed_s: f64) {
        let due = self.part.events_per_min() * elapsed_s / 60.0;
        while ((self.events_told + 1) as f64) <= due {
            let told = client.post(format!("{}/event", self.url)).timeout(TOLD_WITHIN).send().await;
            if !told.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            self.events_told += 1;
        }
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// [`SelftestError::Ended`], with its last words.
    pub(super) fn check(&mut self) -> Result<(), SelftestError> {
        match self.process.ended() {
            Some(ended) => Err(ended_early(self.part.name, &self.process, &ended)),
            None => Ok(()),
        }
    }

    /// Stops it in order.
    ///
    /// # Errors
    /// [`SelftestError::Unclean`].
    pub(super) async fn stop(self) -> Result<(), SelftestError> {
        let Ended { words, clean, .. } = self.process.stop(STOP_WITHIN).await;
        if clean { Ok(()) } else { Err(SelftestError::Unclean { name: self.part.name, words }) }
    }
}

fn ended_early(name: &'static str, process: &Process, ended: &Ended) -> SelftestError {
    let last_words = process.last_log_lines().join("\n");
    SelftestError::Ended { name, ended: ended.words.clone(), last_words }
}

/// Where it listens, by its own word: no port is chosen for it, which somebody else might take first.
async fn address(process: &mut Process, name: &'static str) -> Result<String, SelftestError> {
    let deadline = Instant::now() + LISTENS_WITHIN;
    let mut beat = interval(Duration::from_millis(20));
    while Instant::now() < deadline {
        beat.tick().await;
        let lines = process.last_log_lines();
        if let Some(url) = lines.iter().find_map(|line| line.strip_prefix(LISTENING)) {
            return Ok(url.to_owned());
        }
        if let Some(ended) = process.ended() {
            return Err(ended_early(name, process, &ended));
        }
    }
    Err(SelftestError::Silent { name, seconds: LISTENS_WITHIN.as_secs() })
}
