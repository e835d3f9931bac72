//! The targets of a run: each started with a sink, a folder and an address of its own, and stopped in
//! order.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use futures_util::future::try_join_all;
use tokio::sync::mpsc;

use crate::audit::reconcile::Claims;
use crate::clock::Stopwatch;
use crate::result::{RunIn, Stability};
use crate::run::containers::{Containers, ContainersError, Files, Surroundings};
use crate::run::journal::Note;
use crate::run::keeper::{Keeper, Recipe};
use crate::sample::metrics;
use crate::sample::process::{self, Limits};
use crate::sample::sampler::{Sampler, Subject};
use crate::target::confine::{ConfineError, Confinement};
use crate::target::container::Means;
use crate::target::process::{Place, ProcessError};
use crate::target::spec::{DeadLetters, Facts, MetricNames, Spec, TemplateError};
use crate::world::engine::Engine;
use crate::world::memory_group::{GroupError, MemoryGroup};
use crate::world::small_disk::{DiskError, SmallDisk};

/// Why the targets could not be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// A template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A limit that can't be kept here.
    #[error("the limits of the target {target}: {why}")]
    Confine {
        /// Whose.
        target: String,
        /// Which, and why not.
        why: ConfineError,
    },
    /// Its container.
    #[error(transparent)]
    Containers(#[from] ContainersError),
    /// What holds it to its memory.
    #[error(transparent)]
    Group(#[from] GroupError),
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
    /// What holds those targets to their memory whose memory is limited.
    pub(super) groups: BTreeMap<String, MemoryGroup>,
    /// What it takes to run those targets that run in containers.
    pub(super) means: BTreeMap<String, Means>,
    /// The run's clock.
    pub(super) stopwatch: Stopwatch,
}

/// A target that runs, or is down for a while.
#[derive(Debug)]
pub(super) struct Attached {
    /// The kernel's limits on it.
    limits: Limits,
    keeper: Keeper,
    disk: Option<SmallDisk>,
    /// What its earlier lives have counted.
    before: Said,
    /// What it had counted when the load began.
    early: Claims,
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

/// What holds those to their memory that run as processes and whose memory is limited, by their names. Made before anything runs, and their other
/// limits are looked at as well, so that a machine where one can't be kept is told at once.
///
/// # Errors
/// [`AttachError::Confine`] or [`AttachError::Group`].
pub(super) fn memory_groups(
    run_id: &str,
    targets: &[Spec],
) -> Result<BTreeMap<String, MemoryGroup>, AttachError> {
    for Spec { name, kind, .. } in targets {
        let checked = Confinement::new(&kind.resources, None).check(kind.run_in);
        checked.map_err(|why| AttachError::Confine { target: name.clone(), why })?;
    }
    let processes = targets.iter().filter(|spec| spec.kind.run_in == RunIn::Process);
    let limited = processes.filter_map(|spec| Some((&spec.name, spec.kind.resources.memory?)));
    let make = |(name, memory): (&String, ByteSize)| {
        Ok((name.clone(), MemoryGroup::make(run_id, name, memory.as_u64())?))
    };
    limited.map(make).collect()
}

impl Setting {
    /// Makes ready what those targets need that run in containers, before anything runs.
    ///
    /// # Errors
    /// [`AttachError`] of the first that can't be had.
    pub(super) async fn make_containers(
        &mut self,
        engine: &Engine,
        surroundings: Surroundings,
        targets: impl Iterator<Item = (&Spec, String)>,
    ) -> Result<(), AttachError> {
        let mut containers = Containers::new(engine, surroundings);
        for (spec, sink_url) in targets {
            let files = self.files(spec, &sink_url)?;
            let means = containers.means(spec, &files).await?;
            self.means.extend(means.map(|means| (spec.name.clone(), means)));
        }
        Ok(())
    }

    /// The image of each target that runs in containers: its id.
    pub(super) fn images(&self) -> BTreeMap<String, String> {
        self.means.iter().map(|(name, means)| (name.clone(), means.image.id.clone())).collect()
    }

    fn files(&self, spec: &Spec, sink_url: &str) -> Result<Files, AttachError> {
        let place = Place {
            config: self.logs.join(format!("{}.{}", spec.name, spec.kind.config_ending)),
            log: self.logs.join(format!("{}.log", spec.name)),
            state_dir: self.scratch.join("state").join(&spec.name),
            run_id: self.run_id.clone(),
        };
        let filled = spec.fill(&self.facts(&place, sink_url)?)?;
        Ok((place, filled))
    }

    /// Starts every target with its sink (in the same order) and waits until all are ready. Those
    /// that were started are killed where one fails. From then on each is looked after: the notes tell of it.
    ///
    /// # Errors
    /// [`AttachError`] of the first that failed.
    pub(super) async fn attach(
        &self,
        specs: &[Spec],
        sink_urls: &[String],
        notes: &mpsc::Sender<Note>,
    ) -> Result<Vec<Attached>, AttachError> {
        let starts = specs.iter().zip(sink_urls).map(|(spec, sink_url)| self.start(spec, sink_url, notes));
        try_join_all(starts).await
    }

    async fn start(
        &self,
        spec: &Spec,
        sink_url: &str,
        notes: &mpsc::Sender<Note>,
    ) -> Result<Attached, AttachError> {
        let (place, filled) = self.files(spec, sink_url)?;
        let disk = self.small_disks.then(|| SmallDisk::mount(&place.state_dir, &self.run_id)).transpose()?;
        let group = self.groups.get(&spec.name).cloned();
        let means = self.means.get(&spec.name).cloned();
        let recipe = Recipe { spec: spec.clone(), filled, place, group, means, stopwatch: self.stopwatch };
        let process = recipe.start_ready().await?;
        Ok(Attached {
            limits: process::limits(process.pid()),
            keeper: Keeper::begin(recipe, process, notes.downgrade()),
            disk,
            before: Said::default(),
            early: Claims::default(),
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
pub(super) fn free_address() -> Result<String, AttachError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(AttachError::Port)?;
    listener.local_addr().map(|address| address.to_string()).map_err(AttachError::Port)
}

impl Attached {
    /// How to look at it; `None` while it is down.
    #[must_use]
    pub(super) fn subject(&self) -> Option<Subject> {
        self.keeper.subject()
    }

    /// The file system of its state folder, where it has one of its own.
    pub(super) fn disk(&self) -> Option<&SmallDisk> {
        self.disk.as_ref()
    }

    /// Whether nothing is under way in it, by its own count; true where it has no such count.
    pub(super) async fn is_settled(&self, sampler: &Sampler) -> bool {
        let Some(name) = &self.recipe().spec.kind.metrics.in_flight else { return true };
        let Some(url) = &self.recipe().filled.metrics_url else { return true };
        let page = sampler.page(url).await;
        page.is_none_or(|page| metrics::count(&page, name).unwrap_or(0) == 0)
    }

    /// The load begins: what it has counted so far concerns what was written before.
    pub(super) async fn note_early(&mut self, sampler: &Sampler) {
        self.early = self.said(sampler).await.claims;
    }

    /// Kills it, as planned; what it has counted so far is kept.
    ///
    /// # Errors
    /// [`AttachError::Process`]: its container may still run.
    pub(super) async fn kill(&mut self, sampler: &Sampler) -> Result<(), AttachError> {
        let said = self.said(sampler).await;
        self.before = Said { claims: Claims { in_flight: 0, ..said.claims }, ..said };
        Ok(self.keeper.kill().await?)
    }

    /// Starts it again where it is down, and waits until it is ready.
    pub(super) async fn start_again(&self) {
        self.keeper.start_again().await;
    }

    /// What it says of all its lives.
    async fn said(&self, sampler: &Sampler) -> Said {
        let page = match &self.recipe().filled.metrics_url {
            Some(url) => sampler.page(url).await.unwrap_or_default(),
            None => String::new(),
        };
        let mut said = said(&page, &self.recipe().spec.kind.metrics);
        if self.recipe().spec.kind.dead_letters.is_some() {
            // They are read line by line.
            said.dead_letters = std::mem::take(&mut said.claims.dead_lettered);
        }
        let said = said.after(&self.before);
        Said { early: self.early, ..said }
    }

    /// Reads its counters a last time and stops it.
    pub(super) async fn detach(self, sampler: &Sampler) -> Detached {
        let said = self.said(sampler).await;
        let (spec, dead_letters) = (self.recipe().spec.clone(), self.recipe().filled.dead_letters.clone());
        Detached { spec, limits: self.limits, said, dead_letters, stability: self.keeper.end().await }
    }

    fn recipe(&self) -> &Recipe {
        self.keeper.recipe()
    }
}

pub(super) fn said(page: &str, names: &MetricNames) -> Said {
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
    fn a_figure_that_the_target_lacks_is_zero() {
        let names = MetricNames { skipped: Some("skipped_total".into()), ..MetricNames::default() };
        let page = "skipped_total{reason=\"too_old\"} 5\ndropped_total 3\n";
        let said = said(page, &names);
        assert_eq!(said.claims, Claims { skipped: 5, ..Claims::default() });
        assert_eq!(said.skipped_by, BTreeMap::from([("too_old".to_owned(), 5)]));
        assert_eq!(said.clone().after(&said).claims.skipped, 10, "a second life counts from zero");
    }
}
