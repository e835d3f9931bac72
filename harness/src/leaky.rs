//! `flatline leak`: a process that leaks on purpose, so that the judge can be judged.
//!
//! What it holds it really holds: open descriptors of several sorts, inotify watches, threads that wait, tasks that never
//! end, mappings. How many it should hold
//! is a function of the clock and of the events that it was told of ([`pace`]), never of how often it was woken: a
//! machine that starves it delays a unit and loses none. It serves `/ready` and `/metrics`, and counts `POST /event`.

pub mod pace;
mod hoard;
mod page;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::clock::Stopwatch;
use crate::leaky::hoard::{Hoard, HoardError};
use crate::leaky::pace::Plan;
use crate::leaky::page::Page;

/// How often it looks what it should hold by now.
const BEAT: Duration = Duration::from_millis(100);
/// Connections at a time; more wait until one ends.
const CONNECTIONS_MAX: usize = 32;

/// Why it can't go on.
#[derive(Debug, thiserror::Error)]
pub enum LeakyError {
    /// It can't listen there.
    #[error(
        "can't listen on {address}: {source}; name another address with --listen, or 127.0.0.1:0 for any free port"
    )]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// It holds all that the system lets it hold.
    #[error(transparent)]
    Full(#[from] HoardError),
}

/// A leaking process that listens, and has leaked nothing yet.
#[derive(Debug)]
pub struct Leaky {
    listener: TcpListener,
    plan: Plan,
}

impl Leaky {
    /// Takes the address. Only within a runtime.
    ///
    /// # Errors
    /// [`LeakyError::Listen`].
    pub async fn listen(address: std::net::SocketAddr, plan: Plan) -> Result<Self, LeakyError> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| LeakyError::Listen { address, source })?;
        Ok(Self { listener, plan })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn url(&self) -> io::Result<String> {
        Ok(format!("http://{}", self.listener.local_addr()?))
    }

    /// Leaks from now on, until it is told to stop. Then everything is given back.
    ///
    /// # Errors
    /// [`LeakyError::Full`]: the system gives no more.
    pub async fn run(self, stop: &CancellationToken) -> Result<(), LeakyError> {
        let mut hoard = Hoard::default();
        let page = Arc::new(Page::new(hoard.owner()));
        let mut connections = JoinSet::new();
        let stopwatch = Stopwatch::start();
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                _ = beat.tick() => hoard.hold(self.plan.wanted(stopwatch.elapsed(), page.events()))?,
                Some(_ended) = connections.join_next() => {}
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                    Ok((stream, _)) => drop(connections.spawn(page::converse(stream, Arc::clone(&page)))),
                    // Out of descriptors, most likely: the next beat will tell.
                    Err(_) => drop(beat.tick().await),
                },
            }
        }
    }
}
