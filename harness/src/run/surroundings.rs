//! Who is looked at beside the targets: their sinks, the containers, the engine's processes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::loki::server::Sink;
use crate::result::Sample;
use crate::sample::daemons::Daemons;
use crate::sample::sampler::OWN_NAME;
use crate::world::happened::Happened;

/// All of them.
pub(super) struct World {
    /// By target.
    pub(super) sinks: BTreeMap<String, Arc<Sink>>,
    /// What has happened to the containers.
    pub(super) happened: Arc<Happened>,
    /// The engine's processes.
    pub(super) daemons: Daemons,
}

impl World {
    /// What the sinks and the containers add to what the processes show.
    pub(super) fn add(&self, samples: &mut [Sample]) {
        let happened = self.happened.counts();
        let mut open = 0;
        for sample in samples.iter_mut() {
            let Some(sink) = self.sinks.get(&sample.target) else { continue };
            let counters = sink.counters();
            open += counters.connections_open;
            sample.pushes = Some(counters.pushes);
            sample.accepted = Some(counters.entries_accepted);
            sample.rejected = Some(counters.entries_refused);
            sample.rejected_pushes = Some(counters.pushes_refused);
            sample.repeated_pushes = Some(counters.pushes_repeated);
            sample.connections = Some(counters.connections);
            sample.open_connections = Some(counters.connections_open);
            sample.starts = Some(happened.starts);
            sample.restarts = Some(happened.restarts);
            sample.rotations = happened.rotations;
        }
        if let Some(own) = samples.iter_mut().find(|sample| sample.target == OWN_NAME) {
            own.open_connections = Some(open);
        }
    }
}
