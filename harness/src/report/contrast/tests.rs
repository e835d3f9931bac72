//! What is said and drawn of a comparison, to the figure and its unit.

use super::super::nights::{night, target};
use super::super::panel::{NARROW, WIDE};
use super::super::synthetic::HOSTILE;
use super::super::tests::{lettering, words_of};
use super::*;
use crate::result::{Digest, Expect, TargetDigest};
use crate::trend::contrast::{Matters, contrast};
use crate::trend::ground::differences;

/// A shipper in each of its figures.
fn shipper(growth: f64, cpu_s: f64, rss: f64, lost: f64) -> TargetDigest {
    target(
        Expect::Flat,
        &[
            (Measure::FdsGrowth, growth, Some(0.005)),
            (Measure::LinesPerSecond, 1_000.0, Some(2.0)),
            (Measure::LatencyP50, 0.5, None),
            (Measure::LatencyP99, 1.25, None),
            (Measure::CpuPerMillionLines, cpu_s, Some(0.15)),
            (Measure::RssMax, rss, None),
            (Measure::Lost, lost, None),
            (Measure::Duplicated, 17.0, None),
            (Measure::Crashes, 0.0, None),
        ],
    )
}

fn control(growth: f64) -> TargetDigest {
    target(Expect::Leak, &[(Measure::TasksGrowth, growth, Some(1.5))])
}

fn of(before: &Digest, after: &Digest) -> Contrast {
    contrast(&[before], &[after], &Matters::default(), differences(&before.ground, &after.ground))
}

/// Descriptors leak, CPU is saved, the peak of memory can't be told, lines are lost; the kernel is another, and so is
/// one of the targets.
fn found() -> Contrast {
    let before = night(
        1,
        4,
        &[
            ("hybrid", shipper(0.0, 12.0, 20.0 * 1_048_576.0, 0.0)),
            ("archived", control(44.1)),
            ("old", control(1.0)),
        ],
    );
    let mut after = night(
        1,
        5,
        &[
            ("hybrid", shipper(0.4, 9.0, 26.5 * 1_048_576.0, 3.0)),
            ("archived", control(43.0)),
            ("new", control(1.0)),
        ],
    );
    after.ground.kernel = "7.0.1".to_owned();
    after.ended = "interrupted".to_owned();
    of(&before, &after)
}

#[test]
fn the_terminal_reads_as_it_did() {
    insta::assert_snapshot!("terminal", terminal(&found()));
}

#[test]
fn the_summary_reads_as_it_did() {
    insta::assert_snapshot!("markdown", markdown(&found()));
}

#[test]
fn the_page_reads_as_it_did() {
    insta::assert_snapshot!("page", words_of(&page(&found()).unwrap()));
}

#[test]
fn the_picture_is_lettered_as_it_was() {
    insta::assert_snapshot!("picture", lettering(&plot::plot(&found(), WIDE, true)));
    insta::assert_snapshot!("picture_narrow", lettering(&plot::plot(&found(), NARROW, false)));
}

#[test]
fn words_from_outside_stay_words() {
    let hostile = |day| {
        let mut run = night(1, day, &[(HOSTILE, shipper(0.0, 12.0, 1e7, 0.0))]);
        run.revision = Some(HOSTILE.to_owned());
        run.ground.kernel = format!("{day} {HOSTILE}");
        run
    };
    let found = of(&hostile(1), &hostile(2));
    let html = page(&found).unwrap();
    assert!(!html.contains("<script") && html.contains("&lt;script&gt;alert(1)&lt;"), "{}", words_of(&html));
    for sign in ["http:", "https:", "src=", "url(", "@import", "<link"] {
        assert!(!html.contains(sign), "the page contains {sign}");
    }
    let summary = markdown(&found);
    assert!(!summary.contains("<script") && !summary.contains(HOSTILE), "{summary}");
}
