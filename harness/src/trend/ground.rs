//! Where a run took place, and what it was put through: read from what it noted, and told apart. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::result::Ground;
use crate::result::contrast::Fact;

/// Keys of a scenario that are no part of what the machine and the targets are put through: chance, what is judged by,
/// and who is tested. The name is told apart by itself.
const NOT_LOAD: [&str; 4] = ["name", "seed", "limits", "targets"];

/// What stands where a side does not set a key.
const UNSET: &str = "not set";

/// What a scenario sets, by the path of each key.
///
/// # Errors
/// What is wrong with the YAML, in words.
pub fn settings(yaml: &str) -> Result<BTreeMap<String, String>, String> {
    let scenario: Value = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
    let mut found = BTreeMap::new();
    let keys = scenario.as_object().into_iter().flatten();
    for (key, value) in keys.filter(|(key, _)| !NOT_LOAD.contains(&key.as_str())) {
        flatten(key, value, &mut found);
    }
    Ok(found)
}

fn flatten(path: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(keys) => {
            keys.iter().for_each(|(key, value)| flatten(&format!("{path}.{key}"), value, into));
        }
        Value::String(text) => drop(into.insert(path.to_owned(), text.clone())),
        Value::Null => {}
        Value::Array(_) | Value::Bool(_) | Value::Number(_) => {
            drop(into.insert(path.to_owned(), value.to_string()));
        }
    }
}

/// In what two runs' environments differ, in the order in which a reader asks.
#[must_use]
pub fn differences(baseline: &Ground, candidate: &Ground) -> Vec<Fact> {
    let facts = |ground: &Ground| {
        [
            ("scenario", ground.scenario.clone()),
            ("compression", ground.compression.to_string()),
            ("machine", ground.machine_class().to_string()),
            ("engine", ground.engine.clone()),
            ("kernel", ground.kernel.clone()),
        ]
    };
    let plain = facts(baseline).into_iter().zip(facts(candidate));
    let plain =
        plain.map(|((what, baseline), (_, candidate))| Fact { what: what.to_owned(), baseline, candidate });
    plain.chain(set_otherwise(baseline, candidate)).filter(|fact| fact.baseline != fact.candidate).collect()
}

/// The keys of the two scenarios.
fn set_otherwise(baseline: &Ground, candidate: &Ground) -> Vec<Fact> {
    let mut keys: Vec<&String> = baseline.settings.keys().chain(candidate.settings.keys()).collect();
    keys.sort();
    keys.dedup();
    let of =
        |ground: &Ground, key: &String| ground.settings.get(key).map_or(UNSET, String::as_str).to_owned();
    let facts = keys.into_iter().map(|key| Fact {
        what: format!("scenario: {key}"),
        baseline: of(baseline, key),
        candidate: of(candidate, key),
    });
    facts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::Machine;
    use crate::units::Factor;

    const QUICK: &str = "name: quick\nseed: 1\nphases:\n  load: 2m\n  drain: 20s\nfaults:\n- {at: 3s, fault: hang}\n\
                         limits:\n  fds: 2.0\ntargets:\n  pool:\n    file: pool.yaml\n";

    fn ground(yaml: &str, kernel: &str) -> Ground {
        Ground {
            scenario: "quick".to_owned(),
            settings: settings(yaml).unwrap(),
            compression: Factor::ONE,
            engine: "docker 24.0.7".to_owned(),
            kernel: kernel.to_owned(),
            machine: Machine { cpu: "Example CPU".to_owned(), cores: 2, memory_bytes: 8 << 30 },
        }
    }

    #[test]
    fn a_scenario_is_read_as_paths_without_what_is_no_load() {
        let found = settings(QUICK).unwrap();
        let keys: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(keys, ["faults", "phases.drain", "phases.load"]);
        assert_eq!(found["faults"], r#"[{"at":"3s","fault":"hang"}]"#);
        assert!(settings("name: [").is_err());
    }

    #[test]
    fn the_same_ground_differs_in_nothing_whoever_is_tested_and_by_what_limit() {
        let other = QUICK.replace("seed: 1", "seed: 2").replace("2.0", "1.0").replace("pool", "hybrid");
        assert_eq!(differences(&ground(QUICK, "6.1"), &ground(&other, "6.1")), []);
    }

    #[test]
    fn what_differs_is_named_with_both_values() {
        let other = QUICK.replace("load: 2m", "load: 10m").replace("  drain: 20s\n", "");
        let said: Vec<String> = differences(&ground(QUICK, "6.1"), &ground(&other, "6.8"))
            .into_iter()
            .map(|fact| format!("{}: {} -> {}", fact.what, fact.baseline, fact.candidate))
            .collect();
        assert_eq!(
            said,
            [
                "kernel: 6.1 -> 6.8",
                "scenario: phases.drain: 20s -> not set",
                "scenario: phases.load: 2m -> 10m"
            ]
        );
    }

    #[test]
    fn another_kernel_or_machine_is_the_same_load() {
        let (one, mut other) = (ground(QUICK, "6.1"), ground(QUICK, "6.8"));
        other.machine.cores = 4;
        assert!(one.is_same_load(&other));
        other.engine = "embedded 0.1".to_owned();
        assert!(!one.is_same_load(&other));
    }
}
