//! What `flatline watch` costs: it watches a process that holds 10,000 descriptors and 1,000 threads, a look a second and
//! its kinds every 10 s, and the CPU time that it takes for that is measured from outside.
//!
//! `cargo build --release -p flatline --bin flatline && cargo run --release -p flatline --example watch_cost [SECONDS]`

#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use procfs::process::Process;

/// Together 10,000 descriptors, as a pipe has two ends, and 1,000 threads.
const HELD: [&str; 4] = ["fds=4000", "sockets=3000", "pipes=1500", "threads=1000"];
/// From the first look on until it is as it stays: the first listing, the first beat.
const SETTLES: Duration = Duration::from_secs(5);
const SECONDS: u64 = 120;

fn main() -> anyhow::Result<()> {
    let seconds = std::env::args().nth(1).map_or(Ok(SECONDS), |text| text.parse())?;
    let program = program()?;
    let mut target = Held(leak(&program)?);
    let url = BufReader::new(target.0.stdout.take().context("its output")?).lines().next();
    url.context("the target did not say where it listens")??;
    let pid = target.0.id();
    let held = || Ok::<_, anyhow::Error>(Process::new(i32::try_from(pid)?)?.fd_count()?);
    while held()? < 10_000 {
        wait(Duration::from_millis(50));
    }
    let (fds, threads) = (held()?, Process::new(i32::try_from(pid)?)?.stat()?.num_threads);
    let folder = std::env::temp_dir().join(format!("flatline-watch-cost-{}", std::process::id()));
    let watched = watch((&program, &folder), pid, Duration::from_secs(seconds));
    let looks = lines(&folder.join("samples.csv"));
    let listings = listings(&folder.join("fds.csv"));
    std::fs::remove_dir_all(&folder).context("the folder of the watch")?;
    let Cost { user_s, system_s, wall_s, said } = watched?;
    let share = (user_s + system_s) / wall_s * 100.0;
    println!("the target holds {fds} descriptors and {threads} threads");
    println!("{looks} looks and {listings} listings of kinds; {}", said.trim());
    println!(
        "CPU time in {wall_s:.0} s: {user_s:.2} s of its own, {system_s:.2} s of the kernel's: {share:.2} % of a core"
    );
    ensure!(share <= 1.0, "that is more than 1 % of a core");
    Ok(())
}

/// The program as it was built beside this one.
fn program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let program = own.parent().and_then(Path::parent).context("its folder")?.join("flatline");
    ensure!(program.is_file(), "{} is not there: build it first", program.display());
    Ok(program)
}

fn leak(program: &Path) -> anyhow::Result<Child> {
    let mut command = Command::new(program);
    command.arg("leak").stdout(Stdio::piped());
    HELD.iter().for_each(|held| {
        command.args(["--hold", held]);
    });
    Ok(command.spawn()?)
}

struct Cost {
    user_s: f64,
    system_s: f64,
    wall_s: f64,
    said: String,
}

fn watch((program, folder): (&Path, &Path), pid: u32, length: Duration) -> anyhow::Result<Cost> {
    // Of so long a watch the kinds are listed every 10 s.
    let mut child = Command::new(program)
        .args(["watch", &pid.to_string(), "--for=1h", "--every=1s", "--out"])
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let own = Process::new(i32::try_from(child.id())?)?;
    wait(SETTLES);
    let before = own.stat()?;
    let clock = std::time::Instant::now();
    wait(length);
    let (after, wall_s) = (own.stat()?, clock.elapsed().as_secs_f64());
    let asked = Command::new("kill").args(["-INT", &child.id().to_string()]).status()?;
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().context("its errors")?, &mut said)?;
    child.wait()?;
    if !asked.success() {
        bail!("the watch has ended by itself: {said}");
    }
    let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
    let said = said.lines().find(|line| line.contains("stopped")).unwrap_or(&said).to_owned();
    Ok(Cost {
        user_s: seconds(after.utime - before.utime),
        system_s: seconds(after.stime - before.stime),
        wall_s,
        said,
    })
}

fn lines(file: &Path) -> usize {
    std::fs::read_to_string(file).unwrap_or_default().lines().count().saturating_sub(1)
}

/// Moments at which there are rows.
fn listings(file: &Path) -> usize {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let moments = text.lines().skip(1).filter_map(|line| line.split(',').next());
    moments.collect::<std::collections::BTreeSet<_>>().len()
}

#[expect(clippy::disallowed_methods, reason = "what is measured takes its time")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

/// Ended when it is dropped.
struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        drop(self.0.wait());
    }
}
