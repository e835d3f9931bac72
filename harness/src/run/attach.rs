//! The targets of a run: each started with a sink, a folder and an address of its own, and stopped in
//! order.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::try_join_all;

use crate::audit::reconcile::Claims;
use crate::result::Stability;
use crate::sample::metrics;
use crate::sample::process::{self, Limits};
use crate::sample::sampler::{Others, Sampler, Subject, TasksGauge};
use crate::target::process::{Place, Process, ProcessError};
use crate::target::spec::{DeadLetters, Facts, Filled, MetricNames, Spec, TemplateError};
use crate::world::small_disk::{DiskError, SmallDisk};

/// Longer than the shipper's own deadline of 8 s.
const STOP_WITHIN: Duration = Duration::from_secs(12);

/// Why the targets could not be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// A template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Its state folder's file system.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// No free port for its admin page.
    #[error("no free port on loopback for the target's admin page: {0}")]
    Port(std::io::Error),
}

/// What all targets of a run share.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// Address of the Docker Engine.
    pub(super) docker_host: String,
    /// Where the engine keeps the containers' logs.
    pub(super) containers_root: String,
    /// `key=value` of the label that the run's containers carry.
    pub(super) run_label: String,
    /// The run's id.
    pub(super) run_id: String,
    /// What the sinks accept, with a unit.
    pub(super) window: String,
    /// For configs and states; removed at the end.
    pub(super) scratch: PathBuf,
    /// For their logs; kept.
    pub(super) logs: PathBuf,
    /// Whether each state folder is a file system of its own, which can be filled up.
    pub(super) small_disks: bool,
}

/// A target that runs, or is down for a planned while.
#[derive(Debug)]
pub(super) struct Attached {
    /// What it is.
    pub(super) spec: Spec,
    /// The kernel's limits on it.
    pub(super) limits: Limits,
    filled: Filled,
    place: Place,
    process: Option<Process>,
    disk: Option<SmallDisk>,
    /// What its earlier lives have counted.
    before: Said,
    /// What it had counted when the load began.
    early: Claims,
    /// How an earlier life of it ended, unasked.
    crashes: Vec<String>,
}

/// What a target says of its lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Its own counters; zero where it did not answer.
    pub(super) claims: Claims,
    /// The same when the load began.
    pub(super) early: Claims,
    /// How many dead letters it counts.
    pub(super) dead_letters: u64,
    /// Skipped lines by its own reasons.
    pub(super) skipped_by: BTreeMap<String, u64>,
    /// Dropped lines by its own reasons.
    pub(super) dropped_by: BTreeMap<String, u64>,
}

/// What a target said of itself, and how it ended.
#[derive(Clone, Debug)]
pub(super) struct Detached {
    /// What it was.
    pub(super) spec: Spec,
    /// The kernel's limits on it.
    pub(super) limits: Limits,
    /// What it counted, read last before the end.
    pub(super) said: Said,
    /// Where its dead letters lie.
    pub(super) dead_letters: Option<DeadLetters>,
    /// How it ended.
    pub(super) stability: Stability,
}

impl Setting {
    /// Starts every target with its sink (in the same order) and waits until all are ready. Those
    /// that were started are killed where one fails.
    ///
    /// # Errors
    /// [`AttachError`] of the first that failed.
    pub(super) async fn attach(
        &self,
        specs: &[Spec],
        sink_urls: &[String],
    ) -> Result<Vec<Attached>, AttachError> {
        let starts = specs.iter().zip(sink_urls).map(|(spec, sink_url)| self.start(spec, sink_url));
        try_join_all(starts).await
    }

    async fn start(&self, spec: &Spec, sink_url: &str) -> Result<Attached, AttachError> {
        let place = Place {
            config: self.logs.join(format!("{}.config", spec.name)),
            log: self.logs.join(format!("{}.log", spec.name)),
            state_dir: self.scratch.join("state").join(&spec.name),
            run_id: self.run_id.clone(),
        };
        let filled = spec.fill(&self.facts(&place, sink_url)?)?;
        let disk = self.small_disks.then(|| SmallDisk::mount(&place.state_dir, &self.run_id)).transpose()?;
        let mut process = Process::start(&spec.name, &filled, &place)?;
        process.wait_ready(&filled.ready_url).await?;
        Ok(Attached {
            spec: spec.clone(),
            limits: process::limits(process.pid()),
            filled,
            place,
            process: Some(process),
            disk,
            before: Said::default(),
            early: Claims::default(),
            crashes: Vec::new(),
        })
    }

    fn facts(&self, place: &Place, sink_url: &str) -> Result<Facts, AttachError> {
        let text = |path: &Path| path.display().to_string();
        Ok(Facts {
            config: text(&place.config),
            sink_url: sink_url.to_owned(),
            admin: free_address()?,
            state_dir: text(&place.state_dir),
            docker_host: self.docker_host.clone(),
            containers_root: self.containers_root.clone(),
            run_label: self.run_label.clone(),
            window: self.window.clone(),
        })
    }
}

/// The kernel hands out a port and does not hand it out again for a while.
fn free_address() -> Result<String, AttachError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(AttachError::Port)?;
    listener.local_addr().map(|address| address.to_string()).map_err(AttachError::Port)
}

impl Attached {
    /// How to look at it; `None` while it is down.
    #[must_use]
    pub(super) fn subject(&self) -> Option<Subject> {
        let MetricNames { tasks, tasks_by_kind: by_kind, queue, docker_requests, read, .. } =
            self.spec.kind.metrics.clone();
        let others = Others { queue, docker_requests, read };
        // Who counts tasks by kind alone has them all in their sum.
        let name = tasks.or_else(|| by_kind.clone());
        let tasks =
            name.map(|name| TasksGauge { url: self.filled.metrics_url.clone(), name, by_kind, others });
        Some(Subject { name: self.spec.name.clone(), pid: self.process.as_ref()?.pid(), tasks })
    }

    /// The file system of its state folder, where it has one of its own.
    pub(super) fn disk(&self) -> Option<&SmallDisk> {
        self.disk.as_ref()
    }

    /// Whether nothing is under way in it, by its own count; true where it has no such count.
    pub(super) async fn is_settled(&self, sampler: &Sampler) -> bool {
        let Some(name) = &self.spec.kind.metrics.in_flight else { return true };
        let page = sampler.page(&self.filled.metrics_url).await;
        page.is_none_or(|page| metrics::count(&page, name).unwrap_or(0) == 0)
    }

    /// The load begins: what it has counted so far concerns what was written before.
    pub(super) async fn note_early(&mut self, sampler: &Sampler) {
        self.early = self.said(sampler).await.claims;
    }

    /// Kills it, as planned; what it has counted so far is kept.
    pub(super) async fn kill(&mut self, sampler: &Sampler) {
        let said = self.said(sampler).await;
        self.before = Said { claims: Claims { in_flight: 0, ..said.claims }, ..said };
        if let Some(process) = self.process.take() {
            let ended = process.kill().await;
            self.crashes.extend(ended.map(|ended| unasked(&ended.words, None)));
        }
    }

    /// Starts it again on its state folder, where it is down, and waits until it is ready. One that does not come
    /// back has failed, as one that crashes.
    pub(super) async fn start_again(&mut self) {
        if self.process.is_some() {
            return;
        }
        match self.ready_again().await {
            Ok(process) => self.process = Some(process),
            Err(error) => self.crashes.push(format!("it did not come back: {error}")),
        }
    }

    async fn ready_again(&self) -> Result<Process, ProcessError> {
        let mut process = Process::start(&self.spec.name, &self.filled, &self.place)?;
        process.wait_ready(&self.filled.ready_url).await?;
        Ok(process)
    }

    /// What it says of all its lives.
    async fn said(&self, sampler: &Sampler) -> Said {
        let page = sampler.page(&self.filled.metrics_url).await.unwrap_or_default();
        let mut said = said(&page, &self.spec.kind.metrics);
        if self.spec.kind.dead_letters.is_some() {
            // They are read line by line.
            said.dead_letters = std::mem::take(&mut said.claims.dead_lettered);
        }
        let said = said.after(&self.before);
        Said { early: self.early, ..said }
    }

    /// Reads its counters a last time and stops it. Where it has ended unasked, that was seen at `gone_at_s`.
    pub(super) async fn detach(mut self, sampler: &Sampler, gone_at_s: Option<f64>) -> Detached {
        let said = self.said(sampler).await;
        let mut stability = match self.process.take() {
            Some(process) => end(process, gone_at_s).await,
            None => Stability { ended: "killed, as planned".to_owned(), ..Stability::default() },
        };
        stability.crashes += u32::try_from(self.crashes.len()).unwrap_or(u32::MAX);
        stability.ended = self.crashes.into_iter().chain([stability.ended]).collect::<Vec<_>>().join("; ");
        Detached {
            spec: self.spec,
            limits: self.limits,
            said,
            dead_letters: self.filled.dead_letters,
            stability,
        }
    }
}

async fn end(mut process: Process, gone_at_s: Option<f64>) -> Stability {
    if let Some(ended) = process.ended() {
        return Stability {
            crashes: 1,
            ended: unasked(&ended.words, gone_at_s),
            last_log_lines: process.last_log_lines(),
        };
    }
    let log = process.log().to_owned();
    let ended = process.stop(STOP_WITHIN).await;
    let last_log_lines = if ended.clean { Vec::new() } else { crate::target::process::last_lines(&log) };
    Stability { crashes: 0, ended: ended.words, last_log_lines }
}

fn unasked(words: &str, gone_at_s: Option<f64>) -> String {
    let at = gone_at_s.map_or_else(String::new, |seconds| format!(" at {seconds:.1} s"));
    format!("{words}{at}, unasked")
}

fn said(page: &str, names: &MetricNames) -> Said {
    let count = |name: &Option<String>| name.as_ref().and_then(|name| metrics::count(page, name));
    let by = |name: &Option<String>| {
        name.as_ref().map(|name| metrics::counts_by(page, name, "reason")).unwrap_or_default()
    };
    Said {
        claims: Claims {
            delivered: count(&names.delivered),
            skipped: count(&names.skipped).unwrap_or(0),
            dropped: count(&names.dropped).unwrap_or(0),
            dead_lettered: count(&names.dead_lettered).unwrap_or(0),
            in_flight: count(&names.in_flight).unwrap_or(0),
        },
        early: Claims::default(),
        dead_letters: 0,
        skipped_by: by(&names.skipped),
        dropped_by: by(&names.dropped),
    }
}

impl Said {
    /// Together with what was said in earlier lives. What was in flight then is read again.
    fn after(mut self, before: &Self) -> Self {
        let (own, other) = (&mut self.claims, &before.claims);
        own.delivered =
            own.delivered.or(other.delivered.map(|_| 0)).map(|own| own + other.delivered.unwrap_or(0));
        own.skipped += other.skipped;
        own.dropped += other.dropped;
        own.dead_lettered += other.dead_lettered;
        self.dead_letters += before.dead_letters;
        for (own, other) in
            [(&mut self.skipped_by, &before.skipped_by), (&mut self.dropped_by, &before.dropped_by)]
        {
            for (reason, count) in other {
                *own.entry(reason.clone()).or_default() += count;
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_nobody_asked_for_is_told_with_its_time() {
        assert_eq!(unasked("signal 9", Some(12.34)), "signal 9 at 12.3 s, unasked");
        assert_eq!(unasked("exit status 1", None), "exit status 1, unasked");
    }

    #[test]
    fn a_figure_that_the_target_lacks_is_zero() {
        let names = MetricNames { skipped: Some("skipped_total".into()), ..MetricNames::default() };
        let page = "skipped_total{reason=\"too_old\"} 5\ndropped_total 3\n";
        let said = said(page, &names);
        assert_eq!(said.claims, Claims { skipped: 5, ..Claims::default() });
        assert_eq!(said.skipped_by, BTreeMap::from([("too_old".to_owned(), 5)]));
        assert_eq!(said.clone().after(&said).claims.skipped, 10, "a second life counts from zero");
    }
}
