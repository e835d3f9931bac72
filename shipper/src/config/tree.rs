//! A YAML file as a tree in which each value knows its place and its dotted name, so that any mistake can be
//! told with both.

use granit_parser::{Event, Options, Parser, ScalarStyle, Span};

/// Where something begins in the file, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// Something that is wrong with a config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where, if it stands in the file at all.
    pub at: Option<Place>,
    /// What, and what to write instead.
    pub words: String,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it begins.
    pub at: Place,
    /// Its dotted name: `loki.tenants.allow.0`.
    pub path: String,
    /// What it is.
    pub value: Value,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text, a number, a truth, nothing: which of them depends on what is asked for.
    Scalar {
        /// Its text.
        text: String,
        /// Whether it stands there without quotes: then `null` is nothing and not a text.
        plain: bool,
    },
    /// `[a, b]`
    List(Vec<Node>),
    /// `{a: b}`, in the order of the file.
    Map(Vec<(Key, Node)>),
}

/// A key with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Where it begins.
    pub at: Place,
    /// Its text.
    pub text: String,
}

/// No config has this many levels; who writes them wants to see us fall over.
const DEPTH_MAX: usize = 32;

/// Reads the one document of a file; `None` if it holds nothing. Keys that stand there twice are added to
/// `mistakes`.
///
/// # Errors
/// The first thing that is no YAML, or more of YAML than a config needs.
pub fn parse(text: &str, mistakes: &mut Vec<Mistake>) -> Result<Option<Node>, Mistake> {
    let mut options = Options::default();
    options.emit_comments = false;
    let parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder { parser, mistakes };
    let mut root = None;
    loop {
        match builder.next()? {
            (Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd, _) => {}
            (Event::StreamEnd, _) => break,
            (_, span) if root.is_some() => {
                return Err(mistake(place(&span), "a second document: a config is one"));
            }
            (event, span) => root = Some(builder.node(event, &span, String::new(), 0)?),
        }
    }
    Ok(root.filter(|node| !node.is_nothing()))
}

struct Builder<'a, I: Iterator> {
    parser: I,
    mistakes: &'a mut Vec<Mistake>,
}

impl<'a, I: Iterator<Item = Result<(Event<'a>, Span), granit_parser::ScanError>>> Builder<'_, I> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Mistake> {
        match self.parser.next() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let marker = error.marker();
                let at = Place { line: marker.line(), column: marker.col() + 1 };
                Err(mistake(at, &format!("no YAML: {}", without_place(&error.to_string()))))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else there is, it has no use here")]
    fn node(&mut self, event: Event<'a>, span: &Span, path: String, depth: usize) -> Result<Node, Mistake> {
        let at = place(span);
        if depth > DEPTH_MAX {
            return Err(mistake(at, &format!("more than {DEPTH_MAX} levels")));
        }
        let value = match event {
            Event::Scalar(text, style, 0, None) => {
                Value::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain }
            }
            Event::SequenceStart(_, 0, None) => Value::List(self.list(&path, depth)?),
            Event::MappingStart(_, 0, None) => Value::Map(self.map(&path, depth)?),
            _ => {
                return Err(mistake(
                    at,
                    "anchors (&), aliases (*) and tags (!) have no use here: write it out",
                ));
            }
        };
        Ok(Node { at, path, value })
    }

    fn list(&mut self, path: &str, depth: usize) -> Result<Vec<Node>, Mistake> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => {
                    items.push(self.node(event, &span, join(path, &items.len().to_string()), depth + 1)?);
                }
            }
        }
    }

    fn map(&mut self, path: &str, depth: usize) -> Result<Vec<(Key, Node)>, Mistake> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, _) => return Ok(entries),
                (Event::Scalar(text, _, 0, None), span) => Key { at: place(&span), text: text.into_owned() },
                (_, span) => return Err(mistake(place(&span), "a key must be a word")),
            };
            let (event, span) = self.next()?;
            let node = self.node(event, &span, join(path, &key.text), depth + 1)?;
            match entries.iter().find(|(other, _)| other.text == key.text) {
                Some((first, _)) => {
                    let words = format!("{} stands there twice, first in line {}", node.path, first.at.line);
                    self.mistakes.push(mistake(key.at, &words));
                }
                None => entries.push((key, node)),
            }
        }
    }
}

impl Node {
    /// Whether it says that there is nothing.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        let nothing = ["", "~", "null", "Null", "NULL"];
        matches!(&self.value, Value::Scalar { text, plain: true } if nothing.contains(&text.as_str()))
    }

    /// The value with this dotted name, or what comes nearest to it from above.
    #[must_use]
    pub fn nearest(&self, path: &str) -> &Self {
        let inside = |node: &&Self| {
            path.strip_prefix(&node.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        match &self.value {
            Value::Scalar { .. } => self,
            Value::List(items) => items.iter().find(inside).map_or(self, |item| item.nearest(path)),
            Value::Map(entries) => {
                let mut nodes = entries.iter().map(|(_, node)| node);
                nodes.find(inside).map_or(self, |node| node.nearest(path))
            }
        }
    }

    /// The same without the values of these names.
    #[must_use]
    pub fn without(&self, paths: &[String]) -> Self {
        let kept = |node: &Self| !paths.contains(&node.path);
        let value = match &self.value {
            scalar @ Value::Scalar { .. } => scalar.clone(),
            Value::List(items) => {
                Value::List(items.iter().filter(|item| kept(item)).map(|item| item.without(paths)).collect())
            }
            Value::Map(entries) => {
                let entries = entries.iter().filter(|(_, node)| kept(node));
                Value::Map(entries.map(|(key, node)| (key.clone(), node.without(paths))).collect())
            }
        };
        Self { at: self.at, path: self.path.clone(), value }
    }
}

/// `a.b`
fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn place(span: &Span) -> Place {
    Place { line: span.start.line(), column: span.start.col() + 1 }
}

fn mistake(at: Place, words: &str) -> Mistake {
    Mistake { at: Some(at), words: words.to_owned() }
}

/// The parser says the place too, in a form of its own.
fn without_place(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    line.split_once(" at char ").map_or(line, |(words, _)| words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(text: &str) -> (usize, usize, String) {
        let mut mistakes = Vec::new();
        let Mistake { at, words } =
            parse(text, &mut mistakes).err().or_else(|| mistakes.pop()).expect("nothing is wrong with it");
        let at = at.unwrap();
        (at.line, at.column, words)
    }

    #[test]
    fn each_value_knows_its_place_and_name() {
        let root = parse("# x\na:\n  b: [1, {c: d}]\n", &mut Vec::new()).unwrap().unwrap();
        let found = root.nearest("a.b.1.c");
        assert_eq!((found.path.as_str(), found.at), ("a.b.1.c", Place { line: 3, column: 14 }));
        assert_eq!(root.nearest("a.b.7.c").path, "a.b");
        assert_eq!(root.nearest("ab").path, "");
        assert_eq!(root.without(&["a.b.1".to_owned()]).nearest("a.b.1").path, "a.b");
    }

    #[test]
    fn what_is_no_yaml_or_too_much_of_it_has_its_place() {
        assert_eq!(error("a: 1\nb: 2\na: 3"), (3, 1, "a stands there twice, first in line 1".to_owned()));
        assert_eq!(error("a: {b: 1, b: 2}"), (1, 11, "a.b stands there twice, first in line 1".to_owned()));
        assert_eq!(error("a: &x 1\nb: *x").0, 1);
        assert_eq!(error("a: !!int 1").0, 1);
        assert_eq!(error("[a]: 1").2, "a key must be a word");
        assert_eq!(error("a: 1\n---\nb: 1").2, "a second document: a config is one");
        assert_eq!(error(&format!("{}{}", "[".repeat(100), "]".repeat(100))).2, "more than 32 levels");
        let (line, _, words) = error("a: 1\nb: [1, 2\nc: 3\n");
        assert!(line >= 2 && words.starts_with("no YAML: "), "{line} {words}");
        for nothing in ["", "# only words\n", "---\n", "~"] {
            assert_eq!(parse(nothing, &mut Vec::new()), Ok(None));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[a-c:{}\\[\\],&*!|>#\"' \\n-]{0,60}") {
            drop(parse(&text, &mut Vec::new()));
        }
    }
}
