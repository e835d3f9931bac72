//! `Retry-After`: how long Loki, or a gateway before it, asks us to wait.

use std::time::Duration;

use http::header::{HeaderMap, RETRY_AFTER};

use super::date;

/// Who asks for a longer pause has made a mistake, or means harm: lines would wait for ever.
const MAX: Duration = Duration::from_secs(3600);

/// The pause that an answer asks for, in seconds or until a date. A date is compared with the answer's own,
/// so that it does not matter whose clock is wrong.
#[must_use]
pub fn pause(headers: &HeaderMap) -> Option<Duration> {
    let asked = headers.get(RETRY_AFTER)?.to_str().ok().map(str::trim)?;
    let pause = match asked.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => date::parse(asked)?.duration_since(date::of(headers)?).try_into().unwrap_or(Duration::ZERO),
    };
    Some(pause.min(MAX))
}

#[cfg(test)]
mod tests {
    use http::header::DATE;

    use super::*;

    fn asked(retry_after: &str, date: Option<&str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry_after.parse().unwrap());
        headers.extend(date.map(|date| (DATE, date.parse().unwrap())));
        pause(&headers)
    }

    #[test]
    fn a_pause_is_bounded_whatever_loki_asks_for() {
        assert_eq!(asked("7", None), Some(Duration::from_secs(7)));
        assert_eq!(asked("18446744073709551615", None), Some(MAX));
        assert_eq!(asked("soon", None), None);
        assert_eq!(pause(&HeaderMap::new()), None);
    }

    #[test]
    fn a_date_counts_from_the_answers_own() {
        let (date, later) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:07 GMT");
        assert_eq!(asked(later, Some(date)), Some(Duration::from_secs(30)));
        assert_eq!(asked(date, Some(later)), Some(Duration::ZERO));
        assert_eq!(asked("Sat, 06 Nov 2094 08:49:37 GMT", Some(date)), Some(MAX));
        assert_eq!(asked(later, None), None);
    }
}
