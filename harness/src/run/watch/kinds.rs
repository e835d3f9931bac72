//! What a watched process holds by kind: how each kind grew, whether its inotify watches leak, which memory grows. Pure.

use crate::growth::Point;
use crate::growth::lives::judge_lives;
use crate::growth::verdict::{Explained, Judged, Settings};
use crate::result::{FittedLine, KindGrowth, KindGrowths, Listing, Listings, Resource, Verdict};
use crate::run::analyze::Question;
use crate::run::attribution::{self, Span};
use crate::run::watch::columns::WATCHES;
use crate::sample::memory::{RESERVED, THREAD_STACK};

/// Listings that a watch of any length has at least.
pub(super) const LISTINGS: f64 = 40.0;
/// Seconds from listing to listing, at least and at most: it costs more than to count.
pub(super) const EVERY_S: (f64, f64) = (1.0, 10.0);
/// Memory is worth a word from so many bytes more on over a watch: below that allocators step up and down.
const RISE_MIN_BYTES: f64 = 1024.0 * 1024.0;
/// A class of memory is worth a word from this part of the growth on.
const SHARE_MIN: f64 = 0.1;
/// Classes that a sentence names.
const SAID_MAX: usize = 3;
/// From here on there is nothing more to say.
const ALL: f64 = 0.995;
const MIB: f64 = 1024.0 * 1024.0;

/// From listing to listing, seconds, in a watch that lasts so long.
pub(super) fn every_s(length_s: f64) -> f64 {
    let (least, most) = EVERY_S;
    (length_s / LISTINGS).clamp(least, most)
}

/// Each kind over a stretch of the watch: that in which its resource was judged, or all of it.
pub(super) fn growths(
    kinds: &Listings,
    name: &str,
    line_of: impl Fn(&str) -> Option<FittedLine>,
) -> KindGrowths {
    let stretch = |column: &str| line_of(column).map_or(ALWAYS, |line| (line.from_s, line.to_s));
    let of = |resource: Resource| {
        let stretch = stretch(resource.key());
        attribution::growths(kinds.of(resource), (name, None), ALWAYS, stretch)
    };
    KindGrowths {
        fds: of(Resource::Fds),
        threads: of(Resource::Threads),
        tasks: of(Resource::Tasks),
        watches: attribution::growths(&kinds.watches, (name, None), ALWAYS, stretch(WATCHES)),
        memory: attribution::growths(&kinds.memory, (name, None), ALWAYS, ALWAYS),
    }
}

const ALWAYS: Span = (f64::NEG_INFINITY, f64::INFINITY);

/// Whether inotify watches leak. They are no descriptors, and are counted where descriptors are listed. `None` where
/// there never was one, or nobody asks. Answers also the counts that were judged.
pub(super) fn watches(
    counts: &[(f64, u64)],
    question: &Question,
    length_s: f64,
) -> Option<(Vec<Point>, Judged)> {
    let limit_per_min = *question.limits.get(WATCHES)?;
    if counts.iter().all(|(_, count)| *count == 0) {
        return None;
    }
    let explained =
        question.bounds.get(WATCHES).map_or(Explained::Assumed, |rise| Explained::Declared(*rise));
    let settings = Settings { limit_per_min, warmup: question.warmup, process_limit: None, explained };
    let points = apart(counts, length_s);
    let judged = judge_lives(&points, &question.known.starts_s, &settings);
    Some((points, judged))
}

/// Listings come closer at the start of a watch of which nobody knows the length: those at even distances are taken.
fn apart(counts: &[(f64, u64)], length_s: f64) -> Vec<Point> {
    let apart_s = every_s(length_s) * 0.9;
    let mut points: Vec<Point> = Vec::new();
    for (elapsed_s, count) in counts.iter().copied() {
        if points.last().is_none_or(|last| elapsed_s - last.elapsed_s >= apart_s) {
            points.push(Point { elapsed_s, count: count as f64 });
        }
    }
    points
}

/// What follows from a watches' judgement, in a sentence.
pub(super) fn watches_leak(name: &str, judged: &Judged) -> Option<String> {
    let growth = judged.judgement.growth_per_min.filter(|_| judged.judgement.verdict == Verdict::Fail)?;
    Some(format!("{name} leaks {growth:.1} inotify watches/min"))
}

/// Memory over a watch.
pub(super) struct Memory<'a> {
    /// Its classes, listing by listing.
    pub(super) rows: &'a Listings,
    /// The process's name.
    pub(super) name: &'a str,
    /// How long the watch was, seconds.
    pub(super) length_s: f64,
    /// Whether threads leak: then their stacks are theirs.
    pub(super) threads_leak: bool,
    /// When the process began anew, seconds.
    pub(super) starts_s: &'a [f64],
}

impl Memory<'_> {
    /// From which growth on it is worth a word, bytes per minute.
    pub(super) fn floor_per_min(&self) -> f64 {
        RISE_MIN_BYTES * 60.0 / self.length_s.max(1.0)
    }

    /// Which mapped memory grows for sure, in a sentence; or which resident memory, where its judgement says that it grows
    /// and no more is mapped.
    pub(super) fn grows(&self, resident: Option<&Judged>) -> Option<String> {
        let mapped = self.rows.memory.only(|kind| self.counts(kind));
        let judged = self.judged(&mapped);
        if let Some(sentence) = sentence(self.name, "mapped", &judged, &mapped) {
            return Some(sentence);
        }
        // What a thread takes is a stack that is mapped, and pages of it that are used.
        let resident = resident.filter(|_| !self.threads_leak)?;
        sentence(self.name, "resident", resident, &self.rows.resident)
    }

    fn counts(&self, kind: &str) -> bool {
        kind != RESERVED && !(self.threads_leak && kind == THREAD_STACK)
    }

    fn judged(&self, rows: &Listing) -> Judged {
        let settings = Settings::by_limit(self.floor_per_min());
        judge_lives(&apart(&rows.sums(self.name), self.length_s), self.starts_s, &settings)
    }
}

fn sentence(name: &str, sort: &str, judged: &Judged, rows: &Listing) -> Option<String> {
    let judgement = Some(&judged.judgement).filter(|judgement| judgement.verdict == Verdict::Fail)?;
    let mib = |bytes: Option<f64>| bytes.map(|bytes| format!("{:.1}", bytes / MIB));
    let (growth, low, high) =
        (mib(judgement.growth_per_min)?, mib(judgement.ci_low)?, mib(judgement.ci_high)?);
    let stretch = judged.line.map_or(ALWAYS, |line| (line.from_s, line.to_s));
    let classes = classes(&attribution::growths(rows, (name, None), stretch, stretch));
    Some(format!("{name}'s {sort} memory grows {growth} MiB/min ({low} to {high}){classes}"))
}

/// The classes that grow most, and which part of the growth they are.
fn classes(growths: &[KindGrowth]) -> String {
    let mut growing: Vec<(f64, &str)> =
        growths.iter().filter_map(|kind| Some((kind.share?, kind.kind.as_str()))).collect();
    growing.sort_by(|a, b| b.0.total_cmp(&a.0));
    growing.retain(|(share, _)| *share >= SHARE_MIN);
    growing.truncate(SAID_MAX);
    let said = growing.iter().map(|(share, kind)| match share {
        share if *share >= ALL => format!(", all {kind}"),
        share => format!(", {:.0} % {kind}", share * 100.0),
    });
    said.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::growth::warmup::Warmup;
    use crate::result::MappedBytes;
    use crate::run::analyze::Known;

    fn question(limits: &[(&str, f64)]) -> Question {
        let limits = limits.iter().map(|(name, limit)| ((*name).to_owned(), *limit)).collect();
        let warmup = Warmup::AtLeast { seconds: 0.0 };
        Question { limits, bounds: BTreeMap::new(), warmup, known: Known::default() }
    }

    fn watched(per_min: u64) -> Vec<(f64, u64)> {
        (0..400).step_by(10).map(|second| (second as f64, 3 + second * per_min / 60)).collect()
    }

    #[test]
    fn watches_are_judged_where_there_are_any() {
        let said = |counts: &[(f64, u64)], limits: &[(&str, f64)]| {
            let (points, judged) = watches(counts, &question(limits), 400.0)?;
            assert_eq!(points.len(), 40);
            Some((watches_leak("t", &judged), judged.judgement.verdict))
        };
        let asked = [(WATCHES, 2.0)];
        assert_eq!(
            said(&watched(30), &asked),
            Some((Some("t leaks 30.0 inotify watches/min".into()), Verdict::Fail))
        );
        assert_eq!(said(&watched(0), &asked), Some((None, Verdict::Pass)));
        assert_eq!(said(&watched(30), &[(WATCHES, 90.0)]), Some((None, Verdict::Pass)));
        assert_eq!(said(&watched(30), &[("fds", 2.0)]), None, "nobody asks");
        let none: Vec<(f64, u64)> = watched(0).into_iter().map(|(at, _)| (at, 0)).collect();
        assert_eq!(said(&none, &asked), None);
    }

    #[test]
    fn listings_that_came_closer_at_first_are_thinned() {
        let moments = (0..60).map(f64::from).chain((60..900).step_by(10).map(f64::from));
        let counts: Vec<(f64, u64)> = moments.map(|moment| (moment, 4)).collect();
        let kept = apart(&counts, 900.0);
        assert!((88..=91).contains(&kept.len()), "{}", kept.len());
        let apart = kept.windows(2).map(|pair| pair[1].elapsed_s - pair[0].elapsed_s);
        assert!(apart.clone().all(|apart_s| (9.0..20.0).contains(&apart_s)), "{kept:?}");
        let every = [10.0, 40.0, 200.0, 4000.0].map(every_s).into_iter().zip([1.0, 1.0, 5.0, 10.0]);
        assert!(every.into_iter().all(|(found, wanted): (f64, f64)| (found - wanted).abs() < 1e-9));
    }

    /// A listing every second for a minute; each class grows by so many KiB a second.
    fn mapped(classes: &[(&str, u64)]) -> Vec<MappedBytes> {
        let at = |second: u64| {
            classes.iter().map(move |(kind, kib)| MappedBytes {
                elapsed_s: second as f64,
                target: "t".into(),
                kind: (*kind).into(),
                bytes: (10_000 + second * kib) * 1024,
                resident_bytes: Some((1_000 + second * kib / 2) * 1024),
            })
        };
        (0..60).flat_map(at).collect()
    }

    fn listed(rows: &[MappedBytes]) -> Listings {
        let memory = rows.iter().map(|row| row.counted(row.bytes)).collect();
        let resident = rows.iter().filter_map(|row| Some(row.counted(row.resident_bytes?))).collect();
        Listings { memory, resident, ..Listings::default() }
    }

    fn memory(rows: &Listings, threads_leak: bool) -> Memory<'_> {
        Memory { rows, name: "t", length_s: 60.0, threads_leak, starts_s: &[] }
    }

    #[test]
    fn the_memory_that_grows_is_named_by_its_class() {
        let said = |classes: &[(&str, u64)], threads_leak| {
            memory(&listed(&mapped(classes)), threads_leak).grows(None)
        };
        let heap = said(&[("heap", 200), ("anonymous", 0)], false).unwrap();
        assert!(
            heap.starts_with("t's mapped memory grows 11.7 MiB/min (11.") && heap.ends_with("), all heap"),
            "{heap}"
        );
        let two = said(&[("heap", 100), ("file /a", 300)], false).unwrap();
        assert!(two.ends_with(", 75 % file /a, 25 % heap"), "{two}");
        assert_eq!(said(&[("heap", 5)], false), None, "less than a MiB in all");
        assert_eq!(said(&[(RESERVED, 9_000), ("heap", 0)], false), None);
        assert!(said(&[(THREAD_STACK, 200)], false).unwrap().contains("all thread stack"));
        assert_eq!(said(&[(THREAD_STACK, 200)], true), None, "that is what the threads take");
    }

    #[test]
    fn memory_that_is_only_used_more_is_resident() {
        let rows = mapped(&[("heap", 400)]);
        let all = listed(&rows);
        let resident = memory(&all, false).judged(&all.resident);
        let flat: Vec<MappedBytes> =
            rows.iter().map(|row| MappedBytes { bytes: 1 << 30, ..row.clone() }).collect();
        let said = memory(&listed(&flat), false).grows(Some(&resident)).unwrap();
        assert!(
            said.starts_with("t's resident memory grows 11.7 MiB/min") && said.ends_with(", all heap"),
            "{said}"
        );
        let unlisted: Vec<MappedBytes> =
            flat.iter().map(|row| MappedBytes { resident_bytes: None, ..row.clone() }).collect();
        let said = memory(&listed(&unlisted), false).grows(Some(&resident)).unwrap();
        assert!(said.ends_with(" to 11.8)") || said.ends_with(" to 11.7)"), "{said}");
        assert_eq!(memory(&listed(&flat), true).grows(Some(&resident)), None);
    }
}
