//! Which limits a target reached, in each of its lives, and what had been foretold of that: pure.

use crate::growth::Point;
use crate::growth::foretell::{foretell, reached};
use crate::growth::lives::split;
use crate::growth::verdict::{LIMIT_PER_MIN, Settings};
use crate::result::{Count, Exhausted, Exhaustion, Foretold, Moment, Resource, Stability, Unasked};
use crate::run::judge::{Case, Party, settings};
use crate::units::clock;

/// What a program's last words say when it is out of descriptors (errno(3), EMFILE), in C, Rust, Go and Java.
const OUT_OF_FDS: [&str; 3] = ["too many open files", "emfile", "os error 24"];
/// Memory is looked at in such parts of the limit, so that it is judged as a count is: by two of them a minute.
const PARTS: f64 = 1024.0;

/// One life of a target.
struct Life<'a> {
    /// All of its samples of one count, and those of them under load.
    points: &'a [Point],
    under_load: Vec<Point>,
    /// How it ended, where nobody asked for it.
    end: Option<&'a Unasked>,
}

/// All of one target, in order of time; of very many the first.
pub(super) fn all(case: &Case<'_>, party: &Party<'_>) -> Vec<Exhaustion> {
    let limit_per_min = case.limits.get(&Resource::Fds).copied().unwrap_or(LIMIT_PER_MIN);
    let fds = party.limits.open_files.map_or_else(Vec::new, |limit| {
        let settings = settings(party.terms, Resource::Fds, limit_per_min, Some(limit));
        let points = points(case, party.name, Count::Fds, 1.0);
        in_lives(case, party, &points, |life| life.fds(limit, &settings))
    });
    let memory = party.terms.resources.memory.map_or_else(Vec::new, |limit| {
        let limit = limit.as_u64();
        let points = points(case, party.name, Count::AnonBytes, limit as f64 / PARTS);
        in_lives(case, party, &points, |life| life.memory(limit))
    });
    let mut all = [fds, memory].concat();
    all.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    all.truncate(Stability::KEPT);
    all
}

/// As long as it was sampled, in such units.
fn points(case: &Case<'_>, name: &str, column: Count, unit: f64) -> Vec<Point> {
    let moments = case.samples.moments(name);
    let point = |moment: Moment<'_>| {
        Some(Point { elapsed_s: moment.elapsed_s(), count: moment.count(column)? as f64 / unit })
    };
    moments.filter_map(point).collect()
}

/// Of these those under load.
fn under_load(case: &Case<'_>, points: &[Point]) -> Vec<Point> {
    let loads: Vec<(f64, f64)> = case.stretches("load").collect();
    let is_inside = |at_s: f64| loads.iter().any(|(from_s, to_s)| (*from_s..*to_s).contains(&at_s));
    points.iter().filter(|point| is_inside(point.elapsed_s)).copied().collect()
}

fn in_lives(
    case: &Case<'_>,
    party: &Party<'_>,
    points: &[Point],
    of: impl Fn(&Life<'_>) -> Option<Exhaustion>,
) -> Vec<Exhaustion> {
    let starts_s = case.starts_s(party.name);
    let ends = starts_s.iter().copied().chain([f64::INFINITY]);
    let lives = split(points, &starts_s).into_iter().zip(ends).filter_map(|(points, next_s)| {
        let first_s = points.first()?.elapsed_s;
        let within = |end: &&Unasked| end.at_s >= first_s && end.at_s <= next_s;
        let end = party.stability.unasked.iter().find(within);
        of(&Life { points, under_load: under_load(case, points), end })
    });
    lives.collect()
}

impl Life<'_> {
    fn fds(&self, limit: u64, settings: &Settings) -> Option<Exhaustion> {
        let says_so = |end: &&Unasked| {
            let said = end.last_log_lines.join("\n").to_lowercase();
            OUT_OF_FDS.iter().any(|words| said.contains(words))
        };
        let seen = reached(self.points, limit as f64);
        // Where it grows fast, the last sample may be well below.
        let at_s = seen.map(|point| point.elapsed_s).or(self.end.filter(says_so).map(|end| end.at_s))?;
        let is_last = self.points.last().is_some_and(|last| reached(&[*last], limit as f64).is_some());
        let end = self.end.filter(|end| is_last || says_so(end));
        let projected = foretell(&self.before(at_s), settings, limit as f64);
        let what = Exhausted::Fds;
        Some(told(what, limit, (at_s, end), projected))
    }

    fn memory(&self, limit: u64) -> Option<Exhaustion> {
        let end = self.end.filter(|end| end.out_of_memory)?;
        let projected = foretell(&self.before(end.at_s), &Settings::by_limit(LIMIT_PER_MIN), PARTS);
        Some(told(Exhausted::Memory, limit, (end.at_s, Some(end)), projected))
    }

    /// Under load, before this moment.
    fn before(&self, at_s: f64) -> Vec<Point> {
        self.under_load.iter().filter(|point| point.elapsed_s < at_s).copied().collect()
    }
}

fn told(
    what: Exhausted,
    limit: u64,
    (at_s, end): (f64, Option<&Unasked>),
    projected: Option<Foretold>,
) -> Exhaustion {
    let sentence = sentence(&name(what, limit), (at_s, end), projected);
    Exhaustion { what, limit, at_s, ended_at_s: end.map(|end| end.at_s), projected, sentence }
}

fn name(what: Exhausted, limit: u64) -> String {
    match what {
        Exhausted::Fds => format!("{} FDs", grouped(limit)),
        Exhausted::Memory => format!("{} of memory", bytesize::ByteSize::b(limit).display().iec()),
    }
}

/// With separators of thousands.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let parts: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|part| std::str::from_utf8(part).ok()).collect();
    parts.join(",")
}

fn sentence(limit: &str, (at_s, end): (f64, Option<&Unasked>), projected: Option<Foretold>) -> String {
    let became = match end {
        Some(end) if end.at_s - at_s < 60.0 => format!(" and ended ({})", end.how),
        Some(end) => format!(" and ended at {} ({})", clock(end.at_s), end.how),
        None => " and lived on".to_owned(),
    };
    match projected {
        Some(Foretold { made_at_s, at_s: for_s, .. }) => format!(
            "projected at {} to exhaust {limit} at {}; it did at {}{became}",
            clock(made_at_s),
            clock(for_s),
            clock(at_s),
        ),
        None => format!(
            "exhausted {limit} at {}{became}; no growth had been confirmed by then, so nothing was projected",
            clock(at_s)
        ),
    }
}
