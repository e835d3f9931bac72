//! When changes may wait: each line that Docker writes is one, and thousands a second would wake us thousands of times for a
//! line each. They wait behind the last turn for a tenth of a second, unless somebody's must not.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::record::{Container, ContainerId};

/// For so long. A line's way to Loki takes longer by as much: a tenth of what a batch waits by default.
const REST: Duration = Duration::from_millis(100);
/// A generation of this size is not filled twice within a rest: that would be 160 MiB a second, more than Docker's daemon
/// writes. Of a smaller one more than one may come and go, and nobody has opened the first.
const ROOMY_BYTES: u64 = 8 << 20;

/// Who must not wait, and until when the others do.
#[derive(Debug, Default)]
pub(super) struct Rest {
    urgent: HashSet<ContainerId>,
    until: Option<Instant>,
}

impl Rest {
    /// Whether changes wait now.
    pub(super) fn is_on(&self) -> bool {
        self.until.is_some()
    }

    /// Waits for its end.
    pub(super) async fn over(&self) {
        if let Some(until) = self.until {
            sleep_until(until).await;
        }
    }

    /// Changes are looked at again.
    pub(super) fn end(&mut self) {
        self.until = None;
    }

    /// Behind a turn of this container: whether its changes may wait, and whether this was the last turn for now.
    pub(super) fn behind(&mut self, id: &ContainerId, is_urgent: bool, is_last: bool) {
        if is_urgent {
            self.urgent.insert(id.clone());
        } else {
            self.urgent.remove(id);
        }
        let rests = is_last && self.urgent.is_empty();
        self.until = rests.then(|| Instant::now() + REST);
    }
}

/// Whether several generations of its log may come and go within a rest.
pub(super) fn is_small(container: &Container) -> bool {
    container.log_max_bytes.is_some_and(|bytes| bytes < ROOMY_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_wait_for_a_moment_unless_one_is_urgent() {
        let id = |digit: u8| ContainerId::parse(&format!("{digit:064x}")).unwrap();
        let (mut rest, began) = (Rest::default(), Instant::now());
        rest.behind(&id(1), false, false);
        assert!(!rest.is_on(), "somebody else has a turn");
        rest.behind(&id(1), false, true);
        assert!(rest.is_on());
        rest.over().await;
        assert_eq!(began.elapsed(), REST);
        rest.end();
        rest.behind(&id(2), true, true);
        rest.behind(&id(1), false, true);
        assert!(!rest.is_on(), "one is urgent");
        rest.behind(&id(2), false, true);
        assert!(rest.is_on(), "it no longer is");
    }
}
