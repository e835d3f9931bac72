//! Without the defects that lose lines: whatever happens to the files, while it runs and while it does not,
//! each line arrives.

use shipper::docker::known::Born;

use super::NONE;
use super::world::{World, fragment};

#[tokio::test]
async fn what_was_written_while_it_was_down_is_read_through_all_rotations_also_of_a_stopped_container() {
    for runs in [true, false] {
        let mut world = World::start_with_state(NONE).await;
        let now = world.now_ns();
        world.write(1, &["history"], now);
        world.started(1, Born::BeforeUs).await;
        world.saved(1).await;
        world.write(1, &["a"], now);
        world.delivered(&["a"]).await;
        world.saved(1).await;
        world.kill().await;
        world.write(1, &["b"], now);
        world.rotate(1);
        world.write(1, &["c", "d"], now);
        world.rotate(1);
        world.write(1, &["e"], now);
        world.ship_with_state(NONE).await;
        world.started(1, Born::BeforeUs).await;
        if !runs {
            world.stopped(1).await;
        }
        world.delivered(&["a", "b", "c", "d", "e"]).await;
        world.until("the last file only is open", |world| world.open_files() == usize::from(runs)).await;
    }
}

#[tokio::test]
async fn a_container_born_while_it_was_down_is_read_from_its_oldest_file() {
    let mut world = World::start_with_state(NONE).await;
    world.kill().await;
    let now = world.now_ns();
    world.write(1, &["a"], now);
    world.rotate(1);
    world.write(1, &["b"], now);
    world.ship_with_state(NONE).await;
    world.started(1, Born::AfterUs).await;
    world.delivered(&["a", "b"]).await;
}

#[tokio::test]
async fn several_rotations_between_two_looks_lose_and_repeat_nothing() {
    let mut world = World::start(NONE).await;
    let now = world.now_ns();
    world.started(1, Born::AfterUs).await;
    world.write(1, &["a"], now);
    world.delivered(&["a"]).await;
    // This test and the reader share one thread: it sees nothing until the next await.
    world.write(1, &["b"], now);
    world.rotate(1);
    world.write(1, &["c"], now);
    world.rotate(1);
    world.write(1, &["d"], now);
    world.delivered(&["a", "b", "c", "d"]).await;
}

#[tokio::test]
async fn a_long_line_is_one_line_over_a_rotation_also_when_it_was_killed_in_between() {
    for killed in [false, true] {
        let mut world = World::start_with_state(NONE).await;
        let now = world.now_ns();
        world.started(1, Born::AfterUs).await;
        world.write(1, &["a"], now);
        world.delivered(&["a"]).await;
        world.saved(1).await;
        world.raw(1, &fragment("first half, ", "stdout", now));
        world.raw(1, &fragment("b\\n", "stderr", now));
        world.delivered(&["a", "b"]).await;
        world.rotate(1);
        if killed {
            world.kill_and_start(NONE).await;
            world.started(1, Born::AfterUs).await;
        }
        world.raw(1, &fragment("second half\\n", "stdout", now));
        // Who begins anew does so where the line that was not whole began.
        let again = if killed { vec!["b"] } else { vec![] };
        let expected = [vec!["a", "b"], again, vec!["first half, second half"]].concat();
        world.delivered(&expected).await;
    }
}

#[tokio::test]
async fn of_history_the_lines_that_were_asked_for_are_read_through_all_rotations() {
    let mut world = World::start_with_state(NONE).await;
    world.kill().await;
    let now = world.now_ns();
    world.write(1, &["long ago"], now - 2);
    world.write(1, &["a"], now - 1);
    world.rotate(1);
    world.write(1, &["b"], now);
    world.since_ns = Some(now - 1);
    world.ship_with_state(NONE).await;
    world.started(1, Born::BeforeUs).await;
    world.delivered(&["a", "b"]).await;
    assert_eq!(world.counts("shipper_lines_skipped_total{reason=\"before_start\"}"), 1);
}
