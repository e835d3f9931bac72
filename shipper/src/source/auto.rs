//! Both designs at once, and for each container the one that fits its logging driver: `hybrid` for the files of
//! json-file, as far as we may read them, and `pool` for all other logs that Docker can read.
//!
//! A container keeps its logging driver for life, and so its design. A position that the other design has left
//! is taken over as far as that can be (see `position`).

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::complaint::Complaint;
use crate::docker::api::Api;
use crate::docker::known::Change;
use crate::record::{Container, ContainerId};
use crate::source::hybrid::files::Folder;
use crate::source::{Closed, Inputs, hybrid, pool};

/// Changes on their way to either design.
const CHANGES_QUEUED: usize = 16;

/// What both need to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// For logs that only Docker can read.
    pub pool: pool::Config,
    /// For logs in files.
    pub hybrid: hybrid::Config,
}

/// Why it can't go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A part of it.
    #[error(transparent)]
    Pool(#[from] pool::Error),
    /// A part of it.
    #[error(transparent)]
    Hybrid(#[from] hybrid::Error),
    /// Nobody takes the lines.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Reads all containers' logs until `inputs.stop`, or until discovery ends.
///
/// # Errors
/// [`Error`]
pub async fn run(config: Config, api: Api, inputs: Inputs) -> Result<(), Error> {
    let Config { pool: pool_config, hybrid: hybrid_config } = config;
    let folder = match hybrid::open(&hybrid_config) {
        Ok(folder) => folder,
        Err(error) => {
            tracing::warn!(%error, "all logs are read through Docker's log API");
            return Ok(pool::run(pool_config, api, inputs).await?);
        }
    };
    let (to_pool, pool_changes) = mpsc::channel(CHANGES_QUEUED);
    let (to_hybrid, hybrid_changes) = mpsc::channel(CHANGES_QUEUED);
    let (ours, of_hybrid) = inputs.split(hybrid_changes);
    let (changes, of_pool) = ours.split(pool_changes);
    let stop = changes.stop.clone();
    let router =
        Router { folder, routes: HashMap::new(), to_pool, to_hybrid, complaint: Complaint::default() };
    let route = async {
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            ended = router.route(changes.changes) => ended.map_err(Error::Closed),
        }
    };
    let pool = async { Ok(pool::run(pool_config, api, of_pool).await?) };
    let hybrid = async { Ok(hybrid::run(hybrid_config, of_hybrid).await?) };
    tokio::try_join!(route, pool, hybrid).map(|((), (), ())| ())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Pool,
    Hybrid,
}

struct Router {
    folder: Folder,
    /// Of all containers that are there.
    routes: HashMap<ContainerId, Route>,
    to_pool: mpsc::Sender<Change>,
    to_hybrid: mpsc::Sender<Change>,
    complaint: Complaint,
}

impl Router {
    async fn route(mut self, mut changes: mpsc::Receiver<Change>) -> Result<(), Closed> {
        while let Some(change) = changes.recv().await {
            let route = match &change {
                Change::Started { container, .. } | Change::Renamed(container) => self.choose(container),
                // Whose end it has not seen the beginning of: either design takes leave of it.
                Change::Stopped(id) => self.routes.get(id).copied().unwrap_or(Route::Pool),
                Change::Removed(id) => self.routes.remove(id).unwrap_or(Route::Pool),
            };
            let out = match route {
                Route::Pool => &self.to_pool,
                Route::Hybrid => &self.to_hybrid,
            };
            out.send(change).await.map_err(|_closed| Closed)?;
        }
        Ok(())
    }

    fn choose(&mut self, container: &Arc<Container>) -> Route {
        if let Some(route) = self.routes.get(&container.id) {
            return *route;
        }
        let in_files = container.log_driver == hybrid::DRIVER;
        let route = if in_files && self.folder.has(&container.id) { Route::Hybrid } else { Route::Pool };
        if in_files
            && route == Route::Pool
            && let Some(withheld) = self.complaint.may_speak(tokio::time::Instant::now())
        {
            let (id, folder) = (&container.id, self.folder.of(&container.id));
            tracing::warn!(
                container = %id, ?folder, withheld,
                "its folder is not there, so its log is read through Docker's log API: is docker.containers_root right?"
            );
        }
        self.routes.insert(container.id.clone(), route);
        route
    }
}
