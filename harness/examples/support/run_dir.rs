//! A run directory made up row by row, as a run that is killed at its end leaves it: nothing is judged yet.

use std::collections::BTreeMap;
use std::path::Path;

use flatline::record::files::RecordError;
use flatline::record::recorder::Recorder;
use flatline::result::{
    Event, Expect, KindCount, Kinds, Machine, Manifest, Missed, Resource, SCHEMA, Sample, Terms,
};

/// Seconds of the idle phase before the load, and of the drain after it.
pub(crate) const IDLE_S: u32 = 60;
/// Listings by kind come with every so many samples, as in a run.
const KINDS_EVERY: u32 = 10;
/// Kinds of descriptors that each listing has.
const KINDS: [&str; 8] = [
    "inotify",
    "eventpoll",
    "file /var/lib/docker/containers/*/*-json.log",
    "deleted file /var/lib/docker/containers/*/*-json.log.*",
    "socket to 127.0.0.1:3100 established",
    "socket unix to /var/run/docker.sock connected",
    "pipe",
    "eventfd",
];

/// What to make.
pub(crate) struct Made {
    /// Names, and how many descriptors and tasks more each has every minute.
    pub(crate) targets: Vec<(String, f64)>,
    /// How long the load lasts, in samples of one second.
    pub(crate) load_s: u32,
    /// Faults on purpose, evenly spread over the load.
    pub(crate) faults: u32,
    /// What the command line and the scenario say as well: words from outside.
    pub(crate) words: String,
}

impl Made {
    /// Writes it.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), RecordError> {
        let mut recorder = Recorder::create(folder)?;
        recorder.manifest(&self.manifest())?;
        for event in self.events() {
            recorder.event(&event)?;
        }
        for second in 0..IDLE_S + self.load_s + IDLE_S {
            let rows: Vec<Sample> = (0_u32..)
                .zip(&self.targets)
                .map(|(place, target)| self.sample(second, place, target))
                .collect();
            recorder.samples(&rows)?;
            if second.is_multiple_of(KINDS_EVERY) {
                recorder.kinds(&self.kinds(second))?;
            }
        }
        Ok(())
    }

    /// How many more there are at this second, and a little noise that is the same every time.
    fn grown(&self, second: u32, per_min: f64, seed: u32) -> u64 {
        let loaded = second.saturating_sub(IDLE_S).min(self.load_s);
        let noise = (second.wrapping_mul(2_654_435_761) ^ seed.wrapping_mul(40_503)) >> 13;
        let grown = f64::from(loaded) * per_min / 60.0;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive and small")]
        let whole = grown as u64;
        whole + u64::from(noise % 3)
    }

    fn sample(&self, second: u32, place: u32, (name, per_min): &(String, f64)) -> Sample {
        let at = f64::from(second);
        Sample {
            threads: Some(5),
            tasks: Some(30 + self.grown(second, *per_min, place)),
            fds: Some(28 + self.grown(second, *per_min, place + 100)),
            rss_bytes: Some(16 * 1024 * 1024 + 4096 * self.grown(second, *per_min, place + 200)),
            cpu_seconds: Some((at * 1.2).round() / 100.0),
            pushes: Some(u64::from(second)),
            accepted: Some(u64::from(second) * 80),
            rejected: Some(0),
            ..Sample::unread(at + 0.003 * f64::from(place % 10), name)
        }
    }

    fn kinds(&self, second: u32) -> Kinds {
        let mut kinds = Kinds::default();
        let at = |kind: &str, name: &str, count| KindCount {
            elapsed_s: f64::from(second),
            target: name.to_owned(),
            kind: kind.to_owned(),
            count,
        };
        for (name, per_min) in &self.targets {
            let grown = self.grown(second, *per_min, 1);
            kinds.tasks.push(at("retry", name, 10 + grown));
            kinds.threads.push(at("worker-*", name, 5));
            let fds = KINDS.iter().enumerate();
            kinds.fds.extend(fds.map(|(place, kind)| at(kind, name, if place == 0 { 4 + grown } else { 3 })));
            kinds.watches.push(at("inotify", name, 12));
        }
        kinds
    }

    fn events(&self) -> Vec<Event> {
        let event = |elapsed_s: u32, event: &str, detail: String| Event {
            elapsed_s: f64::from(elapsed_s),
            target: String::new(),
            event: event.to_owned(),
            detail,
        };
        let load_end = IDLE_S + self.load_s;
        let phases = [(0, "warmup"), (IDLE_S, "load"), (load_end, "drain")];
        let mut events: Vec<Event> = phases.map(|(at, name)| event(at, "phase", name.to_owned())).to_vec();
        events.extend(
            (IDLE_S..load_end).step_by(4).map(|at| event(at, "churn", format!("restart c{:02}", at % 8))),
        );
        for fault in 0..self.faults {
            let at = IDLE_S + fault * self.load_s / self.faults;
            let what = format!("status 429 for a while, number {fault}; {}", self.words);
            events.push(event(at, "fault", what.clone()));
            events.push(event(at + self.load_s / self.faults / 2, "fault_end", what));
        }
        events.sort_by(|a, b| a.elapsed_s.total_cmp(&b.elapsed_s));
        events
    }

    fn manifest(&self) -> Manifest {
        let terms = |per_min: f64| Terms {
            design: "made up".to_owned(),
            expect: if per_min > 2.0 { Expect::Leak } else { Expect::Flat },
            must_leak: vec![Resource::Fds],
            bounds: BTreeMap::from([(Resource::Fds, 60)]),
        };
        let words = |text: &str| text.to_owned();
        Manifest {
            schema: SCHEMA,
            run_id: words("made-up"),
            started_at: words("2026-01-02T03:04:05Z"),
            command: vec![words("flatline"), words("ab"), self.words.clone()],
            scenario: format!("made up {}", self.words),
            scenario_yaml: format!("name: made up\n# {}\n", self.words),
            seed: 1,
            version: words("0.1.0"),
            commit: words("unknown"),
            engine: words("none"),
            kernel: words("none"),
            machine: Machine::default(),
            phases: Vec::new(),
            limits: Resource::ALL.map(|resource| (resource, 2.0)).into_iter().collect(),
            window_s: 3_600.0,
            targets: self.targets.iter().map(|(name, _)| name.clone()).collect(),
            terms: self.targets.iter().map(|(name, per_min)| (name.clone(), terms(*per_min))).collect(),
            containers_started: 0,
            ended: words("running"),
            missed: Missed::default(),
        }
    }
}
