//! Docker's timestamps, `2026-11-24T14:38:18.123456789Z`, to nanoseconds since the epoch.
//!
//! By hand, since each line has one: the log API pads the fraction to nine digits, the json-file driver
//! cuts its trailing zeros, and both write UTC as `Z`. A general parser would only be slower.

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Reads a timestamp at the head of `text`: its nanoseconds since the epoch, and what follows it.
#[must_use]
pub fn parse(text: &[u8]) -> Option<(i64, &[u8])> {
    let (head, rest) = text.split_at_checked(19)?;
    let [y1, y2, y3, y4, b'-', o1, o2, b'-', d1, d2, b'T', h1, h2, b':', m1, m2, b':', s1, s2] = head else {
        return None;
    };
    let year = number(&[*y1, *y2, *y3, *y4])?;
    let (month, day) = (number(&[*o1, *o2])?, number(&[*d1, *d2])?);
    let (hour, minute, second) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?, number(&[*s1, *s2])?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (nanos, rest) = fraction(rest)?;
    let rest = rest.strip_prefix(b"Z")?;
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    let time_ns = seconds.checked_mul(NANOS_PER_SECOND)?.checked_add(nanos)?;
    Some((time_ns, rest))
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, &b| b.is_ascii_digit().then(|| sum * 10 + i64::from(b - b'0')))
}

/// `.123` to 123,000,000, and what follows; no fraction at all is zero.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(text) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    if !(1..=9).contains(&digits) {
        return None;
    }
    let (digits, rest) = text.split_at_checked(digits)?;
    let scale = (digits.len()..9).fold(1, |scale, _| scale * 10);
    Some((number(digits)? * scale, rest))
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
        #[test]
        fn every_time_is_read_as_jiff_writes_it(time_ns in 0i64..=i64::MAX) {
            let text = jiff::Timestamp::from_nanosecond(i128::from(time_ns)).unwrap().to_string();
            prop_assert_eq!(parse(text.as_bytes()), Some((time_ns, b"".as_slice())));
        }
    }
}
