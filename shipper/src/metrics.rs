//! Every metric of the shipper as a named field; what varies within one is a closed enum, so that no
//! label can grow with the number of containers.
//!
//! Counters are registered without `_total`: the encoder adds it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

mod register;
pub mod labels;
pub mod lines;
pub mod tasks;
pub mod collectors;

use collectors::{CheckpointAge, TokioTasks};
use labels::{Direction, Endpoint, PushStatus, Reload, TaskKind, Tenant};
use lines::Lines;
use register::{closed, histogram, plain};
use tasks::TaskGuard;

/// All metrics of one shipper. Shared by `Arc`; each field is cheap to update from any task.
pub struct Metrics {
    registry: Registry,
    /// What became of every line: the conservation law.
    pub lines: Lines,
    /// `shipper_tasks_alive{kind}`; counted by [`Metrics::task`].
    tasks_alive: Family<TaskKind, Gauge>,
    /// `shipper_timestamps_clamped_total{direction}`.
    pub timestamps_clamped: Family<Direction, Counter>,
    /// `shipper_retry_queue_items`: batches that wait for another attempt.
    pub retry_queue_items: Gauge,
    /// `shipper_retry_queue_capacity`: how many may wait.
    pub retry_queue_capacity: Gauge,
    /// `shipper_retry_queue_bytes`.
    pub retry_queue_bytes: Gauge,
    /// `shipper_dead_letters_total`: entries written to the dead letters.
    pub dead_letters: Counter,
    /// `shipper_dead_letters_bytes`: how much of the dead letters' bound is used.
    pub dead_letters_bytes: Gauge,
    /// `shipper_dead_letters_segments`: how many files.
    pub dead_letters_segments: Gauge,
    /// `shipper_dead_letters_failing`: 1 while they can't be written and delivery waits.
    pub dead_letters_failing: Gauge,
    /// `shipper_dead_letters_waiting`: lines that wait for the disk to take them.
    pub dead_letters_waiting: Gauge,
    /// `shipper_dead_letters_segments_removed_total`: oldest segments removed to stay within the bound.
    pub dead_letters_segments_removed: Counter,
    /// `shipper_push_total{status}`.
    pub push: Family<PushStatus, Counter>,
    /// `shipper_push_duration_seconds`.
    pub push_duration_seconds: Histogram,
    /// `shipper_push_in_flight`: pushes under way.
    pub push_in_flight: Gauge,
    /// `shipper_loki_held`: tenants that Loki refuses (401, 403, 404), so that their lines wait.
    pub loki_held: Gauge,
    /// `shipper_tenant_held{tenant}`: 1 for each of those.
    pub tenant_held: Family<Tenant, Gauge>,
    /// `shipper_tenant_bytes{tenant}`: what the lines of one tenant that are in flight take.
    pub tenant_bytes: Family<Tenant, Gauge>,
    /// `shipper_tenants_not_allowed_total`: containers whose label names a tenant that is not allowed.
    pub tenants_not_allowed: Counter,
    /// `shipper_push_waiting_turn`: batches that wait until another push is answered.
    pub push_waiting_turn: Gauge,
    /// `shipper_window_max_age_seconds{tenant}`: as configured, or narrower if Loki has shown so.
    pub window_max_age_seconds: Family<Tenant, Gauge<f64, AtomicU64>>,
    /// `shipper_window_max_future_seconds{tenant}`: as configured, or narrower if Loki has shown so.
    pub window_max_future_seconds: Family<Tenant, Gauge<f64, AtomicU64>>,
    /// `shipper_loki_clock_ahead_seconds{tenant}`: how far Loki's clock is ahead of ours, where it has refused
    /// lines for that.
    pub loki_clock_ahead_seconds: Family<Tenant, Gauge<f64, AtomicU64>>,
    /// `shipper_window_max_behind_seconds`: as configured.
    pub window_max_behind_seconds: Gauge<f64, AtomicU64>,
    /// `shipper_window_floors`: streams of which Loki has refused lines as too far behind.
    pub window_floors: Gauge,
    /// `shipper_window_streams`: streams whose newest line is remembered, for as long as a container writes
    /// to them or lines of them are on their way.
    pub window_streams: Gauge,
    /// `shipper_window_probes_total`: lines sent again although lines like them were refused.
    pub window_probes: Counter,
    /// `shipper_streams`: sets of labels that containers write to.
    pub streams: Gauge,
    /// `shipper_streams_capacity`: how many there may be.
    pub streams_capacity: Gauge,
    /// `shipper_streams_over_capacity_total`: how often an output of a container had to join a stream of others.
    pub streams_over_capacity: Counter,
    /// `shipper_containers_excluded_total`: how often a container was left out for its labels.
    pub containers_excluded: Counter,
    /// `shipper_queue_lines`: lines between the sources and the pipeline.
    pub queue_lines: Gauge,
    /// `shipper_queue_lines_capacity`.
    pub queue_lines_capacity: Gauge,
    /// `shipper_in_flight_bytes`: what the lines that are in flight take.
    pub in_flight_bytes: Gauge,
    /// `shipper_container_bytes_limit`: how much of that one container may have.
    pub container_bytes_limit: Gauge,
    /// `shipper_containers_without_credit`: containers that are not read until some of that is settled.
    pub credit_waiting: Gauge,
    /// `shipper_credit_waits_total`: how often one had to wait for that.
    pub credit_waits: Counter,
    /// `shipper_config_reloads_total{result}`: what became of the times when SIGHUP asked for that.
    pub config_reloads: Family<Reload, Counter>,
    /// `shipper_containers`: containers that are followed.
    pub containers: Gauge,
    /// `shipper_containers_unreadable`: those of them whose logs can't be read, for their logging driver.
    pub containers_unreadable: Gauge,
    /// `shipper_docker_connected`: 1 while discovery hears Docker's events. Discovery sets it.
    pub docker_connected: Gauge,
    /// `shipper_docker_requests_total{endpoint}`.
    pub docker_requests: Family<Endpoint, Counter>,
    /// `shipper_docker_connections_in_use`: of the bounded pool.
    pub docker_connections_in_use: Gauge,
    /// `shipper_docker_connections_max`: the pool's size.
    pub docker_connections_max: Gauge,
    /// `shipper_metadata_cache_entries`.
    pub metadata_cache_entries: Gauge,
    /// `shipper_metadata_cache_capacity`.
    pub metadata_cache_capacity: Gauge,
    /// `shipper_metadata_cache_hits_total`.
    pub metadata_cache_hits: Counter,
    /// `shipper_metadata_cache_misses_total`.
    pub metadata_cache_misses: Counter,
    /// `shipper_metadata_cache_evictions_total`.
    pub metadata_cache_evictions: Counter,
    /// `shipper_open_files`: log files held open by the hybrid source.
    pub open_files: Gauge,
    /// `shipper_inotify_watches`.
    pub inotify_watches: Gauge,
    /// `shipper_inotify_overflows_total`: the kernel dropped events; everything is looked at again.
    pub inotify_overflows: Counter,
    /// `shipper_inotify_failures_total`: directories that could not be watched and are polled instead.
    pub inotify_failures: Counter,
    /// `shipper_polled_containers`: logs that are polled since their folder can't be watched.
    pub polled_containers: Gauge,
    /// `shipper_lines_truncated_total`: lines longer than the cap, cut there and marked.
    pub lines_truncated: Counter,
    /// `shipper_file_truncations_total`: log files that somebody emptied in place.
    pub file_truncations: Counter,
    /// `shipper_archives_broken_total`: compressed logs that are damaged; what they still held was read.
    pub archives_broken: Counter,
    /// `shipper_deleted_bytes_held`: disk space of deleted log files that are still being read.
    pub deleted_bytes_held: Gauge,
    /// `shipper_deleted_bytes_given_up_total`: bytes of deleted log files that were held too long, unread.
    pub deleted_bytes_given_up: Counter,
    /// `shipper_log_streams_broken_total`: Docker's log streams that ended while their container ran.
    pub log_streams_broken: Counter,
    /// `shipper_resume_lost_total`: a checkpoint whose file or line is no longer there.
    pub resume_lost: Counter,
    /// `shipper_checkpoint_entries`: containers in the checkpoint.
    pub checkpoint_entries: Gauge,
    /// `shipper_checkpoint_failures_total`.
    pub checkpoint_failures: Counter,
    /// `shipper_checkpoint_failing`: 1 while positions can't be saved.
    pub checkpoint_failing: Gauge,
    /// `shipper_checkpoint_age_seconds`.
    pub checkpoint_age: CheckpointAge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Registers all of them. Counters of closed sets start at 0, so that a rate can be taken at once.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "one statement: a field for each metric")]
    pub fn new() -> Arc<Self> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(TokioTasks));
        let into = &mut registry;
        let metrics = Self {
            lines: Lines::register(into),
            tasks_alive: closed(into, TaskKind::ALL, "shipper_tasks_alive", "Own tasks that run"),
            timestamps_clamped: closed(
                into,
                Direction::ALL,
                "shipper_timestamps_clamped",
                "Lines whose time was clamped, once",
            ),
            retry_queue_items: plain(
                into,
                "shipper_retry_queue_items",
                "Batches that wait for another attempt",
            ),
            retry_queue_capacity: plain(into, "shipper_retry_queue_capacity", "How many batches may wait"),
            retry_queue_bytes: plain(
                into,
                "shipper_retry_queue_bytes",
                "Bytes that wait for another attempt",
            ),
            dead_letters: plain(into, "shipper_dead_letters", "Lines written to the dead letters"),
            dead_letters_bytes: plain(
                into,
                "shipper_dead_letters_bytes",
                "Bytes on disk in the dead letters",
            ),
            dead_letters_segments: plain(into, "shipper_dead_letters_segments", "Files of dead letters"),
            dead_letters_failing: plain(
                into,
                "shipper_dead_letters_failing",
                "1 while they can't be written and delivery waits",
            ),
            dead_letters_waiting: plain(
                into,
                "shipper_dead_letters_waiting",
                "Lines that wait for the disk to take them",
            ),
            dead_letters_segments_removed: plain(
                into,
                "shipper_dead_letters_segments_removed",
                "Oldest segments removed",
            ),
            push: closed(into, PushStatus::ALL, "shipper_push", "Pushes by Loki's answer"),
            push_duration_seconds: histogram(
                into,
                "shipper_push_duration_seconds",
                "Time until Loki's answer",
            ),
            push_in_flight: plain(into, "shipper_push_in_flight", "Pushes under way"),
            loki_held: plain(into, "shipper_loki_held", "Tenants that Loki refuses and whose lines wait"),
            tenant_held: plain(into, "shipper_tenant_held", "1 while Loki refuses this tenant"),
            tenant_bytes: plain(
                into,
                "shipper_tenant_bytes",
                "Bytes of this tenant that are read and not settled",
            ),
            tenants_not_allowed: plain(
                into,
                "shipper_tenants_not_allowed",
                "Containers whose label names a tenant that is not allowed",
            ),
            push_waiting_turn: plain(
                into,
                "shipper_push_waiting_turn",
                "Batches that wait until another push is answered",
            ),
            window_max_age_seconds: plain(
                into,
                "shipper_window_max_age_seconds",
                "How old a line may be, as configured or as Loki has shown",
            ),
            window_max_future_seconds: plain(
                into,
                "shipper_window_max_future_seconds",
                "How far ahead a line may be, as configured or as Loki has shown",
            ),
            loki_clock_ahead_seconds: plain(
                into,
                "shipper_loki_clock_ahead_seconds",
                "How far Loki's clock is ahead of ours, where it has refused lines for that",
            ),
            window_max_behind_seconds: plain(
                into,
                "shipper_window_max_behind_seconds",
                "How far behind its stream a line may be, as configured",
            ),
            window_floors: plain(
                into,
                "shipper_window_floors",
                "Streams of which Loki has refused lines as too far behind",
            ),
            window_streams: plain(into, "shipper_window_streams", "Streams whose newest line is remembered"),
            window_probes: plain(
                into,
                "shipper_window_probes",
                "Lines sent although lines like them were refused",
            ),
            streams: plain(into, "shipper_streams", "Sets of labels that containers write to"),
            streams_capacity: plain(into, "shipper_streams_capacity", "How many there may be"),
            streams_over_capacity: plain(
                into,
                "shipper_streams_over_capacity",
                "Times an output of a container had to join a stream of others",
            ),
            containers_excluded: plain(
                into,
                "shipper_containers_excluded",
                "Times a container was left out for its labels",
            ),
            queue_lines: plain(into, "shipper_queue_lines", "Lines between sources and pipeline"),
            queue_lines_capacity: plain(into, "shipper_queue_lines_capacity", "Bound of that queue"),
            in_flight_bytes: plain(into, "shipper_in_flight_bytes", "Bytes read and not settled"),
            container_bytes_limit: plain(
                into,
                "shipper_container_bytes_limit",
                "Bytes of one container that may be read and not settled",
            ),
            credit_waiting: plain(
                into,
                "shipper_containers_without_credit",
                "Containers not read until some of their lines are settled",
            ),
            credit_waits: plain(into, "shipper_credit_waits", "Times a container had to wait for that"),
            config_reloads: closed(
                into,
                Reload::ALL,
                "shipper_config_reloads",
                "Times the config was to be read again",
            ),
            containers: plain(into, "shipper_containers", "Containers that are followed"),
            containers_unreadable: plain(
                into,
                "shipper_containers_unreadable",
                "Containers whose logs can't be read, for their logging driver",
            ),
            docker_connected: plain(into, "shipper_docker_connected", "1 while Docker's events are heard"),
            docker_requests: closed(
                into,
                Endpoint::ALL,
                "shipper_docker_requests",
                "Requests to the Docker Engine",
            ),
            docker_connections_in_use: plain(
                into,
                "shipper_docker_connections_in_use",
                "Log connections in use",
            ),
            docker_connections_max: plain(into, "shipper_docker_connections_max", "Bound of the pool"),
            metadata_cache_entries: plain(into, "shipper_metadata_cache_entries", "Containers in the cache"),
            metadata_cache_capacity: plain(into, "shipper_metadata_cache_capacity", "Bound of the cache"),
            metadata_cache_hits: plain(into, "shipper_metadata_cache_hits", "Look-ups answered by the cache"),
            metadata_cache_misses: plain(into, "shipper_metadata_cache_misses", "Look-ups that asked Docker"),
            metadata_cache_evictions: plain(into, "shipper_metadata_cache_evictions", "Entries evicted"),
            open_files: plain(into, "shipper_open_files", "Log files held open"),
            inotify_watches: plain(into, "shipper_inotify_watches", "Directories watched"),
            inotify_overflows: plain(into, "shipper_inotify_overflows", "Times the kernel dropped events"),
            inotify_failures: plain(into, "shipper_inotify_failures", "Directories polled, not watched"),
            polled_containers: plain(into, "shipper_polled_containers", "Logs that are polled, not watched"),
            lines_truncated: plain(into, "shipper_lines_truncated", "Lines longer than the cap, cut"),
            file_truncations: plain(into, "shipper_file_truncations", "Log files emptied in place"),
            archives_broken: plain(into, "shipper_archives_broken", "Compressed logs that are damaged"),
            deleted_bytes_held: plain(
                into,
                "shipper_deleted_bytes_held",
                "Bytes of deleted log files that are still being read",
            ),
            deleted_bytes_given_up: plain(
                into,
                "shipper_deleted_bytes_given_up",
                "Bytes of deleted log files that were held too long, unread",
            ),
            log_streams_broken: plain(
                into,
                "shipper_log_streams_broken",
                "Log streams that ended while their container ran",
            ),
            resume_lost: plain(into, "shipper_resume_lost", "Checkpoints whose place is gone"),
            checkpoint_entries: plain(into, "shipper_checkpoint_entries", "Containers in the checkpoint"),
            checkpoint_failures: plain(
                into,
                "shipper_checkpoint_failures",
                "Checkpoints that were not written",
            ),
            checkpoint_failing: plain(into, "shipper_checkpoint_failing", "1 while positions can't be saved"),
            checkpoint_age: CheckpointAge::register(into),
            registry,
        };
        Arc::new(metrics)
    }

    /// Counts a task of this kind for as long as the guard lives: bind it first in the task's body.
    #[must_use]
    pub fn task(&self, kind: TaskKind) -> TaskGuard {
        TaskGuard::new(self.tasks_alive.get_or_create_owned(&kind))
    }

    /// The page for `/metrics`, in Prometheus' text format. The conservation law holds on it.
    ///
    /// # Errors
    /// Never in practice: writing to a string does not fail.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut page = String::with_capacity(16 * 1024);
        let _still = self.lines.still();
        prometheus_client::encoding::prometheus_text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use labels::{DropReason, SkipReason};

    /// The names that others rely on.
    const NAMES: [&str; 18] = [
        "shipper_window_streams 0\n",
        "shipper_tasks_alive{kind=\"pipeline\"} 0\n",
        "shipper_lines_read_total 0\n",
        "shipper_lines_delivered_total 0\n",
        "shipper_lines_dropped_total{reason=\"too_new\"} 0\n",
        "shipper_lines_skipped_total{reason=\"too_old\"} 0\n",
        "shipper_lines_in_flight 0\n",
        "shipper_timestamps_clamped_total{direction=\"up\"} 0\n",
        "shipper_retry_queue_items 0\n",
        "shipper_retry_queue_capacity 0\n",
        "shipper_dead_letters_total 0\n",
        "shipper_push_total{status=\"204\"} 0\n",
        "shipper_push_duration_seconds_count 0\n",
        "shipper_docker_requests_total{endpoint=\"logs\"} 0\n",
        "shipper_metadata_cache_hits_total 0\n",
        "shipper_open_files 0\n",
        "shipper_inotify_watches 0\n",
        "shipper_checkpoint_age_seconds 0",
    ];

    #[test]
    fn every_promised_name_is_on_the_page_from_the_start() {
        let page = Metrics::new().render().unwrap();
        for name in NAMES {
            assert!(page.contains(name), "{name:?} is missing in\n{page}");
        }
    }

    #[tokio::test]
    async fn the_runtime_counts_its_tasks_and_a_guard_counts_ours() {
        let metrics = Metrics::new();
        let mut tasks = tokio::task::JoinSet::new();
        let guard = metrics.task(TaskKind::Reader);
        tasks.spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        });
        let page = metrics.render().unwrap();
        assert!(page.contains("tokio_alive_tasks 1\n"), "{page}");
        assert!(page.contains("shipper_tasks_alive{kind=\"reader\"} 1\n"), "{page}");
        tasks.shutdown().await;
        assert!(metrics.render().unwrap().contains("shipper_tasks_alive{kind=\"reader\"} 0\n"));
    }

    #[test]
    fn what_is_read_is_settled_or_in_flight() {
        let metrics = Metrics::new();
        metrics.lines.read(10);
        metrics.lines.delivered(3);
        metrics.lines.skipped(SkipReason::TooOld, 1);
        metrics.lines.dropped(DropReason::TooNew, 2);
        metrics.lines.dead_lettered(1);
        assert_eq!(metrics.lines.in_flight(), 3);
        assert_eq!(metrics.lines.balance(), 0);
    }

    #[test]
    fn the_law_holds_on_each_page_whatever_goes_on_meanwhile() {
        let metrics = Metrics::new();
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    metrics.lines.read(3);
                    metrics.lines.delivered(1);
                    metrics.lines.skipped(SkipReason::TooOld, 1);
                    metrics.lines.dead_lettered(1);
                }
            });
            let pages: Vec<String> = (0..2000).map(|_| metrics.render().unwrap()).collect();
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            for page in pages {
                let of = |name: &str| -> i64 {
                    let line = page.lines().find(|line| line.starts_with(name)).unwrap();
                    line.rsplit(' ').next().unwrap().parse().unwrap()
                };
                let settled = of("shipper_lines_delivered_total")
                    + of("shipper_lines_skipped_total{reason=\"too_old\"}")
                    + of("shipper_lines_dead_lettered_total");
                assert_eq!(of("shipper_lines_read_total"), settled + of("shipper_lines_in_flight"));
            }
        });
    }
}
