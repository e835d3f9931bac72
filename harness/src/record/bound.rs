//! How much a run writes at most: pure.

/// What of a run decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Processes that are looked at: the targets, the engine's, and the harness itself.
    pub processes: u64,
    /// Bytes of the longest name among them.
    pub name_bytes: u64,
    /// Looks at them: the run's length by its beat.
    pub beats: u64,
    /// Listings by kind.
    pub listings: u64,
    /// Rows of a listing for each process, those of all files by kind together.
    pub kinds: u64,
    /// What happens: churn, faults, phases, crashes.
    pub events: u64,
}

/// A time: six digits of seconds, eleven of a second's parts, and the point.
const TIME_BYTES: u64 = 18;
/// A count with its comma: there are no more than a thousand billion of anything.
const COUNT_BYTES: u64 = 13;
/// Counts of a sample.
const COUNTS: u64 = 18;
/// The name of a kind, all taken together.
const KIND_BYTES: u64 = 80;
/// What an event says.
const DETAIL_BYTES: u64 = 200;
/// Commas, a line's end, and quotes.
const MARKS_BYTES: u64 = 6;
/// All heads of the files, `run.json`, `verdict.json`, `audit.json`, the report and its pictures.
const REST_BYTES: u64 = 32 << 20;

/// The bytes that such a run writes at most. A name of a kind or an event may be longer than what is taken here, as long
/// as others are shorter.
#[must_use]
pub fn bytes(volume: &Volume) -> u64 {
    let head = TIME_BYTES + volume.name_bytes + MARKS_BYTES;
    let of = |times: u64, rows: u64, bytes: u64| times.saturating_mul(rows).saturating_mul(bytes);
    let samples = of(volume.beats, volume.processes, head + COUNTS * COUNT_BYTES);
    // Memory has two counts.
    let kinds = of(
        volume.listings,
        volume.processes.saturating_mul(volume.kinds),
        head + KIND_BYTES + 2 * COUNT_BYTES,
    );
    let events = of(volume.events, 1, head + DETAIL_BYTES);
    samples.saturating_add(kinds).saturating_add(events).saturating_add(REST_BYTES)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::record::files;

    #[test]
    fn two_days_of_three_targets_are_stated_in_full() {
        let beats = 48 * 3_600;
        let (listings, events) = (beats / 10, beats / 4);
        let volume = Volume { processes: 6, name_bytes: 10, beats, listings, kinds: 38, events };
        assert_eq!(bytes(&volume) >> 20, 832);
        assert_eq!(bytes(&Volume { beats: u64::MAX, ..volume }), u64::MAX);
    }

    /// The published run, as Docker and the kernel had it.
    #[test]
    fn a_real_run_stays_within_its_bound() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../reports/example");
        let kinds = [files::TASKS, files::THREADS, files::FDS, files::WATCHES, files::MEMORY];
        let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        let rows = |name: &str| text(name).lines().count() as u64 - 1;
        let moments = |name: &str| {
            let text = text(name);
            text.lines().skip(1).map(|row| row.split(',').next().unwrap().to_owned()).collect::<BTreeSet<_>>()
        };
        let listings = moments(files::FDS).len() as u64;
        let listed: u64 = kinds.iter().map(|name| rows(name)).sum();
        let volume = Volume {
            processes: 6,
            name_bytes: 10,
            beats: moments(files::SAMPLES).len() as u64,
            listings,
            kinds: listed.div_ceil(listings * 6),
            events: rows(files::EVENTS),
        };
        let all = [files::SAMPLES, files::EVENTS].into_iter().chain(kinds);
        let written: u64 = all.map(|name| text(name).len() as u64).sum();
        let bound = bytes(&volume) - REST_BYTES;
        assert!(written < bound && bound < 4 * written, "{written} bytes of {bound}: {volume:?}");
    }
}
