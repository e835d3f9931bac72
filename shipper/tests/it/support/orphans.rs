//! What test runs have left that were killed, and so could drop nothing: it bears the number of their process.

use std::path::PathBuf;
use std::process::Command;

/// What names of containers, images and volumes of these tests begin with; the process's number follows.
pub(crate) const NAME: &str = "shipper-test-";
/// … and what the folders of their own engines begin with.
pub(crate) const ENGINE: &str = "e";

/// Removes what is left on the machine's engine by runs that are no more.
pub(crate) fn sweep() {
    remove(&["ps", "--all", "--format", "{{.Names}}"], &["rm", "--force", "--volumes"]);
    remove(&["volume", "ls", "--format", "{{.Name}}"], &["volume", "rm"]);
    remove(&["image", "ls", "--format", "{{.Repository}}"], &["image", "rm", "--force"]);
}

/// Folders of engines that runs which are no more have started.
pub(crate) fn engines() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(std::env::temp_dir()).unwrap().filter_map(Result::ok);
    let left = |name: &str| is_left(name, ENGINE);
    entries.filter(|entry| entry.file_name().to_str().is_some_and(left)).map(|entry| entry.path()).collect()
}

fn remove(list: &[&str], remove: &[&str]) {
    let listed =
        Command::new("docker").args(list).output().expect("these tests need the docker command line");
    let listed = String::from_utf8(listed.stdout).unwrap();
    for name in listed.lines().filter(|name| is_left(name, NAME)) {
        let removed = Command::new("docker").args(remove).arg(name).output().unwrap();
        // Another run may sweep at the same time.
        println!("left by a run that was killed: {name}, removed: {}", removed.status);
    }
}

/// `shipper-test-4711-3` is left if there is no process 4711.
fn is_left(name: &str, prefix: &str) -> bool {
    let process = name.strip_prefix(prefix).and_then(|rest| rest.split_once('-')?.0.parse::<u32>().ok());
    process.is_some_and(|pid| !PathBuf::from(format!("/proc/{pid}")).exists())
}
