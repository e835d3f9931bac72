//! A target in one trial: started on an empty state with a sink of its own, looked at, ended, its lines accounted for.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::audit::ledger::{Key, Ledger};
use crate::audit::reconcile::{Claims, Truth, reconcile};
use crate::faults::Plan;
use crate::loki::config::Said;
use crate::loki::server::{Sink, SinkConfig};
use crate::record::files::RecordError;
use crate::result::Audit;
use crate::result::bench::Measure;
use crate::run::attach::{AttachError, free_address, said};
use crate::run::bench::BenchError;
use crate::run::bench::bed::{Bed, PATIENCE};
use crate::run::letters;
use crate::sample::metrics;
use crate::sample::usage::{self, Usage};
use crate::target::confine::Confinement;
use crate::target::process::{Place, Process};
use crate::target::spec::{Facts, Filled, Spec};

/// Longer than any shipper's own deadline that we know of.
const STOP_WITHIN: Duration = Duration::from_secs(12);
/// How exactly the end of a backlog is seen by who reads the clock of the processor.
const BEAT: Duration = Duration::from_millis(2);
/// To count line by line costs more than to look at a counter.
const COUNT_EVERY: Duration = Duration::from_millis(200);

/// A target that runs.
pub(super) struct Contender<'a> {
    bed: &'a Bed<'a>,
    spec: &'a Spec,
    filled: Filled,
    process: Process,
    /// Where it delivers to.
    pub(super) sink: Sink,
    /// The sink's age when the process was started.
    started: Duration,
    /// From then until it was ready.
    pub(super) ready: Duration,
}

/// Whether all that was waited for came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// All of it.
    Whole,
    /// Nothing more comes; in words.
    Stuck(String),
}

impl<'a> Contender<'a> {
    /// Starts it and waits until it is ready. Answers with words where it would not.
    pub(super) async fn start(
        bed: &'a Bed<'a>,
        spec: &'a Spec,
        (trial, plan): (&str, Plan),
    ) -> Result<Result<Self, String>, BenchError> {
        let state_dir = bed.scratch.join("state");
        match fs::remove_dir_all(&state_dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(RecordError::io("remove", &state_dir)(error).into());
            }
            _ => {}
        }
        let place = Place {
            config: bed.logs.join(format!("{trial}.{}", spec.kind.config_ending)),
            log: bed.logs.join(format!("{trial}.log")),
            state_dir,
            run_id: bed.run_id.to_owned(),
        };
        let sink = Sink::start(None, SinkConfig::for_run(bed.window().0, plan, &Said::default()))?;
        let filled = spec.fill(&facts(bed, &place, &sink)?).map_err(AttachError::from)?;
        let confinement = Confinement::new(&spec.kind.resources, None);
        let started = sink.age();
        let mut process = match Process::start(&spec.name, &filled, &place, &confinement) {
            Ok(process) => process,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if let Err(error) = process.wait_ready(&filled.ready).await {
            return Ok(Err(error.to_string()));
        }
        let ready = sink.age().saturating_sub(started);
        Ok(Ok(Self { bed, spec, filled, process, sink, started, ready }))
    }

    /// What it has used so far; `None` where it has ended.
    pub(super) fn usage(&self) -> Option<Usage> {
        usage::of(self.process.pid()).ok()
    }

    /// How it ended, where it has.
    pub(super) fn ended(&mut self) -> Option<String> {
        self.process.ended().map(|ended| ended.words)
    }

    /// From its start until the first line was accepted, and until the last one so far.
    pub(super) fn first_and_last(&self) -> Option<(Duration, Duration)> {
        let (first, last) = self.sink.stored()?;
        Some((first.saturating_sub(self.started), last.saturating_sub(self.started)))
    }

    /// How many tasks it has by its own count.
    pub(super) async fn tasks(&self) -> Option<f64> {
        let names = &self.spec.kind.metrics;
        let name = names.tasks.as_ref().or(names.tasks_by_kind.as_ref())?;
        let page = self.bed.sampler.page(self.filled.metrics_url.as_ref()?).await?;
        metrics::count(&page, name).map(|count| count as f64)
    }

    /// Waits until every line of these has arrived, or nothing more comes.
    pub(super) async fn arrival(&mut self, truth: &BTreeMap<Key, Truth>) -> Arrival {
        let wanted: u64 = truth.values().map(|truth| truth.written).sum();
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut seen, mut since, mut counted) = (0, Instant::now(), None::<Instant>);
        loop {
            beat.tick().await;
            let accepted = self.sink.accepted();
            if accepted > seen {
                (seen, since) = (accepted, Instant::now());
            }
            // Of those that came twice one is missing.
            if accepted >= wanted && counted.is_none_or(|at| at.elapsed() >= COUNT_EVERY) {
                if delivered(&self.sink.ledger(), truth) >= wanted {
                    return Arrival::Whole;
                }
                counted = Some(Instant::now());
            }
            if let Some(ended) = self.ended() {
                return Arrival::Stuck(format!("it ended unasked ({ended})"));
            }
            if since.elapsed() >= PATIENCE {
                let seconds = PATIENCE.as_secs();
                return Arrival::Stuck(format!("nothing more came for {seconds} s, after {accepted} lines"));
            }
        }
    }

    /// The share of the time that the sink's thread was at work since it was started.
    pub(super) fn sink_seconds(&self) -> Option<f64> {
        usage::ran_ns(std::process::id(), self.sink.thread_id()).map(|ns| ns as f64 / 1e9)
    }

    /// Ends it and accounts for these lines.
    pub(super) async fn end(self, truth: &BTreeMap<Key, Truth>) -> Audit {
        let names = &self.spec.kind.metrics;
        let page = match &self.filled.metrics_url {
            Some(url) => self.bed.sampler.page(url).await.unwrap_or_default(),
            None => String::new(),
        };
        let mut claims = said(&page, names).claims;
        drop(self.process.stop(STOP_WITHIN).await);
        let mut ledger = self.sink.ledger();
        if let Some(folder) = &self.filled.dead_letters {
            // They are read line by line; one that can't be read explains nothing.
            claims.dead_lettered = 0;
            drop(letters::enter(&mut ledger, folder));
        }
        // Every line is owed from the start: nothing was dropped before.
        reconcile(truth, &ledger, &claims, &Claims::default()).audit
    }
}

fn delivered(ledger: &Ledger, truth: &BTreeMap<Key, Truth>) -> u64 {
    let of = |(key, truth): (&Key, &Truth)| {
        ledger.sequence(key).map_or(0, |sequence| sequence.accepted.count_within(1, truth.written))
    };
    truth.iter().map(of).sum()
}

fn facts(bed: &Bed<'_>, place: &Place, sink: &Sink) -> Result<Facts, BenchError> {
    Ok(Facts {
        config: place.config.display().to_string(),
        sink_url: sink.url(),
        admin: free_address()?,
        state_dir: place.state_dir.display().to_string(),
        docker_host: bed.engine.host().to_owned(),
        containers_root: bed.containers_root.clone(),
        run_label: bed.engine.label(),
        window: bed.window().to_string(),
    })
}

/// What of a usage holds at any moment.
pub(super) fn held(usage: &Usage) -> [(Measure, Option<f64>); 4] {
    [
        (Measure::RssPeakBytes, Some(usage.rss_peak_bytes as f64)),
        (Measure::RssBytes, Some(usage.rss_bytes as f64)),
        (Measure::Threads, Some(usage.threads as f64)),
        (Measure::Fds, usage.fds.map(|fds| fds as f64)),
    ]
}
