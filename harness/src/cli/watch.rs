//! The command line of `flatline watch`.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};

use super::{JudgingArgs, UsageError};
use crate::run::progress::Show;
use crate::run::watch::{Order, Page, Whom};
use crate::units::Span;
use crate::world::engine;

/// More often, and watching costs more than it tells; less often, and a verdict takes for ever.
const EVERY: (Span, Span) = (Span(std::time::Duration::from_millis(50)), Span::secs(3600));

/// Options of `flatline watch`.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("whom").required(true).args(["pid", "container", "command"])))]
pub struct WatchArgs {
    /// The process id
    #[arg(value_name = "PID", value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    pub pid: Option<u32>,
    /// The first process of a container, also when it is restarted
    #[arg(long, value_name = "NAME")]
    pub container: Option<String>,
    /// A command, which is started, watched and ended; what it writes goes into logs/command.log of the folder
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Counts its descendants with it, whoever they are at each look
    #[arg(long)]
    pub children: bool,
    /// Lists resident memory by class as well, for which the kernel walks the page tables of the process
    #[arg(long)]
    pub smaps: bool,
    /// How long [default: until Ctrl-C or the end of the process]
    #[arg(long = "for", value_name = "DURATION", value_parser = length)]
    pub length: Option<Span>,
    /// From sample to sample
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = every)]
    pub every: Span,
    /// A page in Prometheus' format that says how many tasks or goroutines there are
    #[arg(long, value_name = "URL", value_parser = page)]
    pub metrics: Option<String>,
    /// The gauge on it [default: tokio_alive_tasks, or else go_goroutines]
    #[arg(long, value_name = "NAME", requires = "metrics")]
    pub tasks_metric: Option<String>,
    /// The metric on it whose labels say which kinds of tasks there are [default: the gauge itself]
    #[arg(long, value_name = "NAME", requires = "metrics")]
    pub tasks_by_kind: Option<String>,
    /// How to judge fds, threads, tasks, watches, rss_bytes and cpu_seconds
    #[command(flatten)]
    pub judging: JudgingArgs,
    /// Ends with the first leak that is called: of what has a --bound, at looks that are fixed in advance
    #[arg(long, requires = "bound")]
    pub fail_fast: bool,
    /// The folder for samples, kinds, events, the plot and the verdicts [default: reports/<time>-watch]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Prints the verdicts as one JSON document on standard output, as `analyze` does, and nothing else there
    #[arg(long)]
    pub json: bool,
}

impl WatchArgs {
    /// What to do, in a run of this id that began at a time that is written so.
    ///
    /// # Errors
    /// [`UsageError`] where an option names a column twice.
    pub fn order(self, stamp: &str, run_id: String) -> Result<Order, UsageError> {
        let whom = match (self.pid, self.container) {
            (Some(pid), _) => Whom::Pid(pid),
            (None, Some(name)) => Whom::Container { name, docker_host: engine::default_host() },
            (None, None) => Whom::Command(self.command),
        };
        let (gauge, by_kind) = (self.tasks_metric, self.tasks_by_kind);
        Ok(Order {
            whom,
            children: self.children,
            smaps: self.smaps,
            page: self.metrics.map(|url| Page { url, gauge, by_kind }),
            every: self.every.0,
            length: self.length.map(|length| length.0),
            question: self.judging.question()?,
            fail_fast: self.fail_fast,
            out: self.out.unwrap_or_else(|| Path::new("reports").join(format!("{stamp}-watch"))),
            run_id,
            show: Show::Progress,
        })
    }
}

fn length(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error: crate::units::InvalidSpan| error.to_string())?;
    if span.0.is_zero() { Err("nothing can be seen in no time".to_owned()) } else { Ok(span) }
}

fn every(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error: crate::units::InvalidSpan| error.to_string())?;
    let (least, most) = EVERY;
    if (least..=most).contains(&span) { Ok(span) } else { Err(format!("from {least} to {most} is possible")) }
}

fn page(text: &str) -> Result<String, String> {
    let is_http = text.starts_with("http://") || text.starts_with("https://");
    let has_host = text.parse::<http::Uri>().is_ok_and(|uri| uri.host().is_some());
    let example = "write an address, e.g. http://127.0.0.1:9080/metrics";
    if is_http && has_host { Ok(text.to_owned()) } else { Err(example.to_owned()) }
}

pub(super) const USAGE: &str = "flatline watch [OPTIONS] PID
       flatline watch [OPTIONS] --container NAME
       flatline watch [OPTIONS] -- COMMAND [ARGUMENTS]...";

pub(super) const WATCH_HELP: &str = "\
Looks at threads, file descriptors, memory and CPU time of a process, and with --metrics at its tasks or goroutines, and
shows their growth as it goes. It ends on Ctrl-C, after --for, or with the process; then it says which growth is a leak,
as `flatline analyze` does, and of which kind (files by place, sockets by peer, threads by name), and which memory grows by
class. Inotify watches are judged where there are any, memory only by a --limit. Nothing is done to the process, and
nothing is needed of it. Ctrl-C is an ordinary end: what was seen until then is judged. A --limit may be set for fds,
threads, tasks, watches, rss_bytes and cpu_seconds. Whatever runs another program (exec) begins anew: each is judged by
itself.

Examples:
  flatline watch 4711                                 until Ctrl-C
  flatline watch $(pgrep -o nginx) --for 10m          ten minutes of the oldest nginx
  flatline watch $(cat /run/postgresql.pid) --children with all that descend from it, whoever they are at the time
  flatline watch --container web --for 1h             also when it is restarted: each life is judged by itself
  flatline watch --for 10m -- ./server --port 8080    starts it, and ends it with SIGTERM
  flatline watch 4711 --metrics http://127.0.0.1:6060/metrics             and its goroutines
  flatline watch 4711 --metrics http://127.0.0.1:9080/metrics --tasks-metric queue_workers
  flatline watch 4711 --limit fds=0.5 --limit rss_bytes=1e6               only these; 1 MB a minute
  flatline watch 4711 --for 8h --bound fds=60 --fail-fast                 no longer than until a leak is called

In the folder: samples.csv (for `flatline analyze`), fds.csv, threads.csv, tasks.csv, watches.csv and memory.csv by kind,
events.csv, watch.png, watch.json. Of another user's process only root sees the kinds of descriptors and memory; what
can't be read is said once.

Exit codes:
  0  every growth lies below its limit
  1  a leak, or a command that ended by itself and not with 0
  2  bad usage
  3  not decided: too short, or the samples can't be trusted
  4  the environment failed (no such process, no Docker Engine, no metrics page, disk)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_asked_is_refused_with_what_can() {
        assert!(length("0s").is_err() && length("ten").unwrap_err().contains("unit"));
        assert!(every("1ms").unwrap_err().contains("50ms") && every("2h").is_err() && every("200ms").is_ok());
        for wrong in ["localhost:9080", "ftp://x/metrics", "http://", "http:// x"] {
            assert!(page(wrong).unwrap_err().contains("http://127.0.0.1"), "{wrong}");
        }
        assert!(page("http://[::1]:9080/metrics?x=1").is_ok());
    }
}
