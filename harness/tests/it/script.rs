//! The script of the load, followed by containers that run.

use crate::support::{flatline, json, said, scenario};

#[test]
fn lines_and_churn_follow_the_script_and_no_line_is_lost_on_either_engine() {
    let folder = tempfile::tempdir().unwrap();
    for engine in ["docker", "embedded"] {
        let out = folder.path().join(engine);
        let mut command = flatline();
        command.args(["ab", &scenario("script.yaml"), "--engine", engine, "--out"]).arg(&out);
        let run = command.output().unwrap();
        assert_eq!(run.status.code(), Some(0), "{engine}: {}", said(&run));
        let events = std::fs::read_to_string(out.join("events.csv")).unwrap();
        let details = |event: &str| {
            let wanted = format!(",,{event},");
            let found = events.lines().filter_map(|line| line.split_once(&wanted));
            found.map(|(at_s, detail)| (at_s.parse::<f64>().unwrap(), detail.to_owned())).collect::<Vec<_>>()
        };
        let steps = details("step");
        let words: Vec<&str> = steps.iter().map(|(_, detail)| detail.trim_matches('"')).collect();
        let cycle =
            ["lines ×20, churn ×1, for 5s", "lines ×0, churn ×0, for 5s", "lines ×0.2, churn ×3, for 5s"];
        assert_eq!(words, [cycle, cycle].concat(), "{engine}: {events}");
        // Somebody may have been on the way when the idle time began.
        let idle = steps[1].0 + 2.0..steps[2].0;
        let came = details("churn").into_iter().filter(|(at_s, _)| idle.contains(at_s)).count();
        assert_eq!(came, 0, "{engine}: {events}");
        // 20 lines a second for 32 s are 640; with two bursts of five seconds they are some 4,000.
        for target in ["pool", "hybrid"] {
            let audit = &json(&out, "verdict.json")["targets"][target]["audit"];
            let sent = audit["sent"].as_u64().unwrap();
            assert!((2000..5500).contains(&sent), "{engine}: {audit}");
            assert_eq!(
                (&audit["lost"], audit["delivered"].as_u64()),
                (&0.into(), Some(sent)),
                "{engine}: {audit}"
            );
        }
    }
}
