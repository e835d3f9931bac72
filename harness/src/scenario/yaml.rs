//! YAML into fields, and what is wrong with it in words for who wrote it.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_saphyr::{MessageFormatter, UserMessageFormatter};

use super::ScenarioError;

/// Reads a file's fields.
///
/// # Errors
/// [`ScenarioError::Parse`], which names line, column and field.
pub(super) fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ScenarioError> {
    let mut field = String::new();
    let read = serde_saphyr::with_deserializer_from_str(text, |yaml| {
        serde_path_to_error::deserialize(yaml).map_err(|error| {
            // Of fields that are read in one of several forms the names are not known.
            let whole = error.path().to_string();
            let known = whole.split(".?").next().unwrap_or_default();
            if !matches!(known, "" | "." | "?") {
                field = format!("{known}: ");
            }
            error.into_inner()
        })
    });
    read.map_err(|error| mistake(path, &field, &error))
}

/// What is wrong with a file, and where in it.
pub(super) fn mistake(path: &Path, field: &str, error: &serde_saphyr::Error) -> ScenarioError {
    let at = error.location().map_or_else(String::new, |at| format!("{}:{}", at.line(), at.column()));
    ScenarioError::Parse { path: path.to_owned(), why: format!("{at}: {field}{}", plain(error)) }
}

/// The message alone, in words for who wrote the file and not for who calls the parser.
pub(super) fn plain(error: &serde_saphyr::Error) -> String {
    let error = error.without_snippet();
    what_to_write(error)
        .map_or_else(|| UserMessageFormatter.format_message(error).into_owned(), str::to_owned)
}

/// Instead of a value of the wrong kind.
fn what_to_write(error: &serde_saphyr::Error) -> Option<&'static str> {
    if let serde_saphyr::Error::InvalidScalar { ty, .. } = error {
        return Some(match *ty {
            "bool" => "write true or false",
            real if real.starts_with('f') => "write a number",
            _ => "write a whole number, 0 or more",
        });
    }
    let serde_saphyr::Error::Unexpected { expected, .. } = error else { return None };
    match *expected {
        "string scalar" => Some("write a single value"),
        "sequence start" => Some("write a list: [..., ...]"),
        "mapping start" => Some("write fields, each with its value: { KEY: VALUE }"),
        _ => None,
    }
}
