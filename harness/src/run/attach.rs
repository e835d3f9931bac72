//! The targets of a run: each started with a sink, a folder and an address of its own, and stopped in
//! order.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::try_join_all;

use crate::audit::reconcile::Claims;
use crate::result::Stability;
use crate::sample::metrics;
use crate::sample::process::{self, Limits};
use crate::sample::sampler::{Sampler, Subject, TasksGauge};
use crate::target::process::{Place, Process, ProcessError};
use crate::target::spec::{Facts, Filled, MetricNames, Spec, TemplateError};

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
}

/// A target that runs.
#[derive(Debug)]
pub(super) struct Attached {
    /// What it is.
    pub(super) spec: Spec,
    /// The kernel's limits on it.
    pub(super) limits: Limits,
    filled: Filled,
    process: Process,
}

/// What a target said of itself, and how it ended.
#[derive(Clone, Debug)]
pub(super) struct Detached {
    /// What it was.
    pub(super) spec: Spec,
    /// The kernel's limits on it.
    pub(super) limits: Limits,
    /// Its own counters, read last before the end; zero where it did not answer.
    pub(super) claims: Claims,
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
        let mut process = Process::start(&spec.name, &filled, &place)?;
        process.wait_ready(&filled.ready_url).await?;
        let limits = process::limits(process.pid());
        Ok(Attached { spec: spec.clone(), limits, filled, process })
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
    /// How to look at it.
    #[must_use]
    pub(super) fn subject(&self) -> Subject {
        let tasks = self.spec.kind.metrics.tasks.clone();
        let tasks = tasks.map(|name| TasksGauge { url: self.filled.metrics_url.clone(), name });
        Subject { name: self.spec.name.clone(), pid: self.process.pid(), tasks }
    }

    /// Whether nothing is under way in it, by its own count; true where it has no such count.
    pub(super) async fn is_settled(&self, sampler: &Sampler) -> bool {
        let Some(name) = &self.spec.kind.metrics.in_flight else { return true };
        let page = sampler.page(&self.filled.metrics_url).await;
        page.is_none_or(|page| metrics::count(&page, name).unwrap_or(0) == 0)
    }

    /// Reads its counters a last time and stops it. Where it has ended unasked, that was seen at `gone_at_s`.
    pub(super) async fn detach(mut self, sampler: &Sampler, gone_at_s: Option<f64>) -> Detached {
        let page = sampler.page(&self.filled.metrics_url).await.unwrap_or_default();
        let claims = claims(&page, &self.spec.kind.metrics);
        let crashed = self.process.ended();
        let stability = match crashed {
            Some(ended) => Stability {
                crashes: 1,
                ended: unasked(&ended.words, gone_at_s),
                last_log_lines: self.process.last_log_lines(),
            },
            None => {
                let log = self.process.log().to_owned();
                let ended = self.process.stop(STOP_WITHIN).await;
                let last_log_lines =
                    if ended.clean { Vec::new() } else { crate::target::process::last_lines(&log) };
                Stability { crashes: 0, ended: ended.words, last_log_lines }
            }
        };
        Detached { spec: self.spec, limits: self.limits, claims, stability }
    }
}

fn unasked(words: &str, gone_at_s: Option<f64>) -> String {
    let at = gone_at_s.map_or_else(String::new, |seconds| format!(" at {seconds:.1} s"));
    format!("{words}{at}, unasked")
}

fn claims(page: &str, names: &MetricNames) -> Claims {
    let count =
        |name: &Option<String>| name.as_ref().and_then(|name| metrics::count(page, name)).unwrap_or(0);
    Claims {
        skipped: count(&names.skipped),
        dropped: count(&names.dropped),
        dead_lettered: count(&names.dead_lettered),
        in_flight: count(&names.in_flight),
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
        let said = claims("skipped_total{reason=\"too_old\"} 5\ndropped_total 3\n", &names);
        assert_eq!(said, Claims { skipped: 5, ..Claims::default() });
    }
}
