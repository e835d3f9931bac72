//! Numbers for people: the one place that decides how many digits, which separator and which unit.
//!
//! A number carries no more digits than it deserves: the interval beside it says how sure it is. Minus is
//! the real sign (U+2212), so that it lines up with plus and is not read as a hyphen.

use bytesize::ByteSize;

use crate::result::Missed;
pub(super) use crate::units::clock;

/// The real minus sign.
const MINUS: char = '\u{2212}';

/// Bytes of a kibibyte.
const KIBI: f64 = 1024.0;

/// Seconds of a minute, an hour and a day, largest first.
const SPANS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];

/// Growth with its sign: `+43.1/min`, `−0.02/min`, `0/min`.
pub(super) fn growth(per_min: f64) -> String {
    format!("{}/min", signed(per_min, decimals(per_min)))
}

/// Growth per 1,000 events with its sign: `+980`, `+1.53`.
pub(super) fn per_1000(value: f64) -> String {
    signed(value, decimals(value))
}

/// A pace in a sentence, without sign and unit: `5.4`, `61`.
pub(super) fn pace(per_min: f64) -> String {
    trimmed(per_min, decimals(per_min))
}

/// A pace of memory in a sentence: `61 KiB`.
pub(super) fn bytes_pace(per_min: f64) -> String {
    format!("{} KiB", pace(per_min / KIBI))
}

/// Growth of memory with its sign: `+12.5 KiB/min`.
pub(super) fn bytes_growth(per_min: f64) -> String {
    format!("{} KiB/min", signed(per_min / KIBI, decimals(per_min / KIBI)))
}

/// Its interval: `[−3.1, 28.0] KiB`.
pub(super) fn bytes_interval(low: f64, high: f64) -> String {
    format!("{} KiB", interval(low / KIBI, high / KIBI))
}

/// A limit or a floor, without a sign: `2/min`, `0.35/min`.
pub(super) fn rate(per_min: f64) -> String {
    format!("{}/min", trimmed(per_min, decimals(per_min)))
}

/// An interval: `[41.8, 44.4]`. Both ends carry the same number of decimals.
pub(super) fn interval(low: f64, high: f64) -> String {
    let places = decimals(low.abs().max(high.abs()));
    format!("[{}, {}]", plain(low, places), plain(high, places))
}

/// A whole number with thousands separators: `61,920`.
pub(super) fn count(value: u64) -> String {
    grouped(&value.to_string())
}

/// A count that may be a median: `22`, `22.5`.
pub(super) fn level(value: f64) -> String {
    trimmed(value, 1)
}

/// A rounded change with its sign: `+2,580`, `0`.
pub(super) fn change(value: f64) -> String {
    signed(value, 0)
}

/// A count in few letters, on an axis that reaches so far: `0.35`, `1,200`, `1.25 M`.
pub(super) fn compact(value: f64, reach: f64) -> String {
    let units = [(1e12, " T"), (1e9, " G"), (1e6, " M")];
    let found = units.into_iter().find(|(unit, _)| reach >= *unit);
    let (unit, letter) = found.unwrap_or((1.0, ""));
    let places = match reach / unit {
        size if size < 1.0 => 4,
        size if size < 10.0 => 3,
        size if size < 100.0 => 2,
        size if size < 1_000.0 => 1,
        _ => 0,
    };
    format!("{}{letter}", trimmed(value / unit, places))
}

/// Bytes in binary units: `41.3 MiB`.
pub(super) fn bytes(value: u64) -> String {
    ByteSize::b(value).display().iec().to_string()
}

/// CPU time: `3.2 s`, `1,204 s`.
pub(super) fn cpu(seconds: f64) -> String {
    let places = if seconds < 100.0 { 1 } else { 0 };
    format!("{} s", plain(seconds, places))
}

/// A figure in three digits, without needless zeros: `2.94`, `78.9`, `1,204`.
pub(super) fn significant(value: f64) -> String {
    let places = match value.abs() {
        size if size < 10.0 => 2,
        size if size < 100.0 => 1,
        _ => 0,
    };
    trimmed(value, places)
}

/// Processor time for a piece of work: three digits that count.
pub(super) fn spent(seconds: f64) -> String {
    let places = match seconds {
        small if small < 0.1 => 4,
        small if small < 1.0 => 3,
        middling if middling < 10.0 => 2,
        _ => 1,
    };
    plain(seconds, places)
}

/// A share of one core: `4.1 %`.
pub(super) fn percent(share: f64) -> String {
    format!("{} %", plain(share * 100.0, 1))
}

/// How long something took: `512 ms`, `1.02 s`, `2 min 3 s`.
pub(super) fn latency(seconds: f64) -> String {
    match seconds {
        _ if seconds < 1.0 => format!("{:.0} ms", seconds * 1000.0),
        _ if seconds < 10.0 => format!("{seconds:.2} s"),
        _ if seconds < 60.0 => format!("{seconds:.1} s"),
        _ => duration(seconds),
    }
}

/// A span of time in its two largest units: `6 h 12 min`, `40 s`.
pub(super) fn duration(seconds: f64) -> String {
    let mut rest = whole(seconds);
    let largest = SPANS.iter().position(|(size, _)| rest >= *size).unwrap_or(SPANS.len() - 1);
    let mut parts = Vec::new();
    for (size, unit) in SPANS.iter().skip(largest).take(2) {
        if rest >= *size || parts.is_empty() {
            parts.push(format!("{} {unit}", count(rest / size)));
        }
        rest %= size;
    }
    parts.join(" ")
}

/// Decimals that a rate deserves: small rates are the interesting ones.
fn decimals(value: f64) -> usize {
    match value.abs() {
        size if size < 1.0 => 2,
        size if size < 100.0 => 1,
        _ => 0,
    }
}

/// A number with a sign, unless it rounds to zero.
fn signed(value: f64, places: usize) -> String {
    let text = plain(value, places);
    let is_zero = text.chars().all(|c| matches!(c, '0' | '.'));
    match (is_zero, text.starts_with(MINUS)) {
        (true, _) => "0".to_owned(),
        (false, true) => text,
        (false, false) => format!("+{text}"),
    }
}

/// A number without needless zeros behind the point.
fn trimmed(value: f64, places: usize) -> String {
    let text = plain(value, places);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A number with the real minus, separators, and never `−0`.
fn plain(value: f64, places: usize) -> String {
    let digits = format!("{:.places$}", value.abs());
    let negative = value < 0.0 && digits.chars().any(|c| !matches!(c, '0' | '.'));
    let (head, tail) = digits.split_once('.').unwrap_or((&digits, ""));
    let point = if tail.is_empty() { "" } else { "." };
    let sign = if negative { MINUS.to_string() } else { String::new() };
    format!("{sign}{}{point}{tail}", grouped(head))
}

/// Digits in groups of three.
fn grouped(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Whole seconds, rounded; negative and not-a-number become zero.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn whole(seconds: f64) -> u64 {
    seconds.round().max(0.0) as u64
}

/// What the sampling missed, in words.
pub(super) fn missed(Missed { beats, listings, sleeps, clock_jumps }: Missed) -> String {
    let mut said = match (beats, listings) {
        (0, 0) => "no beat and no listing missed".to_owned(),
        _ => format!("{} beats and {} listings missed", count(beats), count(listings)),
    };
    if sleeps + clock_jumps > 0 {
        said += &format!("; the machine slept {sleeps} times, its clock was set {clock_jumps} times");
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_has_a_real_sign_and_no_false_precision() {
        assert_eq!(growth(43.08), "+43.1/min");
        assert_eq!(growth(-0.021), "\u{2212}0.02/min");
        assert_eq!(growth(0.001), "0/min");
        assert_eq!(growth(1_234.4), "+1,234/min");
    }

    #[test]
    fn both_ends_of_an_interval_have_the_same_decimals() {
        assert_eq!(interval(41.84, 44.42), "[41.8, 44.4]");
        assert_eq!(interval(-0.031, 0.05), "[\u{2212}0.03, 0.05]");
        assert_eq!(interval(-0.001, 0.0), "[0.00, 0.00]");
    }

    #[test]
    fn limits_drop_needless_zeros_and_counts_are_grouped() {
        assert_eq!(rate(2.0), "2/min");
        assert_eq!(rate(0.35), "0.35/min");
        assert_eq!(count(61_920), "61,920");
        assert_eq!(count(999), "999");
        assert_eq!(change(-2_580.4), "\u{2212}2,580");
        assert_eq!(level(22.5), "22.5");
    }

    #[test]
    fn time_reads_in_its_two_largest_units() {
        assert_eq!(duration(22_330.0), "6 h 12 min");
        assert_eq!(duration(40.2), "40 s");
        assert_eq!(duration(0.0), "0 s");
        assert_eq!(duration(86_400.0), "1 d");
        assert_eq!(duration(f64::NAN), "0 s");
        assert_eq!(clock(250.0), "04:10");
        assert_eq!(clock(3_850.0), "1:04:10");
        assert_eq!([clock(-250.0), clock(-0.2)], ["\u{2212}04:10", "00:00"]);
    }

    #[test]
    fn an_axis_has_short_figures_of_one_unit() {
        assert_eq!([0.0, 0.35].map(|value| compact(value, 0.5)), ["0", "0.35"]);
        assert_eq!([200.0, 1_200.0].map(|value| compact(value, 1_300.0)), ["200", "1,200"]);
        assert_eq!([-500_000.0, 1_250_000.0].map(|v| compact(v, 2e6)), ["\u{2212}0.5 M", "1.25 M"]);
    }

    #[test]
    fn memory_and_processor_time_carry_their_units() {
        assert_eq!(bytes(43_306_189), "41.3 MiB");
        assert_eq!(cpu(3.24), "3.2 s");
        assert_eq!(cpu(1_204.4), "1,204 s");
        assert_eq!(percent(0.0412), "4.1 %");
    }
}
