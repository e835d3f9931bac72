//! What other programs read, from runs made up for it.

use super::super::checks::{self, Check, Status};
use super::super::synthetic::{run, troubled};
use super::super::{benchmark, github, junit, openmetrics, pictures, scene, synthetic, terminal};
use super::{NAMES, growth_of};
use crate::result::{DrainResult, Expect, Resource, RunResult, TargetResult, Verdict};

#[test]
fn what_programs_read_reads_as_it_did() {
    for (run, name) in [(run(NAMES), "met"), (troubled(), "troubled")] {
        insta::assert_snapshot!(format!("junit_{name}"), junit::render(&run).unwrap());
        insta::assert_snapshot!(format!("benchmark_{name}"), benchmark::render(&run).unwrap());
        insta::assert_snapshot!(format!("metrics_{name}"), openmetrics::render(&run));
        insta::assert_snapshot!(format!("annotations_{name}"), github::render(&run));
    }
    insta::assert_snapshot!("terminal", terminal::render(&run(NAMES)));
    let overview = pictures::all(&run(NAMES)).remove(0);
    insta::assert_snapshot!("overview_svg", scene::document(&overview.scene, &overview.label).unwrap());
}

/// Each check with what came of it.
fn came_of(run: &RunResult) -> Vec<(String, String, Status)> {
    checks::all(run).into_iter().map(|Check { target, name, status, .. }| (target, name, status)).collect()
}

fn status(run: &RunResult, target: &str, name: &str) -> Status {
    let found = came_of(run).into_iter().find(|check| (check.0.as_str(), check.1.as_str()) == (target, name));
    found.unwrap().2
}

#[test]
fn a_controls_expectation_says_what_is_a_failure() {
    let set = |verdict| {
        let mut run = run(NAMES);
        let archived = run.verdict.targets.get_mut("archived").unwrap();
        archived.resources.get_mut(&Resource::Tasks).unwrap().judgement.verdict = verdict;
        status(&run, "archived", "tasks growth")
    };
    assert_eq!(set(Verdict::Fail), Status::Passed, "it leaks, as it must");
    assert_eq!(set(Verdict::Pass), Status::Failed, "the leak was not seen");
    assert_eq!((set(Verdict::Inconclusive), set(Verdict::Invalid)), (Status::Open, Status::Broken));
    let asked: Vec<String> =
        came_of(&run(NAMES)).into_iter().filter(|check| check.0 == "archived").map(|check| check.1).collect();
    assert_eq!(asked, ["tasks growth", "fds growth"], "nothing else is asked of it");

    let mut run = run(NAMES);
    run.verdict.targets.get_mut("pool").unwrap().expect = Expect::Lose;
    assert_eq!(status(&run, "pool", "lines"), Status::Failed, "no line was lost");
    let pool = run.verdict.targets.get_mut("pool").unwrap();
    pool.audit = pool.audit.map(|audit| crate::result::Audit { altered: 1, ..audit });
    assert_eq!(status(&run, "pool", "lines"), Status::Passed);
}

/// Ten more than while idle.
fn drain_of(target: &mut TargetResult) -> &mut DrainResult {
    let drain = target.resources.get_mut(&Resource::Fds).unwrap().drain.as_mut().unwrap();
    drain.drained_count = drain.idle_count + 10.0;
    drain
}

#[test]
fn whatever_a_target_misses_is_a_check_that_did_not_pass() {
    type Spoil = fn(&mut TargetResult);
    let spoils: [(Spoil, &str, Status); 8] = [
        (|pool| growth_of(pool).verdict = Verdict::Fail, "fds growth", Status::Failed),
        (|pool| growth_of(pool).verdict = Verdict::Inconclusive, "fds growth", Status::Open),
        (|pool| growth_of(pool).verdict = Verdict::Invalid, "fds growth", Status::Broken),
        (|pool| drain_of(pool).explained = Some(9), "fds drain", Status::Failed),
        (|pool| drain_of(pool).explained = None, "fds drain", Status::Open),
        (|pool| pool.audit.as_mut().unwrap().lost = 1, "lines", Status::Failed),
        (|pool| pool.audit = None, "lines", Status::Open),
        (|pool| pool.stability.crashes = 1, "process", Status::Failed),
    ];
    assert!(came_of(&run(NAMES)).iter().all(|check| check.2 == Status::Passed), "{:?}", came_of(&run(NAMES)));
    for (spoil, name, wanted) in spoils {
        let mut run = run(NAMES);
        spoil(run.verdict.targets.get_mut("pool").unwrap());
        let open: Vec<_> = came_of(&run).into_iter().filter(|check| check.2 != Status::Passed).collect();
        assert_eq!(open, [("pool".to_owned(), name.to_owned(), wanted)]);
    }
    let mut cut = run(NAMES);
    cut.verdict.cut_short = true;
    cut.verdict.targets.get_mut("pool").unwrap().audit.as_mut().unwrap().lost = 1;
    assert_eq!(status(&cut, "pool", "lines"), Status::Open, "it may have been under way");
    assert_eq!(status(&cut, "", "came to its end"), Status::Broken);
}

#[test]
fn junit_counts_what_it_holds_for_a_parser_of_its_own() {
    let count = |cases: &[&junit_parser::TestCase], wanted: fn(&junit_parser::TestStatus) -> bool| {
        cases.iter().filter(|case| wanted(&case.status)).count() as u64
    };
    for run in [run(NAMES), troubled()] {
        let text = junit::render(&run).unwrap();
        let suites = junit_parser::from_reader(text.as_bytes()).unwrap();
        assert_eq!(suites.suites.len(), 1 + run.manifest.targets.len());
        let all: Vec<_> = suites.suites.iter().flat_map(|suite| &suite.cases).collect();
        assert_eq!((suites.tests, all.len()), (all.len() as u64, checks::all(&run).len()));
        for (suite, checks) in
            suites.suites.iter().zip([""].into_iter().chain(run.manifest.targets.iter().map(String::as_str)))
        {
            let cases: Vec<_> = suite.cases.iter().collect();
            let told = (suite.tests, suite.failures, suite.errors, suite.skipped);
            let held = (
                cases.len() as u64,
                count(&cases, |status| matches!(status, junit_parser::TestStatus::Failure(_))),
                count(&cases, |status| matches!(status, junit_parser::TestStatus::Error(_))),
                count(&cases, |status| matches!(status, junit_parser::TestStatus::Skipped(_))),
            );
            assert_eq!(told, held, "{}", suite.name);
            let of_target = checks::all(&run).into_iter().filter(|check| check.target == checks);
            let names: Vec<String> = of_target.map(|check| check.name).collect();
            assert_eq!(cases.iter().map(|case| case.original_name.clone()).collect::<Vec<_>>(), names);
        }
        assert!(suites.suites[1].name.ends_with(&run.manifest.targets[0]));
    }
}

/// A name that XML, JSON, metrics, Markdown and workflow commands each have something against.
const WORSE: &str = "\u{1}\u{b}]]>&amp;\"\\\n::error::x%0A,|<b>`\u{fffe}ü🦀";

#[test]
fn no_name_breaks_out_of_any_file() {
    let run = synthetic::run(["pool", WORSE, "archived"]);
    let suites = junit_parser::from_reader(junit::render(&run).unwrap().as_bytes()).unwrap();
    let name = &suites.suites[2].name;
    assert!(name.starts_with("target \u{fffd}\u{fffd}]]>&amp;\"") && name.ends_with("\u{fffd}ü🦀"), "{name}");
    let entries: serde_json::Value = serde_json::from_str(&benchmark::render(&troubled()).unwrap()).unwrap();
    assert!(entries.as_array().unwrap().iter().all(|entry| entry["value"].is_number()));
    let metrics = openmetrics::render(&run);
    let of_name =
        metrics.lines().filter(|line| line.contains(r#"]]>&amp;\"\\\n::error::x%0A,|<b>`"#)).count();
    let wanted = metrics.lines().filter(|line| line.contains("target=\"pool\"")).count();
    assert_eq!(of_name, wanted, "{metrics}");
    assert!(metrics.lines().all(|line| line.starts_with("# ") || line.starts_with("flatline_")), "{metrics}");
    for line in github::render(&run).lines() {
        assert!(
            ["::error title=", "::warning title=", "::notice title="]
                .iter()
                .any(|begin| line.starts_with(begin))
        );
    }
    for picture in pictures::all(&run) {
        let svg = scene::document(&picture.scene, WORSE).unwrap();
        assert!(!svg.contains("<b>") && !svg.contains(['\u{1}', '\u{b}', '\u{fffe}']), "{svg}");
    }
}

#[test]
fn annotations_stay_within_what_github_shows_and_a_line_each() {
    let mut run = troubled();
    let hybrid = run.verdict.targets["hybrid"].clone();
    for number in 0..20 {
        run.manifest.targets.push(format!("more{number}"));
        run.verdict.targets.insert(format!("more{number}"), hybrid.clone());
    }
    let said = github::render(&run);
    for level in ["error", "warning"] {
        let shown = said.lines().filter(|line| line.starts_with(&format!("::{level} "))).count();
        assert!((8..=10).contains(&shown), "{level}: {shown}");
    }
    assert!(said.contains(" more stand in summary.md and junit.xml"), "{said}");
}

#[test]
fn a_last_success_is_told_only_by_a_run_that_met_everything() {
    let name = "\nflatline_run_last_success_timestamp_seconds{scenario=\"quick\"} 1773480693\n";
    assert!(openmetrics::render(&run(NAMES)).contains(name), "its start and 280 s");
    let missed = openmetrics::render(&troubled());
    assert!(!missed.contains("last_success") && missed.contains("\nflatline_run_end_timestamp_seconds{"));
}
