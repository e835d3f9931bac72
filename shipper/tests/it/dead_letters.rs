//! `shipper dead-letters` on real folders, against a Loki that answers as scripted.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use shipper::loki::encode::Encoding;
use wiremock::ResponseTemplate;

use crate::support::burial::{REFUSED, State, group};
use crate::support::loki::{Loki, Scripted, refuse};
use crate::support::rig::NOW;

const HOUR: i64 = 3_600_000_000_000;
const REPLAY: [&str; 2] = ["dead-letters", "replay"];

fn streams(body: &[u8]) -> Vec<(String, Vec<String>)> {
    let push: Value = serde_json::from_slice(body).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let stream = |stream: &Value| {
        let lines = stream["values"].as_array().unwrap().iter().map(|value| text(&value[1])).collect();
        (text(&stream["stream"]["container"]), lines)
    };
    push["streams"].as_array().unwrap().iter().map(stream).collect()
}

#[tokio::test]
async fn a_replay_sends_stream_by_stream_the_oldest_first_and_leaves_nothing() {
    let loki = Loki::start([]).await;
    let state = State::new(&loki.url());
    // Buried in another order than they were written: Loki would refuse what is an hour behind.
    state.bury(vec![group("web", &[(NOW, "c")]), group("db", &[(NOW, "z")])]).await;
    state
        .bury(vec![group("web", &[(NOW - 3 * HOUR, "a"), (NOW - 2 * HOUR, "b")]), group("db", &[(0, "y")])])
        .await;
    let (code, out, error) = state.run(&REPLAY).await;
    assert_eq!((code, out.as_str(), error.as_str()), (0, "5 of 5 lines delivered\n", ""));
    let mut pushes: Vec<_> = loki.bodies().iter().flat_map(|body| streams(body)).collect();
    assert_eq!(loki.bodies().len(), 2, "one stream a push");
    pushes.sort();
    let lines = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(pushes, [("db".to_owned(), lines(&["y", "z"])), ("web".to_owned(), lines(&["a", "b", "c"]))]);
    assert_eq!(state.files(), Vec::<String>::new());
    assert_eq!(state.run(&REPLAY).await, (0, "0 of 0 lines delivered\n".to_owned(), String::new()));
}

#[tokio::test]
async fn a_replayed_push_has_the_bytes_of_the_first_attempt() {
    let loki = Loki::start([]).await;
    let state = State::new(&loki.url());
    let mut lines = group("web", &[(NOW, "a"), (NOW + 1, "b\n\"")]);
    lines.entries[1].clamped_from_ns = Some(NOW + HOUR);
    let first = Encoding::Json.encode(std::slice::from_ref(&lines)).unwrap();
    state.bury(vec![lines]).await;
    assert_eq!(state.run(&REPLAY).await.0, 0);
    assert_eq!(loki.bodies(), [first]);
}

#[tokio::test]
async fn what_is_refused_again_stays_with_the_new_words_and_is_tried_once() {
    let words =
        "max entry size '3' bytes exceeded for stream '{}' while adding an entry with length '4' bytes\n";
    let answer = ResponseTemplate::new(400).set_body_string(words);
    let loki = Loki::start([Scripted { answer, stores: |line| line.len() <= 3 }]).await;
    let state = State::new(&loki.url());
    state.bury(vec![group("web", &[(NOW, "a"), (NOW + 1, "long"), (NOW + 2, "b")])]).await;
    let (code, out, _) = state.run(&REPLAY).await;
    assert_eq!(
        (code, out.starts_with("2 of 3 lines delivered\n1 lines were refused again")),
        (1, true),
        "{out}"
    );
    assert_eq!((loki.stored(), loki.bodies().len()), (vec!["a".to_owned(), "b".to_owned()], 1));
    let left = state.list().await;
    let letter = &left["lines"][0];
    assert_eq!((&left["letters"], &letter["line"]), (&Value::from(1), &Value::from("long")));
    assert_eq!((&letter["status"], &letter["answer"]), (&Value::from(400), &Value::from(words.trim())));
    assert_eq!(letter["attempts"], 1);
    assert_eq!(state.files(), ["0000000001.jsonl"]);
    // Once Loki takes longer lines, it goes too.
    assert_eq!(state.run(&REPLAY).await.0, 0);
    assert_eq!(state.files(), Vec::<String>::new());
}

#[tokio::test]
async fn only_the_reason_that_is_asked_for_is_sent_and_the_rest_keeps_its_bytes() {
    let loki = Loki::start([]).await;
    let state = State::new(&loki.url());
    let mut letters = state.open().await;
    for (text, reason) in [("a", "too_old"), ("b", "refused"), ("c", "too_old")] {
        letters.put(
            group("web", &[(NOW, text)]),
            None,
            shipper::delivery::dead_letters::Reason { reason, ..REFUSED },
        );
    }
    letters.flush().await;
    drop(letters);
    let segment = state.letters().join("0000000001.jsonl");
    let kept = std::fs::read_to_string(&segment).unwrap().lines().nth(1).unwrap().to_owned() + "\n";
    let words = [&REPLAY[..], &["--reason", "too_old"]].concat();
    assert_eq!(state.run(&[&words[..], &["--dry-run"]].concat()).await.1, "2 lines would be sent\n");
    assert_eq!(loki.bodies().len(), 0);
    assert_eq!(state.run(&words).await.0, 0);
    assert_eq!(loki.stored(), ["a", "c"]);
    assert_eq!(std::fs::read_to_string(&segment).unwrap(), kept);
}

#[tokio::test]
async fn a_push_that_is_too_large_is_halved_and_a_busy_loki_is_asked_again() {
    let loki = Loki::start([refuse(413, ""), refuse(429, ""), refuse(503, ""), refuse(413, "")]).await;
    let state = State::new(&loki.url());
    let lines = ["a", "b", "c", "d"].map(|text| (NOW, text));
    state.bury(vec![group("web", &lines)]).await;
    assert_eq!(state.run(&REPLAY).await.1, "4 of 4 lines delivered\n");
    assert_eq!(loki.stored(), ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn a_stream_too_many_stays_and_the_replay_goes_on() {
    let words =
        "maximum active stream limit exceeded when trying to create stream {container=\"web\"}, reduce";
    let loki = Loki::start((0..5).map(|_| refuse(429, words))).await;
    let state = State::new(&loki.url());
    state.bury(vec![group("web", &[(NOW, "a")]), group("db", &[(NOW, "b")])]).await;
    assert_eq!(state.run(&REPLAY).await.0, 1);
    assert_eq!((loki.stored().len(), loki.bodies().len()), (1, 6));
    assert_eq!(state.list().await["lines"][0]["reason"], "stream_limit");
}

#[tokio::test]
async fn a_loki_that_is_away_or_refuses_us_costs_nothing() {
    for (status, words) in [(503, "Loki takes nothing (503: )"), (401, "Loki refuses us (401: )")] {
        let loki = Loki::start((0..100).map(|_| refuse(status, ""))).await;
        let state = State::new(&loki.url());
        state.bury(vec![group("web", &[(NOW, "a")])]).await;
        let (code, _, error) = state.run(&REPLAY).await;
        assert_eq!((code, error.contains(words)), (4, true), "{error}");
        assert!(loki.bodies().len() < 10, "it gives up");
        assert_eq!(state.list().await["letters"], 1);
        assert_eq!(state.files(), ["0000000001.jsonl"]);
    }
}

#[tokio::test]
async fn damage_ends_nothing_and_stays() {
    let loki = Loki::start([]).await;
    let state = State::new(&loki.url());
    state.bury(vec![group("web", &[(NOW, "a")])]).await;
    let segment = state.letters().join("0000000001.jsonl");
    let good = std::fs::read(&segment).unwrap();
    let damage = b"\0\0\xff\n{\"v\":2}\n".to_vec();
    std::fs::write(&segment, [&damage[..], &good, b"{\"v\":1,\"time_"].concat()).unwrap();
    let found = state.list().await;
    let counts =
        ["letters", "torn", "other_versions", "unreadable"].map(|name| found[name].as_u64().unwrap());
    assert_eq!(counts, [1, 1, 1, 1]);
    let (code, out, _) = state.run(&REPLAY).await;
    assert_eq!((code, loki.stored()), (1, vec!["a".to_owned()]));
    assert!(out.contains("2 lines can't be read and stay"), "{out}");
    assert_eq!(std::fs::read(&segment).unwrap(), damage);
}

#[tokio::test]
async fn a_shipper_that_runs_keeps_its_segment_and_sees_what_is_gone() {
    let loki = Loki::start([]).await;
    let state = State::new(&loki.url());
    state.bury(vec![group("web", &[(NOW, "a")])]).await;
    let mut running = state.open().await;
    running.put(group("web", &[(NOW, "b")]), None, REFUSED);
    assert_eq!(running.flush().await.len(), 1);
    let (code, out, _) = state.run(&REPLAY).await;
    assert_eq!((code, loki.stored()), (0, vec!["a".to_owned()]));
    assert!(out.contains("1 segments are open in a shipper that runs"), "{out}");
    running.look_again().await;
    running.put(group("web", &[(NOW, "c")]), None, REFUSED);
    assert_eq!(running.flush().await.len(), 1);
    assert_eq!(state.list().await["segments_in_use"], 1);
    drop(running);
    assert_eq!(state.run(&REPLAY).await.0, 0);
    assert_eq!(loki.stored(), ["a", "b", "c"]);
}

#[tokio::test]
async fn two_replays_do_not_meet() {
    let slow = ResponseTemplate::new(204).set_delay(Duration::from_secs(2));
    let loki = Loki::start([Scripted { answer: slow, stores: |_| true }]).await;
    let state = State::new(&loki.url());
    state.bury(vec![group("web", &[(NOW, "a")])]).await;
    let mut first = state.command(&REPLAY).spawn().unwrap();
    until(|| !loki.bodies().is_empty()).await;
    let (code, _, error) = state.run(&REPLAY).await;
    assert_eq!((code, error.contains("another replay works in")), (4, true), "{error}");
    assert!(tokio::task::spawn_blocking(move || first.wait().unwrap()).await.unwrap().success());
    assert_eq!(loki.stored(), ["a"]);
}

async fn until(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap();
}

/// So many lines that they need a dozen pushes, in two streams and two segments.
async fn bury_many(state: &State) -> Vec<String> {
    let texts: Vec<String> = (0..120).map(|number| format!("line {number:03}")).collect();
    for part in texts.chunks(60) {
        let line = |(number, text): (i64, &'_ String)| (NOW + number, text.clone());
        let lines: Vec<_> = (0..).zip(part).map(line).collect();
        let lines: Vec<_> = lines.iter().map(|(time, text)| (*time, text.as_str())).collect();
        state.bury(vec![group("web", &lines[..40]), group("db", &lines[40..])]).await;
    }
    texts
}

#[tokio::test]
async fn a_replay_that_is_killed_time_and_again_repeats_at_most_the_push_under_way() {
    let slow = || Scripted {
        answer: ResponseTemplate::new(204).set_delay(Duration::from_millis(20)),
        stores: |_| true,
    };
    let loki = Loki::start((0..10_000).map(|_| slow())).await;
    let state = State::new(&loki.url());
    let texts = bury_many(&state).await;
    let mut kills = 0;
    loop {
        let before = loki.bodies().len();
        let mut child = state.command(&REPLAY).stdout(std::process::Stdio::null()).spawn().unwrap();
        // Killed while the second push of this run is under way, or just after it.
        let two = || loki.bodies().len() >= before + 2;
        let ended = loop {
            if let Some(ended) = child.try_wait().unwrap() {
                break Some(ended);
            }
            if two() {
                tokio::time::sleep(Duration::from_millis(kills * 3 % 30)).await;
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        match ended {
            Some(ended) => {
                assert!(ended.success());
                break;
            }
            None => kills += 1,
        }
        assert!(kills < 100, "it never ends");
    }
    assert!(kills > 3, "{kills}");
    let mut stored = loki.stored();
    let (all, pushes) = (stored.len(), loki.bodies().len() as u64);
    stored.sort();
    stored.dedup();
    assert_eq!(stored, texts, "nothing is lost");
    let largest = loki.bodies().iter().map(|body| streams(body)[0].1.len()).max().unwrap();
    assert!(
        all - texts.len() <= largest * usize::try_from(kills).unwrap(),
        "{all} stored by {pushes} pushes"
    );
    assert_eq!(state.files(), Vec::<String>::new());
}

#[tokio::test]
async fn ctrl_c_ends_a_replay_in_order_and_the_next_one_repeats_nothing() {
    let slow = || Scripted {
        answer: ResponseTemplate::new(204).set_delay(Duration::from_millis(50)),
        stores: |_| true,
    };
    let loki = Loki::start((0..10_000).map(|_| slow())).await;
    let state = State::new(&loki.url());
    let texts = bury_many(&state).await;
    let child = state.command(&REPLAY).stdout(std::process::Stdio::piped()).spawn().unwrap();
    until(|| loki.bodies().len() >= 2).await;
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && out.contains("run the replay again to go on"), "{out}");
    let sent = loki.stored().len();
    assert_eq!(state.list().await["letters"], texts.len() - sent);
    assert_eq!(state.run(&REPLAY).await.0, 0);
    let mut stored = loki.stored();
    stored.sort();
    assert_eq!(stored, texts);
}

#[tokio::test]
async fn the_list_says_what_there_is_for_people_too() {
    let state = State::new("http://127.0.0.1:9");
    assert_eq!(state.run(&["dead-letters", "list"]).await.0, 4, "no shipper has run there");
    assert!(!state.path().exists(), "it makes nothing");
    std::fs::create_dir(state.path()).unwrap();
    assert!(state.run(&["dead-letters", "list"]).await.1.ends_with("0 lines, 0 B in 0 segments\n"));
    state.bury(vec![group("web", &[(0, "a\u{1b}[2J"), (HOUR, "b")])]).await;
    let (code, out, _) = state.run(&["dead-letters", "list", "--lines", "1"]).await;
    assert_eq!(code, 0);
    let out = out.replace(&state.letters().display().to_string(), "FOLDER");
    insta::assert_snapshot!(out, @r#"
    1970-01-01T00:00:00.000Z refused {container="web", job="docker", stream="stdout"} a\u{1b}[2J
        Loki, after 0 attempts: 400 words

    FOLDER: 2 lines, 677 B in 1 segments
        LINES      BYTES  OLDEST                    NEWEST                    REASON AND STREAM
            2      677 B  1970-01-01T00:00:00.000Z  1970-01-01T01:00:00.000Z  refused {container="web", job="docker", stream="stdout"}
    "#);
}
