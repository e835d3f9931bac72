//! What a sink's process takes in memory while it is given, at full speed, what 48 hours of a run amount to.
//!
//!     cargo run --release -p flatline --example sink_soak [LINES [LINES_PER_REPLACEMENT]]
//!
//! Eight containers write to both outputs, one of them is replaced every 960 lines, as `flatline ab` does every
//! 12 s at 80 lines a second. Each keeps its place in the sink's book, since each line of it is accounted for in
//! the end: to see what grows with lines alone, let no container be replaced (0). Of a thousand lines one is too old and refused, one is missing, one comes twice and
//! ten come late. The sink is a process of its own: what is printed is what the kernel says of that one alone.
#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    reason = "for a person to read; some millions; the list of containers has a constant length"
)]

#[path = "support/push.rs"]
mod push;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write, stdin, stdout};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flatline::clock;
use flatline::loki::server::{Sink, SinkConfig};
use flatline::world::line::{Fields, Stream};
use procfs::process::Process;

use self::push::{EntryAdapter, PUSH_BYTES, StreamAdapter};

/// 8 containers, 10 lines a second each, 48 hours.
const LINES: u64 = 8 * 10 * 48 * 3600;
const CONTAINERS: usize = 8;
/// 12 s of all containers.
const LINES_PER_REPLACEMENT: u64 = 960;
const WINDOW: Duration = Duration::from_secs(3600);
const TENTHS: u64 = 10;

/// One output of one container.
type Output = (String, Stream);

/// What the containers write, and how it reaches the sink.
struct Load {
    lines_per_replacement: u64,
    containers: [Container; CONTAINERS],
    started: u64,
    written: u64,
    expected: Expected,
    /// Come with a later push.
    late: Vec<(Output, EntryAdapter)>,
}

#[derive(Clone, Default)]
struct Container {
    source: String,
    out: u64,
    err: u64,
}

/// What the sink must have counted in the end.
#[derive(Default, Debug, PartialEq, Eq)]
struct Expected {
    distinct: u64,
    twice: u64,
    refused: u64,
}

impl Load {
    fn new(lines_per_replacement: u64) -> Self {
        let (containers, late) = (std::array::from_fn(|_| Container::default()), Vec::new());
        let expected = Expected::default();
        let mut new = Self { lines_per_replacement, containers, started: 0, written: 0, expected, late };
        (0..CONTAINERS).for_each(|_| new.replace());
        new
    }

    /// The oldest container goes, a new one comes.
    fn replace(&mut self) {
        self.containers.rotate_left(1);
        self.started += 1;
        let source = format!("c{:02}", self.started);
        self.containers[CONTAINERS - 1] = Container { source, out: 0, err: 0 };
    }

    /// The next line, and where it was written to.
    fn line(&mut self) -> (Output, EntryAdapter) {
        let turn = usize::try_from(self.written).unwrap_or_default() % CONTAINERS;
        self.written += 1;
        // None is a multiple of 0.
        if self.written.is_multiple_of(self.lines_per_replacement) {
            self.replace();
        }
        let container = &mut self.containers[turn];
        // One in ten goes to standard error.
        let (stream, number) = if (container.out + container.err) % 10 == 9 {
            (Stream::Err, &mut container.err)
        } else {
            (Stream::Out, &mut container.out)
        };
        *number += 1;
        let now_ns = clock::now_ns();
        let too_old = self.written % 1000 == 200;
        let ns = if too_old { now_ns - 2 * 3600 * 1_000_000_000 } else { now_ns };
        let fields = Fields { source: &container.source, stream, number: *number, written_ns: now_ns };
        ((container.source.clone(), stream), EntryAdapter::new(&fields, ns))
    }

    /// A push of the next lines, not beyond this one.
    fn push(&mut self, last: u64) -> Vec<u8> {
        let mut streams: BTreeMap<Output, Vec<EntryAdapter>> = BTreeMap::new();
        let (mut raw, mut late) = (0, std::mem::take(&mut self.late));
        while raw < PUSH_BYTES && self.written < last {
            let (output, entry) = self.line();
            raw += entry.line.len();
            let place = self.written % 1000;
            match place {
                200 => self.expected.refused += 1,
                // Never arrives.
                400 => continue,
                _ => self.expected.distinct += 1,
            }
            if place == 600 {
                self.expected.twice += 1;
                late.push((output.clone(), entry.clone()));
            }
            if place % 100 == 50 {
                self.late.push((output, entry));
            } else {
                streams.entry(output).or_default().push(entry);
            }
        }
        for (output, entry) in late {
            streams.entry(output).or_default().push(entry);
        }
        let streams = streams.into_iter().map(|((source, stream), entries)| {
            let labels = format!("{{container_name=\"{source}\", stream=\"{}\"}}", stream.letter());
            StreamAdapter { labels, entries }
        });
        push::body(streams.collect())
    }
}

/// The sink's process: says where it listens, and in the end what it knows.
fn sink() -> Result<(), Box<dyn Error>> {
    let mut config = SinkConfig::for_run(WINDOW, Default::default(), &Default::default());
    // 48 hours pass in a minute, and with them the half hour after which Loki forgets a silent stream.
    config.loki.ingester.chunk_idle_period = Duration::from_secs(1);
    let sink = Sink::start(None, config)?;
    println!("{}", sink.url());
    stdout().flush()?;
    stdin().read_to_end(&mut Vec::new())?;
    let (ledger, summary) = (sink.ledger(), sink.summary());
    let runs: usize = ledger.sequences().map(|(_, one)| one.runs_count()).sum();
    let found = Expected {
        distinct: summary.lines_delivered,
        twice: summary.lines_duplicated,
        refused: summary.counters.entries_refused,
    };
    println!("{found:?}");
    println!("{} sequences in {runs} runs, {} unrecorded", summary.sequences, ledger.unrecorded);
    Ok(())
}

fn rss_mib(child: &Child) -> Result<f64, Box<dyn Error>> {
    let status = Process::new(child.id().cast_signed())?.status()?;
    Ok(status.vmrss.unwrap_or_default() as f64 / 1024.0)
}

async fn soak(lines: u64, lines_per_replacement: u64) -> Result<(), Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    let mut child = command.arg("sink").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut said = BufReader::new(child.stdout.take().ok_or("it has no standard output")?);
    let mut url = String::new();
    said.read_line(&mut url)?;
    let (client, url) = (reqwest::Client::new(), format!("{}/loki/api/v1/push", url.trim_end()));
    let (mut load, mut first) = (Load::new(lines_per_replacement), None);
    println!("{lines} lines; before the first: {:.1} MiB", rss_mib(&child)?);
    for tenth in 1..=TENTHS {
        let (began, before) = (Instant::now(), load.written);
        // Late ones of the last push come with one more.
        while load.written < lines * tenth / TENTHS || (tenth == TENTHS && !load.late.is_empty()) {
            let request = client.post(&url).header("Content-Type", "application/x-protobuf");
            let answer = request.body(load.push(lines * tenth / TENTHS)).send().await?;
            // Some lines of most pushes are too old.
            let (status, text) = (answer.status().as_u16(), answer.text().await?);
            if status != 204 && !(status == 400 && text.contains("timestamp too old")) {
                return Err(format!("{status}: {text:.300}").into());
            }
        }
        let speed = (load.written - before) as f64 / began.elapsed().as_secs_f64();
        let rss = rss_mib(&child)?;
        first.get_or_insert(rss);
        println!(
            "{:>3} %: {rss:>6.1} MiB   {speed:>7.0} lines/s   {} containers so far",
            tenth * 10,
            load.started
        );
    }
    let (rss, first) = (rss_mib(&child)?, first.unwrap_or_default());
    println!("from the first tenth to the last: {:+.1} MiB", rss - first);
    drop(child.stdin.take());
    let mut rest = String::new();
    said.read_to_string(&mut rest)?;
    print!("{rest}");
    child.wait()?;
    let expected = format!("{:?}", load.expected);
    if rest.starts_with(&expected) { Ok(()) } else { Err(format!("it must be {expected}").into()) }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let first = words.next();
    if first.as_deref() == Some("sink") {
        return sink();
    }
    let number = |word: Option<String>, default| word.map_or(Ok(default), |word| word.parse());
    soak(number(first, LINES)?, number(words.next(), LINES_PER_REPLACEMENT)?).await
}
