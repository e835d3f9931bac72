//! How much one container may have on its way, from where it is read to where it is settled. A container
//! that has used up its credit is not read on, and its log is the buffer, while the others go on: so what
//! Loki refuses of one of them fills no queue that they share. And a gate for each tenant, closed while
//! Loki does not take what it has: then none of its containers is read on.
//!
//! Asked before a container is read and charged for each block of lines that comes of that, which is made no larger
//! than what is left, but for its last line; so a line that is larger than the limit still passes alone.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::metrics::Metrics;
use crate::pace::Pace;

/// The credit of one container.
#[derive(Clone, Debug)]
pub struct Credit(Arc<Account>);

#[derive(Debug)]
struct Account {
    limit: usize,
    used: AtomicUsize,
    regained: Notify,
    gate: Gate,
    pace: Option<Mutex<Pace>>,
    last_line_ns: AtomicI64,
    metrics: Arc<Metrics>,
}

/// Does not keep the container's credit.
#[derive(Clone, Debug)]
pub struct WeakCredit(Weak<Account>);

impl WeakCredit {
    /// Whether somebody has it.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// The credit, if somebody has it.
    #[must_use]
    pub fn upgrade(&self) -> Option<Credit> {
        self.0.upgrade().map(Credit)
    }
}

/// Of what is there no line yet.
const NO_LINE: i64 = i64::MIN;

/// Whether a tenant's containers may be read. Cheap to clone; clones are one gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Barrier>);

#[derive(Debug)]
struct Barrier {
    is_open: AtomicBool,
    opened: Notify,
    bytes: Gauge,
}

impl Gate {
    /// An open one; `bytes` says what its tenant has on its way.
    #[must_use]
    pub fn new(bytes: Gauge) -> Self {
        Self(Arc::new(Barrier { is_open: AtomicBool::new(true), opened: Notify::new(), bytes }))
    }

    /// Opens or closes it.
    pub fn set_open(&self, open: bool) {
        if !self.0.is_open.swap(open, Ordering::SeqCst) && open {
            self.0.opened.notify_waiters();
        }
    }

    /// Whether it is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.is_open.load(Ordering::SeqCst)
    }
}

impl Credit {
    /// Of `limit` bytes, none of them used, for a container behind this gate, which may be read at this pace.
    #[must_use]
    pub fn new(limit: usize, gate: Gate, pace: Option<Pace>, metrics: Arc<Metrics>) -> Self {
        let (used, regained) = (AtomicUsize::new(0), Notify::new());
        let (pace, last_line_ns) = (pace.map(Mutex::new), AtomicI64::new(NO_LINE));
        Self(Arc::new(Account { limit, used, regained, gate, pace, last_line_ns, metrics }))
    }

    /// Whether the container may be read on.
    #[must_use]
    pub fn is_left(&self) -> bool {
        self.is_within() && self.next_in_pace().is_none()
    }

    /// How much may be read at one go: what is left, and no more than the pace allows by now; at least 1.
    #[must_use]
    pub fn left_bytes(&self) -> usize {
        let left = self.0.limit.saturating_sub(self.used_bytes());
        let in_pace = self.0.pace.as_ref().map_or(usize::MAX, |pace| {
            pace.lock().unwrap_or_else(PoisonError::into_inner).left_bytes(Instant::now())
        });
        left.min(in_pace).max(1)
    }

    fn is_within(&self) -> bool {
        self.used_bytes() < self.0.limit && self.0.gate.is_open()
    }

    fn next_in_pace(&self) -> Option<Instant> {
        let pace = self.0.pace.as_ref()?;
        pace.lock().unwrap_or_else(PoisonError::into_inner).next(Instant::now())
    }

    /// How much is used.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.0.used.load(Ordering::SeqCst)
    }

    /// Why the container may not be read on, if so.
    #[must_use]
    pub fn waits_for(&self) -> Option<&'static str> {
        if !self.0.gate.is_open() {
            Some("tenant")
        } else if !self.is_within() {
            Some("credit")
        } else {
            self.next_in_pace().map(|_| "rate")
        }
    }

    /// When the last line that was read was written.
    #[must_use]
    pub fn last_line_ns(&self) -> Option<i64> {
        Some(self.0.last_line_ns.load(Ordering::Relaxed)).filter(|ns| *ns != NO_LINE)
    }

    /// For somebody who does not keep it.
    #[must_use]
    pub fn downgrade(&self) -> WeakCredit {
        WeakCredit(Arc::downgrade(&self.0))
    }

    /// Waits until it may be.
    pub async fn regained(&self) {
        if self.is_left() {
            return;
        }
        let Account { regained, gate, metrics, .. } = &*self.0;
        metrics.credit_waits.inc();
        let _waiting = Waiting::new(&metrics.credit_waiting);
        loop {
            // Made before the look: what is given back in between wakes it.
            let (regained, opened) = (regained.notified(), gate.0.opened.notified());
            let due = self.next_in_pace();
            if self.is_within() && due.is_none() {
                return;
            }
            tokio::select! {
                () = regained => {}
                () = opened => {}
                () = until(due) => {}
            }
        }
    }

    /// Charges it with `bytes` for lines of which the last has this time.
    #[must_use]
    pub fn share(&self, bytes: usize, time_ns: i64) -> Share {
        self.0.last_line_ns.store(time_ns, Ordering::Relaxed);
        if let Some(pace) = &self.0.pace {
            pace.lock().unwrap_or_else(PoisonError::into_inner).charge(bytes, Instant::now());
        }
        self.0.used.fetch_add(bytes, Ordering::SeqCst);
        self.0.metrics.in_flight_bytes.inc_by(signed(bytes));
        self.0.gate.0.bytes.inc_by(signed(bytes));
        Share { account: Some(Arc::clone(&self.0)), bytes }
    }
}

/// For ever, without a time.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// The share of some lines in their container's credit, given back when it is dropped: so it stays with them until
/// the last is settled. The default is nobody's.
#[derive(Debug, Default)]
pub struct Share {
    account: Option<Arc<Account>>,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some(account) = &self.account else { return };
        account.metrics.in_flight_bytes.dec_by(signed(self.bytes));
        account.gate.0.bytes.dec_by(signed(self.bytes));
        let before = account.used.fetch_sub(self.bytes, Ordering::SeqCst);
        if before >= account.limit && before - self.bytes < account.limit {
            account.regained.notify_waiters();
        }
    }
}

/// Counts one that waits, however its wait ends.
struct Waiting<'a>(&'a Gauge);

impl<'a> Waiting<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use proptest::prelude::*;
    use tokio::task::JoinSet;

    use super::*;

    fn credit(limit: usize, metrics: &Arc<Metrics>) -> Credit {
        Credit::new(limit, Gate::new(Gauge::default()), None, metrics.clone())
    }

    #[test]
    fn behind_a_closed_gate_nobody_reads_until_it_opens_and_behind_another_they_do() {
        let (metrics, bytes) = (Metrics::new(), Gauge::default());
        let gate = Gate::new(bytes.clone());
        let of_tenant = || Credit::new(8, gate.clone(), None, metrics.clone());
        let (one, two) = (of_tenant(), of_tenant());
        let share = one.share(7, 0);
        gate.set_open(false);
        assert!(!one.is_left() && !two.is_left() && credit(8, &metrics).is_left());
        let (mut first, mut second) = (std::pin::pin!(one.regained()), std::pin::pin!(two.regained()));
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        drop(share);
        assert!(first.as_mut().now_or_never().is_none(), "what comes back does not open it");
        let full = two.share(8, 0);
        gate.set_open(true);
        assert!(first.now_or_never().is_some() && second.as_mut().now_or_never().is_none(), "and no credit");
        assert_eq!((bytes.get(), metrics.in_flight_bytes.get()), (8, 8));
        drop(full);
        assert!(second.now_or_never().is_some());
        assert_eq!((bytes.get(), metrics.in_flight_bytes.get(), metrics.credit_waiting.get()), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_read_faster_than_he_may_waits_and_then_goes_on() {
        let (metrics, began) = (Metrics::new(), Instant::now());
        let pace = Some(Pace::new(1000, began));
        let credit = Credit::new(usize::MAX, Gate::new(Gauge::default()), pace, metrics.clone());
        for _ in 0..100 {
            credit.regained().await;
            drop(credit.share(100, 7));
        }
        let took = began.elapsed().as_secs_f64();
        assert!((8.9..10.0).contains(&took), "10,000 bytes took {took} s");
        assert!(metrics.credit_waits.get() > 0);
        assert_eq!((credit.last_line_ns(), credit.used_bytes()), (Some(7), 0));
    }

    #[test]
    fn it_is_left_below_the_limit_and_a_line_larger_than_the_limit_passes_alone() {
        let metrics = Metrics::new();
        let credit = credit(10, &metrics);
        let large = credit.share(100, 0);
        assert!(!credit.is_left() && credit.regained().now_or_never().is_none());
        assert_eq!((metrics.in_flight_bytes.get(), metrics.credit_waits.get()), (100, 1));
        assert_eq!(metrics.credit_waiting.get(), 0, "it does not wait any longer");
        drop(large);
        let small = credit.share(9, 0);
        assert!(credit.is_left() && credit.regained().now_or_never().is_some());
        drop((small, Share::default()));
        assert_eq!((metrics.in_flight_bytes.get(), metrics.credit_waits.get()), (0, 1));
    }

    /// Two that read on one credit, and two that settle on other threads.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nobody_waits_for_ever_and_the_bound_holds_while_others_settle() {
        let metrics = Metrics::new();
        let credit = credit(10, &metrics);
        let mut tasks = JoinSet::new();
        for _ in 0..2 {
            let (out, mut settled) = tokio::sync::mpsc::channel(100);
            let (credit, metrics) = (credit.clone(), metrics.clone());
            tasks.spawn(async move {
                for line in 0..20_000 {
                    credit.regained().await;
                    out.send(credit.share(1 + line % 4, 0)).await.unwrap();
                    // Below the limit when each looked, and then one line each.
                    assert!(metrics.in_flight_bytes.get() <= 9 + 2 * 4);
                }
            });
            tasks.spawn(async move { while settled.recv().await.is_some() {} });
        }
        let all = async { while tasks.join_next().await.transpose().unwrap().is_some() {} };
        tokio::time::timeout(Duration::from_secs(60), all).await.expect("one waits for ever");
        assert!(credit.is_left() && metrics.credit_waits.get() > 0);
        assert_eq!((metrics.in_flight_bytes.get(), metrics.credit_waiting.get()), (0, 0));
    }

    /// Somebody settles each line in the very moment in which its reader looks whether he may go on.
    #[tokio::test]
    async fn credit_that_comes_back_while_its_reader_looks_wakes_him() {
        let (metrics, lines) = (Metrics::new(), 300_000);
        let credit = credit(1, &metrics);
        let (out, settled) = std::sync::mpsc::channel();
        let settler = std::thread::spawn(move || {
            while let Err(std::sync::mpsc::TryRecvError::Empty) | Ok(_) = settled.try_recv() {
                std::hint::spin_loop();
            }
        });
        let read = async {
            for _ in 0..lines {
                credit.regained().await;
                out.send(credit.share(1, 0)).unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(60), read).await.expect("he waits for ever");
        drop(out);
        settler.join().unwrap();
        assert!(metrics.credit_waits.get() > 0 && credit.is_left());
    }

    proptest! {
        #[test]
        fn what_is_used_is_what_was_charged_and_not_given_back(
            steps in prop::collection::vec((any::<bool>(), 0..50_usize), 0..200),
        ) {
            let metrics = Metrics::new();
            let credit = credit(100, &metrics);
            let mut held: Vec<Share> = Vec::new();
            for (charge, number) in steps {
                if charge {
                    held.push(credit.share(number, 0));
                } else if !held.is_empty() {
                    held.swap_remove(number % held.len());
                }
                let used: usize = held.iter().map(|share| share.bytes).sum();
                prop_assert_eq!(credit.is_left(), used < 100);
                prop_assert_eq!(metrics.in_flight_bytes.get(), signed(used));
                prop_assert_eq!(credit.regained().now_or_never().is_some(), used < 100);
            }
            drop(held);
            prop_assert!(credit.is_left() && metrics.in_flight_bytes.get() == 0);
        }
    }
}
