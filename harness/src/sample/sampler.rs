//! One look at every process of the run, all at the same moment.

use std::time::Duration;

use futures_util::future::join_all;
use rustix::time::{ClockId, clock_gettime};

use crate::result::{KindCount, Kinds, MappedBytes, Sample};
use crate::sample::kinds::{self, Counts};
use crate::sample::process::{self, Reading};
use crate::sample::{memory, metrics};
use crate::world::memory_group::MemoryGroup;

/// A scrape that takes longer is a sample without the target's own figures.
const SCRAPE_WITHIN: Duration = Duration::from_millis(900);

/// No page of metrics is as long; whoever sends without an end is read no further.
const PAGE_BYTES_MAX: usize = 16 << 20;

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
    /// What counts its memory, where that has a limit.
    pub memory: Option<MemoryGroup>,
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
    /// Names of what else is read there.
    pub others: Others,
}

/// Names of metrics that stand on the same page.
#[derive(Clone, Debug, Default)]
pub struct Others {
    /// Items in the retry queue.
    pub queue: Option<String>,
    /// Requests to the engine.
    pub docker_requests: Option<String>,
    /// Lines read.
    pub read: Option<String>,
}

/// What a process says of itself.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    tasks: Option<u64>,
    queue: Option<u64>,
    docker_requests: Option<u64>,
    read: Option<u64>,
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
        let said = join_all(subjects.iter().map(|subject| self.said(subject))).await;
        let rows = subjects.iter().zip(said);
        let row = |(subject, said): (&Subject, _)| {
            sample(elapsed_s, subject, process::read(subject.pid).ok(), said)
        };
        rows.map(row).collect()
    }

    /// The row of a subject of which the rest is known by now.
    pub async fn row(&self, elapsed_s: f64, subject: &Subject, reading: Option<Reading>) -> Sample {
        sample(elapsed_s, subject, reading, self.said(subject).await)
    }

    async fn said(&self, subject: &Subject) -> Said {
        let Some(TasksGauge { url, name, others, .. }) = &subject.tasks else {
            return Said { tasks: own_tasks(subject), ..Said::default() };
        };
        let Some(page) = self.page(url).await else { return Said::default() };
        let count = |name: &Option<String>| metrics::count(&page, name.as_ref()?);
        Said {
            tasks: metrics::count(&page, name),
            queue: count(&others.queue),
            docker_requests: count(&others.docker_requests),
            read: count(&others.read),
        }
    }

    /// Everything that the subjects hold, by kind; and how many of them could not be listed.
    pub async fn kinds(&self, elapsed_s: f64, subjects: &[Subject]) -> (Kinds, u64) {
        let tasks = join_all(subjects.iter().map(|subject| self.task_kinds(subject))).await;
        let mut all = Listed::default();
        for (subject, tasks) in subjects.iter().zip(tasks) {
            let listed = self::kinds(elapsed_s, &subject.name, &[subject.pid], false);
            let listed = listed.with(elapsed_s, &subject.name, tasks);
            all.missed += listed.missed;
            all.kinds.append(listed.kinds);
        }
        (all.kinds, all.missed)
    }

    /// Everything that processes hold together, in the name of a subject, by kind. How much memory is resident is told
    /// where `resident` asks for it.
    pub async fn kinds_of(
        &self,
        (elapsed_s, subject): (f64, &Subject),
        pids: &[u32],
        resident: bool,
    ) -> Listed {
        let tasks = self.task_kinds(subject).await;
        self::kinds(elapsed_s, &subject.name, pids, resident).with(elapsed_s, &subject.name, tasks)
    }

    async fn task_kinds(&self, subject: &Subject) -> Counts {
        let Some(TasksGauge { url, name, by_kind: Some(by_kind), .. }) = &subject.tasks else {
            return Counts::new();
        };
        self.page(url).await.map(|page| kinds::tasks(&page, name, by_kind)).unwrap_or_default()
    }

    /// The text of a metrics page; `None` where it does not answer in time, or with more than a page.
    pub async fn page(&self, url: &str) -> Option<String> {
        let mut answer = self.client.get(url).timeout(SCRAPE_WITHIN).send().await.ok()?;
        let mut page = Vec::new();
        while let Some(part) = answer.chunk().await.ok()? {
            page.extend_from_slice(&part);
            if page.len() > PAGE_BYTES_MAX {
                return None;
            }
        }
        Some(String::from_utf8_lossy(&page).into_owned())
    }
}

/// What was listed.
#[derive(Debug, Default)]
pub struct Listed {
    /// By kind.
    pub kinds: Kinds,
    /// How many processes could not be listed.
    pub missed: u64,
    /// The processor time that it took.
    pub cost: Duration,
}

impl Listed {
    fn with(mut self, elapsed_s: f64, name: &str, tasks: Counts) -> Self {
        self.kinds.tasks.extend(rows(elapsed_s, name, tasks));
        self
    }
}

fn kinds(elapsed_s: f64, name: &str, pids: &[u32], resident: bool) -> Listed {
    let began = cpu_time();
    let (fds, (threads, unnamed)) = (kinds::fds(pids), kinds::threads(pids));
    let mut kinds = Kinds::default();
    if !fds.kinds.is_empty() {
        kinds.watches.extend(rows(elapsed_s, name, Counts::from([("inotify".to_owned(), fds.watches)])));
    }
    kinds.fds.extend(rows(elapsed_s, name, fds.kinds));
    kinds.threads.extend(rows(elapsed_s, name, threads));
    let memory = memory::mapped(pids, resident);
    kinds.memory.extend(memory.bytes.into_iter().map(|(kind, bytes)| MappedBytes {
        elapsed_s,
        target: name.to_owned(),
        resident_bytes: memory.resident_bytes.get(&kind).copied(),
        kind,
        bytes,
    }));
    Listed { kinds, missed: fds.missed.max(unnamed), cost: cpu_time().saturating_sub(began) }
}

/// What this thread has used so far; how long others kept it waiting is no part of it.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
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

fn sample(elapsed_s: f64, subject: &Subject, reading: Option<Reading>, said: Said) -> Sample {
    Sample {
        threads: reading.map(|reading| reading.threads),
        tasks: said.tasks,
        queue: said.queue,
        docker_requests: said.docker_requests,
        lines_read: said.read,
        fds: reading.and_then(|reading| reading.fds),
        rss_bytes: reading.map(|reading| reading.rss_bytes),
        cpu_seconds: reading.map(|reading| reading.cpu_seconds),
        anon_bytes: subject.memory.as_ref().and_then(MemoryGroup::anon_bytes),
        ..Sample::unread(elapsed_s, &subject.name)
    }
}
