//! How long a report of two days takes, and how much memory: 48 hours of a sample a second of three targets, made up,
//! with events and listings by kind as a run has them. It is judged and drawn by `flatline report` as its users have it.
//!
//!     cargo build --release -p flatline && cargo run --release -p flatline --example report_speed
//!
//! Prints the size of the raw files, the time, the most memory (`VmHWM`) of the process, and the size of the page; each
//! run of several. `report_speed FOLDER` keeps the run directory there.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "for a person to read")]

#[path = "support/run_dir.rs"]
mod run_dir;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use self::run_dir::{IDLE_S, Made};

const HOURS: u32 = 48;
const ROUNDS: usize = 5;
const MIB: f64 = 1_048_576.0;

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
        made.write(&folder).unwrap();
    }
    for name in ["samples.csv", "events.csv", "fds.csv"] {
        println!("{name}: {:.1} MiB", size(&folder.join(name)));
    }
    for _ in 0..ROUNDS {
        let Taken { seconds, cpu_seconds, most_mib } = report(&folder);
        println!("report: {seconds:.2} s, {cpu_seconds:.2} s of CPU time, at most {most_mib:.0} MiB");
    }
    println!("report.html: {:.2} MB", size(&folder.join("report.html")) * MIB / 1e6);
}

#[expect(clippy::cast_precision_loss, reason = "files are small")]
fn size(path: &Path) -> f64 {
    std::fs::metadata(path).unwrap().len() as f64 / MIB
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
        most_kib = most_kib.max(high_water(&process).unwrap_or(0.0));
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

fn high_water(process: &str) -> Option<f64> {
    let text = std::fs::read_to_string(format!("{process}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
}

/// User and system time, in ticks.
fn cpu(process: &str) -> Option<f64> {
    let text = std::fs::read_to_string(format!("{process}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    Some(times.next()? + times.next()?)
}
