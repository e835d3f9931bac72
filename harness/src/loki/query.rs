//! What `GET /loki/api/v1/query_range` asks for. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::labels::{self, Labels};

/// Loki's defaults.
const LIMIT: usize = 100;
const SINCE: Duration = Duration::from_hours(1);

/// Which entries, how many, and from which end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    matchers: Vec<(String, String)>,
    start: Timestamp,
    end: Timestamp,
    /// No more than so many.
    pub limit: usize,
    /// Oldest first, or newest.
    pub is_forward: bool,
}

impl Query {
    /// Reads a request's parameters.
    ///
    /// # Errors
    /// What is not understood, for an answer with 400.
    pub fn parse(parameters: &[(String, String)], now: Timestamp, limit_max: usize) -> Result<Self, String> {
        let of = |name: &str| {
            let found = parameters.iter().find(|(own, value)| own == name && !value.is_empty());
            found.map(|(_, value)| value.as_str())
        };
        let end = of("end").map_or(Ok(now), |text| time("end", text))?;
        let since = of("since").map_or(Ok(SINCE), since)?;
        let start = end.saturating_sub(since).unwrap_or(Timestamp::MIN);
        let start = of("start").map_or(Ok(start), |text| time("start", text))?;
        if end <= start {
            return Err("end timestamp must not be before or equal to start time".to_owned());
        }
        let limit = of("limit").map_or(Ok(LIMIT), limit)?;
        if limit_max != 0 && limit > limit_max {
            return Err(format!(
                "max entries limit per query exceeded, limit > max_entries_limit_per_query ({limit} > {limit_max})"
            ));
        }
        let is_forward = match of("direction").unwrap_or("backward") {
            word if word.eq_ignore_ascii_case("forward") => true,
            word if word.eq_ignore_ascii_case("backward") => false,
            word => return Err(format!("invalid direction '{word}': write forward or backward")),
        };
        Ok(Self { matchers: matchers(of("query").unwrap_or_default())?, start, end, limit, is_forward })
    }

    /// Whether an entry of these labels and at this time is asked for: the start is inside, the end is not.
    #[must_use]
    pub fn asks_for(&self, labels: &Labels, time: Timestamp) -> bool {
        self.start <= time
            && time < self.end
            && self.matchers.iter().all(|(name, value)| labels.get(name).unwrap_or_default() == value)
    }
}

fn matchers(text: &str) -> Result<Vec<(String, String)>, String> {
    let help = "this mock knows selectors with = alone, such as {app=\"x\", env=\"y\"}";
    if text.trim().is_empty() {
        return Err(format!("parse error: the parameter query is missing; {help}"));
    }
    let matchers = labels::pairs(text)
        .map_err(|error| format!("{}; {help}", error.to_string().replace("couldn't parse labels: ", "")))?;
    if matchers.iter().all(|(_, value)| value.is_empty()) {
        return Err(
            "parse error : queries require at least one regexp or equality matcher that does not have \
                    an empty-compatible value. For instance, app=~\".*\" does not meet this requirement, but \
                    app=~\".+\" will"
                .to_owned(),
        );
    }
    Ok(matchers)
}

/// Loki's forms: nanoseconds, seconds of up to ten digits or with a fraction, RFC 3339.
fn time(name: &str, text: &str) -> Result<Timestamp, String> {
    let nanoseconds = |text: &str| {
        let number: i128 = text.parse().ok()?;
        let unit = if text.len() <= 10 { 1_000_000_000 } else { 1 };
        Timestamp::from_nanosecond(number.checked_mul(unit)?).ok()
    };
    let seconds = |text: &str| {
        let (whole, fraction) = text.split_once('.')?;
        let nanos = format!("{fraction:0<9}");
        let nanos: i32 = nanos.get(..9)?.parse().ok()?;
        Timestamp::new(whole.parse().ok()?, nanos).ok()
    };
    let time = nanoseconds(text).or_else(|| seconds(text)).or_else(|| text.parse().ok());
    time.ok_or_else(|| format!("cannot parse {name} {text:?}: write nanoseconds, seconds or RFC 3339"))
}

fn since(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("cannot parse since {text:?}: {error}"))
}

fn limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().map_err(|_| format!("cannot parse limit {text:?}: write a number"))?;
    if limit == 0 { Err("limit must be a positive value".to_owned()) } else { Ok(limit) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_795_523_511, 0);

    fn parse(parameters: &[(&str, &str)]) -> Result<Query, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Query::parse(&parameters.iter().map(owned).collect::<Vec<_>>(), NOW, 5000)
    }

    #[test]
    fn what_is_left_out_is_lokis_default() {
        let query = parse(&[("query", "{a=\"b\"}")]).unwrap();
        assert_eq!((query.limit, query.is_forward, query.end), (100, false, NOW));
        assert_eq!(query.start, NOW - Duration::from_hours(1));
    }

    #[test]
    fn times_are_read_in_all_of_lokis_forms() {
        for text in ["1795523511500000000", "1795523511.5", "1795523511.500000000", "2026-11-24T12:31:51.5Z"]
        {
            assert_eq!(time("end", text).unwrap().as_nanosecond(), 1_795_523_511_500_000_000, "{text}");
        }
        assert_eq!(time("end", "1795523511").unwrap(), NOW);
    }

    #[test]
    fn the_start_is_inside_and_the_end_is_not() {
        let query = parse(&[("query", "{a=\"b\",c=\"\"}"), ("start", "10"), ("end", "20")]).unwrap();
        let (labels, at) = (labels::parse("{a=\"b\"}").unwrap(), |second| Timestamp::new(second, 0).unwrap());
        let asked: Vec<bool> = [9, 10, 19, 20].map(|second| query.asks_for(&labels, at(second))).to_vec();
        assert_eq!(asked, [false, true, true, false]);
        assert!(!query.asks_for(&labels::parse("{a=\"b\", c=\"d\"}").unwrap(), at(10)));
        assert!(!query.asks_for(&labels::parse("{a=\"x\"}").unwrap(), at(10)));
    }

    #[test]
    fn what_is_not_understood_is_said_clearly() {
        for (parameters, words) in [
            (&[("query", "{a=~\"b\"}")][..], "selectors with = alone"),
            (&[("query", "{a=\"b\"} |= \"x\"")], "selectors with = alone"),
            (&[("query", "rate({a=\"b\"}[5m])")], "1:1: parse error"),
            (&[], "query is missing"),
            (&[("query", "{}")], "at least one regexp or equality matcher"),
            (&[("query", "{a=\"b\"}"), ("start", "soon")], "cannot parse start"),
            (&[("query", "{a=\"b\"}"), ("limit", "0")], "positive"),
            (&[("query", "{a=\"b\"}"), ("limit", "5001")], "(5001 > 5000)"),
            (&[("query", "{a=\"b\"}"), ("direction", "up")], "invalid direction 'up'"),
            (&[("query", "{a=\"b\"}"), ("start", "20"), ("end", "20")], "must not be before or equal"),
        ] {
            let error = parse(parameters).unwrap_err();
            assert!(error.contains(words), "{parameters:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_parameters_make_it_panic(query in ".{0,20}", start in ".{0,20}", end in "[0-9.]{0,20}") {
            parse(&[("query", &query), ("start", &start), ("end", &end)]).ok();
        }
    }
}
