//! The report as files, from runs made up for it.

use std::collections::BTreeSet;
use std::fs;

use super::markdown::Pictures;
use super::panel::{NARROW, WIDE};
use super::scene::{Scene, Shape};
use super::synthetic::{HOSTILE, run, samples, troubled};
use super::*;
use crate::result::{
    Compression, Judgement, Manifest, Resource, Sample, Samples, StoppedEarly, TargetResult, Verdict,
};

mod programs;

const NAMES: [&str; 3] = ["pool", "hybrid", "archived"];

/// What is said of its descriptors.
fn growth_of(target: &mut TargetResult) -> &mut Judgement {
    &mut target.resources.get_mut(&Resource::Fds).unwrap().judgement
}

/// The page without its style, its scripts and its pictures' insides: what a reader reads.
pub(super) fn words_of(html: &str) -> String {
    let (_, body) = html.split_once("</style>").unwrap();
    let body = body.split_once("<script").map_or(body, |(body, _)| body);
    let mut out = String::new();
    let mut rest = body;
    while let Some((before, picture)) = rest.split_once("<svg") {
        let (open, mut inside) = picture.split_once('>').unwrap();
        out.push_str(&format!("{before}<svg{open}>…</svg>"));
        // Fields are pictures within a picture.
        let mut depth = 1;
        while depth > 0 {
            let end = inside.find("</svg>").unwrap();
            let (part, after) = inside.split_at(end);
            depth += part.matches("<svg").count();
            depth -= 1;
            inside = after.strip_prefix("</svg>").unwrap();
        }
        rest = inside;
    }
    out.push_str(rest);
    out.lines().filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("\n")
}

/// Where each text of a picture stands.
pub(super) fn lettering(scene: &Scene) -> String {
    let words = scene.shapes.iter().filter_map(|shape| match shape {
        Shape::Words { at, text, .. } => Some(format!("{:>4.0} {:>4.0}  {text}", at.0, at.1)),
        Shape::Line { .. } | Shape::Dashes { .. } | Shape::Area { .. } => None,
        Shape::Rectangle { .. } | Shape::Mark { .. } | Shape::Open(_) | Shape::Close => None,
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
    let series = series::all(&run, Resource::Tasks);
    let growth = chart::growth((&run, &series), Resource::Tasks, WIDE, Some("Tasks")).unwrap();
    insta::assert_snapshot!("growth", lettering(&growth));
    insta::assert_snapshot!("comparison", lettering(&comparison::comparison(&run, NARROW, None)));
}

#[test]
fn the_page_asks_nobody_for_anything() {
    for run in [run(NAMES), troubled()] {
        let html = html::render(&run).unwrap();
        for sign in ["http:", "https:", "src=", "url(", "@import", "xmlns", "<link", "fetch(", "import("] {
            assert!(!html.contains(sign), "the page contains {sign}");
        }
        assert_eq!(html.matches("href=").count(), html.matches("href=\"#").count(), "a link out of the page");
    }
}

#[test]
fn words_from_outside_stay_words() {
    let run = troubled();
    let html = html::render(&run).unwrap();
    let scripts = ["<script type=\"application/json\" id=\"plotted\">", "<script>\n// Makes"];
    assert!(scripts.iter().all(|script| html.matches(script).count() == 1));
    assert_eq!((html.matches("<script").count(), html.matches("</script").count()), (2, 2));
    assert!(html.contains("&lt;script&gt;alert(1)&lt;"));
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
fn a_run_without_docker_says_everywhere_what_that_leaves_unproven() {
    let mut run = run(NAMES);
    let all = |run: &RunResult| {
        [html::render(run).unwrap(), markdown::render(run, Pictures::Beside), terminal::render(run)]
    };
    let said = "Ran on the embedded engine";
    assert!(all(&run).iter().all(|text| !text.contains(said)), "{}", run.manifest.engine);
    run.manifest.engine = "embedded 0.1.0 (API 1.43)".to_owned();
    assert!(all(&run).iter().all(|text| text.contains(said)));
}

#[test]
fn a_run_in_compressed_time_says_so_wherever_a_figure_depends_on_it() {
    let mut run = run(NAMES);
    let all = |run: &RunResult| {
        [html::render(run).unwrap(), markdown::render(run, Pictures::Beside), terminal::render(run)]
    };
    let said = "Time compressed 24 times: a minute of this run holds what 24 minutes";
    assert!(all(&run).iter().all(|text| !text.contains("compressed")));
    let kept = vec!["sample_every is 100ms and not 42ms".to_owned()];
    run.manifest.compression = Some(Compression { times: "24".parse().unwrap(), kept });
    growth_of(run.verdict.targets.get_mut("archived").unwrap()).growth_per_min = Some(46.2);
    for text in all(&run).map(|text| text.replace("&#x2f;", "/")) {
        let parts = [
            said,
            "1.9/min uncompressed",
            "(0.08/min uncompressed)",
            "in full: sample",
            "100ms and not 42ms",
        ];
        for part in parts {
            assert!(text.replace('\\', "").contains(part), "{part}: {text}");
        }
    }
    assert!(junit::render(&run).unwrap().contains(said));
    assert!(benchmark::render(&run).unwrap().contains("time compressed 24 times"));
    assert!(openmetrics::render(&run).contains("flatline_run_compression{scenario=\"quick\"} 24"));
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
    let mut reader =
        ::png::Decoder::new(std::io::BufReader::new(fs::File::open(path).unwrap())).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
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
    empty.samples = Samples::default();
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
    let (samples, events) = (samples(NAMES), long.events.clone());
    for round in 1..100_u32 {
        let later = f64::from(round) * 1_700.0;
        for sample in &samples {
            let elapsed_s = sample.elapsed_s + later;
            long.samples.push(&Sample { elapsed_s, ..sample.clone() });
        }
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
