//! One look at every process of the run, all at the same moment.

use std::time::Duration;

use futures_util::future::join_all;

use crate::result::{FdKind, Sample};
use crate::sample::{metrics, process};

/// A scrape that takes longer is a sample without the target's own figures.
const SCRAPE_WITHIN: Duration = Duration::from_millis(900);

/// The harness's own name among the series.
pub const OWN_NAME: &str = "flatline";

/// A process to look at.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Name in the series.
    pub name: String,
    /// Process id.
    pub pid: u32,
    /// Its metrics page and the name of the tasks gauge on it.
    pub tasks: Option<TasksGauge>,
}

/// Where a process says how many tasks it has.
#[derive(Clone, Debug)]
pub struct TasksGauge {
    /// Address of the metrics.
    pub url: String,
    /// Name of the gauge.
    pub name: String,
}

/// Looks at processes.
#[derive(Clone, Debug, Default)]
pub struct Sampler {
    client: reqwest::Client,
}

impl Sampler {
    /// One row for each subject, in their order, sink figures left open. What can't be read is left out
    /// of the row, never guessed.
    pub async fn look(&self, elapsed_s: f64, subjects: &[Subject]) -> Vec<Sample> {
        let tasks = join_all(subjects.iter().map(|subject| self.tasks(subject))).await;
        subjects.iter().zip(tasks).map(|(subject, tasks)| sample(elapsed_s, subject, tasks)).collect()
    }

    async fn tasks(&self, subject: &Subject) -> Option<u64> {
        match &subject.tasks {
            Some(gauge) => metrics::count(&self.page(&gauge.url).await?, &gauge.name),
            None => own_tasks(subject),
        }
    }

    /// The text of a metrics page; `None` where it does not answer in time.
    pub async fn page(&self, url: &str) -> Option<String> {
        let answer = self.client.get(url).timeout(SCRAPE_WITHIN).send().await.ok()?;
        answer.text().await.ok()
    }
}

fn own_tasks(subject: &Subject) -> Option<u64> {
    let own = subject.pid == std::process::id();
    own.then(|| tokio::runtime::Handle::current().metrics().num_alive_tasks() as u64)
}

fn sample(elapsed_s: f64, subject: &Subject, tasks: Option<u64>) -> Sample {
    let reading = process::read(subject.pid).ok();
    Sample {
        elapsed_s,
        target: subject.name.clone(),
        threads: reading.map(|reading| reading.threads),
        tasks,
        fds: reading.map(|reading| reading.fds),
        rss_bytes: reading.map(|reading| reading.rss_bytes),
        cpu_seconds: reading.map(|reading| reading.cpu_seconds),
        pushes: None,
        accepted: None,
        rejected: None,
    }
}

/// The descriptors of every subject by kind: rows of `fds.csv`.
#[must_use]
pub fn fd_kinds(elapsed_s: f64, subjects: &[Subject]) -> Vec<FdKind> {
    let rows = subjects.iter().flat_map(|subject| {
        let kinds = process::fd_kinds(subject.pid).unwrap_or_default();
        kinds.into_iter().map(move |(kind, count)| FdKind {
            elapsed_s,
            target: subject.name.clone(),
            kind,
            count,
        })
    });
    rows.collect()
}
