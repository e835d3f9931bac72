//! Lines that nobody wants and texts that nobody may see, by patterns. The engine's time grows with the length
//! of the line and not faster, whatever the pattern; it knows no back-references for that reason.

use std::borrow::Cow;

use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use serde::{Deserialize, Serialize};

/// `lines:` in the config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A line in which one of these is found goes nowhere, and is counted.
    pub drop: Vec<String>,
    /// What is found of these is replaced, before the line is queued or kept anywhere; in this order.
    pub redact: Vec<Redaction>,
}

/// One of `lines.redact`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redaction {
    /// What is looked for.
    pub pattern: String,
    /// What stands there instead; `$1` is the first group.
    #[serde(default = "redacted")]
    pub replacement: String,
}

fn redacted() -> String {
    "<redacted>".to_owned()
}

/// What a pattern may take when it is compiled.
const PATTERN_BYTES_MAX: usize = 4 << 20;

/// The patterns, ready for use.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    drop: RegexSet,
    redact: Vec<(Regex, String)>,
}

impl Filter {
    /// Compiles them.
    ///
    /// # Errors
    /// What is no pattern, and where it stands in the config.
    pub fn new(config: &Config) -> Result<Self, Vec<String>> {
        let compiled = |field: String, pattern: &str| {
            let compiled = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build();
            compiled.map_err(|error| format!("{field} is no pattern: {}", last_line(&error.to_string())))
        };
        let mut mistakes = Vec::new();
        for (place, pattern) in config.drop.iter().enumerate() {
            if pattern.is_empty() {
                mistakes.push(format!("lines.drop.{place} is empty, and would drop every line"));
            }
            mistakes.extend(compiled(format!("lines.drop.{place}"), pattern).err());
        }
        let mut redact = Vec::new();
        for (place, Redaction { pattern, replacement }) in config.redact.iter().enumerate() {
            match compiled(format!("lines.redact.{place}.pattern"), pattern) {
                Ok(pattern) => redact.push((pattern, replacement.clone())),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let drop = RegexSetBuilder::new(&config.drop).size_limit(PATTERN_BYTES_MAX).build();
        let drop =
            drop.map_err(|error| vec![format!("lines.drop is too much: {}", last_line(&error.to_string()))])?;
        Ok(Self { drop, redact })
    }

    /// Whether every line may go on as it is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.drop.is_empty() && self.redact.is_empty()
    }

    /// Whether the line goes nowhere.
    #[must_use]
    pub fn drops(&self, line: &str) -> bool {
        self.drop.is_match(line)
    }

    /// The line as it may go on.
    #[must_use]
    pub fn redacted<'a>(&self, line: &'a str) -> Cow<'a, str> {
        let mut line = Cow::Borrowed(line);
        for (pattern, replacement) in &self.redact {
            if let Cow::Owned(redacted) = pattern.replace_all(&line, replacement) {
                line = Cow::Owned(redacted);
            }
        }
        line
    }
}

/// The lines before it draw the pattern.
fn last_line(text: &str) -> &str {
    let line = text.lines().last().unwrap_or_default();
    line.trim_start_matches("error: ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filter(drop: &[&str], redact: &[(&str, &str)]) -> Result<Filter, Vec<String>> {
        let redaction = |(pattern, replacement): &(&str, &str)| Redaction {
            pattern: (*pattern).to_owned(),
            replacement: (*replacement).to_owned(),
        };
        let drop = drop.iter().map(|pattern| (*pattern).to_owned()).collect();
        Filter::new(&Config { drop, redact: redact.iter().map(redaction).collect() })
    }

    #[test]
    fn what_matches_is_dropped_and_what_is_secret_is_replaced_in_the_order_of_the_config() {
        let filter = filter(&["^DEBUG", "health"], &[("(token=)\\S+", "${1}x"), ("x", "y")]).unwrap();
        assert!(filter.drops("DEBUG a") && filter.drops("GET /health") && !filter.is_empty());
        assert!(!filter.drops("a DEBUG token=abc z"));
        assert_eq!(filter.redacted("a DEBUG token=abc z"), "a DEBUG token=y z");
        let none = Filter::default();
        assert!(none.is_empty() && !none.drops("a") && matches!(none.redacted("a"), Cow::Borrowed("a")));
    }

    #[test]
    fn what_is_no_pattern_is_told_with_its_place() {
        let told = filter(&["ok", "("], &[("[z-a]", "x"), ("(a)\\1", "x")]).unwrap_err();
        assert_eq!(
            told,
            [
                "lines.drop.1 is no pattern: unclosed group",
                "lines.redact.0.pattern is no pattern: invalid character class range, the start must be <= the end",
                "lines.redact.1.pattern is no pattern: backreferences are not supported",
            ]
        );
        let huge = filter(&["(a{1000}){1000}"], &[]).unwrap_err();
        assert!(
            huge[0].starts_with("lines.drop.0 is no pattern: Compiled regex exceeds size limit"),
            "{huge:?}"
        );
    }

    proptest! {
        #[test]
        fn no_secret_survives_wherever_it_stands(before in ".{0,20}", after in ".{0,20}") {
            let filter = filter(&[], &[("s3cr3t", "-")]).unwrap();
            let line = format!("{before}s3cr3t{after}");
            prop_assert!(!filter.redacted(&line).contains("s3cr3t"));
        }
    }
}
