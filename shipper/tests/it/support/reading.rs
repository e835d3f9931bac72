//! The hybrid source on the tests' folders, for several containers and whoever takes its items.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shipper::clock::Clock;
use shipper::docker::known::{Born, Change};
use shipper::metrics::Metrics;
use shipper::record::Container;
use shipper::source::allowance::Allowance;
use shipper::source::inlet::Inlet;
use shipper::source::position::{Resume, Start};
use shipper::source::{Inputs, hybrid};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::rig::NOW;

pub struct Reading {
    changes: mpsc::Sender<Change>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Reading {
    pub fn start(root: &Path, out: Inlet, allowance: Allowance, metrics: Arc<Metrics>) -> Self {
        let (changes, received) = mpsc::channel(64);
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let inputs = Inputs {
            changes: received,
            resume: Resume::new(),
            start: Start::Beginning,
            started_ns: NOW,
            clock: Clock::system(),
            out,
            allowance,
            metrics,
            stop: stop.clone(),
        };
        let reconcile = Duration::from_millis(500);
        let limits = hybrid::Limits::default();
        let config = hybrid::Config { containers_root: root.to_owned(), reconcile, limits };
        tasks.spawn(async move { hybrid::run(config, inputs).await.unwrap() });
        Self { changes, stop, tasks }
    }

    pub async fn follow(&self, container: &Arc<Container>) {
        let started = Change::Started { container: container.clone(), born: Born::BeforeUs };
        self.changes.send(started).await.unwrap();
    }

    pub async fn end(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.transpose().unwrap().is_some() {}
    }
}
