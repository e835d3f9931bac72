//! The report as files, from runs made up for it.

use std::collections::BTreeSet;
use std::fs;

use super::checks::{Check, Status};
use super::markdown::Pictures;
use super::panel::{NARROW, WIDE};
use super::scene::{Scene, Shape};
use super::synthetic::{HOSTILE, run, troubled};
use super::*;
use crate::result::{
    DrainResult, Expect, Judgement, Manifest, Resource, StoppedEarly, TargetResult, Verdict,
};

const NAMES: [&str; 3] = ["pool", "hybrid", "archived"];

/// The page without its style and its pictures' insides: what a reader reads.
fn words_of(html: &str) -> String {
    let (_, body) = html.split_once("</style>").unwrap();
    let mut parts = body.split("<svg");
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        let (open, rest) = part.split_once('>').unwrap();
        let (_, after) = rest.split_once("</svg>").unwrap();
        out.push_str(&format!("<svg{open}>…</svg>{after}"));
    }
    out.lines().filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("\n")
}

/// Where each text of a picture stands.
fn lettering(scene: &Scene) -> String {
    let words = scene.shapes.iter().filter_map(|shape| match shape {
        Shape::Words { at, text, .. } => Some(format!("{:>4.0} {:>4.0}  {text}", at.0, at.1)),
        Shape::Line { .. } | Shape::Dashes { .. } | Shape::Area { .. } => None,
        Shape::Rectangle { .. } | Shape::Mark { .. } => None,
    });
    words.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_page_reads_as_it_did() {
    insta::assert_snapshot!("page", words_of(&html::render(&run(NAMES)).unwrap()));
}

#[test]
fn the_summary_reads_as_it_did() {
    insta::assert_snapshot!("summary", markdown::render(&run(NAMES), Pictures::Beside));
}

#[test]
fn the_summary_of_a_troubled_run_reads_as_it_did() {
    insta::assert_snapshot!("summary_troubled", markdown::render(&troubled(), Pictures::Beside));
}

#[test]
fn the_pictures_are_lettered_as_they_were() {
    let run = run(NAMES);
    let growth = chart::growth(&run, Resource::Tasks, WIDE, Some("Tasks")).unwrap();
    insta::assert_snapshot!("growth", lettering(&growth));
    insta::assert_snapshot!("comparison", lettering(&comparison::comparison(&run, NARROW, None)));
}

#[test]
fn the_page_asks_nobody_for_anything() {
    for run in [run(NAMES), troubled()] {
        let html = html::render(&run).unwrap();
        for sign in ["http:", "https:", "src=", "href=", "url(", "@import", "xmlns", "<script", "<link"] {
            assert!(!html.contains(sign), "the page contains {sign}");
        }
    }
}

#[test]
fn words_from_outside_stay_words() {
    let run = troubled();
    let html = html::render(&run).unwrap();
    assert!(!html.contains("<script") && html.contains("&lt;script&gt;alert(1)&lt;"));
    let summary = markdown::render(&run, Pictures::Beside);
    assert!(!summary.contains("<script") && !summary.contains("[y](z)") && !summary.contains(HOSTILE));
    let widths: BTreeSet<usize> = summary
        .lines()
        .skip_while(|line| !line.starts_with("|  |"))
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.replace("\\|", "").matches('|').count())
        .collect();
    assert_eq!(widths.len(), 1, "a name broke the table: {widths:?}");
}

#[test]
fn a_run_that_was_cut_short_says_so_before_its_verdict() {
    let html = html::render(&troubled()).unwrap();
    assert!(html.find("Cut short.").unwrap() < html.find("<h1>").unwrap());
    assert!(!html::render(&run(NAMES)).unwrap().contains("Cut short."));
    assert!(markdown::render(&troubled(), Pictures::Beside).contains("**Cut short.**"));
}

#[test]
fn a_run_that_was_stopped_early_says_when_and_why_everywhere() {
    let mut run = run(NAMES);
    let because = "pool: fds grow faster than 2 per minute".to_owned();
    run.verdict.stopped_early = Some(StoppedEarly { at_s: 250.0, because });
    let said = "Stopped early at 04:10 because pool: fds grow faster than 2 per minute.";
    let page = html::render(&run).unwrap();
    assert!(page.find(said).unwrap() < page.find("<h1>").unwrap());
    assert!(markdown::render(&run, Pictures::Beside).contains(said) && terminal::render(&run).contains(said));
}

#[test]
fn a_run_that_judges_lines_alone_says_nothing_of_growth() {
    let mut run = run(NAMES);
    run.manifest.limits.clear();
    run.verdict.targets.values_mut().for_each(|target| target.resources.clear());
    run.verdict.comparisons.clear();
    let page = html::render(&run).unwrap();
    for word in ["Where it would lead", "nothing above its limit", "After the load", "judged: a verdict"] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("growth is not judged: lines are") && page.contains("Every line accounted for"));
    let summary = markdown::render(&run, Pictures::Beside);
    assert!(!summary.contains("How each verdict was reached") && summary.contains("Dead-lettered"));
}

#[test]
fn the_same_run_gives_the_same_page_and_summary() {
    assert!(html::render(&troubled()).unwrap() == html::render(&troubled()).unwrap());
    assert_eq!(
        markdown::render(&troubled(), Pictures::Beside),
        markdown::render(&troubled(), Pictures::Beside)
    );
}

#[test]
fn every_picture_opens_shows_every_target_and_is_the_same_when_drawn_again() {
    let dir = tempfile::tempdir().unwrap();
    let written = write_all(dir.path(), &run(NAMES)).unwrap();
    let names: Vec<_> = written.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    let texts = ["report.html", "summary.md", "junit.xml", "benchmark.json", "metrics.prom"];
    let pictures = ["overview", "growth-tasks", "growth-threads", "growth-fds"];
    let pictures = pictures.map(|name| ["png", "svg"].map(|ending| format!("{name}.{ending}")));
    assert_eq!(names, [texts.map(str::to_owned).as_slice(), pictures.concat().as_slice()].concat());
    written.iter().filter(|path| path.extension().unwrap() == "png").for_each(|path| shows(path));
    let before: Vec<Vec<u8>> = written.iter().map(|path| fs::read(path).unwrap()).collect();
    for path in write_all(dir.path(), &run(NAMES)).unwrap() {
        assert!(before.contains(&fs::read(&path).unwrap()), "{} differs", path.display());
    }
}

fn shows(path: &Path) {
    let mut reader = ::png::Decoder::new(fs::File::open(path).unwrap()).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    assert!(frame.width == 1_920 && frame.height > 600, "{}", path.display());
    let colors: BTreeSet<&[u8]> = pixels.chunks(3).collect();
    for place in 0..3 {
        let (red, green, blue) = palette::ink(place).rgb;
        assert!(colors.contains([red, green, blue].as_slice()), "{}: no target {place}", path.display());
    }
}

#[test]
fn a_run_without_samples_or_targets_is_still_reported() {
    let mut empty = run(NAMES);
    empty.samples.clear();
    empty.events.clear();
    empty.manifest.phases.clear();
    empty.verdict.targets.clear();
    let dir = tempfile::tempdir().unwrap();
    let written = write_all(dir.path(), &empty).unwrap();
    assert_eq!(written.len(), 7, "{written:?}");
    assert!(fs::read_to_string(&written[0]).unwrap().contains("No samples were taken."));
    assert!(!fs::read_to_string(&written[1]).unwrap().contains("growth-tasks.png"));
}

#[test]
fn two_days_of_samples_stay_a_small_page_and_a_summary_fits_a_comment() {
    let mut long = run(NAMES);
    let (samples, events) = (long.samples.clone(), long.events.clone());
    for round in 1..100_u32 {
        let later = f64::from(round) * 1_700.0;
        long.samples.extend(samples.iter().cloned().map(|mut sample| {
            sample.elapsed_s += later;
            sample
        }));
        long.events.extend(events.iter().cloned().map(|mut event| {
            event.elapsed_s += later;
            event.detail = HOSTILE.repeat(30);
            event
        }));
    }
    for target in long.verdict.targets.values_mut() {
        target.resources.values_mut().for_each(|found| found.judgement.reason = "why ".repeat(9_000));
    }
    let page = html::render(&long).unwrap().len();
    assert!(page < 2_000_000, "{page} bytes");
    assert!(markdown::render(&long, Pictures::Beside).len() < 65_536);
}

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

fn growth_of(target: &mut TargetResult) -> &mut Judgement {
    &mut target.resources.get_mut(&Resource::Fds).unwrap().judgement
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

#[test]
fn a_run_under_way_says_so_and_calls_nothing_lost() {
    let mut run = run(NAMES);
    run.verdict.cut_short = true;
    run.manifest.ended = Manifest::RUNNING.to_owned();
    run.verdict.targets.values_mut().for_each(|target| target.audit = None);
    let page = html::render(&run).unwrap();
    assert!(page.contains("<strong>Under way.</strong>") && page.contains("was seen until 04:40;"), "{page}");
    assert!(!page.contains("Cut short.") && !page.contains("none lost"));
    assert!(page.contains("accounted for at the end"));
    let pool = run.verdict.targets.get_mut("pool").unwrap();
    pool.met = false;
    growth_of(pool).verdict = Verdict::Inconclusive;
    assert!(html::render(&run).unwrap().contains("(? not decided yet)"));
    growth_of(run.verdict.targets.get_mut("pool").unwrap()).verdict = Verdict::Fail;
    assert!(html::render(&run).unwrap().contains("(✗ not as expected)"));
}

#[test]
fn a_step_summary_shows_no_picture() {
    let summary = step_summary(&run(NAMES));
    assert!(!summary.contains("![") && summary.starts_with("## ✓ Every expectation is met"), "{summary}");
}

#[test]
fn a_summary_of_very_many_targets_says_what_it_leaves_out() {
    let mut run = run(NAMES);
    let pool = run.verdict.targets["pool"].clone();
    for number in 0..200 {
        let name = format!("{}{number}", HOSTILE.repeat(20));
        run.verdict.targets.insert(name.clone(), pool.clone());
        run.manifest.targets.push(name);
    }
    let summary = markdown::render(&run, Pictures::Beside);
    assert!(summary.len() < 65_536, "{}", summary.len());
    assert!(
        summary.starts_with("## ✓ Every expectation is met") && summary.contains("Left out here"),
        "{summary}"
    );
    assert!(!markdown::render(&troubled(), Pictures::Beside).contains("Left out here"));
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = write_all(&dir.path().join("gone"), &run(NAMES)).unwrap_err().to_string();
    assert!(error.contains("gone/report.html") && error.contains("No such file"), "{error}");
}
