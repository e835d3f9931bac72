//! Notes the commit that the harness was built from, for `run.json`, and the names of the scenarios that ship.

use std::fs;
use std::path::Path;
use std::process::Command;

const SCENARIOS: &str = "../scenarios";

fn main() {
    println!("cargo::rerun-if-changed=../.git/logs/HEAD");
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    let commit = output.ok().filter(|o| o.status.success()).and_then(|o| String::from_utf8(o.stdout).ok());
    println!("cargo::rustc-env=FLATLINE_COMMIT={}", commit.as_deref().map_or("unknown", str::trim));
    println!("cargo::rerun-if-changed={SCENARIOS}");
    println!("cargo::rustc-env=FLATLINE_SCENARIOS={}", scenarios().join(" "));
}

/// The files, by name; without their folder, as in a package of this crate alone, there are none.
fn scenarios() -> Vec<String> {
    let files = fs::read_dir(SCENARIOS).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_scenario = |path: &Path| path.extension().is_some_and(|ending| ending == "yaml");
    let mut names: Vec<String> = files
        .filter(|path| is_scenario(path))
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}
