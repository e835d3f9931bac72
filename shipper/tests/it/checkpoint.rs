//! `shipper checkpoint show`: what it says, and that it changes nothing.

use shipper::delivery::checkpoint::{Checkpoint, Store};
use shipper::record::Position;

use crate::support::burial::{State, names};
use crate::support::rig::{NOW, container};

const SHOW: [&str; 2] = ["checkpoint", "show"];

#[tokio::test]
async fn a_checkpoint_is_shown_for_people_and_for_programs() {
    let state = State::new("http://127.0.0.1:9");
    let mut checkpoint = Checkpoint::new(NOW);
    checkpoint.containers.insert(container().id.clone(), Position::Api { time_ns: NOW, seen: 2 });
    Store::open(&state.path()).await.unwrap().save(&checkpoint).await.unwrap();
    let (code, out, _) = state.run(&SHOW).await;
    assert_eq!(code, 0);
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].ends_with("checkpoint.json: version 1"), "{out}");
    assert!(lines[1].starts_with("saved      2") && lines[1].ends_with(" ago)"), "{out}");
    assert!(lines[2].starts_with("first run  2027-01-15T08:00:00.000Z ("), "{out}");
    assert_eq!(lines[3], "containers 1");
    assert!(lines[4].starts_with("  dddddddddddd  line 2 of 2027-01-15T08:00:00.000Z ("), "{out}");
    let (code, out, _) = state.run(&["checkpoint", "show", "--json"]).await;
    assert_eq!(code, 0);
    let shown: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&shown["version"], &shown["since_ns"]), (&1.into(), &NOW.into()));
    assert_eq!(shown["containers"][container().id.as_str()]["api"]["seen"], 2);
    assert!(shown["age_seconds"].is_i64());
}

#[tokio::test]
async fn one_that_is_missing_damaged_or_newer_is_told_and_left_as_it_is() {
    let state = State::new("http://127.0.0.1:9");
    let (code, _, error) = state.run(&SHOW).await;
    assert_eq!((code, error.contains("there is no checkpoint at")), (4, true), "{error}");
    assert!(!state.path().exists(), "it makes nothing");
    std::fs::create_dir(state.path()).unwrap();
    let path = state.path().join("checkpoint.json");
    for (text, words) in [
        ("\0\0\0", "it is damaged"),
        (r#"{"version":9,"containers":"unknown"}"#, "it has version 9, and this shipper reads version 1"),
    ] {
        std::fs::write(&path, text).unwrap();
        for json in [&[][..], &["--json"]] {
            let (code, out, error) = state.run(&[&SHOW[..], json].concat()).await;
            assert_eq!((code, out.as_str(), error.contains(words)), (4, "", true), "{error}");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        assert_eq!(names(&state.path()), ["checkpoint.json"]);
    }
}
