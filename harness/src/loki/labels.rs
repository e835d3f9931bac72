//! A stream's labels: from the text of a push to Loki's normal form.
//!
//! The words of the errors are Loki's (its parser is Prometheus's); the column counts from 1.

use std::fmt::{self, Write};

/// Labels in Loki's normal form: sorted by name, empty values gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Vec<(String, String)>);

/// Loki's name for the label that it adds.
pub const SERVICE_NAME: &str = "service_name";

/// What a stream gets that is named for it by the header `X-Loki-Backfill-Shard`; clients may not set them.
pub const BACKFILL: [&str; 2] = ["__backfill__", "__backfill_shard__"];
/// What marks streams that Loki makes for itself.
const INTERNAL: [&str; 2] = ["__aggregated_metric__", "__pattern__"];

/// A text that is no set of labels. Loki refuses the whole push for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("couldn't parse labels: 1:{column}: parse error: {reason}")]
pub struct LabelsError {
    column: usize,
    reason: String,
}

impl Labels {
    /// Sorts and drops empty values, as Loki does.
    #[must_use]
    pub fn normal(mut pairs: Vec<(String, String)>) -> Self {
        pairs.retain(|(_, value)| !value.is_empty());
        // Stable, so that labels of one name keep their order: Loki's error shows them both.
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self(pairs)
    }

    /// Adds `service_name`, taken from the first of these labels that is there.
    pub fn discover_service_name(&mut self, from: &[String]) {
        if from.is_empty() || self.get(SERVICE_NAME).is_some() || self.is_internal() {
            return;
        }
        let service = from.iter().find_map(|name| self.get(name)).unwrap_or("unknown_service").to_owned();
        self.set(SERVICE_NAME, service);
    }

    /// Sets a label that is not there.
    pub fn set(&mut self, name: &str, value: String) {
        let at = self.0.partition_point(|(own, _)| own.as_str() < name);
        self.0.insert(at, (name.to_owned(), value));
    }

    /// Whether it is a stream that Loki makes for itself, of which it checks less.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        INTERNAL.iter().any(|name| self.get(name).is_some())
    }

    /// Whether its entries may be old.
    #[must_use]
    pub fn is_backfill(&self) -> bool {
        BACKFILL.iter().any(|name| self.get(name).is_some())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes that names and values take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// The value of a label.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    /// Names and values in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// As Loki prints them in its answers: `{a="b", service_name="c"}`, quoted as Go quotes.
impl fmt::Display for Labels {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_char('{')?;
        for (index, (name, value)) in self.iter().enumerate() {
            write!(out, "{}{name}=", if index == 0 { "" } else { ", " })?;
            quote(out, value)?;
        }
        out.write_char('}')
    }
}

/// Go's `strconv.Quote`: what is printable stays as it is.
fn quote(out: &mut impl Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for sign in text.chars() {
        match sign {
            '"' | '\\' => write!(out, "\\{sign}")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            '\u{7}' => out.write_str("\\a")?,
            '\u{8}' => out.write_str("\\b")?,
            '\u{b}' => out.write_str("\\v")?,
            '\u{c}' => out.write_str("\\f")?,
            '\0'..='\u{1f}' | '\u{7f}' => write!(out, "\\x{:02x}", u32::from(sign))?,
            _ => out.write_char(sign)?,
        }
    }
    out.write_char('"')
}

/// The text that Loki makes of a JSON object of labels before it parses it: names in order, not checked.
/// So a bad name of a JSON push fails with the words and the column of the label parser.
#[must_use]
pub fn text_of<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    Labels(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()).to_string()
}

/// Parses `{a="b", c="d"}` and brings it to the normal form.
///
/// # Errors
/// [`LabelsError`] where the text is no set of labels.
pub fn parse(text: &str) -> Result<Labels, LabelsError> {
    pairs(text).map(Labels::normal)
}

/// Parses `{a="b", c="d"}` and leaves it as it is.
///
/// # Errors
/// [`LabelsError`] where the text is no set of labels.
pub fn pairs(text: &str) -> Result<Vec<(String, String)>, LabelsError> {
    let mut reader = Reader { text, at: 0 };
    reader.blanks();
    // Loki takes no text at all for no labels.
    if reader.peek().is_none() { Ok(Vec::new()) } else { reader.set() }
}

/// A place in the text; `at` is always the start of a character.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let sign = self.peek()?;
        self.at += sign.len_utf8();
        Some(sign)
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(|sign| matches!(sign, ' ' | '\t' | '\n' | '\r')) {
            self.take();
        }
    }

    fn error(&self, reason: impl Into<String>) -> LabelsError {
        LabelsError { column: self.at + 1, reason: reason.into() }
    }

    fn unexpected(&self) -> LabelsError {
        match self.peek() {
            Some(sign) => self.error(format!("unexpected character inside braces: '{sign}'")),
            None => self.error("unexpected end of input inside braces"),
        }
    }

    fn sign(&mut self, wanted: char) -> Result<(), LabelsError> {
        self.blanks();
        if self.peek() != Some(wanted) {
            return Err(self.unexpected());
        }
        self.take();
        self.blanks();
        Ok(())
    }

    fn set(&mut self) -> Result<Vec<(String, String)>, LabelsError> {
        if self.peek() != Some('{') {
            let found = self.peek().unwrap_or(' ');
            return Err(self.error(format!("unexpected character: '{found}'")));
        }
        self.sign('{')?;
        let mut pairs = Vec::new();
        while self.peek() != Some('}') {
            let name = self.name()?;
            self.sign('=')?;
            pairs.push((name, self.string()?));
            self.blanks();
            if self.peek() != Some('}') {
                self.sign(',')?;
            }
        }
        self.sign('}')?;
        match self.peek() {
            Some(sign) => Err(self.error(format!("unexpected character: '{sign}'"))),
            None => Ok(pairs),
        }
    }

    fn name(&mut self) -> Result<String, LabelsError> {
        let start = self.at;
        while self.peek().is_some_and(|sign| {
            sign == '_' || sign.is_ascii_alphabetic() || (sign.is_ascii_digit() && self.at > start)
        }) {
            self.take();
        }
        if self.at == start {
            return Err(self.unexpected());
        }
        Ok(self.text.get(start..self.at).unwrap_or_default().to_owned())
    }

    fn string(&mut self) -> Result<String, LabelsError> {
        let start = self.at;
        let Some(end @ ('"' | '`')) = self.peek() else { return Err(self.unexpected()) };
        self.take();
        let mut value = String::new();
        loop {
            match self.take() {
                Some(sign) if sign == end => return Ok(value),
                Some('\\') if end == '"' => value.push(self.escape()?),
                Some('\n') | None if end == '"' => {
                    self.at = start;
                    return Err(self.error("unterminated quoted string"));
                }
                None => {
                    self.at = start;
                    return Err(self.error("unterminated raw string"));
                }
                Some(sign) => value.push(sign),
            }
        }
    }

    fn escape(&mut self) -> Result<char, LabelsError> {
        let sign = self.take().unwrap_or(' ');
        Ok(match sign {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'a' => '\u{7}',
            'b' => '\u{8}',
            'v' => '\u{b}',
            'f' => '\u{c}',
            '\\' | '"' | '\'' => sign,
            'x' => self.code(2, 16)?,
            'u' => self.code(4, 16)?,
            'U' => self.code(8, 16)?,
            '0'..='7' => {
                self.at -= 1;
                self.code(3, 8)?
            }
            _ => return Err(self.error("unknown escape sequence")),
        })
    }

    fn code(&mut self, digits: usize, radix: u32) -> Result<char, LabelsError> {
        let read = self.rest().get(..digits).and_then(|text| u32::from_str_radix(text, radix).ok());
        let Some(sign) = read.and_then(char::from_u32) else {
            return Err(self.error("invalid character in escape sequence"));
        };
        self.at += digits;
        Ok(sign)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::loki::limits::Limits;

    fn shown(text: &str) -> String {
        match parse(text) {
            Ok(mut labels) => {
                labels.discover_service_name(&Limits::default().discover_service_name);
                labels.to_string()
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn labels_are_sorted_and_get_a_service_name() {
        for (text, expected) in [
            (r#"{b="2",a="1",}"#, r#"{a="1", b="2", service_name="unknown_service"}"#),
            (r#"{ job = "j" , x = "" }"#, r#"{job="j", service_name="j"}"#),
            (r#"{job="j", app="a"}"#, r#"{app="a", job="j", service_name="a"}"#),
            (r#"{service_name="own", job="j"}"#, r#"{job="j", service_name="own"}"#),
            ("{}", r#"{service_name="unknown_service"}"#),
            ("", r#"{service_name="unknown_service"}"#),
            (r#"{__pattern__="p"}"#, r#"{__pattern__="p"}"#),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn without_labels_to_guess_from_no_service_name_is_added() {
        let mut labels = parse(r#"{job="j"}"#).unwrap();
        labels.discover_service_name(&[]);
        assert_eq!(labels.to_string(), r#"{job="j"}"#);
    }

    #[test]
    fn a_text_that_is_no_set_of_labels_is_refused_with_lokis_words_and_column() {
        for (text, expected) in [
            (r#"{a-b="c"}"#, "1:3: parse error: unexpected character inside braces: '-'"),
            (r#"{1a="c"}"#, "1:2: parse error: unexpected character inside braces: '1'"),
            (r#"{a="c"#, "1:4: parse error: unterminated quoted string"),
            (r#"{a"#, "1:3: parse error: unexpected end of input inside braces"),
            (r#"a="b""#, "1:1: parse error: unexpected character: 'a'"),
        ] {
            assert_eq!(shown(text), format!("couldn't parse labels: {expected}"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(
            pairs in proptest::collection::btree_map("[a-z_][a-z0-9_]{0,5}", ".{1,8}", 0..5),
        ) {
            let labels = Labels::normal(pairs.into_iter().collect());
            prop_assert_eq!(parse(&labels.to_string()), Ok(labels));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[{}a-c=\",\\\\ `é0-9x\n]{0,30}") {
            parse(&text).ok();
        }
    }
}
