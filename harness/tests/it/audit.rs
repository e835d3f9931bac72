//! The audit judged, on real containers: what is done to lines is what it finds.

use crate::support::{flatline, json, said, scenario};

/// Withheld, doubled, altered, put out of order: each by its count, and nothing else.
#[test]
fn what_is_done_to_lines_on_their_way_is_reported_exactly_so() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let run = flatline().args(["ab", &scenario("tampered.yaml"), "--out"]).arg(&out).output().unwrap();
    assert_eq!(run.status.code(), Some(1), "{}", said(&run));
    let (audits, verdicts) = (json(&out, "audit.json"), json(&out, "verdict.json"));
    for target in ["hybrid", "pool"] {
        let (found, done) = (&verdicts["targets"][target]["audit"], &audits["targets"][target]["tampered"]);
        for (figure, deed) in [
            ("lost", "withheld"),
            ("duplicated", "doubled"),
            ("altered", "altered"),
            ("out_of_order", "reordered"),
        ] {
            assert!(done[deed].as_u64().unwrap() > 20, "{target}: {done}");
            assert_eq!(found[figure], done[deed], "{target} {figure}: {found} {done}");
        }
        let count = |key: &str| found[key].as_u64().unwrap();
        let rest = ["lost", "altered", "delivered", "skipped"].map(count);
        assert_eq!(count("sent"), rest.iter().sum::<u64>(), "{target}: {found}");
        let reason = verdicts["targets"][target]["reason"].as_str().unwrap();
        assert!(reason.contains("it lost ") && reason.contains("it altered "), "{reason}");
        let named = audits["targets"][target]["unaccounted"].as_array().unwrap();
        assert!(!named.is_empty(), "each output of which lines are lost is named");
    }
}

/// Logs that are emptied in place while they are written to.
#[test]
fn hybrid_loses_no_line_of_logs_that_are_emptied_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/truncate.yaml");
    let run = flatline().args(["ab", file, "--out"]).arg(&out).output().unwrap();
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    let events = std::fs::read_to_string(out.join("events.csv")).unwrap();
    assert_eq!(events.matches(",fault_end,logs emptied in place").count(), 6, "{events}");
}

/// Positions saved too soon, positions known by a path, outputs that are mixed up: each loses lines, or alters them,
/// and the same shipper without the flaw does not.
#[test]
fn what_each_flaw_loses_is_caught_and_without_it_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/losses.yaml");
    let run = flatline().args(["ab", file, "--json", "--out"]).arg(&out).output().unwrap();
    let verdicts: serde_json::Value = serde_json::from_slice(&run.stdout).expect("one JSON document");
    let count = |target: &str, key: &str| verdicts["targets"][target]["audit"][key].as_u64().unwrap();
    for (target, figure) in
        [("commit_on_read", "lost"), ("path_keyed_offset", "lost"), ("mixed_streams", "altered")]
    {
        assert!(count(target, figure) > 3, "{target}: {}", verdicts["targets"][target]["audit"]);
    }
    for target in ["mended", "hybrid"] {
        let audit = &verdicts["targets"][target]["audit"];
        assert_eq!((count(target, "lost"), count(target, "altered")), (0, 0), "{target}: {audit}");
        assert_eq!(count(target, "delivered"), count(target, "sent"), "{target}: {audit}");
    }
    assert_eq!(run.status.code(), Some(0), "{}", verdicts["reason"]);
}
