//! The command lines of `flatline selftest` and `flatline leak`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::leaky::pace::{Each, Per, Plan, Shape};
use crate::units::Span;

/// Shorter, and the judge has too little to go by; longer, and the samples take too much memory.
const LENGTH: (Span, Span) = (Span::secs(60), Span::secs(6 * 3600));
/// Units of each that a leaking process may be asked for in a minute, or for an event.
const PACE_MAX: f64 = 100_000.0;

/// Options of `flatline selftest`.
#[derive(Args, Debug)]
pub struct SelftestArgs {
    /// How long the processes are looked at, from 1m to 6h
    #[arg(long = "for", value_name = "DURATION", default_value = "2m", value_parser = length)]
    pub length: Span,
    /// The folder for samples, logs and the result [default: reports/<time>-selftest]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Simulates instead: how often which verdict is given, by the pace of a leak and the length of a run
    #[arg(long, conflicts_with_all = ["length", "out"])]
    pub power: bool,
    /// Simulated runs of each pace and length
    #[arg(long, value_name = "N", requires = "power", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub runs: u32,
    /// Seed of everything that is drawn by chance
    #[arg(long, value_name = "N", requires = "power", default_value_t = 1)]
    pub seed: u64,
    /// Draws what was simulated
    #[arg(long, value_name = "FILE.png", requires = "power", value_parser = super::picture)]
    pub plot: Option<PathBuf>,
    /// Prints the result as one JSON document on standard output, and nothing else there
    #[arg(long)]
    pub json: bool,
}

/// Options of `flatline leak`.
#[derive(Args, Debug)]
pub struct LeakArgs {
    /// Where to listen, on loopback; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0", value_parser = loopback)]
    pub listen: std::net::SocketAddr,
    /// Open files more, per minute or per event
    #[arg(long, value_name = "N", default_value_t = 0.0, value_parser = pace)]
    pub fds: f64,
    /// Sockets more, each connected to a peer
    #[arg(long, value_name = "N", default_value_t = 0.0, value_parser = pace)]
    pub sockets: f64,
    /// Pipes more, two descriptors each
    #[arg(long, value_name = "N", default_value_t = 0.0, value_parser = pace)]
    pub pipes: f64,
    /// Inotify instances more
    #[arg(long, value_name = "N", default_value_t = 0.0, value_parser = pace)]
    pub inotify: f64,
    /// Inotify watches more, all of one instance
    #[arg(long, value_name = "N", default_value_t = 0.0, value_parser = pace)]
    pub watches: f64,
    /// Threads more
    #[arg(long, value_name = "N", default_value_t = 0.0, value_parser = pace)]
    pub threads: f64,
    /// Asynchronous tasks more
    #[arg(long, value_name = "N", default_value_t = 0.0, value_parser = pace)]
    pub tasks: f64,
    /// Mappings of memory more, of 33 MiB each; nothing is written there
    #[arg(long, value_name = "N", default_value_t = 0.0, value_parser = pace)]
    pub maps: f64,
    /// Mebibytes of memory more, written to
    #[arg(long, value_name = "N", default_value_t = 0.0, value_parser = pace)]
    pub memory: f64,
    /// So many of a class from the start on, e.g. sockets=300 (repeatable)
    #[arg(long, value_name = "CLASS=N", value_parser = held)]
    pub hold: Vec<(String, usize)>,
    /// What the paces are counted by
    #[arg(long, value_enum, default_value_t = Per::Minute)]
    pub per: Per,
    /// What becomes of what has grown
    #[arg(long, value_enum, default_value_t = Shape::Leak)]
    pub shape: Shape,
    /// Where a warm-up ends, and a sawtooth falls
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub height: u32,
}

impl LeakArgs {
    /// What to leak.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let &Self { fds, sockets, pipes, inotify, watches, threads, tasks, maps, memory, .. } = self;
        let mut held = Each::default();
        for (class, count) in &self.hold {
            held.named().into_iter().filter(|(name, _)| name == class).for_each(|(_, held)| *held += count);
        }
        Plan {
            held,
            paces: Each { fds, sockets, pipes, inotify, watches, threads, tasks, maps, memory },
            per: self.per,
            shape: self.shape,
            height: self.height,
        }
    }
}

/// From sample to sample in a selftest of this length: a second as in a run, and less where that would be too few.
#[must_use]
pub fn sample_every(length: Span) -> Duration {
    (length.0 / 120).clamp(Duration::from_millis(500), Duration::from_secs(1))
}

fn length(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error: crate::units::InvalidSpan| error.to_string())?;
    let (least, most) = LENGTH;
    if (least..=most).contains(&span) {
        Ok(span)
    } else {
        Err(format!("from {least} to {most} can be judged"))
    }
}

fn loopback(text: &str) -> Result<std::net::SocketAddr, String> {
    let address: std::net::SocketAddr =
        text.parse().map_err(|_| "write an address and a port, e.g. 127.0.0.1:0".to_owned())?;
    let own = address.ip().is_loopback();
    if own {
        Ok(address)
    } else {
        Err("it can be reached by other machines; it leaks for this one alone".to_owned())
    }
}

fn pace(text: &str) -> Result<f64, String> {
    let pace: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    let fits = (0.0..=PACE_MAX).contains(&pace);
    if fits { Ok(pace) } else { Err(format!("from 0 to {PACE_MAX} are possible")) }
}

fn held(text: &str) -> Result<(String, usize), String> {
    let classes = Each::<usize>::default().named().map(|(name, _)| name);
    let (class, count) = text.split_once('=').ok_or("write CLASS=N, e.g. sockets=300")?;
    if !classes.contains(&class) {
        return Err(format!("there is no class {class:?}; there are {}", classes.join(", ")));
    }
    let count: u32 = count.parse().map_err(|_| format!("{count:?} is no whole number"))?;
    let fits = f64::from(count) <= PACE_MAX;
    let count = usize::try_from(count).ok().filter(|_| fits);
    Ok((class.to_owned(), count.ok_or_else(|| format!("up to {PACE_MAX} are possible"))?))
}

pub(super) const SELFTEST_HELP: &str = "\
Seven processes run at once, each this program's `flatline leak`: one that is flat; one that leaks file
descriptors, one threads, one tasks, 20 a minute; one that leaks with each event that it is told of; one that only
warms up; one that piles up and gives back. They are sampled and judged by the code of a run. No Docker is needed.

With --power nothing runs: leaks are simulated under the churn of containers, steady ones and ones whose units come
by chance, from none to twenty times the limit, in runs from 3 minutes to an hour.

Examples:
  flatline selftest                                   does the judge find what leaks, and only that? two minutes
  flatline selftest --for 10m --out /tmp/selftest     longer; samples.csv there is for `flatline analyze --plot`
  flatline selftest --power --plot power.png          how long must a run be to see a leak of so many a minute?

Exit codes:
  0  every verdict is as expected
  1  the judge was wrong: a leak passed, or what does not leak failed
  2  bad usage
  3  not decided, or stopped before its time
  4  the environment failed (a process would not start, disk)";

pub(super) const LEAK_HELP: &str = "\
Prints `listening on http://…` first and serves /ready and /metrics there (tokio_alive_tasks, counted by the runtime;
leak_tasks by kind), and takes POST /event. What it holds is real: open files, sockets, pipes, inotify instances and watches, threads and tasks that wait, mappings.
SIGTERM ends it.

Examples:
  flatline leak --fds 10                              a descriptor every six seconds
  flatline leak --tasks 43 --fds 10                   the post-mortem's leak
  flatline leak --threads 0.5 --per event             a thread for every second POST to /event
  flatline leak --watches 30 --hold sockets=200       inotify watches, beside sockets that stay
  flatline leak --fds 120 --shape warmup --height 50  opens fifty in 25 seconds, and keeps them
  flatline leak --fds 120 --shape sawtooth            piles up twenty, gives them back, again and again

It ends with 0 when it is told to, and with 4 where the system gives it no more.";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::target::spec::{Entry, Facts, Kind, Spec};

    #[test]
    fn short_selftests_have_more_samples_a_second() {
        assert_eq!(sample_every(Span::secs(60)), Duration::from_millis(500));
        assert_eq!(sample_every(Span::secs(90)), Duration::from_millis(750));
        assert_eq!(sample_every(Span::secs(3600)), Duration::from_secs(1));
    }

    #[test]
    fn what_can_not_be_asked_is_refused_with_what_can() {
        assert!(length("59s").unwrap_err().contains("1m"), "{:?}", length("59s"));
        assert!(length("7h").is_err() && length("90").unwrap_err().contains("unit"));
        assert!(pace("-1").is_err() && pace("NaN").is_err() && pace("inf").is_err() && pace("many").is_err());
        assert_eq!(held("pipes=3"), Ok(("pipes".to_owned(), 3)));
        assert!(
            held("disks=3").unwrap_err().contains("sockets")
                && held("pipes").unwrap_err().contains("CLASS=N")
        );
        assert!(held("pipes=-1").is_err() && held("pipes=100001").is_err());
        assert!(loopback("0.0.0.0:1").unwrap_err().contains("other machines") && loopback("[::1]:0").is_ok());
    }

    /// The command line of `scenarios/targets/leaky.yaml`, as a run fills it in.
    fn as_a_target(settings: &[(&str, serde_json::Value)]) -> Result<Plan, clap::Error> {
        let kind: Kind =
            serde_saphyr::from_str(include_str!("../../../scenarios/targets/leaky.yaml")).unwrap();
        let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let entry =
            Entry { settings, ..serde_saphyr::from_str("{ file: leaky.yaml, expect: leak }").unwrap() };
        let facts = Facts {
            config: "c".into(),
            sink_url: "http://127.0.0.1:1".into(),
            admin: "127.0.0.1:2".into(),
            state_dir: "s".into(),
            docker_host: "unix:///docker.sock".into(),
            containers_root: "/containers".into(),
            run_label: "flatline.run=x".into(),
            window: "15s".into(),
        };
        let filled = Spec::join("leaky", kind, entry).unwrap().fill(&facts).unwrap();
        let Command::Leak(arguments) = Cli::try_parse_from(filled.command)?.command else {
            panic!("it is another command");
        };
        Ok(arguments.plan())
    }

    #[test]
    fn the_leaky_target_of_a_scenario_is_a_command_line_of_ours() {
        let plan = as_a_target(&[]).unwrap();
        assert_eq!((plan.paces.fds, plan.paces.tasks, plan.per), (20.0, 20.0, Per::Minute));
        let plan =
            as_a_target(&[("shape", "sawtooth".into()), ("height", 7.into()), ("per", "event".into())]);
        let Plan { per, shape, height, .. } = plan.unwrap();
        assert_eq!((per, shape, height), (Per::Event, Shape::Sawtooth, 7));
        assert!(as_a_target(&[("fds", "lots".into())]).is_err());
    }
}
