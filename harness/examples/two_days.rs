//! Two days of a run at full speed: 48 hours of a look a second at three targets, the engine's processes and the harness
//! itself, made up, with churn every 4 s, faults, and listings by kind as a run has them, are written by the run's own
//! recorder, and then judged and drawn by `flatline report` as its users have it.
//!
//!     cargo build --release -p flatline && cargo run --release -p flatline --example two_days
//!
//! Prints what the writer takes in memory at each tenth, the size of the files beside the bound that was stated before, and
//! of each report of several the time, the most memory (`VmHWM`) and the page's size. It fails where the writer grows,
//! where the files pass their bound, or where judging and drawing takes 200 MiB or more. `two_days FOLDER` keeps the run
//! directory there.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "for a person to read")]

#[path = "support/run_dir.rs"]
mod run_dir;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use self::run_dir::{IDLE_S, Made};

const HOURS: u32 = 48;
const ROUNDS: usize = 5;
const MIB: f64 = 1_048_576.0;
/// What a harness may take in two days.
const MOST_MIB: f64 = 200.0;
/// From its first tenth to its last one the writer may take so much more: a page here and there.
const WRITER_GROWS_MIB: f64 = 1.0;

fn main() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = std::env::args().nth(1).map_or_else(|| temporary.path().join("run"), PathBuf::from);
    let target = |name: &str, per_min: f64| (name.to_owned(), per_min);
    let made = Made {
        targets: vec![target("pool", 0.0), target("hybrid", 0.02), target("archived", 43.0)],
        load_s: HOURS * 3_600 - 2 * IDLE_S,
        faults: 8,
        words: String::new(),
    };
    if !folder.exists() {
        write(&made, &folder);
    }
    for _ in 0..ROUNDS {
        let Taken { seconds, cpu_seconds, most_mib } = report(&folder);
        println!("report: {seconds:.2} s, {cpu_seconds:.2} s of CPU time, at most {most_mib:.0} MiB");
        assert!(most_mib < MOST_MIB, "judging and drawing takes {MOST_MIB} MiB or more");
    }
    println!("report.html: {:.2} MB", size(&folder.join("report.html")) * MIB / 1e6);
}

/// Writes all of it, and looks at what that takes.
fn write(made: &Made, folder: &Path) {
    let bound = made.bytes_max() as f64 / MIB;
    println!("this run writes at most {bound:.0} MiB");
    let (began, tenth, mut taken) = (Instant::now(), made.seconds() / 10, Vec::new());
    let after = |second: u32| {
        if (second + 1).is_multiple_of(tenth) {
            let resident = status("/proc/self", "VmRSS:").unwrap();
            println!("written {:>3} %: {:.1} MiB of memory", (second + 1) / tenth * 10, resident / 1024.0);
            taken.push(resident / 1024.0);
        }
    };
    made.write_and(folder, after).unwrap();
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let sizes: Vec<(PathBuf, f64)> = files.map(|path| (path.clone(), size(&path))).collect();
    for (path, size) in &sizes {
        println!("{}: {size:.1} MiB", path.file_name().unwrap().display());
    }
    let all: f64 = sizes.iter().map(|(_, size)| size).sum();
    println!("written: {all:.0} MiB of at most {bound:.0} in {:.1} s", began.elapsed().as_secs_f64());
    let grown = taken.last().unwrap() - taken.first().unwrap();
    assert!(
        grown < WRITER_GROWS_MIB,
        "the writer grows: {grown:.1} MiB from its first tenth to its last one"
    );
    assert!(all < bound, "more was written than was stated");
}

#[expect(clippy::cast_precision_loss, reason = "files are small")]
fn size(path: &Path) -> f64 {
    fs::metadata(path).unwrap().len() as f64 / MIB
}

/// What one report took.
struct Taken {
    seconds: f64,
    cpu_seconds: f64,
    most_mib: f64,
}

/// The kernel is asked until the process ends, since it can't be asked afterwards.
fn report(folder: &Path) -> Taken {
    let program = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("flatline");
    let began = Instant::now();
    let mut child = Command::new(&program).arg("report").arg(folder).stdout(Stdio::null()).spawn().unwrap();
    let process = format!("/proc/{}", child.id());
    let (mut most_kib, mut cpu_ticks) = (0.0_f64, 0.0_f64);
    while child.try_wait().unwrap().is_none() {
        most_kib = most_kib.max(status(&process, "VmHWM:").unwrap_or(0.0));
        cpu_ticks = cpu_ticks.max(cpu(&process).unwrap_or(0.0));
        pause();
    }
    assert!(child.wait().unwrap().success());
    // Linux counts hundredths of a second.
    Taken {
        seconds: began.elapsed().as_secs_f64(),
        cpu_seconds: cpu_ticks / 100.0,
        most_mib: most_kib / 1024.0,
    }
}

/// Between two looks.
#[expect(clippy::disallowed_methods, reason = "a poll, so that measuring costs no core")]
fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(2));
}

/// A figure of a process, in KiB.
fn status(process: &str, key: &str) -> Option<f64> {
    let text = fs::read_to_string(format!("{process}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_suffix(" kB")?.trim().parse().ok())
}

/// User and system time, in ticks.
fn cpu(process: &str) -> Option<f64> {
    let text = fs::read_to_string(format!("{process}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    Some(times.next()? + times.next()?)
}
