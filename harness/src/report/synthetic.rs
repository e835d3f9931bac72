//! A run made up for tests: three targets, 270 samples each, one of them leaking as the post-mortem's did.

use std::collections::BTreeMap;

use crate::result::{
    Allowance, Audit, Basis, Comparison, DrainResult, Event, EventGrowth, EventKind, Exhausted, Exhaustion,
    Expect, FittedLine, Judgement, KeptKind, KindGrowth, Latency, Machine, Manifest, Missed, Outcome, Pair,
    Phase, ProcessCount, ProcessGrowth, Projection, Resource, ResourceResult, RunIn, RunResult, SCHEMA,
    Sample, Stability, TargetResult, Terms, Verdict, VerdictFile,
};

const PHASES: [(&str, f64, f64); 4] =
    [("history", 0.0, 40.0), ("warmup", 40.0, 70.0), ("load", 70.0, 250.0), ("drain", 250.0, 280.0)];

/// Small whole noise that is the same every time.
fn noise(seed: u32, step: u32) -> u64 {
    let mixed = seed.wrapping_mul(2_654_435_761).wrapping_add(step.wrapping_mul(40_503)) ^ (step << 7);
    u64::from((mixed >> 11) % 3)
}

/// A run with targets of these names: the first two flat, the third leaking.
pub(super) fn run(names: [&str; 3]) -> RunResult {
    let growth = [(0.02, 0.0), (-0.11, 0.03), (43.08, 10.04)];
    let targets =
        names.iter().zip(growth).map(|(name, (tasks, fds))| ((*name).to_owned(), target(name, tasks, fds)));
    let verdict = VerdictFile {
        schema: SCHEMA,
        outcome: Outcome::Met,
        reason: "pool and hybrid stay flat and lose no line; the control archived leaks tasks and file \
                 descriptors, so this run can see a leak"
            .to_owned(),
        cut_short: false,
        stopped_early: None,
        unaccounted: Vec::new(),
        targets: targets.collect(),
        comparisons: comparisons(names),
        processes: processes(names),
    };
    RunResult {
        manifest: manifest(names),
        verdict,
        samples: samples(names).into_iter().collect(),
        events: events(),
        against: None,
    }
}

/// A run on which much went wrong: cut short, a crash, a fault, an open verdict, one that can't be trusted, a
/// resource without growth, lines lost, and names and words that try to break out of the page.
pub(super) fn troubled() -> RunResult {
    let names = ["a-shipper-with-quite-a-long-name", "hybrid", HOSTILE];
    let mut run = run(names);
    run.manifest.ended = "interrupted".to_owned();
    run.manifest.command.push(format!("--set=name={HOSTILE}"));
    run.manifest.scenario_yaml.push_str(HOSTILE);
    run.verdict.outcome = Outcome::Undecided;
    run.verdict.cut_short = true;
    run.verdict.reason = format!("tasks of hybrid are not decided; {HOSTILE}");
    let is_seen = |at: f64| at < 200.0 && !(120.0..140.0).contains(&at);
    run.samples = samples(names).into_iter().filter(|sample| is_seen(sample.elapsed_s)).collect();
    let more = [
        (70.0, "", "step", "lines ×1, churn ×1, for 1m"),
        (130.0, "", "step", "lines ×4, churn ×2, for 1m"),
        (90.0, "", "fault", "sink down"),
        (110.0, "", "fault_end", "sink back"),
        (150.0, HOSTILE, "crash", HOSTILE),
    ];
    run.events.extend(more.map(|(at_s, target, name, detail)| event(at_s, target, name, detail)));
    run.events.sort_by(|a, b| a.elapsed_s.total_cmp(&b.elapsed_s));
    if let Some(hybrid) = run.verdict.targets.get_mut("hybrid") {
        trouble(hybrid);
    }
    run
}

pub(super) const HOSTILE: &str = "<script>alert(1)</script> | `x` [y](z)"; // what a name from outside may try

fn trouble(target: &mut TargetResult) {
    target.met = false;
    target.reason = HOSTILE.to_owned();
    target.audit = target.audit.map(|audit| Audit { lost: 3, ..audit });
    target.stability.crashes = 2;
    target.stability.restarts = 2;
    target.exhausted = vec![Exhaustion {
        what: Exhausted::Fds,
        limit: 1_024,
        at_s: 91.0,
        ended_at_s: Some(91.4),
        projected: None,
        sentence: format!(
            "projected at 00:20 to exhaust 1,024 FDs at 01:34; it did at 01:31 and ended ({HOSTILE})"
        ),
    }];
    target.stability.last_log_lines = vec![HOSTILE.to_owned(), "goodbye".to_owned()];
    for (resource, found) in &mut target.resources {
        found.judgement.verdict = Verdict::Inconclusive;
        found.judgement.ci_high = Some(3.1);
        if *resource == Resource::Threads {
            found.judgement.verdict = Verdict::Invalid;
            found.judgement.growth_per_min = None;
            found.judgement.ci_low = None;
            found.judgement.ci_high = None;
            found.judgement.floor_per_min = None;
            found.line = None;
            found.drain = None;
        }
    }
}

fn manifest(names: [&str; 3]) -> Manifest {
    Manifest {
        missing_targets: Vec::new(),
        shard: None,
        schema: SCHEMA,
        run_id: "q7x2m4".to_owned(),
        started_at: "2026-03-14T09:26:53Z".to_owned(),
        command: ["flatline", "ab", "scenarios/quick.yaml", "--seed", "7"].map(str::to_owned).to_vec(),
        scenario: "quick".to_owned(),
        scenario_yaml: "name: quick\nphases: { history: 40s, warmup: 30s, load: 180s, drain: 30s }\n"
            .to_owned(),
        seed: 7,
        version: "0.1.0".to_owned(),
        commit: "0f1e2d3".to_owned(),
        revision: None,
        engine: "docker 24.0.7".to_owned(),
        kernel: "6.1.0-18-amd64".to_owned(),
        machine: Machine { cpu: "Example CPU".to_owned(), cores: 2, memory_bytes: 8_589_934_592 },
        phases: PHASES.map(|(name, from_s, to_s)| Phase { name: name.to_owned(), from_s, to_s }).to_vec(),
        limits: Resource::ALL.map(|resource| (resource, 2.0)).into_iter().collect(),
        compression: None,
        window_s: 3_600.0,
        targets: names.map(str::to_owned).to_vec(),
        terms: terms(names),
        images: BTreeMap::new(),
        containers_started: 42,
        ended: "finished".to_owned(),
        missed: Missed::default(),
        segments: Vec::new(),
        parts: Vec::new(),
    }
}

fn terms(names: [&str; 3]) -> BTreeMap<String, Terms> {
    let expect = [Expect::Flat, Expect::Flat, Expect::Leak];
    let of = |(name, expect): (&str, Expect)| {
        let must_leak =
            if expect == Expect::Leak { vec![Resource::Tasks, Resource::Fds] } else { Vec::new() };
        (
            name.to_owned(),
            Terms {
                uncounted: Vec::new(),
                design: name.to_owned(),
                expect,
                must_leak,
                must_not_leak: Vec::new(),
                figures: BTreeMap::new(),
                bounds: BTreeMap::new(),
                resources: Allowance { fds: Some(1_024), ..Allowance::default() },
                run_in: RunIn::Process,
            },
        )
    };
    names.into_iter().zip(expect).map(of).collect()
}

/// The third leaks tasks, and the first two are alike.
fn comparisons([first, second, third]: [&str; 3]) -> BTreeMap<Resource, Comparison> {
    let pair = |first: &str, second: &str, difference: f64, sentence: String| Pair {
        first: first.to_owned(),
        second: second.to_owned(),
        difference_per_min: difference,
        ci_low: difference - 0.4,
        ci_high: difference + 0.4,
        times_at_least: (difference > 1.0).then_some(64.0),
        sentence,
    };
    let leaks = format!("{third} leaks at least 64 times faster than {first}");
    let alike = format!("{first} and {second} can't be told apart (at most 0.53 per minute apart)");
    let tasks = Comparison {
        sentence: Some(format!("{leaks} and {second}; {alike}")),
        basis: Basis::SingleRun,
        pairs: vec![pair(third, first, 43.1, leaks), pair(first, second, 0.13, alike)],
    };
    let fds = Comparison { sentence: None, basis: Basis::SingleRun, pairs: Vec::new() };
    BTreeMap::from([(Resource::Tasks, tasks), (Resource::Fds, fds)])
}

fn target(name: &str, tasks: f64, fds: f64) -> TargetResult {
    let leaks = tasks > 2.0;
    let resources = [
        (Resource::Tasks, resource(tasks, 32.0, None, "retry")),
        (Resource::Threads, resource(0.0, 5.0, Some(31_000), "worker-*")),
        (Resource::Fds, resource(fds, 28.0, Some(1_024), "inotify")),
    ];
    TargetResult {
        design: name.to_owned(),
        expect: if leaks { Expect::Leak } else { Expect::Flat },
        met: true,
        reason: if leaks {
            "the control leaks tasks and file descriptors, as it must".to_owned()
        } else {
            "every resource stays below its limit and no line is lost".to_owned()
        },
        resources: BTreeMap::from(resources),
        leaks: leaks.then(|| {
            format!("{name} leaks 43.1 tasks/min, 98 % of kind retry, 0.98 per rejected push; and 10.0 FDs/min, all inotify \
                 instances, one per started container")
        }),
        watches: Some(KindGrowth { share: None, ..kind("inotify", 12, fds, fds) }),
        figures: BTreeMap::new(),
        memory: vec![kind("heap", 8 << 20, tasks * 65_536.0, tasks * 65_536.0)],
        audit: Some(Audit {
            sent: 21_600,
            delivered: if leaks { 18_034 } else { 18_600 },
            duplicated: if leaks { 212 } else { 0 },
            rejected: if leaks { 3_000 } else { 0 },
            skipped: if leaks { 0 } else { 3_000 },
            dropped: 0,
            dead_lettered: 0,
            in_flight: if leaks { 554 } else { 0 },
            lost: if leaks { 12 } else { 0 },
            ..Audit::default()
        }),
        latency: (!leaks).then_some(Latency {
            lines: 14_400,
            p50_s: 0.5104,
            p99_s: 1.021,
            p99_9_s: 9.871,
            max_s: 95.0,
        }),
        stability: Stability {
            ended: "exit status 0 after SIGTERM".to_owned(),
            ..Stability::default()
        },
        exhausted: Vec::new(),
    }
}

/// A kind that has so many when the load begins, and grows by so many of `whole` per minute.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small positive counts")]
fn kind(name: &str, first: u64, per_min: f64, whole: f64) -> KindGrowth {
    let half = per_min.abs() * 0.05 + 0.2;
    let last = first + (per_min.max(0.0) * 3.0) as u64;
    KindGrowth {
        kind: name.to_owned(),
        first,
        last,
        worst: last + 1,
        growth_per_min: Some(per_min),
        ci_low: Some(per_min - half),
        ci_high: Some(per_min + half),
        significant: per_min.abs() > half,
        share: (per_min > half).then(|| per_min / whole),
        events: Vec::new(),
    }
}

/// A leak of so many per minute beside the rejected pushes, of which there is one for each and which it follows where it is
/// fast, and the starts, which it follows else.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small positive counts")]
fn followed(per_min: f64) -> Vec<EventGrowth> {
    let against = |event, per_event: f64, follows| EventGrowth {
        event,
        events: (per_min * 2.8 / per_event) as u64,
        per_1000: per_event * 1000.0,
        ci_low: per_event * 970.0,
        ci_high: per_event * 1030.0,
        significant: true,
        follows,
    };
    let is_fast = per_min > 20.0;
    let [starts, rejected] = [per_min / 10.04, per_min / 43.96];
    vec![against(EventKind::Starts, starts, !is_fast), against(EventKind::RejectedPushes, rejected, is_fast)]
}

/// What each process gains: the third of the targets as it leaks, `dockerd` a little, the harness nothing.
fn processes([first, second, third]: [&str; 3]) -> BTreeMap<String, BTreeMap<ProcessCount, ProcessGrowth>> {
    let growth = |per_min: f64, half: f64, verdict: Option<Verdict>| ProcessGrowth {
        first: 30,
        last: 42,
        growth_per_min: Some(per_min),
        ci_low: Some(per_min - half),
        ci_high: Some(per_min + half),
        confirmed: per_min > half,
        verdict,
        reason: verdict.map(|_| "below the limit".to_owned()),
    };
    let of = |fds: f64, bytes: f64, verdict: Option<Verdict>| {
        BTreeMap::from([
            (ProcessCount::Threads, growth(0.0, 0.05, verdict)),
            (ProcessCount::Fds, growth(fds, 0.3, verdict)),
            (ProcessCount::RssBytes, growth(bytes, 9_000.0, None)),
        ])
    };
    BTreeMap::from([
        (first.to_owned(), of(0.0, 0.0, None)),
        (second.to_owned(), of(0.03, 4_000.0, None)),
        (third.to_owned(), of(10.04, 387_000.0, None)),
        ("dockerd".to_owned(), of(1.2, 61_000.0, None)),
        ("flatline".to_owned(), of(0.02, 3_000.0, Some(Verdict::Pass))),
    ])
}

fn resource(growth: f64, start: f64, process_limit: Option<u64>, grows: &str) -> ResourceResult {
    let half = growth.abs() * 0.03 + 0.15;
    let fails = growth > 2.0;
    let added = growth * 168.0 / 60.0;
    ResourceResult {
        judgement: Judgement {
            growth_per_min: Some(growth),
            ci_low: Some(growth - half),
            ci_high: Some(growth + half),
            limit_per_min: 2.0,
            verdict: if fails { Verdict::Fail } else { Verdict::Pass },
            floor_per_min: Some(half * 2.0),
            reason: if fails {
                "the whole interval lies above the limit".to_owned()
            } else {
                "the whole interval lies below the limit; growth is not confirmed above zero".to_owned()
            },
            warmup_s: 12.0,
            decided_at_s: fails.then_some(124.0),
        },
        line: Some(FittedLine {
            from_s: 82.0,
            to_s: 250.0,
            from_count: start + growth * 0.2,
            to_count: start + growth * 0.2 + added,
        }),
        estimate: None,
        projection: Projection {
            after_1h: growth * 60.0,
            after_24h: growth * 1_440.0,
            process_limit,
            exhausted_in_s: process_limit.filter(|_| fails).map(|_| 5_800.0),
        },
        drain: Some(DrainResult {
            idle_count: start,
            drained_count: start + if fails { added } else { 0.0 },
            explained: None,
            kept: if fails {
                let kept = |kind: &str, idle, drained| KeptKind { kind: kind.to_owned(), idle, drained };
                vec![kept(grows, 4, 36), kept("socket to 127.0.0.1:3100 established", 1, 2)]
            } else {
                Vec::new()
            },
        }),
        kinds: vec![
            kind(grows, 4, growth * 0.98, growth),
            kind("socket to 127.0.0.1:3100 established", 1, growth * 0.02, growth),
        ],
        events: if fails { followed(growth) } else { Vec::new() },
    }
}

/// Its samples.
pub(super) fn samples(names: [&str; 3]) -> Vec<Sample> {
    let mut all = Vec::new();
    for step in 0..270_u32 {
        let loaded = f64::from(step).clamp(70.0, 250.0) - 70.0;
        for (place, name) in (0_u32..).zip(names) {
            let leaked = if place == 2 { loaded / 60.0 } else { 0.0 };
            all.push(sample(name, step, place, (leaked * 43.0, leaked * 10.0)));
        }
        all.push(sample("flatline", step, 3, (0.0, 0.0)));
    }
    all
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small positive counts")]
fn sample(name: &str, step: u32, place: u32, (tasks, fds): (f64, f64)) -> Sample {
    let seconds = f64::from(step);
    Sample {
        threads: Some(5),
        tasks: (place < 3).then(|| 31 + noise(place, step) + tasks as u64),
        fds: Some(27 + noise(place + 9, step) + fds as u64),
        rss_bytes: Some(14_000_000 + u64::from(place) * 3_000_000 + (tasks * 9_000.0) as u64),
        cpu_seconds: Some(0.05 + seconds * 0.011 * f64::from(place + 1)),
        pushes: Some(u64::from(step) * 3),
        accepted: Some(u64::from(step) * 80),
        rejected: Some(if place == 2 { u64::from(step) * 11 } else { 0 }),
        ..Sample::unread(seconds, name)
    }
}

fn event(elapsed_s: f64, target: &str, event: &str, detail: &str) -> Event {
    Event { elapsed_s, target: target.to_owned(), event: event.to_owned(), detail: detail.to_owned() }
}

fn events() -> Vec<Event> {
    let phases = PHASES.map(|(name, from_s, _)| event(from_s, "", "phase", name));
    let churn = (0..30_u32).map(|index| {
        event(74.0 + f64::from(index) * 6.0, "", "churn", &format!("container web-{index} replaced"))
    });
    let mut all: Vec<Event> = phases.into_iter().chain(churn).collect();
    all.push(event(280.0, "", "end", "finished"));
    all.sort_by(|a, b| a.elapsed_s.total_cmp(&b.elapsed_s));
    all
}
