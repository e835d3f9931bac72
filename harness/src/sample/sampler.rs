//! One look at every process of the run, all at the same moment.

use std::time::Duration;

use futures_util::future::join_all;

use crate::result::{KindCount, Kinds, Sample};
use crate::sample::kinds::{self, Counts};
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
    /// Name of the metric whose labels say which kinds of tasks there are.
    pub by_kind: Option<String>,
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

    /// Everything that the subjects hold, by kind; and how many of them could not be listed.
    pub async fn kinds(&self, elapsed_s: f64, subjects: &[Subject]) -> (Kinds, u64) {
        let tasks = join_all(subjects.iter().map(|subject| self.task_kinds(subject))).await;
        let mut all = Kinds::default();
        let mut missed = 0;
        for (subject, tasks) in subjects.iter().zip(tasks) {
            let rows = |counts: Counts| rows(elapsed_s, &subject.name, counts);
            let (fds, threads) = (kinds::fds(subject.pid), kinds::threads(subject.pid));
            missed += u64::from(fds.is_err() || threads.is_err());
            let fds = fds.unwrap_or_default();
            if !fds.kinds.is_empty() {
                all.watches.extend(rows(Counts::from([("inotify".to_owned(), fds.watches)])));
            }
            all.fds.extend(rows(fds.kinds));
            all.threads.extend(rows(threads.unwrap_or_default()));
            all.tasks.extend(rows(tasks));
        }
        (all, missed)
    }

    async fn task_kinds(&self, subject: &Subject) -> Counts {
        let Some(TasksGauge { url, name, by_kind: Some(by_kind) }) = &subject.tasks else {
            return Counts::new();
        };
        self.page(url).await.map(|page| kinds::tasks(&page, name, by_kind)).unwrap_or_default()
    }

    /// The text of a metrics page; `None` where it does not answer in time.
    pub async fn page(&self, url: &str) -> Option<String> {
        let answer = self.client.get(url).timeout(SCRAPE_WITHIN).send().await.ok()?;
        answer.text().await.ok()
    }
}

fn rows(elapsed_s: f64, target: &str, counts: Counts) -> impl Iterator<Item = KindCount> {
    counts.into_iter().map(move |(kind, count)| KindCount {
        elapsed_s,
        target: target.to_owned(),
        kind,
        count,
    })
}

fn own_tasks(subject: &Subject) -> Option<u64> {
    let own = subject.pid == std::process::id();
    own.then(|| tokio::runtime::Handle::current().metrics().num_alive_tasks() as u64)
}

fn sample(elapsed_s: f64, subject: &Subject, tasks: Option<u64>) -> Sample {
    let reading = process::read(subject.pid).ok();
    Sample {
        threads: reading.map(|reading| reading.threads),
        tasks,
        fds: reading.and_then(|reading| reading.fds),
        rss_bytes: reading.map(|reading| reading.rss_bytes),
        cpu_seconds: reading.map(|reading| reading.cpu_seconds),
        ..Sample::unread(elapsed_s, &subject.name)
    }
}
