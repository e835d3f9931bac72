//! Time compressed: each duration of a scenario and of its targets' settings is divided, each rate multiplied, so that
//! as much happens in less time. What can't follow stays as near as it can and is said.

use std::time::Duration;

use serde_json::Value;

use super::Scenario;
use super::mistakes::SHORTEST_BEAT;
use crate::faults::{Fault, Slow, Status, Timed};
use crate::result::Bar;
use crate::units::{Factor, Offset, Span};

/// The scenario compressed, and what could not follow.
pub(super) fn scenario(whole: Scenario, by: Factor) -> (Scenario, Vec<String>) {
    let mut kept = Vec::new();
    let mut scenario = whole;
    let phases = &mut scenario.phases;
    for span in [&mut phases.history, &mut phases.warmup, &mut phases.load, &mut phases.drain] {
        *span = by.shorten(*span);
    }
    scenario.window = by.shorten(scenario.window);
    scenario.sample_every = beat(scenario.sample_every, by, &mut kept);
    if let Some(churn) = &mut scenario.containers.churn {
        churn.every = by.shorten(churn.every);
        churn.linger = by.shorten(churn.linger);
    }
    if let Some(script) = &mut scenario.script {
        script.steps.iter_mut().for_each(|step| step.lasts = by.shorten(step.lasts));
        // The steps fill it, to the last microsecond.
        script.cycle = Span(script.length());
    }
    scenario.containers.lines_per_second = lines(scenario.containers.lines_per_second, by, &mut kept);
    scenario.limits.values_mut().for_each(|limit| *limit = by.raise(*limit));
    let figures = scenario.targets.values_mut().flat_map(|entry| &mut entry.figures);
    for (_, bar) in figures.filter(|(figure, _)| figure.is_rate()) {
        let (Bar::Above(bar) | Bar::Below(bar)) = bar;
        *bar = by.raise(*bar);
    }
    for (place, timed) in scenario.faults.iter_mut().enumerate() {
        fault(place, timed, by, &mut kept);
    }
    (scenario, kept)
}

/// A target's settings compressed: every text that is a duration. Whatever else stands there stays.
pub(super) fn settings(value: &mut Value, by: Factor) {
    match value {
        Value::String(text) => {
            if let Some(span) = duration(text) {
                *text = one_unit(by.shorten(span));
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| settings(value, by)),
        Value::Object(fields) => fields.values_mut().for_each(|value| settings(value, by)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// `5M` is a size to whoever reads the setting, and not five months.
fn duration(text: &str) -> Option<Span> {
    let is_size = text.ends_with('M');
    text.parse().ok().filter(|span: &Span| !is_size && !span.0.is_zero())
}

/// In milliseconds, or whole seconds: as every program reads it, also one that knows no sum of units.
fn one_unit(span: Span) -> String {
    let millis = span.0.as_millis().max(1);
    if millis.is_multiple_of(1000) { format!("{}s", millis / 1000) } else { format!("{millis}ms") }
}

fn beat(every: Span, by: Factor, kept: &mut Vec<String>) -> Span {
    let wanted = by.shorten(every);
    let shortest = Span(SHORTEST_BEAT).min(every);
    if wanted < shortest {
        kept.push(format!("sample_every is {shortest} and not {wanted}: no beat is shorter"));
    }
    wanted.max(shortest)
}

/// One that is too fast is named by its field later on.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is at least 1, and saturates"
)]
fn lines(per_second: u32, by: Factor, kept: &mut Vec<String>) -> u32 {
    let wanted = f64::from(per_second) * by.get();
    let whole = wanted.round();
    if (whole - wanted).abs() > 1e-9 {
        kept.push(format!("containers.lines_per_second is {whole} and not {wanted}: it is a whole number"));
    }
    whole as u32
}

fn fault(place: usize, timed: &mut Timed, by: Factor, kept: &mut Vec<String>) {
    let shorten = |span: &mut Span| *span = by.shorten(*span);
    shorten(&mut timed.at);
    shorten(&mut timed.lasts);
    timed.every.as_mut().map(shorten);
    match &mut timed.fault {
        Fault::Status(Status { retry_after: Some(after), .. }) => {
            let wanted = by.shorten(*after);
            *after = whole_seconds(wanted);
            if *after != wanted {
                kept.push(format!(
                    "faults[{place}].fault.status.retry_after is {after} and not {wanted}: the header has whole seconds"
                ));
            }
        }
        Fault::Slow(Slow { p50, p99 }) => [p50, p99].into_iter().for_each(shorten),
        Fault::SlowBody(span) | Fault::Window(span) => shorten(span),
        Fault::ClockStep(Offset(step)) => {
            let length = by.shorten(Span(step.unsigned_abs()));
            // Shorter than what was such a length.
            let length = jiff::SignedDuration::try_from(length.0).unwrap_or(*step);
            *step = if step.is_negative() { -length } else { length };
        }
        Fault::Status(_)
        | Fault::Hang
        | Fault::Reset
        | Fault::HalfClose
        | Fault::Outage
        | Fault::Reject(_)
        | Fault::Tamper(_)
        | Fault::Pause
        | Fault::Truncate
        | Fault::DiskFull
        | Fault::DockerRestart
        | Fault::Kill => {}
    }
}

fn whole_seconds(span: Span) -> Span {
    let up = u64::from(span.0.subsec_nanos() > 0);
    Span(Duration::from_secs((span.0.as_secs() + up).max(1)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Loaded, Overrides, ScenarioError, load};
    use super::*;

    fn compressed(times: &str, set: &[&str]) -> Result<Loaded, ScenarioError> {
        let set = set.iter().map(|set| (*set).to_owned()).collect();
        load(None, &Overrides { compress: Some(times.parse().unwrap()), set, ..Overrides::default() })
    }

    #[test]
    fn durations_are_divided_and_rates_are_multiplied() {
        let faults = "faults=[{at: 24s, for: 48s, every: 2m, fault: {clock_step: -24m}}, \
            {at: 1m, for: 12s, fault: {slow: {p50: 240ms, p99: 24s}}}, {at: 1m, for: 12s, fault: {window: 48s}}]";
        let loaded = compressed("24", &["phases.load=48h", "sample_every=1m", "window=1h", faults]).unwrap();
        let text = loaded.yaml.as_str();
        for part in [
            "load: 2h",
            "drain: 833ms 333us",
            "sample_every: 2s 500ms",
            "window: 2m 30s",
            "lines_per_second: 240",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        for part in
            ["every: 166ms 667us", "linger: 416ms 667us", "count: 8", "at: 1s", "for: 2s", "every: 5s"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        for part in ["clock_step: -1m", "p50: 10ms", "p99: 1s", "window: 2s"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(loaded.yaml.contains("fds: 48"), "{text}");
        assert!(loaded.compression.unwrap().kept.is_empty());
    }

    #[test]
    fn a_target_is_told_its_times_compressed_and_the_text_alone_says_the_same_again() {
        let loaded = compressed("24", &["sample_every=1m", "phases.load=2h"]).unwrap();
        let pool = &loaded.targets[0].kind.settings;
        assert_eq!(pool["max_age"], "500ms");
        assert_eq!(pool["retry_max"], "2500ms");
        assert_eq!((&pool["max_connections"], &pool["encoding"]), (&json!(16), &json!("protobuf")));
        let again: Scenario = serde_saphyr::from_str(&loaded.yaml).unwrap();
        assert_eq!(again.targets["pool"].settings, *pool);
    }

    #[test]
    fn what_is_no_duration_stays_and_what_is_one_has_one_unit() {
        let mut value = json!(["12s", "1h 30m", "7d", "5M", "0", "drop", 60, {"deep": "36ms"}, "1ms", true]);
        settings(&mut value, "12".parse().unwrap());
        assert_eq!(
            value,
            json!(["1s", "450s", "50400s", "5M", "0", "drop", 60, {"deep": "3ms"}, "1ms", true])
        );
    }

    #[test]
    fn what_can_not_follow_is_said() {
        let faults = "faults=[{at: 1m, for: 50s, fault: {status: {code: 429, retry_after: 30s}}}]";
        let loaded =
            compressed("2.5", &["sample_every=200ms", "containers.lines_per_second=5", faults]).unwrap();
        let kept = loaded.compression.unwrap().kept;
        assert_eq!(kept.len(), 2, "{kept:?}");
        assert_eq!(kept[0], "sample_every is 100ms and not 80ms: no beat is shorter");
        assert!(kept[1].starts_with("containers.lines_per_second is 13 and not 12.5"), "{kept:?}");
        let loaded = compressed("20", &["phases.load=1h", faults]).unwrap();
        let kept = loaded.compression.unwrap().kept;
        assert!(kept.iter().any(|said| said.contains("retry_after is 2s and not 1s 500ms")), "{kept:?}");
        assert!(compressed("1", &[]).unwrap().compression.is_none());
        let own = compressed("1", &["compress=24"]).unwrap();
        assert!(own.compression.is_none(), "what the command line says holds");
    }

    #[test]
    fn what_is_beyond_a_bound_when_compressed_is_named_by_its_field() {
        for (times, set, words) in [
            ("24", "containers.lines_per_second=100000", "containers.lines_per_second: 1 to 1000000"),
            ("60", "phases.load=2m", "phases.load: at least 30 samples"),
            ("60", "containers.churn.every=300ms", "containers.churn.every: at least 10ms"),
            ("60", "faults=[{at: 1m, for: 10s, every: 50s, fault: hang}]", "faults[0].every: at least 1s"),
        ] {
            let message = compressed(times, &["phases.load=1h", set]).unwrap_err().to_string();
            assert!(message.contains(words) && message.contains("compressed"), "{message}");
        }
        let message = compressed("2", &["containers.count=0"]).unwrap_err().to_string();
        assert!(!message.contains("compressed"), "it is wrong as it is: {message}");
    }
}
