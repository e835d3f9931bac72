//! Docker's timestamps, `2026-11-24T14:38:18.123456789Z`, to nanoseconds since the epoch.
//!
//! By hand, since each line has one: the log API pads the fraction to nine digits, the json-file driver
//! cuts its trailing zeros, and both write UTC as `Z`. A general parser would only be slower.

const NANOS_PER_SECOND: i64 = 1_000_000_000;
/// Nanoseconds that the last of one, two … nine digits stands for.
const SCALES: [i64; 9] = [100_000_000, 10_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10, 1];

/// Reads a timestamp at the head of `text`: its nanoseconds since the epoch, and what follows it.
#[must_use]
pub fn parse(text: &[u8]) -> Option<(i64, &[u8])> {
    let (head, rest) = text.split_at_checked(19)?;
    let [y1, y2, y3, y4, b'-', o1, o2, b'-', d1, d2, b'T', h1, h2, b':', m1, m2, b':', s1, s2] = head else {
        return None;
    };
    let year = pair(*y1, *y2) * 100 + pair(*y3, *y4);
    let (month, day) = (pair(*o1, *o2), pair(*d1, *d2));
    let (hour, minute, second) = (pair(*h1, *h2), pair(*m1, *m2), pair(*s1, *s2));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    if year >= NO_PAIR {
        return None;
    }
    let (nanos, rest) = fraction(rest)?;
    let rest = rest.strip_prefix(b"Z")?;
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    let time_ns = seconds.checked_mul(NANOS_PER_SECOND)?.checked_add(nanos)?;
    Some((time_ns, rest))
}

/// More than any two pairs of digits can come to, and what is no pair of digits comes to.
const NO_PAIR: i64 = 10_000;

fn pair(tens: u8, ones: u8) -> i64 {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    if tens > 9 || ones > 9 { NO_PAIR } else { i64::from(tens) * 10 + i64::from(ones) }
}

/// `.123` to 123,000,000, and what follows; no fraction at all is zero.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(text) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let (mut value, mut digits) = (0, 0);
    while let Some(digit) = text.get(digits).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit <= 9) {
        value = value * 10 + i64::from(digit);
        digits += 1;
        if digits > 9 {
            return None;
        }
    }
    let scale = SCALES.get(digits.checked_sub(1)?)?;
    Some((value * scale, text.get(digits..)?))
}

/// Days from 1970-01-01 in the Gregorian calendar: years begin in March, so that the leap day is the
/// last of its year, and the months' lengths follow one line, (153 m + 2) / 5.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cut_fraction_means_the_same_as_a_padded_one() {
        let padded = parse(b"2026-11-24T14:38:18.120000000Z rest").unwrap();
        let cut = parse(b"2026-11-24T14:38:18.12Z rest").unwrap();
        assert_eq!(padded, cut);
        assert_eq!(padded.1, b" rest");
        assert_eq!(parse(b"1970-01-01T00:00:00Z"), Some((0, b"".as_slice())));
    }

    #[test]
    fn what_is_no_timestamp_is_refused() {
        for text in [
            "",
            "2026-11-24",
            "2026-11-24T14:38:18.Z",
            "2026-11-24T14:38:18.1234567890Z",
            "2026-13-24T14:38:18Z",
            "2026-11-24 14:38:18Z",
            "2026-11-24T14:38:18+02:00",
            "9999-12-31T00:00:00Z",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        /// What the general parser reads of such a text, and of none other: a leap second is the next one.
        #[test]
        fn whatever_stands_there_is_read_as_jiff_reads_it_or_refused(
            text in "[0-9]{3}[0-9x]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9x/](\\.[0-9]{0,10})?Z?",
        ) {
            let by_jiff = text.parse::<jiff::Timestamp>().ok().and_then(|time| i64::try_from(time.as_nanosecond()).ok());
            let by_hand = parse(text.as_bytes()).filter(|(_, rest)| rest.is_empty()).map(|(time_ns, _)| time_ns);
            if by_jiff.is_some() && text.ends_with('Z') {
                prop_assert_eq!(by_hand, by_jiff);
            }
            if let (Some(by_hand), Some(by_jiff)) = (by_hand, by_jiff) {
                prop_assert_eq!(by_hand, by_jiff);
            }
        }

        #[test]
        fn every_time_is_read_as_jiff_writes_it(time_ns in 0i64..=i64::MAX) {
            let text = jiff::Timestamp::from_nanosecond(i128::from(time_ns)).unwrap().to_string();
            prop_assert_eq!(parse(text.as_bytes()), Some((time_ns, b"".as_slice())));
        }
    }
}
