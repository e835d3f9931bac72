//! When changes may wait: each line that Docker writes is one. They wait for [`REST`] behind a turn, unless somebody's must not.

use std::collections::HashSet;

use tokio::time::{Instant, sleep_until};

use crate::record::{Container, ContainerId};
use crate::source::REST;

/// A generation of this size is not filled within a rest: that would be 80 MiB a second, more than Docker's daemon writes. A
/// smaller one may come and go without being opened: also where one file is kept, and the one that is open was all but full.
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

    /// Behind a turn of this container, or when it can have none: whether its changes must not wait. A rest is not made
    /// longer by further turns.
    pub(super) fn behind(&mut self, id: &ContainerId, is_urgent: bool) {
        if is_urgent {
            self.urgent.insert(id.clone());
        } else {
            self.urgent.remove(id);
        }
        let until = self.until.unwrap_or_else(|| Instant::now() + REST);
        self.until = self.urgent.is_empty().then_some(until);
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
        rest.behind(&id(1), false);
        assert!(rest.is_on());
        tokio::time::advance(REST / 2).await;
        rest.behind(&id(1), false);
        rest.over().await;
        assert_eq!(began.elapsed(), REST, "a further turn makes it no longer");
        rest.end();
        rest.behind(&id(2), true);
        rest.behind(&id(1), false);
        assert!(!rest.is_on(), "one is urgent");
        rest.behind(&id(2), false);
        assert!(rest.is_on(), "it no longer is");
    }
}
