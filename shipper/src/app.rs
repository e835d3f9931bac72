//! The whole program: a staff for as long as one config is in force, the admin pages around it, and what a signal
//! means for both.

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin, Shown};
use crate::config::{self, Config};
use crate::delivery::checkpoint;
use crate::delivery::dead_letters;
use crate::delivery::deliver::Left;
use crate::docker::api::ApiError;
use crate::loki::client;
use crate::metrics::Metrics;
use crate::metrics::labels::Reload;
use crate::shutdown::{Shutdown, Signals};
use crate::source::hybrid;

mod staff;

use staff::Staff;

/// Why the shipper can't start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Signals.
    #[error("can't listen to signals: {0}")]
    Signals(#[source] std::io::Error),
    /// The state folder.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// The state folder.
    #[error(transparent)]
    DeadLetters(#[from] dead_letters::Error),
    /// The port.
    #[error(transparent)]
    Admin(#[from] admin::Error),
    /// The Engine.
    #[error(transparent)]
    Docker(#[from] ApiError),
    /// The config, though it was checked.
    #[error(transparent)]
    Loki(#[from] client::ConfigError),
    /// The config, though it was checked.
    #[error("{}", .0.join("; "))]
    Patterns(Vec<String>),
    /// A source.
    #[error(transparent)]
    Hybrid(#[from] hybrid::Error),
    /// A task ended though nobody had asked it to.
    #[error("{task} ended early{}", reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Early {
        /// Which.
        task: &'static str,
        /// Its own words, if it had any.
        reason: Option<String>,
    },
}

impl Error {
    /// Whether the surroundings are at fault, not the program.
    #[must_use]
    pub fn is_environment(&self) -> bool {
        !matches!(self, Self::Early { .. })
    }
}

/// Ships until a signal, or until something breaks. At SIGHUP `load` reads the config again: if it can be used, the
/// staff ends in order and another begins where it left off; else the old config stays in force.
///
/// # Errors
/// What could not be had at the start, or what broke.
pub async fn run(
    mut config: Config,
    load: impl Fn() -> Result<Config, config::Error>,
) -> Result<Left, Error> {
    let mut signals = Signals::install().map_err(Error::Signals)?;
    let admin = Admin::bind(&config.admin).await?;
    let (show, shown) = watch::channel(Shown::default());
    let (mut pages, admin_stop) = (JoinSet::new(), CancellationToken::new());
    pages.spawn(admin.run(shown, admin_stop.clone()));
    let mut reloads = Reloads::default();
    let mut before: Option<Config> = None;
    loop {
        let (Shown { targets, metrics }, shutdown) = (show.borrow().clone(), Shutdown::default());
        reloads.show(&metrics);
        let hired = tokio::select! {
            hired = Staff::hire(&config, targets, &metrics, &shutdown) => hired,
            // Docker may take its time to answer; nothing was read yet that could be lost.
            () = signals.end() => {
                tracing::info!("stopped before anything was read");
                return Ok(Left { lines: 0, gone_containers: 0 });
            }
        };
        let staff = match (hired, before.take()) {
            (Ok(staff), None) => staff,
            (Ok(staff), Some(_)) => {
                tracing::info!("the new config is in force");
                reloads.applied += 1;
                reloads.show(&metrics);
                staff
            }
            (Err(error), None) => return Err(error),
            (Err(error), Some(old)) => {
                reloads.rejected(&error);
                config = old;
                show.send_replace(Shown::default());
                continue;
            }
        };
        let mut next = None;
        let reload = || reloads.load(&config, &load, &metrics);
        let ended = staff.watch((&mut signals, shutdown), config.shutdown_deadline, reload, &mut next).await;
        let (Ok(left), Some(new)) = (&ended, next) else {
            admin_stop.cancel();
            while pages.join_next().await.is_some() {}
            return ended;
        };
        tracing::info!(unacknowledged = left.lines, "ended in order, to begin with the new config");
        before = Some(std::mem::replace(&mut config, new));
        show.send_replace(Shown::default());
    }
}

/// What became of the times when the config was to be read again.
#[derive(Debug, Default)]
struct Reloads {
    applied: u64,
    rejected: u64,
}

impl Reloads {
    /// Another config, if there is one without a mistake.
    fn load(
        &mut self,
        old: &Config,
        load: impl Fn() -> Result<Config, config::Error>,
        metrics: &Metrics,
    ) -> Option<Config> {
        match load() {
            Ok(new) => {
                if (&new.admin, &new.log) != (&old.admin, &old.log) {
                    tracing::warn!(
                        "admin and log are read at a start only: what has changed there waits for it"
                    );
                }
                Some(new)
            }
            Err(error) => {
                self.rejected(&error);
                self.show(metrics);
                None
            }
        }
    }

    fn rejected(&mut self, why: &impl std::fmt::Display) {
        tracing::error!("the config was to be read again, and the old one stays in force: {why}");
        self.rejected += 1;
    }

    /// The metrics of each staff begin at 0; these go on.
    fn show(&self, metrics: &Metrics) {
        for (result, so_far) in [(Reload::Applied, self.applied), (Reload::Rejected, self.rejected)] {
            let counter = metrics.config_reloads.get_or_create_owned(&result);
            counter.inc_by(so_far.saturating_sub(counter.get()));
        }
    }
}
