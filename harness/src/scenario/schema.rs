//! What a scenario or a target's file may say, as JSON Schema (draft 2020-12): for editors, and for whoever writes one
//! by program.

use clap::ValueEnum;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

use super::Scenario;
use super::bench::BenchScenario;
use crate::result::Digest;
use crate::target::spec::Kind;

/// What a schema is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Of {
    /// A scenario that stands alone
    Scenario,
    /// A part of one: a file that includes others, or that others include
    Part,
    /// A target's file
    Target,
    /// A run of a history: each line is one
    Night,
    /// A bench
    Bench,
}

/// Whose fields a part of a scenario need not all have: they are merged.
const MERGED: [&str; 6] = ["Phases", "Containers", "Rotate", "Churn", "Script", "Entry"];

/// The schema.
#[must_use]
pub fn of(what: Of) -> Value {
    match what {
        Of::Scenario => generated::<Scenario>("A scenario of flatline"),
        Of::Bench => generated::<BenchScenario>("A bench of flatline"),
        Of::Target => generated::<Kind>("A kind of target of flatline"),
        Of::Night => generated::<Digest>("A line of a history of flatline"),
        Of::Part => part(generated::<Scenario>("A part of a scenario of flatline")),
    }
}

fn generated<T: JsonSchema>(title: &str) -> Value {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<T>().to_value();
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("title".to_owned(), title.into());
    }
    schema
}

fn part(mut schema: Value) -> Value {
    let files = json!({"type": "array", "items": {"type": "string"}, "minItems": 1});
    let include = json!({
        "description": "Files on which this one builds, beside it: what it says wins, maps are merged.",
        "anyOf": [{"type": "string"}, files],
    });
    if let Some(fields) = schema.pointer_mut("/properties").and_then(Value::as_object_mut) {
        fields.insert("include".to_owned(), include);
    }
    let optional = |schema: Option<&mut Value>| {
        schema.and_then(Value::as_object_mut).and_then(|fields| fields.shift_remove("required"));
    };
    optional(Some(&mut schema));
    for name in MERGED {
        optional(schema.pointer_mut(&format!("/$defs/{name}")));
    }
    schema
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use jsonschema::Validator;

    use super::*;

    fn validator(what: Of) -> Validator {
        jsonschema::draft202012::new(&of(what)).unwrap()
    }

    fn read(path: &Path) -> Value {
        serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }

    fn shipped(folder: &str) -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
        let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
        assert!(files.len() > 3);
        files
    }

    #[test]
    fn every_file_that_ships_is_valid() {
        for (what, folder) in [(Of::Scenario, "scenarios"), (Of::Target, "scenarios/targets")] {
            let validator = validator(what);
            for path in shipped(folder) {
                let file = read(&path);
                let what = if file.get("include").is_some() { Of::Part } else { what };
                let own = self::validator(what);
                let validator = if what == Of::Part { &own } else { &validator };
                let wrong: Vec<String> =
                    validator.iter_errors(&file).map(|wrong| wrong.to_string()).collect();
                assert_eq!(wrong, Vec::<String>::new(), "{}", path.display());
            }
        }
    }

    #[test]
    fn every_example_of_faults_is_a_valid_part() {
        let document = include_str!("../../../docs/faults.md");
        let examples = document.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let validator = validator(Of::Part);
        for example in examples {
            let example: Value = serde_saphyr::from_str(example).unwrap();
            let wrong: Vec<String> = validator.iter_errors(&example).map(|wrong| wrong.to_string()).collect();
            assert_eq!(wrong, Vec::<String>::new(), "{example}");
        }
    }

    #[test]
    fn what_is_wrong_is_not() {
        let quick =
            read(&shipped("scenarios").into_iter().find(|path| path.ends_with("quick.yaml")).unwrap());
        let whole = validator(Of::Scenario);
        let part = validator(Of::Part);
        assert!(whole.is_valid(&quick));
        for (pointer, key, wrong) in [
            ("", "phasis", json!({})),
            ("", "include", json!("base.yaml")),
            ("", "window", json!("soon")),
            ("", "window", json!(15)),
            ("/phases", "load", json!("2 fortnights")),
            ("/phases", "laod", json!("2m")),
            ("/containers", "count", json!(-1)),
            ("/containers", "count", json!("8")),
            ("/containers/rotate", "max_size", json!("much")),
            ("/containers/churn", "steps", json!(["restrat"])),
            ("/limits", "fsd", json!(2)),
            ("/targets/pool", "expect", json!("flt")),
            ("/targets/pool", "bounds", json!({"fds": -2})),
            ("", "script", json!({"cycle": "1h", "steps": [{"rate": 2}]})),
            ("", "faults", json!([{"at": "1s", "for": "1s", "fault": "hnag"}])),
            ("", "faults", json!([{"at": "1s", "for": "1s", "fault": {"status": {"cod": 429}}}])),
            ("", "faults", json!([{"at": "1s", "fault": "hang"}])),
        ] {
            let mut scenario = quick.clone();
            let place = scenario.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
            place.insert(key.to_owned(), wrong);
            assert!(!whole.is_valid(&scenario), "{pointer}/{key}");
            assert!(key == "include" || !part.is_valid(&scenario), "{pointer}/{key}");
        }
        for field in ["name", "phases", "window", "containers", "targets"] {
            let mut scenario = quick.clone();
            scenario.as_object_mut().unwrap().shift_remove(field).unwrap();
            assert!(!whole.is_valid(&scenario), "{field}");
            assert!(part.is_valid(&scenario), "{field}");
        }
        let mut pool =
            read(&shipped("scenarios/targets").into_iter().find(|path| path.ends_with("pool.yaml")).unwrap());
        pool["command"] = json!("shipper run");
        assert!(!validator(Of::Target).is_valid(&pool));
    }

    #[test]
    fn each_field_says_what_it_is() {
        let schema = of(Of::Scenario);
        for field in ["phases", "script", "faults", "targets", "window"] {
            let said = schema["properties"][field]["description"].as_str().unwrap_or_default();
            assert!(said.len() > 10, "{field}: {schema}");
        }
        let text = schema.to_string();
        assert!(!text.contains("[`"), "no link that only rustdoc follows: {text}");
    }
}
