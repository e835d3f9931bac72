//! The script of the load: by how much lines and churn are multiplied, step by step, over and over. Pure.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Span;
use crate::world::generate::RATE_MAX;
use crate::world::load;

/// Generators look about once a second.
const STEP_MIN: Duration = Duration::from_secs(1);
/// What is not 0 is from here on.
const TIMES_MIN: f64 = 0.001;
const TIMES_MAX: f64 = 1000.0;
/// How many steps of a run begin: one each two seconds for 48 hours, and some.
const BEGINNINGS_MAX: u128 = 100_000;

/// Days and nights, bursts, storms and idle times of the load: steps that are taken in turn until the load ends.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// How long all steps take together, after which the first one comes again.
    pub cycle: Span,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// A stretch of the load.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ScriptStep")]
pub struct Step {
    /// How long it lasts.
    #[serde(rename = "for")]
    pub lasts: Span,
    /// So many times the lines a second that the containers write otherwise; 0 is idle.
    #[serde(default = "as_ever")]
    pub rate: f64,
    /// So many times as often as otherwise containers come and go; 0 is never.
    #[serde(default = "as_ever")]
    pub churn: f64,
}

fn as_ever() -> f64 {
    1.0
}

impl Step {
    /// In a few words, for events.
    #[must_use]
    pub fn words(&self) -> String {
        format!("lines ×{}, churn ×{}, for {}", self.rate, self.churn, self.lasts)
    }
}

impl Script {
    /// How long its steps take together.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.steps.iter().fold(Duration::ZERO, |sum, step| sum.saturating_add(step.lasts.0))
    }

    /// The steps that begin before `until`, each with its moment; all of it at once, so for a script without mistakes.
    #[must_use]
    pub fn beginnings(&self, until: Duration) -> Vec<(Duration, Step)> {
        let (mut at, mut beginnings) = (Duration::ZERO, Vec::new());
        for step in self.steps.iter().filter(|step| !step.lasts.0.is_zero()).cycle() {
            if at >= until {
                break;
            }
            beginnings.push((at, *step));
            at = at.saturating_add(step.lasts.0);
        }
        beginnings
    }

    /// What makes no sense in it, each with its field.
    #[must_use]
    pub fn mistakes(&self, containers: &load::Config, until: Duration) -> Vec<String> {
        let mut mistakes = Vec::new();
        for (place, step) in self.steps.iter().enumerate() {
            let told = step.mistakes(containers).into_iter();
            mistakes.extend(told.map(|(field, why)| format!("script.steps[{place}].{field}: {why}")));
        }
        let length = self.length();
        if self.cycle.0.is_zero() {
            mistakes.push("script.cycle: above zero".to_owned());
        } else if self.steps.is_empty() {
            mistakes.push("script.steps: name at least one".to_owned());
        } else if length != self.cycle.0 {
            mistakes.push(format!(
                "script.cycle: the steps take {} together, and the cycle {}; they must fill it",
                Span(length),
                self.cycle
            ));
        }
        if mistakes.is_empty() {
            let cycles = until.as_nanos().div_ceil(length.as_nanos().max(1));
            let count = cycles.saturating_mul(self.steps.len() as u128);
            if count > BEGINNINGS_MAX {
                mistakes.push(format!(
                    "script.steps: {count} of them begin before the load ends; at most {BEGINNINGS_MAX}"
                ));
            }
        }
        mistakes
    }
}

impl Step {
    fn mistakes(&self, containers: &load::Config) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        if self.lasts.0 < STEP_MIN {
            mistakes
                .push(("for", format!("at least {}: generators look about once a second", Span(STEP_MIN))));
        }
        // NaN is in no range.
        let is_fit = |times: f64| times == 0.0 || (TIMES_MIN..=TIMES_MAX).contains(&times);
        let wrong = || format!("0, or {TIMES_MIN} to {TIMES_MAX}");
        if !is_fit(self.rate) {
            mistakes.push(("rate", wrong()));
        } else if f64::from(containers.lines_per_second) * self.rate > f64::from(RATE_MAX) {
            let lines = containers.lines_per_second;
            mistakes.push((
                "rate",
                format!("{} times {lines} lines a second is more than {RATE_MAX}", self.rate),
            ));
        }
        match &containers.churn {
            _ if !is_fit(self.churn) => mistakes.push(("churn", wrong())),
            None if (self.churn - 1.0).abs() > 0.0 => {
                mistakes
                    .push(("churn", "nobody comes or goes: the scenario has no containers.churn".to_owned()));
            }
            Some(churn) if self.churn > 1.0 && churn.every.0.div_f64(self.churn) < load::SHORTEST_CHURN => {
                let (most, every) = (Span(load::SHORTEST_CHURN), churn.every);
                mistakes.push((
                    "churn",
                    format!("{} times as often as each {every}; at most each {most}", self.churn),
                ));
            }
            _ => {}
        }
        mistakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn containers(churn: Option<&str>) -> load::Config {
        let churn = churn.map_or_else(String::new, |every| {
            format!(", churn: {{ every: {every}, steps: [restart], linger: 1s }}")
        });
        let text = format!(
            "{{ count: 1, lines_per_second: 1000, line_bytes: 100, rotate: {{ max_size: 1MiB, max_files: 2 }}{churn} }}"
        );
        serde_saphyr::from_str(&text).unwrap()
    }

    fn mistakes(script: &str, churn: Option<&str>, until: u64) -> Vec<String> {
        let script: Script = serde_saphyr::from_str(script).unwrap();
        script.mistakes(&containers(churn), Duration::from_secs(until))
    }

    const DAY: &str = "{ cycle: 24h, steps: [ {for: 8h, rate: 0.2}, {for: 15h}, {for: 30m, churn: 10}, \
        {for: 30m, rate: 0} ] }";

    #[test]
    fn its_steps_are_taken_in_turn_until_the_load_ends() {
        let script: Script = serde_saphyr::from_str(DAY).unwrap();
        assert_eq!(mistakes(DAY, Some("4s"), 48 * 3600), Vec::<String>::new());
        let hour = |hours: u64| Duration::from_secs(hours * 3600);
        let begun: Vec<(u64, f64, f64)> = script
            .beginnings(hour(33))
            .into_iter()
            .map(|(at, step)| (at.as_secs() / 60, step.rate, step.churn))
            .collect();
        let day = [(0, 0.2, 1.0), (480, 1.0, 1.0), (1380, 1.0, 10.0), (1410, 0.0, 1.0)];
        assert_eq!(begun[..4], day);
        assert_eq!(begun[4..], [(1440, 0.2, 1.0), (1920, 1.0, 1.0)]);
        assert_eq!(script.beginnings(Duration::ZERO), []);
        assert_eq!(script.steps[0].words(), "lines ×0.2, churn ×1, for 8h");
    }

    #[test]
    fn what_makes_no_sense_is_named_by_its_field() {
        for (script, field) in [
            ("{cycle: 0s, steps: []}", "script.cycle: above zero"),
            ("{cycle: 5s, steps: []}", "script.steps: name at least one"),
            (
                "{cycle: 9s, steps: [{for: 5s}, {for: 3s}]}",
                "script.cycle: the steps take 8s together, and the cycle 9s",
            ),
            ("{cycle: 7s, steps: [{for: 5s}, {for: 3s}]}", "script.cycle: the steps take 8s"),
            ("{cycle: 10ms, steps: [{for: 10ms}]}", "script.steps[0].for: at least 1s"),
            ("{cycle: 5s, steps: [{for: 5s, rate: -1}]}", "script.steps[0].rate: 0, or 0.001 to 1000"),
            ("{cycle: 5s, steps: [{for: 5s, rate: .nan}]}", "script.steps[0].rate: 0, or"),
            ("{cycle: 5s, steps: [{for: 5s, rate: 1e-9}]}", "script.steps[0].rate: 0, or"),
            ("{cycle: 5s, steps: [{for: 5s, churn: .inf}]}", "script.steps[0].churn: 0, or"),
            (
                "{cycle: 5s, steps: [{for: 5s, churn: 500}]}",
                "script.steps[0].churn: 500 times as often as each 4s",
            ),
        ] {
            let told = mistakes(script, Some("4s"), 60);
            assert!(told.len() == 1 && told[0].starts_with(field), "{script}: {told:?}");
        }
        let fast = "{cycle: 5s, steps: [{for: 1s, rate: 1000}, {for: 4s, churn: 0}]}";
        assert_eq!(
            mistakes(fast, None, 60),
            ["script.steps[1].churn: nobody comes or goes: the scenario has no containers.churn"]
        );
        let mut many = containers(None);
        many.lines_per_second = 2000;
        let script: Script = serde_saphyr::from_str("{cycle: 1s, steps: [{for: 1s, rate: 1000}]}").unwrap();
        let told = script.mistakes(&many, Duration::from_secs(60));
        assert_eq!(told, ["script.steps[0].rate: 1000 times 2000 lines a second is more than 1000000"]);
        let often = mistakes("{cycle: 1s, steps: [{for: 1s}]}", None, 200_000);
        assert!(often[0].contains("200000 of them begin"), "{often:?}");
    }
}
