//! How far the shipper is from what can't be avoided: CPU seconds per million lines of a bare loop (`bare`), and of
//! real shippers for the same files, sink and labels, in turns (A B B A), as medians.
//!
//! ```text
//! cargo build --release -p shipper && cargo run --release -p shipper --example floor -- \
//!     --shipper target/release/shipper [--shipper ANOTHER …] [--lines 2000000] [--files 1] [--repeats 5]
//! ```

#![expect(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a tool for developers: it prints, waits, and ends when something is not as it made it"
)]

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use rustix::time::{ClockId, clock_gettime};

mod bare;
mod logs;
mod world;

use logs::{Kind, Log};

/// Compares shippers with a bare loop.
#[derive(Parser)]
struct Cli {
    /// A shipper's program; several are compared with each other.
    #[arg(long)]
    shipper: Vec<PathBuf>,
    /// How many lines, of 200 bytes; of 2 KB a fifth.
    #[arg(long, default_value_t = 2_000_000)]
    lines: u64,
    /// In how many containers' logs.
    #[arg(long, default_value_t = 1)]
    files: u64,
    /// How it reads: `hybrid`, or `pool` from a simulated Docker Engine.
    #[arg(long, default_value = "hybrid")]
    design: String,
    /// How often each.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// One kind of lines only: 0 of 200 bytes, 1 of 2 KB, 2 full of escapes.
    #[arg(long)]
    kind: Option<usize>,
    /// Be the bare loop: of the logs below this folder …
    #[arg(long, hide = true)]
    bare: Option<PathBuf>,
    /// … to this sink.
    #[arg(long, hide = true)]
    sink: Option<String>,
}

/// What one run took.
#[derive(Clone, Copy, Debug)]
struct Took {
    cpu_s: f64,
    wall_s: f64,
    rss_mib: f64,
}

fn main() -> io::Result<()> {
    let cli = Cli::parse();
    if let (Some(root), Some(sink)) = (&cli.bare, &cli.sink) {
        bare::ship(root, sink)?;
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        println!("{}.{:09}", cpu.tv_sec, cpu.tv_nsec);
        return Ok(());
    }
    println!(
        "{:<16} {:<44} {:>9} {:>7} {:>10} {:>7}",
        "lines", "who", "CPU s/M", "/floor", "lines/s", "RSS MiB"
    );
    for (place, kind) in Kind::ALL.into_iter().enumerate() {
        if cli.kind.is_none_or(|only| only == place) {
            compare(&cli, kind)?;
        }
    }
    Ok(())
}

fn compare(cli: &Cli, kind: Kind) -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let lines = if kind == Kind::Long { cli.lines / 5 } else { cli.lines } / cli.files * cli.files;
    let root = dir.path().join("containers");
    let logs = logs::write(&root, kind, lines, cli.files)?;
    let sink = world::sink()?;
    let socket = dir.path().join("docker.sock");
    world::engine(&socket, &logs)?;
    logs.iter().try_for_each(warm)?;
    let mut taken: Vec<Vec<Took>> = vec![Vec::new(); cli.shipper.len() + 1];
    for repeat in 0..cli.repeats {
        let mut turns: Vec<usize> = (0..taken.len()).collect();
        if repeat % 2 == 1 {
            turns.reverse();
        }
        for who in turns {
            let took = match who.checked_sub(1) {
                None => floor(&root, sink)?,
                Some(who) => ship((&cli.shipper[who], &cli.design), dir.path(), sink, lines)?,
            };
            taken[who].push(took);
        }
    }
    let millions = lines as f64 / 1e6;
    let median = |who: usize, of: fn(&Took) -> f64| {
        let mut all: Vec<f64> = taken[who].iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    for who in 0..taken.len() {
        let name =
            who.checked_sub(1).map_or("bare loop".to_owned(), |who| cli.shipper[who].display().to_string());
        let cpu_s = median(who, |took| took.cpu_s);
        println!(
            "{:<16} {name:<44} {:>9.3} {:>7.2} {:>10.0} {:>7.1}",
            kind.name(),
            cpu_s / millions,
            cpu_s / median(0, |took| took.cpu_s),
            lines as f64 / median(who, |took| took.wall_s),
            median(who, |took| took.rss_mib),
        );
    }
    Ok(())
}

/// All of it in the page cache.
fn warm(log: &Log) -> io::Result<()> {
    io::copy(&mut fs::File::open(&log.path)?, &mut io::sink()).map(drop)
}

fn floor(root: &Path, sink: SocketAddr) -> io::Result<Took> {
    let began = Instant::now();
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.arg("--bare").arg(root).args(["--sink", &sink.to_string()]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let cpu_s =
        text.trim().parse().map_err(|_| io::Error::other(format!("the bare loop failed: {output:?}")))?;
    Ok(Took { cpu_s, wall_s: began.elapsed().as_secs_f64(), rss_mib: 0.0 })
}

fn ship((program, design): (&Path, &str), dir: &Path, sink: SocketAddr, lines: u64) -> io::Result<Took> {
    let state = tempfile::tempdir_in(dir)?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let config = state.path().join("shipper.yaml");
    fs::write(
        &config,
        format!(
            "design: {design}\nstart: beginning\nstate_dir: {}\nloki: {{url: \"http://{sink}\"}}\n\
             docker: {{host: \"unix://{}/docker.sock\", containers_root: {}/containers}}\n\
             admin: {{listen: \"127.0.0.1:{port}\"}}\n",
            state.path().display(),
            dir.display(),
            dir.display(),
        ),
    )?;
    let began = Instant::now();
    let child = Command::new(program).args(["run", "--config"]).arg(&config).stderr(Stdio::null()).spawn()?;
    let mut child = Ended(child);
    loop {
        std::thread::sleep(Duration::from_millis(20));
        if let Some(status) = child.0.try_wait()? {
            return Err(io::Error::other(format!("{} has ended: {status}", program.display())));
        }
        if delivered(port).unwrap_or(0) >= lines {
            break;
        }
        if began.elapsed() > Duration::from_secs(300) {
            return Err(io::Error::other("it does not come to an end"));
        }
    }
    let wall_s = began.elapsed().as_secs_f64();
    Ok(Took { cpu_s: cpu_s(&child.0)?, wall_s, rss_mib: rss_mib(&child.0)? })
}

/// Killed when dropped: its state is in a folder that goes too.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn delivered(port: u16) -> io::Result<u64> {
    let mut page = TcpStream::connect(("127.0.0.1", port))?;
    page.write_all(b"GET /metrics HTTP/1.1\r\nHost: shipper\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    page.read_to_string(&mut text)?;
    let value = text.lines().find_map(|line| line.strip_prefix("shipper_lines_delivered_total "));
    value.and_then(|value| value.parse().ok()).ok_or_else(|| io::Error::other("it does not say how many"))
}

/// Of all of its threads: none of them ends before it does.
fn cpu_s(child: &Child) -> io::Result<f64> {
    let mut ns = 0.0;
    for thread in fs::read_dir(format!("/proc/{}/task", child.id()))? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        ns += text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0);
    }
    Ok(ns / 1e9)
}

fn rss_mib(child: &Child) -> io::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|kib| kib.parse::<f64>().ok());
    Ok(kib.unwrap_or(0.0) / 1024.0)
}
