//! `metrics.prom`: the run in OpenMetrics text 1.0, all of it gauges and without timestamps, so that it is Prometheus's
//! text format as well: for node_exporter's textfile collector, or a push gateway.
//!
//! The last success has a sample only where the run met every expectation. A gateway to which each run is posted keeps
//! that of an earlier run, and an alert on its age tells a nightly run that fails from one that never came.

use jiff::Timestamp;

use super::checks;
use super::{cost, view};
use crate::result::{Judgement, Outcome, Resource, RunResult, TargetResult, Verdict};

/// A family: its name, its unit (the end of the name; empty for none), and what it is.
type Family = (&'static str, &'static str, &'static str);
type Labels<'a> = Vec<(&'static str, &'a str)>;

const OUTCOMES: [Outcome; 4] = [Outcome::Met, Outcome::Missed, Outcome::Undecided, Outcome::Invalid];
const VERDICTS: [Verdict; 4] = [Verdict::Pass, Verdict::Fail, Verdict::Inconclusive, Verdict::Invalid];

/// Renders it.
pub(super) fn render(result: &RunResult) -> String {
    let mut page = Page { text: String::new(), scenario: &result.manifest.scenario };
    of_run(&mut page, result);
    of_growth(&mut page, result);
    of_targets(&mut page, result);
    page.text.push_str("# EOF\n");
    page.text
}

fn of_run(page: &mut Page<'_>, result: &RunResult) {
    let outcome = result.verdict.outcome;
    let states = OUTCOMES.map(|state| (vec![("outcome", view::outcome(state).word)], flag(state == outcome)));
    page.family(
        ("flatline_run_outcome", "", "1 for the outcome of the run, 0 for the others."),
        states.into(),
    );
    let manifest = &result.manifest;
    let about = vec![
        ("run", manifest.run_id.as_str()),
        ("version", manifest.version.as_str()),
        ("commit", manifest.commit.as_str()),
    ];
    page.family(("flatline_run", "", "Which run this is, by which flatline."), vec![(about, 1.0)]);
    let times = manifest.compression.as_ref().map_or(1.0, |compression| compression.times.get());
    let compression = "How many times time was compressed: growth and limits are that many times as high.";
    page.family(("flatline_run_compression", "", compression), vec![(vec![], times)]);
    let seconds = checks::seconds(result, None);
    let length = ("flatline_run_duration_seconds", "seconds", "How long the run took.");
    page.family(length, vec![(vec![], seconds)]);
    let began = manifest.started_at.parse::<Timestamp>().ok();
    let end = began.map(|began| began.as_second() as f64 + seconds.round());
    let last = ("flatline_run_end_timestamp_seconds", "seconds", "When the run ended, whatever came of it.");
    page.family(last, end.map(|end| (vec![], end)).into_iter().collect());
    let last = (
        "flatline_run_last_success_timestamp_seconds",
        "seconds",
        "When a run last met every expectation; without a sample where this one did not.",
    );
    let success = end.filter(|_| outcome == Outcome::Met);
    page.family(last, success.map(|end| (vec![], end)).into_iter().collect());
    let missed =
        ("flatline_samples_missed", "", "Beats at which nobody was looked at, as the machine was busy.");
    page.family(missed, vec![(vec![], manifest.missed.beats as f64)]);
}

fn of_growth(page: &mut Page<'_>, result: &RunResult) {
    let targets = view::targets(result);
    let judged = || {
        targets.iter().flat_map(|(_, name, target)| {
            let found = Resource::ALL
                .into_iter()
                .filter_map(|resource| Some((resource.key(), &target.resources.get(&resource)?.judgement)));
            found.map(|(resource, judged)| (vec![("target", *name), ("resource", resource)], judged))
        })
    };
    type Pick = fn(&Judgement) -> Option<f64>;
    let figures: [(Family, Pick); 5] = [
        (("flatline_growth_per_minute", "", "Growth under load."), |judged| judged.growth_per_min),
        (("flatline_growth_low_per_minute", "", "Lower end of its 90 % interval."), |judged| judged.ci_low),
        (("flatline_growth_high_per_minute", "", "Upper end of its 90 % interval."), |judged| judged.ci_high),
        (("flatline_growth_limit_per_minute", "", "What is allowed."), |judged| Some(judged.limit_per_min)),
        (
            ("flatline_growth_floor_per_minute", "", "The slowest leak that the run could have seen."),
            |judged| judged.floor_per_min,
        ),
    ];
    for (family, pick) in figures {
        page.family(family, judged().filter_map(|(labels, judged)| Some((labels, pick(judged)?))).collect());
    }
    let verdicts = judged().flat_map(|(labels, judged)| {
        VERDICTS.map(|verdict| {
            let mut labels = labels.clone();
            labels.push(("verdict", verdict.word()));
            (labels, flag(judged.verdict == verdict))
        })
    });
    let family = ("flatline_verdict", "", "1 for the verdict on the growth, 0 for the others.");
    page.family(family, verdicts.collect());
}

fn of_targets(page: &mut Page<'_>, result: &RunResult) {
    let targets = view::targets(result);
    let each = |pick: &dyn Fn(&str, &TargetResult) -> Option<f64>| {
        let picked = targets
            .iter()
            .filter_map(|(_, name, target)| Some((vec![("target", *name)], pick(name, target)?)));
        picked.collect::<Vec<_>>()
    };
    let met = ("flatline_expectation_met", "", "Whether the target did what it must.");
    page.family(met, each(&|_, target| Some(flag(target.met))));
    let crashes = ("flatline_target_crashes", "", "How often its process ended unasked.");
    page.family(crashes, each(&|_, target| Some(f64::from(target.stability.crashes))));
    let cpu = ("flatline_target_cpu_seconds", "seconds", "CPU time that it used.");
    page.family(cpu, each(&|name, _| cost::used_by(result, name).cpu_s));
    let rss = ("flatline_target_resident_memory_max_bytes", "bytes", "The most resident memory that it had.");
    page.family(rss, each(&|name, _| cost::used_by(result, name).rss_bytes.map(|most| most as f64)));
    let audited = targets.iter().filter_map(|(_, name, target)| Some((*name, target.audit?)));
    let lines = audited.flat_map(|(name, audit)| {
        let fates = [
            ("sent", audit.sent),
            ("delivered", audit.delivered),
            ("duplicated", audit.duplicated),
            ("altered", audit.altered + audit.altered_copies),
            ("rejected", audit.rejected),
            ("skipped", audit.skipped),
            ("dropped", audit.dropped),
            ("dead_lettered", audit.dead_lettered),
            ("in_flight", audit.in_flight),
            ("lost", audit.lost),
        ];
        fates.map(|(fate, count)| (vec![("target", name), ("fate", fate)], count as f64))
    });
    page.family(("flatline_lines", "", "Lines by what became of them."), lines.collect());
    let measured = targets.iter().filter_map(|(_, name, target)| Some((*name, target.latency?)));
    let times = measured.flat_map(|(name, latency)| {
        let shares = [
            ("0.5", latency.p50_s),
            ("0.99", latency.p99_s),
            ("0.999", latency.p99_9_s),
            ("1", latency.max_s),
        ];
        shares.map(|(share, seconds)| (vec![("target", name), ("share", share)], seconds))
    });
    let family =
        ("flatline_line_latency_seconds", "seconds", "The time within which this share of the lines came.");
    page.family(family, times.collect());
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// The text under way.
struct Page<'a> {
    text: String,
    scenario: &'a str,
}

impl Page<'_> {
    /// One without samples is left out whole.
    fn family(&mut self, (name, unit, help): Family, samples: Vec<(Labels<'_>, f64)>) {
        if samples.is_empty() {
            return;
        }
        let mut lines = format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
        if !unit.is_empty() {
            lines.push_str(&format!("# UNIT {name} {unit}\n"));
        }
        for (labels, value) in samples {
            let labels = [("scenario", self.scenario)].into_iter().chain(labels);
            let labels: Vec<String> =
                labels.map(|(key, text)| format!("{key}=\"{}\"", escaped(text))).collect();
            // To the millionth, beyond which floats differ by how they were added up; zero has no sign.
            let value = (value * 1e6).round() / 1e6 + 0.0;
            lines.push_str(&format!("{name}{{{}}} {value}\n", labels.join(",")));
        }
        self.text.push_str(&lines);
    }
}

/// A label's value: of all letters, backslash, quote and line feed alone are escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
