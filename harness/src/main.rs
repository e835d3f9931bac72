//! `flatline`: parses, runs, and turns what came out into an exit code.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use jiff::tz::TimeZone;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use flatline::cli::exit::{ENVIRONMENT, MET, MISSED, code, code_of, code_of_bench, code_of_worst, in_words};
use flatline::cli::told::Told;
use flatline::cli::{
    self, AbArgs, AnalyzeArgs, BenchArgs, Cli, Command, DoctorArgs, EngineArgs, GenerateArgs, LeakArgs,
    MockLokiArgs, RunArgs, RunOptions, SelftestArgs, ShowOptions, WatchArgs,
};
use flatline::embedded::Embedded;
use flatline::faults::Plan;
use flatline::leaky::Leaky;
use flatline::loki::config::{Config, load_faults};
use flatline::loki::server::{Sink, SinkConfig};
use flatline::orphans;
use flatline::report::recorded::Recorded;
use flatline::result::SCHEMA;
use flatline::run::afterwards::Afterwards;
use flatline::run::analyze::analyze;
use flatline::run::doctor::findings::{self, State};
use flatline::run::live::Live;
use flatline::run::order::Order;
use flatline::run::progress::Show;
use flatline::run::selftest;
use flatline::run::watch;
use flatline::run::{ab, actions, bench, clean, doctor, power, resume};
use flatline::sample::daemons;
use flatline::scenario;
use flatline::world::engine;
use flatline::world::generate;
use flatline::{clock, report};

/// How long the mock Loki says that it is stopping.
const STOPPING_LASTS: Duration = Duration::from_millis(500);
const STOPPING: &str = "flatline: stopping in order; this takes some seconds";

fn main() -> ExitCode {
    let command = Cli::parse().command;
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(carry_out(command)),
        Err(error) => {
            say(&format!(
                "flatline: can't begin: {error}; `ulimit -n` and `ulimit -u` say what is allowed here"
            ));
            ExitCode::from(ENVIRONMENT)
        }
    }
}

async fn carry_out(command: Command) -> ExitCode {
    let done = match command {
        Command::Ab(AbArgs { scenario, options }) => Box::pin(run(scenario.as_deref(), options)).await,
        Command::Run(arguments) => Box::pin(run_named(arguments)).await,
        Command::Bench(arguments) => Box::pin(bench(arguments)).await,
        Command::Analyze(arguments) => judge_file(arguments),
        Command::Watch(arguments) => Box::pin(watch(*arguments)).await,
        Command::Report(arguments) => arguments.carry_out().and_then(tell),
        Command::Compare(arguments) => arguments.carry_out().and_then(tell),
        Command::History(arguments) => arguments.carry_out().and_then(tell),
        Command::Baseline(arguments) => arguments.carry_out().and_then(tell),
        Command::Merge(arguments) => arguments.carry_out().and_then(tell),
        Command::Clean => clean().await,
        Command::Doctor(arguments) => doctor(arguments).await,
        Command::MockLoki(arguments) => mock_loki(arguments).await,
        Command::Selftest(arguments) if arguments.power => power(&arguments),
        Command::Selftest(arguments) => Box::pin(selftest(arguments)).await,
        Command::Leak(arguments) => leak(arguments).await,
        // Within the first thread, as this is carried out there.
        Command::Confine(arguments) => Err(arguments.run().into()),
        Command::Engine(arguments) => engine_alone(&arguments).await,
        Command::Schema { of } => print_schema(of),
        Command::Generate(arguments) => generate(arguments).await,
    };
    done.unwrap_or_else(|error| {
        let words = in_words(&error);
        say(&format!("flatline: {words}"));
        actions::failed(&words).iter().for_each(|line| say(line));
        ExitCode::from(code_of(&error))
    })
}

async fn run_named(arguments: RunArgs) -> anyhow::Result<ExitCode> {
    if let Some(folder) = &arguments.resume {
        let order = resume::order(folder, orphans::run_id(&stamp()), Show::Progress)?;
        let RunOptions { baseline, history, shown, .. } = arguments.options;
        return conduct(order, &Afterwards::new(baseline, history)?, shown).await;
    }
    let scenario = arguments.named()?;
    run(Some(&scenario), arguments.options).await
}

async fn run(scenario: Option<&Path>, arguments: RunOptions) -> anyhow::Result<ExitCode> {
    let revision = arguments.revision();
    let loaded = scenario::load(scenario, &arguments.changes.overrides())?;
    let after = Afterwards::new(arguments.baseline, arguments.history)?;
    let stamp = stamp();
    let default_out = || PathBuf::from("reports").join(format!("{stamp}-{}", loaded.scenario.name));
    let order = Order {
        run_id: orphans::run_id(&stamp),
        out: arguments.out.unwrap_or_else(default_out),
        engine: arguments.engine,
        docker_host: engine::default_host(),
        revision,
        fail_fast: arguments.fail_fast,
        command: std::env::args().collect(),
        show: Show::Progress,
        loaded,
        missing: Vec::new(),
        earlier: None,
    };
    conduct(order, &after, arguments.shown).await
}

async fn conduct(order: Order, after: &Afterwards, arguments: ShowOptions) -> anyhow::Result<ExitCode> {
    orphans::be_known().context("can't name this process")?;
    let mut live = None;
    if let Some(address) = arguments.serve {
        cli::reachable(address, arguments.expose)?;
        let program = std::env::current_exe().context("can't find this program")?;
        let shown = live.insert(Live::listen(address, &order.out, program).await?);
        say(&format!("live report: {}", shown.url()));
    }
    let stop = CancellationToken::new();
    let out = order.out.clone();
    let result = with_signals(&stop, STOPPING, Box::pin(Live::during(live, ab::run(order, &stop)))).await?;
    let report = out.join("report.html");
    if result.is_err() && report.is_file() {
        say(&format!("report of what was seen until then: {}", report.display()));
    }
    if result.is_err() {
        // It failed, and was a night: what there is of it stands in the history.
        after.note(&out).unwrap_or_default().iter().for_each(|line| say(line));
    }
    let done = after.carry_out(&out, result?)?;
    let result = &done.result;
    if arguments.json {
        print(&serde_json::to_string_pretty(&result.verdict)?)?;
    } else {
        print(&report::terminal(result))?;
    }
    say(&format!("report: {}", report.display()));
    done.said.iter().for_each(|line| say(&format!("flatline: {line}")));
    actions::tell(result).iter().for_each(|line| say(line));
    Ok(ExitCode::from(if done.is_worse() { MISSED } else { code(result.verdict.outcome) }))
}

async fn bench(arguments: BenchArgs) -> anyhow::Result<ExitCode> {
    let (stamp, json) = (stamp(), arguments.json);
    let order = arguments.order(&stamp, orphans::run_id(&stamp))?;
    orphans::be_known().context("can't name this process")?;
    let stop = CancellationToken::new();
    let out = order.out.clone();
    let found = with_signals(&stop, STOPPING, Box::pin(bench::run(order, &stop))).await??;
    report::bench_picture::plot(&found, &out.join("bench.png"))?;
    print(&if json { serde_json::to_string_pretty(&found)? } else { report::bench::table(&found) })?;
    say(&format!("results: {}", out.display()));
    Ok(ExitCode::from(code_of_bench(&found)))
}

fn print_schema(of: scenario::schema::Of) -> anyhow::Result<ExitCode> {
    print(&serde_json::to_string_pretty(&scenario::schema::of(of))?)?;
    Ok(ExitCode::from(MET))
}

/// The time, as it stands in the names of run directories.
fn stamp() -> String {
    clock::wall_rfc3339().replace([':', '-'], "")
}

/// Does `work`. The first SIGINT, SIGTERM or SIGHUP (the terminal was closed) cancels `stop`; the work
/// then cleans up after itself, and further signals change nothing about that.
async fn with_signals<T>(
    stop: &CancellationToken,
    on_stop: &str,
    work: impl Future<Output = T>,
) -> anyhow::Result<T> {
    let mut interrupt = signal(SignalKind::interrupt()).context("can't listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("can't listen for SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).context("can't listen for SIGHUP")?;
    let mut work = pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        stop.cancel();
        say(on_stop);
    }
}

fn judge_file(arguments: AnalyzeArgs) -> anyhow::Result<ExitCode> {
    let question = arguments.judging.question()?;
    let mut recorded = arguments.plot.as_ref().map(|_| Recorded::default());
    let analysis = analyze(&arguments.file, &question, recorded.as_mut())?;
    print(&if arguments.json {
        serde_json::to_string_pretty(&analysis)?
    } else {
        report::verdicts::verdicts(&analysis.targets, colours())
    })?;
    if let (Some(path), Some(recorded)) = (&arguments.plot, recorded) {
        recorded.write(path, &arguments.file.display().to_string())?;
        say(&format!("plot: {}", path.display()));
    }
    Ok(ExitCode::from(code_of_worst(analysis.worst())))
}

async fn watch(arguments: WatchArgs) -> anyhow::Result<ExitCode> {
    let (stamp, json) = (stamp(), arguments.json);
    let order = arguments.order(&stamp, orphans::run_id(&stamp))?;
    orphans::be_known().context("can't name this process")?;
    let stop = CancellationToken::new();
    let out = order.out.clone();
    let watched =
        with_signals(&stop, "flatline: judging what was seen", Box::pin(watch::run(order, &stop))).await??;
    if json {
        print(&serde_json::to_string_pretty(&watched.found)?)?;
        watched.found.leaks.iter().for_each(|leaks| say(&format!("flatline: {leaks}")));
    } else {
        print(&report::verdicts::verdicts(&watched.found.analysis.targets, colours()))?;
        print(&report::watched::kinds(&watched.found.kinds))?;
        watched.found.leaks.iter().try_for_each(|leaks| print(&format!("\n{leaks}")))?;
    }
    say(&format!("flatline: {}", watched.ended));
    say(&format!("samples, kinds and plot: {}", out.display()));
    let code = code_of_worst(watched.found.analysis.worst());
    Ok(ExitCode::from(if watched.failed { MISSED } else { code }))
}

/// Only where a person looks, and has not asked for none (<https://no-color.org>).
fn colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

async fn clean() -> anyhow::Result<ExitCode> {
    let removed = clean::clean().await?;
    print(&removed.to_string())?;
    removed.silent().map_or(Ok(ExitCode::from(MET)), |error| Err(error.into()))
}

async fn doctor(arguments: DoctorArgs) -> anyhow::Result<ExitCode> {
    let loaded = scenario::load(arguments.scenario.as_deref(), &arguments.changes.overrides())?;
    let host = engine::default_host();
    let facts = doctor::facts_with_engine(&loaded, &arguments.out, arguments.engine, &host).await;
    let findings = findings::all(&facts);
    let is_missing = findings.iter().any(|finding| finding.state == State::Missing);
    print(&if arguments.json {
        serde_json::to_string_pretty(&serde_json::json!({ "schema": SCHEMA, "findings": findings }))?
    } else {
        findings::list(&findings)
    })?;
    Ok(ExitCode::from(if is_missing { ENVIRONMENT } else { MET }))
}

async fn mock_loki(arguments: MockLokiArgs) -> anyhow::Result<ExitCode> {
    let listen = arguments.listen;
    cli::reachable(listen, arguments.expose)?;
    let mut loki = arguments.config.as_deref().map_or_else(|| Ok(Config::default()), Config::load)?;
    if let Some(max_age) = arguments.max_age {
        loki.set_max_age(max_age.0);
    }
    if arguments.ready_at_once {
        loki.ingester.lifecycler.min_ready_duration = Duration::ZERO;
    }
    let faults = arguments.faults.as_deref().map_or_else(|| Ok(Plan::default()), load_faults)?;
    let sink = SinkConfig { loki, keep: arguments.keep, zone: TimeZone::system(), faults };
    let sink = Sink::start(Some(listen), sink)?;
    sink.begin();
    let stop = CancellationToken::new();
    // Signals are heard before anyone is told where it listens: who reads that may send one at once.
    let listening = async {
        print(&format!("listening on {}", sink.url()))?;
        stop.cancelled().await;
        anyhow::Ok(())
    };
    with_signals(&stop, "flatline: stopped", listening).await??;
    // As Loki does: it says that it is stopping for a moment, and then it listens no more.
    sink.stop();
    tokio::time::sleep(STOPPING_LASTS).await;
    let summary = sink.summary();
    if arguments.json {
        print(&serde_json::to_string(&summary)?)?;
    } else {
        print(&summary.to_string())?;
    }
    Ok(ExitCode::from(MET))
}

async fn selftest(arguments: SelftestArgs) -> anyhow::Result<ExitCode> {
    let stamp = stamp();
    let order = selftest::Order {
        length: arguments.length.0,
        every: cli::sample_every(arguments.length),
        out: arguments.out.unwrap_or_else(|| PathBuf::from("reports").join(format!("{stamp}-selftest"))),
        run_id: orphans::run_id(&stamp),
        show: Show::Progress,
    };
    orphans::be_known().context("can't name this process")?;
    let stop = CancellationToken::new();
    let out = order.out.clone();
    let result = with_signals(&stop, STOPPING, Box::pin(selftest::run(order, &stop))).await??;
    print(&if arguments.json {
        serde_json::to_string_pretty(&result)?
    } else {
        report::selftest::table(&result, colours())
    })?;
    say(&format!("samples and logs: {}", out.display()));
    Ok(ExitCode::from(code(result.outcome)))
}

fn power(arguments: &SelftestArgs) -> anyhow::Result<ExitCode> {
    let power = power::power(power::Study { runs: arguments.runs, seed: arguments.seed }, Show::Progress);
    print(&if arguments.json {
        serde_json::to_string_pretty(&power)?
    } else {
        report::power::table(&power)
    })?;
    if let Some(path) = &arguments.plot {
        report::power::plot(&power, path)?;
        say(&format!("plot: {}", path.display()));
    }
    Ok(ExitCode::from(MET))
}

async fn leak(arguments: LeakArgs) -> anyhow::Result<ExitCode> {
    let leaky = Leaky::listen(arguments.listen, arguments.plan()).await?;
    let stop = CancellationToken::new();
    // Signals are heard before anyone is told where it listens, as with the mock Loki.
    let leaking = async {
        print(&format!("listening on {}", leaky.url()?))?;
        anyhow::Ok(leaky.run(&stop).await?)
    };
    with_signals(&stop, "flatline: stopped", leaking).await??;
    Ok(ExitCode::from(MET))
}

async fn engine_alone(arguments: &EngineArgs) -> anyhow::Result<ExitCode> {
    // Or a run's engine, which is started by /proc/self/exe, would be called that.
    fs::write("/proc/self/comm", daemons::EMBEDDED).context("can't set this process's name")?;
    let engine = Embedded::listen(&arguments.listen, &arguments.root, cli::generator)?;
    let stop = CancellationToken::new();
    // Signals are heard before anyone is told where it listens, as with the mock Loki.
    let serving = async {
        print(&format!("listening on unix://{}", std::path::absolute(&arguments.listen)?.display()))?;
        engine.run(&stop).await;
        anyhow::Ok(())
    };
    with_signals(&stop, "flatline: ending every container", serving).await??;
    Ok(ExitCode::from(MET))
}

async fn generate(arguments: GenerateArgs) -> anyhow::Result<ExitCode> {
    generate::run(arguments.config()).await?;
    Ok(ExitCode::from(MET))
}

fn tell(Told { printed, said, code }: Told) -> anyhow::Result<ExitCode> {
    print(&printed)?;
    said.iter().for_each(|line| say(line));
    Ok(ExitCode::from(code))
}

/// What was asked for goes to standard output. A reader that has read enough (`| head`) is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("can't write to standard output")
        }
        _ => Ok(()),
    }
}

/// What a person should know goes to standard error; where the terminal is gone, nobody is there to know.
fn say(text: &str) {
    writeln!(io::stderr(), "{text}").unwrap_or_default();
}
