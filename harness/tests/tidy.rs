//! The rules of the house that no compiler holds: modules use only those above them in `lib.rs`, files
//! keep their size, and nothing large is committed.

#![expect(clippy::unwrap_used, reason = "a test that can't read the tree must fail")]

use std::fs;
use std::path::{Path, PathBuf};

/// Longest file, test module left out.
const LINES_MAX: usize = 400;
/// Largest file in the repository.
const BYTES_MAX: u64 = 1_500_000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            found.extend(files(&path, ending));
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The modules that a file declares, in order.
fn declared(text: &str) -> Vec<String> {
    let names = text.lines().filter_map(|line| {
        let rest = line
            .strip_prefix("pub mod ")
            .or(line.strip_prefix("mod "))
            .or(line.strip_prefix("pub(crate) mod "));
        Some(rest?.strip_suffix(';')?.to_owned())
    });
    names.collect()
}

/// A file without its test module, which may use what it likes.
fn code(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod ").next().unwrap()
}

/// Where each module that `file` uses by its path from the crate's root begins.
fn used(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for part in code(text).split("crate::").skip(1) {
        let name: String = part.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if let Some(group) = part.strip_prefix('{') {
            let group = group.split(';').next().unwrap();
            found.extend(
                group.split([',', '{']).filter_map(|item| item.trim().split("::").next()).map(str::to_owned),
            );
        }
        found.push(name);
    }
    found
}

fn upward_uses(source: &Path) -> Vec<String> {
    let order = declared(&fs::read_to_string(source.join("lib.rs")).unwrap());
    assert!(order.len() > 5, "lib.rs of {} lists its modules", source.display());
    let mut upward = Vec::new();
    for file in files(source, ".rs") {
        let inside = file.strip_prefix(source).unwrap().to_string_lossy().into_owned();
        let own = inside.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        let Some(place) = order.iter().position(|module| *module == own) else { continue };
        for name in used(&fs::read_to_string(&file).unwrap()) {
            if order.iter().position(|module| *module == name).is_some_and(|other| other > place) {
                upward.push(format!("{inside} uses crate::{name}, which stands below it in lib.rs"));
            }
        }
    }
    upward
}

#[test]
fn modules_use_only_those_above_them() {
    for package in ["harness", "shipper"] {
        let upward = upward_uses(&root().join(package).join("src"));
        assert!(upward.is_empty(), "{package}: {upward:#?}");
    }
}

#[test]
fn the_harness_does_not_depend_on_the_shipper() {
    let manifest = fs::read_to_string(root().join("harness/Cargo.toml")).unwrap();
    assert!(!manifest.contains("shipper ="), "the harness knows a shipper only from outside");
}

#[test]
fn the_shipper_contains_nothing_of_the_archived_design() {
    let source = root().join("shipper/src");
    for file in files(&source, ".rs").into_iter().filter(|file| !file.starts_with(source.join("bin"))) {
        let text = fs::read_to_string(&file).unwrap();
        assert!(!code(&text).contains("archived::"), "{} uses the archived design", file.display());
    }
}

#[test]
fn no_file_is_longer_than_a_reader_bears() {
    let mut long = Vec::new();
    for package in ["harness/src", "shipper/src"] {
        for file in files(&root().join(package), ".rs") {
            let lines = code(&fs::read_to_string(&file).unwrap()).lines().count();
            if lines > LINES_MAX {
                long.push(format!("{}: {lines} lines", file.display()));
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn nothing_large_is_committed() {
    let listed =
        std::process::Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().unwrap();
    let names = String::from_utf8(listed.stdout).unwrap();
    let mut count = 0;
    for name in names.split('\0').filter(|name| !name.is_empty()) {
        let Ok(metadata) = fs::metadata(root().join(name)) else { continue };
        assert!(metadata.len() <= BYTES_MAX, "{name} has {} bytes", metadata.len());
        count += 1;
    }
    assert!(count > 50, "git lists the files: {count}");
}
