//! Many more containers than connections to Docker: all are served in turn.

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::time::{Instant, sleep};

use crate::support::between::Between;
use crate::support::engine::SOCKET;
use crate::support::numbered::{Numbered, last_pair};
use crate::support::program::{PATIENCE, until};
use crate::support::stage::Stage;

const CONTAINERS: usize = 200;
const CONNECTIONS: usize = 16;
/// Docker starts and removes no more at a time than it has use for.
const AT_A_TIME: usize = 8;
const ROUNDS: usize = 2;

/// Has all write at once; how long each waits until all of its lines have come.
async fn round(stage: &Stage, writers: &mut [Numbered]) -> Vec<Duration> {
    let began = Instant::now();
    let mut waiting = Vec::new();
    for writer in writers {
        writer.write(5).await;
        waiting.push(last_pair(writer));
    }
    let mut waited = Vec::new();
    while !waiting.is_empty() {
        assert!(began.elapsed() < 3 * PATIENCE, "{} of them are starved: {:?}", waiting.len(), waiting[0]);
        let before = waiting.len();
        waiting.retain(|lines| !lines.iter().all(|line| stage.sink.has(line)));
        waited.extend(std::iter::repeat_n(began.elapsed(), before - waiting.len()));
        sleep(Duration::from_millis(20)).await;
    }
    waited
}

/// How often Docker was asked for the log of each.
fn asked(between: &Between, writers: &[Numbered]) -> Vec<usize> {
    let path = |writer: &Numbered| format!("/containers/{}/logs", writer.id().as_str());
    writers.iter().map(|writer| between.count(&path(writer), "")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_containers_share_sixteen_connections_and_none_is_starved() {
    let stage = Stage::new().await;
    let between = Between::unix(stage.path("proxy.sock"), Path::new(SOCKET)).await;
    let docker = format!("docker: {{host: \"{}\", max_connections: {CONNECTIONS}}}", between.host());
    let program = stage.start("pool", &[&docker]).await;
    let names: Vec<String> = (0..CONTAINERS).map(|number| format!("writer-{number}")).collect();
    let starts = stream::iter(&names).map(|name| stage.writer(name));
    let mut writers: Vec<Numbered> = starts.buffer_unordered(AT_A_TIME).collect().await;
    let before = asked(&between, &writers);
    for number in 0..ROUNDS {
        let waited = round(&stage, &mut writers).await;
        let [middle, last] = [waited[CONTAINERS / 2], waited[CONTAINERS - 1]];
        println!(
            "round {number}: half of the containers waited {middle:.1?} or less, all {last:.1?} or less"
        );
    }
    stage.settled(&program, &stage.written(&writers)).await;
    assert_eq!((stage.repeated(), stage.dead().len()), (0, 0));
    let turns: Vec<usize> =
        asked(&between, &writers).iter().zip(before).map(|(now, before)| now - before).collect();
    let [least, most] = [turns.iter().min(), turns.iter().max()].map(|turns| *turns.unwrap());
    assert!(most <= least + 2, "some had many more turns than others: {turns:?}");
    let removals = stream::iter(writers).map(|writer| stage.engine.remove(writer.running));
    removals.buffer_unordered(AT_A_TIME).collect::<Vec<()>>().await;
    assert_eq!(program.terminate().await, 0);
}

/// Docker may remove it with its log at any moment; of those that run nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_stopped_is_read_before_those_that_run_and_wait() {
    const WAITING: usize = 20;
    let stage = Stage::new().await;
    let between = Between::unix(stage.path("proxy.sock"), Path::new(SOCKET)).await;
    let docker = format!("docker: {{host: \"{}\", max_connections: 1}}", between.host());
    let program = stage.start("pool", &[&docker]).await;
    let mut writers = Vec::new();
    for number in 0..WAITING {
        writers.push(stage.writer(&format!("writer-{number}")).await);
    }
    round(&stage, &mut writers).await;
    // Who has just had its turn stands behind all others.
    let next = async |before: &[usize]| {
        let more = || asked(&between, &writers).iter().zip(before).position(|(now, before)| now > before);
        until("another turn", || more().is_some()).await;
        more().unwrap()
    };
    let last = next(&asked(&between, &writers)).await;
    next(&asked(&between, &writers)).await;
    writers[last].write(5).await;
    let before = asked(&between, &writers);
    stage.engine.stop(&writers[last].running).await;
    let lines = last_pair(&writers[last]);
    until("its lines are there", || lines.iter().all(|line| stage.sink.has(line))).await;
    let meanwhile = asked(&between, &writers).iter().sum::<usize>() - before.iter().sum::<usize>();
    assert!(meanwhile < WAITING / 2, "{meanwhile} turns until it was read");
    for writer in writers {
        stage.engine.remove(writer.running).await;
    }
    assert_eq!(program.terminate().await, 0);
}
