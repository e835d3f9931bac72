//! What containers do in their lives, seen through the whole program: they get other names, have
//! terminals, live for a moment, and die again and again.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::docker_log;
use crate::support::engine::{Made, unique};
use crate::support::program::until;
use crate::support::stage::Stage;

const BOTH: [&str; 2] = ["hybrid", "pool"];

/// The name under which a line is stored.
fn stored_as(stage: &Stage, line: &str, names: [&str; 2]) -> usize {
    let key = stage.sink.book(|book| book.lines[line].key.clone());
    let found = names.iter().position(|name| key.contains(&format!("\"container\":\"{name}\"")));
    found.unwrap_or_else(|| panic!("neither of {names:?}: {key}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_is_renamed_while_it_logs_loses_nothing_and_its_lines_bear_the_new_name() {
    for design in BOTH {
        let stage = Stage::new().await;
        let program = stage.start(design, &[]).await;
        let mut writer = stage.writer("a").await;
        writer.write(20).await;
        stage.settled(&program, &stage.written([&writer])).await;
        assert!(writer.order(1000));
        let (old, new) = (writer.running.name.clone(), unique());
        stage.engine.rename(&writer.running, &new).await;
        program.until("/debug/targets", |page| page.contains(&new) && !page.contains(&old)).await;
        writer.idle().await;
        let before = stage.written([&writer]);
        stage.settled(&program, &before).await;
        writer.write(20).await;
        let all = stage.written([&writer]);
        stage.settled(&program, &all).await;
        assert_eq!((stage.repeated(), stage.dead().len()), (0, 0));
        for (number, line) in all.iter().enumerate() {
            let name = stored_as(&stage, line, [&old, &new]);
            assert!(number >= 40 || name == 0, "{design}: {line}");
            assert!(number < before.len() || name == 1, "{design} has missed the new name: {line}");
        }
        assert_eq!(program.terminate().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lines_of_a_terminal_arrive_whole_and_without_its_line_ends() {
    // Longer than the 16 KiB at which Docker cuts.
    let script = "a=x; while [ ${#a} -lt 20000 ]; do a=$a$a; done; echo $a; \
                  i=0; while [ $i -lt 50 ]; do echo line $i; echo error $i >&2; i=$((i+1)); done";
    let mut lines: Vec<String> = (0..50).flat_map(|i| [format!("line {i}"), format!("error {i}")]).collect();
    lines.push("x".repeat(32_768));
    for design in BOTH {
        let stage = Stage::new().await;
        let program = stage.start(design, &[]).await;
        let container = stage.engine.create(script, &[], true).await;
        stage.engine.start(&container).await;
        stage.settled(&program, &lines).await;
        assert_eq!((stage.repeated(), stage.dead().len()), (0, 0));
        assert_eq!(program.terminate().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_that_live_for_200_ms_are_not_missed() {
    for design in BOTH {
        let stage = Stage::new().await;
        let program = stage.start(design, &[]).await;
        let (mut containers, mut lines) = (Vec::new(), Vec::new());
        for number in 0..10 {
            let script = format!("echo {number} first; sleep 0.2; echo {number} last");
            containers.push(stage.engine.run(&script).await);
            lines.extend(["first", "last"].map(|which| format!("{number} {which}")));
        }
        stage.settled(&program, &lines).await;
        assert_eq!((stage.repeated(), stage.dead().len()), (0, 0));
        assert_eq!(program.terminate().await, 0);
    }
}

/// The first file in `folder` of the form `life<n>` that is not there yet gives a life its number.
const CRASHES: &str = "cd /lives; n=1; while [ -e life$n ]; do n=$((n+1)); done; echo > life$n; \
                       i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo life $n line $i; done; exit 1";
const LIVES: usize = 6;

fn lives(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_lives_of_a_container_that_crashes_again_and_again_arrive() {
    for design in BOTH {
        let stage = Stage::new().await;
        let program = stage.start(design, &[]).await;
        let folder = tempfile::tempdir().unwrap();
        let made =
            Made { folder: Some((folder.path().to_owned(), "/lives")), restarts: true, ..Made::default() };
        let container = stage.engine.make(CRASHES, made).await;
        stage.engine.start(&container).await;
        until("it has lived several times", || lives(folder.path()) >= LIVES).await;
        stage.engine.stop(&container).await;
        let kept = docker_log::kept(Path::new(docker_log::ROOT), &container.id);
        let seen: BTreeSet<&str> = kept.iter().filter_map(|line| line.split(' ').nth(1)).collect();
        assert!(seen.len() >= LIVES - 1, "Docker has kept too little: {kept:?}");
        stage.settled(&program, &kept).await;
        assert_eq!((stage.repeated(), stage.dead().len()), (0, 0));
        assert_eq!(program.terminate().await, 0);
    }
}
