//! A run directory made up row by row, as a run that is killed at its end leaves it: nothing is judged yet.

use std::collections::BTreeMap;
use std::path::Path;

use flatline::record::bound::{self, Volume};
use flatline::record::files::RecordError;
use flatline::record::recorder::Recorder;
use flatline::result::{
    Allowance, Event, Expect, KindCount, Kinds, Machine, Manifest, MappedBytes, Missed, Resource, RunIn,
    SCHEMA, Sample, Terms,
};

/// Seconds of the idle phase before the load, and of the drain after it.
pub(crate) const IDLE_S: u32 = 60;
/// Listings by kind come with every so many samples, as in a run.
const KINDS_EVERY: u32 = 10;
/// Who is looked at beside the targets.
const OTHERS: [&str; 3] = ["dockerd", "containerd", "flatline"];
/// Kinds of descriptors that each listing has.
const KINDS: [&str; 16] = [
    "inotify",
    "eventpoll",
    "file /var/lib/docker/containers/*/*-json.log",
    "deleted file /var/lib/docker/containers/*/*-json.log.*",
    "socket to 127.0.0.1:3100 established",
    "socket unix to /var/run/docker.sock connected",
    "pipe",
    "eventfd",
    "timerfd",
    "signalfd",
    "netlink",
    "device /dev/null",
    "device /dev/urandom",
    "socket at 127.0.0.1:3100 listening",
    "file /var/lib/docker/overlay2/*/merged",
    "socket unix at /run/docker/libnetwork/*.sock listening",
];
/// Kinds of tasks.
const TASKS: [&str; 5] = ["retry", "source", "delivery", "discovery", "unnamed"];
/// Classes of memory.
const MAPPED: [&str; 14] = [
    "heap",
    "stack",
    "thread stack",
    "anonymous",
    "reserved",
    "file /usr/lib/x*_*-linux-gnu/ld-linux-x*-*.so.*",
    "file /usr/lib/x*_*-linux-gnu/libc.so.*",
    "file /usr/lib/x*_*-linux-gnu/libm.so.*",
    "file /usr/lib/x*_*-linux-gnu/libgcc_s.so.*",
    "file /usr/lib/x*_*-linux-gnu/libpthread.so.*",
    "file /srv/flatline/target/release/shipper",
    "file /srv/flatline/target/release/flatline",
    "file /var/lib/containerd/io.containerd.metadata.v*.bolt/meta.db",
    "shared memory /dev/zero",
];
/// Rows of one listing of one process, in all files.
#[allow(dead_code, reason = "not all who make runs state how much they write")]
pub(crate) const ROWS: usize = KINDS.len() + TASKS.len() + MAPPED.len() + 2;

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
    #[allow(dead_code, reason = "not all who make runs write no more than that")]
    pub(crate) fn write(&self, folder: &Path) -> Result<(), RecordError> {
        self.write_and(folder, |_| {})
    }

    /// Writes it, and says after each second that it is written.
    pub(crate) fn write_and(&self, folder: &Path, mut after: impl FnMut(u32)) -> Result<(), RecordError> {
        let mut recorder = Recorder::create(folder)?;
        recorder.manifest(&self.manifest())?;
        let mut events = self.events().into_iter().peekable();
        let others = OTHERS.iter().map(|name| ((*name).to_owned(), 0.0));
        let processes: Vec<(String, f64)> = self.targets.iter().cloned().chain(others).collect();
        for second in 0..self.seconds() {
            while let Some(event) = events.next_if(|event| event.elapsed_s <= f64::from(second)) {
                recorder.event(&event)?;
            }
            let rows = (0_u32..).zip(&processes).map(|(place, process)| self.sample(second, place, process));
            recorder.samples(&rows.collect::<Vec<_>>())?;
            if second.is_multiple_of(KINDS_EVERY) {
                recorder.kinds(&self.kinds(second, &processes))?;
            }
            after(second);
        }
        events.try_for_each(|event| recorder.event(&event))
    }

    /// Its length, in samples.
    pub(crate) fn seconds(&self) -> u32 {
        IDLE_S + self.load_s + IDLE_S
    }

    /// How much it writes at most.
    #[allow(dead_code, reason = "not all who make runs ask")]
    pub(crate) fn bytes_max(&self) -> u64 {
        let names = self.targets.iter().map(|(name, _)| name.len()).chain(OTHERS.map(str::len));
        bound::bytes(&Volume {
            processes: (self.targets.len() + OTHERS.len()) as u64,
            name_bytes: names.max().unwrap_or_default() as u64,
            beats: self.seconds().into(),
            listings: self.seconds().div_ceil(KINDS_EVERY).into(),
            kinds: ROWS as u64,
            events: self.events().len() as u64,
        })
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
        let sunk = |each: u64| (!OTHERS.contains(&name.as_str())).then_some(u64::from(second) * each);
        Sample {
            threads: Some(5),
            tasks: Some(30 + self.grown(second, *per_min, place)),
            fds: Some(28 + self.grown(second, *per_min, place + 100)),
            rss_bytes: Some(16 * 1024 * 1024 + 4096 * self.grown(second, *per_min, place + 200)),
            cpu_seconds: Some((at * 1.2).round() / 100.0),
            pushes: sunk(1),
            accepted: sunk(80),
            rejected: sunk(0),
            rejected_pushes: sunk(0),
            repeated_pushes: sunk(0),
            connections: sunk(0),
            open_connections: sunk(0),
            starts: sunk(1),
            restarts: sunk(1),
            rotations: sunk(2),
            // As many digits as a clock has.
            ..Sample::unread(at + 0.003_141_593 * f64::from(place % 10 + 1), name)
        }
    }

    fn kinds(&self, second: u32, processes: &[(String, f64)]) -> Kinds {
        let mut kinds = Kinds::default();
        let at = |kind: &str, name: &str, count| KindCount {
            elapsed_s: f64::from(second),
            target: name.to_owned(),
            kind: kind.to_owned(),
            count,
        };
        for (name, per_min) in processes {
            let grown = self.grown(second, *per_min, 1);
            let count = |place: usize, few: u64| if place == 0 { few + grown } else { few };
            let all = |of: &[&str]| -> Vec<KindCount> {
                of.iter().enumerate().map(|(place, kind)| at(kind, name, count(place, 3))).collect()
            };
            kinds.tasks.extend(all(&TASKS));
            kinds.threads.push(at("worker-*", name, 5));
            kinds.fds.extend(all(&KINDS));
            kinds.watches.push(at("inotify", name, 12));
            kinds.memory.extend(all(&MAPPED).into_iter().map(|row| MappedBytes {
                elapsed_s: row.elapsed_s,
                target: row.target,
                kind: row.kind,
                bytes: row.count * 4096,
                resident_bytes: None,
            }));
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
            uncounted: Vec::new(),
            resources: Allowance::default(),
            run_in: RunIn::Process,
            design: "made up".to_owned(),
            expect: if per_min > 2.0 { Expect::Leak } else { Expect::Flat },
            must_leak: vec![Resource::Fds],
            must_not_leak: Vec::new(),
            figures: BTreeMap::new(),
            bounds: BTreeMap::from([(Resource::Fds, 60)]),
        };
        let words = |text: &str| text.to_owned();
        Manifest {
            shard: None,
            missing_targets: Vec::new(),
            schema: SCHEMA,
            run_id: words("made-up"),
            started_at: words("2026-01-02T03:04:05Z"),
            command: vec![words("flatline"), words("ab"), self.words.clone()],
            scenario: format!("made up {}", self.words),
            scenario_yaml: format!("name: made up\n# {}\n", self.words),
            seed: 1,
            version: words("0.1.0"),
            commit: words("unknown"),
            revision: None,
            engine: words("none"),
            kernel: words("none"),
            machine: Machine::default(),
            phases: Vec::new(),
            limits: Resource::ALL.map(|resource| (resource, 2.0)).into_iter().collect(),
            compression: None,
            window_s: 3_600.0,
            targets: self.targets.iter().map(|(name, _)| name.clone()).collect(),
            terms: self.targets.iter().map(|(name, per_min)| (name.clone(), terms(*per_min))).collect(),
            images: BTreeMap::new(),
            containers_started: 0,
            ended: words("running"),
            missed: Missed::default(),
            segments: Vec::new(),
            parts: Vec::new(),
        }
    }
}
