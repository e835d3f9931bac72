//! From the tree to the settings, by serde: each type says itself what it takes. A scalar has no type of its
//! own: `8080`, `"8080"` and `${PORT}` are one number where a number is asked for.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, Deserialize, Deserializer, Expected, IntoDeserializer, Unexpected, Visitor};

use super::tree::{Key, Mistake, Node, Place, Value};

/// Why a value can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Which value, and where; `None` until the value that it is about has added itself.
    found: Option<(Place, String)>,
    words: String,
}

/// Reads a value and all below it.
///
/// # Errors
/// The first mistake.
pub fn read<'de, T: Deserialize<'de>>(node: &'de Node) -> Result<T, Error> {
    T::deserialize(node)
}

/// All mistakes of form in a tree that is to become a `T`, each with the name of the value that it is in. Every
/// value is read as if the others were not there, which do for each of ours but those that belong together;
/// where one of those is missing, it counts once for the whole.
#[must_use]
pub fn mistakes<T: for<'de> Deserialize<'de>>(root: &Node) -> Vec<(String, Mistake)> {
    let mut found = Vec::new();
    collect::<T>(&mut Vec::new(), root, root, &mut found);
    found
}

fn collect<'a, T: for<'de> Deserialize<'de>>(
    above: &mut Vec<(&'a Node, Option<&'a Key>)>,
    root: &Node,
    node: &'a Node,
    found: &mut Vec<(String, Mistake)>,
) {
    let Err(error) = T::deserialize(&alone(above, node)) else { return };
    let before = found.len();
    match &node.value {
        Value::Scalar { .. } => {}
        Value::List(items) => {
            for item in items {
                above.push((node, None));
                collect::<T>(above, root, item, found);
                above.pop();
            }
        }
        Value::Map(entries) => {
            for (key, value) in entries {
                above.push((node, Some(key)));
                collect::<T>(above, root, value, found);
                above.pop();
            }
        }
    }
    let (at, path) = error.found.unwrap_or_else(|| (root.at, String::new()));
    let is_ours = path.strip_prefix(&node.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        || node.path.is_empty();
    if found.len() == before && is_ours {
        let what = if path.is_empty() { "the file" } else { path.as_str() };
        let words = format!("{what} {}", error.words);
        found.push((node.path.clone(), Mistake { at: Some(at), words }));
    }
}

/// The tree with this value only.
fn alone(above: &[(&Node, Option<&Key>)], node: &Node) -> Node {
    above.iter().rev().fold(node.clone(), |inner, (outer, key)| {
        let value = match key {
            Some(key) => Value::Map(vec![((*key).clone(), inner)]),
            None => Value::List(vec![inner]),
        };
        Node { at: outer.at, path: outer.path.clone(), value }
    })
}

impl Error {
    fn about(words: String) -> Self {
        Self { found: None, words }
    }

    /// Adds the value that it is in, unless one further in has done so.
    fn of(mut self, node: &Node) -> Self {
        self.found.get_or_insert_with(|| (node.at, node.path.clone()));
        self
    }

    fn at(mut self, place: Place, path: &str) -> Self {
        self.found.get_or_insert_with(|| (place, path.to_owned()));
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.found.as_ref().map(|(_, path)| path.as_str()).unwrap_or_default();
        write!(f, "{path} {}", self.words)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(words: T) -> Self {
        Self::about(format!("is wrong: {words}"))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::about(format!("is {}: write {expected}", Found(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Self {
        Self::about(format!("is {found:?}: write {}", choice(expected)))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let near = expected.iter().map(|known| (strsim::damerau_levenshtein(known, field), known));
        let near = near.min().filter(|(distance, known)| *distance <= known.len() / 3 + 1);
        let advice = match near {
            Some((_, known)) => format!("is it `{known}`?"),
            None => format!("the keys here are {}", list(expected, "and")),
        };
        Self::about(format!("is no key: {advice}"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::about(format!("lacks `{field}`"))
    }
}

fn choice(words: &[&str]) -> String {
    list(words, "or")
}

fn list(words: &[&str], and: &str) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} {and} {last}", others.join(", ")),
        _ => quoted.concat(),
    }
}

/// In the words of YAML, not of Rust.
struct Found<'a>(Unexpected<'a>);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Str(text) => write!(f, "{text:?}"),
            Unexpected::Unsigned(number) => write!(f, "{number}"),
            Unexpected::Seq => f.write_str("a list"),
            Unexpected::Map => f.write_str("`key: value` pairs"),
            Unexpected::Unit => f.write_str("nothing"),
            Unexpected::Bool(_)
            | Unexpected::Signed(_)
            | Unexpected::Float(_)
            | Unexpected::Char(_)
            | Unexpected::Bytes(_)
            | Unexpected::Option
            | Unexpected::NewtypeStruct
            | Unexpected::Enum
            | Unexpected::UnitVariant
            | Unexpected::NewtypeVariant
            | Unexpected::TupleVariant
            | Unexpected::StructVariant
            | Unexpected::Other(_) => write!(f, "{}", self.0),
        }
    }
}

impl<'de> IntoDeserializer<'de, Error> for &'de Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// A key with the dotted name of its value, for those that nobody knows.
struct KeyOf<'de>(&'de Key, &'de Node);

impl<'de> IntoDeserializer<'de, Error> for KeyOf<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for KeyOf<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Self(key, node) = self;
        visitor.visit_borrowed_str(&key.text).map_err(|error: Error| error.at(key.at, &node.path))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl Node {
    /// What it looks like, for a type that takes something else.
    fn unexpected(&self) -> Unexpected<'_> {
        match &self.value {
            Value::Scalar { .. } if self.is_nothing() => Unexpected::Unit,
            Value::Scalar { text, .. } => Unexpected::Str(text),
            Value::List(_) => Unexpected::Seq,
            Value::Map(_) => Unexpected::Map,
        }
    }

    fn scalar(&self, expected: &dyn Expected) -> Result<&str, Error> {
        match &self.value {
            Value::Scalar { text, .. } if !self.is_nothing() => Ok(text),
            Value::Scalar { .. } | Value::List(_) | Value::Map(_) => {
                Err(<Error as de::Error>::invalid_type(self.unexpected(), expected).of(self))
            }
        }
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $what:literal)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let text = self.scalar(&$what)?;
            let wrong = || <Error as de::Error>::invalid_value(Unexpected::Str(text), &$what);
            let value = text.parse().map_err(|_| wrong().of(self))?;
            visitor.$visit(value).map_err(|error: Error| error.of(self))
        }
    )*};
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let visited = match &self.value {
            Value::Scalar { .. } if self.is_nothing() => visitor.visit_unit(),
            Value::Scalar { text, .. } => match text.parse() {
                Ok(number) => visitor.visit_u64(number),
                Err(_) => visitor.visit_borrowed_str(text),
            },
            Value::List(items) => visitor.visit_seq(SeqDeserializer::new(items.iter())),
            Value::Map(entries) => visitor
                .visit_map(MapDeserializer::new(entries.iter().map(|(key, node)| (KeyOf(key, node), node)))),
        };
        visited.map_err(|error: Error| error.of(self))
    }

    parsed! {
        deserialize_bool visit_bool "`true` or `false`"
        deserialize_i8 visit_i8 "a whole number"
        deserialize_i16 visit_i16 "a whole number"
        deserialize_i32 visit_i32 "a whole number"
        deserialize_i64 visit_i64 "a whole number"
        deserialize_u8 visit_u8 "a whole number, 0 or more"
        deserialize_u16 visit_u16 "a whole number, 0 or more"
        deserialize_u32 visit_u32 "a whole number, 0 or more"
        deserialize_u64 visit_u64 "a whole number, 0 or more"
        deserialize_f32 visit_f32 "a number"
        deserialize_f64 visit_f64 "a number"
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let text = self.scalar(&"a text")?;
        visitor.visit_borrowed_str(text).map_err(|error: Error| error.of(self))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_nothing() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let text = self.scalar(&choice(variants).as_str())?;
        visitor.visit_enum(text.into_deserializer()).map_err(|error: Error| error.of(self))
    }

    /// A section that is named and left empty has its defaults.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.value {
            Value::Map(_) => self.deserialize_any(visitor),
            Value::Scalar { .. } if self.is_nothing() => {
                let none: std::iter::Empty<(KeyOf<'de>, &'de Node)> = std::iter::empty();
                visitor.visit_map(MapDeserializer::new(none)).map_err(|error: Error| error.of(self))
            }
            Value::Scalar { .. } | Value::List(_) => {
                Err(<Error as de::Error>::invalid_type(self.unexpected(), &"`key: value` pairs").of(self))
            }
        }
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}
