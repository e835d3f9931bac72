//! The signature of each of the five defects with its switch on, and its absence with the switch off: real
//! files and a Loki and a Docker Engine that answer on sockets.

mod places;
mod servers;
mod world;

use std::time::Duration;

use shipper::docker::known::Born;

use crate::config::Defects;
use world::World;

const NONE: Defects = Defects {
    replay_history: false,
    unbounded_retry: false,
    no_timestamp_check: false,
    leak_handles: false,
    no_metadata_cache: false,
    commit_on_read: false,
    path_keyed_offset: false,
    mixed_streams: false,
};
/// Old enough for any window, and before any cut-off of these tests.
const OLD_NS: i64 = 1_000_000_000_000_000_000;

#[tokio::test]
async fn replay_history_reads_the_whole_file_at_each_start() {
    let mut world = World::start(Defects { replay_history: true, ..NONE }).await;
    let now = world.now_ns();
    world.write(1, &["a", "b"], now);
    world.started(1, Born::BeforeUs).await;
    world.delivered(&["a", "b"]).await;
    world.write(1, &["c"], now);
    world.delivered(&["a", "b", "c"]).await;
    world.stopped(1).await;
    world.started(1, Born::BeforeUs).await;
    world.delivered(&["a", "b", "c", "a", "b", "c"]).await;
}

#[tokio::test]
async fn without_replay_history_is_passed_over_and_a_restart_goes_on() {
    let mut world = World::start(NONE).await;
    let now = world.now_ns();
    world.write(1, &["old"], now);
    world.started(1, Born::BeforeUs).await;
    world.until("the log is open", |world| world.open_files() == 1).await;
    world.write(1, &["a", "b"], now);
    world.delivered(&["a", "b"]).await;
    world.stopped(1).await;
    world.until("the log is closed", |world| world.open_files() == 0).await;
    world.write(1, &["c"], now);
    world.started(1, Born::BeforeUs).await;
    world.delivered(&["a", "b", "c"]).await;
    world.write(2, &["first of a new container"], now);
    world.started(2, Born::AfterUs).await;
    world.delivered(&["a", "b", "c", "first of a new container"]).await;
}

#[tokio::test]
async fn unbounded_retry_makes_one_task_of_each_refused_batch_and_they_stay() {
    let mut world = World::start(Defects { unbounded_retry: true, no_timestamp_check: true, ..NONE }).await;
    world.started(1, Born::AfterUs).await;
    for refused in [60, 120] {
        for _ in 0..60 {
            world.write(1, &["too old"], OLD_NS);
        }
        world.until("each refused batch is a task", |world| world.retry_tasks() == refused).await;
    }
    world.until("they try again", |world| world.loki.answers(400) > 150).await;
    assert_eq!((world.retry_tasks(), world.metrics.retry_queue_items.get()), (120, 120));
    assert_eq!(world.metrics.lines.in_flight(), 120);
    world.write(1, &["new"], world.now_ns());
    world.delivered(&["new"]).await;
    assert_eq!(world.retry_tasks(), 120);
    // Only because it never accepts: once it does, the tasks end.
    world.loki.cut_off(i64::MIN);
    world.until("all are delivered", |world| world.retry_tasks() == 0).await;
    assert_eq!(world.metrics.lines.in_flight(), 0);
}

#[tokio::test]
async fn unbounded_retry_costs_no_descriptors() {
    let mut world = World::start(Defects { unbounded_retry: true, no_timestamp_check: true, ..NONE }).await;
    world.started(1, Born::AfterUs).await;
    for _ in 0..300 {
        world.write(1, &["too old"], OLD_NS);
    }
    world.until("they try again", |world| world.loki.answers(400) >= 600).await;
    assert_eq!(world.retry_tasks(), 300);
    // Four at a time; the client may open a few more while it waits for one of them to be free.
    let most = world.loki.connections_most();
    assert!(most <= 8, "{most} connections for 300 tasks");
}

#[tokio::test]
async fn without_unbounded_retry_what_is_refused_for_good_is_dropped_and_counted() {
    let mut world = World::start(Defects { no_timestamp_check: true, ..NONE }).await;
    world.started(1, Born::AfterUs).await;
    for _ in 0..60 {
        world.write(1, &["too old"], OLD_NS);
    }
    world.until("all are refused", |world| world.loki.answers(400) == 60).await;
    world
        .until("all are counted", |world| {
            world.counts("shipper_lines_dropped_total{reason=\"refused\"}") == 60
        })
        .await;
    assert_eq!((world.retry_tasks(), world.metrics.retry_queue_items.get()), (0, 0));
    assert_eq!(world.metrics.lines.in_flight(), 0);
}

#[tokio::test]
async fn without_unbounded_retry_an_outage_fills_fifty_places_and_drops_the_oldest() {
    let mut world = World::start(NONE).await;
    world.no_window();
    world.loki.down(true);
    world.started(1, Born::AfterUs).await;
    let lines: Vec<String> = (0..60).map(|number| number.to_string()).collect();
    for line in &lines {
        world.write(1, &[line], world.now_ns());
    }
    let dropped = "shipper_lines_dropped_total{reason=\"retry_queue_full\"}";
    world.until("ten are dropped", |world| world.counts(dropped) == 10).await;
    assert_eq!((world.retry_tasks(), world.metrics.retry_queue_items.get()), (0, 50));
    world.loki.down(false);
    let kept: Vec<&str> = lines.iter().skip(10).map(String::as_str).collect();
    world.delivered(&kept).await;
    world.until("the queue is empty", |world| world.metrics.retry_queue_items.get() == 0).await;
}

#[tokio::test]
async fn the_timestamp_check_keeps_old_lines_from_being_sent() {
    for (checked, answers, skipped) in [(true, 0, 1), (false, 1, 0)] {
        let mut world = World::start(Defects { no_timestamp_check: !checked, ..NONE }).await;
        world.write(1, &["too old"], OLD_NS);
        world.write(1, &["new"], world.now_ns());
        world.started(1, Born::AfterUs).await;
        world.delivered(&["new"]).await;
        world.until("each line is settled", |world| world.metrics.lines.in_flight() == 0).await;
        assert_eq!(world.loki.answers(400), answers, "checked: {checked}");
        assert_eq!(world.counts("shipper_lines_skipped_total{reason=\"too_old\"}"), skipped);
    }
}

#[tokio::test]
async fn leak_handles_keeps_a_file_and_a_watch_for_each_rotation() {
    for (leak, left) in [(true, 7), (false, 1)] {
        let mut world = World::start(Defects { leak_handles: leak, ..NONE }).await;
        world.started(1, Born::AfterUs).await;
        let mut lines = Vec::new();
        for number in 0..7_u8 {
            // Six rotations, the older half as with max-file=1, which unlinks.
            if number > 3 {
                world.rotate(1)
            } else if number > 0 {
                world.unlink(1)
            }
            let line = number.to_string();
            world.write(1, &[&line], world.now_ns());
            lines.push(line);
            let expected: Vec<&str> = lines.iter().map(String::as_str).collect();
            world.delivered(&expected).await;
        }
        world.until("what is to be closed is closed", |world| world.descriptors() == left).await;
        assert_eq!(world.open_files(), left);
        assert_eq!(world.watches(), left, "leak: {leak}");
    }
}

#[tokio::test]
async fn leak_handles_keeps_a_file_for_each_restart_and_all_of_what_is_removed() {
    for (leak, kept) in [(true, 4), (false, 0)] {
        let mut world = World::start(Defects { leak_handles: leak, ..NONE }).await;
        world.started(1, Born::AfterUs).await;
        world.write(1, &["0"], world.now_ns());
        world.delivered(&["0"]).await;
        for restart in 1..=3 {
            world.stopped(1).await;
            world.started(1, Born::AfterUs).await;
            let open = if leak { 1 + restart } else { 1 };
            world.until("the log is open again", |world| world.descriptors() == open).await;
        }
        assert_eq!((world.watches(), world.docker.connections()), (1, 1), "one inode, one monitor");
        world.stopped(1).await;
        world.remove(1).await;
        world.until("what is given back is given back", |world| world.descriptors() == kept).await;
        let rest = usize::from(leak);
        world.until("so is the connection", |world| world.docker.connections() == rest).await;
        assert_eq!(world.watches(), rest, "leak: {leak}");
    }
}

#[tokio::test]
async fn leak_handles_costs_no_tasks() {
    let mut world = World::start(Defects { leak_handles: true, ..NONE }).await;
    let mut after_first = 0;
    for number in 1..=5 {
        world.started(number, Born::AfterUs).await;
        let line = number.to_string();
        world.write(number, &[&line], world.now_ns());
        world.until("its line is there", |world| world.loki.lines().len() == usize::from(number)).await;
        if number == 1 {
            // The client for Loki has made its task that closes idle connections.
            after_first = world.tasks_alive();
        }
        world.remove(number).await;
    }
    world.until("five connections are kept", |world| world.docker.connections() == 5).await;
    assert_eq!(world.open_files(), 5);
    world.until("there are no more tasks", |world| world.tasks_alive() == after_first).await;
}

#[tokio::test]
async fn no_metadata_cache_asks_docker_for_each_batch() {
    for (cached, asked) in [(false, 20), (true, 1)] {
        let mut world = World::start(Defects { no_metadata_cache: !cached, ..NONE }).await;
        world.started(1, Born::AfterUs).await;
        let lines: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        for line in &lines {
            world.write(1, &[line], world.now_ns());
        }
        world.delivered(&lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
        assert_eq!(world.docker.inspections(), asked, "cached: {cached}");
        assert_eq!(world.counts("shipper_docker_requests_total{endpoint=\"inspect\"}"), asked);
        assert_eq!(world.docker.connections(), 1, "one connection serves all");
    }
}

#[tokio::test]
async fn a_long_line_in_fragments_is_one_line_and_a_torn_entry_is_counted() {
    let mut world = World::start(NONE).await;
    let now = world.now_ns();
    world.raw(1, &format!("{}torn\n", world::entry("first half, ", now).replace("\\n", "")));
    world.raw(1, &world::entry("second half", now));
    world.started(1, Born::AfterUs).await;
    world.delivered(&["first half, second half"]).await;
    assert_eq!(world.counts("shipper_lines_skipped_total{reason=\"corrupt\"}"), 1);
}

#[tokio::test]
async fn a_docker_that_does_not_answer_costs_names_and_no_lines() {
    let mut world = World::start(Defects::default()).await;
    world.docker.down();
    world.started(1, Born::AfterUs).await;
    world.write(1, &["line"], world.now_ns());
    world.delivered(&["line"]).await;
}

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);
