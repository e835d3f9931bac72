//! The metrics page of a watched process: which gauge on it says how many tasks there are.

use std::time::Duration;

use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;

use crate::run::watch::WatchError;
use crate::run::watch::target::{State, Target};
use crate::sample::metrics;
use crate::sample::sampler::{Others, Sampler, TasksGauge};

/// Where nobody names one, the first of these that a page has: Tokio's tasks, Go's goroutines.
pub const GAUGES: [&str; 2] = ["tokio_alive_tasks", "go_goroutines"];
/// A process that has just been started needs a while before its page answers.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);
/// Between two tries.
const TRY_EVERY: Duration = Duration::from_millis(200);

/// A metrics page.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its address.
    pub url: String,
    /// The gauge that says how many tasks there are; `None` for the first of [`GAUGES`].
    pub gauge: Option<String>,
    /// The metric whose labels say which kinds of tasks there are; `None` for the gauge itself.
    pub by_kind: Option<String>,
}

impl Page {
    /// Waits until the page has the gauge.
    ///
    /// # Errors
    /// [`WatchError::NoPage`] or [`WatchError::NoGauge`] after a while, [`WatchError::Ended`] where the process ends
    /// before, [`WatchError::Stopped`].
    pub(super) async fn gauge(
        &self,
        sampler: &Sampler,
        target: &mut Target,
        stop: &CancellationToken,
    ) -> Result<TasksGauge, WatchError> {
        let deadline = Instant::now() + ANSWERS_WITHIN;
        let mut tries = interval(TRY_EVERY);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(WatchError::Stopped),
                _ = tries.tick() => {}
            }
            let page = sampler.page(&self.url).await;
            if let Some(name) = page.as_deref().and_then(|page| self.found(page)) {
                let by_kind = Some(self.by_kind.clone().unwrap_or_else(|| name.clone()));
                return Ok(TasksGauge { url: self.url.clone(), name, by_kind, others: Others::default() });
            }
            if let State::Ended(ended) = target.state().await {
                return Err(WatchError::Ended { words: ended.words, last_words: target.last_words() });
            }
            if Instant::now() >= deadline {
                return Err(self.missing(page.is_some()));
            }
        }
    }

    fn found(&self, page: &str) -> Option<String> {
        let wanted = self.gauge.as_deref().map_or_else(|| GAUGES.to_vec(), |name| vec![name]);
        let found = wanted.into_iter().find(|name| metrics::count(page, name).is_some());
        found.map(str::to_owned)
    }

    fn missing(&self, answers: bool) -> WatchError {
        let url = self.url.clone();
        if answers {
            let gauge = self.gauge.clone().unwrap_or_else(|| GAUGES.join(" and no "));
            WatchError::NoGauge { url, gauge }
        } else {
            WatchError::NoPage { url, seconds: ANSWERS_WITHIN.as_secs() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gauge_is_the_one_that_is_named_or_the_first_that_is_known() {
        let page =
            |gauge: Option<&str>| Page { url: String::new(), gauge: gauge.map(str::to_owned), by_kind: None };
        let text = "go_goroutines 12\njobs{queue=\"a\"} 3\nbroken x\n";
        assert_eq!(page(None).found(text).as_deref(), Some("go_goroutines"));
        let both = format!("{text}tokio_alive_tasks 7\n");
        assert_eq!(page(None).found(&both).as_deref(), Some("tokio_alive_tasks"));
        assert_eq!(page(Some("jobs")).found(text).as_deref(), Some("jobs"));
        assert_eq!((page(Some("broken")).found(text), page(None).found("up 1\n")), (None, None));
    }
}
